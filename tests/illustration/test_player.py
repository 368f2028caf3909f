from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from asma import masking, motion, skeleton
from asma.data.batches import Clips
from asma.data.benchmarks import Benchmark
from asma.illustration import player
from asma.illustration.judged import Answers
from asma.masking import Mask

LAYOUTS = sorted(path.stem for path in skeleton.LAYOUTS.glob("*.yaml"))
ENCODERS = ["lowdeg_highmot", "highdeg_lowmot"]
MASK = Mask(joints=5, frames=4)
SEED = 3


class Bench:
    """What the player asks a benchmark."""

    def __init__(self, layout: str) -> None:
        self.name, self.demonstration, self.skeleton = "toy_xsub", True, skeleton.load(layout)
        self.classes = ["sit", "stand", "jump"]


def clips(layout: str, bodies: int, generator: Generator) -> Tensor:
    """Six clips; of two bodies the second is there in half of them, in the last one alone."""
    x = torch.randn(6, 3, 12, len(skeleton.load(layout)), bodies, generator=generator)
    if bodies > 1:
        x[:3, ..., 1], x[5, ..., 0] = 0, 0
    return x


def document(layout: str, x: Tensor, encoders: list[str] = ENCODERS) -> dict[str, Any]:
    """player.json of all six clips."""
    bench, labels = Bench(layout), torch.tensor([0, 0, 1, 1, 2, 2])
    test = Clips([f"r{i}" for i in range(6)], labels, x, torch.full((6,), x.shape[2]))
    draw = np.random.default_rng(0)
    responses = {encoder: draw.random((6, len(bench.skeleton))) for encoder in encoders}
    answers = [
        Answers("both aligned_probed", stream, draw.normal(size=(6, 3)))
        for stream in ("joint", "3s")
    ]
    shown = player.recordings(
        np.arange(6),
        test,
        x.numpy(),
        motion.score(x),
        encoders,
        MASK,
        bench.skeleton,
        responses,
        answers,
        SEED,
    )
    return player.document(cast(Benchmark, bench), encoders, shown)


def decoded(one: dict[str, Any], joints: int) -> np.ndarray:
    """Positions (T, V, M, 3) in metres as a reader of the file finds them."""
    numbers = np.frombuffer(base64.b64decode(one["xyz"]), "<i2")
    return numbers.reshape(one["frames"], joints, one["bodies"], 3) * one["scale"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bodies", [1, 2])
def test_positions_are_right_to_half_a_unit_and_of_who_is_there(
    layout: str, bodies: int, generator: Generator
) -> None:
    x = clips(layout, bodies, generator)
    found = document(layout, x)
    for one, clip in zip(found["recordings"], x, strict=True):
        there = [m for m in range(bodies) if clip[..., m].any()]
        xyz = decoded(one, len(found["joints"]))
        assert one["bodies"] == len(there)
        assert one["scale"] < 2e-4  # of a person of some metres a fifth of a millimetre
        expected = clip[..., there].permute(1, 2, 3, 0).numpy().astype(np.float64)
        assert np.abs(xyz - expected).max() <= one["scale"] / 2 * (1 + 1e-9)


@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_the_error_is_half_a_unit_at_most_whatever_the_size(
    size: float, generator: Generator
) -> None:
    xyz = (torch.randn(500, generator=generator) * size).numpy()
    units, scale = player.quantise(xyz)
    assert units.dtype == np.dtype("<i2") and int(np.abs(units.astype(int)).max()) == 2**15 - 1
    assert np.abs(units * scale - xyz.astype(np.float64)).max() <= scale / 2 * (1 + 1e-9)


def test_a_clip_of_nobody_is_one_body_of_zeros() -> None:
    found = player.present(np.zeros((3, 4, 5, 2), np.float32))
    assert found.shape == (4, 5, 1, 3)
    units, scale = player.quantise(found)
    assert scale > 0 and not units.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_masks_are_those_of_the_masking_code(layout: str, generator: Generator) -> None:
    found = document(layout, clips(layout, 2, generator))
    joints, draw = skeleton.load(layout), Generator().manual_seed(SEED)
    V, T = len(joints), 12
    for one in found["recordings"]:
        scores = torch.tensor([one["motion"]], dtype=torch.float32)  # nothing but the file
        for encoder in ENCODERS:
            degree, movement = masking.strategy(encoder)
            kept = masking.choose_joints(degree, MASK, joints, draw).tolist()
            assert one["masks"][encoder]["joints"] == [v for v in range(V) if v not in kept]
            kept = masking.choose_frames(movement, MASK, scores, draw)[0].tolist()
            assert one["masks"][encoder]["frames"] == [t for t in range(T) if t not in kept]
            assert (len(one["masks"][encoder]["joints"]), len(one["masks"][encoder]["frames"])) == (
                5,
                4,
            )
    first = found["recordings"][0]["masks"]
    assert first[ENCODERS[0]]["joints"] != first[ENCODERS[1]]["joints"]


def test_the_motion_scores_are_the_same_32_bit_numbers(generator: Generator) -> None:
    x = clips("kinect_v1", 1, generator)
    found = document("kinect_v1", x)
    told = torch.tensor([one["motion"] for one in found["recordings"]], dtype=torch.float32)
    assert torch.equal(told, motion.score(x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_document_says_what_its_numbers_mean(layout: str, generator: Generator) -> None:
    found, joints = document(layout, clips(layout, 2, generator)), skeleton.load(layout)
    assert found["layout"] == layout and found["joints"] == list(joints.joints)
    assert {tuple(bone) for bone in found["bones"]} == set(joints.edges)
    assert found["classes"] == ["sit", "stand", "jump"] and found["encoders"] == ENCODERS
    assert (found["benchmark"], found["demonstration"]) == ("toy_xsub", True)
    for one, label in zip(found["recordings"], [0, 0, 1, 1, 2, 2], strict=True):
        assert one["label"] == label
        assert set(one["masks"]) == set(one["activation"]) == set(ENCODERS)
        assert all(
            len(v) == len(joints) and max(v) == 1 and min(v) >= 0
            for v in one["activation"].values()
        )
        assert [told["stream"] for told in one["predictions"]] == ["joint", "3s"]
        for told in one["predictions"]:
            # of three classes no more than three
            assert sorted(item["class"] for item in told["top"]) == [0, 1, 2]
            assert sum(item["probability"] for item in told["top"]) == pytest.approx(1, abs=1e-3)


def test_without_encoders_there_are_still_recordings(generator: Generator) -> None:
    found = document("kinect_v1", clips("kinect_v1", 1, generator), encoders=[])
    assert found["encoders"] == [] and all(one["masks"] == {} for one in found["recordings"])
    assert document("kinect_v1", clips("kinect_v1", 1, generator), ["random"])["recordings"][0][
        "masks"
    ] == {"random": {"joints": [], "frames": []}}


def test_the_file_is_the_same_bytes_and_refuses_what_is_no_number(
    tmp_path: Path, generator: Generator
) -> None:
    x = clips("kinect_v2", 2, generator)
    for place in ("one", "two"):
        player.write(tmp_path / place / "player.json", document("kinect_v2", x))
    text = (tmp_path / "one/player.json").read_bytes()
    assert text == (tmp_path / "two/player.json").read_bytes()
    assert json.loads(text) == document("kinect_v2", x)
    bad = document("kinect_v2", x)
    bad["recordings"][0]["scale"] = float("nan")
    with pytest.raises(ValueError, match=r"recordings\.0\.scale: found 'nan'"):
        player.write(tmp_path / "bad.json", bad)


def test_recordings_are_spread_over_the_classes() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [2] * 1 + [5] * 6)
    for count, most in ((2, 1), (4, 1), (7, 2), (9, 3), (20, 10)):
        chosen = player.choose(labels, count, 1)
        shown = np.bincount(labels[chosen])
        assert len(set(chosen.tolist())) == count and shown.max() <= most
    assert labels[player.choose(labels, 4, 1)].tolist() == [0, 1, 2, 5]
    assert np.bincount(labels[player.choose(labels, 7, 1)])[[0, 1, 2, 5]].tolist() == [2, 2, 1, 2]
    assert len(player.choose(labels, 99, 1)) == 20


def test_the_choice_is_the_seeds() -> None:
    labels = np.repeat(np.arange(30), 4)
    chosen = player.choose(labels, 12, 1)
    assert player.choose(labels, 12, 1).tolist() == chosen.tolist()
    assert player.choose(labels, 12, 2).tolist() != chosen.tolist()
    assert len(set(labels[chosen].tolist())) == 12 and labels[chosen].tolist() == sorted(
        labels[chosen].tolist()
    )
    first = {int(i) % 4 for seed in range(20) for i in player.choose(labels, 12, seed)}
    assert first == {0, 1, 2, 3}  # any of a class, not always its first


def test_a_recording_opens_in_the_middle_of_its_motion_where_somebody_is_whole() -> None:
    draw = np.random.default_rng(1)
    xyz = draw.normal(size=(20, 25, 1, 3))
    xyz[:3] = 0  # nobody
    xyz[3] /= 10  # half of the way from nobody to somebody
    moved = [9.0, 9.0, 9.0, 9.0, *[0.5] * 6, *[1.0] * 3, *[0.0] * 7]
    masks = {"a": {"joints": [], "frames": [10]}, "b": {"joints": [], "frames": [9, 10]}}
    found = player.staged(xyz, moved, masks)
    assert found["whole"] == list(range(4, 20))
    # half of the motion from frame 4 on has passed at number 9; where that is hidden it is the next
    assert found["opens"] == {"": 9, "a": 9, "b": 8}
    nobody = player.staged(np.zeros((20, 25, 1, 3)), moved, masks)
    assert nobody["whole"] == [] and set(nobody["opens"].values()) == {0}


def test_a_body_is_shown_in_the_box_of_all_unless_each_was_centred_by_itself() -> None:
    draw = np.random.default_rng(2)
    xyz = draw.normal(size=(6, 25, 2, 3))
    found = player.staged(xyz, [1.0] * 6, {})
    assert found["apart"] is False and found["places"][0] == found["places"][1]
    middle = (xyz.min(axis=(0, 1, 2)) + xyz.max(axis=(0, 1, 2))) / 2
    np.testing.assert_allclose(found["places"][0]["middle"], middle, atol=1e-4)
    far = max(np.linalg.norm(point - middle) for point in xyz.reshape(-1, 3))
    assert found["places"][0]["radius"] == pytest.approx(far, abs=1e-4)
    xyz[:, 3] = 0  # always at the origin
    xyz[:2, :, 1] = 0  # the second comes later: it is not there, not at the origin
    found = player.staged(xyz, [1.0] * 6, {})
    assert found["apart"] is True
    for body, place in enumerate(found["places"]):
        own = xyz[2:, :, body] if body else xyz[:, :, body]
        assert place["floor"] == pytest.approx(own[..., 1].min(), abs=1e-4)
    alone = player.staged(xyz[:, :, :1], [1.0] * 6, {})
    assert alone["apart"] is False
