"""Somebody whose posture is plausible, for tests of what looks at it."""

from __future__ import annotations

import numpy as np

from asma import skeleton


def person(frames: int = 4) -> np.ndarray:
    """Somebody standing, in the joints of kinect_v1, (T, 20, 3) in metres with y up."""
    layout = skeleton.load("kinect_v1")
    joints = np.zeros((20, 3))
    height = {"head": 1.6, "shoulder centre": 1.4, "spine": 1.1, "hip centre": 0.9}
    across = {"shoulder": 0.2, "elbow": 0.45, "wrist": 0.7, "hand": 0.78, "hip": 0.1}
    for v, name in enumerate(layout.joints):
        part = name.split()[-1]
        low = {"knee": 0.5, "ankle": 0.1, "foot": 0.05, "hip": 0.85}.get(part, 1.3)
        joints[v, 1] = height.get(name, low)
        joints[v, 0] = across.get(part, 0.1) * (("right" in name) - ("left" in name))
        joints[v, 2] = -0.1 * (part == "foot") + 3
    return np.tile(joints, (frames, 1, 1))
