"""A student learns from a frozen teacher, or in its place from labels: `distill.form`, see
asma.distillation.

The teacher is frozen and sees the same clean clips every epoch, so what it says is computed once,
beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma import losses, training
from asma.backbones.blocks import StackArchitecture
from asma.distillation import Distill, Student
from asma.protocols.bench import Bench
from asma.skeleton import Skeleton
from asma.training import Curves, Fit, Loss, Step


@dataclass(frozen=True, eq=False)
class Lesson:
    """What there is to learn from, of the same n clips."""

    x: Tensor  # (n, C, T, V, M), clean
    logits: Tensor  # (n, K), the teacher's
    embedding: Tensor  # (n, D), the teacher's, fused
    labels: Tensor  # (n,) int64
    known: Tensor  # (m,) int64: numbers of the clips whose labels may be learnt from, ascending


def distil(
    skeleton: Skeleton,
    lesson: Lesson,
    settings: Distill,
    like: StackArchitecture,
    temperature: float,
    bench: Bench,
) -> tuple[Student, Curves]:
    """A student that learnt the lesson in the form that the parameters name, in
    what it shares with the teacher's encoders like them; without labels where it is `logits`."""
    torch.manual_seed(bench.seed)
    student = Student(skeleton, bench.classes, settings, like.partition, like.absent)
    student = student.to(bench.device)
    if settings.form == "logits":
        return student, from_logits(student, lesson, settings, temperature, bench)
    if settings.form == "labels":
        return student, from_labels(student, lesson, settings, bench, "scratch")
    first = from_features(student, lesson, settings, bench)
    then = from_labels(student, lesson, settings.features.finetune, bench, "finetune")
    return student, first | then


def from_logits(
    student: Student, lesson: Lesson, settings: Distill, temperature: float, bench: Bench
) -> Curves:
    """Train the student towards the teacher's logits, Eq. 13–14."""

    def loss(step: Step) -> Tensor:
        logits, teacher = student(lesson.x[step.index]).float(), lesson.logits[step.index]
        forms = settings.direction, settings.tempered, settings.scaled
        return losses.distillation(logits, teacher, temperature, *forms)

    return _fit(student, loss, len(lesson.x), settings, bench, "distillation")


def from_features(student: Student, lesson: Lesson, settings: Distill, bench: Bench) -> Curves:
    """Train the student's encoder towards the teacher's embedding under a linear map, Appendix C;
    not its head.
    """
    D, d = lesson.embedding.shape[1], student.head.in_features
    projection = nn.Linear(D, d, bias=False, device=bench.device)
    both = nn.ModuleDict({"encoder": student.encoder, "projection": projection})

    def loss(step: Step) -> Tensor:
        teacher = projection(lesson.embedding[step.index])
        return losses.feature_distillation(student.embed(lesson.x[step.index]), teacher)

    return _fit(both, loss, len(lesson.x), settings.features.match, bench, "feature_distillation")


def from_labels(student: Student, lesson: Lesson, settings: Fit, bench: Bench, name: str) -> Curves:
    """Train the whole student on the labels that are known, by cross-entropy."""

    def loss(step: Step) -> Tensor:
        clips = lesson.known[step.index]
        return F.cross_entropy(student(lesson.x[clips]).float(), lesson.labels[clips])

    return _fit(student, loss, len(lesson.known), settings, bench, name)


def _fit(module: nn.Module, loss: Loss, n: int, settings: Fit, bench: Bench, name: str) -> Curves:
    return training.fit(
        module, loss, n, settings, run=bench.run, device=bench.device, seed=bench.seed, label=name,
        log=bench.log, curve=name, checkpoint=bench.checkpoint(name) if bench.checkpoint else None,
    )  # fmt: skip
