"""Clip → stream: joint, bone, motion. Streams are derived, never stored.

Conventions as in the public code of the ST-GCN family: a bone points from the parent to the joint
and the centre's is zero; motion is the step to the next frame and the last frame's is zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asma.skeleton import Skeleton


def joint(x: Tensor, skeleton: Skeleton) -> Tensor:
    """Positions as they are, (N, C, T, V, M) in metres."""
    return x


def bone(x: Tensor, skeleton: Skeleton) -> Tensor:
    """Each joint minus the joint it hangs on, (N, C, T, V, M) in metres; the centre is zero."""
    return x - x[:, :, :, torch.as_tensor(skeleton.parents, device=x.device)]


def motion(x: Tensor, skeleton: Skeleton) -> Tensor:
    """Displacement to the next frame, (N, C, T, V, M) in metres a frame; the last frame is zero."""
    out = torch.zeros_like(x)
    out[:, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    return out


STREAMS: dict[str, Callable[[Tensor, Skeleton], Tensor]] = {
    "joint": joint,
    "bone": bone,
    "motion": motion,
}


def derive(stream: str, x: Tensor, skeleton: Skeleton) -> Tensor:
    """The named stream of x (N, C, T, V, M), same shape. Raises ValueError on another name."""
    if stream not in STREAMS:
        raise ValueError(f"stream: found {stream!r}, expected one of {', '.join(STREAMS)}")
    return STREAMS[stream](x, skeleton)
