from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asma import illustration
from asma.illustration import Illustrate


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"mode": "probed"}, "illustrate.mode: found 'probed', expected one of pretrain, finetune"),
        ({"recordings": 0}, "illustrate.recordings: found 0, expected 1 or more"),
        ({"draws": 0}, "illustrate.draws: found 0"),
        ({"classes": -1}, "illustrate.classes: found -1"),
        ({"clips": 0}, "illustrate.clips: found 0"),
    ],
)
def test_a_value_that_shows_nothing_is_named(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Illustrate(**values)


def test_a_stream_that_is_not_in_the_table_says_what_to_change() -> None:
    Illustrate(stream="bone").check(["joint", "bone"])
    with pytest.raises(
        ValueError, match="illustrate.stream: found 'joint', expected one of streams: bone, motion"
    ):
        Illustrate().check(["bone", "motion"])


def test_the_same_arrays_are_the_same_bytes(tmp_path: Path) -> None:
    arrays = {
        "names": np.array(["a", "bc"]),
        "values": np.arange(6.0).reshape(2, 3),
        "none": np.zeros((0, 4)),
    }
    for place in ("one", "two"):
        illustration.save(tmp_path / place / "figures.npz", arrays)
    assert (tmp_path / "one/figures.npz").read_bytes() == (
        tmp_path / "two/figures.npz"
    ).read_bytes()
    with np.load(tmp_path / "one/figures.npz", allow_pickle=False) as file:
        assert all(np.array_equal(file[key], value) for key, value in arrays.items())
