"""Geometric augmentations T(·): temporal crop → shear → rotation → left-right flip.

The paper names crop, rotation and flip and says no more; order, strengths and ranges are those of PSTL's
code, on which it builds. One draw a sample; one a batch (`draw: batch`) is PSTL's way and learns far less
on small sets. Choosing (`sample`) and applying (`apply`) are two functions: the crop is an index map that
also carries the motion scores along; shear and rotation are one 3 × 3 matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
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

    def __post_init__(self) -> None:
        if self.draw not in DRAWS:
            raise ValueError(f"augment.draw: found {self.draw!r}, expected one of {', '.join(DRAWS)}")
        for key in ("crop", "shear", "rotate", "tilt"):
            if getattr(self, key) < 0:
                raise ValueError(f"augment.{key}: found {getattr(self, key)}, expected 0 or more")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"augment.flip: found {self.flip}, expected a probability")

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


@dataclass(frozen=True)
class Draw:
    """What was drawn for a batch of N samples."""

    frames: Tensor  # (N, T) int64: frame t of the view is frame frames[n, t] of the clip
    matrix: Tensor  # (N, 3, 3): channel map, applied to column vectors
    flip: Tensor  # (N,) bool


def crop_frames(start: Tensor, T: int, pad: int) -> Tensor:
    """Index map of a temporal crop: pad frames mirrored onto each end (the edge frame repeats), T kept from `start`.

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


def sample(how: Augment, N: int, T: int, generator: Generator) -> Draw:
    """Draw an augmentation for N samples of T frames, on the generator's device."""
    device, draws = generator.device, 1 if how.draw == "batch" else N

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    pad = T // how.crop if how.crop else 0
    start = torch.randint(0, 2 * pad + 1, (draws,), generator=generator, device=device)
    shear = (uniform(draws, 3, 3) * 2 - 1) * how.shear
    shear = shear * (1 - torch.eye(3, device=device)) + torch.eye(3, device=device)
    angles = uniform(draws, 3) * math.radians(how.tilt)
    main = torch.randint(0, 3, (draws, 1), generator=generator, device=device)
    angles = angles.scatter(1, main, uniform(draws, 1) * math.radians(how.rotate))
    with torch.autocast(device.type, enabled=False):
        matrix = rotation(angles) @ shear
    drawn = Draw(crop_frames(start, T, pad), matrix, uniform(draws) < how.flip)
    if draws == N:
        return drawn
    return Draw(drawn.frames.expand(N, -1), drawn.matrix.expand(N, -1, -1), drawn.flip.expand(N))


def sides(x: Tensor, mirror: Tensor, how: Augment) -> Tensor:
    """Clips as they are and with left and right exchanged: x (N, C, T, V, M), mirror (V,) → (2, N, C, T, V, M).

    Made once a batch, all its views choose from it; (1, N, C, T, V, M) where the flip is off.
    """
    if not how.flip:
        return x[None]
    V, M = x.shape[3:]
    columns = (mirror[:, None] * M + torch.arange(M, device=x.device)).flatten()
    exchanged = x.reshape(-1, V * M).index_select(1, columns)  # an eighth of the time of x[:, :, :, mirror]
    return torch.stack([x, exchanged.view_as(x)])


def apply(sides: Tensor, drawn: Draw) -> Tensor:
    """The augmented clips: `sides` of clips (N, 3, T, V, M) → (N, 3, T′, V, M), T′ = drawn.frames.shape[1].

    Crop and flip are one gather of whole frames, shear and rotation one product; always in full precision.
    """
    _, N, C, T, V, M = sides.shape
    clip = drawn.flip * N + torch.arange(N, device=sides.device)
    channel = clip[:, None] * C + torch.arange(C, device=sides.device)
    frame = channel[:, :, None] * T + drawn.frames[:, None]  # (N, C, T′)
    taken = sides.reshape(-1, V * M).index_select(0, frame.flatten())
    with torch.autocast(sides.device.type, enabled=False):
        return torch.bmm(drawn.matrix, taken.view(N, C, -1)).view(N, C, -1, V, M)
