"""Who is train, who is test.   data/{clips,motion}/<dataset>.h5 → data/benchmarks/<dataset>_<split>.h5"""

from __future__ import annotations

from pathlib import Path

from asma import cli, params, tracking
from asma.data import benchmarks, counts, sets


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
        found, absent = benchmarks.write(out, benchmark, set_, set_.splits[name], *paths)
        log.metrics({f"n_{part}": count for part, count in found.items()})
        published = counts.published_counts().get(dataset, {}).get(name)
        beside = f"; published: {published['train']} / {published['test']}" if published else ""
        log.summary(f"{benchmark}: {found['train']} train / {found['test']} test{beside}")
        if absent:
            shown = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
            log.summary(f"  listed, but in no recording: {set_.splits[name].column} {shown}")


if __name__ == "__main__":
    cli.run(main)
