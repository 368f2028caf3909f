"""Parse one data set.   data/raw/<dataset> → data/recordings/<dataset>.h5"""

from __future__ import annotations

from dataclasses import dataclass

from asma import cli, record, skeleton, tracking
from asma.data import parse
from asma.data.sets import Set
from asma.plan import Plan


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    dataset: Set
    parse: parse.Parse


def main(plan: Plan) -> None:
    """Bad files are all named before the stage stops, or left out and listed: `parse.on_error`."""
    settings, dataset = plan.load(Settings), plan.axes["dataset"]
    known, reading = settings.dataset, settings.parse
    layout = skeleton.load(known.layout)
    with tracking.run("parse", dataset=dataset) as log:
        log.params({"set": vars(known), "parse": vars(reading)})
        report = parse.parse(
            plan.path("raw"),
            plan.path("recordings"),
            dataset=dataset,
            format=known.format,
            layout=known.layout,
            joints=len(layout),
            bodies=known.bodies,
            classes=parse.class_list(known.classes, known.class_count),
            class_count=known.class_count,
            missing=known.missing,
            slicing=known.slicing,
            up=known.up,
            unit=known.unit,
            implausible=known.implausible,
            skeleton=layout,
            on_error=reading.on_error,
            workers=reading.workers,
        )
        log.metrics(report.figures())
        record.write(plan.folder / "metrics.json", report.metrics())
        log.summary(report.summary())


if __name__ == "__main__":
    cli.run(main)
