"""Networks that other stages have left, as they are to be looked into."""

from __future__ import annotations

from pathlib import Path

from asma import backbones, training
from asma.backbones import Encoder
from asma.backbones.base import Backbone
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, Teacher


def encoder(bench: Benchmark, how: Encoder, weights: Path) -> Backbone:
    """An encoder as it was pretrained. Raises WeightsError where the weights are of another one."""
    network = backbones.build(bench.skeleton, how)
    training.load_weights(weights, encoder=network)
    return network


def teacher(bench: Benchmark, how: Encoder, alignment: Alignment, weights: Path) -> Teacher:
    """Two encoders and what fuses them. Raises WeightsError."""
    first, second = backbones.build(bench.skeleton, how), backbones.build(bench.skeleton, how)
    classifier = AlignedClassifier(first.dim, len(bench.classes), alignment)
    training.load_weights(weights, first=first, second=second, classifier=classifier)
    return Teacher(first, second, classifier, alignment.tokens)


def student(bench: Benchmark, how: Encoder, distill: Distill, weights: Path) -> Student:
    """The student of a teacher. Raises WeightsError."""
    network = Student(bench.skeleton, len(bench.classes), distill, how.partition)
    training.load_weights(weights, student=network)
    return network
