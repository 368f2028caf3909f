from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asma.data import folder
from asma.data.recordings import Recording, RecordingError
from asma.data.survey import Source, Survey

JOINTS = 4
SEPARATED = "12 numbers (4 joints x 3), parted by commas or by blanks"

# written out beside the module's table: where x, y and z come from for each axis that may point up
UP: dict[str, Callable[..., tuple[np.ndarray, ...]]] = {
    "x": lambda x, y, z: (-y, x, z),
    "-x": lambda x, y, z: (y, -x, z),
    "y": lambda x, y, z: (x, y, z),
    "-y": lambda x, y, z: (-x, -y, z),
    "z": lambda x, y, z: (x, z, -y),
    "-z": lambda x, y, z: (x, -z, y),
}


def put(raw: Path, index: str, files: dict[str, np.ndarray | str], part: str = ",") -> None:
    """An index and recordings, each (T, M, V, 3) or a text of its own."""
    raw.mkdir(exist_ok=True)
    (raw / "index.csv").write_text(index, encoding="utf-8")
    for name, xyz in files.items():
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(xyz, np.ndarray):
            xyz = "\n".join(part.join(f"{value:.4f}" for value in frame.ravel()) for frame in xyz)
        path.write_text(xyz)


def moving(count: int, bodies: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, bodies, JOINTS, 3)).round(4)


def read(raw: Path, **source: object) -> tuple[Survey, list[Recording]]:
    options = {"bodies": 1, **source}
    survey = folder.survey(raw, Source(JOINTS, **options))  # type: ignore[arg-type]  # options of several types
    return survey, [recording for job in survey.jobs for recording in folder.read(job).recordings]


def two(index: str, raw: Path) -> None:
    put(raw, index, {"b.csv": moving(3), "a.csv": moving(5, seed=1)})


@pytest.mark.parametrize("part", [",", " ", ", ", "\t", "  "])
def test_a_line_a_frame_parted_by_commas_or_blanks_is_read(tmp_path: Path, part: str) -> None:
    xyz = moving(7)
    put(tmp_path, "file,label\nx.csv,0\n", {"x.csv": xyz}, part)
    _, (recording,) = read(tmp_path)
    assert (recording.name, recording.label, recording.length) == ("x", 0, 7)
    assert np.array_equal(recording.xyz, xyz[:, 0].astype(np.float32))
    assert recording.frame.tolist() == list(range(7)) and recording.body.tolist() == [0] * 7


def test_columns_of_integers_are_integers_and_all_others_words(tmp_path: Path) -> None:
    index = "file,label,subject,camera,setup,hand\nb.csv,0,07,01,,left\na.csv,1,12,,,right\n"
    two(index, tmp_path)
    _, recordings = read(tmp_path)
    assert [recording.name for recording in recordings] == ["a", "b"]
    assert recordings[0].columns == {"subject": 12, "camera": "", "setup": "", "hand": "right"}
    assert recordings[1].columns == {"subject": 7, "camera": "1", "setup": "", "hand": "left"}


def test_an_index_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    put(tmp_path, "", {"b.csv": moving(3)})
    index = '\ufeff file , label ,note\r\n b.csv , 0 ,"one, two"\r\n,,\r\n\r\n'
    (tmp_path / "index.csv").write_bytes(index.encode())
    _, (recording,) = read(tmp_path)
    assert recording.columns == {"note": "one, two"}


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (("0", "1"), ["0", "1"], [0, 1]),
        (("10", "9"), ["9", "10"], [1, 0]),
        (("wave", "clap"), ["clap", "wave"], [1, 0]),
        (("1", "wave"), ["1", "wave"], [0, 1]),
    ],
)
def test_labels_name_the_classes_where_nothing_else_does(
    tmp_path: Path, labels: tuple[str, str], classes: list[str], numbers: list[int]
) -> None:
    two(f"file,label\na.csv,{labels[0]}\nb.csv,{labels[1]}\n", tmp_path)
    survey, recordings = read(tmp_path)
    assert survey.classes == classes
    assert [recording.label for recording in recordings] == numbers


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "wave\nclap\njump\n"),
        ("classes.csv", "label,name\n2,jump\n0,wave\n1,clap\n"),
    ],
)
@pytest.mark.parametrize("labels", [("0", "2"), ("wave", "jump")])
def test_class_names_come_with_the_folder(
    tmp_path: Path, name: str, content: str, labels: tuple[str, str]
) -> None:
    two(f"file,label\na.csv,{labels[0]}\nb.csv,{labels[1]}\n", tmp_path)
    (tmp_path / name).write_text(content)
    survey, recordings = read(tmp_path, classes=("not", "these"))
    assert survey.classes == ["wave", "clap", "jump"]
    assert [recording.label for recording in recordings] == [0, 2]


def test_a_table_of_classes_may_number_them_its_own_way(tmp_path: Path) -> None:
    two("file,label\na.csv,10\nb.csv,7\n", tmp_path)
    (tmp_path / "classes.csv").write_text("label,name\n10,wave\n7,clap\n")
    survey, recordings = read(tmp_path)
    assert survey.classes == ["clap", "wave"]
    assert [recording.label for recording in recordings] == [1, 0]


def test_class_names_may_come_from_the_parameters(tmp_path: Path) -> None:
    two("file,label\na.csv,1\nb.csv,0\n", tmp_path)
    survey, recordings = read(tmp_path, classes=("wave", "clap", "jump"), class_count=2)
    assert survey.classes == ["wave", "clap"]
    assert [recording.label for recording in recordings] == [1, 0]
    with pytest.raises(RecordingError, match="found 2 classes; expected 3, as the set says"):
        (tmp_path / "classes.txt").write_text("wave\nclap")
        read(tmp_path, class_count=3)


def test_bodies_lie_one_after_another_and_an_absent_one_is_no_row_unless_another_follows(
    tmp_path: Path,
) -> None:
    xyz = moving(4, bodies=2)
    xyz[1, 1] = 0
    xyz[2, 0] = 0
    xyz[3] = 0
    put(tmp_path, "file,label\nx.csv,0\ny.csv,0\n", {"x.csv": xyz, "y.csv": moving(3)}, " ")
    _, (recording, single) = read(tmp_path, bodies=2)
    assert recording.frame.tolist() == [0, 0, 1, 2, 2] and recording.body.tolist() == [
        0,
        1,
        0,
        0,
        1,
    ]
    assert recording.length == 4
    assert not recording.xyz[3].any()
    assert np.array_equal(recording.xyz[4], xyz[2, 1].astype(np.float32))
    assert single.body.tolist() == [0, 0, 0]


def test_nan_is_kept_and_an_empty_recording_left_out(tmp_path: Path) -> None:
    xyz = moving(3)
    xyz[1, 0, 2] = np.nan
    put(
        tmp_path,
        "file,label\nx.csv,0\ny.csv,0\n",
        {"x.csv": xyz, "y.csv": np.zeros((2, 1, JOINTS, 3))},
    )
    survey, (recording,) = read(tmp_path)
    assert np.isnan(recording.xyz).sum() == 3 and len(recording.xyz) == 3
    assert folder.read(survey.jobs[1]).left_out == {"y": "empty: no body in any frame"}


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    index = "file,label\np1/x.csv,0\np2/x.csv,1\np2/y.csv,0\n"
    put(tmp_path, index, {f: moving(2) for f in ("p1/x.csv", "p2/x.csv", "p2/y.csv")})
    _, recordings = read(tmp_path)
    assert [recording.name for recording in recordings] == ["p1/x", "p2/x", "p2/y"]


@pytest.mark.parametrize(
    ("content", "line", "found", "expected"),
    [
        ("1 2 3\n", 1, "3 numbers", "12 numbers (4 joints x 3)"),
        ("0 " * 12 + "\n" + "0 " * 24, 2, "24 numbers", "12 numbers (4 joints x 3)"),
        ("1 " * 12 + "\n" + "1 " * 11 + "x", 2, "'x' as number 12", "a number"),
        ("1 " * 12 + "\n\n" + "1 " * 12, 2, "0 numbers", "12 numbers (4 joints x 3)"),
        ("1," * 11 + "\n", 1, "'' as number 12", "a number"),
        ("1," * 12 + "\n", 1, "13 cells", "12 cells (4 joints x 3)"),
        ("1," * 5 + "," + "1," * 6 + "1\n", 1, "13 cells", "12 cells (4 joints x 3)"),
        ("1," * 5 + "1 1," + "1," * 5 + "\n", 1, "'1 1' as number 6", "a number"),
        ("x,y,z," * 3 + "x,y,z\n" + "1," * 11 + "1", 1, "'x' as number 1", "a number"),
        ("", 1, "an empty file", "a recording"),
        ("1;" * 11 + "1\n", 1, "numbers parted by ';'", SEPARATED),
        ("1; " * 11 + "1\n", 1, "numbers parted by ';'", SEPARATED),
        ("0,5;" * 11 + "0,5\n", 1, "numbers parted by ';'", SEPARATED.replace("numbers", "cells")),
        ("1 " * 12 + "\n" + "1|" * 11 + "1\n", 2, "numbers parted by '|'", SEPARATED),
    ],
)
def test_a_bad_line_is_named(
    tmp_path: Path, content: str, line: int, found: str, expected: str
) -> None:
    put(tmp_path, "file,label\nx.csv,0\n", {"x.csv": content})
    with pytest.raises(RecordingError) as caught:
        read(tmp_path)
    error = caught.value
    assert (error.path, error.line, error.found, error.expected) == (
        tmp_path / "x.csv",
        line,
        found,
        expected,
    )


def test_frames_of_different_widths_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "file,label\nx.csv,0\n", {"x.csv": "1 " * 12 + "\n" + "1 " * 24})
    with pytest.raises(RecordingError, match="line 2: found 24 numbers; expected 12 as before"):
        read(tmp_path, bodies=2)


@pytest.mark.parametrize("up", sorted(UP))
@pytest.mark.parametrize(("unit", "scale"), [("m", 1), ("cm", 0.01), ("mm", 0.001)])
def test_positions_are_turned_y_up_and_into_metres(
    tmp_path: Path,
    up: str,
    unit: str,
    scale: float,
) -> None:
    xyz = moving(5)
    xyz[1, 0, 2, 0] = np.nan  # one coordinate, and it stays one
    put(tmp_path, "file,label\nx.csv,0\n", {"x.csv": xyz})
    _, (recording,) = read(tmp_path, up=up, unit=unit)
    expected = np.stack(UP[up](*np.moveaxis(xyz[:, 0], -1, 0)), axis=-1) * scale
    np.testing.assert_allclose(recording.xyz, expected, rtol=1e-6)
    assert recording.xyz.dtype == np.float32 and np.isnan(recording.xyz).sum() == 1


@pytest.mark.parametrize("file", ["a.mat", "a.csv.gz", "a.zip", "a.npy"])
def test_a_file_that_nothing_here_reads_is_refused_by_its_name(tmp_path: Path, file: str) -> None:
    two(f"file,label\n{file},0\nb.csv,1\n", tmp_path)
    (tmp_path / file).write_bytes(b"\0")
    (error,) = read(tmp_path)[0].errors
    assert error.line == 2 and error.found.startswith(f"file '{file}', a")
    assert error.expected == "a text file of numbers"


def test_bad_rows_of_the_index_are_all_named(tmp_path: Path) -> None:
    index = (
        "file,label\na.csv,0\nmissing.csv,0\na.csv,1\n"
        ",1\nb.csv,\n../b.csv,0\n/etc/hosts,0\nb.csv,7\n"
    )
    two(index, tmp_path)
    (tmp_path / "classes.txt").write_text("wave\nclap\n")
    survey, recordings = read(tmp_path)
    assert [recording.name for recording in recordings] == ["a"]
    found = {error.line: str(error) for error in survey.errors}
    assert set(found) == {3, 4, 5, 6, 7, 8, 9}
    assert "which is not there" in found[3]
    assert "found file 'a.csv' as on line 2; expected each file once" in found[4]
    assert "no label" in found[6]
    assert "found file 'b.csv' as on line 6" in found[9]


def test_a_label_without_a_class_is_named(tmp_path: Path) -> None:
    two("file,label\na.csv,0\nb.csv,7\n", tmp_path)
    (tmp_path / "classes.txt").write_text("wave\nclap\n")
    (error,) = read(tmp_path)[0].errors
    assert (
        str(error)
        == f"{tmp_path / 'index.csv'}, line 3: found label '7'; expected one of the 2 classes"
    )


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "index.csv: found no such file; expected a table with the columns file, label"),
        ("", "line 1: found an empty line; expected a header with file, label"),
        (
            "file,subject\na.csv,1\n",
            "line 1: found file,subject; expected a header with file, label",
        ),
        ("file;label\na.csv;1\n", "line 1: found file;label; expected .*parted by commas"),
        ("file,label,label\na.csv,1,1\n", "each column named once"),
        ("file,label\n", "found no rows"),
        ("file,label\na.csv,0\nb.csv\n", "line 3: found 1 cells; expected 2, as in the header"),
        (
            'file,label\na.csv,"wave\nb.csv,clap\n',
            "line 2: found .*; expected a quotation mark on both ends of a cell",
        ),
        (
            'file,label\na.csv,wave\nb.csv,"clap"s\n',
            "line 3: found .*; expected a quotation mark on both ends",
        ),
        ("file,label\na.csv," + "x" * 200000 + "\n", "line 2: found field larger than field limit"),
        (
            "file,label,a/b\na.csv,0,1\n",
            "line 1: found column 'a/b'; expected a column's name without '/'",
        ),
        ("file,label,.\na.csv,0,1\n", "line 1: found column '.'"),
        (b"file,label\na.csv,\xfcben\n", "line 2: found the byte 0xfc; expected text in UTF-8"),
        (
            "file,label\na.csv,0\n".encode("utf-16"),
            "line 1: found the byte 0xff; expected text in UTF-8",
        ),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(
    tmp_path: Path, index: str | bytes | None, message: str
) -> None:
    if index is not None:
        (tmp_path / "index.csv").write_bytes(index if isinstance(index, bytes) else index.encode())
    with pytest.raises(RecordingError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.csv", "label,name\n0,wave\n0,clap\n", "a label twice"),
        (
            "classes.csv",
            "label,name\n0,wave\nx,clap\n",
            "line 3: found 'x', 'clap'; expected an integer and a name",
        ),
        ("classes.txt", "wave\nwave\n", "a class name twice or blank"),
        ("classes.txt", "wave\n\nclap\n", "a class name twice or blank"),
        (
            "classes.txt",
            b"wave\n\xfcben\n",
            "classes.txt, line 2: found the byte 0xfc; expected text in UTF-8",
        ),
    ],
)
def test_bad_class_names_are_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    two("file,label\na.csv,0\nb.csv,1\n", tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecordingError, match=message):
        read(tmp_path)
