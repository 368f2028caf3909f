"""Who is train, who is test.   data/{clips,motion}/<dataset>.h5 → data/benchmarks/<dataset>_<split>.h5"""

from __future__ import annotations

from pathlib import Path

from asma import cli, params, tracking
from asma.data import benchmarks, counts, sets
from asma.data.recordings import shown


def main(benchmark: str, clips: Path, motion: Path, out: Path) -> None:
    content = params.read()
    dataset, name = params.dataset_of(benchmark, content["datasets"])
    set_ = params.load(f"sets.{dataset}", sets.Set)
    if name not in set_.splits:
        known = ", ".join(set_.splits) or "none"
        raise params.ParamsError(f"params.yaml: sets.{dataset}.splits: found no {name!r}, there is {known}")
    params.check_budget(set_.budget, f"sets.{dataset}.budget")
    with tracking.run("split", benchmark=benchmark) as log:
        log.params({"column": set_.splits[name].column, "budget": set_.budget})
        paths = (clips / f"{dataset}.h5", motion / f"{dataset}.h5")
        written = benchmarks.write(out, benchmark, set_, set_.splits[name], *paths)
        found = written.counts
        log.metrics({f"n_{part}": count for part, count in found.items()})
        published = counts.published_counts().get(dataset, {}).get(name)
        beside = f"; published: {published['train']} / {published['test']}" if published else ""
        log.summary(f"{benchmark}: {found['train']} train / {found['test']} test{beside}")
        column = set_.splits[name].column
        for what, names in (
            (f"values of {column} listed, but in no recording", written.absent),
            (f"names in the official list of {column}, but in no recording", written.unlisted),
            ("classes with test but no training recordings", written.unseen),
        ):
            if names:
                log.summary(f"  {len(names)} {what}: {shown(names)}")


if __name__ == "__main__":
    cli.run(main)
