from __future__ import annotations

import torch
from torch import Generator, Tensor

from asma import evaluation, losses, skeleton
from asma.distillation import Distill, Student
from asma.protocols import distilled
from asma.protocols.bench import Bench
from asma.training import Run

SKELETON = skeleton.load("kinect_v1")
BENCH = Bench(3, Run(device="cpu"), torch.device("cpu"), seed=1)
HOW = Distill(
    epochs=15, batch_size=8, learning_rate=0.02, teachers=["pretrain"], channels=[4, 8], dropout=0.0, temperature=2.0
)


def lesson(generator: Generator) -> tuple[Tensor, Tensor]:
    """Clips, and logits that say where the right arm is."""
    x = 0.1 * torch.randn(40, 3, 8, 20, 1, generator=generator)
    place = torch.randn(40, 3, generator=generator)
    for v in (9, 10, 11):
        x[:, :, :, v, 0] += 2 * place[:, :, None]
    return x, 2 * place


def test_a_student_comes_to_say_what_its_teacher_says(generator: Generator) -> None:
    x, teacher = lesson(generator)
    student, history = distilled.distil(SKELETON, x[:32], teacher[:32], HOW, "max_hop", 2.0, BENCH)
    assert isinstance(student, Student) and not student.training
    assert len(history) == 15 and history[-1] < 0.4 * history[0]
    answers = evaluation.forward(student, x[32:])
    uniform = losses.distillation(torch.zeros(8, 3), teacher[32:], 2.0)
    assert losses.distillation(answers, teacher[32:], 2.0) < 0.5 * uniform


def test_temperature_and_direction_reach_the_loss(generator: Generator) -> None:
    x, teacher = lesson(generator)
    first = set()
    for changes, tau in (({}, 2.0), ({}, 6.0), ({"direction": "reverse"}, 2.0), ({"scaled": True}, 2.0)):
        how = Distill(**{**vars(HOW), "epochs": 1, "batch_size": 40, **changes})
        first.add(round(distilled.distil(SKELETON, x, teacher, how, "max_hop", tau, BENCH)[1][0], 6))
    assert len(first) == 4


def test_the_same_seed_gives_the_same_student(generator: Generator) -> None:
    x, teacher = lesson(generator)
    how = Distill(**{**vars(HOW), "epochs": 2, "dropout": 0.5})
    one, two = (distilled.distil(SKELETON, x, teacher, how, "max_hop", 2.0, BENCH)[0] for _ in range(2))
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
