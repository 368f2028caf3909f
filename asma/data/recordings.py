"""Recordings: every body of every frame as it was recorded, and the HDF5 file that keeps them.

One file a data set, `data/recordings/<dataset>.h5`, and all of it plain HDF5:

    names (N,) text, sorted · labels (N,) from 0 · lengths (N,) frames · columns/<column> (N,)
    classes (K,) text
    first (N + 1,): rows first[i]:first[i + 1] belong to recording i
    frame (R,), body (R,) tracking id, xyz (R, V, 3) metres: one row for each body of each frame

The rows of a frame keep the order in which the raw file lists them, and a frame without bodies has
no row: nothing of the joint positions is lost, and who is kept is decided later.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

INTEGER = re.compile(r"[+-]?\d{1,18}")
CHUNK = 512  # rows; 150 kB of 25 joints, about five recordings of NTU RGB+D
BLOCK = 16 * CHUNK  # rows that are read or written at once
# Not lzf: its output depends on what the memory held before, and the same data must give the same
# bytes.
PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class RecordingError(ValueError):
    """A raw file that is not what its format says: where, what was found and what was expected."""

    def __init__(self, path: Path | str, line: int | None, found: str, expected: str) -> None:
        # the four arguments, so that it survives pickling
        super().__init__(path, line, found, expected)
        self.path, self.line, self.found, self.expected = Path(path), line, found, expected

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line is not None else str(self.path)
        return f"{where}: found {self.found}; expected {self.expected}"


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording of one action.

    `label` counts from 0, `length` is the number of frames. Row r is one body in one frame:
    `frame` (R,) int32 from 0, never falling; `body` (R,) int64, its tracking id; `xyz` (R, V, 3)
    float32, metres, may hold NaN.
    """

    name: str
    label: int
    columns: dict[str, int | str]
    length: int
    frame: np.ndarray
    body: np.ndarray
    xyz: np.ndarray


def write(
    path: Path,
    recordings: Iterable[Recording],
    *,
    classes: list[str],
    dataset: str,
    format: str,
    layout: str,
    joints: int,
    parameters: dict[str, Any],
    source: str = "",
    absent: dict[str, list[str]] | None = None,
    threads: int = 1,
) -> None:
    """Write recordings as they come; what is held in memory does not grow with the positions
    written.

    `parameters` is what the parser was told, kept as JSON; `absent` by column what an official
    split names and no recording has; so many `threads` pack the rows. The same recordings give the
    same bytes. Nothing is left at `path` unless everything was written. Raises ValueError for names
    that are not sorted or come twice, a label without a class, columns that differ between
    recordings, or arrays that do not fit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(path) as partial,
        h5py.File(partial, "w") as file,
        ThreadPoolExecutor(threads) as packers,
    ):
        rows = _Rows(file, joints, packers)
        names: list[str] = []
        labels: list[int] = []
        lengths: list[int] = []
        first: list[int] = [0]
        columns: dict[str, list[int | str]] = {}
        for recording in recordings:
            _check(recording, names[-1] if names else None, len(classes), joints)
            if not names:
                columns = {column: [] for column in recording.columns}
            if recording.columns.keys() != columns.keys():
                here = f"{recording.name}: found columns {sorted(recording.columns)}"
                raise ValueError(f"{here}; expected {sorted(columns)} as before")
            for column, value in recording.columns.items():
                columns[column].append(value)
            names.append(recording.name)
            labels.append(recording.label)
            lengths.append(recording.length)
            first.append(first[-1] + len(recording.frame))
            rows.add(recording)
        rows.flush()
        write_column(file, "names", names)
        file.create_dataset("labels", data=np.array(labels, np.int64), **_small(len(labels)))
        file.create_dataset("lengths", data=np.array(lengths, np.int32), **_small(len(lengths)))
        file.create_dataset("first", data=np.array(first, np.int64), **_small(len(first)))
        write_column(file, "classes", classes)
        group = file.create_group("columns")
        for column in sorted(columns):
            write_column(group, column, columns[column])
        file.attrs["kind"] = "recordings"
        file.attrs["dataset"] = dataset
        file.attrs["format"] = format
        file.attrs["layout"] = layout
        file.attrs["joints"] = joints
        file.attrs["parameters"] = json.dumps(parameters, sort_keys=True)
        file.attrs["source"] = source
        file.attrs["absent"] = json.dumps(absent or {}, sort_keys=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` if the block ends well, and is taken away
    if not.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class Store:
    """A file of recordings, opened for reading; also a context manager.

    `names`, `classes` (lists of str), `labels` (N,) int64, `lengths` (N,) int32, `columns` (each
    (N,), int64 or str) and `attrs` are in memory; positions are read when a recording is asked
    for. Going through all recordings with `for` reads block by block and is much faster than
    asking for one after another.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.file = h5py.File(self.path, "r")
        self.attrs: dict[str, Any] = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in self.file.attrs.items()
        }
        if self.attrs.get("kind") != "recordings":
            self.file.close()
            raise ValueError(
                f"{path}: found kind {self.attrs.get('kind')!r}; expected 'recordings'"
            )
        self.names: list[str] = read_column(self.file["names"]).tolist()
        self.classes: list[str] = read_column(self.file["classes"]).tolist()
        self.labels: np.ndarray = self.file["labels"][:]
        self.lengths: np.ndarray = self.file["lengths"][:]
        self.first: np.ndarray = self.file["first"][:]
        self.columns: dict[str, np.ndarray] = {
            column: read_column(values) for column, values in self.file["columns"].items()
        }

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Recording:
        if not -len(self) <= i < len(self):
            raise IndexError(
                f"{self.path}: found index {i}; expected one of {len(self)} recordings"
            )
        i %= len(self)
        return next(self._block(i, i + 1))

    def __iter__(self) -> Iterator[Recording]:
        begin = 0
        while begin < len(self):
            end = int(np.searchsorted(self.first, self.first[begin] + BLOCK, side="right")) - 1
            end = min(max(end, begin + 1), len(self))
            yield from self._block(begin, end)
            begin = end

    def _block(self, begin: int, end: int) -> Iterator[Recording]:
        offset = int(self.first[begin])
        frame, body, xyz = (
            self.file[part][offset : int(self.first[end])] for part in ("frame", "body", "xyz")
        )
        for i in range(begin, end):
            rows = slice(int(self.first[i]) - offset, int(self.first[i + 1]) - offset)
            columns = {column: values[i].item() for column, values in self.columns.items()}
            yield Recording(
                name=self.names[i],
                label=int(self.labels[i]),
                columns=columns,
                length=int(self.lengths[i]),
                frame=frame[rows],
                body=body[rows],
                xyz=xyz[rows],
            )

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def listed(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frame and slot of each row that files with fixed slots for bodies give: xyz (frames, bodies,
    V, 3).

    An empty slot, all zero, is no row, unless a later one of its frame holds somebody: otherwise
    that body would take its place among those listed, as if another person had jumped there. NaN
    counts as present.
    """
    present = (xyz != 0).any(axis=(2, 3))
    frame, slot = np.nonzero(np.maximum.accumulate(present[:, ::-1], axis=1)[:, ::-1])
    return frame, slot


def of_slots(
    xyz: np.ndarray, name: str = "", label: int = 0, columns: dict[str, int | str] | None = None
) -> Recording:
    """A recording from positions in fixed slots for bodies, xyz (frames, bodies, V, 3) in metres;
    see `listed`.
    """
    frame, body = listed(xyz)
    rows = xyz[frame, body].astype(np.float32)
    return Recording(
        name, label, columns or {}, len(xyz), frame.astype(np.int32), body.astype(np.int64), rows
    )


def plain(value: object) -> str:
    """A column's value as text: numbers without leading zeros or a plus sign, so that 01, "1" and
    1 are the same.
    """
    text = str(value)
    return str(int(text)) if INTEGER.fullmatch(text) else text


def shown(names: Sequence[str], most: int = 10) -> str:
    """The first few of some names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f", … and {rest} more" if rest > 0 else "")


def write_column(group: h5py.Group, name: str, values: Sequence[int | str]) -> None:
    """One value a recording: int64 where all are integers, else UTF-8 text of one width
    (compressible).

    Raises ValueError if integers and words are mixed.
    """
    if len(values) and all(isinstance(value, int | np.integer) for value in values):
        group.create_dataset(name, data=np.array(values, np.int64), **_small(len(values)))
        return
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"column {name}: found integers and words; expected one or the other")
    encoded = [str(value).encode() for value in values]
    kind = h5py.string_dtype("utf-8", max([1, *(len(value) for value in encoded)]))
    group.create_dataset(name, data=np.array(encoded, kind), **_small(len(values)))


def read_column(dataset: h5py.Dataset) -> np.ndarray:
    """What write_column wrote: int64 (N,) or str (N,)."""
    if h5py.check_string_dtype(dataset.dtype) is None:
        return dataset[:]
    return np.array(dataset.asstr()[:], dtype=np.str_)


def _small(count: int) -> dict[str, Any]:
    # an empty dataset cannot be chunked
    return {**PACKED, "chunks": (min(count, 4096),)} if count else {}


def _check(recording: Recording, last: str | None, classes: int, joints: int) -> None:
    name, rows = recording.name, len(recording.frame)
    if last is not None and name <= last:
        raise ValueError(
            f"found recording {name!r} after {last!r}; expected sorted names, each once"
        )
    if not 0 <= recording.label < classes:
        raise ValueError(f"{name}: found label {recording.label}; expected 0 to {classes - 1}")
    if recording.xyz.shape != (rows, joints, 3) or recording.body.shape != (rows,):
        raise ValueError(
            f"{name}: found body {recording.body.shape} and xyz {recording.xyz.shape}; "
            f"expected ({rows},) and ({rows}, {joints}, 3)"
        )
    steps = np.diff(recording.frame)
    if rows and (
        recording.frame[0] < 0 or recording.frame[-1] >= recording.length or (steps < 0).any()
    ):
        expected = f"0 to {recording.length - 1}, never falling"
        raise ValueError(f"{name}: found frames out of order; expected {expected}")


def _pack(values: np.ndarray) -> bytes:
    """A chunk as PACKED leaves it: the values' first bytes, then their second bytes and so on; and
    that by gzip.
    """
    shuffled = values.reshape(-1).view(np.uint8).reshape(-1, values.itemsize).T
    return zlib.compress(shuffled.tobytes(), PACKED["compression_opts"])


class _Rows:
    """Collects rows and writes them in whole chunks, so that the bytes do not depend on how they
    came.

    HDF5 would pack one chunk after another, which takes longer than all else this process does in
    a parse and keeps more than two or three readers waiting; so whole chunks are packed here,
    several at a time.
    """

    def __init__(self, file: h5py.File, joints: int, threads: ThreadPoolExecutor) -> None:
        parts: dict[str, tuple[type, tuple[int, ...]]] = {
            "frame": (np.int32, ()),
            "body": (np.int64, ()),
            "xyz": (np.float32, (joints, 3)),
        }
        self.parts = {
            part: file.create_dataset(
                part,
                (0, *shape),
                kind,
                maxshape=(None, *shape),
                chunks=(CHUNK, *shape),
                **PACKED,
            )
            for part, (kind, shape) in parts.items()
        }
        self.threads = threads
        self.held: list[Recording] = []
        self.count = 0

    def add(self, recording: Recording) -> None:
        self.held.append(recording)
        self.count += len(recording.frame)
        if self.count >= BLOCK:
            self.flush(keep=self.count % CHUNK)

    def flush(self, keep: int = 0) -> None:
        if not self.held:
            return
        rest: dict[str, np.ndarray] = {}
        for part, dataset in self.parts.items():
            values = np.concatenate([getattr(recording, part) for recording in self.held])
            done = len(values) - keep
            begin = len(dataset)
            dataset.resize(begin + done, axis=0)
            whole = done - done % CHUNK
            chunks = [values[k : k + CHUNK] for k in range(0, whole, CHUNK)]
            for k, packed in enumerate(self.threads.map(_pack, chunks)):
                dataset.id.write_direct_chunk(
                    (begin + k * CHUNK, *(0 for _ in values.shape[1:])), packed
                )
            dataset[begin + whole :] = values[whole:done]
            rest[part] = values[done:]
        self.held = [Recording("", 0, {}, 0, **rest)] if keep else []
        self.count = keep
