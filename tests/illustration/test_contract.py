from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from asma.illustration import contract, player

ENCODERS = ["lowdeg_highmot", "highdeg_lowmot"]
MASKS = ["recordings", 0, "masks", ENCODERS[0]]
TOP = ["recordings", 0, "predictions", 0, "top", 0]


def document() -> Any:
    """A player.json of two recordings of two bodies."""
    T, V, M = 20, 25, 2
    draw = np.random.default_rng(0)
    xyz = draw.integers(-1000, 1000, (T, V, M, 3)).astype("<i2")
    masks = {encoder: {"joints": [1, 2], "frames": [3]} for encoder in ENCODERS}
    moved = draw.random(T).round(5).tolist()
    likely = [{"class": 2, "probability": 0.7}]
    one = {
        "name": "a",
        "label": 0,
        "frames": T,
        "bodies": M,
        "scale": 0.001,
        "xyz": base64.b64encode(xyz.tobytes()).decode(),
        "motion": moved,
        **player.staged(xyz * 0.001, moved, masks),
        "masks": masks,
        "activation": {encoder: draw.random(V).round(3).tolist() for encoder in ENCODERS},
        "predictions": [{"model": "both", "stream": "joint", "top": likely}],
    }
    return {
        "benchmark": "toy_xsub",
        "demonstration": True,
        "layout": "kinect_v2",
        "joints": [f"joint {v}" for v in range(V)],
        "bones": [[v, v - 1] for v in range(1, V)],
        "classes": ["sit", "stand", "jump"],
        "encoders": ENCODERS,
        "recordings": [one, {**one, "name": "b"}],
    }


def test_what_fits_may_be_shown() -> None:
    contract.check(document())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (["recordings"], [], "recordings: found"),
        (["recordings", 0, "scale"], 0, "recordings.0.scale: found '0': .* greater than 0"),
        (["recordings", 0, "colour"], "red", "recordings.0.colour: found 'red'"),
        (
            ["recordings", 1, "label"],
            3,
            "1.label: found 3, expected less than 3, the number of classes",
        ),
        (["recordings", 0, "motion"], [0.1], "0.motion: found 1, expected 20 values, one a frame"),
        (
            ["recordings", 0, "xyz"],
            "AAAA",
            "found 3, expected 6000 bytes: 20 frames, 25 joints, 2 bodies",
        ),
        (["recordings", 0, "xyz"], "A?", "recordings.0.xyz: found 'A\\?' .* expected base64"),
        ([*MASKS, "joints"], [25], "found 25, expected less than 25"),
        ([*MASKS, "frames"], [20], "found 20, expected less than 20"),
        ([*MASKS[:3], "theta"], {"joints": [], "frames": []}, "'theta', expected one of lowdeg"),
        (["recordings", 0, "activation", ENCODERS[1]], [0.5], "found 1, expected 25 values"),
        (
            ["recordings", 0, "predictions", 0, "top", 0, "class"],
            7,
            r"predictions\.0\.top: found 7, expected less than 3",
        ),
        ([*TOP, "probability"], 1.5, "less than or equal to 1"),
        (["bones"], [[0, 99]], "bones: found 99, expected less than 25, the number of joints"),
        (["recordings", 0, "places"], [], "places: found 0, expected 2 values, one a body"),
        (["recordings", 0, "whole"], [3, 20], "whole: found 20, expected less than 20"),
        (["recordings", 0, "opens", ENCODERS[1]], 21, "opens: found 21, expected less than 20"),
    ],
)
def test_what_cannot_be_shown_is_named(place: list[Any], value: Any, words: str) -> None:
    content = document()
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=words):
        contract.check(content)
