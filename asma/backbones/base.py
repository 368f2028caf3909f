"""What every encoder is to the rest of the project."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Clips in, feature map out. A backbone says what it does with one body; bodies are averaged here.

    Recordings of one person hold a second body of zeros. In training it passes through like any other, because batch
    normalisation sees it. In evaluation its answer is the same wherever it stands, so it is computed once a batch.
    """

    dim: int  # D, width of the embedding

    @abstractmethod
    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """Single bodies x (B, T, V, C) with all V joints → (B, T′, V′, D); joints as in `forward`."""

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) with all V joints → (N, T′, V′, D), bodies averaged.

        joints: the V′ joints to keep in the graph, ascending; None keeps all.
        """
        N, C, T, V, M = x.shape
        x = x.permute(0, 4, 2, 3, 1).reshape(N * M, T, V, C)
        # an exported or compiled graph must not depend on who was there in its example
        captured = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if self.training or torch.is_grad_enabled() or captured:
            features = self.bodies(x, joints)
        else:
            features = self._present(x, joints)
        return mean(features.unflatten(0, (N, M)), 1)

    def _present(self, x: Tensor, joints: Tensor | None) -> Tensor:
        """`bodies` of x (B, T, V, C), all bodies of zeros computed as one."""
        present = x.flatten(1).any(dim=1)
        if present.all():
            return self.bodies(x, joints)
        features = self.bodies(torch.cat([x[present], torch.zeros_like(x[:1])]), joints)
        place = present.cumsum(0) - 1  # of a body's features; those of zeros are the last
        return features[place.masked_fill(~present, len(features) - 1)]


def mean(x: Tensor, *dims: int) -> Tensor:
    """x.mean(dims), written so that its gradient is scaled before it is spread over the elements, not after."""
    count = math.prod([x.shape[d] for d in dims])  # a list, which torch.compile can follow
    return x.sum(dim=dims) * (1 / count)
