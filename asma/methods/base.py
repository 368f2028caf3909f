"""What every pretraining method is to the rest of the project."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn

from asma.backbones.base import Backbone


class Method(nn.Module, ABC):
    """A module that holds the encoder and is trained by its own loss."""

    encoder: Backbone

    @abstractmethod
    def loss(self, x: Tensor, scores: Tensor, generator: Generator) -> Tensor:
        """Loss of a batch of clips x (N, C, T, V, M) of one stream with their motion scores (N, T): a scalar."""
