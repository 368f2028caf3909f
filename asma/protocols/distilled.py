"""Distillation of a frozen teacher's logits into a student."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from asma import losses, training
from asma.distillation import Distill, Student
from asma.protocols.bench import Bench
from asma.skeleton import Skeleton
from asma.training import Checkpoint


def distil(
    skeleton: Skeleton,
    x: Tensor,
    teacher: Tensor,
    how: Distill,
    partition: str,
    temperature: float,
    bench: Bench,
    checkpoint: Checkpoint | None = None,
) -> tuple[Student, list[float]]:
    """A student that learnt the teacher's logits (n, K) of the clean clips x (n, C, T, V, M); no label is used.

    Returns the student and the mean loss of every epoch.

    The teacher is frozen and sees the same clips every epoch, so its logits are computed once, beforehand.
    """
    torch.manual_seed(bench.seed)
    student = Student(skeleton, bench.classes, how, partition).to(bench.device)

    def loss(index: Tensor, generator: Generator) -> Tensor:
        logits = student(x[index]).float()
        return losses.distillation(logits, teacher[index], temperature, how.direction, how.tempered, how.scaled)

    history = training.fit(
        student, loss, len(x), how, run=bench.run, device=bench.device, seed=bench.seed, label="distillation",
        log=bench.log, curve="distillation", checkpoint=checkpoint,
    )  # fmt: skip
    return student, history
