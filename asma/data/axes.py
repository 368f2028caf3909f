"""Which way is up and how long a metre is: positions of any axes and unit → metres, y up.

Recordings are kept as a Kinect sees people: right-handed, y up, z away from the sensor. Positions
get there by a rotation and a scale and never by a reflection, so that left stays left:

    up: z    (x, y, z) → (x, z, -y)         up: -z   (x, y, z) → (x, -z, y)
    up: x    (x, y, z) → (-y, x, z)         up: -x   (x, y, z) → (y, -x, z)
    up: -y   (x, y, z) → (-x, -y, z), as images and OpenCV's cameras count

Left-handed axes (Unity, DirectX) stay so: no rotation makes them right-handed. Whoever has them
negates one horizontal axis before; `posture` tells, as the feet of such people point backwards.
"""

from __future__ import annotations

import numpy as np

# up → which axis x, y and z come from, and with which sign: rotations, the determinant is +1
TURNS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "x": ((1, 0, 2), (-1, 1, 1)),
    "-x": ((1, 0, 2), (1, -1, 1)),
    "y": ((0, 1, 2), (1, 1, 1)),
    "-y": ((0, 1, 2), (-1, -1, 1)),
    "z": ((0, 2, 1), (1, 1, -1)),
    "-z": ((0, 2, 1), (1, -1, 1)),
}
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}


def upright(xyz: np.ndarray, up: str = "y", unit: str = "m") -> np.ndarray:
    """Positions (..., 3) of any axes and unit in metres, y up; what is so is not copied."""
    if (up, unit) == ("y", "m"):
        return xyz
    order, signs = TURNS[up]
    return xyz[..., order] * (np.array(signs, xyz.dtype) * xyz.dtype.type(UNITS[unit]))


def original(axis: str, up: str) -> str:
    """What an axis (`y`, `-z`) of positions that `upright` turned was called before."""
    order, signs = TURNS[up]
    place = "xyz".index(axis[-1])
    negative = (axis[0] == "-") != (signs[place] < 0)
    return "-" * negative + "xyz"[order[place]]
