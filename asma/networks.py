"""Networks that stages have left, as they are to be used or looked into."""

from __future__ import annotations

from pathlib import Path

from asma import backbones, training
from asma.backbones.base import Architecture, Encoder
from asma.backbones.blocks import StackArchitecture
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, Teacher
from asma.skeleton import Skeleton


def encoder(skeleton: Skeleton, settings: Architecture, weights: Path) -> Encoder:
    """An encoder as it was pretrained. Raises WeightsError where the weights are of another one."""
    network = backbones.build(skeleton, settings)
    training.load_weights(weights, encoder=network)
    return network


def teacher(
    skeleton: Skeleton,
    classes: int,
    settings: Architecture,
    alignment: Alignment,
    weights: Path,
) -> Teacher:
    """Two encoders and what fuses them, for so many classes. Raises WeightsError."""
    first, second = (backbones.build(skeleton, settings) for _ in range(2))
    classifier = AlignedClassifier(first.dim, classes, alignment)
    training.load_weights(weights, first=first, second=second, classifier=classifier)
    return Teacher(first, second, classifier, alignment.tokens)


def student(
    skeleton: Skeleton,
    classes: int,
    settings: StackArchitecture,
    distill: Distill,
    weights: Path,
) -> Student:
    """The student of a teacher whose encoders have these settings. Raises WeightsError."""
    network = Student(skeleton, classes, distill, settings.partition, settings.absent)
    training.load_weights(weights, student=network)
    return network
