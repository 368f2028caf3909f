"""Whether recordings show people the right way up, of a person's size, joints as in the layout.

Nothing in a file says which axis points up, what the unit is, or which joint comes first; a wrong
guess makes clips that are wrong by metres and says nothing. So a sample of the positions is
compared with what holds for people whatever they do: most of the time the head is above the feet;
from head to feet along the bones it is between half a metre and three; no joint on that way
stands above the head; bones keep their length; feet point forwards. The layout says which joints
are head and feet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma import skeleton
from asma.data.axes import UNITS, original
from asma.data.recordings import Recording, shown
from asma.skeleton import Skeleton

MOST = 1024  # recordings in a sample
ROWS = 9  # bodies looked at in each, spread over its frames
# In UTD-MHAD and IntelliRehabDS, where people also sit and squat: the head rises 0.48 or more
# above the feet, 0.8 in the median recording, at most 0.03 of the joints are above it, and the
# bone that swings most does so by 0.012.
CLEAR = 0.6  # head above feet, in parts of the way between them along bones: surely up
LOW = 0.4  # less than this: not surely
ABOVE = 0.2  # share of the joints between head and feet that are farther up than the head
SWING = 0.06  # by how much a bone's length varies, in parts of that way
BACKWARDS = -0.3  # cosine between where the feet point and what is forwards by the shoulders
SHORTEST, TALLEST = 0.5, 3.0  # metres from head to feet along the bones
FEW = 0.05  # share of recordings that may be otherwise than the rest without a word


@dataclass(frozen=True)
class Finding:
    """What is implausible, what was expected; `certain` where only a mistake explains it."""

    found: str
    expected: str
    certain: bool

    def __str__(self) -> str:
        return f"found {self.found}; expected {self.expected}"


class Implausible(ValueError):
    """Positions that cannot be people as the set describes them; each finding and how to go on."""

    def __init__(self, raw: Path, dataset: str, findings: list[Finding]) -> None:
        lines = [f"{raw}: {finding}" for finding in findings]
        go_on = f"datasets/{dataset}.yaml: implausible: warn takes the positions as they are"
        super().__init__("\n".join([*lines, f"({go_on})"]))
        self.findings = findings


class Sample:
    """A few positions of some recordings, evenly spread over all; it does not grow with them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[np.ndarray] = []  # (rows, V, 3) each
        self._every, self._seen = 1, 0

    def count(self, recording: Recording) -> None:
        """Take one more recording into account."""
        if self._seen % self._every == 0:
            places = np.linspace(0, len(recording.xyz) - 1, min(ROWS, len(recording.xyz)))
            rows = recording.xyz[places.round().astype(int)]
            self.names.append(recording.name)
            self.rows.append(rows[np.isfinite(rows).all(axis=(1, 2)) & rows.any(axis=(1, 2))])
            if len(self.rows) > MOST:
                del self.names[1::2], self.rows[1::2]
                self._every *= 2
        self._seen += 1


@dataclass(frozen=True)
class _Measures:
    """Medians over the rows of each sampled recording (N, …): see the constants."""

    length: np.ndarray  # (N,)
    rise: np.ndarray  # (N, 3) head less feet by axis, in parts of length
    above: np.ndarray  # (N,) along the axis on which the head is farthest from the feet
    forwards: np.ndarray  # (N,)
    swing: np.ndarray  # (N, E)


def _measure(rows: list[np.ndarray], layout: Skeleton) -> _Measures:
    head, feet, (left, right) = layout.head, list(layout.feet), layout.shoulders
    assert head is not None
    ways = [layout.way(head, foot) for foot in feet]
    child, parent = np.array(layout.edges).T
    found: list[tuple[np.ndarray, ...]] = []
    for x in rows:
        x = x.astype(np.float64)
        bones = np.linalg.norm(x[:, child] - x[:, parent], axis=2)
        steps = [np.linalg.norm(np.diff(x[:, way], axis=1), axis=2) for way in ways]
        length = np.maximum(np.mean([step.sum(axis=1) for step in steps], axis=0), 1e-9)
        rise = np.median((x[:, head] - x[:, feet].mean(axis=1)) / length[:, None], axis=0)
        axis = int(np.abs(rise).argmax())
        up = x[:, :, axis] * (1 if rise[axis] > 0 else -1)
        above = np.mean([(up[:, way[1:]] > up[:, [head]]).mean() for way in ways])
        ahead = _unit(np.cross([0.0, 1.0, 0.0], x[:, right] - x[:, left]))
        toes = _unit(np.mean([x[:, foot] - x[:, layout.parents[foot]] for foot in feet], axis=0))
        forwards = np.median((ahead * toes).sum(axis=1))
        whole = np.median(length)
        found.append((whole, rise, above, forwards, bones.std(axis=0) / whole))
    return _Measures(*(np.array(part) for part in zip(*found, strict=True)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def judge(sample: Sample, layout: Skeleton, up: str = "y", unit: str = "m") -> list[Finding]:
    """What is implausible about a sample of recordings; `up` and `unit` are what the set says."""
    if layout.head is None:
        found = f"layout {layout.name} without head and feet: which way is up was not checked"
        return [Finding(found, "`head` and `feet` in the layout's file, if it has them", False)]
    there = [i for i, rows in enumerate(sample.rows) if len(rows)]
    if not there:
        return []
    names, rows = [sample.names[i] for i in there], [sample.rows[i] for i in there]
    m = _measure(rows, layout)
    if np.median(m.above) > ABOVE and np.abs(np.median(m.rise, axis=0)).max() > ABOVE:
        return [_order(rows, m, layout)]
    findings = [*_up(names, m, up), *_size(names, m, unit)]
    if not findings:
        findings = [*_bones(m, layout), *_sides(m)]
    return findings


def _up(names: list[str], m: _Measures, up: str) -> list[Finding]:
    axes = np.abs(m.rise).argmax(axis=1)
    highest = np.take_along_axis(m.rise, axes[:, None], axis=1)[:, 0]
    words = np.char.add(np.where(highest < 0, "-", ""), np.array(list("xyz"))[axes])
    clear = np.abs(highest) >= CLEAR
    others, counts = np.unique(words[clear & (words != "y")], return_counts=True)
    if len(others) and counts.max() > len(names) / 2:
        axis = original(others[counts.argmax()], up)
        share = f"{counts.max()} of {len(names)} recordings"
        expected = f"{up} to point up: this looks {axis}-up, set `up: {axis}`"
        return [Finding(f"the head above the feet along {axis} in {share}", expected, True)]
    if (height := float(np.median(m.rise[:, 1]))) < LOW:
        found = f"the head {height:.0%} of a body's length above the feet in the median recording"
        expected = f"more than {LOW:.0%}: is {up} the axis that points up (`up:`)?"
        return [Finding(found, expected, False)]
    odd = np.flatnonzero(clear & (words != "y"))
    if len(odd) > FEW * len(names):
        found = f"{len(odd)} of {len(names)} recordings with the head not above the feet"
        return [Finding(f"{found}: {shown([names[i] for i in odd])}", f"{up} up in all", False)]
    return []


def _size(names: list[str], m: _Measures, unit: str) -> list[Finding]:
    length = float(np.median(m.length))
    between = f"{SHORTEST} to {TALLEST:.0f} m"
    if not SHORTEST <= length <= TALLEST:
        found = f"bodies of {length:.4g} m from head to feet along the bones"
        for other, scale in UNITS.items():
            if SHORTEST <= length / UNITS[unit] * scale <= TALLEST:
                word = {"m": "metres", "cm": "centimetres", "mm": "millimetres"}[other]
                remedy = f"this looks like {word}, set `unit: {other}`"
                return [Finding(found, f"{between}: {remedy}", True)]
        remedy = "are `unit` and the layout's order of joints right?"
        return [Finding(found, f"{between}: {remedy}", False)]
    odd = np.flatnonzero((m.length < SHORTEST) | (m.length > TALLEST))
    if len(odd) > FEW * len(names):
        found = f"{len(odd)} of {len(names)} recordings with bodies of another size"
        return [Finding(f"{found}: {shown([names[i] for i in odd])}", f"{between} in all", False)]
    return []


def _order(rows: list[np.ndarray], m: _Measures, layout: Skeleton) -> Finding:
    fitting = []
    for other in map(skeleton.load, skeleton.known()):
        if other.head is None or len(other) != len(layout):
            continue
        if np.median(_measure(rows, other).above) < ABOVE / 2:
            fitting.append(other.name)
    remedy = f"; layout {' or '.join(fitting)} fits" if fitting else ""
    share = f"{np.median(m.above):.0%}"
    found = f"{share} of the joints between head and feet farther up than the head"
    order = f"the order of joints of layout {layout.name} ({', '.join(layout.joints)})"
    return Finding(found, f"{order}{remedy}", True)


def _bones(m: _Measures, layout: Skeleton) -> list[Finding]:
    swing = np.median(m.swing, axis=0)
    loose = [e for e in np.argsort(-swing) if swing[e] > SWING]
    if not loose:
        return []
    bones = shown([" – ".join(layout.joints[v] for v in layout.edges[e]) for e in loose])
    found = f"bones that change their length while people move: {bones}"
    order = f"the order of joints of layout {layout.name}"
    return [Finding(found, f"bones of one length: is it {order}?", False)]


def _sides(m: _Measures) -> list[Finding]:
    if np.median(m.forwards) > BACKWARDS:
        return []
    remedy = "are left and right exchanged, or the axes left-handed (then negate one)?"
    found = "feet that point backwards, by the shoulders"
    return [Finding(found, f"them to point forwards: {remedy}", False)]
