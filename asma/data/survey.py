"""What a raw folder holds, before anything is read: the words that readers and the parser share."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asma.data.recordings import Recording, RecordingError, shown

UNREADABLE = {
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst"), "a compressed file"),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz"), "an archive"),
    ".mat": "a file of MATLAB",
    **dict.fromkeys((".npy", ".npz", ".pkl", ".h5", ".hdf5"), "a binary file of arrays"),
}


@dataclass(frozen=True)
class Source:
    """What a reader is told about its set.

    `bodies` is the most one recording may hold where the format does not say; `classes` the class
    names in label order, None if the set brings them; `class_count` how many classes the set has,
    None for all found; `excluded` names that are to be left out (an official list of incomplete
    samples); `slicing` how PKU-MMD's labels count frames; `up` and `unit` are the axes and the
    unit of positions where the format leaves them open.
    """

    joints: int
    bodies: int = 2
    classes: tuple[str, ...] | None = None
    class_count: int | None = None
    excluded: frozenset[str] = frozenset()
    slicing: str = "one_based_inclusive"
    up: str = "y"
    unit: str = "m"


@dataclass
class Survey:
    """The jobs to read, in the order of the names they give, and what was settled by looking at
    names alone.

    `classes` are the class names; `excluded` names that are present and on the excluded list;
    `left_out` says for a name why it is no recording of this set; `errors` are files that cannot
    be jobs; `notes` what a person should know; `absent` by split column what an official list
    names and the folder lacks.
    """

    jobs: list[Any] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    errors: list[RecordingError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Reading:
    """What one job gave: its recordings sorted by name, and what it had to leave out and why.

    `errors` are faults of single recordings beside which the others can be read; `notes` what a
    person should know.
    """

    recordings: list[Recording]
    left_out: dict[str, str] = field(default_factory=dict)
    errors: list[RecordingError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def files(raw: Path, pattern: str) -> Iterator[Path]:
    """All files below a folder whose name matches a pattern, sorted; hidden files are nobody's
    recordings.

    Linked folders are entered. Raises RecordingError if there is no such folder.
    """
    if not raw.is_dir():
        raise RecordingError(raw, None, "no such folder", "the folder of the raw files")
    wanted = re.compile(pattern, re.IGNORECASE)
    found = []
    for folder, folders, names in os.walk(raw, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        names = [name for name in names if not name.startswith(".") and wanted.fullmatch(name)]
        found += [os.path.join(folder, name) for name in names]
    return map(Path, sorted(found))


def unreadable(name: str) -> str:
    """What a file is by its ending that no reader here opens, "" for any other."""
    return next((kind for ending, kind in UNREADABLE.items() if name.lower().endswith(ending)), "")


def unread(raw: Path, found: Survey, recording: str, read: Container[str]) -> None:
    """Tell of files below a folder that no reader opens: they would be missing without a word.

    One that is called like a recording (pattern `recording`) and is not among those `read` is an
    error, any other a note.
    """
    others = []
    for path in files(raw, r".*(?:" + "|".join(map(re.escape, UNREADABLE)) + ")"):
        kind, name = unreadable(path.name), path.name.partition(".")[0].upper()
        if not re.fullmatch(recording, name):
            others.append(f"{path.relative_to(raw)} ({kind})")
        elif name not in read:
            found.errors.append(RecordingError(path, None, kind, "a text file, unpacked"))
    if others:
        found.notes.append(f"not read: {shown(others)}")


def class_names(source: Source, count: int, pattern: str) -> list[str]:
    """The names of the first `count` classes: the source's own, else `pattern` filled with 1, 2, …

    Raises ValueError if the source names fewer.
    """
    if source.classes is None:
        return [pattern.format(k + 1) for k in range(count)]
    if len(source.classes) < count:
        raise ValueError(f"classes: found {len(source.classes)} names; expected at least {count}")
    return list(source.classes[:count])
