"""How time grows with what a user may enlarge; drawn in `growth.svg`, one line a topic.

The figure reported is the exponent e of time ~ size^e between the smallest and the largest size: 1
is linear.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from asma import training
from asma.data import parse
from asma.report import rows, tables
from benchmarks.measure import Result, seconds
from benchmarks.pretraining import make, our_step
from demo import synthetic

FIGURE = Path(__file__).parent / "growth.svg"


def median(work: Callable[[], object], rounds: int) -> float:
    """Median seconds of several calls, after one that is not counted."""
    work()
    return statistics.median(seconds(work) for _ in range(rounds))


def step(rounds: int, **size: int) -> float:
    """Seconds of a pretraining step."""
    method, _, x, scores = make(
        size.pop("N", 16), size.pop("projector", 1024), size.pop("frames", 50)
    )
    return median(our_step(method, x, scores, "fp32"), rounds)


def parsing(subjects: int, rounds: int) -> tuple[int, float]:
    """NTU files and the seconds one process needs to read and store them."""
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw", Path(folder) / "out.h5"
        files = synthetic.write_ntu(raw, synthetic.Synthesize(subjects=subjects))["recordings"]

        def work() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                parse.parse(
                    raw, out, dataset="demo_ntu", format="ntu", layout="kinect_v2", joints=25,
                    bodies=2, classes=None, class_count=None, missing="none",
                    slicing="one_based_inclusive", on_error="stop", workers=1,
                )  # fmt: skip

        return files, median(work, rounds)


def tabling(encoders: int, rounds: int) -> tuple[int, float]:
    """Runs and the seconds to collect them and write the table."""
    streams = ["joint", "bone", "motion"]
    axes: list[dict[str, str]] = [
        {"stage": stage, "recipe": f"encoder{i}", "benchmark": "a_xsub"}
        for stage in ("probe", "finetune")
        for i in range(encoders)
    ]
    listed: list[dict[str, Any]] = [
        {
            "run": "runs/{stage}/{recipe}".format(**one),
            "streams": streams,
            "axes": one,
            "says": {},
            "columns": {},
        }
        for one in axes
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = rows.expected(listed)
        for item in files:
            path = item.path(Path(folder))
            path.parent.mkdir(parents=True)
            one = {
                "mode": item.says["stage"],
                "accuracy": 50.0,
                "top5": 80.0,
                "n_train": 9,
                "n_test": 9,
                "seed": 1,
            }
            about = {**item.says, "encoder": item.says["recipe"]}
            path.write_text(json.dumps({**about, "results": [one]}))

        def work() -> None:
            found = rows.collect(listed, Path(folder))
            tables.markdown(found), tables.as_csv(found.rows), tables.terminal(found.rows)

        return len(files), median(work, rounds)


def run(full: bool) -> list[Result]:
    """All lines; with `full` to larger sizes."""
    training.Run().start()
    torch.use_deterministic_algorithms(False)
    rounds = 5 if full else 3
    lines: dict[str, list[tuple[int, float]]] = {
        "step in batch size": [
            (N, step(rounds, N=N)) for N in ((8, 16, 32, 64, 128) if full else (8, 16, 32))
        ],
        "step in frames": [
            (T, step(rounds, N=8, frames=T))
            for T in ((25, 50, 100, 200) if full else (25, 50, 100))
        ],
        "step in projector width": [
            (P, step(rounds, N=8, projector=P))
            for P in ((512, 1024, 2048, 4096, 6144) if full else (512, 1024, 2048))
        ],
        "parsing in files": [parsing(n, rounds) for n in ((2, 4, 8, 16) if full else (1, 2, 4))],
        "table in runs": [
            tabling(n, rounds) for n in ((10, 40, 160, 640) if full else (10, 40, 160))
        ],
    }
    draw(lines)
    results = []
    for name, line in lines.items():
        (small, first), (large, last) = line[0], line[-1]
        exponent = math.log(last / first) / math.log(large / small)
        case = f"{name}, {small:,} to {large:,}"
        results.append(
            Result(
                topic="growth",
                case=case,
                unit="exponent",
                ours=exponent,
                limit=1.0,
                threads=torch.get_num_threads(),
            )
        )
    return results


def draw(lines: dict[str, list[tuple[int, float]]]) -> None:
    """Time over size, both relative to the smallest size, with the linear line."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    largest = max(line[-1][0] / line[0][0] for line in lines.values())
    axes.plot([1, largest], [1, largest], color="0.6", linestyle="--", label="linear")
    for (name, line), marker in zip(lines.items(), "osv^D", strict=True):
        (size, time) = line[0]
        axes.plot(
            [s / size for s, _ in line], [t / time for _, t in line], marker=marker, label=name
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="size, relative to the smallest",
        ylabel="time, relative to the smallest",
    )
    axes.legend()
    figure.savefig(FIGURE, metadata={"Date": None})
