from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from asma.report import paired
from asma.report.ablations import Ablation, Row
from asma.report.paired import holm
from tests.report.grid import N, share


def row(*rights: np.ndarray, names: str = "r") -> Row:
    return Row(
        Ablation("probe", ("x",)),
        "linear",
        "demo_xsub",
        "joint",
        {str(seed): float(100 * right.mean()) for seed, right in enumerate(rights)},
        {str(seed): right for seed, right in enumerate(rights)},
        tuple(f"{names}{i}" for i in range(N)),
        1,
        True,
    )


def test_the_difference_is_the_mean_over_the_seeds_with_its_interval() -> None:
    a, b = row(share(30), share(34), share(29)), row(share(20), share(22), share(15))
    found = paired.compare(a, b)
    differences = [25.0, 30.0, 35.0]
    assert found.difference == pytest.approx(30.0)
    half = stats.t.ppf(0.975, 2) * np.std(differences, ddof=1) / np.sqrt(3)
    assert found.low == pytest.approx(30 - half)
    assert found.high == pytest.approx(30 + half)
    twin = stats.ttest_rel(list(a.accuracy.values()), list(b.accuracy.values()))
    assert found.p_seeds == pytest.approx(twin.pvalue)
    assert found.verdict == "better"
    assert paired.compare(b, a).verdict == "worse"


def test_draws_of_the_labels_count_within_their_seed() -> None:
    def drawn(*rights: int) -> Row:
        labels = ["1, draw 1", "1, draw 2", "2, draw 1", "2, draw 2"]
        right = dict(zip(labels, map(share, rights), strict=True))
        return replace(row(share(1)), accuracy={k: float(100 * v.mean()) for k, v in right.items()}, right=right)

    a, b = drawn(30, 34, 28, 28), drawn(20, 20, 20, 20)
    found, twin = paired.compare(a, b), paired.compare(row(share(32), share(28)), row(share(20), share(20)))
    assert found.seeds == 2
    assert (found.difference, found.low, found.high) == pytest.approx((twin.difference, twin.low, twin.high))
    assert found.p_seeds == pytest.approx(twin.p_seeds)


def test_the_test_over_recordings_counts_every_exchange_of_signs() -> None:
    a, b = np.zeros(N, bool), np.zeros(N, bool)
    a[:7], b[7:9] = True, True  # 7 for, 2 against
    found = paired.compare(row(a), row(b))
    difference = [1] * 7 + [-1] * 2
    every = [
        sum(s * d for s, d in zip(signs, difference, strict=True)) for signs in itertools.product((1, -1), repeat=9)
    ]
    assert found.p_recordings == pytest.approx(np.mean([abs(total) >= 5 for total in every]))


def test_exchanging_the_rows_changes_the_sign_and_nothing_else() -> None:
    a, b = row(share(30), share(25)), row(share(20), share(28))
    one, other = paired.compare(a, b), paired.compare(b, a)
    assert one.difference == -other.difference
    assert (one.low, one.high) == (pytest.approx(-(other.high or 0)), pytest.approx(-(other.low or 0)))
    assert one.p_seeds == pytest.approx(other.p_seeds)
    assert one.p_recordings == pytest.approx(other.p_recordings, abs=0.02)


def test_equal_rows_are_no_difference() -> None:
    found = paired.compare(row(share(9), share(8)), row(share(9), share(8)))
    assert (found.difference, found.p_seeds, found.p_recordings, found.verdict) == (0, 1, 1, "open")


def test_a_difference_without_spread_over_the_seeds_has_only_its_sign() -> None:
    found = paired.compare(row(share(30), share(31)), row(share(10), share(11)))
    assert (found.difference, found.low, found.high, found.p_seeds) == (50.0, None, None, 0.5)
    assert found.verdict == "open"


def test_one_seed_alone_decides_nothing() -> None:
    found = paired.compare(row(share(N)), row(share(0)))
    assert (found.low, found.high, found.p_seeds, found.verdict) == (None, None, None, "open")
    assert found.p_recordings < 0.001


def test_rows_without_a_common_seed_or_on_other_recordings_are_an_error() -> None:
    other = row(share(3))
    with pytest.raises(ValueError, match="found different test recordings"):
        paired.compare(other, row(share(3), names="q"))
    with pytest.raises(ValueError, match="found no common seed"):
        paired.compare(
            other, Row(other.ablation, "linear", "demo_xsub", "joint", {"7": 1.0}, {"7": share(1)}, (), 1, True)
        )


@pytest.mark.parametrize(("value", "text"), [(1.26, "+1.3"), (-0.96, "-1.0"), (0.04, "0.0"), (-0.04, "0.0")])
def test_points_have_a_sign_unless_they_are_none(value: float, text: str) -> None:
    assert paired.points(value) == text


def test_of_several_p_each_is_corrected_by_how_many_are_left() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.03, 0.01, 0.5, 0.04]) == pytest.approx([0.09, 0.04, 0.5, 0.09])  # never below a smaller one's
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("moved", [[], [1.0], [-1.0]])
def test_no_recording_or_a_single_one_that_differs_says_nothing(moved: list[float]) -> None:
    assert paired.over_recordings(np.array([0.0, 0.0, *moved])) == 1.0
