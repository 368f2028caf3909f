from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asma import skeleton
from asma.skeleton import LayoutError, Skeleton

LAYOUTS = ("kinect_v1", "kinect_v1_sdk", "kinect_v2")
LEAF = {
    "joints": ["a", "b", "c", "d"],
    "edges": [["a", "b"], ["c", "b"], ["d", "c"]],
    "centre": "b",
    "shoulders": ["a", "c"],
    "mirror": [["a", "c"]],
}


def layout_file(folder: Path, **changes: Any) -> Path:
    path = folder / "odd.yaml"
    path.write_text(yaml.safe_dump({**LEAF, **changes}), encoding="utf-8")
    return path


def distances(s: Skeleton) -> np.ndarray:
    """Floyd–Warshall, written out."""
    V = len(s)
    d = np.full((V, V), np.inf)
    for v in range(V):
        d[v, v] = 0
    for a, b in s.edges:
        d[a, b] = d[b, a] = 1
    for via, a, b in itertools.product(range(V), repeat=3):
        d[a, b] = min(d[a, b], d[a, via] + d[via, b])
    return d


def partition(s: Skeleton, horizon: float) -> np.ndarray:
    """The three subsets entry by entry; beyond `horizon` hops from the centre all joints are
    equally far.
    """
    V, hops = len(s), distances(s)
    far = [hops[v, s.centre] if hops[v, s.centre] <= horizon else np.inf for v in range(V)]
    out = np.zeros((3, V, V))
    for w in range(V):
        inward = [v for v in range(V) if v == w or (v, w) in s.edges or (w, v) in s.edges]
        for v in inward:
            if v == w:
                subset = 0
            elif far[v] < far[w]:
                subset = 2
            else:
                subset = 1
            out[subset, v, w] = 1 / len(inward)
    return out


def test_kinect_v2_has_the_degrees_of_the_public_graph() -> None:
    expected = [3, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 1, 4, 1, 2, 1, 2]
    s = skeleton.load("kinect_v2")
    assert s.degree.tolist() == expected
    assert s.degree.sum() == 48


def test_kinect_v2_has_the_bones_of_the_public_graph() -> None:
    # child, parent, counted from 1
    expected = {
        (1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7),
        (9, 21), (10, 9), (11, 10), (12, 11), (13, 1), (14, 13), (15, 14), (16, 15),
        (17, 1), (18, 17), (19, 18), (20, 19), (22, 23), (23, 8), (24, 25), (25, 12),
    }  # fmt: skip
    s = skeleton.load("kinect_v2")
    assert {(child + 1, parent + 1) for child, parent in s.edges} == expected
    assert s.centre == 20 and s.parents[20] == 20
    assert s.shoulders == (4, 8)


def test_kinect_v2_mirrors_as_the_public_flip_does() -> None:
    expected = [
        0,
        1,
        2,
        3,
        8,
        9,
        10,
        11,
        4,
        5,
        6,
        7,
        16,
        17,
        18,
        19,
        12,
        13,
        14,
        15,
        20,
        23,
        24,
        21,
        22,
    ]
    assert list(skeleton.load("kinect_v2").mirror) == expected


def test_kinect_v2_is_twelve_bones_across() -> None:
    assert skeleton.load("kinect_v2").hops.max() == 12


def test_kinect_v1_has_twenty_joints_and_hangs_on_the_shoulder_centre() -> None:
    s = skeleton.load("kinect_v1")
    assert len(s) == 20 and len(s.edges) == 19
    assert s.joints[s.centre] == "shoulder centre"
    assert s.degree.tolist() == [1, 4, 2, 3, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 1]
    assert [s.joints[v] for v in s.shoulders] == ["left shoulder", "right shoulder"]
    assert [s.joints[v] for v in range(20) if s.mirror[v] == v] == [
        "head",
        "shoulder centre",
        "spine",
        "hip centre",
    ]


def test_kinect_v1_sdk_has_the_bones_of_kinect_v1_in_the_order_of_the_sdk() -> None:
    v1, sdk = skeleton.load("kinect_v1"), skeleton.load("kinect_v1_sdk")
    assert sdk.joints == (
        "hip centre", "spine", "shoulder centre", "head",
        "left shoulder", "left elbow", "left wrist", "left hand",
        "right shoulder", "right elbow", "right wrist", "right hand",
        "left hip", "left knee", "left ankle", "left foot",
        "right hip", "right knee", "right ankle", "right foot",
    )  # fmt: skip
    bones = [{(s.joints[a], s.joints[b]) for a, b in s.edges} for s in (v1, sdk)]
    assert bones[0] == bones[1] and sdk.joints[sdk.centre] == v1.joints[v1.centre]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_says_where_head_and_feet_are_and_the_way_between_them_runs_along_bones(
    name: str,
) -> None:
    s = skeleton.load(name)
    assert s.head is not None and s.joints[s.head] == "head"
    assert [s.joints[v] for v in s.feet] == ["left foot", "right foot"]
    way = s.way(s.head, s.feet[0])
    assert (way[0], way[-1], len(way)) == (s.head, s.feet[0], s.hops[s.head, s.feet[0]] + 1)
    assert all(s.hops[a, b] == 1 for a, b in itertools.pairwise(way))
    assert s.way(s.head, s.head) == [s.head]


@pytest.mark.parametrize("name", LAYOUTS)
def test_hops_are_the_shortest_ways(name: str) -> None:
    s = skeleton.load(name)
    np.testing.assert_array_equal(s.hops, distances(s))


@pytest.mark.parametrize("name", LAYOUTS)
def test_parents_lead_one_hop_nearer_to_the_centre(name: str) -> None:
    s = skeleton.load(name)
    for v in range(len(s)):
        if v != s.centre:
            assert s.hops[v, s.parents[v]] == 1
            assert s.hops[v, s.centre] == s.hops[s.parents[v], s.centre] + 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_mirror_undoes_itself_and_keeps_the_bones(name: str) -> None:
    s = skeleton.load(name)
    assert [s.mirror[s.mirror[v]] for v in range(len(s))] == list(range(len(s)))
    bones = {frozenset(edge) for edge in s.edges}
    assert {frozenset((s.mirror[a], s.mirror[b])) for a, b in s.edges} == bones
    for v, joint in enumerate(s.joints):
        swapped = joint.replace("left", "?").replace("right", "left").replace("?", "right")
        assert s.joints[s.mirror[v]] == swapped


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("kind", "horizon"), [("max_hop", 1), ("true_distance", np.inf)])
def test_the_adjacency_equals_an_entry_by_entry_partition(
    name: str, kind: str, horizon: float
) -> None:
    s = skeleton.load(name)
    np.testing.assert_allclose(s.adjacency(kind), partition(s, horizon), atol=1e-7)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", skeleton.PARTITIONS)
def test_columns_of_the_adjacency_sum_to_one(name: str, kind: str) -> None:
    np.testing.assert_allclose(skeleton.load(name).adjacency(kind).sum(axis=(0, 1)), 1, atol=1e-6)


def test_the_public_partition_is_split_around_the_centre_only() -> None:
    adjacency = skeleton.load("kinect_v2").adjacency()
    assert [(subset > 0).sum() for subset in adjacency] == [25, 40, 8]
    entries = {
        (j + 1, i + 1): adjacency[2, j, i] for j, i in zip(*np.nonzero(adjacency[2]), strict=True)
    }
    third, quarter, half = 1 / 3, 1 / 4, 1 / 2
    assert entries == pytest.approx(
        {
            (21, 2): third, (21, 3): third, (21, 5): third, (21, 9): third,
            (2, 1): quarter, (3, 4): half, (5, 6): third, (9, 10): third,
        }
    )  # fmt: skip


def test_true_distances_split_every_bone() -> None:
    adjacency = skeleton.load("kinect_v2").adjacency("true_distance")
    assert [(subset > 0).sum() for subset in adjacency] == [25, 24, 24]


def test_another_partition_is_an_error_that_names_both() -> None:
    with pytest.raises(
        ValueError, match="partition: found 'distance', expected one of max_hop, true_distance"
    ):
        skeleton.load("kinect_v2").adjacency("distance")


def test_a_layout_file_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    s = skeleton.load(str(layout_file(tmp_path)))
    assert s.name == "odd" and s.joints == ("a", "b", "c", "d")
    assert s.degree.tolist() == [1, 2, 2, 1]
    assert s.parents.tolist() == [1, 1, 1, 2]
    assert s.mirror == (2, 1, 0, 3)


def test_a_layout_without_sides_mirrors_nothing(tmp_path: Path) -> None:
    assert skeleton.load(str(layout_file(tmp_path, mirror=None))).mirror == (0, 1, 2, 3)


def test_an_unknown_layout_names_the_known_ones_and_where_a_new_one_goes() -> None:
    with pytest.raises(LayoutError) as caught:
        skeleton.load("mine")
    known = "kinect_v1, kinect_v1_sdk, kinect_v2"
    place = "a file of your own put at asma/layouts/mine.yaml"
    assert str(caught.value) == f"layout: found 'mine', expected one of {known}, or {place}"


def test_head_and_feet_may_be_left_out(tmp_path: Path) -> None:
    s = skeleton.load(str(layout_file(tmp_path)))
    assert s.head is None and s.feet == ()


@pytest.mark.parametrize(
    "names",
    [
        ("left shoulder", "right shoulder"),
        ("LShoulder", "RShoulder"),
        ("l_sho", "r_sho"),
        ("a", "c"),
    ],
)
def test_shoulders_that_change_places_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    left, right = names
    layout = {
        "joints": [left, "b", right, "d"],
        "edges": [[left, "b"], [right, "b"], ["d", right]],
        "mirror": [[left, right]],
    }
    path = layout_file(tmp_path, **layout, shoulders=[left, right])
    assert skeleton.load(str(path)).shoulders == (0, 2)
    skeleton.load.cache_clear()
    layout_file(tmp_path, **layout, shoulders=[right, left])
    with pytest.raises(LayoutError) as caught:
        skeleton.load(str(path))
    found = f"shoulders: found {[right, left]}, expected the left one first: {[left, right]}"
    assert str(caught.value) == f"{path}: {found}"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"more": 1}, r"top level: found .*'more'.* expected the fields"),
        ({"joints": ["a", "b", "b", "d"]}, r"joints: found \['b'\], expected each name once"),
        (
            {"edges": [["a", "b"], ["c", "b"], ["e", "c"]]},
            r"edges: found 'e', expected a name from joints",
        ),
        ({"edges": [["a", "b"], ["c", "b"], ["d"]]}, r"edges: found \['d'\], expected a pair"),
        (
            {"edges": [["a", "b"], ["c", "b"]]},
            r"edges: found \['d'\], expected each joint but the centre",
        ),
        (
            {"edges": [["a", "b"], ["c", "b"], ["b", "d"]]},
            r"edges: found \['d'\], expected each joint but the centre",
        ),
        (
            {"edges": [["a", "b"], ["c", "d"], ["d", "c"]]},
            r"edges: found 'a ring.*expected one tree",
        ),
        ({"centre": "x"}, r"centre: found 'x', expected a name from joints"),
        ({"shoulders": ["a"]}, r"shoulders: found \['a'\], expected two joint names"),
        ({"shoulders": ["a", "z"]}, r"shoulders: found 'z', expected a name from joints"),
        ({"shoulders": ["a", "a"]}, r"shoulders: found \['a', 'a'\], expected two different"),
        ({"shoulders": ["a", "d"]}, r"shoulders: found \['a', 'd'\], expected one of the pairs"),
        ({"head": "z", "feet": ["d"]}, r"head: found 'z', expected a name from joints"),
        ({"head": "a"}, r"feet: found \[\], expected joints other than the head"),
        ({"head": "a", "feet": ["d", "z"]}, r"feet: found 'z', expected a name from joints"),
        ({"head": "a", "feet": "d"}, r"feet: found 'd', expected a list"),
        (
            {"mirror": [["a", "c"], ["a", "d"]]},
            r"mirror: found .*expected each joint in one pair at most",
        ),
        ({"joints": None}, r"joints: found None, expected a list"),
        ({"edges": 3}, r"edges: found 3, expected a list"),
        ({"shoulders": "ab"}, r"shoulders: found 'ab', expected a list"),
        ({"mirror": 5}, r"mirror: found 5, expected a list"),
        ({"mirror": [["a", "z"]]}, r"mirror: found 'z', expected a name from joints"),
    ],
)
def test_a_bad_layout_file_is_an_error_that_names_file_and_field(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = layout_file(tmp_path, **changes)
    with pytest.raises(LayoutError, match=complaint) as caught:
        skeleton.load(str(path))
    assert str(path) in str(caught.value)


def test_a_layout_file_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(LayoutError, match=r"list\.yaml: top level"):
        skeleton.load(str(path))


def test_a_layout_file_that_is_no_yaml_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("joints: [a", encoding="utf-8")
    with pytest.raises(LayoutError, match=r"broken\.yaml: not valid YAML"):
        skeleton.load(str(path))


def test_two_layouts_do_not_share_an_encoder() -> None:
    v1, v2 = skeleton.load("kinect_v1"), skeleton.load("kinect_v2")
    skeleton.same(v2, v2, "here")
    with pytest.raises(LayoutError, match="transfer x: found layouts kinect_v2 and kinect_v1"):
        skeleton.same(v2, v1, "transfer x")
