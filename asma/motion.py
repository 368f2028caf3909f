"""Clip → motion score, Eq. 3–4: how much the body moves at each frame.

Eq. 3 is a norm (one number a joint), Eq. 4 averages its components as if it were still C × V, and
the text says "average joint displacement". Read here as the Euclidean displacement of each joint,
averaged over joints and bodies; a signed average would cancel. `squared` is the mean square over
channels, joints and bodies that PSTL's code uses. Eq. 3 gives T − 1 values: the last frame repeats
the one before (`repeat`), because a zero there (`zero`, PSTL) would make it the lowest of every
clip.

Scores are of the stream that is learnt from, as in PSTL's code. A motion stream ends in a frame of
zeros, so that its last step is the speed itself, and its last two scores stand higher than the
accelerations before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MEASURES = ("displacement", "squared")
LAST = ("repeat", "zero")


@dataclass(frozen=True)
class Motion:
    """Section `motion` of the parameters."""

    measure: str = "displacement"
    last: str = "repeat"

    def __post_init__(self) -> None:
        for key, value, known in (("measure", self.measure, MEASURES), ("last", self.last, LAST)):
            if value not in known:
                raise ValueError(
                    f"motion.{key}: found {value!r}, expected one of {', '.join(known)}"
                )


def score(x: Tensor, how: Motion | None = None) -> Tensor:
    """Motion score of each frame of x (N, C, T, V, M): (N, T) float, metres a frame (or its
    square). Eq. 3–4.
    """
    how = how or Motion()
    step = x[:, :, 1:] - x[:, :, :-1]
    if how.measure == "squared":
        scores = step.square().mean(dim=(1, 3, 4))
    else:
        scores = torch.linalg.vector_norm(step, dim=1).mean(dim=(2, 3))
    last = scores[:, -1:] if how.last == "repeat" else torch.zeros_like(scores[:, -1:])
    return torch.cat([scores, last], dim=1)
