"""ASMa pretraining of one encoder, Eq. 5–8: Barlow Twins between anchor and each masked view.

One projector an encoder: Eq. 9 is then a sum over disjoint weights and the two encoders train independently. The
anchor is projected once and serves both pairs; the two masked views are not compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from asma import losses
from asma.backbones import check_dropout, pool
from asma.backbones.base import Backbone
from asma.methods.base import Method
from asma.training import Fit
from asma.views import AsmaViews, Views

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


class Projector(nn.Sequential):
    """Linear maps without bias, dim → P → … → P, BN and ReLU between them; three in Barlow Twins.

    A single one leaves no other way to an embedding of many directions than features of many.
    """

    def __init__(self, dim: int, width: int, layers: int = 3) -> None:
        parts: list[nn.Module] = [nn.Linear(dim, width, bias=False)]
        for _ in range(layers - 1):
            parts += [
                nn.BatchNorm1d(width),
                nn.ReLU(inplace=True),
                nn.Linear(width, width, bias=False),
            ]
        super().__init__(*parts)

    def forward(self, x: Tensor, views: int = 1) -> Tensor:
        """x (views·N, dim), one view after another → (views·N, P).

        Each view is normalised by itself, as if the views came one by one; together they read and write the large
        matrices once instead of once a view.
        """
        for layer in self:
            apart = isinstance(layer, nn.BatchNorm1d)
            x = torch.cat([layer(view) for view in x.chunk(views)]) if apart else layer(x)
        return x


class Asma(Method):
    """An encoder, its projector and the views it learns from."""

    def __init__(self, encoder: Backbone, views: AsmaViews, how: Pretrain) -> None:
        super().__init__()
        self.encoder, self.views, self.how = encoder, views, how
        self.projector = Projector(encoder.dim, how.projector, how.projector_layers)

    def embed(self, views: Views) -> list[Tensor]:
        """Standardised projected embeddings (N, P) of anchor, joint-masked and frame-masked view, float32."""
        three = (views.anchor, views.joint_masked, views.frame_masked)
        features = torch.cat([pool(self.encoder(view.x, view.joints)) for view in three])
        return [losses.standardise(z, self.how.centre) for z in self.projector(features, len(three)).chunk(len(three))]

    def loss(self, x: Tensor, scores: Tensor, generator: Generator) -> Tensor:
        """L1 + L2 of one batch (Eq. 8): x (N, C, T, V, M) of one stream, scores (N, T) its motion scores."""
        anchor, joint_masked, frame_masked = self.embed(self.views(x, scores, generator))
        with torch.autocast(x.device.type, enabled=False):
            spatial = losses.barlow_twins(anchor, joint_masked, self.how.redundancy)
            temporal = losses.barlow_twins(anchor, frame_masked, self.how.redundancy)
        return spatial + temporal
