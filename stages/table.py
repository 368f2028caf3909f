"""Make the results table.   runs/**/{metrics.json,figures.npz,player.json} → report/"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asma import cli, record, tracking
from asma.plan import Plan
from asma.report import claims, figures, page, rows, tables


@dataclass(frozen=True)
class Settings:
    """What is in the table: `rows` lists the runs as `rows.expected` reads them, `benchmarks` those
    with illustrations."""

    rows: list[dict[str, Any]]
    benchmarks: list[str]
    ensemble: dict[str, Any]


def main(plan: Plan) -> None:
    settings, runs, out = plan.load(Settings), Path("runs"), plan.folder
    with tracking.run("table") as log:
        results = rows.collect(settings.rows, runs)
        answers = partial(rows.answers, runs=runs, weights=settings.ensemble["weights"])
        found = claims.tested(results.rows, answers)
        results, titles = results._replace(rows=found), rows.titles(found)
        illustrated = {name: titles[name] for name in settings.benchmarks}
        drawn = figures.draw(results) | figures.illustrations(runs, illustrated)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "results.md": tables.markdown(results),
            "results.csv": tables.as_csv(found),
            "results.json": tables.as_json(found),
            "index.html": page.html(results, drawn, rows.players(titles, runs)),
        }.items():
            (out / name).write_text(text, encoding="utf-8")
            log.artifact(out / name)
        for name, figure in drawn.items():
            figures.save(figure, out / "figures", name)
            log.artifact(out / "figures" / f"{name}.png")
        record.write(out / "metrics.json", tables.summary(found))
        log.metrics({"results": len(found)})
        log.summary(tables.terminal(found))
        log.summary(f"\nAll {len(found)} results: {out / 'results.md'}, {out / 'index.html'}")


if __name__ == "__main__":
    cli.run(main)
