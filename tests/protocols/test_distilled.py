from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator

from asma import evaluation, losses, skeleton
from asma.backbones.blocks import StackArchitecture
from asma.distillation import FORMS, Distill, Features, Student
from asma.protocols import distilled
from asma.protocols.bench import Bench
from asma.protocols.distilled import Lesson
from asma.training import Fit, Run

SKELETON = skeleton.load("kinect_v1")
BENCH = Bench(3, Run(device="cpu"), torch.device("cpu"), seed=1)
STEP = Fit(epochs=15, batch_size=8, learning_rate=0.02)
HOW = Distill(
    **vars(STEP),
    layers=2,
    width=4,
    dim=8,
    dropout=0.0,
    temperature=2.0,
    features=Features(match=STEP, finetune=STEP),
)


def lesson(generator: Generator, n: int = 40) -> Lesson:
    """Clips, and a teacher who says where the right arm is; the class is the direction in which it
    is furthest.
    """
    x = 0.1 * torch.randn(n, 3, 8, 20, 1, generator=generator)
    place = torch.randn(n, 3, generator=generator)
    for v in (9, 10, 11):
        x[:, :, :, v, 0] += 2 * place[:, :, None]
    embedding = place @ torch.randn(3, 6, generator=generator)
    return Lesson(x, 2 * place, embedding, place.argmax(dim=1), torch.arange(n))


def part(whole: Lesson, first: int, last: int) -> Lesson:
    kept = slice(first, last)
    teacher = (whole.logits[kept], whole.embedding[kept])
    return Lesson(whole.x[kept], *teacher, whole.labels[kept], torch.arange(last - first))


def distil(
    given: Lesson, how: Distill = HOW, tau: float = 2.0, bench: Bench = BENCH
) -> tuple[Student, distilled.Curves]:
    return distilled.distil(SKELETON, given, how, StackArchitecture(), tau, bench)


def test_a_student_comes_to_say_what_its_teacher_says(generator: Generator) -> None:
    whole = lesson(generator)
    student, curves = distil(part(whole, 0, 32))
    assert isinstance(student, Student) and not student.training
    assert list(curves) == ["distillation"]
    assert (
        len(curves["distillation"]) == 15
        and curves["distillation"][-1] < 0.4 * curves["distillation"][0]
    )
    answers = evaluation.forward(student, whole.x[32:])
    uniform = losses.distillation(torch.zeros(8, 3), whole.logits[32:], 2.0)
    assert losses.distillation(answers, whole.logits[32:], 2.0) < 0.5 * uniform


def test_temperature_and_direction_reach_the_loss(generator: Generator) -> None:
    given = lesson(generator)
    first = set()
    for changes, tau in (
        ({}, 2.0),
        ({}, 6.0),
        ({"direction": "reverse"}, 2.0),
        ({"scaled": True}, 2.0),
    ):
        how = Distill(**{**vars(HOW), "epochs": 1, "batch_size": 40, **changes})
        first.add(round(distil(given, how, tau)[1]["distillation"][0], 6))
    assert len(first) == 4


def test_features_are_matched_before_labels_are_learnt(generator: Generator) -> None:
    given = lesson(generator)
    student, curves = distil(given, replace(HOW, form="features"))
    assert list(curves) == ["feature_distillation", "finetune"]
    for curve in curves.values():
        assert len(curve) == 15 and curve[-1] < 0.6 * curve[0]
    assert not student.training


def test_matching_features_leaves_the_head_as_it_was_and_labels_unread(
    generator: Generator,
) -> None:
    given = lesson(generator)
    unknown = Lesson(given.x, given.logits, given.embedding, given.labels * 0 - 1, given.known)
    nothing = Fit(epochs=0, batch_size=8, learning_rate=0.1)
    how = replace(
        HOW, form="features", features=Features(match=replace(STEP, epochs=2), finetune=nothing)
    )
    student, curves = distil(unknown, how)
    fresh, _ = distil(given, replace(HOW, epochs=0))
    assert curves["finetune"] == [] and len(curves["feature_distillation"]) == 2
    assert torch.equal(student.head.weight, fresh.head.weight)
    changed = zip(student.encoder.parameters(), fresh.encoder.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in changed)
    with torch.no_grad():
        torch.testing.assert_close(student(given.x), student.head(student.embed(given.x)))


def test_the_control_learns_labels(generator: Generator) -> None:
    whole = lesson(generator, 60)
    how = replace(HOW, form="labels", epochs=25)
    given = part(whole, 0, 48)
    student, curves = distil(given, how)
    assert list(curves) == ["scratch"]
    right = evaluation.forward(student, whole.x[48:]).argmax(dim=1) == whole.labels[48:]
    assert right.float().mean() > 0.8


def test_the_control_hears_nothing_of_the_teacher(generator: Generator) -> None:
    given, how = lesson(generator), replace(HOW, form="labels", epochs=2)
    nothing = (
        torch.full_like(given.logits, torch.nan),
        torch.full_like(given.embedding, torch.nan),
    )
    silent = Lesson(given.x, *nothing, given.labels, given.known)
    assert distil(silent, how)[1] == distil(given, how)[1]


@pytest.mark.parametrize("form", ["features", "labels"])
def test_labels_that_are_not_known_are_not_read(form: str, generator: Generator) -> None:
    given = lesson(generator)
    known = torch.arange(0, 40, 4)
    # -1 is no class
    hidden = torch.full_like(given.labels, -1).index_copy(0, known, given.labels[known])
    short = replace(STEP, epochs=2)
    how = Distill(
        **{
            **vars(HOW),
            **vars(short),
            "form": form,
            "features": Features(match=short, finetune=short),
        }
    )
    found = [
        distil(Lesson(given.x, given.logits, given.embedding, labels, known), how)[1]
        for labels in (given.labels, hidden)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_student(form: str, generator: Generator) -> None:
    given, short = lesson(generator), replace(STEP, epochs=2)
    changes: dict[str, Any] = {
        "form": form,
        "dropout": 0.5,
        "features": Features(match=short, finetune=short),
    }
    how = Distill(**{**vars(HOW), "epochs": 2, **changes})
    one, two, other = (distil(given, how, bench=replace(BENCH, seed=seed))[0] for seed in (1, 1, 2))
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.head.weight, other.head.weight)
