"""Write the embedded demonstration.   plan → data/raw/demo_ntu, data/raw/demo_pku"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from asma import cli, record, tracking
from asma.plan import Plan
from demo.synthetic import Synthesize, write_ntu, write_pku


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    synthesize: Synthesize


def main(plan: Plan) -> None:
    settings = plan.load(Settings).synthesize
    ntu, pku = plan.path("ntu"), plan.path("pku")
    with tracking.run("synthesize") as log:
        log.params(asdict(settings))
        counts = {"demo_ntu": write_ntu(ntu, settings), "demo_pku": write_pku(pku, settings)}
        log.metrics(counts)
        about = {"stage": "synthesize", "seed": settings.seed, "demonstration": True}
        record.write(plan.folder / "metrics.json", {**about, **counts})
        log.summary(
            f"{counts['demo_ntu']['recordings']} recordings in {ntu} and "
            f"{counts['demo_pku']['instances']} instances in {pku}: a synthetic demonstration, "
            "no measurement of people"
        )


if __name__ == "__main__":
    cli.run(main)
