"""The kinematic model: bones do not stretch, people stand on the floor, movement is smooth."""

from __future__ import annotations

import numpy as np
import pytest

from asma import skeleton
from demo.kinematics import ACTIONS, Body, Manner, Pose, bump, plateau, ramp, solve

FRAMES = 60
ANKLES, HANDS = [14, 18], [7, 11]


def _perform(name: str, role: int = 0, side: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = Pose.standing(FRAMES)
    manner = Manner(side=side, size=1.2, cycles=2.0, phase=0.3, aim=0.1 * rng.normal(size=3))
    ACTIONS[name].perform(pose, np.linspace(0, 1, FRAMES), manner, role)
    return solve(Body.draw(rng), pose)


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("role", [0, 1])
def test_bones_keep_their_length_in_every_action(name: str, role: int) -> None:
    xyz = _perform(name, role)
    for a, b in skeleton.load("kinect_v2").edges:
        length = np.linalg.norm(xyz[:, a] - xyz[:, b], axis=-1)
        assert length.min() > 0.01
        np.testing.assert_allclose(length, length[0], rtol=1e-9)


@pytest.mark.parametrize("name", ACTIONS)
def test_no_joint_jumps_within_an_action(name: str) -> None:
    # A fast hand or foot goes at less than 9 m/s: 0.3 m a frame at 30 fps.
    step = np.linalg.norm(np.diff(_perform(name), axis=0), axis=-1)
    assert 0.005 < step.max() < 0.3


@pytest.mark.parametrize("name", sorted(set(ACTIONS) - {"kick", "jump", "march", "hug", "push"}))
def test_feet_stay_planted_where_the_action_is_one_of_the_arms(name: str) -> None:
    xyz = _perform(name)
    np.testing.assert_allclose(
        xyz[:, ANKLES], np.broadcast_to(xyz[:1, ANKLES], (FRAMES, 2, 3)), atol=0.03
    )


def test_sitting_down_and_standing_up_are_one_movement_in_opposite_time() -> None:
    np.testing.assert_allclose(_perform("sit down"), _perform("stand up")[::-1], atol=1e-9)
    assert _perform("sit down")[-1, 0, 1] < _perform("sit down")[0, 0, 1] - 0.25


def test_the_leading_side_moves_and_the_other_hangs() -> None:
    for side in (0, 1):
        travel = np.ptp(_perform("wave", side=side)[:, HANDS], axis=0).max(-1)
        assert travel[side] > 0.5 and travel[1 - side] < 0.01


def test_left_and_right_performances_mirror_each_other() -> None:
    mirror = list(skeleton.load("kinect_v2").mirror)
    np.testing.assert_allclose(
        _perform("throw", side=0), _perform("throw", side=1)[:, mirror] * (-1, 1, 1), atol=1e-9
    )


def test_people_have_the_right_hand_at_positive_x_and_the_head_on_top() -> None:
    xyz = solve(Body.draw(np.random.default_rng(3)), Pose.standing(2))
    assert xyz[0, 11, 0] > 0 > xyz[0, 7, 0]
    assert xyz[0, :, 1].argmax() == 3 and 1.3 < xyz[0, 3, 1] < 2.0
    assert (xyz[0, [15, 19], 2] < xyz[0, ANKLES, 2]).all()  # toes point forward


def test_actions_of_two_have_room_between_the_people() -> None:
    two = [name for name, action in ACTIONS.items() if action.people == 2]
    assert len(two) >= 2 and all(0.5 < ACTIONS[name].apart < 1.5 for name in two)


def test_envelopes_start_and_end_at_rest() -> None:
    u = np.linspace(0, 1, 101)
    for curve in (bump(u, 0.0, 1.0), plateau(u, 0.3, 0.2)):
        assert curve[0] == curve[-1] == 0 and curve.max() == pytest.approx(1.0)
    assert ramp(u, 0.2, 0.6)[0] == 0 and ramp(u, 0.2, 0.6)[-1] == 1
    assert (np.diff(ramp(u, 0.2, 0.6)) >= 0).all()
