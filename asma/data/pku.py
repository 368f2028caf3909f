"""PKU-MMD, Part I and II: long videos with labelled intervals → one recording an interval.

A video `XXXX-V.txt` (Part I) or `AxxNyy-V.txt` (Part II), V one of L M R, holds a line a frame:
150 numbers, 2 bodies x 25 joints x (x, y, z) in metres; a body that is absent is all zeros and
becomes no row. The file of the same name with its labels holds a line an action: class (from 1),
first frame, last frame, confidence. An interval that ends before it starts, starts before the
video or lies outside it is a fault of the label file; one that only ends after the video is cut
there. Two split files name videos for training and validation. (Formats: the README of the set's
authors, github.com/ECHO960/PKU-MMD, and the note inside the set.)

All files may lie anywhere below the set's folder. A file is one of labels if a folder on its way
has "label" in its name, one of positions if a folder has "skel"; else its first line decides.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma.data import text
from asma.data.recordings import Recording, RecordingError, listed, shown
from asma.data.survey import Reading, Source, Survey, class_names, files, unread

JOINTS, BODIES, CLASSES = 25, 2, 51
SLICINGS = ("one_based_inclusive", "zero_based_half_open")
CAMERAS = {"L": 1, "M": 2, "R": 3}
VIDEO = re.compile(r"(?:(\d{4})|A(\d{2})N(\d{2}))-([LMR])")
SPLITS = ("cross_subject", "cross_view")
LISTS = "one for training and one for validation"
ACTION = "class, first frame, last frame, confidence: 4 integers parted by commas"
# the official lists spell the second header "Validataion"
HEADERS = {
    "train": re.compile(r"train\w*\s+videos?"),
    "test": re.compile(r"(?:valid|test)\w*\s+videos?"),
}


@dataclass(frozen=True)
class Job:
    """One video to read: its positions, its labels, how its recordings are called and counted."""

    positions: Path
    labels: Path
    prefix: str
    columns: dict[str, int | str]
    classes: int
    slicing: str


def survey(raw: Path, source: Source) -> Survey:
    """Pair the videos below a folder with their label files and find the splits.

    Recordings are called `F{video}V{view}C{class}L{line}` (Part I) or
    `A{a}N{n}V{view}C{class}L{line}` (Part II), each number with three digits, view 1 to 3 for L M
    R, line counted from 1 in the label file. Columns: video, view, camera (1 to 3), cross_subject
    and cross_view as far as split files are there ("train", "test", or "" where the file does not
    name the video: no side is guessed), and in Part II subject, the number after N.

    Raises ValueError for an unknown slicing or other than 25 joints.
    """
    if source.joints != JOINTS:
        raise ValueError(
            f"joints: found {source.joints}; expected {JOINTS}, as every PKU-MMD file has"
        )
    if source.slicing not in SLICINGS:
        raise ValueError(
            f"slicing: found {source.slicing!r}; expected one of {', '.join(SLICINGS)}"
        )
    found = Survey()
    splits = _splits(raw, found.errors)
    videos: dict[bool, dict[str, Path]] = {True: {}, False: {}}  # whether of labels → video → file
    for path in files(raw, VIDEO.pattern + r"\.(?:txt|skeleton)"):
        is_labels = _is_labels(path, raw)
        if is_labels is None:
            found.errors.append(RecordingError(path, 1, "an empty file", "positions, or labels"))
            continue
        mine = videos[is_labels]
        video = path.stem.upper()
        if video in mine:
            found.errors.append(
                RecordingError(path, None, f"a second file beside {mine[video]}", "one")
            )
        else:
            mine[video] = path
    labels, positions = videos[True], videos[False]
    unread(raw, found, VIDEO.pattern, positions.keys() & labels.keys())
    for video in sorted(positions.keys() ^ labels.keys()):
        here, other = (positions, "labels") if video in positions else (labels, "positions")
        found.errors.append(
            RecordingError(here[video], None, f"no file of {other} for {video}", "one")
        )
    if len({video.startswith("A") for video in positions}) > 1:
        raise ValueError(
            f"{raw}: found videos of Part I and of Part II; expected one part a data set"
        )
    count = source.class_count or (len(source.classes) if source.classes else CLASSES)
    found.classes = class_names(source, count, "C{:03}")
    for video in positions.keys() & labels.keys():
        match = VIDEO.fullmatch(video)
        assert match is not None
        part_one, a, n, view = match.groups()
        columns: dict[str, int | str] = {"video": video, "view": view, "camera": CAMERAS[view]}
        prefix = f"F{int(part_one):03}" if part_one else f"A{int(a):03}N{int(n):03}"
        if n:
            columns["subject"] = int(n)
        for split, sides in splits.items():
            columns[split] = sides.get(video, "")
        prefix += f"V{CAMERAS[view]:03}"
        found.jobs.append(
            Job(positions[video], labels[video], prefix, columns, count, source.slicing)
        )
    found.jobs.sort(key=lambda job: job.prefix)
    for split, sides in splits.items():
        found.absent[split] = sorted(sides.keys() - (positions.keys() & labels.keys()))
    found.notes += _unlike(found.jobs)
    return found


def _unlike(jobs: list[Job]) -> list[str]:
    """Videos whose labels name other actions than those of its other views.

    Most likely such a file holds the labels of another video. What is wrong with a label file is
    said when it is read.
    """
    takes: dict[str, dict[Path, list[int]]] = {}
    for job in jobs:
        with contextlib.suppress(RecordingError):
            actions = [action for action, *_ in _labels(job.labels, job.classes)]
            takes.setdefault(str(job.columns["video"])[:-2], {})[job.labels] = sorted(actions)
    notes = []
    for views in takes.values():
        usual = max(views.values(), key=list(views.values()).count)
        if odd := [path for path, actions in views.items() if actions != usual]:
            found = "found other actions than in the video's other views; expected the same"
            notes.append(f"{shown(list(map(str, odd)))}: {found}: are they of another video?")
    return notes


def read(job: Job) -> Reading:
    """Read one video once and cut it into its recordings.

    Intervals are cut at the video's end, which is noted; those without a body in any frame are
    left out. Those that cannot be of this video are errors of the reading. Raises RecordingError
    for the first other line that is not as it should be, of the labels or of the positions.
    """
    reading = Reading([])
    intervals = _labels(job.labels, job.classes)
    width = BODIES * JOINTS * 3
    table = text.table(job.positions, [width], f"{BODIES} bodies x {JOINTS} joints x 3")
    xyz = table.reshape(-1, BODIES, JOINTS, 3)
    shift = 1 if job.slicing == "one_based_inclusive" else 0
    cut = []
    for line, (action, start, end) in enumerate(intervals, start=1):
        name = f"{job.prefix}C{action:03}L{line:03}"
        begin, stop = max(start - shift, 0), min(end, len(xyz))
        if start < 0 or begin >= stop:
            outside = f"frames {start} to {end} in a video of {len(xyz)}"
            expected = "frames in order, within the video (are these another video's labels?)"
            reading.errors.append(RecordingError(job.labels, line, outside, expected))
            continue
        if end > len(xyz):
            cut.append(f"{line} (to {end})")
        frame, body = listed(xyz[begin:stop])
        if not len(frame):
            reading.left_out[name] = f"frames {start} to {end} are empty: no body in any"
            continue
        reading.recordings.append(
            Recording(
                name=name,
                label=action - 1,
                columns=job.columns,
                length=stop - begin,
                frame=frame.astype(np.int32),
                body=body.astype(np.int64),
                xyz=xyz[begin:stop][frame, body],
            )
        )
    if cut:
        found = f"{job.labels}, line {shown(cut)}: found frames after the video's last, {len(xyz)}"
        reading.notes.append(f"{found}; cut there")
    reading.recordings.sort(key=lambda recording: recording.name)
    return reading


def _is_labels(path: Path, raw: Path) -> bool | None:
    """None for an empty file whose folders do not say either."""
    folders = [folder.lower() for folder in path.relative_to(raw).parts[:-1]]
    if any("label" in folder for folder in folders):
        return True
    if any("skel" in folder for folder in folders):
        return False
    with path.open("rb") as file:
        line = file.readline(4096)
    return line.strip().rstrip(b",").count(b",") == 3 if line else None


def _labels(path: Path, classes: int) -> list[tuple[int, int, int]]:
    """Class, first and last frame of each line; the confidence is read and dropped."""
    intervals = []
    for line, cells in enumerate(text.load(path, ACTION).split(b"\n"), start=1):
        values = [text.integer(cell.strip()) for cell in cells.strip().rstrip(b",").split(b",")]
        match values:
            case [int(action), int(start), int(end), int()]:
                intervals.append((action, start, end))
            case _:
                raise RecordingError(path, line, text.show(cells.rstrip(b"\r")), ACTION)
        if not 1 <= action <= classes:
            raise RecordingError(path, line, f"class {action}", f"1 to {classes}")
    return intervals


def _splits(raw: Path, errors: list[RecordingError]) -> dict[str, dict[str, str]]:
    """The side of each named video, for each split whose file is there; what is wrong goes to
    `errors`.
    """
    splits: dict[str, dict[str, str]] = {}
    taken: dict[str, Path] = {}
    for path in files(raw, r"cross[-_ ]?(?:subject|view)(?:[-_ ]?v\d)?\.txt"):
        split = "cross_subject" if "subject" in path.name.lower() else "cross_view"
        if split in taken:
            errors.append(
                RecordingError(path, None, f"a second split file beside {taken[split]}", "one")
            )
            continue
        taken[split] = path
        try:
            splits[split] = _split(path, errors)
        except RecordingError as error:
            errors.append(error)
    return {split: splits[split] for split in SPLITS if split in splits}


def _split(path: Path, errors: list[RecordingError]) -> dict[str, str]:
    """The side of each video; an odd word goes to `errors`, the rest of the file counts."""
    sides: dict[str, str] = {}
    side = ""
    seen = set()
    words = text.load(path, LISTS).decode("utf-8-sig", "replace")
    for line, content in enumerate(words.split("\n"), start=1):
        begin = content.strip().lower()
        header = next((s for s, pattern in HEADERS.items() if pattern.match(begin)), None)
        if header:
            side, content = header, content.partition(":")[2]
            seen.add(side)
        for video in filter(None, re.split(r"[,\s]+", content.upper())):
            if not side:
                expected = 'the header "Training videos:"'
                raise RecordingError(path, line, repr(video[:40]), expected)
            if not VIDEO.fullmatch(video):
                expected = "a video such as 0002-L or A01N01-L"
                errors.append(RecordingError(path, line, repr(video[:40]), expected))
            elif sides.setdefault(video, side) != side:
                again = f"{video} a second time, now for {side}"
                errors.append(RecordingError(path, line, again, "each video on one side"))
    if seen != set(HEADERS):
        raise RecordingError(path, None, f"lists for {sorted(seen)}", LISTS)
    return sides
