from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from asma.data import recordings
from asma.data.recordings import Recording, RecordingError, Store, write

JOINTS = 5


def recording(i: int, **changes: Any) -> Recording:
    rng = np.random.default_rng(i)
    length = int(rng.integers(1, 9))
    frame = np.repeat(np.arange(length), rng.integers(0, 3, length)).astype(np.int32)
    fields: dict[str, Any] = {
        "name": f"r{i:04}",
        "label": i % 3,
        "columns": {"subject": i % 7, "side": "links" if i % 2 else "größer"},
        "length": length,
        "frame": frame,
        "body": rng.integers(2**60, 2**62, len(frame)),
        "xyz": rng.normal(size=(len(frame), JOINTS, 3)).astype(np.float32),
    }
    return Recording(**{**fields, **changes})


def save(path: Path, items: Any, threads: int = 1) -> None:
    write(
        path,
        items,
        classes=["a", "b", "ç"],
        dataset="tiny",
        format="folder",
        layout="five",
        joints=JOINTS,
        parameters={"b": 1, "a": None},
        source="a test",
        threads=threads,
    )


def same(a: Recording, b: Recording) -> bool:
    return (
        (a.name, a.label, a.columns, a.length) == (b.name, b.label, b.columns, b.length)
        and np.array_equal(a.frame, b.frame)
        and np.array_equal(a.body, b.body)
        and np.array_equal(a.xyz, b.xyz, equal_nan=True)
        and (a.frame.dtype, a.body.dtype, a.xyz.dtype) == (np.int32, np.int64, np.float32)
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    items = [recording(i) for i in range(40)]
    items[3].xyz[:1] = np.nan
    save(tmp_path / "x.h5", items)
    with Store(tmp_path / "x.h5") as store:
        assert len(store) == 40
        assert store.names == [item.name for item in items]
        assert store.classes == ["a", "b", "ç"]
        assert store.labels.tolist() == [item.label for item in items]
        assert store.lengths.tolist() == [item.length for item in items]
        assert store.columns["subject"].dtype == np.int64
        assert (store.columns["side"] == "größer").sum() == 20
        assert store.attrs["joints"] == JOINTS and store.attrs["kind"] == "recordings"
        assert store.attrs["parameters"] == '{"a": null, "b": 1}'
        assert all(same(store[i], items[i]) for i in range(40))
        assert same(store[-1], items[-1])
        with pytest.raises(IndexError, match="found index 40"):
            store[40]


def test_going_through_all_equals_asking_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [recording(i) for i in range(60)]
    save(tmp_path / "x.h5", items)
    monkeypatch.setattr(recordings, "BLOCK", 20)  # some recordings share a block
    with Store(tmp_path / "x.h5") as store:
        assert all(same(a, b) for a, b in zip(store, items, strict=True))


def test_recordings_longer_than_a_block_come_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "BLOCK", 4)
    monkeypatch.setattr(recordings, "CHUNK", 2)
    items = [recording(i) for i in range(30)]
    save(tmp_path / "x.h5", items)
    with Store(tmp_path / "x.h5") as store:
        assert all(same(a, b) for a, b in zip(store, items, strict=True))


def test_a_recording_without_any_body_is_kept(tmp_path: Path) -> None:
    nobody = {"frame": np.zeros(0, np.int32), "body": np.zeros(0, np.int64)}
    items = [recording(0, **nobody, xyz=np.zeros((0, JOINTS, 3), np.float32), length=6)]
    save(tmp_path / "x.h5", items)
    with Store(tmp_path / "x.h5") as store:
        assert same(store[0], items[0]) and store[0].length == 6


def test_a_second_writing_gives_the_same_bytes(tmp_path: Path) -> None:
    # enough rows for several chunks: a compressor that reads stale memory betrays itself only there
    many = [recording(i, **_rows(i, 400)) for i in range(30)]
    for threads, name in enumerate(("a", "b", "c"), start=1):
        save(tmp_path / name / "x.h5", many, threads)
        np.random.default_rng(ord(name)).normal(size=1_000_000)  # leave the heap in another state
    first = (tmp_path / "a" / "x.h5").read_bytes()
    assert first == (tmp_path / "b" / "x.h5").read_bytes() == (tmp_path / "c" / "x.h5").read_bytes()


@pytest.mark.parametrize("rows", [recordings.CHUNK - 1, recordings.CHUNK, 3 * recordings.CHUNK + 7])
def test_chunks_that_are_packed_here_are_read_by_anyone(tmp_path: Path, rows: int) -> None:
    item = recording(0, **_rows(3, rows))
    item.xyz[rows // 2] = np.nan
    item.body[:] = np.random.default_rng(0).integers(-(2**63), 2**63, rows)
    save(tmp_path / "x.h5", [item])
    with h5py.File(tmp_path / "x.h5") as file:
        for part in ("frame", "body", "xyz"):
            found, values = file[part][:], getattr(item, part)
            assert found.dtype == values.dtype and found.tobytes() == values.tobytes()
            assert file[part].shuffle and file[part].compression_opts == 1
        assert file["frame"].id.get_storage_size() < item.frame.nbytes / 2


def test_nothing_is_packed_by_lzf(tmp_path: Path) -> None:
    # its output depends on what memory held before: the same recordings gave other bytes, now and
    # then
    save(tmp_path / "x.h5", [recording(0)])
    packers: set[str | None] = set()
    with h5py.File(tmp_path / "x.h5") as file:
        file.visititems(lambda _, item: packers.add(getattr(item, "compression", "gzip")))
    assert packers == {"gzip"}


def _rows(i: int, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(i)
    return {
        "length": count,
        "frame": np.arange(count, dtype=np.int32),
        "body": np.full(count, i, np.int64),
        "xyz": rng.normal(size=(count, JOINTS, 3)).round(2).astype(np.float32),
    }


def test_what_is_held_does_not_grow_with_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "BLOCK", 1024)
    held: list[int] = []
    flush = recordings._Rows.flush

    def watched(self: recordings._Rows, keep: int = 0) -> None:
        held.append(self.count)
        flush(self, keep)

    monkeypatch.setattr(recordings._Rows, "flush", watched)

    def stream() -> Iterator[Recording]:
        for i in range(200):
            yield recording(i, **_rows(i, 50))

    save(tmp_path / "x.h5", stream())
    assert len(held) > 8 and max(held) < 1024 + 50
    with Store(tmp_path / "x.h5") as store:
        assert store.first[-1] == 200 * 50


def test_plain_h5py_reads_it_in_four_lines(tmp_path: Path) -> None:
    items = [recording(i) for i in range(5)]
    save(tmp_path / "x.h5", items)
    with h5py.File(tmp_path / "x.h5") as file:
        rows = slice(*file["first"][2:4])
        assert file["names"].asstr()[2] == "r0002"
        assert np.array_equal(file["xyz"][rows], items[2].xyz)
        for part in ("xyz", "body", "frame", "names", "labels", "first", "columns/subject"):
            assert file[part].chunks and file[part].compression


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([recording(1), recording(0)], "'r0000' after 'r0001'; expected sorted names"),
        ([recording(1), recording(1)], "each once"),
        ([recording(1, label=3)], "found label 3; expected 0 to 2"),
        ([recording(1, label=-1)], "found label -1"),
        ([recording(1), recording(2, columns={"subject": 1})], "found columns"),
        ([recording(1), recording(2, columns={"subject": "x", "side": "y"})], "integers and words"),
        ([recording(1, xyz=np.zeros((1, JOINTS + 1, 3), np.float32))], "expected"),
        ([recording(1, **{**_rows(1, 3), "frame": np.array([0, 2, 1], np.int32)})], "out of order"),
        ([recording(1, **{**_rows(1, 3), "length": 2})], "out of order; expected 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_file(
    tmp_path: Path, items: list[Recording], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "x.h5", items)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writing_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    save(tmp_path / "x.h5", [recording(0)])
    before = (tmp_path / "x.h5").read_bytes()
    with pytest.raises(ValueError):
        save(tmp_path / "x.h5", [recording(1), recording(0)])
    assert (tmp_path / "x.h5").read_bytes() == before


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["kind"] = "clips"
    with pytest.raises(ValueError, match="found kind 'clips'; expected 'recordings'"):
        Store(tmp_path / "x.h5")


def test_an_error_says_file_line_found_and_expected_and_survives_pickling() -> None:
    error = RecordingError(Path("a/b.txt"), 7, "'x'", "a number")
    assert str(error) == "a/b.txt, line 7: found 'x'; expected a number"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.line, copy.found, copy.expected) == (
        Path("a/b.txt"),
        7,
        "'x'",
        "a number",
    )
    assert str(RecordingError(Path("c"), None, "none", "one")) == "c: found none; expected one"
