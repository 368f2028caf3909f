"""ST-GCN (Yan et al., AAAI 2018) in the narrow form that PSTL, AimCLR and CrosSCLR share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones import blocks
from asma.backbones.blocks import (
    STRIDES,
    Stack,
    StackArchitecture,
    neighbour_rows,
    neighbour_sums,
)
from asma.skeleton import Skeleton

# C_in · C_out up to which a frame's graph convolution is one dense product, in 32 and in 16 bits
DENSE, DENSE_16 = 16 * 16, 32 * 32


class GraphConvolution(nn.Module):
    """out[w] = Σ_k Σ_v A[k, v, w] · (W_k x[v] + b_k), over the K subsets of the adjacency."""

    def __init__(self, in_channels: int, out_channels: int, subsets: int) -> None:
        super().__init__()
        self.out_channels, self.subsets = out_channels, subsets
        self.convolution = nn.Conv2d(in_channels, subsets * out_channels, kernel_size=1)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """x (B, T, V, C_in), adjacency (K, V, V) → (B, T, V, C_out).

        Neighbours are summed before channels are mixed: the tensor in between has K·C_in channels,
        not K·C_out, and the bias, by then weighted with each joint's row sums, is added to C_out.
        """
        B, T, V, C = x.shape
        if C * self.out_channels <= (
            DENSE_16 if torch.is_autocast_enabled(x.device.type) else DENSE
        ):
            return F.linear(x.reshape(B, T, V * C), *self.dense(adjacency)).view(B, T, V, -1)
        y = F.linear(neighbour_sums(x, neighbour_rows(adjacency)), self.mixing())
        return y.add_(self.joint_bias(adjacency).to(y.dtype))

    def definition(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """The same as it is usually written, and what `asma.efficiency` counts: published figures
        count this form.
        """
        y = F.linear(x, self.convolution.weight.flatten(1), self.convolution.bias).unflatten(
            -1, (self.subsets, -1)
        )
        return torch.einsum("btvkd,kvw->btwd", y, adjacency)

    def mixing(self) -> Tensor:
        """The weights W_k beside each other, for neighbours that are summed already: (C_out,
        K·C_in).
        """
        return (
            self.convolution.weight.view(self.subsets, self.out_channels, -1)
            .transpose(0, 1)
            .flatten(1)
        )

    def joint_bias(self, adjacency: Tensor) -> Tensor:
        """What the K biases come to at each joint: (V, C_out), float32."""
        assert self.convolution.bias is not None
        with torch.autocast(adjacency.device.type, enabled=False):
            return adjacency.sum(dim=1).T @ self.convolution.bias.view(self.subsets, -1)

    def dense(self, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Both sums as one linear map of a whole frame: weight (V·C_out, V·C_in) and bias
        (V·C_out,), float32.

        More multiplications but one product and no tensor in between: faster where channels are
        few, in 16-bit precision, where products are cheap and memory is not, up to more of them
        (DENSE, DENSE_16).
        """
        with torch.autocast(adjacency.device.type, enabled=False):
            # (K, C_out, C_in)
            W = self.convolution.weight.view(self.subsets, self.out_channels, -1)
            weight = torch.einsum("kvw,kdc->wdvc", adjacency, W)
        return weight.flatten(2).flatten(0, 1), self.joint_bias(adjacency).flatten()


class Block(blocks.Block):
    """The graph convolution and a learnt importance of every edge in a block."""

    graph: GraphConvolution

    def __init__(
        self,
        adjacency: Tensor,
        in_channels: int,
        out_channels: int,
        stride: int,
        dropout: float,
        residual: bool,
    ) -> None:
        """adjacency: (K, V, V) of the whole skeleton."""
        operator = partial(GraphConvolution, subsets=len(adjacency))
        super().__init__(operator, in_channels, out_channels, stride, dropout, residual)
        self.adjacency: Tensor
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.importance = nn.Parameter(torch.ones_like(adjacency))

    def spatial(self, x: Tensor, joints: Tensor | None) -> Tensor:
        """x (B, T, V′, C_in) → (B, T, V′, C_out): hidden joints lose their rows and columns."""
        graph = self.adjacency * self.importance
        if joints is not None:
            graph = graph[:, joints][:, :, joints]
        return self.graph(x, graph)


class STGCN(Stack):
    """The encoder with graph convolutions; channels and strides: a value a block.

    With (16 ×4, 32 ×3, 64 ×2, 256) channels and strides of 2 at blocks 5 and 8 it is the paper's:
    821 380 parameters at 25 joints, 50 frames → 13.
    """

    @classmethod
    def of(cls, skeleton: Skeleton, settings: StackArchitecture, dropout: float) -> STGCN:
        return cls(skeleton, settings.channels, STRIDES, dropout, settings.partition)

    def __init__(
        self,
        skeleton: Skeleton,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float = 0.5,
        partition: str = "max_hop",
        in_channels: int = 3,
    ) -> None:
        adjacency = torch.from_numpy(skeleton.adjacency(partition))
        super().__init__(
            len(skeleton), channels, strides, dropout, partial(Block, adjacency), in_channels
        )

    @property
    def adjacency(self) -> Tensor:
        """(K, V, V) of the whole skeleton, before any importance."""
        return cast(Block, self.blocks[0]).adjacency
