"""Rows compared, and what follows: methods against controls, the paper's claims on the ablations.

What is compared is data, `short` of tables.yaml and claims.yaml. A claim holds on a benchmark where
every one of its comparisons was run and came out that way by both tests of `statistics`, does not
hold where one came out the other way, and cannot be told at this size otherwise. One of several
does that by chance more often than one alone, so for the other way their p are corrected (Holm);
for all of them to agree they need no correction.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from asma.report import statistics
from asma.report.rows import ReportError, data, each, records, streams
from asma.report.statistics import LEVEL, SIDES, Comparison, points

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "cannot be told", "was not run"
Answers = Callable[[Any], pd.Series]  # of a row: whether each recording was put into its class


def where(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows of these values, each one or a list; transferred ones only where `of` says so."""
    fits = rows.of != "transfer" if "of" not in wanted else pd.Series(True, rows.index)
    for key, value in wanted.items():
        fits &= rows[key].isin(value if isinstance(value, list) else [value])
    return rows[fits]


def entries(rows: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """The rows of the methods that are there, then of their controls, by `short` of tables.yaml:
    with `name`, whether it is a `control`, their `key` and `rivals`; none without a method."""
    left = rows[rows.benchmark == benchmark]
    found = []
    for entry in data("tables.yaml")["short"]:
        chosen = where(left, **entry["where"])
        left = left.drop(chosen.index)
        names = [entry["name"].format(**row) for row in records(chosen)]
        rivals = [entry.get("against", [])] * len(chosen)
        found.append(chosen.assign(name=names, control="against" not in entry, rivals=rivals))
    every = pd.concat(found).sort_values("control", kind="stable")
    every = every.drop_duplicates(["name", "stream"])  # scratch beside several sources is the same
    every["key"] = every.encoder + "." + every["mode"]
    return every[:0] if every.control.all() else every


def last(rows: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """Those rows in the last of their streams, which stands for a method: all of them together."""
    return entries(rows, benchmark).drop_duplicates("name", keep="last")


def pairs(rows: pd.DataFrame, benchmark: str) -> Iterator[tuple[Any, Any]]:
    """Each method with each of its controls that is there."""
    found = list(each(last(rows, benchmark)))
    known = {row.key: row for row in reversed(found)}
    for row in found:
        yield from ((row, known[key]) for key in row.rivals if key in known)


def verdicts(rows: pd.DataFrame, benchmark: str) -> list[dict[str, Any]]:
    """Each method against each control that is there: the names `one` and `other`, `a` and `b` per
    cent, `p` corrected for all that were asked (None where nothing was), and the `word` better,
    worse or undecided."""
    asked = list(pairs(rows, benchmark))
    p = pd.Series([one.against.get(other.key) for one, other in asked], dtype=float)
    p[p.notna()] = statistics.holm(p.dropna().tolist())
    found = []
    for (one, other), luck in zip(asked, p, strict=True):
        word = SIDES[one.accuracy < other.accuracy] if luck < LEVEL else "undecided"
        names = {"one": one.name, "other": other.name, "a": one.accuracy, "b": other.accuracy}
        found.append({**names, "p": None if pd.isna(luck) else luck, "word": word})
    return found


def tested(rows: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """The rows with their p against their controls, uncorrected: `against`, {`encoder.mode`: p}.
    Raises ReportError where the recordings differ."""
    against = dict(zip(rows.index, rows.against, strict=True))
    for benchmark in rows.benchmark.unique():
        for one, other in pairs(rows, benchmark):
            a, b = answers(one), answers(other)
            if not a.index.equals(b.index):
                whose = f"{benchmark}: {one.name} and {other.name}"
                raise ReportError(f"{whose}: found different test recordings, expected the same")
            p = statistics.over_recordings((a.astype(float) - b).to_numpy())
            against[one.Index] = {**against[one.Index], other.key: p}
    return rows.assign(against=pd.Series(against, dtype=object))


def chance(rows: pd.DataFrame, benchmark: str) -> float | None:
    """What always answering the commonest class scores, per cent, where the runs say so."""
    known = rows.chance[rows.benchmark == benchmark].dropna()
    return None if known.empty else float(known.iloc[0])


class Tested(NamedTuple):
    """A claim on one benchmark: what was compared, the two `statistics.lines` and what came of it;
    and what the claim compares and the grid has no rows for."""

    key: str
    claim: str
    table: str  # of the paper
    benchmark: str
    comparisons: Sequence[tuple[str, Any, Any, Comparison]] = ()
    missing: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """HOLDS, FAILS, OPEN, or ABSENT where the grid had none of it."""
        found = [one for *_, one in self.comparisons]
        corrected = statistics.holm([one.p for one in found])
        if any(p < LEVEL and c.difference < 0 for p, c in zip(corrected, found, strict=True)):
            return FAILS
        agreed = all(one.verdict == "better" for one in found) and not self.missing
        return ABSENT if not found else HOLDS if agreed else OPEN

    @property
    def sentence(self) -> str:
        """What was found and what was not run, in a sentence or two; empty where nothing was."""
        said = "; ".join(
            f"{what}: {points(c.difference)} points{f' ({interval(c)})' if interval(c) else ''}"
            for what, _, _, c in self.comparisons
        )
        left = f" Not run: {'; '.join(self.missing)}." if self.missing else ""
        return f"{said[0].upper()}{said[1:]}.{left}" if said else ""


def judge(rows: pd.DataFrame, pair: Sequence[str], answers: Answers) -> list[Tested]:
    """Every claim on every benchmark, as far as the grid has its rows; pair: the encoders fused.

    Compared in the stream that the tables are of, or where that was not run in the first single
    one that was. Raises ReportError where rows are of other recordings.
    """
    names, (*single, last) = dict(zip(("first", "second"), pair, strict=True)), streams(rows)
    once = functools.cache(lambda place: answers(rows.loc[place]))

    def right(side: pd.DataFrame) -> pd.DataFrame:
        found = {(row.seed, row.draw): once(row.Index) for row in each(side)}
        if len({tuple(one.index) for one in found.values()}) > 1:
            whose = ", ".join(side.run)
            raise ReportError(f"{whose}: found other test recordings in one, expected the same")
        return pd.DataFrame(found)

    found = []
    for claim, benchmark in itertools.product(data("claims.yaml"), rows.benchmark.unique()):
        comparisons, missing = [], []
        for one in claim["comparisons"]:
            what = one["what"].format(**names)
            for stream in dict.fromkeys((last, *single)):
                default = {"benchmark": benchmark, "change": "", "stream": stream}
                wanted = [{k: w.format(**names) for k, w in one[side].items()} for side in SIDES]
                a, b = (where(rows, **{**default, **side}) for side in wanted)
                if len(a) and len(b):
                    this, that = each(statistics.lines(pd.concat([a, b])))
                    comparisons.append((what, this, that, statistics.compare(right(a), right(b))))
                    break
            else:
                missing.append(what)
        about = (claim["key"], claim["claim"], claim["table"])
        found.append(Tested(*about, benchmark, comparisons, missing))
    return found


def interval(c: Comparison) -> str:
    """The 95 % interval of a difference; empty where there is none."""
    return "" if c.low is None or c.high is None else f"{points(c.low)} to {points(c.high)}"
