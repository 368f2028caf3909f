"""ASMa pretraining of one encoder, Eq. 5–8: Barlow Twins between anchor and each masked view.

One projector an encoder: Eq. 9 is then a sum over disjoint weights and the two encoders train independently. The
anchor is projected once and serves both pairs; the two masked views are not compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from asma import losses
from asma.backbones import pool
from asma.backbones.base import Backbone
from asma.methods.base import Method
from asma.training import Fit
from asma.views import AsmaViews, View


@dataclass(frozen=True, kw_only=True)
class Pretrain(Fit):
    """Section `pretrain` of the parameters."""

    method: str = "asma"
    projector: int = 6144  # P, width of all three layers
    redundancy: float = 2e-4  # λ of Eq. 6–7; it acts through λ·P
    centre: bool = True  # embeddings standardised over the batch; False is Eq. 5 to the letter


def projector(dim: int, width: int) -> nn.Sequential:
    """Three linear maps without bias, dim → P → P → P, BN and ReLU between them (Barlow Twins)."""
    return nn.Sequential(
        nn.Linear(dim, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
    )


class Asma(Method):
    """An encoder, its projector and the views it learns from."""

    def __init__(self, encoder: Backbone, views: AsmaViews, how: Pretrain) -> None:
        super().__init__()
        self.encoder, self.views, self.how = encoder, views, how
        self.projector = projector(encoder.dim, how.projector)

    def embed(self, view: View) -> Tensor:
        """A view → standardised projected embedding (N, P), float32."""
        z = self.projector(pool(self.encoder(view.x, view.joints)))
        return losses.standardise(z, self.how.centre)

    def loss(self, x: Tensor, scores: Tensor, generator: Generator) -> Tensor:
        """L1 + L2 of one batch (Eq. 8): x (N, C, T, V, M) of one stream, scores (N, T) its motion scores."""
        views = self.views(x, scores, generator)
        anchor = self.embed(views.anchor)
        joint_masked = self.embed(views.joint_masked)
        frame_masked = self.embed(views.frame_masked)
        with torch.autocast(x.device.type, enabled=False):
            spatial = losses.barlow_twins(anchor, joint_masked, self.how.redundancy)
            temporal = losses.barlow_twins(anchor, frame_masked, self.how.redundancy)
        return spatial + temporal
