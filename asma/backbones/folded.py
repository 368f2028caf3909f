"""Encoders whose weights no longer change: the same answers with less arithmetic.

Batch normalisations become part of the convolutions before them, the adjacency times the learnt importance a constant,
and the graph sum is taken before the channels are mixed, where there are fewer of them.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from asma.backbones.base import Backbone
from asma.backbones.blocks import neighbour_rows, neighbour_sums
from asma.backbones.stgcn import STGCN, Block


def folded(encoder: Backbone) -> nn.Module:
    """A frozen copy of an encoder for single bodies with all joints: x (B, T, V, C) → (B, T′, V′, D).

    Equal to `encoder.bodies` in evaluation mode within rounding. Backbones other than ST-GCN are copied as they are.
    """
    encoder = copy.deepcopy(encoder).eval()
    form = FoldedSTGCN(encoder) if isinstance(encoder, STGCN) else Unfolded(encoder)
    return form.eval().requires_grad_(False)


class Unfolded(nn.Module):
    """Any encoder, one body at a time."""

    def __init__(self, encoder: Backbone) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, V, C) → (B, T′, V′, D)."""
        return self.encoder.bodies(x)


class FoldedSTGCN(nn.Module):
    """A stack of folded blocks; the normalisation in front of it is one scale and shift of a joint's channel."""

    def __init__(self, encoder: STGCN) -> None:
        super().__init__()
        joints = encoder.adjacency.shape[1]
        scale, shift = (value.view(joints, -1) for value in _affine(encoder.data_norm))
        self.scale, self.shift = _constant(scale), _constant(shift)  # (V, C)
        self.blocks = nn.ModuleList(FoldedBlock(cast(Block, block), encoder.adjacency) for block in encoder.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, V, C) → (B, T′, V, D)."""
        y = (x * self.scale + self.shift).permute(0, 3, 1, 2)
        for block in self.blocks:
            y = block(y)
        return y.permute(0, 2, 3, 1)


class FoldedBlock(nn.Module):
    """Graph sums → 1 × 1 convolution → ReLU → 9 × 1 convolution, plus residual, ReLU.

    Tensors are (B, C, T, V), in channels-last memory where torch computes.
    """

    def __init__(self, block: Block, adjacency: Tensor) -> None:
        super().__init__()
        scale, shift = (value[:, None] for value in _affine(block.graph_norm))
        graph = adjacency * block.importance  # (K, V, V)
        self.graph = _constant(graph)
        self.rows = _constant(neighbour_rows(graph))
        self.weight = _constant((block.graph.mixing() * scale)[:, :, None, None])  # (C_out, K·C_in, 1, 1)
        self.bias = _constant((block.graph.joint_bias(graph).T * scale + shift)[:, None])  # (C_out, 1, V)
        self.temporal = fuse_conv_bn_eval(block.temporal, block.temporal_norm)
        self.has_residual = block.has_residual
        self.residual = fuse_conv_bn_eval(*block.residual) if isinstance(block.residual, nn.Sequential) else None

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T′, V)."""
        y = F.conv2d(self.neighbours(x), self.weight).add_(self.bias).relu_()
        y = self.temporal(y)
        if self.has_residual:
            y = y.add_(x if self.residual is None else self.residual(x))
        return y.relu_()

    def neighbours(self, x: Tensor) -> Tensor:
        """Sums over each subset of the adjacency: x (B, C, T, V) → (B, K·C, T, V).

        Torch is faster with the constant on the left of channels-last frames, bf16 twice; ONNX Runtime, which keeps
        channels first, with the constant on the right: its student in int8 takes a third less time.
        """
        B, C, T, V = x.shape
        if torch.compiler.is_exporting():
            return (x.reshape(B, 1, C * T, V) @ self.graph).reshape(B, -1, T, V)
        return neighbour_sums(x.permute(0, 2, 3, 1), self.rows).permute(0, 3, 1, 2)


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation in evaluation mode does to a channel: times the first, plus the second."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _constant(value: Tensor) -> nn.Parameter:
    """A value that moves and converts with its module, and is never learnt."""
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
