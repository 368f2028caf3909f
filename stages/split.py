"""Who is train, who is test.   data/{clips,motion}/<dataset>.h5 → data/benchmarks/<benchmark>.h5"""

from __future__ import annotations

from dataclasses import dataclass

from asma import cli, tracking
from asma.data import benchmarks, counts
from asma.data.recordings import shown
from asma.data.sets import Set
from asma.plan import Plan


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters; of the set's splits its own alone."""

    dataset: Set


def main(plan: Plan) -> None:
    benchmark, known = plan.axes["split"], plan.load(Settings).dataset
    ((name, split),) = known.splits.items()
    dataset = benchmark.removesuffix(f"_{name}")
    with tracking.run("split", benchmark=benchmark) as log:
        log.params({"column": split.column, "budget": known.budget})
        paths = (plan.path("clips"), plan.path("motion"))
        written = benchmarks.write(plan.folder, benchmark, known, split, *paths)
        found = written.counts
        log.metrics({f"n_{part}": count for part, count in found.items()})
        published = counts.published_counts().get(dataset, {}).get(name)
        beside = f"; published: {published['train']} / {published['test']}" if published else ""
        log.summary(f"{benchmark}: {found['train']} train / {found['test']} test{beside}")
        column = split.column
        for what, names in (
            (f"values of {column} listed, but in no recording", written.absent),
            (f"names in the official list of {column}, but in no recording", written.unlisted),
            ("classes with test but no training recordings", written.unseen),
        ):
            if names:
                log.summary(f"  {len(names)} {what}: {shown(names)}")


if __name__ == "__main__":
    cli.run(main)
