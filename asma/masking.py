"""Masks, Eq. 1–2 and the motion rules of §3.2.2: choosing what to hide, and hiding it, are two
acts.

A joint set says which joints are *kept*; a frame map says which frames are *kept*. Names say what
is hidden: `lowdeg_highmot` hides low-degree joints and high-motion frames, `highdeg_lowmot` the
opposite (the paper's φ and θ by its Algorithm 1; its Table 3 has them the other way round, so
Greek letters are used for nothing). "Mask" means remove, as in the code the paper builds on;
`zero` is the option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from asma.skeleton import Skeleton

DEGREES = ("low", "high", "random")
MOTIONS = ("low", "high", "random")
LOW_DEGREE = ("complement", "inverse", "reverse")
OPERATIONS = ("remove", "zero")
JOINT_DRAWS = ("distinct", "pstl_multiset")
SCORES = ("clip", "view")


@dataclass(frozen=True)
class Mask:
    """Section `mask` of the parameters."""

    # what is hidden, and which encoder of its kind: see `strategy`
    strategy: str = "lowdeg_highmot"
    joints: int = 9  # n: joints hidden in the joint-masked view
    frames: int = 10  # k: frames hidden in the frame-masked view
    # remove joints from the graph and frames from the clip, or set them to zero
    operation: str = "remove"
    low_degree: str = "complement"  # weights of the low-degree choice
    # n distinct joints, or n draws from PSTL's multiset (duplicates collapse)
    joint_draw: str = "distinct"
    extra_random_frames: int = 0  # further frames dropped at random; PSTL 10
    # motion scores of the clip carried along by the crop, or of the augmented view
    score: str = "clip"

    def __post_init__(self) -> None:
        strategy(self.strategy)
        for key, known in (
            ("operation", OPERATIONS),
            ("low_degree", LOW_DEGREE),
            ("joint_draw", JOINT_DRAWS),
            ("score", SCORES),
        ):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"mask.{key}: found {getattr(self, key)!r}, expected one of {', '.join(known)}"
                )
        for key in ("joints", "frames", "extra_random_frames"):
            if getattr(self, key) < 0:
                raise ValueError(f"mask.{key}: found {getattr(self, key)}, expected 0 or more")

    def check(self, skeleton: Skeleton, T: int) -> None:
        """Raise ValueError where nothing would be left of V joints or T frames."""
        if self.joints >= len(skeleton):
            raise ValueError(
                f"mask.joints: found {self.joints}, expected fewer than {len(skeleton)} joints"
            )
        if self.frames + self.extra_random_frames >= T:
            found = self.frames + self.extra_random_frames
            raise ValueError(
                f"mask.frames (+ extra_random_frames): found {found}, expected fewer than {T}"
            )


def strategy(name: str) -> tuple[str, str]:
    """What a name such as `lowdeg_highmot` or `lowdeg_highmot_2` hides: (degree, motion), each
    low, high or random.

    Raises ValueError on another form.
    """
    parts = re.fullmatch(rf"({'|'.join(DEGREES)})deg_({'|'.join(MOTIONS)})mot(_[1-9]\d*)?", name)
    if not parts:
        raise ValueError(
            f"mask.strategy: found {name!r}, expected <low|high|random>deg_<low|high|random>mot, "
            "e.g. lowdeg_highmot, or lowdeg_highmot_2 for a second one of the kind"
        )
    return parts[1], parts[2]


def number(name: str) -> int:
    """Which of several encoders of one kind: 1 for `lowdeg_highmot`, 2 for `lowdeg_highmot_2`.

    The second differs from the first in its random draws alone; two of one kind are the control
    for two of different kinds.
    """
    found = re.search(r"_([1-9]\d*)$", name)
    return int(found[1]) if found else 1


def joint_weights(degree: str, skeleton: Skeleton, low_degree: str = "complement") -> Tensor:
    """Probability with which each joint is drawn first, (V,) float64, sum 1. Eq. 1–2.

    high: d_v / Σd (Eq. 1). low: `complement` is Eq. 2, 1 − d_v / Σd, brought to sum 1 (the paper's
    V numbers sum to V − 1; so read they differ by 7 % and are practically uniform); `inverse` ∝ 1
    / d_v; `reverse` ∝ max(d) + 1 − d_v. random: uniform.
    """
    d = torch.as_tensor(skeleton.degree, dtype=torch.float64)
    if degree == "high":
        weights = d / d.sum()
    elif degree == "random":
        weights = torch.ones_like(d)
    elif low_degree == "complement":
        weights = 1 - d / d.sum()
    elif low_degree == "inverse":
        weights = 1 / d
    else:
        weights = d.max() + 1 - d
    return weights / weights.sum()


def choose_joints(degree: str, settings: Mask, skeleton: Skeleton, generator: Generator) -> Tensor:
    """Joints that stay when n are hidden, ascending, (V − n,) int64 (more with `pstl_multiset`).

    One set a batch, shared by both bodies, so that the graph can be cut. `distinct` draws n
    different joints one after the other by their weights; `pstl_multiset` draws n of the 2·(V − 1)
    entries of a pool that holds each joint as often as its degree says, so that fewer than n may
    go.
    """
    device, V = generator.device, len(skeleton)
    if settings.joint_draw == "pstl_multiset":
        if degree != "high":
            raise ValueError(
                "mask.joint_draw: pstl_multiset is defined for high-degree joints only"
            )
        pool = torch.arange(V).repeat_interleave(torch.as_tensor(skeleton.degree)).to(device)
        order = torch.randperm(len(pool), generator=generator, device=device)
        hidden = pool[order[: settings.joints]]
        kept = torch.ones(V, dtype=torch.bool, device=device)
        kept[hidden] = False
        # how many is only known when they are drawn: a GPU is waited for
        return kept.nonzero()[:, 0]
    # the n that come first in a race of exponential waiting times are n draws without replacement
    # by the weights, and unlike torch.multinomial nothing has to be read back from a GPU
    times = torch.empty(V, dtype=torch.float64, device=device).exponential_(generator=generator)
    times = times / _weights_on(device, degree, skeleton, settings.low_degree)
    return times.topk(V - settings.joints).indices.sort().values


@cache  # copied to a GPU once, not every step
def _weights_on(device: torch.device, degree: str, skeleton: Skeleton, low_degree: str) -> Tensor:
    return joint_weights(degree, skeleton, low_degree).to(device)


def choose_frames(motion: str, settings: Mask, scores: Tensor, generator: Generator) -> Tensor:
    """Frames that stay, ascending, (N, T − k) int64, by the motion scores (N, T) of the frames.

    high hides the k frames that move most (HMTM), low the k that move least (LMTM), random any k;
    each sample for itself. `extra_random_frames` then drops further ones, the same positions for
    the whole batch.
    """
    N, T = scores.shape
    if motion == "random":
        scores = torch.rand(N, T, generator=generator, device=scores.device)
    order = scores.argsort(dim=1, descending=motion == "low", stable=True)  # the last k go
    kept = order[:, : T - settings.frames].sort(dim=1).values
    if settings.extra_random_frames:
        left = kept.shape[1] - settings.extra_random_frames
        positions = torch.randperm(kept.shape[1], generator=generator, device=scores.device)[:left]
        kept = kept[:, positions.sort().values]
    return kept


def zero_joints(x: Tensor, kept: Tensor) -> Tensor:
    """x (N, C, T, V, M) with every joint that is not in `kept` set to zero, same shape."""
    keep = torch.zeros(x.shape[3], dtype=x.dtype, device=x.device).index_fill(0, kept, 1)
    return x * keep[:, None]


def zero_frames(x: Tensor, kept: Tensor) -> Tensor:
    """x (N, C, T, V, M) with every frame that is not in `kept` (N, T′) set to zero, same shape."""
    keep = torch.zeros(len(x), x.shape[2], dtype=x.dtype, device=x.device).scatter(1, kept, 1)
    return x * keep[:, None, :, None, None]
