from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from asma import skeleton
from asma.data import clips, folder, recordings
from asma.data.clips import Prepare
from asma.data.recordings import Recording, Store

SKELETON = skeleton.load("kinect_v2")
SPINE, LEFT, RIGHT = 20, 4, 8  # spine shoulder and the two shoulders
HOW = Prepare()


def record(bodies: list[list[int]], seed: int = 0, name: str = "one", label: int = 0) -> Recording:
    """A recording of random positions: bodies[t] are the tracking ids listed in frame t."""
    draw = np.random.default_rng(seed)
    frame = [t for t, ids in enumerate(bodies) for _ in ids]
    xyz = draw.normal(size=(len(frame), 25, 3)).astype(np.float32)
    body = np.array([i for ids in bodies for i in ids], np.int64)
    return Recording(name, label, {"subject": 1}, len(bodies), np.array(frame, np.int32), body, xyz)


def rows(recording: Recording, t: int) -> list[int]:
    """Rows of frame t in listing order."""
    return [r for r in range(len(recording.frame)) if recording.frame[r] == t]


def slow_frame50(recording: Recording, M: int, T: int) -> np.ndarray | None:
    """The public recipe, number by number; (3, T, 25, M)."""
    data = np.zeros((3, recording.length, 25, M), np.float32)
    for t in range(recording.length):
        for m, r in enumerate(rows(recording, t)[:M]):
            data[:, t, :, m] = recording.xyz[r].T
    if recording.length > 300:
        start = (recording.length - 300) // 2
        data = data[:, start : start + 300]
    L = sum(1 for t in range(data.shape[1]) if sum(abs(data[c, t, 0, 0]) for c in range(3)) != 0)
    if L == 0:
        return None
    out = np.zeros((3, T, 25, M))
    for m in range(M):
        short = [
            [data[:, t, v, m].astype(float) - data[:, t, SPINE, m] for v in range(25)]
            for t in range(L)
        ]
        resized = []
        for t in range(T):
            # half-pixel centres, edges repeated
            place = min(max((t + 0.5) * L / T - 0.5, 0.0), L - 1.0)
            low = math.floor(place)
            high = min(low + 1, L - 1)
            share = place - low
            resized.append(
                [(1 - share) * short[low][v] + share * short[high][v] for v in range(25)]
            )
        lines = [frame[RIGHT] - frame[LEFT] for frame in resized]
        sign = -1 if sum(line[2] for line in lines) >= 0 else 1
        for t, (frame, line) in enumerate(zip(resized, lines, strict=True)):
            angle = sign * math.acos(line[0] / (math.hypot(line[0], line[2]) + 1e-4))
            for v in range(25):
                x, y, z = frame[v]
                out[0, t, v, m] = x * math.cos(angle) - z * math.sin(angle)
                out[1, t, v, m] = y
                out[2, t, v, m] = x * math.sin(angle) + z * math.cos(angle)
    return out


RECORDINGS: dict[str, list[list[int]]] = {
    "shorter than the clip": [[1, 2]] * 13,
    "longer than the clip": [[1]] * 71,
    "as long as the clip": [[1, 2]] * 50,
    "a single frame": [[5]],
    "bodies that come and go": [[1]] * 4 + [[1, 2]] * 9 + [[2]] * 3 + [[2, 1]] * 5,
    "three bodies": [[3, 1, 2]] * 8,
    "empty frames at the start and in between": [[]] * 3 + [[1]] * 5 + [[]] * 2 + [[1, 2]] * 6,
    "cut to 300": [[1, 2]] * 310,
}


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("M", [1, 2])
def test_frame50_equals_the_public_recipe_step_by_step(name: str, M: int) -> None:
    recording = record(RECORDINGS[name])
    found = clips.frame50(recording, SKELETON, M, HOW)
    expected = slow_frame50(recording, M, 50)
    assert found is not None and expected is not None
    assert found.shape == (3, 50, 25, M) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("bodies", [[[]] * 4, []], ids=["frames without bodies", "no frames"])
def test_an_empty_recording_gives_no_clip(bodies: list[list[int]]) -> None:
    assert clips.frame50(record(bodies), SKELETON, 2, HOW) is None


def test_bodies_are_taken_in_listing_order() -> None:
    recording = record([[7, 3, 5], [3], [], [5, 7]])
    found = clips.bodies_by_listing(recording, 2)
    assert found.shape == (4, 25, 3, 2)
    for t in range(4):
        listed = rows(recording, t)[:2]
        for m in range(2):
            expected = recording.xyz[listed[m]] if m < len(listed) else np.zeros((25, 3))
            np.testing.assert_array_equal(found[t, ..., m], expected)


def test_tracked_bodies_keep_their_place_whatever_the_order_of_listing() -> None:
    recording = record([[1, 2], [2, 1]] * 8)
    recording.xyz[recording.body == 2] *= 3  # moves most
    found = clips.bodies_by_track(recording, 2)
    for t in range(16):
        for r in rows(recording, t):
            m = 0 if recording.body[r] == 2 else 1
            np.testing.assert_array_equal(found[t, ..., m], recording.xyz[r])


def test_short_tracks_are_left_out_unless_there_is_nothing_else() -> None:
    phantom = record([[1, 9]] * 11 + [[1]] * 5)
    phantom.xyz[phantom.body == 9] *= 50
    found = clips.bodies_by_track(phantom, 2)
    np.testing.assert_array_equal(found[..., 0], phantom.xyz[phantom.body == 1])
    assert (found[..., 1] == 0).all()
    lasting = record([[1, 9]] * 12 + [[1]] * 4)
    lasting.xyz[lasting.body == 9] *= 50
    np.testing.assert_array_equal(
        clips.bodies_by_track(lasting, 2)[:12, ..., 0], lasting.xyz[lasting.body == 9]
    )
    brief = record([[4]] * 3)
    np.testing.assert_array_equal(clips.bodies_by_track(brief, 1)[..., 0], brief.xyz)


def test_ids_above_2_to_53_stay_apart() -> None:
    big = 72057594037932358
    recording = record([[big, big + 1]] * 12)
    recording.xyz[recording.body == big + 1] *= 2
    found = clips.bodies_by_track(recording, 2)
    np.testing.assert_array_equal(found[..., 0], recording.xyz[recording.body == big + 1])
    np.testing.assert_array_equal(found[..., 1], recording.xyz[recording.body == big])


def test_the_way_of_choosing_bodies_reaches_the_recipe() -> None:
    recording = record([[1, 2], [2, 1]] * 10)
    listing, tracked = (
        clips.frame50(recording, SKELETON, 2, Prepare(body_choice=c)) for c in clips.BODY_CHOICES
    )
    assert listing is not None and tracked is not None
    assert not np.allclose(listing, tracked)


def test_a_missing_coordinate_takes_the_last_known_value_or_the_first() -> None:
    nan = np.nan
    x = np.array([nan, nan, 1, nan, 3, nan], np.float32)
    xyz = np.zeros((6, 2, 3, 1), np.float32)
    xyz[:, 0, 1, 0], xyz[:, 1, 2, 0] = x, nan
    found = clips.fill_missing(xyz)
    assert found[:, 0, 1, 0].tolist() == [1, 1, 1, 1, 3, 3]
    assert (found[:, 1] == 0).all()  # never known
    untouched = np.ones((2, 1, 3, 1), np.float32)
    assert clips.fill_missing(untouched) is untouched


def test_a_frame_without_the_body_says_nothing_of_a_missing_coordinate() -> None:
    xyz = np.ones((4, 2, 3, 1), np.float32)
    xyz[0] = 0  # not there yet
    xyz[1, 1], xyz[2, 1], xyz[3, 1] = np.nan, 5, 7
    found = clips.fill_missing(xyz)
    assert found[:, 1, 0, 0].tolist() == [0, 5, 5, 7]
    assert (found[0] == 0).all()


def test_a_track_without_a_known_position_is_chosen_last() -> None:
    recording = record([[1, 2]] * 20)
    recording.xyz[recording.body == 1] = np.nan
    found = clips.bodies_by_track(recording, 2)
    assert np.isfinite(found[..., 0]).all() and np.isnan(found[..., 1]).all()


def test_a_missing_coordinate_does_not_spoil_the_clip() -> None:
    recording = record([[1, 2]] * 10)
    recording.xyz[3, 5], recording.xyz[0, 0, 0] = np.nan, np.inf
    found = clips.frame50(recording, SKELETON, 2, HOW)
    assert found is not None and np.isfinite(found).all()


def test_the_valid_length_is_a_count_and_the_last_frames_are_lost() -> None:
    recording = record([[]] * 3 + [[1]] * 7)
    xyz = clips.bodies_by_listing(recording, 1)
    assert clips.valid_length(xyz) == 7
    other = replace(recording, xyz=recording.xyz.copy())
    other.xyz[-3:] += 9  # frames 7 to 9 are behind the first seven
    a, b = (clips.frame50(r, SKELETON, 1, HOW) for r in (recording, other))
    assert a is not None and b is not None
    np.testing.assert_array_equal(a, b)


def test_body_0_alone_says_whether_a_frame_is_valid_and_any_of_its_joints_will_do() -> None:
    xyz = np.ones((5, 25, 3, 2), np.float32)
    xyz[1, :, :, 0] = 0  # only the other body
    xyz[2, 0] = 0  # coordinates whose origin is joint 0
    xyz[3, :, :, 1] = 0
    xyz[4, 1:] = 0
    assert clips.valid_length(xyz) == 4


def test_a_body_keeps_its_slot_while_the_one_before_it_is_away() -> None:
    xyz = np.random.default_rng(0).normal(size=(20, 2, 25, 3)).astype(np.float32)
    xyz[5:9, 0] = 0
    frame, slot = recordings.listed(xyz)
    rows = {"frame": frame.astype(np.int32), "body": slot.astype(np.int64), "xyz": xyz[frame, slot]}
    recording = replace(record([[1]] * 20), **rows)
    assert np.array_equal(clips.bodies_by_listing(recording, 2), xyz.transpose(0, 2, 3, 1))
    tracked = clips.bodies_by_track(recording, 2)
    assert {tracked[5:9, ..., m].any() for m in range(2)} == {True, False}


def test_each_body_is_centred_on_its_own_joint_in_every_frame() -> None:
    xyz = np.random.default_rng(0).normal(size=(3, 25, 3, 2)).astype(np.float32)
    found = clips.centre(xyz, SPINE)
    for t in range(3):
        for m in range(2):
            for v in range(25):
                np.testing.assert_array_equal(
                    found[t, v, :, m], xyz[t, v, :, m] - xyz[t, SPINE, :, m]
                )
    moved = xyz + np.float32(4) * np.arange(2, dtype=np.float32)
    np.testing.assert_allclose(clips.centre(moved, SPINE), found, atol=1e-5)


@pytest.mark.parametrize(("L", "T"), [(1, 4), (3, 7), (8, 8), (10, 4), (100, 50), (7, 50)])
def test_frames_are_resized_with_half_pixel_centres(L: int, T: int) -> None:
    values = np.random.default_rng(0).normal(size=(L, 2, 3, 1)).astype(np.float32)
    found = clips.resize(values, T)
    for t in range(T):
        place = (t + 0.5) * L / T - 0.5
        low = math.floor(place)
        share = place - low
        first, second = (values[min(max(i, 0), L - 1)] for i in (low, low + 1))
        np.testing.assert_allclose(found[t], (1 - share) * first + share * second, atol=1e-5)


def test_resizing_to_the_same_length_changes_nothing_and_time_can_run_backwards() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2, 3, 1)).astype(np.float32)
    np.testing.assert_array_equal(clips.resize(values, 9), values)
    np.testing.assert_allclose(
        clips.resize(values[::-1], 5), clips.resize(values, 5)[::-1], atol=1e-6
    )


def turned(angles: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """A body (T, 25, 3, 1) whose shoulders point `angles` away from x, seen from above."""
    draw = np.random.default_rng(0)
    xyz = np.zeros((len(angles), 25, 3, 1), np.float32)
    xyz[:, :, :, 0] = noise * draw.normal(size=(len(angles), 25, 3))
    for joint, side in ((LEFT, -0.5), (RIGHT, 0.5)):
        xyz[:, joint, 0, 0], xyz[:, joint, 2, 0] = side * np.cos(angles), side * np.sin(angles)
        xyz[:, joint, 1, 0] = 0.1 * side
    return xyz


@pytest.mark.parametrize("sign", [1, -1])
def test_after_the_yaw_shoulders_are_parallel_to_x(sign: int) -> None:
    found = clips.align_yaw(turned(sign * np.linspace(0.1, 3.0, 20)), (LEFT, RIGHT))
    line = found[:, RIGHT, :, 0] - found[:, LEFT, :, 0]
    # an epsilon of 1e-4 in the divisor leaves an angle of up to acos(1 - 1e-4)
    assert np.abs(line[:, 2]).max() < math.sin(math.acos(1 - 1.1e-4))
    assert (line[:, 0] > 0.999).all()
    np.testing.assert_allclose(line[:, 1], 0.1, atol=1e-6)  # height stays


def test_the_sign_of_the_yaw_is_chosen_once_for_the_clip() -> None:
    angles = np.array([0.5] * 9 + [-0.5])  # one frame turns the other way
    found = clips.align_yaw(turned(angles), (LEFT, RIGHT))
    line = found[:, RIGHT, :, 0] - found[:, LEFT, :, 0]
    assert np.abs(line[:9, 2]).max() < 0.02
    assert line[9, 2] == pytest.approx(math.sin(-1.0), abs=0.02)  # turned away by as much again


def test_the_yaw_turns_a_body_as_a_whole_and_leaves_an_absent_one_at_zero() -> None:
    xyz = np.concatenate(
        [turned(np.linspace(0.2, 0.9, 5), noise=1.0), np.zeros((5, 25, 3, 1), np.float32)], axis=3
    )
    found = clips.align_yaw(xyz, (LEFT, RIGHT))
    assert (found[..., 1] == 0).all()
    for t in range(5):
        a, b = xyz[t, :, :, 0], found[t, :, :, 0]
        np.testing.assert_allclose(b @ b.T, a @ a.T, atol=1e-4)
        np.testing.assert_array_equal(b[:, 1], a[:, 1])


def test_longer_recordings_keep_their_middle_or_their_head() -> None:
    recording = record([[1]] * 21)
    middle, head = (
        clips.frame50(recording, SKELETON, 1, Prepare(max_frames=10, longer=longer))
        for longer in clips.LONGER
    )
    for found, first in ((middle, 5), (head, 0)):
        part = Recording(
            "x",
            0,
            {},
            10,
            np.arange(10, dtype=np.int32),
            recording.body[:10],
            recording.xyz[first : first + 10],
        )
        expected = clips.frame50(part, SKELETON, 1, HOW)
        assert found is not None and expected is not None
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("key", ["recipe", "body_choice", "longer"])
def test_an_unknown_word_is_an_error_that_names_the_key(key: str) -> None:
    words: dict[str, str] = {key: "other"}
    with pytest.raises(ValueError, match=f"prepare.{key}: found 'other', expected one of"):
        Prepare(**words)  # type: ignore[arg-type]  # which fields are words is what `key` lists


def store(folder: Path, items: list[Recording], joints: int = 25) -> Store:
    path = folder / "recordings.h5"
    recordings.write(
        path, items, classes=["wave", "walk"], dataset="toy", format="ntu", layout="kinect_v2",
        joints=joints, parameters={},
    )  # fmt: skip
    return Store(path)


SIX = [
    record([[1, 2]] * (5 + i) if i != 2 else [[]] * 4, seed=i, name=f"r{i}", label=i % 2)
    for i in range(6)
]  # r2 is empty


def test_clips_are_written_in_the_order_of_their_names_and_empty_recordings_are_named(
    tmp_path: Path,
) -> None:
    with store(tmp_path, SIX) as source:
        empty = clips.write(
            tmp_path / "clips" / "toy.h5", source, SKELETON, 2, replace(HOW, frames=10)
        )
    assert empty == ["r2"]
    kept = [r for r in SIX if r.name != "r2"]
    with h5py.File(tmp_path / "clips" / "toy.h5", "r") as file:  # plain h5py is enough
        x = file["clips"][:]
        assert [name.decode() for name in file["names"][:]] == [r.name for r in kept]
        assert file["labels"][:].tolist() == [r.label for r in kept]
        assert file["lengths"][:].tolist() == [r.length for r in kept]
        assert [name.decode() for name in file["classes"][:]] == ["wave", "walk"]
        assert file["columns/subject"][:].tolist() == [1] * 5
        about = dict(file.attrs)
        assert file["clips"].compression and file["clips"].chunks
    assert x.shape == (5, 3, 10, 25, 2) and x.dtype == np.float32
    for i, recording in enumerate(kept):
        expected = clips.frame50(recording, SKELETON, 2, replace(HOW, frames=10))
        assert expected is not None
        np.testing.assert_array_equal(x[i], expected)
    assert (about["kind"], about["dataset"], about["layout"]) == ("clips", "toy", "kinect_v2")
    assert (about["recipe"], about["bodies"], about["frames"]) == ("frame50", 2, 10)
    assert json.loads(about["parameters"])["body_choice"] == "listing"


def test_more_clips_than_one_block_are_all_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "CHUNK", 1)  # a block is 16 chunks
    many = [record([[1]] * 3, seed=i, name=f"r{i:03}", label=0) for i in range(35)]
    with store(tmp_path, many) as source:
        clips.write(tmp_path / "toy.h5", source, SKELETON, 1, replace(HOW, frames=2))
    with h5py.File(tmp_path / "toy.h5", "r") as file:
        assert len(file["clips"]) == 35
        for i in (0, 15, 16, 34):
            np.testing.assert_array_equal(
                file["clips"][i], clips.frame50(many[i], SKELETON, 1, replace(HOW, frames=2))
            )


def test_the_same_recordings_give_the_same_bytes(tmp_path: Path) -> None:
    with store(tmp_path, SIX) as source:
        for name in ("one.h5", "two.h5"):
            clips.write(tmp_path / name, source, SKELETON, 2, replace(HOW, frames=10))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_recordings_of_another_layout_are_an_error(tmp_path: Path) -> None:
    with (
        store(tmp_path, SIX) as source,
        pytest.raises(
            ValueError, match=r"recordings\.h5: found 25 joints, expected 20 \(kinect_v1\)"
        ),
    ):
        clips.write(tmp_path / "toy.h5", source, skeleton.load("kinect_v1"), 2, HOW)


def test_a_set_without_a_body_is_an_error(tmp_path: Path) -> None:
    with (
        store(tmp_path, [SIX[2]]) as source,
        pytest.raises(ValueError, match="found no recording with a body, expected at least one"),
    ):
        clips.write(tmp_path / "toy.h5", source, SKELETON, 2, HOW)


@pytest.mark.parametrize("bodies", [1, 2])
def test_positions_in_memory_give_the_clip_that_the_same_file_gives(
    tmp_path: Path, bodies: int
) -> None:
    xyz = np.random.default_rng(0).normal(size=(30, bodies, 25, 3)).round(4)
    xyz[:4, -1] = 0
    lines = (",".join(f"{value}" for value in frame.ravel()) for frame in xyz)
    (tmp_path / "one.csv").write_text("\n".join(lines))
    (recording,) = folder.read(
        folder.Job(tmp_path / "one.csv", "one", 0, {}, 25, bodies)
    ).recordings
    expected = clips.frame50(recording, SKELETON, 2, Prepare())
    assert expected is not None
    np.testing.assert_array_equal(clips.of_positions(xyz, SKELETON, 2, Prepare()), expected)


def test_positions_of_another_shape_or_of_nobody_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"found shape \(30, 25, 3\), expected \(frames, bodies, 25, 3\) for kinect_v2",
    ):
        clips.of_positions(np.ones((30, 25, 3)), SKELETON, 1, Prepare())
    with pytest.raises(ValueError, match="positions: found no body in any frame"):
        clips.of_positions(np.zeros((30, 1, 25, 3)), SKELETON, 1, Prepare())
