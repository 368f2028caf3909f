"""What the ablations found.   runs/ → report/ablations.html, report/ablations/"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asma import cli, tracking
from asma.plan import Plan
from asma.report import claims, figures, page, rows, tables


@dataclass(frozen=True)
class Settings:
    """What the ablations are: `rows` lists the runs as `rows.expected` reads them, `pair` is what
    is fused; of each of the `benchmarks` its budget, epochs and the values without a change.
    """

    rows: list[dict[str, Any]]
    pair: list[str]
    benchmarks: dict[str, dict[str, Any]]
    values: dict[str, Any]
    ensemble: dict[str, Any]


def main(plan: Plan) -> None:
    settings, runs, out = plan.load(Settings), Path("runs"), plan.folder
    weights, section = settings.ensemble["weights"], settings.values["ablations"]
    with tracking.run("ablations") as log:
        results = rows.ablations(settings.rows, runs, weights, section.get("missing", "error"))
        found, answers = results.rows, partial(rows.answers, runs=runs, weights=weights)
        tested = claims.judge(found, settings.pair, answers)
        defaults = {name: own["defaults"] for name, own in settings.benchmarks.items()}
        made = tables.ablations(found, settings.pair, defaults)
        about: Any = {
            "benchmarks": settings.benchmarks,
            "gone": len(rows.gone(settings.rows, runs)),
        }
        origin = tables.caption(
            "origin", seeds=section["seeds"], streams=section["streams"], **about
        )
        drawn = {
            f"ablation_{n}": figures.ablation(t)
            for n, t in made.items()
            if not n.startswith("seeds_")
        }
        (out / "ablations").mkdir(parents=True, exist_ok=True)
        texts = page.ablations(results, made, tested, drawn, origin, settings.values)
        for name, text in {**texts, "ablations/results.json": tables.as_json(found)}.items():
            (out / name).write_text(text, encoding="utf-8")
            log.artifact(out / name)
        for name, figure in drawn.items():
            figures.save(figure, out / "ablations/figures", name)
            log.artifact(out / "ablations/figures" / f"{name}.png")
        log.metrics({"rows": len(found)})
        for one in tested:
            log.summary(f"{one.benchmark}: {one.claim} {one.verdict}. {one.sentence}".rstrip())
        log.summary(f"\n{len(found)} rows: {out / 'ablations.html'}, {out / 'ablations'}/")


if __name__ == "__main__":
    cli.run(main)
