"""Distillation into a small student, §3.5: logits of the frozen teacher, no labels.

The student's plan (16, 16, 16, 16, 128 channels, no stride) is the one that gives the paper's
0.54 M parameters and 1.26 G multiply–accumulates for three streams, and its 128-wide
representation.

Beside it stands Appendix C: `features`, the teacher's embedding instead of its logits, then
fine-tuning. The paper gives the loss, the epochs and the rate of the first step. Silent on the
rest, it is read so: the embedding is the fused one of Eq. 11; the linear map is learnt along with
the student, without a bias, which alone could make all cosines 1; the fine-tuning is of the whole
student, at the rate of fine-tuning elsewhere, on clean clips like all distillation here. The
control of both is `labels`: the same student, as long and as fast as with logits, from labels
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from asma import losses
from asma.backbones import check_dropout, pool
from asma.backbones.stgcn import STGCN
from asma.skeleton import Skeleton
from asma.training import Fit

FORMS = ("logits", "features", "labels")


@dataclass(frozen=True, kw_only=True)
class Features:
    """Section `distill.features` of the parameters: the two steps of Appendix C."""

    match: Fit = Fit(epochs=150, batch_size=128, learning_rate=0.001)
    finetune: Fit = Fit(epochs=150, batch_size=128, learning_rate=0.005)


@dataclass(frozen=True, kw_only=True)
class Distill(Fit):
    """Section `distill` of the parameters."""

    # what the student learns: logits, features (Appendix C), or labels (the control)
    form: str = "logits"
    # τ of Eq. 13: one for all, or as follows
    temperature: float | Literal["by_benchmark"] = "by_benchmark"
    # by benchmark, where it differs
    temperatures: dict[str, float] = field(default_factory=lambda: {"default": 8.0})
    direction: str = "forward"  # KL(teacher ‖ student); reverse is Eq. 14 to the letter
    tempered: str = "both"  # which logits τ divides; teacher is Eq. 13 to the letter
    scaled: bool = False  # times τ²
    features: Features = field(default_factory=Features)
    # blocks of the student, all of them `width` wide but the last, which gives the embedding
    layers: int = 5
    width: int = 16
    dim: int = 128
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, known in (
            ("form", FORMS),
            ("direction", losses.DIRECTIONS),
            ("tempered", losses.TEMPERED),
        ):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"distill.{key}: found {getattr(self, key)!r}, "
                    f"expected one of {', '.join(known)}"
                )
        for key, tau in (("temperature", self.temperature), *self.temperatures.items()):
            if tau != "by_benchmark" and not tau > 0:
                raise ValueError(
                    f"distill.temperature(s): {key}: found {tau}, expected more than 0"
                )
        if "default" not in self.temperatures:
            raise ValueError(
                f"distill.temperatures: found {sorted(self.temperatures)}, "
                "expected 'default' among them"
            )
        for key in ("layers", "width", "dim"):
            if getattr(self, key) < 1:
                raise ValueError(f"distill.{key}: found {getattr(self, key)}, expected 1 or more")
        check_dropout("distill", self.dropout)

    @property
    def channels(self) -> list[int]:
        """Of each block of the student."""
        return [self.width] * (self.layers - 1) + [self.dim]

    def tau(self, benchmark: str) -> float:
        """The temperature of one benchmark."""
        if self.temperature == "by_benchmark":
            return self.temperatures.get(benchmark, self.temperatures["default"])
        return self.temperature

    def mode(self, teacher: str) -> str:
        """How results of this form are named: `distilled_probed`, `feature_distilled_finetuned`,
        `scratch_probed`.

        The students named scratch learn from the labels that their teacher knew, and from nothing
        of the teacher.
        """
        how = {"logits": "distilled", "features": "feature_distilled", "labels": "scratch"}[
            self.form
        ]
        word = {"pretrain": "probed", "finetune": "finetuned"}[teacher]
        return f"{how}_{word}"


class Student(nn.Module):
    """A short ST-GCN with a linear head: clips (N, C, T, V, M) → logits (N, K)."""

    def __init__(
        self,
        skeleton: Skeleton,
        classes: int,
        settings: Distill,
        partition: str = "max_hop",
        absent: str = "computed",
    ) -> None:
        """partition, absent: as of the teacher's encoders."""
        super().__init__()
        plan = settings.channels
        self.encoder = STGCN(skeleton, plan, [1] * len(plan), settings.dropout, partition)
        self.encoder.absent = absent
        self.head = nn.Linear(settings.dim, classes)

    def embed(self, x: Tensor) -> Tensor:
        """Clips (N, C, T, V, M) → embeddings (N, D)."""
        return pool(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))
