"""Recordings become clips.   data/recordings/<dataset>.h5 → data/clips/<dataset>.h5"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from asma import cli, params, record, skeleton, tracking
from asma.data import clips
from asma.data.recordings import Recording, Store, shown
from asma.data.sets import Set
from asma.progress import progress


def main(dataset: str, recordings: Path, out: Path, metrics: Path) -> None:
    set_ = params.load(f"sets.{dataset}", Set)
    how = params.load("prepare", clips.Prepare, set_.budget)
    with tracking.run("prepare", dataset=dataset) as log, Store(recordings) as store:
        log.params({"prepare": asdict(how), "bodies": set_.bodies})

        def reported(items: Iterator[Recording]) -> Iterator[Recording]:
            return progress(items, f"prepare {dataset}", len(store), "clip")

        empty = clips.write(out, store, skeleton.load(set_.layout), set_.bodies, how, reported)
        kept = len(store) - len(empty)
        log.metrics({"clips": kept, "empty": len(empty)})
        record.write(metrics, {"clips": kept, "empty": len(empty), "empty_names": empty})
        log.summary(f"{kept} clips of {how.frames} frames by {how.recipe}, {len(empty)} empty recordings left out")
        if empty:
            log.summary(f"  without a body in any frame: {shown(empty)}")


if __name__ == "__main__":
    cli.run(main)
