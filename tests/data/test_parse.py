from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asma import skeleton as skeletons
from asma.data import parse as module
from asma.data.counts import published_counts
from asma.data.parse import (
    FORMATS,
    Parse,
    RecordingErrors,
    Report,
    class_list,
    names_in,
    parse,
)
from asma.data.posture import Implausible
from asma.data.recordings import Recording, RecordingError, Store
from asma.data.survey import Reading
from tests.data.people import person

NTU: dict[str, Any] = {
    "dataset": "mini",
    "format": "ntu",
    "layout": "kinect_v2",
    "joints": 25,
    "progress": False,
}


def skeleton(seed: int, frames: int = 3) -> str:
    rng = random.Random(seed)
    lines = [str(frames)]
    for _ in range(frames):
        bodies = rng.choice([0, 1, 2])
        lines.append(str(bodies))
        for b in range(bodies):
            lines += [f"{72057594037930000 + b} 0 0 0 0 0 0 0 0 2", "25"]
            lines += [
                f"{rng.random():.6f} {rng.random():.6f} 3 0 0 0 0 0 0 0 0 2" for _ in range(25)
            ]
    return "\n".join(lines) + "\n"


def name(i: int) -> str:
    return f"S001C{i % 3 + 1:03}P{i // 3 + 1:03}R001A{i % 5 + 1:03}"


def fill(raw: Path, count: int) -> list[str]:
    raw.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (raw / f"{name(i)}.skeleton").write_text(skeleton(i))
    return sorted(name(i) for i in range(count))


def test_all_files_become_recordings_sorted_by_name(tmp_path: Path) -> None:
    names = fill(tmp_path / "raw", 20)
    report = parse(tmp_path / "raw", tmp_path / "out.h5", **NTU, workers=1)
    with Store(tmp_path / "out.h5") as store:
        assert store.names == names
        assert store.classes == ["A001", "A002", "A003", "A004", "A005"]
        assert store.attrs["format"] == "ntu" and store.attrs["layout"] == "kinect_v2"
        assert store.attrs["source"] == "NTU RGB+D .skeleton files"
        assert set(store.columns) == {"setup", "camera", "subject", "replication"}
        assert report.recordings == 20 and report.frames == store.lengths.sum() == 60
        counts = [np.bincount(r.frame, minlength=r.length) for r in store]
        assert sorted(report.bodies.items()) == [
            (b, int((np.concatenate(counts) == b).sum())) for b in range(3)
        ]


@pytest.fixture
def awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the other processes, so that they read what is to be read by them, however few
    files there are.
    """
    monkeypatch.setattr(module._Readers, "awake", lambda readers: bool(readers.first.result()))


@pytest.mark.parametrize(
    ("workers", "method"), [(2, "forkserver"), (3, "forkserver"), (2, "spawn")]
)
def test_several_processes_give_the_same_bytes_and_report_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake: None, workers: int, method: str
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [method])
    fill(tmp_path / "raw", 40)
    (tmp_path / "raw" / f"{name(7)}.skeleton").write_text("1\n")
    monkeypatch.setitem(FORMATS, "ntu", replace(FORMATS["ntu"], batch=2))
    told: dict[str, Any] = {**NTU, "on_error": "skip"}
    one = parse(tmp_path / "raw", tmp_path / "one.h5", **told, workers=1)
    here: list[Any] = []
    attempt = module._attempt

    def watched(read: Any, jobs: list[Any]) -> list[module.Result]:
        here.extend(jobs)
        return attempt(read, jobs)

    monkeypatch.setattr(module, "_attempt", watched)
    two = parse(tmp_path / "raw", tmp_path / "two.h5", **told, workers=workers)
    assert len(here) < 40, "this process read every file itself"
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert one.metrics() == two.metrics() and len(one.bad) == 1


def test_one_worker_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "raw", 20)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(module, "ProcessPoolExecutor", never)
    parse(tmp_path / "raw", tmp_path / "out.h5", **NTU, workers=1)
    parse(tmp_path / "raw", tmp_path / "out.h5", **NTU, workers=0)  # too few files to be worth one
    with pytest.raises(AssertionError, match="a process was started"):
        parse(tmp_path / "raw", tmp_path / "out.h5", **NTU, workers=2)


def test_all_bad_files_are_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    fill(raw, 20)
    (raw / f"{name(3)}.skeleton").write_text("")
    (raw / f"{name(11)}.skeleton").write_text("1\n1\n")
    (raw / "odd.skeleton").write_text(skeleton(0))
    for workers in (1, 2):
        with pytest.raises(RecordingErrors) as caught:
            parse(raw, tmp_path / "out.h5", **NTU, workers=workers)
        assert {error.path.name for error in caught.value.errors} == {
            f"{name(3)}.skeleton",
            f"{name(11)}.skeleton",
            "odd.skeleton",
        }
        message = str(caught.value)
        assert message.startswith("found 3 bad files; expected none (or parse.on_error: skip)")
        assert (
            f"{name(11)}.skeleton, line 3: found the end of the file; expected tracking id"
            in message
        )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_many_bad_files_are_listed_in_a_file_beside_the_output(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(60):
        (raw / f"{name(i)}.skeleton").write_text("x\n")
    with pytest.raises(RecordingErrors) as caught:
        parse(raw, tmp_path / "out.h5", **NTU)
    message = str(caught.value)
    assert len(message.splitlines()) == 52
    assert f"and 10 more, all listed in {tmp_path / 'out.bad.txt'}" in message
    assert len((tmp_path / "out.bad.txt").read_text().splitlines()) == 60
    fill(raw, 60)
    parse(raw, tmp_path / "out.h5", **NTU)
    assert not (tmp_path / "out.bad.txt").exists()


def test_skip_goes_on_and_says_what_it_left_out(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = fill(raw, 20)
    (raw / f"{name(3)}.skeleton").write_text("2\n0\n")
    report = parse(raw, tmp_path / "out.h5", **NTU, on_error="skip")
    with Store(tmp_path / "out.h5") as store:
        assert store.names == [n for n in names if n != name(3)]
    (bad,) = report.bad
    assert f"{name(3)}.skeleton, line 3: found the end of the file" in bad
    assert report.metrics()["names"]["bad"] == [bad] and report.figures()["bad"] == 1
    assert "bad files skipped: 1" in report.summary()


def test_skip_with_nothing_but_bad_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{name(0)}.skeleton").write_text("x")
    with pytest.raises(RecordingErrors, match="1 bad file"):
        parse(tmp_path / "raw", tmp_path / "out.h5", **NTU, on_error="skip")
    assert not (tmp_path / "out.h5").exists()


def test_the_official_list_is_applied(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    fill(raw, 3)
    listed = "S001C002P005R002A008"
    (raw / f"{listed}.skeleton").write_text("broken, and listed for it")
    report = parse(
        raw, tmp_path / "out.h5", **{**NTU, "dataset": "ntu60"}, class_count=60, missing="official"
    )
    assert report.excluded == [listed] and report.recordings == 3 and report.classes == 60
    assert report.published == 56578
    assert "published: 56578 recordings; 56575 fewer here" in report.summary()
    assert "excluded by the official list of incomplete samples: 1" in report.summary()
    with pytest.raises(RecordingErrors):
        parse(raw, tmp_path / "out.h5", **NTU, missing="none")


def test_the_lists_hold_what_their_owners_published() -> None:
    missing = names_in("ntu_missing")
    assert len(missing) == len(set(missing)) == 535
    assert sum(int(sample[1:4]) <= 17 for sample in missing) == 302
    actions = class_list("ntu120_classes")
    assert actions is not None and len(actions) == 120
    assert (actions[0], actions[59], actions[119]) == (
        "drink water",
        "walking apart from each other",
        "finger-guessing game (playing rock-paper-scissors)",
    )
    assert class_list("ntu120_classes", 60) == actions[:60]
    pku = class_list("pku51_classes", 51)
    assert pku is not None and (pku[0], pku[50]) == ("bow", "writing")
    assert class_list(None) is None
    with pytest.raises(ValueError, match="found 61; expected at most the 51"):
        class_list("pku51_classes", 61)
    with pytest.raises(ValueError, match="found 'nowhere'; expected one of .*ntu120_classes"):
        class_list("nowhere")


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120"])
def test_published_splits_add_up(dataset: str) -> None:
    counts = published_counts()[dataset]
    splits = {key: value for key, value in counts.items() if isinstance(value, dict)}
    assert len(splits) == 2
    assert all(sides["train"] + sides["test"] == counts["total"] for sides in splits.values())
    listed = [
        sample
        for sample in names_in("ntu_missing")
        if dataset == "ntu120" or int(sample[1:4]) <= 17
    ]
    assert counts["unfiltered"] - len(listed) == counts["total"]


def test_what_cannot_be_is_refused_before_reading(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    out = tmp_path / "out.h5"
    for change, message in (
        ({"format": "bvh"}, "format: found 'bvh'; expected one of ntu, pku, folder"),
        ({"on_error": "ignore"}, "on_error: found 'ignore'; expected one of stop, skip"),
        ({"missing": "all"}, "missing: found 'all'; expected one of none, official"),
        ({"up": "w"}, "datasets/mini.yaml: up: found 'w'; expected one of x, -x, y, -y, z, -z"),
        ({"unit": "in"}, "datasets/mini.yaml: unit: found 'in'; expected one of m, cm, mm"),
        (
            {"implausible": "ok"},
            "datasets/mini.yaml: implausible: found 'ok'; expected one of refuse, warn",
        ),
        ({"up": "z"}, "datasets/mini.yaml: found up: z, unit: m; .*format ntu has y up, in metres"),
        ({"format": "pku", "missing": "official"}, "format pku has no official list"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(tmp_path / "raw", out, **{**NTU, **change})
    with pytest.raises(
        RecordingError, match="found no recording to read; expected files SsssCcccPpppRrrrAaaa"
    ):
        parse(tmp_path / "raw", out, **NTU)
    with pytest.raises(RecordingError, match="found no such folder"):
        parse(tmp_path / "nowhere", out, **NTU)


def test_every_format_says_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for format in FORMATS:
        with pytest.raises(RecordingError) as caught:
            parse(tmp_path / "raw", tmp_path / "out.h5", **{**NTU, "format": format})
        assert caught.value.found in ("no recording to read", "no such file")


def test_what_pku_leaves_out_reaches_the_report(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for part, content in (
        ("skeleton", "1 " * 75 + "0 " * 75 + "\n" + "0 " * 150),
        ("label", "3,1,1,2\n4,2,2,2\n"),
    ):
        (raw / part).mkdir(parents=True)
        (raw / part / "0002-L.txt").write_text(content)
    names = class_list("pku51_classes")
    report = parse(
        raw, tmp_path / "out.h5", **{**NTU, "format": "pku"}, classes=names, class_count=51
    )
    assert report.recordings == 1
    assert report.left_out == {"F002V001C004L002": "frames 2 to 2 are empty: no body in any"}
    with Store(tmp_path / "out.h5") as store:
        assert store.classes[2] == "brushing teeth" and store.labels.tolist() == [2]


def test_a_folder_of_anyones_skeletons_is_parsed(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "index.csv").write_text("file,label,subject\nb.txt,wave,2\na.txt,clap,\n")
    for file in ("a", "b"):
        (raw / f"{file}.txt").write_text("0.1 0.2 nan 1 2 3\n" * 4)
    settings = {"format": "folder", "layout": "two", "joints": 2}
    report = parse(raw, tmp_path / "out.h5", **{**NTU, **settings}, bodies=1)
    assert report.nan_frames == 8 and report.classes == 2 and report.published is None
    with Store(tmp_path / "out.h5") as store:
        assert store.names == ["a", "b"] and store.classes == ["clap", "wave"]
        assert store.columns["subject"].tolist() == ["", "2"]


V1: dict[str, Any] = {
    "dataset": "mine",
    "format": "folder",
    "layout": "kinect_v1",
    "joints": 20,
    "bodies": 1,
    "skeleton": skeletons.load("kinect_v1"),
    "progress": False,
}


def folder_of(raw: Path, *people: np.ndarray) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    names = [f"p{i:02}" for i in range(len(people))]
    index = "file,label\n" + "".join(f"{name}.txt,wave\n" for name in names)
    (raw / "index.csv").write_text(index)
    for name, xyz in zip(names, people, strict=True):
        np.savetxt(raw / f"{name}.txt", xyz.reshape(len(xyz), -1), "%.4f")


def test_z_up_millimetres_are_refused_with_the_remedy_and_then_become_the_same_recordings(
    tmp_path: Path,
) -> None:
    upright = person()
    folder_of(tmp_path / "y", upright)
    x, y, z = np.moveaxis(upright, -1, 0)
    folder_of(tmp_path / "z", np.stack([x, -z, y], axis=-1) * 1000)
    expected = tmp_path / "expected.h5"
    assert parse(tmp_path / "y", expected, **V1).notes == []
    out = tmp_path / "out.h5"
    with pytest.raises(Implausible) as caught:
        parse(tmp_path / "z", out, **V1)
    assert not out.exists()
    message = str(caught.value)
    assert "along z in 1 of 1 recordings" in message and "set `up: z`" in message
    assert "looks like millimetres, set `unit: mm`" in message
    assert "datasets/mine.yaml: implausible: warn takes the positions as they are" in message
    assert parse(tmp_path / "z", out, **V1, up="z", unit="mm").notes == []
    with Store(expected) as one, Store(out) as two:
        np.testing.assert_allclose(one[0].xyz, two[0].xyz, atol=1e-4)


def test_what_is_implausible_may_be_let_through_with_a_note(tmp_path: Path) -> None:
    folder_of(tmp_path / "raw", person() * 100)
    report = parse(tmp_path / "raw", tmp_path / "out.h5", **V1, implausible="warn")
    (note,) = report.notes
    assert "set `unit: cm`" in note and note in report.summary()
    assert report.metrics()["notes"] == [note]


def test_recordings_with_nan_or_infinite_coordinates_are_named(tmp_path: Path) -> None:
    folder_of(tmp_path / "raw", *[person() for _ in range(14)])
    for i, word in enumerate(["nan", "inf", "1e400", "-1e39"] * 3):
        path = tmp_path / "raw" / f"p{i:02}.txt"
        path.write_text(path.read_text().replace("1.6000", word, 1))
    report = parse(tmp_path / "raw", tmp_path / "out.h5", **V1)
    assert report.nan == [f"p{i:02}" for i in range(12)] and report.nan_frames == 12
    found = "recordings with a coordinate that is no finite number, in 12 frames: 12: p00, p01,"
    assert found in report.summary() and "p09, … and 2 more" in report.summary()
    assert report.metrics()["names"]["nan"] == report.nan


def test_of_recordings_without_a_body_ten_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    fill(raw, 1)
    for i in range(1, 14):
        (raw / f"{name(i)}.skeleton").write_text("2\n0\n0\n")
    report = parse(raw, tmp_path / "out.h5", **NTU)
    assert len(report.bodiless) == 13 and report.recordings == 14
    assert "recordings without a body in any frame: 13: " in report.summary()
    assert f"{report.bodiless[9]}, … and 3 more" in report.summary()
    assert report.bodiless[10] not in report.summary()
    folder_of(tmp_path / "mine", person(), *[np.zeros((2, 20, 3)) for _ in range(13)])
    summary = parse(tmp_path / "mine", tmp_path / "out.h5", **V1).summary()
    assert "p10: empty: no body in any frame\n  … and 3 more" in summary and "p11" not in summary


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_label_outside_its_video_stops_or_is_skipped_as_any_fault(
    tmp_path: Path,
    on_error: str,
) -> None:
    raw = tmp_path / "raw"
    for part, content in (("skeleton", "1 " * 150), ("label", "3,1,1,2\n4,2,1,2\n5,7,9,2\n")):
        (raw / part).mkdir(parents=True)
        (raw / part / "0002-L.txt").write_text(content)
    told = {**NTU, "format": "pku", "on_error": on_error}
    names = [f"{raw / 'label' / '0002-L.txt'}, line {line}: found frames" for line in (2, 3)]
    if on_error == "stop":
        with pytest.raises(RecordingErrors) as caught:
            parse(raw, tmp_path / "out.h5", **told)
        found = [str(error) for error in caught.value.errors]
    else:
        report = parse(raw, tmp_path / "out.h5", **told)
        found = report.bad
        assert report.recordings == 1 and not report.left_out
    assert len(found) == 2
    assert all(error.startswith(name) for error, name in zip(found, names, strict=True))


def test_archives_that_were_not_unpacked_are_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "nturgbd.zip").write_bytes(b"x")
    with pytest.raises(RecordingError, match=r"nturgbd\.zip \(an archive\); expected files"):
        parse(tmp_path / "raw", tmp_path / "out.h5", **NTU)
    fill(tmp_path / "raw", 3)
    report = parse(tmp_path / "raw", tmp_path / "out.h5", **NTU)
    assert "not read: nturgbd.zip (an archive)" in report.summary()


def test_what_an_official_split_names_in_vain_goes_with_the_recordings(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for part, content in (("skeleton", "1 " * 150), ("label", "3,1,1,2\n")):
        (raw / part).mkdir(parents=True)
        (raw / part / "0002-L.txt").write_text(content)
    lists = "Training videos:\n0002-L, 0007-M\nValidation videos:\n0003-R"
    (raw / "cross-view.txt").write_text(lists)
    parse(raw, tmp_path / "out.h5", **{**NTU, "format": "pku"})
    with Store(tmp_path / "out.h5") as store:
        assert json.loads(store.attrs["absent"]) == {"cross_view": ["0003-R", "0007-M"]}


def _many(jobs: int, rows: int) -> module.Format:
    def survey(raw: Path, source: object) -> module.Survey:
        return module.Survey(jobs=list(range(jobs)), classes=["a"])

    def read(job: int) -> Reading:
        xyz = np.full((rows, 25, 3), job, np.float32)
        frame = np.arange(rows, dtype=np.int32)
        return Reading([Recording(f"{job:06}", 0, {}, rows, frame, frame.astype(np.int64), xyz)])

    return module.Format(survey, read, batch=1, few=10**9, expects="", source="")


def test_memory_does_not_grow_with_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = []
    for jobs in (150, 600):  # 4.7 and 19 MB of positions
        monkeypatch.setitem(FORMATS, "made", _many(jobs, 100))
        tracemalloc.start()
        parse(tmp_path / "raw", tmp_path / "out.h5", **{**NTU, "format": "made"})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # how many of a block's 16 chunks are being packed at the worst moment is up to the threads: 2
    # x 150 kB for each
    assert peaks[1] < peaks[0] + 5 * 2**20


def elsewhere() -> bool:
    return multiprocessing.parent_process() is not None


def made(job: Path, rows: int = 2) -> Reading:
    """A recording without a file, so that a process of its own can make it."""
    frame = np.arange(rows, dtype=np.int32)
    xyz = np.full((rows, 25, 3), len(job.name), np.float32)
    return Reading([Recording(job.name, 0, {}, rows, frame, frame.astype(np.int64), xyz)])


def long(job: Path) -> Reading:
    return made(job, 2 * module.SHELF // 300)


def wait_for(sign: Path) -> None:
    until = time.monotonic() + 20
    while not sign.exists():
        assert time.monotonic() < until, "nobody else reads"
        time.sleep(0.01)


def killed(job: Path) -> Reading:
    """As if memory had run out elsewhere."""
    sign = job.with_name("read elsewhere")
    if elsewhere():
        sign.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    wait_for(sign)
    return made(job)


def interrupted(job: Path) -> Reading:
    """As if Ctrl-C had been pressed, which every process of a terminal hears."""
    sign = job.with_name("read here")
    if elsewhere():
        wait_for(sign)  # else the others might have read everything before this process does
    else:
        sign.touch()
    os.kill(os.getpid(), signal.SIGINT)
    return made(job)


def awaiting_the_other(job: Path) -> Reading:
    """Elsewhere, wait until this process has read one."""
    sign = job.with_name("read here")
    if not elsewhere():
        sign.touch()
    wait_for(sign)
    return made(job)


def of(read: Any, folder: Path, count: int = 40) -> module.Format:
    jobs = [folder / f"{i:06}" for i in range(count)]
    return module.Format(
        lambda *_: module.Survey(jobs=jobs, classes=["a"]),
        read,
        batch=1,
        few=0,
        expects="",
        source="",
    )


def jobs_of(format: module.Format, folder: Path) -> list[Any]:
    return format.survey(folder, module.Source(25)).jobs


def test_only_a_few_batches_are_under_way_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake: None
) -> None:
    submitted: list[Any] = []
    begin = module._Readers.begin

    def watched(readers: module._Readers, jobs: list[Any]) -> None:
        submitted.extend(jobs)
        begin(readers, jobs)

    monkeypatch.setattr(module._Readers, "begin", watched)
    format = of(made, tmp_path, 100)
    for i, reading in enumerate(module._readings(format, jobs_of(format, tmp_path), 2)):
        assert isinstance(reading, Reading) and reading.recordings[0].name == f"{i:06}"
        assert len(submitted) <= i + 2 * 2 * module.AHEAD
    assert len(submitted) == 100


def test_while_others_read_this_process_reads_too(tmp_path: Path, awake: None) -> None:
    format = of(awaiting_the_other, tmp_path, 20)
    readings = list(module._readings(format, jobs_of(format, tmp_path), 2))
    assert [reading.recordings[0].name for reading in readings if isinstance(reading, Reading)] == [
        f"{i:06}" for i in range(20)
    ]


def test_no_file_waits_for_processes_that_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Readers, "awake", lambda _: False)
    format = of(made, tmp_path, 10)
    assert len(list(module._readings(format, jobs_of(format, tmp_path), 2))) == 10


def test_what_no_shelf_holds_comes_whole(tmp_path: Path, awake: None) -> None:
    format = of(long, tmp_path, 3)
    for job, reading in zip(
        jobs_of(format, tmp_path),
        module._readings(format, jobs_of(format, tmp_path), 2),
        strict=True,
    ):
        assert isinstance(reading, Reading)
        (found,), (expected,) = reading.recordings, long(job).recordings
        assert found.xyz.nbytes > module.SHELF and found.name == expected.name
        assert all(
            np.array_equal(getattr(found, part), getattr(expected, part))
            for part in ("frame", "body", "xyz")
        )


def test_what_was_given_is_not_overwritten_by_what_comes_later(tmp_path: Path, awake: None) -> None:
    fill(tmp_path, 60)
    format = replace(FORMATS["ntu"], batch=1)
    jobs = jobs_of(format, tmp_path)
    kept = list(module._readings(format, jobs, 2))
    for job, reading in zip(jobs, kept, strict=True):
        assert isinstance(reading, Reading)
        assert np.array_equal(reading.recordings[0].xyz, format.read(job).recordings[0].xyz)


def test_the_end_of_a_killed_process_is_the_end_of_the_parse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake: None
) -> None:
    monkeypatch.setitem(FORMATS, "made", of(killed, tmp_path))
    with pytest.raises(
        RuntimeError, match=r"found a process that was killed .* set parse.workers to fewer"
    ):
        parse(tmp_path, tmp_path / "out.h5", **{**NTU, "format": "made"}, workers=2)
    assert multiprocessing.active_children() == [] and not list(tmp_path.glob("out*"))


def test_an_interrupted_parse_ends_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake: None
) -> None:
    monkeypatch.setitem(FORMATS, "made", of(interrupted, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        parse(tmp_path, tmp_path / "out.h5", **{**NTU, "format": "made"}, workers=2)
    assert multiprocessing.active_children() == []
    assert [path.name for path in tmp_path.iterdir()] == ["read here"]


def test_an_interrupt_is_for_the_process_that_writes(
    tmp_path: Path, awake: None, capfd: pytest.CaptureFixture[str]
) -> None:
    format = of(made, tmp_path)
    readings = module._readings(format, jobs_of(format, tmp_path), 2)
    next(readings)
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    assert len(list(readings)) == 39 and capfd.readouterr().err == ""


def test_an_interrupted_reading_ends_its_processes(tmp_path: Path, awake: None) -> None:
    format = of(made, tmp_path)
    with closing(module._readings(format, jobs_of(format, tmp_path), 2)) as readings:
        next(readings)
        assert len(multiprocessing.active_children()) == 1
    assert multiprocessing.active_children() == []


def test_recordings_that_cannot_be_written_end_the_processes_that_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake: None
) -> None:
    monkeypatch.setitem(
        FORMATS,
        "made",
        replace(of(made, tmp_path), survey=lambda *_: module.Survey([tmp_path] * 40)),
    )
    with pytest.raises(ValueError, match="found label 0"):
        parse(tmp_path, tmp_path / "out.h5", **{**NTU, "format": "made"}, workers=2)
    assert multiprocessing.active_children() == []


ABANDON = """
import os, signal, time
from asma.data import parse
readers = parse._Readers(time.sleep, 1)
readers.first.result()  # it has started
readers.begin([60])
while not readers.pending[0].future.running():
    time.sleep(0.01)
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_process_goes_on_reading_for_a_parse_that_is_killed() -> None:
    # its output ends when the last process that could write there has ended
    ended = subprocess.run([sys.executable, "-c", ABANDON], capture_output=True, timeout=30)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_cores_pack_than_the_parse_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    told = {}
    monkeypatch.setattr(module, "write", lambda *_, **settings: told.update(settings))
    fill(tmp_path, 1)
    parse(tmp_path, tmp_path / "out.h5", **NTU, workers=workers)
    assert told["threads"] == workers


def test_progress_is_shown_while_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("asma.progress.SECONDS_BETWEEN_LINES", -1.0)
    fill(tmp_path / "raw", 3)
    parse(tmp_path / "raw", tmp_path / "out.h5", **NTU)
    assert "parse mini" not in capsys.readouterr().out
    parse(tmp_path / "raw", tmp_path / "out.h5", **{**NTU, "progress": True})
    assert "parse mini: 3/3 files" in capsys.readouterr().out


def test_errors_travel_between_processes_whole() -> None:
    errors = RecordingErrors([RecordingError("a", 1, "x", "y")], Path("b"))
    assert str(pickle.loads(pickle.dumps(errors))) == str(errors)


def test_the_defaults_stop_at_bad_files_and_use_all_cores() -> None:
    assert Parse() == Parse(on_error="stop", workers=0)


def test_metrics_are_plain_and_sorted() -> None:
    report = Report("x", left_out={"b": "2", "a": "1"})
    report.bodies.update({2: 1, 0: 3})
    metrics = report.metrics()
    assert list(metrics["names"]["left_out"]) == ["a", "b"]
    assert metrics["frames_by_bodies"] == {"0": 3, "2": 1}
    assert metrics["stage"] == "parse" and "published" not in metrics
