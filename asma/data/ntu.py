"""NTU RGB+D 60 and 120: `SsssCcccPpppRrrrAaaa.skeleton` → recordings.

The text, line by line: the number of frames; then for each frame the number of bodies, and for each body
10 numbers that begin with its 64-bit tracking id, the number of joints (25), and 25 lines of 12 numbers that
begin with x y z in metres. (File naming and format: the README and the Matlab reader that the authors of
NTU RGB+D publish, github.com/shahroudy/NTURGB-D.)

A file's layout is known once its counts of bodies are, so its tokens are found and its positions converted by
NumPy as one array; only a file that does not fit is walked line by line, to say where and why. Tracking ids
are read as integers: they lie above 2^53, where floating point merges neighbours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma.data import text
from asma.data.recordings import Recording, RecordingError
from asma.data.survey import Reading, Source, Survey, class_names, files

JOINTS = 25
BODY = 10  # numbers on a body's line
JOINT = 12  # numbers on a joint's line
NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
NUMERALS = b"0123456789+-.eE \t\n"
WORDS = re.compile(rb"(?:nan|inf(?:inity)?)*", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """One file to read and what its name says."""

    path: Path
    name: str
    label: int
    columns: dict[str, int | str]


def survey(raw: Path, source: Source) -> Survey:
    """Find all `.skeleton` files below a folder; setup, camera, subject, replication, class are in the names.

    Files of classes beyond the set's are left out, so that NTU-60 may share a folder with NTU-120.
    Raises ValueError if the set's joints are not the format's.
    """
    if source.joints != JOINTS:
        raise ValueError(f"joints: found {source.joints}; expected {JOINTS}, as every .skeleton file has")
    found = Survey()
    seen: dict[str, Path] = {}
    for path in files(raw, r".*\.skeleton"):
        match = NAME.fullmatch(path.stem)
        if match is None or "000" in match.groups():
            expected = "SsssCcccPpppRrrrAaaa.skeleton, each number from 001"
            found.errors.append(RecordingError(path, None, f"the name {path.name}", expected))
            continue
        if path.stem in seen:
            found.errors.append(RecordingError(path, None, f"a second file beside {seen[path.stem]}", "one"))
            continue
        seen[path.stem] = path
        setup, camera, subject, replication, action = (int(part) for part in match.groups())
        if path.stem in source.excluded:
            found.excluded.append(path.stem)
        elif source.class_count is not None and action > source.class_count:
            found.left_out[path.stem] = f"class A{action:03} is beyond the set's {source.class_count}"
        else:
            columns: dict[str, int | str] = {
                "setup": setup,
                "camera": camera,
                "subject": subject,
                "replication": replication,
            }
            found.jobs.append(Job(path, path.stem, action - 1, columns))
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


Parts = tuple[int, np.ndarray, np.ndarray, np.ndarray]  # frames, frame (R,), body (R,), xyz (R, V, 3)


def _whole(data: bytes) -> Parts | None:
    """All of a file at once; None if anything about it is unusual.

    What is not kept (pixels, orientations) is checked for its place and alphabet but not converted: that
    would double the time.
    """
    if not WORDS.fullmatch(data.translate(None, NUMERALS)):
        return None
    starts, first = text.tokens(data)
    lines = len(first) - 1
    counts = np.diff(first)
    begins = starts[np.minimum(first, len(starts) - 1)].tolist()  # of each line
    # 1) walk the counts of bodies: the only lines whose place is not known beforehand
    frame: list[int] = []
    heads: list[int] = []  # the line of each body
    singles: list[int] = [0]  # lines that hold one number
    try:
        length = int(data[: begins[1]]) if lines > 1 else int(data)
        line = 1
        for f in range(length):
            end = begins[line + 1] if line + 1 < lines else len(data)
            bodies = int(data[begins[line] : end])
            singles.append(line)
            following = line + 1 + bodies * (2 + JOINTS)
            if bodies < 0 or following > lines:
                return None
            heads += range(line + 1, following, 2 + JOINTS)
            frame += [f] * bodies
            line = following
    except (ValueError, IndexError):
        return None
    if line != lines or length < 0:
        return None
    # 2) every line holds as many numbers as its place asks for
    at = np.array(heads, np.int64)
    joint = at[:, None] + 2 + np.arange(JOINTS)  # (R, V)
    if (counts[singles] != 1).any() or (counts[at] != BODY).any() or (counts[at + 1] != 1).any():
        return None
    if (counts[joint] != JOINT).any():
        return None
    # 3) ids as integers; positions from the first three tokens of each joint's line
    ids = []
    for h in heads:
        body = text.integer(data[begins[h] : starts[first[h] + 1]])
        if body is None or data[begins[h + 1] : begins[h + 2]].strip() != b"25":
            return None
        ids.append(body)
    begin = first[joint.ravel()]
    xyz = text.floats(text.cut(data, starts[begin], starts[begin + 3]), len(begin) * 3)
    if xyz is None:
        return None
    return length, np.array(frame, np.int32), np.array(ids, np.int64), xyz.reshape(-1, JOINTS, 3)


def _line_by_line(path: Path, data: bytes) -> Parts:
    """The same, slowly, for a file that is unusual; says what breaks the grammar where it is broken."""
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
            raise fail(text.plural(len(numbers), "number"), f"{expected}: {text.plural(count, 'number')}")
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
        raise fail(text.plural(len(lines) - at, "more line"), f"the end of the file after {length} frames", at + 1)
    positions = np.array(xyz, np.float32).reshape(-1, JOINTS, 3)
    return length, np.array(frame, np.int32), np.array(ids, np.int64), positions
