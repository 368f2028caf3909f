from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Generator, nn

from asma import efficiency, plan, skeleton
from asma.backbones import pool
from asma.backbones.stgcn import Block
from asma.distillation import Distill, Student
from asma.params import Project

ROOT = Path(__file__).resolve().parents[1]

V1, V2 = skeleton.load("kinect_v1"), skeleton.load("kinect_v2")
HOW = Distill(epochs=1, batch_size=2, learning_rate=0.01)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def student(depth: int = 5, classes: int = 60) -> Student:
    return Student(V2, classes, Distill(**{**vars(HOW), "layers": depth}))


@pytest.mark.parametrize(
    ("depth", "count"), [(2, 163_532), (3, 168_607), (5, 178_757), (7, 188_907)]
)
def test_students_have_the_parameters_of_the_paper(depth: int, count: int) -> None:
    assert parameters(student(depth).encoder) == count


@pytest.mark.parametrize(
    ("layers", "width", "dim", "channels"),
    [
        (5, 16, 128, [16, 16, 16, 16, 128]),
        (1, 16, 128, [128]),
        (2, 8, 32, [8, 32]),
        (7, 4, 4, [4] * 7),
    ],
)
def test_all_blocks_are_equally_wide_but_the_last(
    layers: int, width: int, dim: int, channels: list[int]
) -> None:
    how = Distill(**{**vars(HOW), "layers": layers, "width": width, "dim": dim})
    net = Student(V1, 3, how).eval()
    assert how.channels == channels
    assert [
        block.graph.out_channels for block in net.encoder.blocks if isinstance(block, Block)
    ] == channels
    assert net(torch.zeros(1, 3, 6, 20, 1)).shape == (1, 3)


@pytest.mark.parametrize("key", ["layers", "width", "dim"])
def test_a_student_has_at_least_one_layer_and_channel(key: str) -> None:
    with pytest.raises(ValueError, match=f"distill.{key}: found 0, expected 1 or more"):
        Distill(**{**vars(HOW), key: 0})


def test_three_students_without_heads_are_the_papers_half_a_million() -> None:
    assert 3 * parameters(Student(V2, 60, HOW).encoder) == 536_271
    assert parameters(Student(V2, 60, HOW)) == 186_497


def test_a_student_has_five_blocks_without_stride_and_no_residual_on_the_first() -> None:
    blocks = [block for block in student().encoder.blocks if isinstance(block, Block)]
    assert [block.graph.out_channels for block in blocks] == [16, 16, 16, 16, 128]
    assert all(block.temporal.stride[0] == 1 for block in blocks)
    assert [block.has_residual for block in blocks] == [False, True, True, True, True]


def test_three_students_cost_the_multiplications_that_were_published() -> None:
    net = student().encoder
    macs = efficiency.count(net, torch.zeros(1, 3, 50, 25, 2))["macs"]
    graph = (
        sum(block.graph.out_channels for block in net.blocks if isinstance(block, Block))
        * 3
        * 25
        * 25
        * 50
        * 2
    )
    assert 3 * macs / 1e9 == pytest.approx(1.363, abs=5e-4)
    assert 3 * (macs - graph) / 1e9 == pytest.approx(1.255, abs=5e-4)  # of the convolutions


def test_its_logits_are_a_linear_map_of_its_embedding(generator: Generator) -> None:
    net = Student(V1, 4, HOW).eval()
    x = torch.randn(2, 3, 6, 20, 1, generator=generator)
    with torch.no_grad():
        expected = pool(net.encoder(x)) @ net.head.weight.T + net.head.bias
        torch.testing.assert_close(net(x), expected)


def test_the_temperature_may_differ_by_benchmark() -> None:
    how = Distill(**{**vars(HOW), "temperatures": {"default": 8.0, "ntu60_xview": 9.0}})
    assert how.tau("ntu60_xview") == 9.0
    assert how.tau("ntu60_xsub") == 8.0


def test_a_number_is_the_temperature_of_every_benchmark() -> None:
    section = asdict(Project(ROOT).config("").section("distill", Distill)) | {"temperature": 4.0}
    how = plan.build(section, Distill, "distill")
    assert how.temperatures["ntu60_xview"] == 9.0 and how.tau("ntu60_xview") == 4.0
    with pytest.raises(plan.ParamsError, match="distill.temperature"):
        plan.build({**section, "temperature": "by_set"}, Distill, "distill")
    with pytest.raises(
        plan.ParamsError, match="distill.temperatures: found .*'ntu60_xsub'.*expected 'default'"
    ):
        plan.build({**section, "temperatures": {"ntu60_xsub": 8.0}}, Distill, "distill")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("logits", ["distilled_probed", "distilled_finetuned"]),
        ("features", ["feature_distilled_probed", "feature_distilled_finetuned"]),
        ("labels", ["scratch_probed", "scratch_finetuned"]),
    ],
)
def test_results_are_named_by_form_and_teacher(form: str, expected: list[str]) -> None:
    how = Distill(**{**vars(HOW), "form": form})
    assert [how.mode(teacher) for teacher in ("pretrain", "finetune")] == expected


def test_another_form_is_an_error() -> None:
    with pytest.raises(
        ValueError, match="distill.form: found 'feature', expected one of logits, features, labels"
    ):
        Distill(**{**vars(HOW), "form": "feature"})
