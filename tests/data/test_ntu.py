from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from asma.data import ntu
from asma.data.recordings import Recording, RecordingError
from asma.data.survey import Source

NAME = "S003C002P017R001A050"


def reference(path: Path) -> tuple[int, list[int], list[int], list[list[list[float]]]]:
    """The slow, obvious twin: one line after another, one number after another."""
    frame, body, xyz = [], [], []
    with path.open() as file:
        frames = int(file.readline())
        for f in range(frames):
            for _ in range(int(file.readline())):
                frame.append(f)
                body.append(int(file.readline().split()[0]))
                joints = int(file.readline())
                xyz.append(
                    [[float(word) for word in file.readline().split()[:3]] for _ in range(joints)]
                )
    return frames, frame, body, xyz


def generate(seed: int, *, words: bool = False, frames: int | None = None) -> str:
    """A file with bodies that come, go and change order; with `words`, some numbers are nan or
    inf.
    """
    rng = random.Random(seed)

    def number(scale: float) -> str:
        value = rng.uniform(-scale, scale)
        form = rng.random()
        if words and form < 0.02:
            return rng.choice(["NaN", "nan", "-inf", "Infinity"])
        if form < 0.1:
            return "0"
        return f"{value:.3e}" if form < 0.2 else repr(value) if form < 0.3 else f"{value:.7g}"

    ids = [72057594037930000 + rng.randrange(10**5) for _ in range(5)]
    frames = rng.randrange(1, 12) if frames is None else frames
    lines = [str(frames)]
    for _ in range(frames):
        here = rng.sample(ids, rng.choice([0, 1, 1, 1, 2, 2, 3, 5]))
        lines.append(str(len(here)))
        for body in here:
            lines += [f"{body} 0 1 1 0 1 0 {number(1)} {number(1)} 2", "25"]
            for _ in range(25):
                lines.append(" ".join([number(4) for _ in range(11)] + [str(rng.randrange(3))]))
    return "\n".join(lines) + "\n"


def save(folder: Path, content: str | bytes, name: str = NAME) -> ntu.Job:
    path = folder / f"{name}.skeleton"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (job,) = ntu.survey(folder, Source(25)).jobs
    return job


def read(folder: Path, content: str | bytes) -> Recording:
    (recording,) = ntu.read(save(folder, content)).recordings
    return recording


def refused(folder: Path, content: str | bytes) -> RecordingError:
    job = save(folder, content)
    with pytest.raises(RecordingError) as caught:
        ntu.read(job)
    assert caught.value.path == job.path
    return caught.value


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_the_fast_reader_equals_a_reader_line_by_line(
    tmp_path: Path, seed: int, words: bool
) -> None:
    content = generate(seed, words=words)
    recording = read(tmp_path, content)
    frames, frame, body, xyz = reference(tmp_path / f"{NAME}.skeleton")
    assert recording.length == frames
    assert recording.frame.tolist() == frame and recording.frame.dtype == np.int32
    assert recording.body.tolist() == body and recording.body.dtype == np.int64
    assert np.array_equal(
        recording.xyz, np.array(xyz, np.float32).reshape(-1, 25, 3), equal_nan=True
    )
    assert recording.xyz.dtype == np.float32
    assert fast(content)


def fast(content: str) -> bool:
    """Whether it is the fast way that reads a file, not the careful one behind it."""
    return ntu._whole(content.rstrip().encode()) is not None


def test_the_name_says_setup_camera_subject_replication_and_class(tmp_path: Path) -> None:
    recording = read(tmp_path, generate(1))
    assert (recording.name, recording.label) == (NAME, 49)
    assert recording.columns == {"setup": 3, "camera": 2, "subject": 17, "replication": 1}


def test_crlf_and_lf_are_read_the_same(tmp_path: Path) -> None:
    content = generate(2)
    a, b = read(tmp_path, content), read(tmp_path, content.replace("\n", "\r\n"))
    assert np.array_equal(a.xyz, b.xyz) and np.array_equal(a.body, b.body) and a.length == b.length
    assert fast(content.replace("\n", "\r\n"))


@pytest.mark.parametrize("change", ["  ", "\t", " \t "])
def test_other_blanks_between_the_numbers_do_not_matter(tmp_path: Path, change: str) -> None:
    content = generate(3)
    a = read(tmp_path, content)
    changed = content.replace(" ", change).replace("\n", change + "\n") + "\n \n"
    b = read(tmp_path, changed)
    assert np.array_equal(a.xyz, b.xyz) and np.array_equal(a.body, b.body) and a.length == b.length
    assert fast(changed)


ODD = [
    b"", b" ", b"\n", b"\r", b"\r\n", b",", b"/", b"-", b"+", b".", b"e", b"nan", b"x", b"(", b"_",
    b"\x0b", b"\xff", b"0", b"1", b"25\n", b"7 0 0 0 0 0 0 0 0 2\n", b"1 2 3 4 5 6 7 8 9 10 11 2\n",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_judged_alike_both_ways(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    whole = (
        generate(seed, words=True, frames=3)
        .replace("\n", rng.choice(["\n", "\r\n"]))
        .rstrip()
        .encode()
    )
    path = tmp_path / "x.skeleton"
    agreed = 0
    for _ in range(200):
        data = whole
        for _ in range(rng.randrange(1, 3)):
            # half of the damage where the structure is, in the first lines of a frame
            at = (
                rng.randrange(len(data))
                if rng.random() < 0.5
                else rng.randrange(min(120, len(data)))
            )
            data = data[:at] + rng.choice(ODD) + data[at + rng.randrange(2) :]
        data = data.rstrip()
        parts = ntu._whole(data)
        if parts is None:
            continue
        try:
            slow = ntu._line_by_line(path, data)
        except RecordingError as error:
            # only a token that is not kept, in its place and of the right alphabet, may pass
            assert "all numbers" in error.expected and int(error.found.split()[-1]) > 1
            assert error.expected.startswith("tracking id") or int(error.found.split()[-1]) > 3
            continue
        agreed += 1
        assert parts[0] == slow[0]
        for a, b in zip(parts[1:], slow[1:], strict=True):
            assert np.array_equal(a, b, equal_nan=a.dtype == np.float32) and a.dtype == b.dtype
    assert agreed > 5


@pytest.mark.parametrize(
    "token", ["1.000000059604644775390625000001", "1e39", "-1e400", "1e-50", "16777217"]
)
def test_both_ways_round_as_python_does_and_then_to_single_precision(
    tmp_path: Path, token: str
) -> None:
    data = "\n".join(["1", "1", *body(7, token)]).encode()
    fast, slow = ntu._whole(data), ntu._line_by_line(tmp_path, data)
    assert fast is not None
    with np.errstate(over="ignore"):
        assert fast[3][0, 0, 0] == slow[3][0, 0, 0] == np.float64(token).astype(np.float32)


def body(identity: int | str, first: str = "0.5") -> list[str]:
    return [f"{identity} 0 0 0 0 0 0 0 0 2", "25"] + [f"{first} 1 2 3 4 5 6 7 8 9 10 2"] * 25


def test_ids_above_2_to_53_stay_apart(tmp_path: Path) -> None:
    near = [72057594037932358, 72057594037932359]
    assert float(near[0]) == float(near[1])  # what a reader of floating-point numbers would see
    recording = read(tmp_path, "\n".join(["1", "2", *body(near[0]), *body(near[1])]))
    assert recording.body.tolist() == near


def test_ids_survive_the_careful_way_too(tmp_path: Path) -> None:
    largest = 2**63 - 1
    content = "\n".join(["1", "1", *body(largest)]).replace("25\n", "+25\n", 1)
    assert ntu._whole(content.encode()) is None
    assert read(tmp_path, content).body.tolist() == [largest]
    error = refused(tmp_path, "\n".join(["1", "1", *body(largest + 1)]))
    assert error.line == 3 and "64-bit" in error.expected


def test_bodies_keep_the_order_of_the_file(tmp_path: Path) -> None:
    recording = read(
        tmp_path, "\n".join(["3", "2", *body(7), *body(5), "0", "3", *body(5), *body(9), *body(7)])
    )
    assert recording.body.tolist() == [7, 5, 5, 9, 7]
    assert recording.frame.tolist() == [0, 0, 2, 2, 2]
    assert recording.length == 3


def test_nan_is_kept(tmp_path: Path) -> None:
    recording = read(tmp_path, "\n".join(["2", "1", *body(7, "NaN"), "1", *body(7)]))
    assert np.isnan(recording.xyz[0, :, 0]).all() and not np.isnan(recording.xyz[0, :, 1:]).any()
    assert not np.isnan(recording.xyz[1]).any()


@pytest.mark.parametrize("content", ["0\n", "3\n0\n0\n0\n"])
def test_a_file_without_bodies_has_no_rows(tmp_path: Path, content: str) -> None:
    recording = read(tmp_path, content)
    assert recording.length == int(content[0]) and recording.xyz.shape == (0, 25, 3)


def test_a_file_cut_at_any_line_is_refused_at_that_line(tmp_path: Path) -> None:
    lines = "\n".join(["2", "2", *body(7), *body(5), "1", *body(5)]).split("\n")
    for kept in range(1, len(lines)):
        error = refused(tmp_path, "\n".join(lines[:kept]) + "\n")
        assert (error.line, error.found) == (kept + 1, "the end of the file")
        assert error.expected.startswith(("the number of", "tracking id", "joint"))


def test_a_file_cut_within_a_line_is_refused_there(tmp_path: Path) -> None:
    content = generate(5, frames=4).rstrip()
    while not content.endswith(" 2"):  # end on a joint's line
        content = content[:-1]
    error = refused(tmp_path, content[:-2])
    assert error.line == content.count("\n") + 1
    assert error.found == "11 numbers" and error.expected.endswith("12 numbers")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for content in ("", "\n \r\n"):
        error = refused(tmp_path, content)
        assert (error.line, error.found) == (1, "an empty file")


def replaced(line: int, new: str | None) -> str:
    lines = ["2", "1", *body(7), "1", *body(7)]
    lines[line - 1 : line] = [] if new is None else [new]
    return "\n".join(lines)


JOINT_LINE = "0.5 1 2 3 4 5 6 7 8 9 10 2"


@pytest.mark.parametrize(
    ("line", "new", "found", "expected"),
    [
        (1, "two", "'two' as number 1", "number of frames"),
        (1, "-1", "'-1'", "number of frames, an integer from 0"),
        (1, "2.5", "'2.5'", "number of frames"),
        (1, "2 2", "2 numbers", "number of frames, an integer from 0: 1 number"),
        (2, "-1", "'-1'", "number of bodies in frame 1 of 2"),
        (2, "1.5", "'1.5'", "number of bodies in frame 1 of 2"),
        (
            3,
            "7.5 0 0 0 0 0 0 0 0 2",
            "'7.5'",
            "tracking id of body 1 of 1 in frame 1 of 2, a 64-bit integer",
        ),
        (3, "7 0 0 0 0 0 0 0 0", "9 numbers", "10 numbers"),
        (4, "24", "'24'", "number of joints of body 1 of 1 in frame 1 of 2, 25"),
        (
            5,
            JOINT_LINE.replace("0.5", "abc"),
            "'abc' as number 1",
            "joint 1 of 25 of body 1 of 1 in frame 1 of 2",
        ),
        (5, JOINT_LINE.replace("0.5", "1.2.3"), "'1.2.3' as number 1", "all numbers"),
        (5, JOINT_LINE.replace("0.5", "1_0"), "'1_0' as number 1", "all numbers"),
        (6, JOINT_LINE.replace("9", "abc"), "'abc' as number 10", "joint 2 of 25"),
        (
            7,
            JOINT_LINE + " 3",
            "13 numbers",
            "joint 3 of 25 of body 1 of 1 in frame 1 of 2: 12 numbers",
        ),
        (8, JOINT_LINE[:-2], "11 numbers", "joint 4 of 25"),
        (8, "", "0 numbers", "joint 4 of 25"),
        (30, "2 1", "2 numbers", "bodies in frame 2 of 2, an integer from 0: 1 number"),
    ],
)
def test_what_breaks_the_grammar_is_named(
    tmp_path: Path, line: int, new: str, found: str, expected: str
) -> None:
    error = refused(tmp_path, replaced(line, new))
    assert error.line == line
    assert error.found == found
    assert expected in error.expected


@pytest.mark.parametrize("count", ["0x19", "025.", "2 5", "25\r\r"])
def test_a_count_of_joints_written_oddly_is_not_taken_for_25(tmp_path: Path, count: str) -> None:
    assert ntu._whole(replaced(4, count).encode()) is None


def test_bodies_without_any_count_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "\n".join(body(7))).line == 1
    assert refused(tmp_path, "\n".join(["1", *body(7)])).line == 2


def test_a_missing_line_is_refused(tmp_path: Path) -> None:
    # the 24 joints left are followed by the next frame's count where a joint is due
    error = refused(tmp_path, replaced(10, None))
    assert error.line == 29 and error.found == "1 number"


@pytest.mark.parametrize("garbage", ["\n0\n", "\ntrailing words", "\n" + JOINT_LINE])
def test_text_after_the_last_frame_is_refused(tmp_path: Path, garbage: str) -> None:
    content = replaced(5, JOINT_LINE)
    error = refused(tmp_path, content + garbage)
    assert error.line == content.count("\n") + 2
    assert "1 more line" in error.found and "the end of the file" in error.expected


def test_a_line_too_long_and_the_next_too_short_is_refused(tmp_path: Path) -> None:
    lines = replaced(5, JOINT_LINE + " 3").split("\n")
    lines[5] = JOINT_LINE[:-2]  # the count of all numbers is right
    assert refused(tmp_path, "\n".join(lines)).line == 5


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    assert (
        refused(tmp_path, replaced(5, JOINT_LINE).encode().replace(b"0.5", b"\xff\x00", 1)).line
        == 5
    )


def test_wrong_names_and_second_files_are_collected(tmp_path: Path) -> None:
    for name in (
        "S001C001P001R001A001",
        "S1C1P1R1A1",
        "S001C001P001R001A000",
        "copy of S001C001P001R001A001",
    ):
        (tmp_path / f"{name}.skeleton").write_text("0\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "S001C001P001R001A001.skeleton").write_text("0\n")
    (tmp_path / "._S001C001P001R001A002.skeleton").write_text("what an archive leaves")
    survey = ntu.survey(tmp_path, Source(25))
    assert [job.name for job in survey.jobs] == ["S001C001P001R001A001"]
    assert len(survey.errors) == 4
    assert sum("SsssCcccPpppRrrrAaaa" in error.expected for error in survey.errors) == 3
    assert sum("a second file" in error.found for error in survey.errors) == 1


def test_files_are_found_in_folders_and_sorted_by_name(tmp_path: Path) -> None:
    for place in ("b/S001C001P001R001A001", "a/S002C001P001R001A001", "S001C003P001R001A001"):
        path = tmp_path / f"{place}.skeleton"
        path.parent.mkdir(exist_ok=True)
        path.write_text("0\n")
    names = [job.name for job in ntu.survey(tmp_path, Source(25)).jobs]
    assert names == sorted(names) and len(names) == 3


def test_listed_samples_and_classes_beyond_the_set_are_left_out(tmp_path: Path) -> None:
    for name in ("S001C001P001R001A001", "S001C001P001R001A002", "S018C001P001R001A061"):
        (tmp_path / f"{name}.skeleton").write_text("0\n")
    source = Source(
        25, class_count=60, excluded=frozenset({"S001C001P001R001A002", "S001C001P001R001A009"})
    )
    survey = ntu.survey(tmp_path, source)
    assert [job.name for job in survey.jobs] == ["S001C001P001R001A001"]
    assert survey.excluded == ["S001C001P001R001A002"]
    assert survey.left_out == {"S018C001P001R001A061": "class A061 is beyond the set's 60"}
    assert len(survey.classes) == 60 and survey.classes[59] == "A060"


def test_another_count_of_joints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 20; expected 25"):
        ntu.survey(tmp_path, Source(20))


@pytest.mark.parametrize(("line", "at"), [(1, 58), (2, 30)])
def test_an_absurd_count_is_refused_without_making_room_for_it(
    tmp_path: Path, line: int, at: int
) -> None:
    assert refused(tmp_path, replaced(line, "999999999999")).line == at


def test_recordings_that_nothing_here_reads_are_named(tmp_path: Path) -> None:
    save(tmp_path, generate(1))
    other = NAME.replace("A050", "A051")
    packed = [f"{NAME}.skeleton.gz", f"{other}.skeleton.gz", f"{other}.mat"]
    for name in (*packed, "S001_to_s017.ZIP"):
        (tmp_path / name).write_bytes(b"x")
    survey = ntu.survey(tmp_path, Source(25))
    assert [job.name for job in survey.jobs] == [NAME]
    assert [(e.path.name, e.found, e.expected) for e in survey.errors] == [
        (f"{other}.mat", "a file of MATLAB", "a text file, unpacked"),
        (f"{other}.skeleton.gz", "a compressed file", "a text file, unpacked"),
    ]
    assert survey.notes == ["not read: S001_to_s017.ZIP (an archive)"]
