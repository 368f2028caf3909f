from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from asma import backbones, networks, skeleton, training
from asma.backbones.blocks import StackArchitecture
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, Teacher
from asma.training import WeightsError

HOW = StackArchitecture(width=4)
DISTILL = Distill(epochs=1, batch_size=2, learning_rate=0.1, layers=2, width=4, dim=8)


SKELETON = skeleton.load("kinect_v1")
OF = SKELETON, 3  # classes


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(2, 3, 8, 20, 2, generator=generator)


@torch.no_grad()
def test_networks_come_back_as_they_were_left(tmp_path: Path, x: Tensor) -> None:
    torch.manual_seed(5)
    first, second = backbones.build(SKELETON, HOW), backbones.build(SKELETON, HOW)
    alignment = Alignment(heads=2, tokens="space_time")
    classifier = AlignedClassifier(first.dim, 3, alignment)
    student = Student(SKELETON, 3, DISTILL, HOW.partition)
    fused = Teacher(first, second, classifier, "space_time")
    training.save_weights(tmp_path / "encoder", encoder=first)
    training.save_weights(tmp_path / "fused", first=first, second=second, classifier=classifier)
    training.save_weights(tmp_path / "student", student=student)
    torch.testing.assert_close(
        networks.encoder(SKELETON, HOW, tmp_path / "encoder").eval()(x), first.eval()(x)
    )
    torch.testing.assert_close(
        networks.teacher(*OF, HOW, alignment, tmp_path / "fused").eval()(x), fused.eval()(x)
    )
    found = networks.student(*OF, HOW, DISTILL, tmp_path / "student")
    torch.testing.assert_close(found.eval()(x), student.eval()(x))


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    other = backbones.build(SKELETON, StackArchitecture(width=8))
    training.save_weights(tmp_path / "weights", encoder=other)
    with pytest.raises(WeightsError, match="weights: does not fit this encoder"):
        networks.encoder(SKELETON, HOW, tmp_path / "weights")
    with pytest.raises(WeightsError, match="weights: does not fit this first"):
        networks.teacher(*OF, HOW, Alignment(), tmp_path / "weights")
    with pytest.raises(WeightsError, match="weights: does not fit this student"):
        networks.student(*OF, HOW, DISTILL, tmp_path / "weights")
