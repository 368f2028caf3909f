// Tables sort by the heading that is pressed, a figure shows the run that made it, print shows everything.
"use strict";
(() => {
  const NONE = "–";

  // What a cell is sorted by: text, or its first number ("16.67 / 66.67" is 16.67); null where there is none.
  function key(row, column, word) {
    const text = row.cells[column].textContent.trim();
    if (text === NONE || text === "") return null;
    if (word) return text;
    const number = parseFloat(text.replaceAll(",", "").replace(/^<\s*/, "")); // "< 0.001" is 0.001
    return Number.isNaN(number) ? null : number;
  }

  // Rows in order; equal ones keep their order, those without a value come last whichever way it goes.
  function ordered(rows, column, word, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => [key(row, column, word), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (word ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
    return keyed.map(([, row]) => row);
  }

  for (const table of document.querySelectorAll("main table")) {
    const body = table.tBodies[0];
    const rows = [...body.rows]; // as the page has them
    const headings = [...table.tHead.rows[0].cells];
    for (const [column, heading] of headings.entries()) {
      const word = heading.classList.contains("word");
      // The best figure first; a third press gives back the order of the page.
      const turns = word ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
      heading.querySelector("button").addEventListener("click", () => {
        const next = turns[(turns.indexOf(heading.ariaSort) + 1) % turns.length];
        for (const other of headings) other.ariaSort = "none";
        heading.ariaSort = next;
        body.append(...(next === "none" ? rows : ordered(rows, column, word, next)));
      });
    }
  }

  const dialog = document.getElementById("run");
  const runs = JSON.parse(document.getElementById("runs").textContent);

  function element(name, content, attributes = {}) {
    const made = document.createElement(name);
    made.append(...[content].flat());
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    return made;
  }

  function described(run) {
    const told = run.told.map(([name, value]) => element("div", [element("dt", name), element("dd", value)]));
    return element("article", [
      element("a", run.path, { href: `../${run.path}` }),
      element("dl", told),
      element("div", [element("a", "MLflow", { href: run.mlflow }), ": ", element("code", run.filter)]),
    ]);
  }

  function open(button) {
    const cell = button.closest("td");
    const row = cell.parentElement;
    const words = [...row.cells].filter((one) => one.classList.contains("word")).map((one) => one.textContent);
    const heading = cell.closest("table").tHead.rows[0].cells[cell.cellIndex].textContent;
    document.getElementById("run-heading").textContent = `${[...words, heading].join(" · ")}: ${button.textContent}`;
    const [own, ...members] = runs[button.dataset.runs].map(described);
    const told = members.length ? [own, element("p", "together with"), ...members] : [own];
    document.getElementById("run-told").replaceChildren(...told);
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.run");
    if (button) open(button);
    if (event.target === dialog) dialog.close(); // beside the box: its backdrop
  });

  // What is folded away is printed all the same, and folded again afterwards.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
