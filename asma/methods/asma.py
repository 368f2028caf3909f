"""ASMa pretraining of one encoder, Eq. 5–8: Barlow Twins between anchor and each masked view.

One projector an encoder: Eq. 9 is then a sum over disjoint weights and the two encoders train
independently. The anchor is projected once and serves both pairs; the two masked views are not
compared with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from asma import losses
from asma.backbones.base import Encoder
from asma.methods.base import Batch, Method, Pretrain, TrainingClips
from asma.views import AsmaViews, ViewConfig, Views


@dataclass(frozen=True, kw_only=True)
class AsmaSettings(Pretrain):
    """Section `pretrain` of ASMa."""

    method: str = "asma"
    projector: int = 6144  # P, width of all its layers
    projector_layers: int = 3
    redundancy: float = 2e-4  # λ of Eq. 6–7; it acts through λ·P
    centre: bool = True  # embeddings standardised over the batch; False is Eq. 5 to the letter

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("projector", "projector_layers"):
            if getattr(self, key) < 1:
                raise ValueError(f"pretrain.{key}: found {getattr(self, key)}, expected 1 or more")


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

        Each view is normalised by itself, as if the views came one by one; together they read and
        write the large matrices once instead of once a view.
        """
        for layer in self:
            apart = isinstance(layer, nn.BatchNorm1d)
            x = torch.cat([layer(view) for view in x.chunk(views)]) if apart else layer(x)
        return x


class Asma(Method):
    """An encoder, its projector and the views it learns from."""

    Settings: ClassVar[type[Pretrain]] = AsmaSettings
    settings: AsmaSettings
    curve = "barlow_twins"

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        settings: AsmaSettings,
        views: ViewConfig,
    ) -> None:
        """Raises ValueError where the masks and the encoder do not go together."""
        super().__init__(encoders, settings, views)
        (self.stream,) = encoders
        encoder = self.encoder(self.stream)
        if views.mask.operation == "remove" and not encoder.takes_joint_subsets:
            raise ValueError(
                f"mask.operation: found 'remove' with a {type(encoder).__name__}, which takes no "
                "subsets of the joints; expected 'zero'"
            )
        self.mask = views.mask
        self.views = AsmaViews(views)
        self.projector = Projector(encoder.dim, settings.projector, settings.projector_layers)
        self.scores: Tensor | None = None  # (n, T) of all clips; data, not state

    def begin(self, train: TrainingClips) -> None:
        if self.mask.score == "clip":
            self.scores = train.motion_scores(self.stream)

    def embed(self, views: Views) -> list[Tensor]:
        """Standardised projections (N, P) of anchor, joint- and frame-masked view, float32."""
        encoder = self.encoder(self.stream)
        three = (views.anchor, views.joint_masked, views.frame_masked)
        features = torch.cat([encoder.pool(encoder(view.x, view.joints)) for view in three])
        projected = self.projector(features, len(three)).chunk(len(three))
        return [losses.standardise(z, self.settings.centre) for z in projected]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L1 and L2 of Eq. 8, `spatial` and `temporal`."""
        x = batch.x[self.stream]
        scores = None if self.scores is None else self.scores[batch.index]
        anchor, joint_masked, frame_masked = self.embed(self.views(x, scores, batch.generator))
        with torch.autocast(x.device.type, enabled=False):
            return {
                "spatial": losses.barlow_twins(anchor, joint_masked, self.settings.redundancy),
                "temporal": losses.barlow_twins(anchor, frame_masked, self.settings.redundancy),
            }
