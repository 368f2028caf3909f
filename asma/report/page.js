// Tables sort by the heading that is pressed; a figure shows the run that made it.
"use strict";
(() => {
  // What a cell is sorted by: text, or its first number, "16.67 / 66.67" is 16.67.
  function key(row, column, word) {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replaceAll(",", "").replace(/^<\s*/, ""));
    const none = ["–", ""].includes(text) || (!word && Number.isNaN(number));
    return none ? null : word ? text : number;
  }

  // Equal rows keep their order, those without a value come last whichever way it goes.
  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  }

  for (const table of document.querySelectorAll("main table")) {
    const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
    const rows = [...body.rows]; // as the page has them
    for (const [column, heading] of headings.entries()) {
      const word = heading.classList.contains("word");
      // The best figure first; a third press gives back the order of the page.
      const turns = word ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
      heading.querySelector("button").addEventListener("click", () => {
        const next = turns[(turns.indexOf(heading.ariaSort) + 1) % turns.length];
        for (const other of headings) other.ariaSort = "none";
        heading.ariaSort = next;
        const sign = next === "ascending" ? 1 : -1;
        body.append(...(next === "none" ? rows : rows.toSorted(
          (a, b) => compare(key(a, column, word), key(b, column, word), sign))));
      });
    }
  }

  const dialog = document.getElementById("run");
  document.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside the box: its backdrop
    const button = event.target.closest("button.run");
    if (!button) return;
    const cell = button.closest("td"), [headings] = cell.closest("table").tHead.rows;
    const words = [...cell.parentElement.querySelectorAll(".word"), headings.cells[cell.cellIndex]];
    const where = words.map((one) => one.textContent).join(" · ");
    document.getElementById("run-heading").textContent = `${where}: ${button.textContent}`;
    const runs = document.getElementById(`runs-${button.dataset.runs}`).content.cloneNode(true);
    document.getElementById("run-told").replaceChildren(runs);
    dialog.showModal();
  });
})();
