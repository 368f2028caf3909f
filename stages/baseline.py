"""Ridge classifier on raw coordinates, the control without a network.   benchmark → runs/baseline/<benchmark>"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.linear_model import RidgeClassifier

from asma import cli, evaluation, params, results, tracking
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.results import Judged


@dataclass(frozen=True)
class Baseline:
    """Section `baseline` of the parameters."""

    alpha: float = 1.0


def main(benchmark: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    how = params.load("baseline", Baseline)
    with tracking.run("baseline", benchmark=bench.name) as log:
        log.params({"alpha": how.alpha})
        train, test = (batches.load(bench, part, "joint", torch.device("cpu")) for part in ("train", "test"))
        ridge = RidgeClassifier(alpha=how.alpha).fit(train.x.flatten(1).numpy(), train.labels.numpy())
        logits = evaluation.full_logits(
            ridge.decision_function(test.x.flatten(1).numpy()), ridge.classes_, len(bench.classes)
        )
        judged = {
            "ridge": Judged(torch.from_numpy(logits), 0, results.linear_cost(train.x[0].numel(), len(bench.classes)))
        }
        results.leave(out, log, bench, test, judged, stage="baseline", encoder="coordinates", stream="joint", seed=seed)


if __name__ == "__main__":
    cli.run(main)
