from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asma.data import pku
from asma.data.recordings import Recording, RecordingError
from asma.data.survey import Reading, Source

SPLIT = "Training videos: \n0002-L, 0002-M, \nValidataion videos: \n0003-R ,\n"


def frames(count: int, seed: int = 0) -> np.ndarray:
    """A video with one body throughout, (T, 2, 25, 3)."""
    xyz = np.random.default_rng(seed).normal(size=(count, 2, 25, 3)).round(4)
    xyz[:, 1] = 0
    return xyz


def put(
    raw: Path,
    video: str,
    xyz: np.ndarray,
    labels: str,
    folders: tuple[str, str] = ("skeleton", "label"),
) -> None:
    for folder in folders:
        (raw / folder).mkdir(parents=True, exist_ok=True)
    lines = [" ".join(f"{value:.4f}" if value else "0" for value in frame.ravel()) for frame in xyz]
    (raw / folders[0] / f"{video}.txt").write_text("\n".join(lines) + "\n")
    (raw / folders[1] / f"{video}.txt").write_text(labels)


def read(raw: Path, **source: object) -> tuple[dict[str, Recording], dict[str, str]]:
    survey = pku.survey(raw, Source(25, **source))  # type: ignore[arg-type]  # options of several types
    assert survey.errors == []
    readings = [pku.read(job) for job in survey.jobs]
    recordings = [recording for reading in readings for recording in reading.recordings]
    assert [r.name for r in recordings] == sorted(r.name for r in recordings)
    left_out = {name: reason for reading in readings for name, reason in reading.left_out.items()}
    return {recording.name: recording for recording in recordings}, left_out


def test_an_interval_becomes_a_recording_counted_from_one_inclusively(tmp_path: Path) -> None:
    xyz = frames(30)
    put(tmp_path, "0002-M", xyz, "7,3,12,2\n51,13,30,1\n")
    recordings, left_out = read(tmp_path)
    assert list(recordings) == ["F002V002C007L001", "F002V002C051L002"] and not left_out
    first = recordings["F002V002C007L001"]
    assert (first.label, first.length) == (6, 10)
    assert np.array_equal(first.xyz, xyz[2:12, 0].astype(np.float32))
    assert first.frame.tolist() == list(range(10)) and first.body.tolist() == [0] * 10
    assert first.columns == {"video": "0002-M", "view": "M", "camera": 2}


def test_the_other_convention_counts_from_zero_and_leaves_the_end_out(tmp_path: Path) -> None:
    xyz = frames(30)
    put(tmp_path, "0002-M", xyz, "7,3,12,2\n")
    recordings, _ = read(tmp_path, slicing="zero_based_half_open")
    assert np.array_equal(recordings["F002V002C007L001"].xyz, xyz[3:12, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("slicing", "begin"), [("one_based_inclusive", 24), ("zero_based_half_open", 25)]
)
def test_intervals_are_cut_at_the_end_of_the_video_which_is_noted(
    tmp_path: Path,
    slicing: str,
    begin: int,
) -> None:
    xyz = frames(30)
    put(tmp_path, "0002-L", xyz, "1,25,99,1\n2,0,3,1\n")
    recordings, left_out = read(tmp_path, slicing=slicing)
    assert np.array_equal(recordings["F002V001C001L001"].xyz, xyz[begin:, 0].astype(np.float32))
    assert recordings["F002V001C002L002"].length == 3 and not left_out
    (job,) = pku.survey(tmp_path, Source(25)).jobs
    label = tmp_path / "label" / "0002-L.txt"
    found = f"{label}, line 1 (to 99): found frames after the video's last, 30; cut there"
    assert pku.read(job).notes == [found]


@pytest.mark.parametrize("slicing", pku.SLICINGS)
@pytest.mark.parametrize("interval", ["31,40", "9,8", "-5,-1", "-1,3"])
def test_an_interval_that_cannot_be_of_the_video_is_a_fault_of_its_label_file_and_line(
    tmp_path: Path, interval: str, slicing: str
) -> None:
    put(tmp_path, "0002-L", frames(30), f"1,2,5,1\n3,{interval},1\n2,3,6,1\n")
    (job,) = pku.survey(tmp_path, Source(25, slicing=slicing)).jobs
    reading = pku.read(job)
    assert [r.name for r in reading.recordings] == ["F002V001C001L001", "F002V001C002L003"]
    assert not reading.left_out
    (error,) = reading.errors
    assert (error.path, error.line) == (tmp_path / "label" / "0002-L.txt", 2)
    assert error.found == f"frames {interval.replace(',', ' to ')} in a video of 30"
    remedy = "are these another video's labels?"
    assert error.expected == f"frames in order, within the video ({remedy})"


def test_labels_unlike_those_of_the_other_cameras_are_noted(tmp_path: Path) -> None:
    for view in "LMR":
        put(tmp_path, f"0002-{view}", frames(9), "1,1,3,2\n2,4,6,2\n")
        put(tmp_path, f"0003-{view}", frames(9), "5,1,3,2\n")
    assert pku.survey(tmp_path, Source(25)).notes == []
    path = tmp_path / "label" / "0002-M.txt"
    path.write_text("5,1,3,2\n")
    (note,) = pku.survey(tmp_path, Source(25)).notes
    assert note.startswith(f"{path}: found other actions than in the video's other views")


@pytest.mark.parametrize(("folders", "errors"), [(("skeleton", "label"), 0), (("a", "b"), 2)])
def test_an_empty_label_file_is_named(
    tmp_path: Path,
    folders: tuple[str, str],
    errors: int,
) -> None:
    put(tmp_path, "0002-L", frames(3), "", folders)
    survey = pku.survey(tmp_path, Source(25))
    assert len(survey.errors) == errors
    error = survey.errors[0] if errors else refused(tmp_path)
    assert (error.path, error.line) == (tmp_path / folders[1] / "0002-L.txt", 1)
    assert error.found == "an empty file"
    assert error.expected == ("positions, or labels" if errors else pku.ACTION)


def test_an_odd_word_in_a_split_file_is_named_and_the_rest_of_it_counts(tmp_path: Path) -> None:
    for video in ("0002-L", "0003-R"):
        put(tmp_path, video, frames(3), "1,1,3,2\n")
    (tmp_path / "cross-view.txt").write_text(SPLIT.replace("0002-M", "0002M"))
    survey = pku.survey(tmp_path, Source(25))
    (error,) = survey.errors
    assert (error.path, error.line) == (tmp_path / "cross-view.txt", 2)
    assert (error.found, error.expected) == ("'0002M'", "a video such as 0002-L or A01N01-L")
    assert [job.columns["cross_view"] for job in survey.jobs] == ["train", "test"]


def test_what_a_split_file_names_and_the_folder_does_not_hold_is_told(tmp_path: Path) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n")
    (tmp_path / "cross-view.txt").write_text(SPLIT)
    assert pku.survey(tmp_path, Source(25)).absent == {"cross_view": ["0002-M", "0003-R"]}


def test_videos_that_nothing_here_reads_are_named(tmp_path: Path) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n")
    for name in ("skeleton/0003-L.txt.gz", "skeleton/0002-L.txt.gz", "Skeleton.7z"):
        (tmp_path / name).write_bytes(b"x")
    survey = pku.survey(tmp_path, Source(25))
    (error,) = survey.errors
    assert error.path == tmp_path / "skeleton" / "0003-L.txt.gz"
    assert (error.found, error.expected) == ("a compressed file", "a text file, unpacked")
    assert survey.notes == ["not read: Skeleton.7z (an archive)"]


def test_an_absent_body_is_no_row_unless_the_other_is_there_and_ids_say_which_body_it_is(
    tmp_path: Path,
) -> None:
    xyz = frames(4)
    xyz[1, 1], xyz[2, 1] = 1.5, 2.5  # the second body comes in frame 1
    xyz[2, 0] = 0  # the first leaves in frame 2
    xyz[3] = 0  # nobody in frame 3
    put(tmp_path, "0002-L", xyz, "1,1,4,2\n")
    recording = read(tmp_path)[0]["F002V001C001L001"]
    assert recording.frame.tolist() == [0, 1, 1, 2, 2]
    assert recording.body.tolist() == [0, 0, 1, 0, 1]
    assert recording.length == 4
    assert (
        (recording.xyz[2] == 1.5).all()
        and (recording.xyz[4] == 2.5).all()
        and not recording.xyz[3].any()
    )


def test_empty_clips_are_listed_and_left_out(tmp_path: Path) -> None:
    xyz = frames(20)
    xyz[5:10] = 0
    put(tmp_path, "0002-L", xyz, "1,6,10,2\n2,6,11,2\n")
    recordings, left_out = read(tmp_path)
    assert list(recordings) == ["F002V001C002L002"]
    assert left_out == {"F002V001C001L001": "frames 6 to 10 are empty: no body in any"}


def test_nan_is_kept(tmp_path: Path) -> None:
    xyz = frames(3)
    xyz[1, 0, 4] = np.nan
    put(tmp_path, "0002-L", xyz, "1,1,3,2\n")
    recording = read(tmp_path)[0]["F002V001C001L001"]
    assert np.isnan(recording.xyz[1, 4]).all() and np.isnan(recording.xyz).sum() == 3


def test_official_splits_become_columns(tmp_path: Path) -> None:
    for video in ("0002-L", "0003-R", "0004-M"):
        put(tmp_path, video, frames(3), "1,1,3,2\n")
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "cross-subject.txt").write_text(SPLIT)
    (tmp_path / "split" / "cross-view.txt").write_bytes(
        SPLIT.replace("0002-L, ", "0004-M,").replace("\n", "\r\n").encode()
    )
    recordings, _ = read(tmp_path)
    sides = {
        r.columns["video"]: (r.columns["cross_subject"], r.columns["cross_view"])
        for r in recordings.values()
    }
    assert sides == {"0002-L": ("train", ""), "0003-R": ("test", "test"), "0004-M": ("", "train")}


def test_part_two_names_its_subject_and_its_own_split_files(tmp_path: Path) -> None:
    put(tmp_path, "A03N12-R", frames(3), "1,1,3,2\n", ("Skeleton_v2", "Label_PKUMMD_v2"))
    content = "Training videos:\nA03N12-R,A03N12-L,\nValidataion videos:\nA01N01-L"
    (tmp_path / "cross_subject_v2.txt").write_text(content)
    recordings, _ = read(tmp_path)
    assert list(recordings) == ["A003N012V003C001L001"]
    columns = recordings["A003N012V003C001L001"].columns
    assert columns == {
        "video": "A03N12-R",
        "view": "R",
        "camera": 3,
        "subject": 12,
        "cross_subject": "train",
    }


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("0002-L\nValidataion videos:\n0003-L", 1, 'the header "Training videos:"'),
        ("Training videos:\n0002-L\n", None, "one for training and one for validation"),
        ("Training videos:\n0002-L\nValidataion videos:\n0002-L", 4, "each video on one side"),
        (
            "Training videos:\n0002-L, 2-L\nValidataion videos:\n0003-L",
            2,
            "a video such as 0002-L or A01N01-L",
        ),
        ("", 1, "one for training and one for validation"),
    ],
)
def test_bad_split_files_are_named(
    tmp_path: Path, content: str, line: int | None, expected: str
) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n")
    (tmp_path / "cross-view.txt").write_text(content)
    (error,) = pku.survey(tmp_path, Source(25)).errors
    assert (error.path, error.line, error.expected) == (tmp_path / "cross-view.txt", line, expected)


def test_files_lie_anywhere_and_their_first_line_tells_labels_from_positions(
    tmp_path: Path,
) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n", ("a", "b"))
    (tmp_path / "a" / "0002-L.txt").rename(tmp_path / "a" / "0002-L.skeleton")
    assert list(read(tmp_path)[0]) == ["F002V001C001L001"]


def test_videos_without_labels_and_labels_without_videos_are_named(tmp_path: Path) -> None:
    for video in ("0002-L", "0003-L", "0004-L"):
        put(tmp_path, video, frames(3), "1,1,3,2\n")
    (tmp_path / "label" / "0003-L.txt").unlink()
    (tmp_path / "skeleton" / "0004-L.txt").unlink()
    survey = pku.survey(tmp_path, Source(25))
    assert [job.prefix for job in survey.jobs] == ["F002V001"]
    assert [error.found for error in survey.errors] == [
        "no file of labels for 0003-L",
        "no file of positions for 0004-L",
    ]


def refused(raw: Path) -> RecordingError:
    (job,) = pku.survey(raw, Source(25)).jobs
    with pytest.raises(RecordingError) as caught:
        pku.read(job)
    return caught.value


@pytest.mark.parametrize("bad", ["1,1,3", "1,1,3,2,9", "1,x,3,2", "1;1;3;2", "1.0,1,3,2", ""])
def test_a_bad_line_of_labels_is_named(tmp_path: Path, bad: str) -> None:
    put(tmp_path, "0002-L", frames(3), f"1,1,3,2\n{bad}\n1,1,3,2\n")
    error = refused(tmp_path)
    assert (error.path, error.line) == (tmp_path / "label" / "0002-L.txt", 2)
    assert "4 integers" in error.expected


def test_a_bad_line_of_labels_is_quoted_without_its_end(tmp_path: Path) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\r\n1,1,3\r\n1,1,3,2\r\n")
    assert refused(tmp_path).found == "'1,1,3'"


@pytest.mark.parametrize("action", [0, 52])
def test_a_class_beyond_the_set_is_named(tmp_path: Path, action: int) -> None:
    put(tmp_path, "0002-L", frames(3), f"{action},1,3,2\n")
    error = refused(tmp_path)
    assert (error.line, error.found, error.expected) == (1, f"class {action}", "1 to 51")


@pytest.mark.parametrize(
    ("line", "change", "found"),
    [
        (2, lambda row: row[:-2], "149 numbers"),
        (1, lambda row: row + " 0", "151 numbers"),
        (3, lambda row: "x" + row[row.index(" ") :], "'x' as number 1"),
        (2, lambda row: "", "0 numbers"),
    ],
)
def test_a_bad_line_of_positions_is_named(
    tmp_path: Path, line: int, change: object, found: str
) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n")
    path = tmp_path / "skeleton" / "0002-L.txt"
    rows = path.read_text().splitlines()
    assert callable(change)
    rows[line - 1] = change(rows[line - 1])
    path.write_text("\n".join(rows))
    error = refused(tmp_path)
    assert (error.path, error.line, error.found) == (path, line, found)


def test_numbers_of_any_spacing_and_crlf_are_read(tmp_path: Path) -> None:
    xyz = frames(3)
    put(tmp_path, "0002-L", xyz, "1,1,3,2 \r\n")
    path = tmp_path / "skeleton" / "0002-L.txt"
    path.write_bytes(b"   " + path.read_bytes().replace(b" ", b"   ").replace(b"\n", b" \r\n"))
    recording = read(tmp_path)[0]["F002V001C001L001"]
    assert np.array_equal(recording.xyz, xyz[:, 0].astype(np.float32))


def test_a_video_is_parsed_once_for_all_its_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "0002-L", frames(30), "".join(f"{k},{k},{k + 5},2\n" for k in range(1, 21)))
    calls = []
    table = pku.text.table

    def counted(path: Path, widths: list[int], what: str) -> np.ndarray:
        calls.append(path)
        return table(path, widths, what)

    monkeypatch.setattr(pku.text, "table", counted)
    (job,) = pku.survey(tmp_path, Source(25)).jobs
    reading = pku.read(job)
    assert isinstance(reading, Reading) and len(reading.recordings) == 20 and len(calls) == 1


def test_two_parts_in_one_folder_and_unknown_slicings_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "0002-L", frames(3), "1,1,3,2\n")
    with pytest.raises(ValueError, match="found 'inclusive'; expected one of one_based_inclusive"):
        pku.survey(tmp_path, Source(25, slicing="inclusive"))
    put(tmp_path, "A01N01-L", frames(3), "1,1,3,2\n")
    with pytest.raises(ValueError, match="one part a data set"):
        pku.survey(tmp_path, Source(25))
