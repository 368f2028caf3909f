"""GIN (Xu et al., ICLR 2019) as the spatial operator of the encoder.

The paper names GIN as a backbone (Table 4) and says no more. Our reading: the encoder stays as it
is, its width, blocks, strides, temporal convolutions, residuals and normalisations, and only the
graph convolution is replaced, by the plain operator of Xu et al.: a learnt ε, the sum over
neighbours, not normalised, and an MLP of two layers with batch normalisation between them. The
graph is the skeleton without subsets and without a learnt importance of its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.blocks import (
    STRIDES,
    Block,
    Stack,
    StackArchitecture,
    channels_first,
    channels_last,
    neighbour_sums,
)
from asma.skeleton import Skeleton


class Isomorphism(nn.Module):
    """out[v] = MLP((1 + ε) · x[v] + Σ x[u] over the neighbours u of v), Eq. 4.1 of Xu et al."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        """adjacency: (V, V) of the whole skeleton, 1 where two joints hang together, symmetric, no
        self-loops.
        """
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.epsilon = nn.Parameter(torch.zeros(1))
        self.hidden = nn.Linear(in_channels, out_channels)
        self.hidden_norm = nn.BatchNorm2d(out_channels)
        self.output = nn.Linear(out_channels, out_channels)

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (B, T, V′, C_in) → (B, T, V′, C_out); joints: the V′ of the skeleton that x has, None
        for all.
        """
        graph = self.graph()
        if joints is not None:
            graph = graph[joints][:, joints]
        y = channels_first(self.hidden(neighbour_sums(x, graph)))
        return self.output(channels_last(F.relu(self.hidden_norm(y), inplace=True)))

    def graph(self) -> Tensor:
        """What each joint counts in each sum, (V, V): 1 + ε itself, 1 a neighbour."""
        return self.adjacency + (1 + self.epsilon) * torch.eye(
            len(self.adjacency), device=self.adjacency.device
        )


class GIN(Stack):
    """The encoder with graph isomorphism operators. channels and strides: a value a block."""

    @classmethod
    def of(cls, skeleton: Skeleton, settings: StackArchitecture, dropout: float) -> GIN:
        return cls(skeleton, settings.channels, STRIDES, dropout)

    def __init__(
        self,
        skeleton: Skeleton,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float = 0.5,
        in_channels: int = 3,
    ) -> None:
        adjacency = torch.from_numpy(skeleton.hops == 1).float()
        block = partial(Block, partial(Isomorphism, adjacency=adjacency))
        super().__init__(len(skeleton), channels, strides, dropout, block, in_channels)
