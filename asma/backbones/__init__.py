"""Encoders: clips (N, C, T, V, M) → feature map (N, T′, V′, D).

BACKBONES is the table: a new row is one file and one line, and a row is imported when it is asked
for. `tokens` reads the maps of all of them the same way. The three rows of the paper's Table 4
share all but the spatial operator (`asma.backbones.blocks`).
"""

from __future__ import annotations

from pkgutil import resolve_name

from torch import Tensor

from asma.backbones import base
from asma.backbones.base import Architecture, mean
from asma.skeleton import Skeleton

TOKENS = ("time", "space_time", "pooled")
BACKBONES = {
    "stgcn": "asma.backbones.stgcn:STGCN",
    "gin": "asma.backbones.gin:GIN",
    "dgcnn": "asma.backbones.dgcnn:DGCNN",
}


def find(name: str) -> type[base.Encoder]:
    """The encoder of a row of BACKBONES. Raises ValueError on another name."""
    if name not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise ValueError(f"encoder.backbone: found {name!r}, expected one of {known}")
    found: type[base.Encoder] = resolve_name(BACKBONES[name])
    return found


def build(skeleton: Skeleton, settings: Architecture, dropout: float = 0.0) -> base.Encoder:
    """The encoder that the parameters name; `dropout` acts in training alone.

    Raises ValueError on another name.
    """
    return find(settings.backbone).build(skeleton, settings, dropout)


def check_dropout(section: str, dropout: float) -> None:
    """Raise ValueError, naming the section's key, unless it is a share that leaves something."""
    if not 0 <= dropout < 1:
        raise ValueError(f"{section}.dropout: found {dropout}, expected a share from 0 to below 1")


def pool(features: Tensor) -> Tensor:
    """Feature map (N, T′, V′, D) → embedding (N, D): mean over frames and joints."""
    return mean(features, 1, 2)


def tokens(features: Tensor, kind: str = "time") -> Tensor:
    """Feature map (N, T′, V′, D) → token sequence (N, S, D) for the feature alignment module.

    `time`: a token a frame of the map, S = T′ (13 of 50 frames); `space_time`: a token a frame and
    joint, S = T′·V′; `pooled`: one token. Raises ValueError on another kind.
    """
    if kind == "time":
        return mean(features, 2)
    if kind == "space_time":
        return features.flatten(1, 2)
    if kind == "pooled":
        return pool(features)[:, None]
    raise ValueError(f"tokens: found {kind!r}, expected one of {', '.join(TOKENS)}")
