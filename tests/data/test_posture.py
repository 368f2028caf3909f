from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asma import skeleton
from asma.data import posture
from asma.data.axes import TURNS, UNITS, upright
from asma.data.parse import parse
from asma.data.posture import Finding, Sample, judge
from asma.data.recordings import of_slots
from demo.synthetic import Synthesize, write_ntu, write_pku
from tests.data.people import person

V1, SDK = skeleton.load("kinect_v1"), skeleton.load("kinect_v1_sdk")


def sample(*recordings: np.ndarray) -> Sample:
    """Of recordings (T, V, 3)."""
    found = Sample()
    for i, xyz in enumerate(recordings):
        found.count(of_slots(xyz[:, None], f"r{i:04}"))
    return found


def judged(xyz: np.ndarray, up: str = "y", unit: str = "m") -> list[Finding]:
    return judge(sample(xyz, xyz), V1, up, unit)


def moving(frames: int = 20) -> np.ndarray:
    """Somebody who waves: the left arm turns about its shoulder, no bone changes its length."""
    xyz = person(frames)
    arm = [V1.joints.index(f"left {part}") for part in ("elbow", "wrist", "hand")]
    shoulder = xyz[:, [V1.joints.index("left shoulder")]]
    angle = np.linspace(-1.5, 1.5, frames)[:, None]
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = np.moveaxis(xyz[:, arm] - shoulder, -1, 0)
    xyz[:, arm] = shoulder + np.stack([c * x - s * y, s * x + c * y, z], axis=-1)
    return xyz


def test_somebody_who_stands_and_waves_is_plausible() -> None:
    assert judged(moving()) == []


def test_the_demonstration_is_plausible(tmp_path: Path) -> None:
    how = Synthesize(subjects=2, replications=1, videos=2, instances=4)
    write_ntu(tmp_path / "ntu", how)
    write_pku(tmp_path / "pku", how)
    for format in ("ntu", "pku"):
        report = parse(
            tmp_path / format,
            tmp_path / "out.h5",
            dataset="demo",
            format=format,
            layout="kinect_v2",
            joints=25,
            skeleton=skeleton.load("kinect_v2"),
            progress=False,
        )
        assert report.recordings and report.notes == []


def of_axes(xyz: np.ndarray, up: str) -> np.ndarray:
    """Positions with y up as somebody would record them whose `up` is another axis."""
    turn = upright(np.eye(3), up).T
    return xyz @ turn  # its inverse, applied to rows


@pytest.mark.parametrize("said", sorted(TURNS))
@pytest.mark.parametrize("true", sorted(TURNS))
def test_another_axis_than_the_one_said_is_recognised_and_named(said: str, true: str) -> None:
    recorded = of_axes(person(), true)
    findings = judged(upright(recorded, said), said)
    if said == true:
        assert findings == []
        return
    (finding,) = findings
    assert finding.certain and f"set `up: {true}`" in finding.expected
    assert finding.found == f"the head above the feet along {true} in 2 of 2 recordings"


@pytest.mark.parametrize("said", sorted(UNITS))
@pytest.mark.parametrize("true", sorted(UNITS))
def test_another_unit_than_the_one_said_is_recognised_and_named(said: str, true: str) -> None:
    findings = judged(person() / UNITS[true] * UNITS[said], unit=said)
    if said == true:
        assert findings == []
        return
    (finding,) = findings
    assert finding.certain and f"set `unit: {true}`" in finding.expected


def test_a_body_of_no_known_unit_is_doubted() -> None:
    (finding,) = judged(person() * 6)
    assert not finding.certain
    assert finding.found.endswith(" m from head to feet along the bones")
    assert finding.expected.startswith("0.5 to 3 m: are `unit` and the layout's order")


def test_joints_in_the_order_of_the_other_kinect_layout_are_recognised_both_ways() -> None:
    swapped = person()[:, [3, 2, 1, 0, *range(4, 20)]]
    for xyz, said, fitting in ((swapped, V1, SDK), (person(), SDK, V1)):
        (finding,) = judge(sample(xyz), said)
        assert finding.certain and "farther up than the head" in finding.found
        order = f"the order of joints of layout {said.name} ({said.joints[0]}, "
        assert finding.expected.startswith(order)
        assert finding.expected.endswith(f"layout {fitting.name} fits")
    (finding,) = judge(sample(of_axes(swapped, "z") * 1000), V1)
    assert "farther up than the head" in finding.found


def test_hands_that_change_places_are_noticed_by_their_bones() -> None:
    order = np.arange(20)
    hands = [V1.joints.index("left hand"), V1.joints.index("right hand")]
    order[hands] = hands[::-1]
    xyz = moving()[:, order]
    (finding,) = judged(xyz)
    assert not finding.certain
    assert "left hand – left wrist" in finding.found and "right knee" not in finding.found


def test_mirrored_people_are_doubted() -> None:
    (finding,) = judged(person() * [-1, 1, 1])
    assert not finding.certain and finding.found == "feet that point backwards, by the shoulders"


def test_people_who_lie_this_way_and_that_are_doubted_and_not_refused() -> None:
    lying = [of_axes(person(), up) for up in ("x", "-x", "z", "-z")]
    (finding,) = judge(sample(*lying), V1)
    assert not finding.certain and "is y the axis that points up" in finding.expected


def test_a_few_recordings_may_be_otherwise_but_not_many() -> None:
    standing, lying = [person()] * 95, [of_axes(person(), "z")] * 5
    assert judge(sample(*standing, *lying), V1) == []
    (finding,) = judge(sample(*standing, *lying, *lying[:1]), V1)
    assert not finding.certain
    assert "6 of 101 recordings with the head not above the feet: r0095, " in finding.found
    small = [person() / 5] * 6
    (finding,) = judge(sample(*standing, *small), V1)
    assert not finding.certain
    assert finding.found.startswith("6 of 101 recordings with bodies of another size: r0095, ")


def test_a_layout_without_head_and_feet_says_that_nothing_was_checked() -> None:
    (finding,) = judge(sample(person()), replace(V1, head=None, feet=()))
    assert not finding.certain and "which way is up was not checked" in finding.found


def test_what_is_unknown_or_not_there_says_nothing() -> None:
    xyz = person(6)
    xyz[:3, 4] = np.nan
    assert judged(xyz) == []
    assert judge(sample(np.full((3, 20, 3), np.nan), np.zeros((3, 20, 3))), V1) == []


def test_a_sample_is_spread_over_all_recordings_and_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posture, "MOST", 8)
    found = sample(*[person(30) + i for i in range(100)])
    assert len(found.rows) <= 8 and all(len(rows) == posture.ROWS for rows in found.rows)
    assert found.names == [f"r{i:04}" for i in range(0, 100, 16)]
    for name, rows in zip(found.names, found.rows, strict=True):
        np.testing.assert_allclose(rows[0], person()[0] + int(name[1:]), rtol=1e-6)
