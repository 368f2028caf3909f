from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from asma import skeleton, streams

SKELETON = skeleton.load("kinect_v2")
# child and parent of every bone, counted from 1; joint 21 is its own parent
BONES = [
    (1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9),
    (11, 10), (12, 11), (13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18),
    (20, 19), (21, 21), (22, 23), (23, 8), (24, 25), (25, 12),
]  # fmt: skip


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(2, 3, 6, 25, 2, generator=generator)


def test_joint_is_the_clip_itself(x: Tensor) -> None:
    assert torch.equal(streams.derive("joint", x, SKELETON), x)


def test_bone_is_each_joint_less_the_joint_it_hangs_on(x: Tensor) -> None:
    expected = torch.full_like(x, torch.nan)
    for child, parent in BONES:
        expected[:, :, :, child - 1] = x[:, :, :, child - 1] - x[:, :, :, parent - 1]
    assert torch.equal(streams.derive("bone", x, SKELETON), expected)
    assert (expected[:, :, :, 20] == 0).all()


def test_bone_does_not_see_where_the_body_stands(x: Tensor) -> None:
    moved = x + torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(
        streams.derive("bone", moved, SKELETON),
        streams.derive("bone", x, SKELETON),
        atol=1e-5,
        rtol=0,
    )


def test_motion_is_the_step_to_the_next_frame_and_the_last_is_zero(x: Tensor) -> None:
    found = streams.derive("motion", x, SKELETON)
    for t in range(5):
        assert torch.equal(found[:, :, t], x[:, :, t + 1] - x[:, :, t])
    assert (found[:, :, 5] == 0).all()


def test_streams_leave_the_clip_as_it_was(x: Tensor) -> None:
    before = x.clone()
    for stream in streams.STREAMS:
        assert streams.derive(stream, x, SKELETON).shape == x.shape
    assert torch.equal(x, before)


def test_another_stream_is_an_error_that_names_the_known() -> None:
    with pytest.raises(
        ValueError, match="stream: found 'speed', expected one of joint, bone, motion"
    ):
        streams.derive("speed", torch.zeros(1, 3, 2, 25, 1), SKELETON)
