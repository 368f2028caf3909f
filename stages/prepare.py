"""Recordings become clips.   data/recordings/<dataset>.h5 → data/clips/<dataset>.h5"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from asma import cli, record, skeleton, tracking
from asma.data import clips
from asma.data.recordings import Recording, Store, shown
from asma.data.sets import Set
from asma.plan import Plan
from asma.progress import progress


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    dataset: Set
    prepare: clips.Prepare


def main(plan: Plan) -> None:
    settings, dataset = plan.load(Settings), plan.axes["dataset"]
    known, prepare = settings.dataset, settings.prepare
    recordings, out = plan.path("recordings"), plan.path("clips")
    with tracking.run("prepare", dataset=dataset) as log, Store(recordings) as store:
        log.params({"prepare": asdict(prepare), "bodies": known.bodies})

        def reported(items: Iterator[Recording]) -> Iterator[Recording]:
            return progress(items, f"prepare {dataset}", len(store), "clip")

        layout = skeleton.load(known.layout)
        empty = clips.write(out, store, layout, known.bodies, prepare, reported)
        kept = len(store) - len(empty)
        log.metrics({"clips": kept, "empty": len(empty)})
        counts = {"clips": kept, "empty": len(empty), "empty_names": empty}
        record.write(plan.folder / "metrics.json", counts)
        log.summary(
            f"{kept} clips of {prepare.frames} frames by {prepare.recipe}, "
            f"{len(empty)} empty recordings left out"
        )
        if empty:
            log.summary(f"  without a body in any frame: {shown(empty)}")


if __name__ == "__main__":
    cli.run(main)
