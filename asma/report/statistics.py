"""Whether one row is better than another: the same seeds, the same test recordings.

Two questions, two tests. Over the seeds: would another training say the same (paired t)? Over the
recordings: would other recordings (signs of the paired differences exchanged)? A difference counts
where both answers are yes. Answers are frames, (recordings, (seed, draw of the labels)) bool: draws
of one seed fine-tune one pretrained encoder, are no trainings of their own, and are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from asma.report.rows import LINE

LEVEL = 0.05
SIDES = ("better", "worse")


class Comparison(NamedTuple):
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
        """The larger of both, for both have to be answered with yes; 1 of a single seed."""
        return 1.0 if self.p_seeds is None else max(self.p_seeds, self.p_recordings)


def compare(a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    """The answers a against b. Raises ValueError where they share no seed or not all recordings."""
    runs = a.columns.intersection(b.columns)
    if runs.empty:
        found = f"{list(a.columns)} and {list(b.columns)}"
        raise ValueError(f"found no common seed in {found}, expected at least one")
    if not a.index.equals(b.index):
        raise ValueError("found different test recordings, expected the same")
    difference = a[runs].astype(float) - b[runs].astype(float)
    by_seed = (100 * difference.mean()).groupby(level=0).mean().to_numpy()
    low, high, p = over_seeds(by_seed) if len(by_seed) > 1 else (None, None, None)
    p_recordings = over_recordings(difference.mean(axis=1).to_numpy())
    return Comparison(float(by_seed.mean()), low, high, p, p_recordings, len(by_seed))


def over_seeds(difference: np.ndarray) -> tuple[float | None, float | None, float]:
    """95 % interval (None where nothing spreads) and p of the mean of differences (n,), n ≥ 2."""
    if np.allclose(difference, difference[0]):  # no spread, so no t; what is left is the sign
        return None, None, 1.0 if np.isclose(difference[0], 0) else 2 * 0.5 ** len(difference)
    found = stats.ttest_1samp(difference, 0.0)
    interval = found.confidence_interval(1 - LEVEL)
    return float(interval.low), float(interval.high), float(found.pvalue)


def over_recordings(difference: np.ndarray) -> float:
    """p of the mean of the differences (n_test,) under exchange of their signs."""
    moved = difference[difference != 0]  # the others stay 0 whatever their sign
    if len(moved) < 2:  # of a single one either sign is as far from 0
        return 1.0
    found = stats.permutation_test(
        (moved,), np.mean, permutation_type="samples", n_resamples=9999, vectorized=True,
        batch=max(1, 2**20 // len(moved)),  # all at once would take gigabytes
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down: each p corrected for having asked all of them."""
    corrected, largest = [1.0] * len(values), 0.0
    for place, i in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = largest
    return corrected


def lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows over their seeds, a line each: `accuracy` by (seed, draw), its `mean` and `deviation`
    (n − 1; of a single seed over its draws) and both as `text`, `39.3 ± 14.1`; all their `runs`;
    `key` and `value` of the first thing that was changed."""
    found = []
    for _, own in rows.groupby([*LINE, "stream"], dropna=False, sort=False):
        accuracy = own.set_index(["seed", "draw"]).accuracy
        by_seed = accuracy.groupby(level=0).mean()
        mean, deviation = by_seed.mean(), (by_seed if len(by_seed) > 1 else accuracy).std()
        digits = 2 if deviation < 1 else 1
        text = f"{mean:.{digits}f} ± {deviation:.{digits}f}".removesuffix(" ± nan")
        key, _, value = own.change.iloc[0].replace("+", ", ").partition("=")
        line = {"accuracy": accuracy, "mean": mean, "deviation": deviation, "text": text}
        line |= {"runs": sum(own.runs, ()), "key": key, "value": value.replace("=", " ")}
        found.append({**own.iloc[0], **line})
    return pd.DataFrame(found)


def points(value: float) -> str:
    """A difference with its sign, one digit."""
    return "0.0" if math.isclose(value, 0, abs_tol=0.05) else f"{value:+.1f}"
