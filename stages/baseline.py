"""Ridge classifier on raw coordinates.   benchmark → runs/baseline/<benchmark>

It is the control without a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.linear_model import RidgeClassifier

from asma import cli, evaluation, results, tracking
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.plan import Plan
from asma.results import Judged


@dataclass(frozen=True)
class Baseline:
    """Section `baseline` of the parameters."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    baseline: Baseline


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    alpha, out = settings.baseline.alpha, plan.folder
    with tracking.run("baseline", benchmark=bench.name) as log:
        log.params({"alpha": alpha})
        log.data(bench, "train", "test")
        train, test = (
            batches.load(bench, part, "joint", torch.device("cpu")) for part in ("train", "test")
        )
        ridge = RidgeClassifier(alpha=alpha).fit(train.x.flatten(1).numpy(), train.labels.numpy())
        logits = evaluation.full_logits(
            ridge.decision_function(test.x.flatten(1).numpy()), ridge.classes_, len(bench.classes)
        )
        judged = {
            "ridge": Judged(
                torch.from_numpy(logits),
                0,
                results.linear_cost(train.x[0].numel(), len(bench.classes)),
            )
        }
        about = {"stage": "baseline", "encoder": "coordinates", "stream": "joint", **plan.about()}
        results.leave(out, log, bench, test, judged, **about, seed=settings.seed)


if __name__ == "__main__":
    cli.run(main)
