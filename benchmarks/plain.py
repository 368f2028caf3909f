"""Pretraining as the published code of the field does it, written plainly: the baseline of several topics.

The same mathematics as the package, nothing saved: tensors (B, C, T, V) in torch's default memory format, the graph
as an einsum over the subsets, the projector called for both sides of every pair (the anchor twice), the P × P matrix
of correlations built, torch's own dropout and its default Adam.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.stgcn import STGCN, Block
from asma.methods.asma import Projector
from asma.skeleton import Skeleton
from asma.views import View, Views


class PlainBlock(nn.Module):
    """One ST-GCN block in (B, C, T, V)."""

    def __init__(self, before: int, width: int, stride: int, dropout: float, residual: bool, K: int, V: int) -> None:
        super().__init__()
        self.K = K
        self.graph = nn.Conv2d(before, K * width, 1)
        self.temporal = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, (9, 1), (stride, 1), (4, 0)),
            nn.BatchNorm2d(width),
            nn.Dropout(dropout, inplace=True),
        )
        self.importance = nn.Parameter(torch.ones(K, V, V))
        self.has_residual = residual
        self.residual: nn.Module | None = None
        if residual and (before != width or stride != 1):
            self.residual = nn.Sequential(nn.Conv2d(before, width, 1, (stride, 1)), nn.BatchNorm2d(width))

    def forward(self, x: Tensor, adjacency: Tensor, joints: Tensor | None) -> Tensor:
        """x (B, C, T, V) → (B, C′, T′, V)."""
        graph = adjacency * self.importance
        if joints is not None:
            graph = graph[:, joints][:, :, joints]
        y = self.graph(x).unflatten(1, (self.K, -1))
        y = self.temporal(torch.einsum("bkctv,kvw->bctw", y, graph).contiguous())
        if self.has_residual:
            y = y + (x if self.residual is None else self.residual(x))
        return F.relu(y, inplace=True)


class PlainSTGCN(nn.Module):
    """ST-GCN with the average over frames, joints and bodies at its end."""

    def __init__(self, skeleton: Skeleton, channels: Sequence[int], strides: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", torch.from_numpy(skeleton.adjacency("max_hop")), persistent=False)
        K, V = len(self.adjacency), len(skeleton)
        self.data_norm = nn.BatchNorm1d(3 * V)
        blocks = []
        for i, (width, stride) in enumerate(zip(channels, strides, strict=True)):
            before = channels[i - 1] if i else 3
            blocks.append(PlainBlock(before, width, stride, dropout if i else 0.0, i > 0, K, V))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) → (N, D)."""
        N, C, T, V, M = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(N * M, V * C, T)
        x = self.data_norm(x).view(N, M, V, C, T).permute(0, 1, 3, 4, 2).contiguous().view(N * M, C, T, V)
        if joints is not None:
            x = x[..., joints]
        for block in self.blocks:
            x = block(x, self.adjacency, joints)
        return F.avg_pool2d(x, x.shape[2:]).view(N, M, -1).mean(dim=1)


def plain_barlow_twins(a: Tensor, b: Tensor, redundancy: float) -> Tensor:
    """Barlow Twins between projections (N, P) not yet standardised, over the matrix of correlations."""
    norm = nn.BatchNorm1d(a.shape[1], affine=False, device=a.device)
    matrix = norm(a).T @ norm(b) / len(a)
    diagonal = torch.diagonal(matrix)
    off = matrix - torch.diag(diagonal)
    return (diagonal - 1).pow(2).sum() + redundancy * off.pow(2).sum()


class PlainAsma(nn.Module):
    """Encoder and projector, and the loss of three views."""

    def __init__(self, encoder: PlainSTGCN, dim: int, width: int, redundancy: float) -> None:
        super().__init__()
        self.encoder, self.projector, self.redundancy = encoder, Projector(dim, width), redundancy

    def loss(self, views: Views) -> Tensor:
        """The two pairs' losses added up."""
        anchor, joint_masked, frame_masked = (
            self.embed(v) for v in (views.anchor, views.joint_masked, views.frame_masked)
        )
        return self.pair(anchor, joint_masked) + self.pair(anchor, frame_masked)

    def embed(self, view: View) -> Tensor:
        """A view → embedding (N, D)."""
        features: Tensor = self.encoder(view.x, view.joints)
        return features

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        """Both embeddings through the projector, then the loss."""
        return plain_barlow_twins(self.projector(a), self.projector(b), self.redundancy)


def plain_encoder(skeleton: Skeleton, channels: Sequence[int], strides: Sequence[int], like: STGCN) -> PlainSTGCN:
    """A plain encoder with the weights of a fast one."""
    plain = PlainSTGCN(skeleton, channels, strides, dropout=0.0)
    plain.data_norm.load_state_dict(like.data_norm.state_dict())
    with torch.no_grad():
        for ours, fast in zip(plain.blocks, like.blocks, strict=True):
            assert isinstance(ours, PlainBlock) and isinstance(fast, Block)
            norm, _, temporal, last, dropout = ours.temporal
            ours.graph.load_state_dict(fast.graph.convolution.state_dict())
            norm.load_state_dict(fast.graph_norm.state_dict())
            temporal.load_state_dict(fast.temporal.state_dict())
            last.load_state_dict(fast.temporal_norm.state_dict())
            ours.importance.copy_(fast.importance)
            assert isinstance(dropout, nn.Dropout)
            dropout.p = fast.dropout.probability
            if ours.residual is not None and fast.residual is not None:
                ours.residual.load_state_dict(fast.residual.state_dict())
    return plain
