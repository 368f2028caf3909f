"""Networks as they are used, against the same networks as they learnt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, skeleton
from asma.backbones.base import PerBody
from asma.backbones.blocks import StackArchitecture
from asma.deployment import inference
from asma.deployment.inference import Compact
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, AveragedClassifier, Teacher

V1 = skeleton.load("kinect_v1")
SHAPE = (3, 9, 20, 2)
Build = Callable[[str], Student | Teacher]
HOW = Distill(epochs=1, batch_size=2, learning_rate=0.01, layers=3, width=4, dim=8)


def student() -> Student:
    return Student(V1, 5, HOW)


def teacher(kind: str = "time", aligned: bool = True) -> Teacher:
    first, second = (backbones.build(V1, StackArchitecture(width=4)) for _ in range(2))
    head = AlignedClassifier(256, 5, Alignment()) if aligned else AveragedClassifier(256, 5)
    return Teacher(first, second, head, kind)


NETWORKS: dict[str, Callable[[], Student | Teacher]] = {
    "student": student,
    "teacher": teacher,
    "teacher on frames and joints": lambda: teacher("space_time"),
    "teacher on pooled tokens": lambda: teacher("pooled"),
    "average of two encoders": lambda: teacher(aligned=False),
}


@pytest.fixture
def build(lively: Callable[[nn.Module, Tensor], None]) -> Callable[[str], Student | Teacher]:
    """One of NETWORKS, in the state that training leaves."""

    def make(name: str) -> Student | Teacher:
        torch.manual_seed(0)
        net = NETWORKS[name]()
        lively(net, torch.randn(16, *SHAPE))
        return net

    return make


def clips(generator: Generator) -> Tensor:
    """Two people, one in the first place, one in the second, nobody, nobody again, one."""
    x = torch.randn(6, *SHAPE, generator=generator)
    x[1, ..., 1] = x[2, ..., 0] = 0
    x[3] = x[4] = 0
    x[5, ..., 1] = 0
    return x


def skip(net: nn.Module, absent: str) -> None:
    for module in net.modules():
        if isinstance(module, PerBody):
            module.absent = absent


@pytest.mark.parametrize("absent", ["computed", "skipped"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_logits_are_those_of_the_network(
    name: str, absent: str, build: Build, generator: Generator
) -> None:
    net = build(name)
    skip(net, absent)
    found = inference.compact(net, SHAPE)
    x = clips(generator)
    expected = net(x).detach()
    assert expected.std(dim=0).min() > 1e-3  # clips differ, so that a mix-up would show
    torch.testing.assert_close(found(x), expected, rtol=1e-4, atol=1e-5)
    for n in range(len(x)):
        torch.testing.assert_close(found(x[n : n + 1]), expected[n : n + 1], rtol=1e-4, atol=1e-5)
    for first in (3, 5):  # a batch that begins with nobody, and one that has only nobody
        part = x[[3, first]]
        torch.testing.assert_close(found(part), expected[[3, first]], rtol=1e-4, atol=1e-5)


def test_absent_bodies_cost_nothing_but_the_first(build: Build, generator: Generator) -> None:
    found = inference.compact(build("student"), SHAPE)
    computed: list[int] = []
    found.encoders[0].register_forward_pre_hook(lambda _, inputs: computed.append(len(inputs[0])))
    x = clips(generator)
    for batch in (x, x[1:2], x[2:3], x[3:5], x[:1]):
        found(batch)
    assert computed == [5, 1, 2, 1, 2]


def test_the_network_stays_as_it_is(build: Build, generator: Generator) -> None:
    net = build("student").train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = inference.compact(net, SHAPE)
    expected = found(clips(generator))
    assert net.training and all(weight.requires_grad for weight in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not found.training and not any(weight.requires_grad for weight in found.parameters())
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    assert torch.equal(found(clips(Generator().manual_seed(7))), expected)


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_sixteen_bit_encoders_give_nearly_the_same(
    name: str, build: Build, generator: Generator
) -> None:
    net = build(name)
    x = clips(generator)
    found, expected = inference.compact(net, SHAPE, torch.bfloat16)(x), net(x).detach()
    assert found.dtype == torch.float32
    assert not torch.allclose(found, expected, atol=1e-6)  # so it was in another precision
    assert (found - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("shape", [(3, 8, 20, 2), (3, 9, 19, 2), (2, 9, 20, 2), (3, 9, 20, 1)])
def test_clips_of_another_shape_are_an_error_that_names_both(shape: tuple[int, ...]) -> None:
    found = inference.compact(student(), SHAPE)
    with pytest.raises(
        ValueError, match=r"clips: found \(C, T, V, M\) = .*, expected \(3, 9, 20, 2\)"
    ) as error:
        found(torch.zeros(1, *shape))
    assert str(shape) in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["computed", "skipped"])
def test_it_can_be_compiled_whoever_is_there(absent: str) -> None:
    # in a process of its own: torch's compiler remembers what other tests did to it
    code = f"""
import torch
from tests.deployment.test_inference import SHAPE, clips, inference, skip, student
net = student().eval()
skip(net, {absent!r})
x = clips(torch.Generator().manual_seed(0))
compiled = torch.compile(inference.compact(net, SHAPE), dynamic=False)
with torch.no_grad():
    for part in (x[:1], x[1:2], x[2:3]):
        torch.testing.assert_close(compiled(part), net(part), rtol=1e-4, atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["computed", "skipped"])
def test_it_can_be_exported_for_any_batch_whoever_is_there(
    absent: str, build: Build, generator: Generator
) -> None:
    net = build("student")
    skip(net, absent)
    found: Compact = inference.compact(net, SHAPE)
    with torch.no_grad():
        example = torch.ones(2, *SHAPE)
        graph = torch.export.export(
            found, (example,), dynamic_shapes=({0: torch.export.Dim("N")},)
        ).module()
        x = clips(generator)
        for part in (x, x[:1], x[3:4], x[1:3]):
            torch.testing.assert_close(graph(part), net(part), rtol=1e-4, atol=1e-5)
