from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asma.report import players
from asma.report.collect import ReportError

Illustrate = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(("layout", "bodies"), [("kinect_v2", 2), ("kinect_v1", 1)])
def test_what_is_read_is_what_was_written(tmp_path: Path, illustrate: Illustrate, layout: str, bodies: int) -> None:
    content = illustrate("demo_ntu_xsub", layout, bodies)
    path = tmp_path / "player.json"
    path.write_text(json.dumps(content))
    assert players.read(path) == content


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (["recordings"], [], "recordings: found"),
        (["recordings", 0, "scale"], 0, "recordings.0.scale: found '0': .* greater than 0"),
        (["recordings", 0, "colour"], "red", "recordings.0.colour: found 'red'"),
        (["recordings", 1, "label"], 3, "recordings.1.label: found 3, expected less than 3, the number of classes"),
        (["recordings", 0, "motion"], [0.1], "recordings.0.motion: found 1 values, expected 20, one a frame"),
        (["recordings", 0, "xyz"], "AAAA", "found 3 bytes, expected 6000: 20 frames, 25 joints, 2 bodies"),
        (["recordings", 0, "xyz"], "A?", "recordings.0.xyz: found 'A\\?' .* expected base64"),
        (["recordings", 0, "masks", "lowdeg_highmot", "joints"], [25], "found 25, expected less than 25"),
        (["recordings", 0, "masks", "lowdeg_highmot", "frames"], [20], "found 20, expected less than 20"),
        (["recordings", 0, "masks", "theta"], {"joints": [], "frames": []}, "'theta', expected one of lowdeg_highmot"),
        (["recordings", 0, "activation", "highdeg_lowmot"], [0.5], "found 1 values, expected 25, one a joint"),
        (
            ["recordings", 0, "predictions", 0, "top", 0, "class"],
            7,
            r"predictions\.0\.top: found 7, expected less than 3",
        ),
        (["recordings", 0, "predictions", 0, "top", 0, "probability"], 1.5, "less than or equal to 1"),
        (["bones"], [[0, 99]], "bones: found 99, expected less than 25, the number of joints"),
    ],
)
def test_what_cannot_be_shown_is_named(
    tmp_path: Path, illustrate: Illustrate, place: list[Any], value: Any, words: str
) -> None:
    content: Any = illustrate("demo_ntu_xsub")
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "player.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match=words) as caught:
        players.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "player.json"
    path.write_text('{\n"benchmark"')
    with pytest.raises(ReportError, match=r"player\.json:2: found .*, expected JSON"):
        players.read(path)


def test_players_are_those_of_the_benchmarks_in_their_order(tmp_path: Path, illustrate: Illustrate) -> None:
    for name in ("a_xsub", "b_xsub", "old_xsub"):
        path = tmp_path / "illustrate" / name / "player.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(illustrate(name, frames=4, recordings=1) if name != "old_xsub" else {}))
    assert list(players.collect(["b_xsub", "not_illustrated", "a_xsub"], tmp_path)) == ["b_xsub", "a_xsub"]
    (tmp_path / "illustrate" / "a_xsub").rename(tmp_path / "illustrate" / "c_xsub")
    with pytest.raises(ReportError, match="found 'a_xsub', expected 'c_xsub' as its folder says"):
        players.collect(["c_xsub"], tmp_path)
