"""End-to-end training of an encoder and a linear head on labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch.nn.functional as F
from torch import Tensor, nn

from asma import augment, training
from asma.augment import Augment
from asma.backbones import check_dropout
from asma.backbones.base import Encoder
from asma.protocols.bench import Bench
from asma.training import Checkpoint, Fit, Step


@dataclass(frozen=True, kw_only=True)
class Finetune(Fit):
    """Section `finetune` of the parameters. The paper names no augmentation here."""

    augment: Augment = field(default_factory=Augment)
    # share of the training labels that is used, of every class: semi-supervised below 1
    labels: float = 1.0
    draw: int = 1  # which recordings they are; see asma.data.batches.labelled
    dropout: float = 0.5  # of the encoder while it learns

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.labels <= 1:
            raise ValueError(
                f"finetune.labels: found {self.labels}, expected a share above 0 and up to 1"
            )
        if self.draw < 0:
            raise ValueError(f"finetune.draw: found {self.draw}, expected 0 or more")
        check_dropout("finetune", self.dropout)

    def without(self, augmentations: list[str]) -> Finetune:
        """The same less the augmentations that would contradict a data set's labels."""
        return replace(self, augment=self.augment.without(augmentations))


def finetune(
    encoder: Encoder,
    head: nn.Linear,
    x: Tensor,
    labels: Tensor,
    mirror: Tensor,
    settings: Finetune,
    bench: Bench,
    label: str,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train encoder and head in place from labels, on clips x (n, C, T, V, M) augmented anew each
    time.

    Returns the mean loss of every epoch.
    """
    both = nn.ModuleDict({"encoder": encoder, "head": head})
    T, columns = x.shape[2], x.shape[3] * x.shape[4]

    def loss(step: Step) -> Tensor:
        drawn = augment.sample(settings.augment, len(step.index), T, step.generator, columns)
        clips = augment.apply(augment.sides(x[step.index], mirror, settings.augment), drawn)
        h = encoder.pool(encoder(clips))
        return F.cross_entropy(head(h).float(), labels[step.index])

    history = training.fit(
        both, loss, len(x), settings,
        run=bench.run, device=bench.device, seed=bench.seed, label=label,
        log=bench.log, curve=label, checkpoint=checkpoint,
    )  # fmt: skip
    return history[label]
