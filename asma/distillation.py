"""Distillation into a small student, §3.5: logits of the frozen teacher, no labels.

The student's plan (16, 16, 16, 16, 128 channels, no stride) is the one that gives the paper's 0.54 M parameters and
1.26 G multiply–accumulates for three streams, and its 128-wide representation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from asma.backbones import pool
from asma.backbones.stgcn import STGCN
from asma.skeleton import Skeleton
from asma.training import Fit


@dataclass(frozen=True, kw_only=True)
class Distill(Fit):
    """Section `distill` of the parameters."""

    teachers: list[str]  # where the teacher's encoders come from: pretrain, finetune
    temperature: float = 8.0  # τ of Eq. 13
    temperatures: dict[str, float] = field(default_factory=dict)  # by benchmark, where it differs
    direction: str = "forward"  # KL(teacher ‖ student); reverse is Eq. 14 to the letter
    tempered: str = "both"  # which logits τ divides; teacher is Eq. 13 to the letter
    scaled: bool = False  # times τ²
    channels: list[int] = field(default_factory=lambda: [16, 16, 16, 16, 128])
    dropout: float = 0.5

    def tau(self, benchmark: str) -> float:
        """The temperature of one benchmark."""
        return self.temperatures.get(benchmark, self.temperature)


class Student(nn.Module):
    """A short ST-GCN with a linear head: clips (N, C, T, V, M) → logits (N, K)."""

    def __init__(self, skeleton: Skeleton, classes: int, how: Distill, partition: str = "max_hop") -> None:
        super().__init__()
        plan = how.channels
        self.encoder = STGCN(skeleton, plan, [1] * len(plan), how.dropout, partition)
        self.head = nn.Linear(plan[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pool(self.encoder(x)))
