"""Add up the streams' logits.   runs/<stage>/…/logits.npz → runs/ensemble"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asma import cli, record, results, tracking
from asma.plan import Plan


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters; `groups` has each run's folder and its streams."""

    seed: int
    ensemble: dict[str, Any]
    groups: dict[str, list[str]]


def main(plan: Plan) -> None:
    settings = plan.load(Settings)
    weights = {str(k): float(v) for k, v in settings.ensemble["weights"].items()}
    with tracking.run("ensemble") as log:
        log.params({"ensemble": settings.ensemble})
        rows: list[results.Row] = []
        for folder, streams in settings.groups.items():
            rows += results.add_streams({s: Path(folder, s) for s in streams}, weights)
        about = {"stage": "ensemble", "seed": settings.seed, **results.accuracy(rows)}
        record.write(plan.folder / "metrics.json", {**about, "results": rows})
        log.metrics(results.accuracy(rows))
        for row in rows:
            log.metrics(
                {f"{row['benchmark']}.{row['encoder']}.{row['mode']}.accuracy": row["accuracy"]}
            )
        log.summary(f"{len(rows)} ensembles")


if __name__ == "__main__":
    cli.run(main)
