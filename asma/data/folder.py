"""Anyone's skeletons: a folder with `index.csv` and one text file a recording.

`index.csv` has a header with `file` and `label`; every other column is kept (subject, camera,
setup, …; a blank cell is unknown). A recording's file holds a line a frame: joints x 3 numbers, x
y z of one joint after another, parted by commas or blanks; where several people were recorded, one
body after another on the same line, and a body that is all zeros is absent from the frame. Axes
and unit are the set's `up` and `unit`: see `axes`.

A label is a word or an integer. The class names, in label order, are the first of these that is
there: `classes.csv` in the folder (columns `label,name`), `classes.txt` (a name a line; label 0 is
the first), the names the parameters give, and else the labels themselves, sorted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asma.data import text
from asma.data.axes import upright
from asma.data.recordings import INTEGER, RecordingError, of_slots, plain
from asma.data.survey import Reading, Source, Survey, class_names, unreadable


@dataclass(frozen=True)
class Job:
    """One file to read and what the index says of it."""

    path: Path
    name: str
    label: int
    columns: dict[str, int | str]
    joints: int
    bodies: int
    up: str = "y"
    unit: str = "m"


def survey(raw: Path, source: Source) -> Survey:
    """Read the index and the class names.

    A recording is called by its file's name without folders and suffix, or with the folders where
    two files would be called the same. A column is one of integers if every cell is an integer,
    else one of words.

    Raises RecordingError if the index or the class names cannot be used at all; faults of single
    rows are collected in the survey.
    """
    found = Survey()
    rows = _csv(raw / "index.csv", ["file", "label"])
    fields = list(rows[0][1])
    good = []
    used: dict[str, int] = {}
    for line, row in rows:
        file, label = row["file"], row["label"]
        inside = PurePosixPath(file)
        fault = None
        if not file or inside.is_absolute() or ".." in inside.parts:
            fault = (f"file {file!r}", "the path of a file inside the folder")
        elif str(inside) in used:
            fault = (f"file {file!r} as on line {used[str(inside)]}", "each file once")
        elif not label:
            fault = ("no label", "an integer or a word")
        elif not (raw / inside).is_file():
            fault = (f"file {file!r}, which is not there", "the path of a file inside the folder")
        elif kind := unreadable(file):
            fault = (f"file {file!r}, {kind}", "a text file of numbers")
        if fault:
            found.errors.append(RecordingError(raw / "index.csv", line, *fault))
        else:
            good.append((line, row))
        used.setdefault(str(inside), line)
    words = [row["label"] for _, row in good]
    labels, found.classes = _classes(raw, source, words)
    if source.class_count not in (None, len(found.classes)):
        count = f"{len(found.classes)} classes"
        raise RecordingError(raw, None, count, f"{source.class_count}, as the set says")
    stems = [PurePosixPath(row["file"]).stem for _, row in good]
    plain = len(set(stems)) == len(stems)
    whole = {
        field: all(INTEGER.fullmatch(row[field]) for _, row in good)
        for field in fields
        if field not in ("file", "label")
    }
    names: dict[str, int] = {}
    for (line, row), stem in zip(good, stems, strict=True):
        name = stem if plain else PurePosixPath(row["file"]).with_suffix("").as_posix()
        if name in names:
            fault = (
                f"recording {name} as on line {names[name]}",
                "file names that differ before the suffix",
            )
            found.errors.append(RecordingError(raw / "index.csv", line, *fault))
            continue
        names[name] = line
        if row["label"] not in labels:
            fault = (f"label {row['label']!r}", f"one of the {len(found.classes)} classes")
            found.errors.append(RecordingError(raw / "index.csv", line, *fault))
            continue
        if name in source.excluded:
            found.excluded.append(name)
            continue
        columns: dict[str, int | str] = {
            field: _cell(row[field], is_whole) for field, is_whole in whole.items()
        }
        path = raw / row["file"]
        told = (source.joints, source.bodies, source.up, source.unit)
        found.jobs.append(Job(path, name, labels[row["label"]], columns, *told))
    found.jobs.sort(key=lambda job: job.name)
    found.excluded.sort()
    return found


def read(job: Job) -> Reading:
    """Read one file. Raises RecordingError naming the first line that does not fit."""
    person = job.joints * 3
    widths = [person * m for m in range(1, job.bodies + 1)]
    what = f"{job.joints} joints x 3" + (
        f" for each of 1 to {job.bodies} bodies" if job.bodies > 1 else ""
    )
    xyz = text.table(job.path, widths, what)
    xyz = upright(xyz.reshape(len(xyz), -1, job.joints, 3), job.up, job.unit)
    recording = of_slots(xyz, job.name, job.label, job.columns)
    if not len(recording.frame):
        return Reading([], {job.name: "empty: no body in any frame"})
    return Reading([recording])


def _cell(cell: str, whole: bool) -> int | str:
    """A number where its whole column is of numbers, else a word; 01 is 1 in either, as in the
    list of a split.
    """
    return int(cell) if whole else plain(cell)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The stripped cells of each row, with the line it ends on."""
    reader = csv.reader(io.StringIO(text.words(path), newline=""), strict=True)
    begun = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise RecordingError(
                path, begun, str(error), "a quotation mark on both ends of a cell or none"
            ) from None
        if cells is None:
            return
        yield reader.line_num, [cell.strip() for cell in cells]
        begun = reader.line_num + 1


def _csv(path: Path, needed: list[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table with a header, each with its line; cells and headers stripped."""
    if not path.is_file():
        raise RecordingError(
            path, None, "no such file", f"a table with the columns {', '.join(needed)}"
        )
    lines = _lines(path)
    _, header = next(lines, (1, []))
    if (
        any(column not in header for column in needed)
        or len(set(header)) != len(header)
        or "" in header
    ):
        expected = f"a header with {', '.join(needed)}, parted by commas, each column named once"
        raise RecordingError(path, 1, ",".join(header) or "an empty line", expected)
    if odd := [name for name in header if "/" in name or name == "."]:
        raise RecordingError(
            path, 1, f"column {odd[0]!r}", "a column's name without '/', and not '.'"
        )
    rows = []
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise RecordingError(
                path, line, f"{len(cells)} cells", f"{len(header)}, as in the header"
            )
        rows.append((line, dict(zip(header, cells, strict=True))))
    if not rows:
        raise RecordingError(path, 2, "no rows", "a row for each recording")
    return rows


def _classes(raw: Path, source: Source, words: list[str]) -> tuple[dict[str, int], list[str]]:
    """What each label of the index means: written form → label from 0; and the class names."""
    whole = all(INTEGER.fullmatch(word) for word in words)
    if (raw / "classes.csv").is_file():
        path = raw / "classes.csv"
        rows = _csv(path, ["label", "name"])
        for line, row in rows:
            if not INTEGER.fullmatch(row["label"]) or not row["name"]:
                pair = f"{row['label']!r}, {row['name']!r}"
                raise RecordingError(path, line, pair, "an integer and a name")
        keys = [int(row["label"]) for _, row in rows]
        ordered = sorted(zip(keys, (row["name"] for _, row in rows), strict=True))
        if len(set(keys)) != len(keys):
            raise RecordingError(path, None, "a label twice", "each label once")
        known, names = [key for key, _ in ordered], [name for _, name in ordered]
    elif (raw / "classes.txt").is_file() or source.classes is not None:
        path = raw / "classes.txt"
        if path.is_file():
            names = [name.strip() for name in text.words(path).split("\n")]
        else:
            names = class_names(source, source.class_count or len(source.classes or ()), "")
        known = list(range(len(names)))
    elif whole:
        known = sorted({int(word) for word in words})
        names = [str(key) for key in known]
    else:
        names = sorted(set(words))
        return {name: k for k, name in enumerate(names)}, names
    if len(set(names)) != len(names) or "" in names:
        raise RecordingError(path, None, "a class name twice or blank", "each class named once")
    if whole:
        place = {key: k for k, key in enumerate(known)}
        return {word: place[int(word)] for word in words if int(word) in place}, names
    return {name: k for k, name in enumerate(names)}, names
