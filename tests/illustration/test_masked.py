from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from asma import masking, motion, skeleton
from asma.illustration import masked
from asma.masking import Mask

LAYOUTS = sorted(path.stem for path in skeleton.LAYOUTS.glob("*.yaml"))
ENCODERS = [f"{degree}deg_{frames}mot" for degree in masking.DEGREES for frames in masking.MOTIONS]


@pytest.fixture
def clips(generator: Generator) -> Tensor:
    """Six clips of Kinect v1, of two bodies, of which one is absent in three clips and both in
    one.
    """
    x = torch.randn(6, 3, 8, 20, 2, generator=generator)
    x[:3, ..., 1] = 0
    x[5] = 0
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_as_many_joints_and_frames_are_hidden_as_the_parameters_say(
    layout: str, encoder: str, generator: Generator
) -> None:
    joints, scores = skeleton.load(layout), torch.rand(30, generator=generator)
    for n, k in ((9, 10), (0, 0), (len(joints) - 1, 29)):
        hidden = masked.hide(encoder, Mask(joints=n, frames=k), joints, scores, generator)
        for found, count, most in zip(hidden, (n, k), (len(joints), 30), strict=True):
            assert len(found) == count
            assert found == sorted(set(found))
            assert set(found) <= set(range(most))


def test_the_frames_that_move_most_or_least_are_hidden(generator: Generator) -> None:
    scores = torch.rand(20, generator=generator)
    by_motion = sorted(range(20), key=lambda t: float(scores[t]))
    joints, mask = skeleton.load("kinect_v2"), Mask(frames=6)
    assert masked.hide("randomdeg_lowmot", mask, joints, scores, generator)[1] == sorted(
        by_motion[:6]
    )
    assert masked.hide("randomdeg_highmot", mask, joints, scores, generator)[1] == sorted(
        by_motion[-6:]
    )


def test_the_untrained_encoder_hides_nothing(clips: Tensor, generator: Generator) -> None:
    joints, scores = skeleton.load("kinect_v1"), motion.score(clips)
    assert masked.hide("random", Mask(), joints, scores[0], generator) == ([], [])
    assert not masked.joints_hidden("random", Mask(), joints, 5, generator).any()
    assert not masked.drawn_first("random", Mask(), joints).any()
    assert not masked.frames_hidden("random", Mask(frames=3), scores, generator).any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoder", ["lowdeg_highmot", "highdeg_lowmot", "randomdeg_randommot"])
@pytest.mark.parametrize("low_degree", masking.LOW_DEGREE)
def test_a_single_joint_is_hidden_as_often_as_it_is_drawn_first(
    layout: str, encoder: str, low_degree: str, generator: Generator
) -> None:
    joints, draws = skeleton.load(layout), 1500
    mask = Mask(joints=1, low_degree=low_degree)
    share = masked.joints_hidden(encoder, mask, joints, draws, generator)
    expected = masked.drawn_first(encoder, mask, joints)
    assert expected.sum() == pytest.approx(1)
    freedom = len(joints) - 1
    chi_square = draws * float(((share - expected) ** 2 / expected).sum())
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)
    # and not as another rule would have it
    other = masked.drawn_first("highdeg_lowmot", mask, joints)
    if encoder != "highdeg_lowmot":
        assert draws * float(((share - other) ** 2 / other).sum()) > freedom + 4 * math.sqrt(
            2 * freedom
        )


def test_shares_of_joints_add_up_to_the_number_that_is_hidden(generator: Generator) -> None:
    share = masked.joints_hidden(
        "highdeg_lowmot", Mask(joints=9), skeleton.load("kinect_v2"), 50, generator
    )
    assert share.sum() == pytest.approx(9)
    assert share.max() <= 1


def test_positions_are_hidden_as_often_as_counted_by_hand(
    clips: Tensor, generator: Generator
) -> None:
    scores = torch.rand(5, 8, generator=generator)
    share = masked.frames_hidden("lowdeg_highmot", Mask(frames=3), scores, generator)
    count = [0] * 8
    for row in scores.tolist():
        for t in sorted(range(8), key=lambda t: row[t])[-3:]:
            count[t] += 1
    assert share.tolist() == pytest.approx([c / 5 for c in count])


def test_displacement_is_the_mean_step_of_the_bodies_that_are_there(clips: Tensor) -> None:
    found = masked.displacement(clips)
    assert found.shape == (6, 20)
    for n in range(5):
        bodies = [m for m in range(2) if clips[n, ..., m].any()]
        for v in (0, 7, 19):
            steps = [
                math.dist(clips[n, :, t + 1, v, m].tolist(), clips[n, :, t, v, m].tolist())
                for m in bodies
                for t in range(7)
            ]
            assert float(found[n, v]) == pytest.approx(sum(steps) / len(steps), rel=1e-5)
    assert not found[5].any()


def test_displacement_does_not_see_where_somebody_stands_or_faces(clips: Tensor) -> None:
    there = clips[3:5]  # both bodies
    turn = torch.tensor([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])
    moved = (
        torch.einsum("dc,nctvm->ndtvm", turn, there)
        + torch.tensor([1.0, -2, 3])[:, None, None, None]
    )
    torch.testing.assert_close(
        masked.displacement(moved), masked.displacement(there), rtol=1e-4, atol=1e-5
    )


def test_displacement_over_the_joints_is_the_motion_score_over_the_frames(clips: Tensor) -> None:
    one = clips[:3, ..., :1]
    torch.testing.assert_close(
        masked.displacement(one).mean(dim=1), motion.score(one)[:, :-1].mean(dim=1)
    )


def test_blocks_change_nothing(clips: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = masked.displacement(clips), masked.mean_pose(clips)
    monkeypatch.setattr(masked, "BLOCK", 4)
    torch.testing.assert_close(masked.displacement(clips), whole[0])
    np.testing.assert_allclose(masked.mean_pose(clips), whole[1], rtol=1e-5, atol=1e-6)


def test_the_mean_pose_is_that_of_who_is_there() -> None:
    pose = torch.arange(60.0).reshape(3, 20)
    clips = torch.zeros(2, 3, 4, 20, 2)
    clips[0, :, :, :, 1] = pose[:, None]
    clips[1, :, 2, :, 0] = pose + 2  # there in one frame only
    expected = (4 * pose + pose + 2) / 5
    np.testing.assert_allclose(masked.mean_pose(clips), expected.T.numpy(), rtol=1e-6)
    assert not masked.mean_pose(torch.zeros_like(clips)).any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bodies", [1, 2])
@pytest.mark.parametrize(
    "encoders", [["lowdeg_highmot", "highdeg_lowmot"], ["lowdeg_lowmot"], ["random"], []]
)
def test_every_layout_number_of_bodies_and_of_encoders_gives_a_row_an_encoder(
    layout: str, bodies: int, encoders: list[str], generator: Generator
) -> None:
    joints = skeleton.load(layout)
    clips = torch.randn(4, 3, 6, len(joints), bodies, generator=generator)
    labels = np.array([0, 0, 2, 2])
    found = masked.arrays(
        encoders, Mask(joints=5, frames=2), joints, clips, motion.score(clips), labels, 3, 40, 1
    )
    assert (
        found["drawn_first"].shape == found["joints_hidden"].shape == (len(encoders), len(joints))
    )
    assert found["frames_hidden"].shape == (len(encoders), 6)
    assert found["place"].shape == (len(joints), 2)
    assert found["motion_by_frame"].shape == (6,)
    by_class = found["displacement_by_class"]
    assert np.isnan(by_class[1]).all()
    np.testing.assert_allclose((by_class[0] + by_class[2]) / 2, found["displacement"], rtol=1e-5)


def test_two_encoders_do_not_share_their_draws(clips: Tensor) -> None:
    joints, labels = skeleton.load("kinect_v1"), np.zeros(6, np.int64)
    twice = masked.arrays(
        ["lowdeg_highmot"] * 2, Mask(frames=2), joints, clips, motion.score(clips), labels, 1, 30, 1
    )["joints_hidden"]
    assert not np.array_equal(twice[0], twice[1])


def test_hiding_everything_is_an_error(clips: Tensor) -> None:
    joints, labels = skeleton.load("kinect_v1"), np.zeros(6, np.int64)
    with pytest.raises(ValueError, match="mask.frames .*: found 10, expected fewer than 8"):
        masked.arrays([], Mask(), joints, clips, motion.score(clips), labels, 1, 5, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_joints_hang_on_their_parents_and_none_lies_on_another(layout: str) -> None:
    joints, draw = skeleton.load(layout), np.random.default_rng(3)
    pose = draw.normal(size=(len(joints), 3))
    pose[joints.centre] = 0
    place = masked.flat(pose, joints.parents)
    height = float(np.ptp(pose[:, :2], axis=0).max())
    for joint, parent in enumerate(joints.parents.tolist()):
        if joint == parent:
            assert place[joint].tolist() == [0, 0]
            continue
        bone = place[joint] - place[parent]
        own = (pose[joint] - pose[parent])[:2] * (-1, 1) / height
        length = float(np.hypot(*bone))
        if np.hypot(*own) >= masked.SHORTEST:
            np.testing.assert_allclose(bone, own)
        else:
            assert length == pytest.approx(masked.SHORTEST)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_skeleton_without_a_pose_is_drawn_all_the_same(layout: str) -> None:
    joints = skeleton.load(layout)
    place = masked.flat(np.zeros((len(joints), 3)), joints.parents)
    bones = place - place[joints.parents]
    lengths = np.hypot(*bones.T)[joints.parents != np.arange(len(joints))]
    np.testing.assert_allclose(lengths, masked.SHORTEST)


def test_a_pose_is_seen_from_the_front_whatever_its_size() -> None:
    joints = skeleton.load("kinect_v2")
    draw = np.random.default_rng(1)
    pose = draw.normal(size=(25, 3))
    large, small = (masked.flat(size * pose, joints.parents) for size in (100, 1))
    np.testing.assert_allclose(large, small)
    left, right = joints.shoulders
    # after yaw alignment the right shoulder lies at +x
    pose[:], pose[left, 0], pose[right, 0] = 0, -1, 1
    place = masked.flat(pose, joints.parents)
    assert place[right, 0] < 0 < place[left, 0]
