"""What every encoder is to the rest of the project."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from asma.skeleton import Skeleton

ABSENT = ("computed", "skipped")


@dataclass(frozen=True)
class Architecture:
    """Section `encoder` of the parameters: what every backbone has; its own Settings add to it."""

    ROW: ClassVar[tuple[str, str]] = ("backbone", "asma.backbones:find")

    backbone: str  # a row of BACKBONES


class Encoder(nn.Module, ABC):
    """Clips in, feature map out, whatever lies between; most encoders are PerBody."""

    Settings: ClassVar[type[Architecture]] = Architecture
    dim: int  # D, width of the embedding
    takes_joint_subsets: ClassVar[bool] = True  # whether `joints` may be given to `forward`

    @classmethod
    def build(cls, skeleton: Skeleton, settings: Architecture, dropout: float) -> Encoder:
        """The encoder of a skeleton by its own Settings; `dropout` acts in training alone.

        A row of BACKBONES has it; an encoder that is in no table needs none. It draws its weights
        by torch's own generator.
        """
        raise NotImplementedError(f"{cls.__name__} stands in no table of backbones")

    @abstractmethod
    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) with all V joints → (N, T′, V′, D).

        joints: the V′ joints to keep, ascending; None keeps all. An encoder that takes no subsets
        raises ValueError on them; one whose map has no joints has V′ = 1, and no frames T′ = 1.
        """

    def pool(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Feature map (N, T′, V′, D) → embedding (N, D): the mean over frames and joints.

        lengths: (N,) valid frames of each clip, for encoders that are to look at no others; these
        have a `pool` of their own.
        """
        return mean(features, 1, 2)


class PerBody(Encoder):
    """An encoder that says what it does with one body; bodies are averaged here.

    Recordings of one person hold a second body of zeros. With `absent` computed, which is what the
    public code does, it passes through like any other: batch normalisation sees it in training and
    the average has it. In evaluation its answer is the same wherever it stands, so it is computed
    once a batch. With `absent` skipped, only people who are there are computed, normalised and
    averaged; the first body stands for a clip in which nobody is.
    """

    absent: str = "computed"  # one of ABSENT

    @abstractmethod
    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """Single bodies x (B, T, V, C), all V joints → (B, T′, V′, D); joints as in `forward`."""

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) with all V joints → (N, T′, V′, D), bodies averaged.

        joints: the V′ joints to keep in the graph, ascending; None keeps all.
        """
        N, C, T, V, M = x.shape
        x = x.permute(0, 4, 2, 3, 1).reshape(N * M, T, V, C)
        # an exported or compiled graph must not depend on who was there in its example
        captured = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if self.absent == "skipped" and M > 1:
            there = present(x.view(N, M, T, V, C))
            if captured and not self.training:
                return averaged(self.bodies(x, joints).unflatten(0, (N, M)), there)
            clip, weight = there.nonzero()[:, 0], 1 / there.sum(dim=1)
            features = self.bodies(x[there.flatten()], joints)
            if len(features) == N:  # one person in every clip
                return features
            features = features * weight[clip, None, None, None].to(features.dtype)
            return features.new_zeros(N, *features.shape[1:]).index_add(0, clip, features)
        if self.training or torch.is_grad_enabled() or captured:
            features = self.bodies(x, joints)
        else:
            features = self._present(x, joints)
        return mean(features.unflatten(0, (N, M)), 1)

    def _present(self, x: Tensor, joints: Tensor | None) -> Tensor:
        """`bodies` of x (B, T, V, C), all bodies of zeros computed as one."""
        there = x.flatten(1).any(dim=1)
        if there.all():
            return self.bodies(x, joints)
        features = self.bodies(torch.cat([x[there], torch.zeros_like(x[:1])]), joints)
        place = there.cumsum(0) - 1  # of a body's features; those of zeros are the last
        return features[place.masked_fill(~there, len(features) - 1)]


def present(x: Tensor) -> Tensor:
    """Which of the bodies x (N, M, T, V, C) are there, (N, M) bool; the first where none of them
    is.
    """
    there = x.flatten(2).any(dim=2)
    first = torch.cat([~there.any(dim=1, keepdim=True), there[:, 1:] & False], dim=1)
    return there | first


def averaged(x: Tensor, there: Tensor) -> Tensor:
    """The mean of x (N, M, …) over the bodies that are there, (N, M) bool: (N, …)."""
    weight = there / there.sum(dim=1, keepdim=True)
    return (x * weight.to(x.dtype).view(*there.shape, *[1] * (x.ndim - 2))).sum(dim=1)


def mean(x: Tensor, *dims: int) -> Tensor:
    """x.mean(dims), written so that its gradient is scaled before it is spread over the elements,
    not after.
    """
    count = math.prod([x.shape[d] for d in dims])  # a list, which torch.compile can follow
    return x.sum(dim=dims) * (1 / count)
