"""ONNX files against the torch networks they were made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, evaluation, skeleton
from asma.backbones import BACKBONES
from asma.backbones.blocks import StackArchitecture
from asma.deployment import edge, inference
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, Teacher

ROOT = Path(__file__).resolve().parents[2]
V1 = skeleton.load("kinect_v1")
SHAPE = (3, 9, 20, 2)
HOW = Distill(epochs=1, batch_size=2, learning_rate=0.01, layers=3, width=4, dim=8)
Lively = Callable[[nn.Module, Tensor], None]


def clips(n: int, seed: int = 3) -> Tensor:
    """Clips of every size, of which one in two lacks the second body, one in three the first, and
    some both.
    """
    generator = Generator().manual_seed(seed)
    x = torch.randn(n, *SHAPE, generator=generator).cumsum(dim=2) * torch.rand(
        n, 1, 1, 1, 1, generator=generator
    )
    x[::2, ..., 1] = 0
    x[1::3, ..., 0] = 0
    return x


def student(lively: Lively) -> Student:
    torch.manual_seed(0)
    net = Student(V1, 5, HOW)
    lively(net, clips(32, seed=1))
    return net


def teacher(lively: Lively, backbone: str = "stgcn") -> Teacher:
    torch.manual_seed(0)
    first, second = (backbones.build(V1, StackArchitecture(backbone, width=4)) for _ in range(2))
    net = Teacher(first, second, AlignedClassifier(256, 5, Alignment()))
    lively(net, clips(32, seed=1))
    return net


@dataclass(frozen=True)
class Exported:
    """A network and its two files."""

    network: Student | Teacher
    fp32: Path
    int8: Path


@pytest.fixture(scope="module", params=["student", "teacher"])
def exported(
    request: pytest.FixtureRequest, lively: Lively, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    network = student(lively) if request.param == "student" else teacher(lively)
    folder = tmp_path_factory.mktemp(request.param)
    paths = Exported(network, folder / "fp32.onnx", folder / "deeper" / "int8.onnx")
    edge.export(inference.compact(network, SHAPE), paths.fp32)
    edge.quantise(paths.fp32, paths.int8, clips(64, seed=2).numpy())
    return paths


@pytest.mark.slow
def test_the_graph_agrees_with_torch_on_every_clip_in_batches_of_any_size(
    exported: Exported,
) -> None:
    x = clips(11)
    expected = exported.network(x).detach().numpy()
    assert expected.std(axis=0).min() > 1e-3
    session = edge.Session(exported.fp32)
    for size in (1, 2, 3, 11):
        for start in range(0, len(x), size):
            found = session(x[start : start + size].numpy())
            np.testing.assert_allclose(found, expected[start : start + size], rtol=1e-4, atol=1e-5)
    assert (x.flatten(1, 3).abs().sum(dim=1) == 0).all(dim=1).any()  # nobody at all is among them


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"stgcn"}))
def test_a_teacher_of_another_backbone_agrees_as_well(
    backbone: str, lively: Lively, tmp_path: Path
) -> None:
    network = teacher(lively, backbone)
    edge.export(inference.compact(network, SHAPE), tmp_path / "teacher.onnx")
    x = clips(11)
    expected = network(x).detach().numpy()
    assert expected.std(axis=0).min() > 1e-3
    session = edge.Session(tmp_path / "teacher.onnx")
    for size in (1, 3, 11):
        np.testing.assert_allclose(session.logits(x.numpy(), size), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_eight_bits_give_nearly_the_same_and_the_large_file_is_half(exported: Exported) -> None:
    x = clips(40).numpy()
    full, quantised = edge.Session(exported.fp32), edge.Session(exported.int8)
    expected, found = full.logits(x), quantised.logits(x)
    assert not np.allclose(found, expected, atol=1e-6)  # so it was in another precision
    # of networks that learnt nothing, whose clips are hardly apart
    assert ((found - expected).std(axis=0) < 0.5 * expected.std(axis=0)).all()
    assert evaluation.agreement(found, expected) > 95
    for size in (1, 7):
        # a last digit of the float32 part may end on the other side of a step of eight bits
        assert ((quantised.logits(x, size) - found).std(axis=0) < 0.2 * expected.std(axis=0)).all()
    kinds = [node.op_type for node in onnx.load(exported.int8).graph.node]
    assert "QuantizeLinear" in kinds and "Conv" in kinds
    weights = [
        w
        for w in onnx.load(exported.int8).graph.initializer
        if w.data_type == onnx.TensorProto.INT8
    ]
    assert sum(len(w.dims) == 4 for w in weights) == kinds.count("Conv")
    if isinstance(exported.network, Teacher):
        assert exported.int8.stat().st_size < 0.6 * exported.fp32.stat().st_size


@pytest.mark.slow
def test_a_file_says_what_it_takes_and_nothing_of_who_made_it(exported: Exported) -> None:
    for path in (exported.fp32, exported.int8):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        (taken,), (given,) = model.graph.input, model.graph.output
        shapes = [
            [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim]
            for v in (taken, given)
        ]
        assert (taken.name, given.name) == ("clips", "logits")
        assert shapes[0][1:] == list(SHAPE) and shapes[1][1:] == [5]
        assert isinstance(shapes[0][0], str)
        content = path.read_bytes()
        assert b"site-packages" not in content and bytes(ROOT) not in content


@pytest.mark.slow
def test_the_same_network_is_the_same_bytes_and_stays_as_it_was_without_a_word(
    lively: Lively, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = inference.compact(student(lively), SHAPE)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for name in ("a", "b"):
        edge.export(network, tmp_path / f"{name}.onnx")
        edge.quantise(
            tmp_path / f"{name}.onnx",
            tmp_path / f"{name}.int8.onnx",
            clips(20).numpy(),
            batch_size=7,
        )
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert (tmp_path / "a.int8.onnx").read_bytes() == (tmp_path / "b.int8.onnx").read_bytes()


def test_only_float32_can_be_exported(lively: Lively, tmp_path: Path) -> None:
    network = inference.compact(student(lively), SHAPE, torch.bfloat16)
    with pytest.raises(ValueError, match=r"network: found torch.bfloat16, expected torch.float32"):
        edge.export(network, tmp_path / "student.onnx")


def test_calibration_needs_clips(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clips: found none, expected some to calibrate with"):
        edge.quantise(tmp_path / "a.onnx", tmp_path / "b.onnx", np.zeros((0, *SHAPE), np.float32))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="student.onnx: not found, expected an ONNX file"):
        edge.Session(tmp_path / "student.onnx")
    with pytest.raises(FileNotFoundError, match="student.onnx: not found, expected an ONNX file"):
        edge.quantise(tmp_path / "student.onnx", tmp_path / "b.onnx", clips(2).numpy())


def test_a_session_needs_no_torch() -> None:
    code = "import sys; from asma.deployment.edge import Session; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_one_line_says_how_to_get_it(
    package: str, lively: Lively, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edge.available()
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    assert not edge.available()
    tries: dict[str, Callable[[], object]] = {
        "onnx": lambda: edge.export(inference.compact(student(lively), SHAPE), tmp_path / "a.onnx"),
        "onnxscript": lambda: edge.export(
            inference.compact(student(lively), SHAPE), tmp_path / "a.onnx"
        ),
        "onnxruntime": lambda: edge.Session(tmp_path / "a.onnx"),
    }
    with pytest.raises(edge.MissingExtra) as error:
        tries[package]()
    assert str(error.value) == f"found no package {package}; `pip install -e '.[edge]'` installs it"
    if package == "onnxruntime":
        with pytest.raises(edge.MissingExtra):
            edge.quantise(tmp_path / "a.onnx", tmp_path / "b.onnx", clips(2).numpy())
