from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from asma import augment, skeleton
from asma.augment import Augment, Draw

MIRROR = torch.as_tensor(skeleton.load("kinect_v2").mirror)
OFF = Augment(crop=0, shear=0, rotate=0, tilt=0, flip=0)
EYE = torch.eye(3)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(4, 3, 12, 25, 2, generator=generator)


def plain(N: int, T: int, **changes: Tensor) -> Draw:
    """A draw that changes nothing."""
    frames, matrix = torch.arange(T).expand(N, T), EYE.expand(N, 3, 3)
    return replace(Draw(frames, matrix, torch.zeros(N, dtype=torch.bool)), **changes)


def apply(x: Tensor, drawn: Draw) -> Tensor:
    return augment.apply(augment.sides(x, MIRROR, Augment()), drawn)


@pytest.mark.parametrize(("T", "ratio"), [(50, 6), (12, 6), (7, 2), (5, 1)])
def test_the_crop_keeps_a_stretch_of_the_clip_with_mirrored_ends(T: int, ratio: int) -> None:
    pad = T // ratio
    clip = np.arange(T)
    padded = np.concatenate([clip[:pad][::-1], clip, clip[T - pad :][::-1]])
    start = torch.arange(2 * pad + 1)
    found = augment.crop_frames(start, T, pad)
    for s in range(2 * pad + 1):
        assert found[s].tolist() == padded[s : s + T].tolist()


def test_every_start_of_the_crop_comes_up_equally_often(generator: Generator) -> None:
    drawn = augment.sample(replace(OFF, crop=6), 17 * 400, 50, generator)
    every = augment.crop_frames(torch.arange(17), 50, 8)
    found = [(drawn.frames == one).all(dim=1).sum().item() for one in every]
    assert sum(found) == 17 * 400
    assert all(abs(count - 400) < 5 * math.sqrt(400) for count in found)


def test_without_a_crop_every_frame_stays_in_its_place(generator: Generator) -> None:
    assert augment.sample(OFF, 3, 9, generator).frames.tolist() == [list(range(9))] * 3


def test_the_shear_has_a_unit_diagonal_and_fills_its_range(generator: Generator) -> None:
    drawn = augment.sample(replace(OFF, shear=0.5), 3000, 4, generator).matrix
    assert torch.equal(drawn.diagonal(dim1=1, dim2=2), torch.ones(3000, 3))
    off = drawn[:, ~EYE.bool()]
    assert off.min() < -0.49 and off.max() > 0.49 and off.abs().max() <= 0.5
    assert abs(off.mean()) < 0.01
    assert abs(off.var() - 0.5**2 / 3) < 0.005  # of a uniform number
    assert torch.corrcoef(off.T).fill_diagonal_(0).abs().max() < 0.08  # six numbers, not one


@pytest.mark.parametrize(
    ("axis", "start", "end"),
    [(0, [0.0, 1, 0], [0.0, 0, 1]), (1, [0.0, 0, 1], [1.0, 0, 0]), (2, [1.0, 0, 0], [0.0, 1, 0])],
)
def test_a_quarter_turn_takes_one_axis_to_the_next(
    axis: int, start: list[float], end: list[float]
) -> None:
    angles = torch.zeros(1, 3)
    angles[0, axis] = math.pi / 2
    found = augment.rotation(angles)[0] @ torch.tensor(start)
    torch.testing.assert_close(found, torch.tensor(end), atol=1e-6, rtol=0)


def test_rotations_are_applied_about_x_then_y_then_z() -> None:
    angles = torch.tensor([[0.3, -0.7, 1.1]])
    expected = EYE
    for axis in range(3):
        one = torch.zeros(1, 3)
        one[0, axis] = angles[0, axis]
        expected = augment.rotation(one)[0] @ expected
    torch.testing.assert_close(augment.rotation(angles)[0], expected)


def test_rotations_keep_lengths_and_handedness(generator: Generator) -> None:
    turns = augment.sample(replace(OFF, rotate=180.0, tilt=90.0), 50, 4, generator).matrix
    torch.testing.assert_close(
        turns @ turns.transpose(1, 2), EYE.expand(50, 3, 3), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50), atol=1e-5, rtol=0)


def test_one_axis_turns_up_to_thirty_degrees_and_the_others_up_to_one(generator: Generator) -> None:
    turns = augment.sample(replace(OFF, rotate=30.0, tilt=1.0), 3000, 4, generator).matrix
    # the angles back from z @ y @ x
    found = torch.stack(
        [
            torch.atan2(turns[:, 2, 1], turns[:, 2, 2]),
            torch.asin(-turns[:, 2, 0]),
            torch.atan2(turns[:, 1, 0], turns[:, 0, 0]),
        ],
        dim=1,
    ).rad2deg()
    assert found.min() > -1e-3 and found.max() < 30.001
    ordered = found.sort(dim=1).values
    assert ordered[:, 1].max() < 1.001  # the two smaller ones
    assert ordered[:, 2].max() > 29 and abs(ordered[:, 2].mean() - 15) < 1
    large = found > 1.01
    share = large.float().sum(dim=0) / large.sum()
    assert (share - 1 / 3).abs().max() < 0.05


def test_about_half_of_the_samples_are_flipped(generator: Generator) -> None:
    drawn = augment.sample(Augment(), 4000, 4, generator)
    assert abs(drawn.flip.float().mean() - 0.5) < 0.04
    assert not augment.sample(OFF, 100, 4, generator).flip.any()
    assert augment.sample(replace(OFF, flip=1.0), 100, 4, generator).flip.all()


def test_a_flip_swaps_joints_and_leaves_x_alone(x: Tensor) -> None:
    flip = torch.tensor([True, False, True, False])
    found = apply(x, plain(4, 12, flip=flip))
    for n in range(4):
        for v in range(25):
            assert torch.equal(found[n, :, :, v], x[n, :, :, MIRROR[v] if flip[n] else v])


def test_two_flips_are_none(x: Tensor) -> None:
    flipped = plain(4, 12, flip=torch.ones(4, dtype=torch.bool))
    assert torch.equal(apply(apply(x, flipped), flipped), x)


def test_the_matrix_acts_on_the_coordinates_of_every_joint(x: Tensor, generator: Generator) -> None:
    matrix = torch.randn(4, 3, 3, generator=generator)
    found = apply(x, plain(4, 12, matrix=matrix))
    for n in range(4):
        for t in (0, 11):
            for v in (0, 24):
                for m in range(2):
                    expected = [
                        sum(float(matrix[n, i, j] * x[n, j, t, v, m]) for j in range(3))
                        for i in range(3)
                    ]
                    assert found[n, :, t, v, m].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_draw_shears_first_and_then_turns() -> None:
    both = augment.sample(Augment(crop=0, flip=0), 5, 4, Generator().manual_seed(3)).matrix
    # a rotation keeps the lengths of columns and the angles between them: what remains is the
    # shear's
    shear = augment.sample(
        Augment(crop=0, flip=0, rotate=0, tilt=0), 5, 4, Generator().manual_seed(3)
    ).matrix
    assert not torch.allclose(both, shear, atol=1e-3)
    torch.testing.assert_close(
        both.transpose(1, 2) @ both, shear.transpose(1, 2) @ shear, atol=1e-5, rtol=0
    )


def test_frames_are_taken_by_their_numbers(x: Tensor, generator: Generator) -> None:
    frames = torch.randint(0, 12, (4, 7), generator=generator)
    found = apply(x, replace(plain(4, 12), frames=frames))
    assert found.shape == (4, 3, 7, 25, 2)
    for n in range(4):
        for t in range(7):
            assert torch.equal(found[n, :, t], x[n, :, frames[n, t]])


def test_without_a_flip_the_other_side_is_not_made(x: Tensor, generator: Generator) -> None:
    how = replace(Augment(), flip=0.0)
    one = augment.sides(x, MIRROR, how)
    assert one.shape == (1, *x.shape) and one.data_ptr() == x.data_ptr()
    drawn = augment.sample(how, 4, 12, generator)
    assert torch.equal(augment.apply(one, drawn), apply(x, drawn))


@pytest.mark.parametrize("draw", ["sample", "batch"])
def test_several_views_at_once_are_those_views_one_by_one(draw: str, generator: Generator) -> None:
    how = Augment(draw=draw)
    both = augment.sides(torch.randn(8, 3, 12, 25, 2, generator=generator), MIRROR, how)
    views = [augment.numbers(how, 8, 12, generator) for _ in range(3)]
    assert draw == "batch" or len({tuple((view.flip < how.flip).tolist()) for view in views}) == 3
    one_by_one = torch.cat([augment.apply(both, augment.drawn(how, 12, view)) for view in views])
    together = augment.apply(both, augment.drawn(how, 12, *views))
    torch.testing.assert_close(together, one_by_one, rtol=1e-6, atol=1e-6)
    with pytest.raises(
        ValueError, match="draw: found 20 samples, expected one for each of 8 clips"
    ):
        augment.apply(both, augment.drawn(how, 12, *views)[:20])


def test_coordinates_keep_their_full_precision_where_networks_do_not(x: Tensor) -> None:
    def view() -> Tensor:
        return apply(x, augment.sample(Augment(), 4, 12, Generator().manual_seed(1)))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = view()
    assert torch.equal(found, view())


def test_nothing_switched_on_changes_nothing(x: Tensor, generator: Generator) -> None:
    assert torch.equal(apply(x, augment.sample(OFF, 4, 12, generator)), x)


def test_samples_are_drawn_apart_or_a_batch_as_one(generator: Generator) -> None:
    apart = augment.sample(Augment(), 64, 50, generator)
    assert len({tuple(row) for row in apart.matrix.flatten(1).tolist()}) == 64
    assert len({tuple(row) for row in apart.frames.tolist()}) > 8
    assert 0 < apart.flip.sum() < 64
    together = augment.sample(Augment(draw="batch"), 64, 50, generator)
    assert together.frames.shape == (64, 50) and together.flip.shape == (64,)
    assert len({tuple(row) for row in together.matrix.flatten(1).tolist()}) == 1
    assert len({tuple(row) for row in together.frames.tolist()}) == 1
    assert together.flip.sum() in (0, 64)
    another = augment.sample(Augment(draw="batch"), 64, 50, generator)
    assert not torch.equal(together.matrix, another.matrix)


@pytest.mark.parametrize("draw", augment.DRAWS)
def test_the_same_seed_draws_the_same_and_another_does_not(draw: str, x: Tensor) -> None:
    def view(seed: int) -> Tensor:
        drawn = augment.sample(Augment(draw=draw), 4, 12, Generator().manual_seed(seed))
        return apply(x, drawn)

    assert torch.equal(view(1), view(1))
    assert not torch.equal(view(1), view(2))


def test_a_draw_does_not_touch_the_random_numbers_of_others(
    x: Tensor, generator: Generator
) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    apply(x, augment.sample(Augment(), 4, 12, generator))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("crop", {"crop": 0}),
        ("shear", {"shear": 0.0}),
        ("rotate", {"rotate": 0.0, "tilt": 0.0}),
        ("flip", {"flip": 0.0}),
    ],
)
def test_a_data_set_can_switch_one_off(name: str, changed: dict[str, float]) -> None:
    assert vars(Augment().without([name])) == {**vars(Augment()), **changed}


def test_switching_off_leaves_nothing_or_all() -> None:
    assert Augment().without([]) == Augment()
    assert Augment().without(["crop", "shear", "rotate", "flip"]) == OFF


def test_bad_parameters_are_errors_that_name_the_key() -> None:
    with pytest.raises(
        ValueError, match="without: found 'mirror', expected any of crop, shear, rotate, flip"
    ):
        Augment().without(["flip", "mirror"])
    with pytest.raises(
        ValueError, match="augment.draw: found 'epoch', expected one of sample, batch"
    ):
        Augment(draw="epoch")
    with pytest.raises(ValueError, match="augment.flip: found 1.5, expected a probability"):
        Augment(flip=1.5)


def test_proportions_scale_a_joint_alike_in_all_frames(generator: Generator) -> None:
    x = torch.randn(5, 3, 6, 25, 2, generator=generator)
    how = replace(OFF, proportions=0.4)
    draw = augment.sample(how, 5, 6, generator, 50)
    factor = apply(x, draw) / x
    assert torch.allclose(factor, factor[:, :1, :1].expand_as(factor), rtol=1e-4)
    drawn = factor[:, 0, 0]
    assert 0.6 <= drawn.min() < 0.75 and 1.25 < drawn.max() <= 1.4
    # of every joint, body and sample its own
    assert len(drawn.flatten().round(decimals=4).unique()) > 30


def test_without_proportions_nothing_more_is_drawn(generator: Generator) -> None:
    states = []
    for columns in (0, 8):
        one = Generator().manual_seed(5)
        augment.sample(OFF, 3, 6, one, columns)
        states.append(torch.rand(1, generator=one))
    assert torch.equal(*states)


def test_proportions_that_would_turn_a_joint_round_are_refused() -> None:
    with pytest.raises(ValueError, match=r"augment\.proportions: found 1\.0, expected less than 1"):
        Augment(proportions=1.0)
