"""One skeleton, and all that follows from it: parents, degrees, hops, adjacency, mirror.

A layout is a data file, `asma/layouts/<name>.yaml` (or any path to such a file): joint names, edges
(child first), the centre joint, the two shoulders, the pairs that a left-right flip exchanges,
and, for the check that people stand on their feet, head and feet. Nothing else in the project
knows how many joints there are or how they hang together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LAYOUTS = Path(__file__).parent / "layouts"
PARTITIONS = ("max_hop", "true_distance")


class LayoutError(ValueError):
    """A layout file that is not a tree of named joints."""


@dataclass(frozen=True)
class Skeleton:
    """Joints and bones of one sensor layout. V joints form a tree with V − 1 edges."""

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]  # (child, parent): the parent is nearer to the centre
    centre: int
    shoulders: tuple[int, int]
    # mirror[v] is the joint that v becomes when left and right change places
    mirror: tuple[int, ...]
    head: int | None = None  # head and feet: None and () where the layout does not name them
    feet: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def degree(self) -> np.ndarray:
        """Number of neighbours of each joint, (V,) int64: d_v of Eq. 1."""
        degree = np.zeros(len(self), dtype=np.int64)
        for child, parent in self.edges:
            degree[child] += 1
            degree[parent] += 1
        return degree

    @cached_property
    def parents(self) -> np.ndarray:
        """Joint that each joint hangs on, (V,) int64; the centre is its own parent."""
        parents = np.arange(len(self))
        for child, parent in self.edges:
            parents[child] = parent
        return parents

    @cached_property
    def hops(self) -> np.ndarray:
        """Number of edges between each two joints, (V, V) int64."""
        V = len(self)
        neighbours: list[list[int]] = [[] for _ in range(V)]
        for child, parent in self.edges:
            neighbours[child].append(parent)
            neighbours[parent].append(child)
        hops = np.full((V, V), -1)
        for start in range(V):
            hops[start, start], frontier = 0, [start]
            while frontier:
                joint = frontier.pop(0)
                for other in neighbours[joint]:
                    if hops[start, other] < 0:
                        hops[start, other] = hops[start, joint] + 1
                        frontier.append(other)
        return hops

    def way(self, start: int, end: int) -> list[int]:
        """The joints from one to another along the bones, both ends among them."""
        joints = [start]
        while joints[-1] != end:
            joints.append(int(np.flatnonzero(
                (self.hops[joints[-1]] == 1) & (self.hops[end] == self.hops[end, joints[-1]] - 1)
            )[0]))  # fmt: skip
        return joints

    def adjacency(self, partition: str = "max_hop") -> np.ndarray:
        """Column-normalised adjacency in the three subsets of ST-GCN's 'spatial' partition, (3, V,
        V) float32.

        Entry [k, v, w] carries joint v to joint w. Subset 0 holds the self-loops; an edge v → w is
        in subset 1 where v is as far from the centre as w or further, in subset 2 where v is
        nearer. All columns sum to 1 over the three subsets.

        `max_hop` (default) repeats the public ST-GCN code, on which the paper's encoder rests: it
        knows distances only up to one hop, so any two joints beyond count as equally far and only
        the edges at the centre and next to it are split. `true_distance` uses the real distances.

        Raises ValueError on another partition name.
        """
        if partition not in PARTITIONS:
            raise ValueError(
                f"partition: found {partition!r}, expected one of {', '.join(PARTITIONS)}"
            )
        V = len(self)
        links = (self.hops <= 1).astype(np.float64)
        normalised = links / links.sum(axis=0, keepdims=True)
        distance = self.hops[:, self.centre].astype(np.float64)
        if partition == "max_hop":
            distance = np.where(distance <= 1, distance, np.inf)
        subsets = np.zeros((3, V, V))
        for v, w in zip(*np.nonzero(links), strict=True):
            subset = 0 if v == w else (1 if distance[v] >= distance[w] else 2)
            subsets[subset, v, w] = normalised[v, w]
        return subsets.astype(np.float32)


@lru_cache
def load(layout: str) -> Skeleton:
    """The skeleton of a layout in `asma/layouts`, by its name, or of a layout file's path.

    Raises LayoutError naming the file, the field, what was found and what was expected.
    """
    path = Path(layout) if layout.endswith((".yaml", ".yml")) else LAYOUTS / f"{layout}.yaml"
    if not path.is_file():
        place = f"{LAYOUTS.parent.name}/{LAYOUTS.name}/{path.stem}.yaml"
        expected = f"one of {', '.join(known())}, or a file of your own put at {place}"
        raise LayoutError(f"layout: found {layout!r}, expected {expected}")
    return _read(path)


def known() -> list[str]:
    """The names of the layouts in `asma/layouts`, sorted."""
    return sorted(path.stem for path in LAYOUTS.glob("*.yaml"))


def _read(path: Path) -> Skeleton:
    def fail(field: str, found: object, expected: str) -> LayoutError:
        return LayoutError(f"{path}: {field}: found {found!r}, expected {expected}")

    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise LayoutError(f"{path}: not valid YAML: {error}") from error
    fields, more = {"joints", "edges", "centre", "shoulders", "mirror"}, {"head", "feet"}
    if not isinstance(content, dict) or set(content) - more != fields:
        found = sorted(map(str, content)) if isinstance(content, dict) else content
        raise fail("top level", found, f"the fields {sorted(fields)}, perhaps {sorted(more)}")
    content = {"head": None, "feet": [], **content}
    if content["mirror"] is None:  # `mirror:` with nothing below it
        content["mirror"] = []
    for field in ("joints", "edges", "shoulders", "mirror", "feet"):
        if not isinstance(content[field], list):
            raise fail(field, content[field], "a list")
    names = [str(name) for name in content["joints"]]
    if len(set(names)) != len(names):
        raise fail("joints", sorted({n for n in names if names.count(n) > 1}), "each name once")
    index = {name: v for v, name in enumerate(names)}

    def joint(field: str, name: object) -> int:
        if str(name) not in index:
            raise fail(field, name, f"a name from joints ({', '.join(names)})")
        return index[str(name)]

    def pairs(field: str) -> list[tuple[int, int]]:
        for pair in content[field]:
            if not isinstance(pair, list) or len(pair) != 2:
                raise fail(field, pair, "a pair of joint names")
        return [(joint(field, a), joint(field, b)) for a, b in content[field]]

    edges, centre = pairs("edges"), joint("centre", content["centre"])
    shoulders = [joint("shoulders", name) for name in content["shoulders"]]
    if len(shoulders) != 2:
        raise fail("shoulders", content["shoulders"], "two joint names")
    if shoulders[0] == shoulders[1]:
        raise fail("shoulders", content["shoulders"], "two different joints, the left one first")
    head = None if content["head"] is None else joint("head", content["head"])
    feet = tuple(joint("feet", name) for name in content["feet"])
    if (head is None) != (not feet) or head in feet:
        raise fail("feet", content["feet"], "joints other than the head, or neither head nor feet")
    children = [child for child, _ in edges]
    missing = [names[v] for v in range(len(names)) if v != centre and children.count(v) != 1]
    if missing or centre in children or len(edges) != len(names) - 1:
        raise fail(
            "edges", missing or names[centre], "each joint but the centre as a child exactly once"
        )
    mirror = list(range(len(names)))
    for left, right in pairs("mirror"):
        mirror[left], mirror[right] = right, left
    if sorted(mirror) != list(range(len(names))) or any(
        mirror[mirror[v]] != v for v in range(len(names))
    ):
        raise fail("mirror", content["mirror"], "each joint in one pair at most")
    left, right = shoulders
    if any(v != mirror[v] for v in range(len(names))) and mirror[left] != right:
        raise fail("shoulders", content["shoulders"], "one of the pairs of mirror")
    sides = (_side(names[left]), _side(names[right]))
    exchanged = sides == ("", "") and (right, left) in pairs("mirror")
    if exchanged or sides[0] == "right" or sides[1] == "left":
        expected = f"the left one first: {[names[right], names[left]]}"
        raise fail("shoulders", content["shoulders"], expected)
    skeleton = Skeleton(
        path.stem,
        tuple(names),
        tuple(edges),
        centre,
        (left, right),
        tuple(mirror),
        head,
        feet,
    )
    if (skeleton.hops < 0).any():
        raise fail("edges", "a ring apart from the centre", "one tree that reaches every joint")
    return skeleton


def _side(name: str) -> str:
    """The side that a joint's name says, `left shoulder`, `LShoulder`, `r_sho`; "" for none."""
    for side in ("left", "right"):
        if side in name.lower() or re.match(rf"{side[0]}[ _.-]|{side[0].upper()}[A-Z]", name):
            return side
    return ""


def same(a: Skeleton, b: Skeleton, where: str) -> None:
    """Raise LayoutError unless an encoder of one skeleton fits the other."""
    if a != b:
        raise LayoutError(
            f"{where}: found layouts {a.name} and {b.name}, expected one and the same"
        )
