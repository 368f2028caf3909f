"""Geometric augmentations T(·): temporal crop → shear → rotation → left-right flip → proportions.

The paper names crop, rotation and flip and says no more; order, strengths and ranges are those of
PSTL's code, on which it builds. One draw a sample; one a batch (`draw: batch`) is PSTL's way and
learns far less on small sets. Proportions are not of the paper: each joint's distance from the
centre is scaled by a factor of its own, the same in all frames. With few people, who it is is what
all views of a recording share, and an encoder learns that first; so it is taken away from them.

Choosing (`sample`) and applying (`apply`) are two functions: the crop is an index map that also
carries the motion scores along; shear and rotation are one 3 × 3 matrix. Where a batch has several
views, what was drawn for them is computed together (`numbers` for each, then `drawn`): a step of a
dozen small operations once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

DRAWS = ("sample", "batch")


@dataclass(frozen=True)
class Augment:
    """Section `augment` of the parameters."""

    crop: int = 6  # mirror T // crop frames onto each end, keep T from a random start; 0 = off
    shear: float = 1.0  # off-diagonal entries uniform in (−shear, shear); 0 = off
    rotate: float = 30.0  # degrees, uniform from 0, about one axis drawn at random; 0 = off
    tilt: float = 1.0  # degrees, uniform from 0, about the other two
    flip: float = 0.5  # probability that left and right change places (x is not negated)
    draw: str = "sample"  # one draw a sample, or one a batch (PSTL)
    proportions: float = 0.0  # factors of the joints uniform in (1 − p, 1 + p); 0 = off

    def __post_init__(self) -> None:
        if self.draw not in DRAWS:
            raise ValueError(
                f"augment.draw: found {self.draw!r}, expected one of {', '.join(DRAWS)}"
            )
        for key in ("crop", "shear", "rotate", "tilt", "proportions"):
            if getattr(self, key) < 0:
                raise ValueError(f"augment.{key}: found {getattr(self, key)}, expected 0 or more")
        if self.proportions >= 1:  # a joint would change sides through the centre
            raise ValueError(f"augment.proportions: found {self.proportions}, expected less than 1")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"augment.flip: found {self.flip}, expected a probability")

    def pad(self, T: int) -> int:
        """Frames mirrored onto each end of T."""
        return T // self.crop if self.crop else 0

    def without(self, names: list[str]) -> Augment:
        """The same with some switched off, e.g. no flip where classes name a side.

        Raises ValueError on a name that is no augmentation.
        """
        off: dict[str, dict[str, float]] = {
            "crop": {"crop": 0},
            "shear": {"shear": 0.0},
            "rotate": {"rotate": 0.0, "tilt": 0.0},
            "flip": {"flip": 0.0},
        }
        changed = self
        for name in names:
            if name not in off:
                raise ValueError(f"without: found {name!r}, expected any of {', '.join(off)}")
            changed = replace(changed, **off[name])  # type: ignore[arg-type]  # crop is a whole number
        return changed


class Numbers(NamedTuple):
    """The random numbers behind an augmentation of N samples; uniform in [0, 1) where nothing else
    is said.
    """

    start: Tensor  # (N,) int64, first frame kept of the clip with its mirrored ends
    shear: Tensor  # (N, 3, 3)
    tilt: Tensor  # (N, 3), of every axis
    axis: Tensor  # (N, 1) int64, the one turned about most
    turn: Tensor  # (N, 1)
    flip: Tensor  # (N,)
    factors: Tensor  # (N, V·M), or (N, 0) where they are off


@dataclass(frozen=True)
class Draw:
    """What was drawn for a batch of N samples."""

    frames: Tensor  # (N, T) int64: frame t of the view is frame frames[n, t] of the clip
    matrix: Tensor  # (N, 3, 3): channel map, applied to column vectors
    flip: Tensor  # (N,) bool
    factors: Tensor | None = None  # (N, V·M): of every joint of every body; None: as they are

    def __getitem__(self, samples: slice) -> Draw:
        """What was drawn for some of the samples."""
        factors = None if self.factors is None else self.factors[samples]
        return Draw(self.frames[samples], self.matrix[samples], self.flip[samples], factors)


def crop_frames(start: Tensor, T: int, pad: int) -> Tensor:
    """Index map of a temporal crop: pad frames mirrored onto each end (the edge frame repeats), T
    kept from `start`.

    start (N,) in 0 … 2·pad → (N, T) frame numbers.
    """
    position = start[:, None] + torch.arange(T, device=start.device) - pad
    position = torch.where(position < 0, -1 - position, position)
    return torch.where(position >= T, 2 * T - 1 - position, position)


def rotation(angles: Tensor) -> Tensor:
    """Rotation matrices about x, then y, then z: angles (N, 3) in radians → (N, 3, 3)."""
    c, s = angles.cos(), angles.sin()
    one, zero = torch.ones_like(c[:, 0]), torch.zeros_like(c[:, 0])

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=1).view(-1, 3, 3)

    x = matrix(one, zero, zero, zero, c[:, 0], -s[:, 0], zero, s[:, 0], c[:, 0])
    y = matrix(c[:, 1], zero, s[:, 1], zero, one, zero, -s[:, 1], zero, c[:, 1])
    z = matrix(c[:, 2], -s[:, 2], zero, s[:, 2], c[:, 2], zero, zero, zero, one)
    return z @ y @ x


def numbers(how: Augment, N: int, T: int, generator: Generator, columns: int = 0) -> Numbers:
    """Random numbers for N samples of T frames and V·M columns, on the generator's device."""
    device, draws = generator.device, 1 if how.draw == "batch" else N

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    found = Numbers(
        start=torch.randint(0, 2 * how.pad(T) + 1, (draws,), generator=generator, device=device),
        shear=uniform(draws, 3, 3),
        tilt=uniform(draws, 3),
        axis=torch.randint(0, 3, (draws, 1), generator=generator, device=device),
        turn=uniform(draws, 1),
        flip=uniform(draws),
        factors=uniform(draws, columns if how.proportions else 0),
    )
    return (
        found if draws == N else Numbers(*(number.expand(N, *number.shape[1:]) for number in found))
    )


def drawn(how: Augment, T: int, *views: Numbers) -> Draw:
    """What the numbers of several views of T frames say, one view after another: a draw of views·N
    samples.
    """
    found = Numbers(*map(torch.cat, zip(*views, strict=True)))
    eye = torch.eye(3, device=found.shear.device)
    shear = (found.shear * 2 - 1) * how.shear * (1 - eye) + eye
    angles = (found.tilt * math.radians(how.tilt)).scatter(
        1, found.axis, found.turn * math.radians(how.rotate)
    )
    with torch.autocast(eye.device.type, enabled=False):
        matrix = rotation(angles) @ shear
    factors = 1 + (found.factors * 2 - 1) * how.proportions if how.proportions else None
    return Draw(crop_frames(found.start, T, how.pad(T)), matrix, found.flip < how.flip, factors)


def sample(how: Augment, N: int, T: int, generator: Generator, columns: int = 0) -> Draw:
    """Draw an augmentation for N samples of T frames and V·M columns, on the generator's device."""
    return drawn(how, T, numbers(how, N, T, generator, columns))


def sides(x: Tensor, mirror: Tensor, how: Augment) -> Tensor:
    """Clips as they are and with left and right exchanged: x (N, C, T, V, M), mirror (V,) → (2, N,
    C, T, V, M).

    Made once a batch, all its views choose from it; (1, N, C, T, V, M) where the flip is off.
    """
    if not how.flip:
        return x[None]
    V, M = x.shape[3:]
    columns = (mirror[:, None] * M + torch.arange(M, device=x.device)).flatten()
    both = x.new_empty(2, *x.shape)
    both[0] = x
    # a selection of columns takes an eighth of the time of x[:, :, :, mirror]
    torch.index_select(x.reshape(-1, V * M), 1, columns, out=both[1].view(-1, V * M))
    return both


def apply(both: Tensor, draw: Draw) -> Tensor:
    """The augmented clips: `sides` of clips (N, 3, T, V, M) → (views·N, 3, T′, V, M), T′ =
    draw.frames.shape[1].

    `draw` has views·N samples, one view of all clips after another. A frame's channel in a view is
    a weighted sum of the three channels of one frame of the clip, mirrored or not: crop, shear,
    rotation and flip are one weighted lookup of rows, with nothing stored in between. Always in
    full precision. Raises ValueError where the samples are no whole number of views.
    """
    _, N, C, T, V, M = both.shape
    if len(draw.flip) % N:
        raise ValueError(
            f"draw: found {len(draw.flip)} samples, "
            f"expected one for each of {N} clips in every view"
        )
    of = torch.arange(len(draw.flip), device=both.device) % N
    channel = ((draw.flip * N + of) * C)[:, None] + torch.arange(C, device=both.device)
    rows = channel[:, None] * T + draw.frames[:, :, None]  # (views·N, T′, C)
    shape = len(of), C, rows.shape[1], C  # the three channels behind every channel of every frame
    weights = draw.matrix[:, :, None].expand(shape).reshape(-1, C).to(both.dtype)
    rows = rows[:, None].expand(shape).reshape(-1, C)
    x = F.embedding_bag(rows, both.reshape(-1, V * M), per_sample_weights=weights, mode="sum")
    x = x.view(*shape[:3], V, M)
    return x if draw.factors is None else x.mul_(draw.factors.view(-1, 1, 1, V, M))
