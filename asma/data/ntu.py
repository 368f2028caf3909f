"""NTU RGB+D 60 and 120: `SsssCcccPpppRrrrAaaa.skeleton` → recordings.

The text, line by line: the number of frames; then for each frame the number of bodies, and for
each body 10 numbers that begin with its 64-bit tracking id, the number of joints (25), and 25
lines of 12 numbers that begin with x y z in metres. (File naming and format: the README and the
Matlab reader that the authors of NTU RGB+D publish, github.com/shahroudy/NTURGB-D.)

Where everything stands follows from how many numbers each line holds, so a file is checked and its
positions are converted as arrays; only one that does not fit is walked line by line, to say where
and why. Tracking ids are read as integers: they lie above 2^53, where floating point merges
neighbours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma.data import text
from asma.data.recordings import Recording, RecordingError
from asma.data.survey import Reading, Source, Survey, class_names, files, unread

JOINTS = 25
BODY = 10  # numbers on a body's line
JOINT = 12  # numbers on a joint's line
NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
# A file by how many numbers its lines hold, a byte a line: frames; for each frame bodies; for each
# body 27 lines.
GRAMMAR = re.compile(b"%c(?:%c(?:%c%c%c{%d})*+)*+" % (1, 1, BODY, 1, JOINT, JOINTS))


@dataclass(frozen=True)
class Job:
    """One file to read and what its name says."""

    path: Path
    name: str
    label: int
    columns: dict[str, int | str]


def survey(raw: Path, source: Source) -> Survey:
    """Find all `.skeleton` files below a folder; setup, camera, subject, replication, class are in
    the names.

    Files of classes beyond the set's are left out, so that NTU-60 may share a folder with NTU-120.
    Raises ValueError if the set's joints are not the format's.
    """
    if source.joints != JOINTS:
        raise ValueError(
            f"joints: found {source.joints}; expected {JOINTS}, as every .skeleton file has"
        )
    found = Survey()
    seen: dict[str, Path] = {}
    for path in files(raw, r".*\.skeleton"):
        match = NAME.fullmatch(path.stem)
        if match is None or "000" in match.groups():
            expected = "SsssCcccPpppRrrrAaaa.skeleton, each number from 001"
            found.errors.append(RecordingError(path, None, f"the name {path.name}", expected))
            continue
        if path.stem in seen:
            found.errors.append(
                RecordingError(path, None, f"a second file beside {seen[path.stem]}", "one")
            )
            continue
        seen[path.stem] = path
        setup, camera, subject, replication, action = (int(part) for part in match.groups())
        if path.stem in source.excluded:
            found.excluded.append(path.stem)
        elif source.class_count is not None and action > source.class_count:
            found.left_out[path.stem] = (
                f"class A{action:03} is beyond the set's {source.class_count}"
            )
        else:
            columns: dict[str, int | str] = {
                "setup": setup,
                "camera": camera,
                "subject": subject,
                "replication": replication,
            }
            found.jobs.append(Job(path, path.stem, action - 1, columns))
    unread(raw, found, NAME.pattern, seen)
    found.jobs.sort(key=lambda job: job.name)
    found.excluded.sort()
    count = source.class_count or max((job.label + 1 for job in found.jobs), default=0)
    found.classes = class_names(source, count, "A{:03}")
    return found


def read(job: Job) -> Reading:
    """Read one file whole. Raises RecordingError naming the first line that breaks the grammar."""
    data = text.load(job.path)
    parts = _whole(data)
    if parts is None:
        parts = _line_by_line(job.path, data)
    length, frame, body, xyz = parts
    return Reading([Recording(job.name, job.label, job.columns, length, frame, body, xyz)])


# frames, frame (R,), body (R,), xyz (R, V, 3)
Parts = tuple[int, np.ndarray, np.ndarray, np.ndarray]


def _whole(data: bytes) -> Parts | None:
    """All of a file at once; None if anything about it is unusual.

    What is not kept (pixels, orientations) is checked for its place and alphabet but not
    converted: that would double the time.
    """
    tokens = text.tokens(data)
    if tokens is None:
        return None
    first, counts = tokens.first, np.diff(tokens.first)
    if not GRAMMAR.fullmatch(np.minimum(counts, 255).astype(np.uint8).tobytes()):
        return None
    # 1) integers: the first number of every line that is no joint's
    lines = np.flatnonzero(counts != JOINT)
    integers = tokens.integers(first[lines])
    if integers is None:
        return None
    value = np.zeros(len(counts), np.int64)
    value[lines] = integers
    # 2) the counts are right: of frames, of the bodies that each lists, of their joints
    heads = np.flatnonzero(counts == BODY)
    others = counts == 1
    others[heads + 1] = False
    frames = np.flatnonzero(others)[1:]
    listed = np.diff(np.append(frames, len(counts))) // (2 + JOINTS)
    if (
        value[0] != len(frames)
        or (value[frames] != listed).any()
        or (value[heads + 1] != JOINTS).any()
    ):
        return None
    # 3) positions: the first three numbers of every joint's line
    xyz = tokens.floats(first[np.flatnonzero(counts == JOINT)], 3)
    if xyz is None:
        return None
    frame = np.repeat(np.arange(len(frames), dtype=np.int32), listed)
    return len(frames), frame, value[heads], xyz.reshape(-1, JOINTS, 3)


def _line_by_line(path: Path, data: bytes) -> Parts:
    """The same, slowly, for a file that is unusual; says what breaks the grammar where it is
    broken.
    """
    lines = data.split(b"\n")
    at = 0  # lines read

    def fail(found: str, expected: str, line: int | None = None) -> RecordingError:
        return RecordingError(path, at if line is None else line, found, expected)

    def take(count: int, expected: str) -> list[bytes]:
        nonlocal at
        at += 1
        if at > len(lines):
            raise fail("the end of the file", expected)
        numbers = lines[at - 1].split()
        for place, token in enumerate(numbers, start=1):
            if text.number(token) is None:
                raise fail(f"{text.show(token)} as number {place}", f"{expected}, all numbers")
        if len(numbers) != count:
            raise fail(
                text.plural(len(numbers), "number"), f"{expected}: {text.plural(count, 'number')}"
            )
        return numbers

    def whole(token: bytes, expected: str, least: int) -> int:
        value = text.integer(token)
        if value is None or value < least:
            raise fail(text.show(token), expected)
        return value

    expected = "the number of frames, an integer from 0"
    length = whole(take(1, expected)[0], expected, 0)
    frame: list[int] = []
    ids: list[int] = []
    xyz: list[list[list[float]]] = []
    for f in range(length):
        expected = f"the number of bodies in frame {f + 1} of {length}, an integer from 0"
        bodies = whole(take(1, expected)[0], expected, 0)
        for b in range(bodies):
            where = f"body {b + 1} of {bodies} in frame {f + 1} of {length}"
            tracked = take(BODY, f"tracking id and state of {where}")[0]
            ids.append(whole(tracked, f"the tracking id of {where}, a 64-bit integer", -(2**63)))
            frame.append(f)
            expected = f"the number of joints of {where}, {JOINTS}"
            joints = take(1, expected)[0]
            if text.integer(joints) != JOINTS:
                raise fail(text.show(joints), expected)
            xyz.append([])
            for v in range(JOINTS):
                numbers = take(JOINT, f"joint {v + 1} of {JOINTS} of {where}")
                xyz[-1].append([float(token) for token in numbers[:3]])
    if at < len(lines):
        raise fail(
            text.plural(len(lines) - at, "more line"),
            f"the end of the file after {length} frames",
            at + 1,
        )
    positions = np.array(xyz, np.float64).reshape(-1, JOINTS, 3)
    return length, np.array(frame, np.int32), np.array(ids, np.int64), text.single(positions)
