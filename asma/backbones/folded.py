"""Encoders whose weights no longer change: the same answers with less arithmetic.

Batch normalisations become part of the maps before them, the adjacency times the learnt importance
a constant, and the graph sum is taken before the channels are mixed, where there are fewer of
them. Tensors are (B, C, T, V), in channels-last memory where torch computes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from asma.backbones import stgcn
from asma.backbones.base import PerBody
from asma.backbones.blocks import (
    Block,
    Stack,
    channels_first,
    channels_last,
    neighbour_rows,
    neighbour_sums,
)
from asma.backbones.dgcnn import EdgeConvolution, largest, nearest
from asma.backbones.gin import Isomorphism


def folded(encoder: PerBody) -> nn.Module:
    """A frozen copy of an encoder for single bodies with all joints: x (B, T, V, C) → (B, T′, V′,
    D).

    Equal to `encoder.bodies` in evaluation mode within rounding. An encoder with an operator that
    has no form in OPERATORS, or that is no stack of blocks, is copied as it is.
    """
    encoder = copy.deepcopy(encoder).eval()
    known = isinstance(encoder, Stack) and all(
        type(cast(Block, block).graph) in OPERATORS for block in encoder.blocks
    )
    form = FoldedStack(cast(Stack, encoder)) if known else Unfolded(encoder)
    return form.eval().requires_grad_(False)


class Unfolded(nn.Module):
    """Any encoder, one body at a time."""

    def __init__(self, encoder: PerBody) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, V, C) → (B, T′, V′, D)."""
        return self.encoder.bodies(x)


class FoldedStack(nn.Module):
    """A stack of folded blocks; the normalisation in front of it is one scale and shift of a
    joint's channel.
    """

    def __init__(self, encoder: Stack) -> None:
        super().__init__()
        scale, shift = (value.view(encoder.joints, -1) for value in _affine(encoder.data_norm))
        self.scale, self.shift = _constant(scale), _constant(shift)  # (V, C)
        self.blocks = nn.ModuleList(FoldedBlock(cast(Block, block)) for block in encoder.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, V, C) → (B, T′, V, D)."""
        y = channels_first(x * self.scale + self.shift)
        for block in self.blocks:
            y = block(y)
        return channels_last(y)


class FoldedBlock(nn.Module):
    """Spatial operator → ReLU → 9 × 1 convolution, plus residual, ReLU."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.spatial = OPERATORS[type(block.graph)](block)
        self.temporal = fuse_conv_bn_eval(block.temporal, block.temporal_norm)
        self.has_residual = block.has_residual
        self.residual = (
            fuse_conv_bn_eval(*block.residual)
            if isinstance(block.residual, nn.Sequential)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T′, V)."""
        y = self.temporal(self.spatial(x).relu_())
        if self.has_residual:
            y = y.add_(x if self.residual is None else self.residual(x))
        return y.relu_()


class NeighbourSums(nn.Module):
    """Sums over each subset of a constant adjacency (K, V, V)."""

    def __init__(self, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency, self.rows = _constant(adjacency), _constant(neighbour_rows(adjacency))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T, V) → (B, K·C, T, V).

        Torch is faster with the constant on the left of channels-last frames, bf16 twice; ONNX
        Runtime, which keeps channels first, with the constant on the right: its student in int8
        takes a third less time.
        """
        B, C, T, V = x.shape
        if torch.compiler.is_exporting():
            return (x.reshape(B, 1, C * T, V) @ self.adjacency).reshape(B, -1, T, V)
        return channels_first(neighbour_sums(channels_last(x), self.rows))


class FoldedGraphConvolution(nn.Module):
    """ST-GCN: graph sums → 1 × 1 convolution, whose bias is a joint's own."""

    def __init__(self, block: stgcn.Block) -> None:
        super().__init__()
        scale, shift = (value[:, None] for value in _affine(block.graph_norm))
        graph = block.adjacency * block.importance
        self.sums = NeighbourSums(graph)
        # (C_out, K·C_in, 1, 1)
        self.weight = _constant((block.graph.mixing() * scale)[:, :, None, None])
        # (C_out, 1, V)
        self.bias = _constant((block.graph.joint_bias(graph).T * scale + shift)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T, V)."""
        return F.conv2d(self.sums(x), self.weight).add_(self.bias)


class FoldedIsomorphism(nn.Module):
    """GIN: graph sums → 1 × 1 convolution → ReLU → 1 × 1 convolution."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        operator = cast(Isomorphism, block.graph)
        self.sums = NeighbourSums(operator.graph()[None])
        self.hidden = _pointwise(operator.hidden.weight, operator.hidden.bias, operator.hidden_norm)
        self.output = _pointwise(operator.output.weight, operator.output.bias, block.graph_norm)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T, V)."""
        return self.output(self.hidden(self.sums(x)).relu_())


class FoldedEdgeConvolution(nn.Module):
    """DGCNN: two 1 × 1 convolutions, of a joint and of those near it, whose maximum is scaled
    after it was taken: a negative scale would make it a minimum.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        operator = cast(EdgeConvolution, block.graph)
        own, other = operator.maps()
        self.neighbours = operator.neighbours
        self.own = _pointwise(own, operator.edge.bias, block.graph_norm)
        self.other = _constant(other[:, :, None, None])  # (C_out, C_in, 1, 1)
        self.scale = _constant(_affine(block.graph_norm)[0])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T, V)."""
        near = nearest(channels_last(x).flatten(0, 1), self.neighbours)
        other = channels_last(F.conv2d(x, self.other))
        best = largest(other.flatten(0, 1), near).view_as(other)
        return self.own(x).add_(channels_first(best * self.scale))


OPERATORS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    stgcn.GraphConvolution: FoldedGraphConvolution,
    Isomorphism: FoldedIsomorphism,
    EdgeConvolution: FoldedEdgeConvolution,
}


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A normalisation in evaluation mode, by channel: times the first, plus the second."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _pointwise(weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A linear map of the channels, weight (C_out, C_in) and bias (C_out,), and a normalisation as
    one convolution.
    """
    scale, shift = _affine(norm)
    convolution = nn.utils.skip_init(nn.Conv2d, weight.shape[1], weight.shape[0], 1)
    convolution.weight = _constant((weight * scale[:, None])[:, :, None, None])
    convolution.bias = _constant(bias * scale + shift)
    return convolution


def _constant(value: Tensor) -> nn.Parameter:
    """A value that moves and converts with its module, and is never learnt."""
    return nn.Parameter(
        value.detach().clone(memory_format=torch.contiguous_format), requires_grad=False
    )
