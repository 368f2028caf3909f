"""Whether one row is better than another: the same seeds, the same test recordings.

Two questions, two tests. Over the seeds: would another training say the same (paired t)? Over the recordings: would
other recordings (signs of the paired differences exchanged)? A difference counts where both answers are yes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from asma.report.ablations import Row, over_draws

LEVEL = 0.05
SIDES = ("better", "worse")
RESAMPLES = 9999


@dataclass(frozen=True)
class Comparison:
    """a − b in points of accuracy, over n seeds that both have."""

    difference: float
    low: float | None  # 95 % interval over the seeds, None of one seed or where all seeds agree
    high: float | None
    p_seeds: float | None  # paired t, two-sided
    p_recordings: float  # sign-flip permutation of the recordings' mean differences, two-sided
    seeds: int

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `open`: both tests below LEVEL, or not."""
        return "open" if self.p >= LEVEL else SIDES[self.difference < 0]

    @property
    def p(self) -> float:
        """Of both questions at once: the larger, since both have to be answered with yes. 1 of a single seed."""
        return 1.0 if self.p_seeds is None else max(self.p_seeds, self.p_recordings)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down: each p corrected for having asked all of them, so that one below LEVEL is so by design."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, largest = [1.0] * len(values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = largest
    return corrected


def compare(a: Row, b: Row) -> Comparison:
    """Row a against row b. Raises ValueError where they share no seed or not all recordings.

    Draws of the labels are averaged within their seed.
    """
    runs = sorted(set(a.accuracy) & set(b.accuracy))
    if not runs:
        raise ValueError(f"{a.ablation.folder} and {b.ablation.folder}: found no common seed, expected at least one")
    if a.names != b.names:
        raise ValueError(f"{a.ablation.folder} and {b.ablation.folder}: found different test recordings")
    by_recording = np.mean([a.right[s].astype(float) - b.right[s].astype(float) for s in runs], axis=0)
    by_seed = np.array(list(over_draws({run: a.accuracy[run] - b.accuracy[run] for run in runs}).values()))
    low = high = p_seeds = None
    if len(by_seed) > 1:
        low, high, p_seeds = _over_seeds(by_seed)
    return Comparison(float(by_seed.mean()), low, high, p_seeds, over_recordings(by_recording), len(by_seed))


def _over_seeds(difference: np.ndarray) -> tuple[float | None, float | None, float]:
    """95 % interval (None where nothing spreads) and p of the mean of the differences (n,), n ≥ 2."""
    if np.allclose(difference, difference[0]):  # no spread, so t is not defined; what is left is the sign
        return None, None, 1.0 if difference[0] == 0 else 2 * 0.5 ** len(difference)
    found = stats.ttest_1samp(difference, 0.0)
    interval = found.confidence_interval(1 - LEVEL)
    return float(interval.low), float(interval.high), float(found.pvalue)


def over_recordings(difference: np.ndarray) -> float:
    """p of the mean of the differences (n_test,) under exchange of their signs."""
    moved = difference[difference != 0]  # the others stay 0 whatever their sign
    if len(moved) < 2:  # of a single one either sign is as far from 0
        return 1.0
    found = stats.permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=max(1, 2**20 // len(moved)),  # all at once would take gigabytes
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    return float(found.pvalue)


def points(value: float) -> str:
    """A difference with its sign, one digit."""
    return "0.0" if math.isclose(value, 0, abs_tol=0.05) else f"{value:+.1f}"
