"""Who is train and who is test: `data/benchmarks/<dataset>_<split>.h5`.

The file holds the numbers of the training and of the test clips, what the set is (budget,
demonstration, switched-off augmentations), digests of the files it speaks of, and HDF5 links
`clips` and `motion` to them, so that it reads as if everything were in it. Every later stage
depends on this one small file: it changes when, and only when, something that the benchmark rests
on does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from asma import skeleton
from asma.data.recordings import plain, read_column
from asma.data.sets import Set, Split
from asma.skeleton import Skeleton

BLOCK = 2048  # clips read at once
PARTS = ("train", "test")


class SplitError(ValueError):
    """A split that leaves nobody to train on or to test; names the column and what it holds."""


class Written(NamedTuple):
    """What a benchmark turned out to be."""

    counts: dict[str, int]  # clips of train and of test
    absent: list[str]  # what the split lists and no recording has
    unlisted: list[str]  # what the official list of the split's column names and no recording has
    unseen: list[str]  # classes with test clips and without a training clip


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test half of a benchmark, in memory."""

    names: list[str]
    labels: np.ndarray  # (n,) int64
    clips: np.ndarray  # (n, C, T, V, M) float32
    lengths: np.ndarray  # (n,) int64, frames of each clip that are of its recording; the rest pads


def divide(values: np.ndarray, split: Split, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training and the test clips by the values (N,) of the split's column.

    Values are compared as text without leading zeros, so 1, "1" and "01" are the same subject.
    Raises SplitError.
    """
    words = np.array([plain(v) for v in values.tolist()])
    in_train = np.isin(words, [plain(v) for v in split.train])
    in_test = (
        ~in_train & (words != "")
        if split.test is None
        else np.isin(words, [plain(v) for v in split.test])
    )
    for part, chosen in (("train", in_train), ("test", in_test)):
        if not chosen.any():
            raise SplitError(
                f"{where}: column {split.column!r} leaves no recording for {part}; "
                f"it holds {', '.join(sorted(set(words))[:20])}"
            )
    if (in_train & in_test).any():
        raise SplitError(
            f"{where}: {sorted(set(words[in_train & in_test].tolist()))} stand in train and in test"
        )
    return np.flatnonzero(in_train), np.flatnonzero(in_test)


def absent(values: np.ndarray, split: Split) -> list[str]:
    """What a split lists and the column's values (N,) do not hold: a misspelling, or who is not in
    these recordings.
    """
    held = {plain(v) for v in np.unique(values).tolist()}
    return [word for word in map(plain, [*split.train, *(split.test or [])]) if word not in held]


def write(
    path: Path,
    benchmark: str,
    set_: Set,
    split: Split,
    clips: Path,
    motion: Path,
) -> Written:
    """Write the benchmark file. Raises SplitError."""
    where = f"benchmark {benchmark}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(clips, "r") as source:
        if split.column not in source["columns"]:
            known = ", ".join(source["columns"])
            raise SplitError(
                f"{where}: found no column {split.column!r} in {clips}, expected one of {known}"
            )
        values = read_column(source["columns"][split.column])
        train, test = divide(values, split, where)
        layout = str(source.attrs["layout"])
        unlisted = json.loads(source.attrs.get("absent", "{}")).get(split.column, [])
        classes, labels = read_column(source["classes"]), source["labels"][:]
        unseen = classes[np.setdiff1d(labels[test], labels[train])].tolist()
    with h5py.File(path, "w") as file:
        file.create_dataset("train", data=train)
        file.create_dataset("test", data=test)
        for name, source in (("clips", clips), ("motion", motion)):
            # relative to the benchmark's own folder, so that data/ can be moved as a whole
            file[name] = h5py.ExternalLink(os.path.relpath(source, path.parent), "/")
        attrs: dict[str, Any] = {
            "kind": "benchmark",
            "benchmark": benchmark,
            "layout": layout,
            "budget": set_.budget,
            "demonstration": set_.demonstration,
            "without": json.dumps(set_.without),
            "person": set_.person,
            "split": json.dumps({"column": split.column, "train": split.train, "test": split.test}),
            "clips_sha256": _digest(clips),
            "motion_sha256": _digest(motion),
        }
        for key, value in attrs.items():
            file.attrs[key] = value
    counts = {"train": len(train), "test": len(test)}
    return Written(counts, absent(values, split), unlisted, unseen)


class Benchmark:
    """A benchmark file, opened for reading. Clips are read when a part is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with h5py.File(self.path, "r") as file:
            attrs = dict(file.attrs)
            if attrs.get("kind") != "benchmark":
                raise ValueError(
                    f"{path}: found a file of kind {attrs.get('kind')!r}, expected a benchmark"
                )
            self.name = str(attrs["benchmark"])
            self.budget = str(attrs["budget"])
            self.demonstration = bool(attrs["demonstration"])
            self.without: list[str] = json.loads(attrs["without"])
            self.person = str(attrs["person"])
            self.skeleton: Skeleton = skeleton.load(str(attrs["layout"]))
            self.indices: dict[str, np.ndarray] = {part: file[part][:] for part in PARTS}
            self.classes: list[str] = read_column(file["clips/classes"]).tolist()
            self.names: np.ndarray = read_column(file["clips/names"])
            self.labels: np.ndarray = file["clips/labels"][:]
            self.clip_shape: tuple[int, ...] = file["clips/clips"].shape[1:]

    def counts(self) -> dict[str, int]:
        """n_train and n_test."""
        return {f"n_{part}": len(self.indices[part]) for part in PARTS}

    def part(self, which: str) -> Part:
        """`train` or `test`, with its clips."""
        index = self.indices[which]
        clips = np.empty((len(index), *self.clip_shape), np.float32)
        with h5py.File(self.path, "r") as file:
            for start, block in _blocks(file["clips/clips"]):
                low, high = np.searchsorted(index, [start, start + len(block)])
                clips[low:high] = block[index[low:high] - start]
            if "lengths" in file["clips"]:
                lengths = file["clips/lengths"][:][index].astype(np.int64)
            else:  # recordings were brought to one length
                lengths = np.full(len(index), self.clip_shape[1])
        return Part(self.names[index].tolist(), self.labels[index], clips, lengths)

    def people(self, which: str) -> np.ndarray | None:
        """Who performs each recording of one part, (n,) int64 counted from 0.

        None where the recordings have no column for it: `person` of the set names the column.
        """
        with h5py.File(self.path, "r") as file:
            columns = file["clips/columns"]
            if self.person not in columns:
                return None
            values = read_column(columns[self.person])[self.indices[which]]
        return np.unique(values, return_inverse=True)[1].astype(np.int64)

    def motion(self, which: str, stream: str) -> np.ndarray:
        """Motion scores (n, T) float32 of one part's clips in one stream."""
        with h5py.File(self.path, "r") as file:
            return file[f"motion/{stream}"][:][self.indices[which]]


def _blocks(dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(dataset), BLOCK):
        yield start, dataset[start : start + BLOCK]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
