"""A small data set as the stages leave it, for tests of what reads it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from asma import streams
from asma.data import benchmarks
from asma.data.recordings import write_column
from asma.data.sets import Set, Split

SUBJECTS = [3, 1, 2, 1, 3, 2, 1]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """data/ with clips and motion scores of seven clips of kinect_v1: 4 frames, 2 bodies."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "data"
    for part in ("clips", "motion"):
        (folder / part).mkdir(parents=True)
    with h5py.File(folder / "clips" / "toy.h5", "w") as file:
        file["clips"] = draw.normal(size=(7, 3, 4, 20, 2)).astype(np.float32)
        file["labels"] = np.array([0, 1, 2, 0, 1, 2, 0])
        write_column(file, "names", [f"r{i}" for i in range(7)])
        write_column(file, "classes", ["a", "b", "c"])
        write_column(file.create_group("columns"), "subject", list(SUBJECTS))
        write_column(file["columns"], "half", ["train", "test", "", "train", "test", "", "train"])
        file.attrs["layout"] = "kinect_v1"
    with h5py.File(folder / "motion" / "toy.h5", "w") as file:
        for stream in streams.STREAMS:
            file[stream] = draw.random((7, 4), np.float32)
    return folder


@pytest.fixture
def benchmark_file(toy: Path) -> Path:
    """The benchmark toy_xsub of that set: subjects 1 and 3 train, 2 tests."""
    split = Split(column="subject", train=[1, 3])
    set_ = Set(
        format="folder", layout="kinect_v1", bodies=2, budget="small", demonstration=True,
        without=["flip"], splits={"xsub": split},
    )  # fmt: skip
    path = toy / "benchmarks" / "toy_xsub.h5"
    benchmarks.write(
        path, "toy_xsub", set_, split, toy / "clips" / "toy.h5", toy / "motion" / "toy.h5"
    )
    return path
