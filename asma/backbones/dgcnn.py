"""DGCNN (Wang et al., ACM ToG 2019) as the spatial operator of the encoder.

The paper names DGCNN as a backbone (Table 4) and says no more. Our reading: the encoder stays as
it is, its width, blocks, strides, temporal convolutions, residuals and normalisations, and only
the graph convolution is replaced, by an edge convolution on the joints of each frame, a cloud of V
points. Every block finds the k nearest joints anew in the features it is given; the skeleton's
edges are never looked at. Of Wang et al. are the edge function of one layer (Eq. 8), the maximum
over the edges and the self-loop: a joint is one of its own k. The layer's normalisation and ReLU
are the block's, after the maximum. k is ours, 5: the largest neighbourhood of the skeleton's own
graph, the joint where the spine meets the shoulders with its four neighbours. Wang et al. take 20
of 1024 points; 20 of 25 joints would be nearly all.

Which joints are near is a choice, so the answer jumps where two of them are equally far but for
the last digit: another processor or precision may take the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma.backbones.blocks import STRIDES, Block, Stack, StackArchitecture, channels_first
from asma.skeleton import Skeleton


@torch.no_grad()
def nearest(x: Tensor, k: int) -> Tensor:
    """The k joints of a frame nearest to each, itself one of them, in no order; all where there
    are not more than k.

    Features x (F, V, C) of F frames → (F, V, k) int64, by Euclidean distance, in 32 bits whatever
    the precision.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        x = x - x.mean(dim=1, keepdim=True)  # no distance changes, and fewer digits cancel
        # |x_j|² − 2 x_i·x_j: the squared distance less |x_i|², which is the same for all j
        distances = torch.baddbmm(x.square().sum(dim=2)[:, None], x, x.mT, alpha=-2)
        return distances.topk(min(k, x.shape[1]), largest=False, sorted=False).indices


def edges(x: Tensor, near: Tensor) -> Tensor:
    """The other ends of each joint's edges: x (F, V, C), near (F, V, k) → (F, V, k, C)."""
    count, V, C = x.shape
    first = V * torch.arange(count, device=x.device)  # joint of each frame, all frames in a row
    index = (near + first[:, None, None]).flatten()
    return x.reshape(count * V, C).index_select(0, index).view(*near.shape, C)


def largest(x: Tensor, near: Tensor) -> Tensor:
    """Each channel's maximum over the joints near each: x (F, V, C), near (F, V, k) → (F, V, C)."""
    ends = channels_first(edges(x.detach(), near).flatten(0, 1).unsqueeze(2))  # (F·V, C, k, 1)
    # a pooling over k finds where the maximum is in the order of the memory; argmax takes a
    # hundred times as long
    best, place = F.max_pool2d(ends, ends.shape[2:], return_indices=True)
    if not x.requires_grad:
        return best.view_as(x)
    # taken anew from where it was: the gradient then needs an index a joint and no tensor of all
    # edges
    return x.gather(1, near.gather(2, place.view_as(x)))


class EdgeConvolution(nn.Module):
    """out[i] = max of W · [x_i, x_j − x_i] + b over the k joints j nearest to i, Eq. 8 of Wang et
    al.
    """

    def __init__(self, in_channels: int, out_channels: int, neighbours: int) -> None:
        """neighbours: k."""
        super().__init__()
        self.neighbours = neighbours
        self.edge = nn.Linear(2 * in_channels, out_channels)

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (B, T, V′, C_in) → (B, T, V′, C_out); which joints of the skeleton these are does not
        matter.

        The map of an edge is one of x_i plus one of x_j: each is taken once a joint, and the
        maximum of the second.
        """
        own, other = self.maps()
        best = largest(F.linear(x, other).flatten(0, 1), nearest(x.flatten(0, 1), self.neighbours))
        y = F.linear(x, own, self.edge.bias)
        return y.add_(best.view_as(y))

    def maps(self) -> tuple[Tensor, Tensor]:
        """Of x_i and of x_j, (C_out, C_in) each: W · [x_i, x_j − x_i] = (W_1 − W_2) · x_i + W_2 ·
        x_j.
        """
        first, second = self.edge.weight.chunk(2, dim=1)
        return first - second, second

    def definition(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """The same as it is written, and what `asma.efficiency` counts."""
        frames = x.flatten(0, 1)
        other = edges(frames, nearest(frames, self.neighbours))
        own = frames[:, :, None].expand_as(other)
        return (
            self.edge(torch.cat([own, other - own], dim=-1)).amax(dim=2).unflatten(0, x.shape[:2])
        )


class DGCNN(Stack):
    """The encoder with edge convolutions. channels and strides: a value a block; neighbours: k."""

    @classmethod
    def of(cls, skeleton: Skeleton, settings: StackArchitecture, dropout: float) -> DGCNN:
        return cls(skeleton, settings.channels, STRIDES, dropout, settings.neighbours)

    def __init__(
        self,
        skeleton: Skeleton,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float = 0.5,
        neighbours: int = 5,
        in_channels: int = 3,
    ) -> None:
        block = partial(Block, partial(EdgeConvolution, neighbours=neighbours))
        super().__init__(len(skeleton), channels, strides, dropout, block, in_channels)
