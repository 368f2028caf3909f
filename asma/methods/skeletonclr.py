"""SkeletonCLR (Li et al., CVPR 2021): MoCo on one stream, two augmented views of a clip a pair.

Both views are made by the section `augment`, the published ones by crop 6 and shear 0.5 alone; the
stream is derived from the augmented joints. Its code initialises the key encoder anew after it was
copied (`key_init: independent`); for .999 ^ steps of a training the keys are then of another
network, which short trainings do not survive, so a copy, as the paper has it, is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from asma import losses
from asma.methods.base import Batch, Pretrain
from asma.methods.moco import Moco, MocoSettings
from asma.training import Optimiser, Schedule
from asma.views import augmented


@dataclass(frozen=True, kw_only=True)
class SkeletonClrSettings(MocoSettings):
    """Section `pretrain` of SkeletonCLR; the values are those of its code."""

    method: str = "skeletonclr"
    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 1e-4
    optimiser: Optimiser = Optimiser(name="sgd", momentum=0.9)
    schedule: Schedule = Schedule(shape="step", at=(5 / 6,))
    drop_last: bool = True


class SkeletonClr(Moco):
    """One InfoNCE between the two views."""

    Settings: ClassVar[type[Pretrain]] = SkeletonClrSettings

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        a, b = augmented(batch.x["joint"], self.view_config, batch.generator, count=2)
        queries, keys = self.queries(self.derived(a)), self.keys(self.derived(b))
        logits = {name: self.contrasts(name, query, keys[name]) for name, query in queries.items()}
        return {name: losses.info_nce(value) for name, value in logits.items()}
