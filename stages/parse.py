"""Parse one data set.   data/raw/<dataset> → data/recordings/<dataset>.h5"""

from __future__ import annotations

from pathlib import Path

from asma import cli, params, record, skeleton, tracking
from asma.data import parse
from asma.data.sets import Set


def main(dataset: str, raw: Path, out: Path, metrics: Path) -> None:
    """Bad files are all named before the stage stops, or left out and listed with `parse.on_error: skip`."""
    told = params.load(f"sets.{dataset}", Set)
    how = params.load("parse", parse.Parse)
    layout = skeleton.load(told.layout)
    with tracking.run("parse", dataset=dataset) as log:
        log.params({"set": vars(told), "parse": vars(how)})
        report = parse.parse(
            raw,
            out,
            dataset=dataset,
            format=told.format,
            layout=told.layout,
            joints=len(layout),
            bodies=told.bodies,
            classes=parse.class_list(told.classes, told.class_count),
            class_count=told.class_count,
            missing=told.missing,
            slicing=told.slicing,
            up=told.up,
            unit=told.unit,
            implausible=told.implausible,
            skeleton=layout,
            on_error=how.on_error,
            workers=how.workers,
        )
        log.metrics(report.figures())
        record.write(metrics, report.metrics())
        log.summary(report.summary())


if __name__ == "__main__":
    cli.run(main)
