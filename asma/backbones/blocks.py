"""What the encoders of the table share: a stack of blocks, in each a spatial operator and a
temporal convolution.

An operator mixes the joints of a frame, x (B, T, V′, C_in) and which joints these are → (B, T, V′,
C_out). It is all that two encoders of one plan differ in, so that a table of backbones compares
operators.

Tensors are kept channels-last, (B, T, V, C) with every body a sample of its own: a sum over
neighbours is then one matrix product, a map of the channels another, and the temporal convolution
finds the memory format it is fastest in. What nobody reads again is overwritten, because much of a
training step is memory traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.base import ABSENT, Architecture, PerBody
from asma.backbones.dropout import Dropout
from asma.backbones.temporal import TemporalConvolution
from asma.skeleton import Skeleton

STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)


@dataclass(frozen=True)
class StackArchitecture(Architecture):
    """What the three rows of the paper's Table 4 are built by; they share all but the operator."""

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
            known = ", ".join(ABSENT)
            raise ValueError(f"encoder.absent: found {self.absent!r}, expected one of {known}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each block, one for each of STRIDES."""
        h = self.width
        return (h, h, h, h, 2 * h, 2 * h, 2 * h, 4 * h, 4 * h, 256)


def channels_first(x: Tensor) -> Tensor:
    """(B, T, V, C) → (B, C, T, V), a channels-last view."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, T, V) → (B, T, V, C), a view."""
    return x.permute(0, 2, 3, 1)


def neighbour_rows(adjacency: Tensor) -> Tensor:
    """Adjacency (K, V, V) with a row for every (w, k): (V·K, V)."""
    return adjacency.permute(2, 0, 1).flatten(0, 1)


def neighbour_sums(x: Tensor, rows: Tensor) -> Tensor:
    """Sums over each subset of the adjacency: x (B, T, V, C), rows (V·K, V) → (B, T, V, K·C)."""
    B, T, V, C = x.shape
    # bmm on an expanded matrix: matmul would fold the batch away and copy x transposed
    return torch.bmm(rows.expand(B * T, -1, -1), x.reshape(B * T, V, C)).view(B, T, V, -1)


class Block(nn.Module):
    """Spatial operator → BN → ReLU → 9 × 1 temporal convolution → BN → dropout, plus residual,
    ReLU.
    """

    def __init__(
        self,
        operator: Callable[[int, int], nn.Module],
        in_channels: int,
        out_channels: int,
        stride: int,
        dropout: float,
        residual: bool,
    ) -> None:
        """operator: makes the spatial operator of so many channels in and out."""
        super().__init__()
        self.graph = operator(in_channels, out_channels)
        self.graph_norm = nn.BatchNorm2d(out_channels)
        self.temporal = TemporalConvolution(out_channels, out_channels, (9, 1), (stride, 1), (4, 0))
        self.temporal_norm = nn.BatchNorm2d(out_channels)
        self.dropout = Dropout(dropout)
        self.residual: nn.Module | None = None
        self.has_residual = residual
        if residual and (in_channels != out_channels or stride != 1):
            self.residual = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, (stride, 1)), nn.BatchNorm2d(out_channels)
            )

    def spatial(self, x: Tensor, joints: Tensor | None) -> Tensor:
        """The operator on x (B, T, V′, C_in), whose joints are `joints` of the skeleton, or all →
        (B, T, V′, C_out).
        """
        mixed: Tensor = self.graph(x, joints)
        return mixed

    def forward(self, x: Tensor, joints: Tensor | None) -> Tensor:
        """x (B, T, V′, C_in) → (B, T′, V′, C_out)."""
        y = channels_first(self.spatial(x, joints))
        y = F.relu(self.graph_norm(y), inplace=True)
        y = self.dropout(channels_last(self.temporal_norm(self.temporal(y))))
        if self.has_residual:
            y += x if self.residual is None else channels_last(self.residual(channels_first(x)))
        return F.relu(y, inplace=True)


class Stack(PerBody):
    """Blocks behind a batch normalisation of every joint's every channel.

    The first block has no residual and no dropout.
    """

    Settings: ClassVar[type[Architecture]] = StackArchitecture

    @classmethod
    def build(cls, skeleton: Skeleton, settings: Architecture, dropout: float) -> Stack:
        assert isinstance(settings, StackArchitecture)
        encoder = cls.of(skeleton, settings, dropout)
        encoder.absent = settings.absent
        return encoder

    @classmethod
    def of(cls, skeleton: Skeleton, settings: StackArchitecture, dropout: float) -> Stack:
        """The stack with its own operator; a row of BACKBONES has it."""
        raise NotImplementedError(f"{cls.__name__} stands in no table of backbones")

    def __init__(
        self,
        joints: int,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float,
        block: Callable[[int, int, int, float, bool], Block],
        in_channels: int = 3,
    ) -> None:
        """joints: V; channels and strides: a value a block; block: makes one, as `Block` without
        its operator.
        """
        super().__init__()
        self.dim, self.joints = channels[-1], joints
        self.data_norm = nn.BatchNorm1d(joints * in_channels)
        blocks: list[nn.Module] = []
        for i, (width, stride) in enumerate(zip(channels, strides, strict=True)):
            before = channels[i - 1] if i else in_channels
            blocks.append(block(before, width, stride, dropout if i else 0.0, i > 0))
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last
                )

    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        B, T, V, C = x.shape
        # all joints are normalised, then those that are hidden leave the graph
        x = self.data_norm(x.reshape(B * T, V * C)).view(B, T, V, C)
        if joints is not None:
            x = x[:, :, joints]
        for block in self.blocks:
            x = block(x, joints)
        return x
