"""ASMa pretraining of one encoder, Eq. 5–8: Barlow Twins between anchor and each masked view.

One projector an encoder: Eq. 9 is then a sum over disjoint weights and the two encoders train independently. The
anchor is projected once and serves both pairs; the two masked views are not compared with each other.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from asma import losses
from asma.backbones import pool
from asma.backbones.base import Backbone
from asma.methods.base import Method, Pretrain
from asma.views import AsmaViews, Views


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


def build(encoder: Backbone, views: AsmaViews, how: Pretrain) -> Asma:
    """The row of METHODS."""
    return Asma(encoder, views, how)
