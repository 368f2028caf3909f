"""Pretraining as the published code of the field does it, written plainly: the baseline of several
topics.

The same mathematics as the package, nothing saved: tensors (B, C, T, V) in torch's default memory
format, the graph as an einsum over the subsets, the projector called for both sides of every pair
(the anchor twice), the P × P matrix of correlations built, torch's own dropout and its default
Adam.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.stgcn import STGCN, Block
from asma.methods.asma import Projector
from asma.views import View, Views


class PlainBlock(nn.Module):
    """One ST-GCN block in (B, C, T, V), with a copy of the weights of one of ours."""

    def __init__(self, like: Block) -> None:
        super().__init__()
        like = copy.deepcopy(like)
        for weight in like.parameters():
            weight.data = weight.data.contiguous()  # ours lie channels-last
        self.K, self.graph, self.importance = (
            like.graph.subsets,
            like.graph.convolution,
            like.importance,
        )
        self.temporal = nn.Sequential(
            like.graph_norm,
            nn.ReLU(inplace=True),
            like.temporal,
            like.temporal_norm,
            nn.Dropout(like.dropout.probability, inplace=True),
        )
        self.has_residual, self.residual = like.has_residual, like.residual

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
    """ST-GCN with the average over frames, joints and bodies at its end, with a copy of the
    weights of one of ours.
    """

    def __init__(self, like: STGCN) -> None:
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", like.adjacency, persistent=False)
        self.data_norm = copy.deepcopy(like.data_norm)
        self.blocks = nn.ModuleList(
            PlainBlock(block) for block in like.blocks if isinstance(block, Block)
        )

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) → (N, D)."""
        y = self.bodies(x, joints)
        return F.avg_pool2d(y, y.shape[2:]).view(len(x), x.shape[4], -1).mean(dim=1)

    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) → a feature map a body, (N·M, D, T′, V′)."""
        N, C, T, V, M = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(N * M, V * C, T)
        x = (
            self.data_norm(x)
            .view(N, M, V, C, T)
            .permute(0, 1, 3, 4, 2)
            .contiguous()
            .view(N * M, C, T, V)
        )
        if joints is not None:
            x = x[..., joints]
        for block in self.blocks:
            x = block(x, self.adjacency, joints)
        return x


def plain_barlow_twins(a: Tensor, b: Tensor, redundancy: float) -> Tensor:
    """Barlow Twins between projections (N, P) not yet standardised, over the matrix of
    correlations.
    """
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
