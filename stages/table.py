"""Make the results table.   runs/**/{metrics.json,figures.npz,player.json} → report/results.*, index.html, figures/"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asma import cli, record, tracking
from asma.plan import Plan
from asma.report import figures, headline, illustrations, page, players, tables
from asma.report.collect import collect


@dataclass(frozen=True)
class Settings:
    """What is in the table; `rows` has every run with results: stage, recipe, benchmark, folder, name."""

    table: dict[str, Any]
    rows: list[dict[str, Any]]


def main(plan: Plan) -> None:
    content, runs, out = plan.load(Settings).table, Path("runs"), plan.folder
    with tracking.run("table") as log:
        results = collect(content, runs)
        headline.test(results, content["ensemble"]["weights"], runs)
        titles = {benchmark: results.title(benchmark) for benchmark in content["benchmarks"]}
        drawn = figures.draw(results) | illustrations.draw(runs, titles)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "results.md": tables.markdown(results),
            "results.csv": tables.as_csv(results),
            "results.json": tables.as_json(results),
            "index.html": page.html(results, drawn, players.collect(results.benchmarks, runs)),
        }.items():
            (out / name).write_text(text, encoding="utf-8")
            log.artifact(out / name)
        for name, figure in drawn.items():
            figures.save(figure, out / "figures", name)
            log.artifact(out / "figures" / f"{name}.png")
        record.write(out / "metrics.json", tables.summary(results))
        log.metrics({"results": len(results.rows)})
        log.summary(tables.terminal(results))
        log.summary(f"\nAll {len(results.rows)} results: {out / 'results.md'}, {out / 'index.html'}")


if __name__ == "__main__":
    cli.run(main)
