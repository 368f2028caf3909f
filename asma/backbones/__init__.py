"""Encoders: clips (N, C, T, V, M) → feature map (N, T′, V′, D), bodies averaged.

BACKBONES is the table; a new row is one file and one line. Every backbone takes joint subsets and any number of
frames; `pool` and `tokens` read its map the same way for all of them. The three rows of the paper's Table 4 share all
but the spatial operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from torch import Tensor

from asma.backbones.base import ABSENT, Backbone, mean
from asma.skeleton import Skeleton

TOKENS = ("time", "space_time", "pooled")
STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)


@dataclass(frozen=True)
class Encoder:
    """Section `encoder` of the parameters."""

    backbone: str = "stgcn"
    width: int = 16  # channels of the first blocks; the embedding has 256 whatever the width
    partition: str = "max_hop"  # stgcn: how neighbours are split into subsets; see asma.skeleton
    neighbours: int = 5  # dgcnn: how many joints are near a joint, itself one of them
    absent: str = "computed"  # people who are not in a clip: see asma.backbones.base

    def __post_init__(self) -> None:
        for key in ("width", "neighbours"):
            if getattr(self, key) < 1:
                raise ValueError(f"encoder.{key}: found {getattr(self, key)}, expected 1 or more")
        if self.absent not in ABSENT:
            raise ValueError(f"encoder.absent: found {self.absent!r}, expected one of {', '.join(ABSENT)}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each block, one for each of STRIDES."""
        h = self.width
        return (h, h, h, h, 2 * h, 2 * h, 2 * h, 4 * h, 4 * h, 256)


# By name the module, loaded when it is built: an edit of one backbone is no edit of the others.
BACKBONES = {
    "stgcn": "asma.backbones.stgcn",
    "gin": "asma.backbones.gin",
    "dgcnn": "asma.backbones.dgcnn",
}


def build(skeleton: Skeleton, how: Encoder, dropout: float = 0.0) -> Backbone:
    """The encoder that the parameters name; `dropout` acts in training alone.

    Raises ValueError on another name.
    """
    if how.backbone not in BACKBONES:
        raise ValueError(f"encoder.backbone: found {how.backbone!r}, expected one of {', '.join(BACKBONES)}")
    encoder: Backbone = import_module(BACKBONES[how.backbone]).build(skeleton, how, dropout)
    encoder.absent = how.absent
    return encoder


def check_dropout(section: str, dropout: float) -> None:
    """Raise ValueError, naming the section's key, unless it is a share that leaves something."""
    if not 0 <= dropout < 1:
        raise ValueError(f"{section}.dropout: found {dropout}, expected a share from 0 to less than 1")


def pool(features: Tensor) -> Tensor:
    """Feature map (N, T′, V′, D) → embedding (N, D): mean over frames and joints."""
    return mean(features, 1, 2)


def tokens(features: Tensor, kind: str = "time") -> Tensor:
    """Feature map (N, T′, V′, D) → token sequence (N, S, D) for the feature alignment module.

    `time`: a token a frame of the map, S = T′ (13 of 50 frames); `space_time`: a token a frame and joint,
    S = T′·V′; `pooled`: one token. Raises ValueError on another kind.
    """
    if kind == "time":
        return mean(features, 2)
    if kind == "space_time":
        return features.flatten(1, 2)
    if kind == "pooled":
        return pool(features)[:, None]
    raise ValueError(f"tokens: found {kind!r}, expected one of {', '.join(TOKENS)}")
