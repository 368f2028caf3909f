"""ST-GCN (Yan et al., AAAI 2018) in the narrow form that PSTL, AimCLR and CrosSCLR share.

Inside, tensors are kept channels-last, (B, T, V, C) with every body a sample of its own: the graph sum is then one
matrix product, the 1 × 1 convolution another, and the temporal convolution finds the memory format it is fastest in.
What nobody reads again is overwritten, because much of a training step is memory traffic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.base import Backbone
from asma.backbones.dropout import Dropout
from asma.skeleton import Skeleton

# C_in · C_out up to which a frame's graph convolution is one dense product, in 32 and in 16 bits
DENSE, DENSE_16 = 16 * 16, 32 * 32


def _channels_first(x: Tensor) -> Tensor:
    """(B, T, V, C) → (B, C, T, V), a channels-last view."""
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    """(B, C, T, V) → (B, T, V, C), a view."""
    return x.permute(0, 2, 3, 1)


def neighbour_rows(adjacency: Tensor) -> Tensor:
    """Adjacency (K, V, V) with a row for every (w, k): (V·K, V)."""
    return adjacency.permute(2, 0, 1).flatten(0, 1)


def neighbour_sums(x: Tensor, rows: Tensor) -> Tensor:
    """Sums over each subset of the adjacency: x (B, T, V, C), its rows (V·K, V) → (B, T, V, K·C)."""
    B, T, V, C = x.shape
    # bmm on an expanded matrix: matmul would fold the batch away and copy x transposed
    return torch.bmm(rows.expand(B * T, -1, -1), x.reshape(B * T, V, C)).view(B, T, V, -1)


class GraphConvolution(nn.Module):
    """out[w] = Σ_k Σ_v A[k, v, w] · (W_k x[v] + b_k), over the K subsets of the adjacency."""

    def __init__(self, in_channels: int, out_channels: int, subsets: int) -> None:
        super().__init__()
        self.out_channels, self.subsets = out_channels, subsets
        self.convolution = nn.Conv2d(in_channels, subsets * out_channels, kernel_size=1)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """x (B, T, V, C_in), adjacency (K, V, V) → (B, T, V, C_out).

        Neighbours are summed before channels are mixed: the tensor in between has K·C_in channels, not K·C_out, and
        the bias, by then weighted with each joint's row sums, is added to C_out.
        """
        B, T, V, C = x.shape
        if C * self.out_channels <= (DENSE_16 if torch.is_autocast_enabled(x.device.type) else DENSE):
            return F.linear(x.reshape(B, T, V * C), *self.dense(adjacency)).view(B, T, V, -1)
        y = F.linear(neighbour_sums(x, neighbour_rows(adjacency)), self.mixing())
        return y.add_(self.joint_bias(adjacency).to(y.dtype))

    def definition(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """The same as it is usually written, and what `asma.efficiency` counts: published figures count this form."""
        y = F.linear(x, self.convolution.weight.flatten(1), self.convolution.bias).unflatten(-1, (self.subsets, -1))
        return torch.einsum("btvkd,kvw->btwd", y, adjacency)

    def mixing(self) -> Tensor:
        """The weights W_k beside each other, for neighbours that are summed already: (C_out, K·C_in)."""
        return self.convolution.weight.view(self.subsets, self.out_channels, -1).transpose(0, 1).flatten(1)

    def joint_bias(self, adjacency: Tensor) -> Tensor:
        """What the K biases come to at each joint: (V, C_out), float32."""
        assert self.convolution.bias is not None
        with torch.autocast(adjacency.device.type, enabled=False):
            return adjacency.sum(dim=1).T @ self.convolution.bias.view(self.subsets, -1)

    def dense(self, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Both sums as one linear map of a whole frame: weight (V·C_out, V·C_in) and bias (V·C_out,), float32.

        More multiplications but one product and no tensor in between: faster where channels are few, in 16-bit
        precision, where products are cheap and memory is not, up to more of them (DENSE, DENSE_16).
        """
        with torch.autocast(adjacency.device.type, enabled=False):
            W = self.convolution.weight.view(self.subsets, self.out_channels, -1)  # (K, C_out, C_in)
            weight = torch.einsum("kvw,kdc->wdvc", adjacency, W)
        return weight.flatten(2).flatten(0, 1), self.joint_bias(adjacency).flatten()


class Block(nn.Module):
    """Graph convolution → BN → ReLU → 9 × 1 temporal convolution → BN → dropout, plus residual, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dropout: float,
        residual: bool,
        subsets: int,
        joints: int,
    ) -> None:
        super().__init__()
        self.graph = GraphConvolution(in_channels, out_channels, subsets)
        self.graph_norm = nn.BatchNorm2d(out_channels)
        self.temporal = nn.Conv2d(out_channels, out_channels, (9, 1), (stride, 1), (4, 0))
        self.temporal_norm = nn.BatchNorm2d(out_channels)
        self.dropout = Dropout(dropout)
        self.importance = nn.Parameter(torch.ones(subsets, joints, joints))
        self.residual: nn.Module | None = None
        self.has_residual = residual
        if residual and (in_channels != out_channels or stride != 1):
            self.residual = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, (stride, 1)), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor, adjacency: Tensor, joints: Tensor | None) -> Tensor:
        """x (B, T, V′, C_in) → (B, T′, V′, C_out); adjacency (K, V, V) of the whole skeleton."""
        graph = adjacency * self.importance
        if joints is not None:
            graph = graph[:, joints][:, :, joints]
        y = _channels_first(self.graph(x, graph))
        y = F.relu(self.graph_norm(y), inplace=True)
        y = self.dropout(_channels_last(self.temporal_norm(self.temporal(y))))
        if self.has_residual:
            y += x if self.residual is None else _channels_last(self.residual(_channels_first(x)))
        return F.relu(y, inplace=True)


class STGCN(Backbone):
    """A stack of blocks behind a batch normalisation of every joint's every channel.

    The first block has no residual and no dropout. With (16 ×4, 32 ×3, 64 ×2, 256) channels and strides of 2 at
    blocks 5 and 8 it is the paper's encoder: 821 380 parameters at 25 joints, 50 frames → 13.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float = 0.5,
        partition: str = "max_hop",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.dim = channels[-1]
        adjacency = torch.from_numpy(skeleton.adjacency(partition))
        self.adjacency: Tensor
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.data_norm = nn.BatchNorm1d(len(skeleton) * in_channels)
        blocks: list[nn.Module] = []
        for i, (width, stride) in enumerate(zip(channels, strides, strict=True)):
            before = channels[i - 1] if i else in_channels
            blocks.append(Block(before, width, stride, dropout if i else 0.0, i > 0, len(adjacency), len(skeleton)))
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        B, T, V, C = x.shape
        # all joints are normalised, then those that are hidden leave the graph
        x = self.data_norm(x.reshape(B * T, V * C)).view(B, T, V, C)
        if joints is not None:
            x = x[:, :, joints]
        for block in self.blocks:
            x = block(x, self.adjacency, joints)
        return x
