from __future__ import annotations

from functools import cache
from math import comb

import pytest
import torch
from torch import Generator, Tensor

from asma import masking, skeleton
from asma.masking import Mask

SKELETON = skeleton.load("kinect_v2")
DEGREE = SKELETON.degree.tolist()
# weights by degree, and the share of draws of 9 distinct joints that hold a joint of degree 1, 2,
# 3, 4 (a simulation)
CHOICES = [
    ("high", "complement", {d: d / 48 for d in (1, 2, 3, 4)}, (0.209, 0.379, 0.511, 0.616)),
    (
        "low",
        "complement",
        {d: (1 - d / 48) / 24 for d in (1, 2, 3, 4)},
        (0.366, 0.359, 0.354, 0.347),
    ),
    ("low", "inverse", {d: 1 / d for d in (1, 2, 3, 4)}, (0.548, 0.325, 0.230, 0.176)),
    ("low", "reverse", {d: 5 - d for d in (1, 2, 3, 4)}, (0.443, 0.355, 0.250, 0.135)),
    ("random", "complement", {d: 1 / 25 for d in (1, 2, 3, 4)}, (0.36, 0.36, 0.36, 0.36)),
]
IDS = [f"{degree}-{low}" for degree, low, _, _ in CHOICES]


def inclusion(weight: dict[int, float], draws: int) -> dict[int, float]:
    """Share of draws that hold a joint of each degree: all ways of drawing one joint after the
    other, by degree.
    """
    degrees = sorted(weight)
    start = tuple(DEGREE.count(d) for d in degrees)

    @cache
    def taken(left: tuple[int, ...], still: int) -> tuple[float, ...]:
        """Expected number of joints of each degree in the next `still` draws."""
        if not still:
            return (0.0,) * len(degrees)
        mass = sum(n * weight[d] for n, d in zip(left, degrees, strict=True))
        total = [0.0] * len(degrees)
        for i, d in enumerate(degrees):
            chance = left[i] * weight[d] / mass
            if chance:
                after = taken((*left[:i], left[i] - 1, *left[i + 1 :]), still - 1)
                for j in range(len(degrees)):
                    total[j] += chance * (after[j] + (i == j))
        return tuple(total)

    return {d: n / s for d, n, s in zip(degrees, taken(start, draws), start, strict=True)}


def hidden(kept: Tensor, V: int = 25) -> list[int]:
    return [v for v in range(V) if v not in kept.tolist()]


@pytest.mark.parametrize(("degree", "low", "weight", "table"), CHOICES, ids=IDS)
def test_joint_weights_follow_the_degree_and_sum_to_one(
    degree: str, low: str, weight: dict[int, float], table: tuple[float, ...]
) -> None:
    found = masking.joint_weights(degree, SKELETON, low)
    total = sum(weight[d] for d in DEGREE)
    assert found.tolist() == pytest.approx([weight[d] / total for d in DEGREE])
    assert float(found.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("degree", "low", "weight", "table"), CHOICES, ids=IDS)
def test_nine_joints_are_hidden_as_often_as_their_degree_says(
    degree: str, low: str, weight: dict[int, float], table: tuple[float, ...], generator: Generator
) -> None:
    exact = inclusion(weight, 9)
    assert sum(exact[d] for d in DEGREE) == pytest.approx(9)
    assert [exact[d] for d in (1, 2, 3, 4)] == pytest.approx(table, abs=3e-3)
    draws, count = 3000, torch.zeros(25)
    for _ in range(draws):
        kept = masking.choose_joints(degree, Mask(low_degree=low), SKELETON, generator)
        count += 1
        count[kept] -= 1
    share = count / draws
    for d in (1, 2, 3, 4):
        joints = [v for v in range(25) if DEGREE[v] == d]
        error = (exact[d] * (1 - exact[d]) / draws / len(joints)) ** 0.5
        assert abs(float(share[joints].mean()) - exact[d]) < 4 * error + 1e-6


@pytest.mark.parametrize("degree", masking.DEGREES)
def test_as_many_joints_as_asked_for_are_hidden_and_the_rest_ascends(
    degree: str, generator: Generator
) -> None:
    for n in (0, 1, 9, 24):
        kept = masking.choose_joints(degree, Mask(joints=n), SKELETON, generator).tolist()
        assert len(kept) == 25 - n
        assert kept == sorted(set(kept))


@pytest.mark.parametrize(("draws", "published"), [(8, 7.34), (9, 8.16)])
def test_the_multiset_of_pstl_hides_fewer_as_duplicates_collapse(
    draws: int, published: float, generator: Generator
) -> None:
    # a joint of degree d stays unless one of its d entries among 48 is drawn
    expected = sum(1 - comb(48 - d, draws) / comb(48, draws) for d in DEGREE)
    assert expected == pytest.approx(published, abs=0.01)  # found by simulation
    how = Mask(joints=draws, joint_draw="pstl_multiset")
    counts = [
        len(hidden(masking.choose_joints("high", how, SKELETON, generator))) for _ in range(2000)
    ]
    assert max(counts) <= draws
    assert sum(counts) / len(counts) == pytest.approx(expected, abs=0.08)


def test_the_multiset_holds_a_joint_as_often_as_its_degree(generator: Generator) -> None:
    how = Mask(joints=1, joint_draw="pstl_multiset")
    count = torch.zeros(25)
    for _ in range(3000):
        count[hidden(masking.choose_joints("high", how, SKELETON, generator))] += 1
    for v, d in enumerate(DEGREE):
        p = d / 48
        assert abs(float(count[v]) / 3000 - p) < 4.5 * (p * (1 - p) / 3000) ** 0.5


def test_the_multiset_is_for_high_degrees_only(generator: Generator) -> None:
    with pytest.raises(
        ValueError, match="mask.joint_draw: pstl_multiset is defined for high-degree joints only"
    ):
        masking.choose_joints("low", Mask(joint_draw="pstl_multiset"), SKELETON, generator)


@pytest.mark.parametrize(("motion", "first"), [("high", True), ("low", False)])
def test_exactly_the_frames_that_move_most_or_least_are_hidden(
    motion: str, first: bool, generator: Generator
) -> None:
    scores = torch.rand(5, 20, generator=generator)
    kept = masking.choose_frames(motion, Mask(frames=6), scores, generator)
    assert kept.shape == (5, 14)
    for n in range(5):
        by_motion = sorted(range(20), key=lambda t: float(scores[n, t]), reverse=first)
        assert hidden(kept[n], 20) == sorted(by_motion[:6])
        assert kept[n].tolist() == sorted(kept[n].tolist())


@pytest.mark.parametrize("motion", masking.MOTIONS)
def test_equal_scores_still_hide_as_many_frames(motion: str, generator: Generator) -> None:
    kept = masking.choose_frames(motion, Mask(frames=4), torch.zeros(2, 10), generator)
    for row in kept.tolist():
        assert len(set(row)) == 6


def test_random_frames_do_not_look_at_the_scores(generator: Generator) -> None:
    scores = torch.arange(10.0).expand(2000, 10)
    kept = masking.choose_frames("random", Mask(frames=3), scores, generator)
    share = torch.zeros(10).index_add(0, kept.flatten(), torch.ones(kept.numel())) / 2000
    assert (share - 0.7).abs().max() < 0.05
    assert len({tuple(row) for row in kept.tolist()}) > 50  # each sample for itself


def test_extra_random_frames_go_at_the_same_positions_for_the_whole_batch(
    generator: Generator,
) -> None:
    scores = torch.rand(4, 20, generator=generator)
    first = masking.choose_frames("high", Mask(frames=5), scores, generator)
    dropped = set()
    for _ in range(50):
        kept = masking.choose_frames(
            "high", Mask(frames=5, extra_random_frames=3), scores, generator
        )
        assert kept.shape == (4, 12)
        places = [[first[n].tolist().index(t) for t in kept[n].tolist()] for n in range(4)]
        assert places == [sorted(places[0])] * 4
        dropped |= set(range(15)) - set(places[0])
    assert dropped == set(range(15))


def test_zeroing_joints_clears_those_that_are_not_kept(generator: Generator) -> None:
    x = torch.randn(2, 3, 4, 6, 2, generator=generator)
    found = masking.zero_joints(x, torch.tensor([1, 4]))
    for v in range(6):
        assert torch.equal(
            found[:, :, :, v], x[:, :, :, v] if v in (1, 4) else torch.zeros(2, 3, 4, 2)
        )


def test_zeroing_frames_clears_those_that_are_not_kept(generator: Generator) -> None:
    x = torch.randn(2, 3, 4, 6, 2, generator=generator)
    kept = torch.tensor([[0, 2], [1, 3]])
    found = masking.zero_frames(x, kept)
    for n in range(2):
        for t in range(4):
            expected = x[n, :, t] if t in kept[n].tolist() else torch.zeros(3, 6, 2)
            assert torch.equal(found[n, :, t], expected)


@pytest.mark.parametrize("degree", masking.DEGREES)
@pytest.mark.parametrize("motion", masking.MOTIONS)
def test_encoders_are_named_by_what_they_hide(degree: str, motion: str) -> None:
    assert masking.strategy(f"{degree}deg_{motion}mot") == (degree, motion)


@pytest.mark.parametrize("name", ["random", "lowdeg", "theta", "lowdeg_highmot ", "lowmot_highdeg"])
def test_another_name_of_an_encoder_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="mask.strategy: found .* expected <low|high|random>deg_"):
        masking.strategy(name)


@pytest.mark.parametrize("key", ["operation", "low_degree", "joint_draw", "score"])
def test_an_unknown_word_is_an_error_that_names_the_key(key: str) -> None:
    words: dict[str, str] = {key: "other"}
    with pytest.raises(ValueError, match=f"mask.{key}: found 'other', expected one of"):
        Mask(**words)  # type: ignore[arg-type]  # which fields are words is what `key` lists


@pytest.mark.parametrize("key", ["joints", "frames", "extra_random_frames"])
def test_a_negative_number_is_an_error_that_names_the_key(key: str) -> None:
    numbers: dict[str, int] = {key: -1}
    with pytest.raises(ValueError, match=f"mask.{key}: found -1, expected 0 or more"):
        Mask(**numbers)  # type: ignore[arg-type]  # which fields are numbers is what `key` lists


def test_hiding_everything_is_an_error() -> None:
    Mask(joints=24, frames=49).check(SKELETON, 50)
    with pytest.raises(ValueError, match="mask.joints: found 25, expected fewer than 25"):
        Mask(joints=25).check(SKELETON, 50)
    with pytest.raises(ValueError, match=r"mask.frames .*: found 50, expected fewer than 50"):
        Mask(frames=40, extra_random_frames=10).check(SKELETON, 50)


def test_a_number_behind_the_name_says_which_of_its_kind() -> None:
    assert (
        masking.strategy("lowdeg_highmot_2")
        == masking.strategy("lowdeg_highmot")
        == ("low", "high")
    )
    assert [
        masking.number(name)
        for name in ("lowdeg_highmot", "lowdeg_highmot_2", "random", "randomdeg_lowmot_12")
    ] == [
        1,
        2,
        1,
        12,
    ]
    for name in ("lowdeg_highmot_0", "lowdeg_highmot_", "lowdeg_highmot_two"):
        with pytest.raises(ValueError, match="mask.strategy: found"):
            masking.strategy(name)
