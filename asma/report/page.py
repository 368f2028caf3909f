"""A report as one page that opens without a network: tables, figures, a skeleton player, claims.

page.html is the page, page.css its look, page.js what tables and figures do, player.js the player.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from asma.report import claims, figures, tables
from asma.report.claims import Tested
from asma.report.rows import Results, data, records, streams, titles
from asma.report.tables import Table

NOTHING: Mapping[str, Any] = {}


def html(results: Results, drawn: Mapping[str, Figure], players: Any = NOTHING) -> str:
    """index.html: all results. players: by benchmark, as `rows.players` gives them."""
    rows, entries, names = results.rows, data("tables.yaml")["short"], titles(results.rows)
    of = tables.tables(results)
    about: Any = {"text": tables.caption("introduction"), "note": tables.note(rows)}
    about["first"] = max(1, [one.title for one in of].index(tables.ALL))  # tables before players
    about["players"] = players
    about["models"] = {" ".join(map(str, one["where"].values())): one["name"] for one in entries}
    for benchmark in (name for name in names if not claims.last(rows, name).empty):
        found, judged = claims.last(rows, benchmark), claims.verdicts(rows, benchmark)
        first: Any = {"title": names[benchmark], "rows": records(found), "verdicts": judged}
        first |= {"chance": claims.chance(rows, benchmark), "stream": streams(rows)[-1]}
        about.setdefault("opening", first)
    return render("ASMa: results", of, drawn, names, **about)


def ablations(
    results: Results,
    made: Mapping[str, Table],
    tested: Sequence[Tested],
    drawn: Mapping[str, Figure],
    origin: str,
    values: Mapping[str, Any],
) -> dict[str, str]:
    """The ablations by file: their page, their tables and the claims that were put to the test.

    origin: how the runs were made, in a sentence or two; values: the parameters that they are of.
    """
    rows, names = results.rows, titles(results.rows)
    behind = [tables.claim(one, f"Claim “{one.key}”: {names[one.benchmark]}") for one in tested]
    about: Any = {"title": "Ablations", "note": tables.note(rows), "origin": origin}
    about |= {"tables": made.values(), "claims": list(zip(tested, behind, strict=True))}
    about |= {"far": tables.pretraining(results.curves, rows), "values": values}
    of = [table for table in [*behind, *made.values()] if table.lines]
    shown: Any = {"text": origin, "note": about["note"], "claims": tested}
    return {
        "ablations.html": render("ASMa: ablations", of, drawn, names, **shown),
        "ablations/tables.md": tables.text("tables.md.j2", **about),
        "ablations/claims.md": tables.text("claims.md.j2", **about),
    }


def render(
    title: str, of: Sequence[Table] = (), drawn: Any = NOTHING, names: Any = NOTHING, **more: Any
) -> str:
    """A page of tables and figures, where there are any, and `more` of page.html.

    drawn: figures by what they are called, `<group>_<what>_<benchmark>`, `<what>` or not; names:
    what benchmarks are called.
    """
    cells = {
        (place, row, cell): runs
        for place, table in enumerate(of)
        for row, line in enumerate(table.lines)
        for cell, runs in line.runs.items()
    }
    shown = {repr(runs): runs for runs in cells.values()}  # each list of runs once
    numbers = {runs: number for number, runs in enumerate(shown)}
    only = list(names.values())
    parts: dict[str, Any] = {"title": title, "tables": of, "titles": names, "runs": shown.values()}
    parts["numbers"] = {cell: numbers[repr(runs)] for cell, runs in cells.items()}
    parts["known"] = f": {only[0]}" if len(only) == 1 else ""  # which contents need not repeat
    parts["groups"] = data("tables.yaml")["figures"]
    parts["drawings"] = [_drawing(name, drawn[name], names) for name in drawn]
    return tables.text("page.html", **parts, **more)


def _drawing(name: str, figure: Figure, names: Mapping[str, str]) -> dict[str, Any]:
    """A figure under its group, whose title says what it is of: `demo_ntu_xsub: joint`."""
    group, _, rest = name.partition("_")
    known = {one["prefix"]: one["heading"] for one in data("tables.yaml")["figures"]}
    group, title = (group, rest or name) if group in known else ("", name)
    for benchmark in sorted(names, key=len, reverse=True):
        if title.endswith(benchmark):
            what = title.removesuffix(benchmark).strip("_").replace("_", " ")
            title = f"{names[benchmark]}: {what}".removesuffix(": ")
            break
    svg = figures.inline(figure, f"{known[group]}: {title}")
    return {"group": group, "name": name, "title": title, "svg": Markup(svg)}  # ours: not escaped
