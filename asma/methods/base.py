"""What every pretraining method is to the rest of the project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from asma.backbones import check_dropout
from asma.backbones.base import Backbone
from asma.training import Fit

BATCHES = ("mixed", "by_person")


@dataclass(frozen=True, kw_only=True)
class Pretrain(Fit):
    """Section `pretrain` of the parameters."""

    method: str = "asma"
    projector: int = 6144  # P, width of all its layers
    projector_layers: int = 3
    redundancy: float = 2e-4  # λ of Eq. 6–7; it acts through λ·P
    centre: bool = True  # embeddings standardised over the batch; False is Eq. 5 to the letter
    dropout: float = 0.5  # of the encoder while it learns
    batches: str = "mixed"  # or by_person, not in the paper: all recordings of a batch are of one
    # person. In a mixed batch of few people, who it is tells recordings apart and is learnt first

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("projector", "projector_layers"):
            if getattr(self, key) < 1:
                raise ValueError(f"pretrain.{key}: found {getattr(self, key)}, expected 1 or more")
        check_dropout("pretrain", self.dropout)
        if self.batches not in BATCHES:
            raise ValueError(f"pretrain.batches: found {self.batches!r}, expected one of {', '.join(BATCHES)}")


class Method(nn.Module, ABC):
    """A module that holds the encoder and is trained by its own loss."""

    encoder: Backbone

    @abstractmethod
    def loss(self, x: Tensor, scores: Tensor, generator: Generator) -> Tensor:
        """Loss of a batch of clips x (N, C, T, V, M) of one stream with their motion scores (N, T): a scalar."""
