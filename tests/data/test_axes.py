from __future__ import annotations

import numpy as np
import pytest

from asma.data.axes import TURNS, UNITS, original, upright

AXES = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}


def unit_vector(axis: str) -> np.ndarray:
    return np.array(AXES[axis[-1]], np.float32) * (-1 if axis[0] == "-" else 1)


@pytest.mark.parametrize("up", sorted(TURNS))
def test_the_axis_that_points_up_becomes_y_by_a_rotation_and_no_reflection(up: str) -> None:
    turn = upright(np.eye(3, dtype=np.float32), up).T
    np.testing.assert_array_equal(turn @ unit_vector(up), [0, 1, 0])
    np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == 1


@pytest.mark.parametrize("up", sorted(TURNS))
@pytest.mark.parametrize("axis", sorted(TURNS))
def test_a_turned_axis_is_told_by_the_name_that_it_had(up: str, axis: str) -> None:
    turned = upright(unit_vector(original(axis, up)), up)
    np.testing.assert_array_equal(turned, unit_vector(axis))


@pytest.mark.parametrize(("unit", "metres"), [("m", 1.0), ("cm", 0.01), ("mm", 0.001)])
def test_every_unit_becomes_metres(unit: str, metres: float) -> None:
    assert sorted(UNITS) == ["cm", "m", "mm"]
    xyz = upright(np.ones((2, 3), np.float32), "y", unit)
    np.testing.assert_allclose(xyz, metres, rtol=1e-6)
    assert xyz.dtype == np.float32


def test_what_is_upright_and_in_metres_is_not_touched() -> None:
    xyz = np.ones((4, 3), np.float32)
    assert upright(xyz) is xyz
