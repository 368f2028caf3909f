"""Write the embedded demonstration.   params.yaml → data/raw/demo_ntu, data/raw/demo_pku"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from asma import cli, params, record, tracking
from asma.data.synthetic import Synthesize, write_ntu, write_pku


def main(ntu: Path, pku: Path, metrics: Path) -> None:
    settings = params.load("synthesize", Synthesize)
    with tracking.run("synthesize") as log:
        log.params(asdict(settings))
        counts = {"demo_ntu": write_ntu(ntu, settings), "demo_pku": write_pku(pku, settings)}
        log.metrics(counts)
        record.write(metrics, {"stage": "synthesize", "seed": settings.seed, "demonstration": True, **counts})
        log.summary(
            f"{counts['demo_ntu']['recordings']} recordings in {ntu} and {counts['demo_pku']['instances']} "
            f"instances in {pku}: a synthetic demonstration, no measurement of people"
        )


if __name__ == "__main__":
    cli.run(main)
