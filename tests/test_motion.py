from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from asma import motion
from asma.motion import Motion


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(2, 3, 5, 4, 2, generator=generator)


def slow(x: Tensor, squared: bool) -> list[list[float]]:
    """Scores of the first T − 1 frames, number by number."""
    N, C, T, V, M = x.shape
    rows = []
    for n in range(N):
        row = []
        for t in range(T - 1):
            total = 0.0
            for v in range(V):
                for m in range(M):
                    step = [float(x[n, c, t + 1, v, m] - x[n, c, t, v, m]) for c in range(C)]
                    square = sum(s * s for s in step)
                    total += square / C if squared else math.sqrt(square)
            row.append(total / (V * M))
        rows.append(row)
    return rows


def test_the_score_is_the_mean_displacement_of_joints_and_bodies(x: Tensor) -> None:
    torch.testing.assert_close(motion.score(x)[:, :-1], torch.tensor(slow(x, squared=False)))


def test_squared_is_the_mean_square_of_channels_joints_and_bodies(x: Tensor) -> None:
    found = motion.score(x, Motion(measure="squared", last="zero"))
    torch.testing.assert_close(found[:, :-1], torch.tensor(slow(x, squared=True)))


def test_the_last_frame_repeats_the_one_before_or_is_zero(x: Tensor) -> None:
    repeated, zero = motion.score(x), motion.score(x, Motion(last="zero"))
    assert torch.equal(repeated[:, -1], repeated[:, -2])
    assert (zero[:, -1] == 0).all()
    assert torch.equal(repeated[:, :-1], zero[:, :-1])


def test_opposite_steps_do_not_cancel() -> None:
    x = torch.zeros(1, 3, 2, 2, 1)
    x[0, 0, 1, 0, 0], x[0, 0, 1, 1, 0] = 1.0, -1.0
    assert motion.score(x).tolist() == [[1.0, 1.0]]


def test_displacement_is_blind_to_turning_and_to_place(x: Tensor) -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=Generator().manual_seed(1))).Q
    turned = torch.einsum("ij,njtvm->nitvm", turn, x) + 5
    torch.testing.assert_close(motion.score(turned), motion.score(x), atol=1e-5, rtol=1e-5)


def test_displacement_grows_with_the_step_and_squared_with_its_square(x: Tensor) -> None:
    torch.testing.assert_close(motion.score(3 * x), 3 * motion.score(x))
    squared = Motion(measure="squared")
    torch.testing.assert_close(motion.score(3 * x, squared), 9 * motion.score(x, squared))


@pytest.mark.parametrize(("key", "value"), [("measure", "mean"), ("last", "first")])
def test_an_unknown_word_is_an_error_that_names_the_key(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"motion.{key}: found '{value}', expected one of"):
        Motion(**{key: value})
