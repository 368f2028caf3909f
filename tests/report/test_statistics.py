from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asma.report import statistics
from asma.report.rows import each
from asma.report.statistics import holm
from tests.report.grid import N, share


def row(*rights: np.ndarray, names: str = "r") -> pd.DataFrame:
    """Answers of so many seeds, one draw each."""
    columns = pd.MultiIndex.from_tuples([(seed, "") for seed in range(len(rights))])
    return pd.DataFrame(dict(zip(columns, rights, strict=True)), [f"{names}{i}" for i in range(N)])


def test_the_difference_is_the_mean_over_the_seeds_with_its_interval() -> None:
    a, b = row(share(30), share(34), share(29)), row(share(20), share(22), share(15))
    found = statistics.compare(a, b)
    differences = [25.0, 30.0, 35.0]
    assert found.difference == pytest.approx(30.0)
    half = stats.t.ppf(0.975, 2) * np.std(differences, ddof=1) / np.sqrt(3)
    assert found.low == pytest.approx(30 - half)
    assert found.high == pytest.approx(30 + half)
    twin = stats.ttest_rel(100 * a.mean(), 100 * b.mean())
    assert found.p_seeds == pytest.approx(twin.pvalue)
    assert found.verdict == "better"
    assert statistics.compare(b, a).verdict == "worse"


def test_draws_of_the_labels_count_within_their_seed() -> None:
    def drawn(*rights: int) -> pd.DataFrame:
        runs = [(1, "1"), (1, "2"), (2, "1"), (2, "2")]
        return pd.DataFrame(dict(zip(runs, map(share, rights), strict=True)))

    a, b = drawn(30, 34, 28, 28), drawn(20, 20, 20, 20)
    found = statistics.compare(a, b)
    twin = statistics.compare(row(share(32), share(28)), row(share(20), share(20)))
    assert found.seeds == 2
    assert (found.difference, found.low, found.high) == pytest.approx(
        (twin.difference, twin.low, twin.high)
    )
    assert found.p_seeds == pytest.approx(twin.p_seeds)


def test_the_test_over_recordings_counts_every_exchange_of_signs() -> None:
    a, b = np.zeros(N, bool), np.zeros(N, bool)
    a[:7], b[7:9] = True, True  # 7 for, 2 against
    found = statistics.compare(row(a), row(b))
    difference = [1] * 7 + [-1] * 2
    every = [
        sum(s * d for s, d in zip(signs, difference, strict=True))
        for signs in itertools.product((1, -1), repeat=9)
    ]
    assert found.p_recordings == pytest.approx(np.mean([abs(total) >= 5 for total in every]))


def test_exchanging_the_rows_changes_the_sign_and_nothing_else() -> None:
    a, b = row(share(30), share(25)), row(share(20), share(28))
    one, other = statistics.compare(a, b), statistics.compare(b, a)
    assert one.difference == -other.difference
    assert (one.low, one.high) == (
        pytest.approx(-(other.high or 0)),
        pytest.approx(-(other.low or 0)),
    )
    assert one.p_seeds == pytest.approx(other.p_seeds)
    assert one.p_recordings == pytest.approx(other.p_recordings, abs=0.02)


def test_equal_rows_are_no_difference() -> None:
    found = statistics.compare(row(share(9), share(8)), row(share(9), share(8)))
    assert found.difference == 0
    assert (found.p_seeds, found.p_recordings, found.verdict) == (1, 1, "open")


def test_a_difference_without_spread_over_the_seeds_has_only_its_sign() -> None:
    found = statistics.compare(row(share(30), share(31)), row(share(10), share(11)))
    assert (found.difference, found.low, found.high, found.p_seeds) == (50.0, None, None, 0.5)
    assert found.verdict == "open"


def test_one_seed_alone_decides_nothing() -> None:
    found = statistics.compare(row(share(N)), row(share(0)))
    assert (found.low, found.high, found.p_seeds, found.verdict) == (None, None, None, "open")
    assert found.p_recordings < 0.001


def test_rows_without_a_common_seed_or_on_other_recordings_are_an_error() -> None:
    other = row(share(3))
    with pytest.raises(ValueError, match="found different test recordings"):
        statistics.compare(other, row(share(3), names="q"))
    with pytest.raises(ValueError, match="found no common seed"):
        statistics.compare(other, other.rename(columns={0: 7}))


@pytest.mark.parametrize(
    ("value", "text"), [(1.26, "+1.3"), (-0.96, "-1.0"), (0.04, "0.0"), (-0.04, "0.0")]
)
def test_points_have_a_sign_unless_they_are_none(value: float, text: str) -> None:
    assert statistics.points(value) == text


def test_of_several_p_each_is_corrected_by_how_many_are_left() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.03, 0.01, 0.5, 0.04]) == pytest.approx(
        [0.09, 0.04, 0.5, 0.09]
    )  # never below a smaller one's
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("moved", [[], [1.0], [-1.0]])
def test_no_recording_or_a_single_one_that_differs_says_nothing(moved: list[float]) -> None:
    assert statistics.over_recordings(np.array([0.0, 0.0, *moved])) == 1.0


def grid_rows(accuracies: dict[tuple[int, str], float], **more: object) -> pd.DataFrame:
    """Rows of one line of the grid, by seed and draw of the labels."""
    line: dict[str, object] = {
        "benchmark": "a_xsub",
        "of": "probe",
        "mode": "linear",
        "encoder": "random",
    }
    line |= {"source": None, "change": "", "stream": "joint", "params": 1, "demonstration": False}
    return pd.DataFrame(
        {**line, **more, "seed": seed, "draw": draw, "accuracy": value, "runs": (f"{seed}{draw}",)}
        for (seed, draw), value in accuracies.items()
    )


@pytest.mark.parametrize(
    ("accuracies", "text"),
    [
        ({(1, ""): 25.0, (2, ""): 50.0, (3, ""): 75.0}, "50.0 ± 25.0"),
        ({(1, ""): 50.25, (2, ""): 50.75}, "50.50 ± 0.35"),
        ({(2, ""): 33.3}, "33.3"),
        ({(1, "1"): 25.0, (1, "2"): 35.0}, "30.0 ± 7.1"),
        ({(1, "1"): 25.0, (1, "2"): 35.0, (2, "1"): 50.0, (2, "2"): 70.0}, "45.0 ± 21.2"),
    ],
)
def test_a_line_is_a_mean_and_a_deviation_over_the_seeds_and_of_one_over_its_draws(
    accuracies: dict[tuple[int, str], float], text: str
) -> None:
    (line,) = each(statistics.lines(grid_rows(accuracies)))
    assert line.text == text
    assert line.accuracy.to_dict() == accuracies
    assert line.runs == tuple(f"{seed}{draw}" for seed, draw in accuracies)


def test_lines_say_what_was_changed_first_and_what_with_it() -> None:
    rows = [
        grid_rows({(1, ""): 1.0}),
        grid_rows({(1, ""): 2.0}, change="mask.joints=7"),
        grid_rows({(1, ""): 3.0}, change="mask.joints=7+probe.epochs=3"),
    ]
    found = statistics.lines(pd.concat(rows))
    assert found.key.tolist() == ["", "mask.joints", "mask.joints"]
    assert found["value"].tolist() == ["", "7", "7, probe.epochs 3"]
