"""What every encoder is to the rest of the project."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Clips in, feature map out."""

    dim: int  # D, width of the embedding

    @abstractmethod
    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        """x (N, C, T, V, M) with all V joints → (N, T′, V′, D), bodies averaged.

        joints: the V′ joints to keep in the graph, ascending; None keeps all.
        """


def mean(x: Tensor, *dims: int) -> Tensor:
    """x.mean(dims), written so that its gradient is scaled before it is spread over the elements, not after."""
    count = math.prod(x.shape[d] for d in dims)
    return x.sum(dim=dims) * (1 / count)
