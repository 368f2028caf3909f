"""What was learnt, how good, against what: the few rows that answer it and a verdict on each control.

Read off the rows of results.json alone. Only `test` looks into runs: at the answers to each recording, for a row and
its control are of the same recordings, and whether their difference is more than luck is asked of those in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma import evaluation
from asma.report import ablations, paired
from asma.report.collect import ReportError, Results, Row

Key = tuple[str, str]  # encoder, mode

TUNED, FROZEN, STUDENT = (
    ("both", "aligned_finetuned"),
    ("both", "aligned_probed"),
    ("student", "distilled_finetuned"),
)
OF_FEATURES = ("student", "feature_distilled_finetuned")
UNTRAINED, SCRATCH, RIDGE = (
    ("random", "standardised"),
    ("random", "scratch"),
    ("coordinates", "ridge"),
)
UNALIGNED = ("both", "concatenated_wide_finetuned")
FROM_LABELS = ("student", "scratch_finetuned")
LEARNT = {
    TUNED: "fine-tuned ASMa",
    FROZEN: "frozen ASMa",
    STUDENT: "student of fine-tuned ASMa",
    OF_FEATURES: "student of fine-tuned ASMa's features",
}
CONTROLS = {
    SCRATCH: "training from scratch",
    UNALIGNED: "fine-tuned ASMa without alignment",
    UNTRAINED: "frozen untrained encoder",
    FROM_LABELS: "student from labels alone",
    RIDGE: "ridge on raw coordinates",
}
# Which controls each has to beat; a student's first is its teacher.
AGAINST = {
    TUNED: (SCRATCH, UNALIGNED, RIDGE),
    FROZEN: (UNTRAINED,),
    STUDENT: (TUNED, FROM_LABELS),
    OF_FEATURES: (TUNED, FROM_LABELS),
}


@dataclass(frozen=True)
class Entry:
    """One method of the short table, or a control: its rows by stream."""

    key: Key
    name: str
    control: bool
    rows: Mapping[str, Row]
    against: tuple[Key, ...]

    @property
    def row(self) -> Row:
        """The row that stands for it: of all streams together, or of the only stream it has."""
        return list(self.rows.values())[-1]


@dataclass(frozen=True)
class Verdict:
    """One method against one control on the same recordings; p is corrected for all that were asked."""

    one: Entry
    other: Entry
    p: float | None

    @property
    def word(self) -> str:
        """`better`, `worse`, or `undecided` where the difference may be luck."""
        decided = self.p is not None and self.p < paired.LEVEL
        return paired.SIDES[self.difference < 0] if decided else "undecided"

    @property
    def difference(self) -> float:
        """Points of accuracy that the method is ahead."""
        return float(self.one.row["accuracy"] - self.other.row["accuracy"])

    @property
    def sentence(self) -> str:
        """`Fine-tuned ASMa 87.5 against ridge on raw coordinates 62.5: better by 25.0 points (p=0.003).`"""
        a, b, points = (f"{n:.1f}" for n in (*self.accuracies, abs(self.difference)))
        luck = "not tested" if self.p is None else f"p={self.p:.3f}" if self.p >= 0.001 else "p<0.001"
        side = f"{points} points {'ahead' if self.difference > 0 else 'behind'}" if self.difference else "equal"
        said = f"undecided, {side}" if self.word == "undecided" else f"{self.word} by {points} points"
        name = f"{self.one.name[0].upper()}{self.one.name[1:]}"
        return f"{name} {a} against {self.other.name} {b}: {said} ({luck})."

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of the method and of its control, per cent."""
        return self.one.row["accuracy"], self.other.row["accuracy"]


def entries(results: Results, benchmark: str) -> list[Entry]:
    """The methods that are there, the best first that the paper knows, then their controls."""
    found: dict[tuple[bool, Key, str | None], dict[str, Row]] = {}
    for row in (row for row in results.rows if row["benchmark"] == benchmark):
        moved = row["of"] == "transfer"
        of = found.setdefault((moved, (row["encoder"], row["mode"]), row["source"] if moved else None), {})
        of[row["stream"]] = row
    home = {key: rows for (moved, key, _), rows in found.items() if not moved}
    single = [key for key in home if key[1] == "standardised" and key != UNTRAINED]
    learnt = {**LEARNT, **{key: f"frozen {key[0]} alone" for key in single}}
    shown = [
        Entry(key, name, False, home[key], AGAINST.get(key, (UNTRAINED,)))
        for key, name in learnt.items()
        if key in home
    ]
    away = [(key, source, rows) for (moved, key, source), rows in found.items() if moved]
    shown += [
        Entry(key, f"fine-tuned ASMa from {source}", False, rows, (SCRATCH,))
        for key, source, rows in away
        if key[0] == "both"
    ]
    if not shown:
        return []
    shown += [Entry(key, name, True, home[key], ()) for key, name in CONTROLS.items() if key in home]
    if SCRATCH not in home:  # those beside several sources are the same training
        shown += [Entry(key, CONTROLS[SCRATCH], True, rows, ()) for key, _, rows in away if key == SCRATCH][:1]
    return shown


def verdicts(results: Results, benchmark: str) -> list[Verdict]:
    """Each method against each of its controls that is there."""
    pairs = list(_pairs(entries(results, benchmark)))
    told = [(one.row.get("against") or {}).get(_word(other.key)) for one, other in pairs]
    asked = [p for p in told if p is not None]
    corrected = iter(paired.holm(asked))
    return [
        Verdict(one, other, None if p is None else next(corrected)) for (one, other), p in zip(pairs, told, strict=True)
    ]


def test(results: Results, weights: Mapping[str, float], runs: Path) -> None:
    """Leave with each row of `verdicts` its p against its controls, `against`: {`encoder.mode`: p}, uncorrected.

    Signs of the paired differences are exchanged, as in `paired`; weights: of the streams where they are added up.
    Raises ReportError where logits are not there.
    """
    for benchmark in results.benchmarks:
        for one, other in _pairs(entries(results, benchmark)):
            (names, right), (same, other_right) = (_right(results, e.row, runs, weights) for e in (one, other))
            if names != same:
                raise ReportError(f"{benchmark}: {one.name} and {other.name}: found different test recordings")
            p = paired.over_recordings(right.astype(float) - other_right.astype(float))
            one.row.setdefault("against", {})[_word(other.key)] = p


def _right(results: Results, row: Row, runs: Path, weights: Mapping[str, float]) -> tuple[tuple[str, ...], np.ndarray]:
    """The recordings' names in order and whether each was put into its class."""
    parts = {}
    for member in results.members(row):
        within, mode = runs / member["run"], member["mode"]
        if member["of"] == "transfer":
            within, mode = within / member["stream"], mode.partition("_from_")[0]
            mode = f"{member['encoder']}.{mode}"
        path = within / "logits.npz"
        if not path.is_file():
            raise ReportError(f"{path}: not found; `dvc repro` makes it")
        names, labels, logits = evaluation.load_logits(path)
        if mode not in logits:
            raise ReportError(f"{path}: found {', '.join(logits) or 'nothing'}, expected logits of {mode}")
        parts[member["stream"]] = names, logits[mode]
    added = evaluation.ensemble(parts, weights) if len(parts) > 1 else next(iter(parts.values()))
    return ablations.right(*added, names, labels)


def _pairs(found: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    known = {entry.key: entry for entry in found}
    for one in found:
        for key in one.against:
            if key in known:
                yield one, known[key]


def _word(key: Key) -> str:
    return ".".join(key)


def chance(results: Results, benchmark: str) -> float | None:
    """What always answering the commonest class scores, per cent, where the runs say so."""
    told = (row.get("chance") for row in results.rows if row["benchmark"] == benchmark)
    return next((value for value in told if value is not None), None)


def sentence(results: Results, benchmark: str) -> str | None:
    """What was learnt, how good, against what, of the first method; None where there is none."""
    found = [entry for entry in entries(results, benchmark) if not entry.control]
    if not found:
        return None
    first, least = found[0], chance(results, benchmark)
    row = first.row
    luck = f", where chance is {least:.1f}\N{NO-BREAK SPACE}%" if least is not None else ""
    of = f"{row['accuracy']:.1f}\N{NO-BREAK SPACE}% of {row['n_test']} test recordings{luck}"
    said = f"{first.name[0].upper()}{first.name[1:]} recognises the action in {of}"
    against: dict[str, list[str]] = {}
    for verdict in (one for one in verdicts(results, benchmark) if one.one == first):
        how = {"better": "better than", "worse": "worse than"}.get(verdict.word, "undecided against")
        against.setdefault(how, []).append(f"{verdict.other.name} ({verdict.accuracies[1]:.1f}\N{NO-BREAK SPACE}%)")
    told = "; ".join(f"{how} {' and '.join(whom)}" for how, whom in against.items())
    return f"{said}: {told}." if told else f"{said}."
