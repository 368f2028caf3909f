"""What the forms of tiny networks are found to cost, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, evaluation, skeleton, training
from asma.backbones.blocks import StackArchitecture
from asma.data.batches import Clips
from asma.deployment import device, edge, footprint, forms, inference
from asma.deployment.device import Export, ExportError
from asma.deployment.forms import Blueprint
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment
from asma.plan import ParamsError, build

V1 = skeleton.load("kinect_v1")
SHAPE = (3, 9, 20, 2)
CLASSES = 5
DISTILL = Distill(epochs=1, batch_size=2, learning_rate=0.01, layers=2, width=4, dim=8)
HOW = Export(streams=[], forms=["eager", "onnx_fp32", "onnx_int8"], repeats=3, calibration=24)
Lively = Callable[[nn.Module, Tensor], None]
# what the import of torch's own compiler says
COMPILING = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")


def clips(n: int, seed: int = 3) -> Tensor:
    """Clips of one and of two people in turns."""
    generator = Generator().manual_seed(seed)
    x = torch.randn(n, *SHAPE, generator=generator).cumsum(dim=2) * torch.rand(
        n, 1, 1, 1, 1, generator=generator
    )
    x[::2, ..., 1] = 0
    return x


@pytest.fixture
def test() -> Clips:
    x, labels = clips(11), torch.arange(11) % CLASSES
    return Clips([f"clip{i}" for i in range(11)], labels, x, torch.full((11,), x.shape[2]))


def plan(name: str, weights: Path) -> Blueprint:
    return Blueprint(name, V1, CLASSES, StackArchitecture(width=4), Alignment(), DISTILL, weights)


@pytest.fixture(scope="module")
def student(lively: Lively, tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    """A student that says something else of every clip."""
    torch.manual_seed(0)
    network = Student(V1, CLASSES, DISTILL)
    lively(network, clips(32, seed=1))
    path = tmp_path_factory.mktemp("student") / "weights.safetensors"
    training.save_weights(path, student=network)
    return plan("student", path)


@pytest.fixture(scope="module")
def teacher(lively: Lively, tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        name: backbones.build(V1, StackArchitecture(width=4)) for name in ("first", "second")
    }
    for part in parts.values():
        lively(part, clips(32, seed=1))
    path = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    training.save_weights(path, **parts, classifier=AlignedClassifier(256, CLASSES, Alignment()))
    return plan("teacher", path)


@pytest.mark.slow
def test_every_network_and_form_is_a_row_of_figures(
    student: Blueprint, test: Clips, tmp_path: Path
) -> None:
    rows, missing = device.measure([student], clips(24, seed=2), test, tmp_path, HOW)
    assert missing == []
    assert [(row["model"], row["form"]) for row in rows] == [
        ("student", form) for form in HOW.forms
    ]
    network = student.load()
    expected = evaluation.forward(network, test.x).numpy()
    eager, exact, eight = rows
    for row in rows:
        assert row["params"] == sum(p.numel() for p in network.parameters())
        assert row["flops"] == 2 * row["macs"] > 0
        assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
        assert row["clips_per_s"] == pytest.approx(1000 / row["latency_ms"])
        assert row["frames_per_s"] == pytest.approx(9 * row["clips_per_s"])
        assert 0 < row["peak_bytes"] < 200e6
    for row in (eager, exact):
        assert row["accuracy"] == evaluation.score(expected, test.labels.numpy())["accuracy"]
        assert row["agreement"] == 100
    assert (
        eager["largest_difference"]
        == 0
        < exact["largest_difference"]
        < 1e-3
        < eight["largest_difference"]
    )
    # without torch
    assert exact["import_bytes"] == eight["import_bytes"] < eager["import_bytes"] / 2
    assert {path.name for path in tmp_path.iterdir()} == {"student.onnx", "student.int8.onnx"}
    files = [student.weights, tmp_path / "student.onnx", tmp_path / "student.int8.onnx"]
    assert [row["file_bytes"] for row in rows] == [file.stat().st_size for file in files]
    found = edge.Session(files[2]).logits(test.x.numpy())
    assert eight["accuracy"] == evaluation.score(found, test.labels.numpy())["accuracy"]


def test_the_same_weights_are_the_same_network(
    student: Blueprint, teacher: Blueprint, test: Clips
) -> None:
    for blueprint, parts in ((student, ["student"]), (teacher, ["first", "second", "classifier"])):
        network = blueprint.load()
        assert not network.training and not any(
            weight.requires_grad for weight in network.parameters()
        )
        held = (
            {"student": network}
            if parts == ["student"]
            else {name: getattr(network, name) for name in parts}
        )
        again = blueprint.weights.with_name("again.safetensors")
        training.save_weights(again, **held)
        assert again.read_bytes() == blueprint.weights.read_bytes()
    with pytest.raises(training.WeightsError, match="does not fit this student"):
        replace(student, weights=teacher.weights).load()
    with pytest.raises(ValueError, match="network: found 'nobody', expected teacher or student"):
        replace(student, name="nobody")


@pytest.mark.slow
def test_a_process_of_its_own_takes_what_a_form_takes(
    teacher: Blueprint, test: Clips, tmp_path: Path
) -> None:
    small = device.memory("eager", teacher, tmp_path, test.x[:1], threads=1)
    many = device.memory(
        "compact", teacher, tmp_path, test.x[:1].repeat(1, 1, 400, 1, 1), threads=1
    )
    assert small["import_bytes"] == many["import_bytes"] > 50e6
    assert 0 < small["peak_bytes"] < many["peak_bytes"]


def test_the_clip_that_is_weighed_has_the_most_people(
    student: Blueprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[footprint.Task, np.ndarray]] = []

    def peak(task: footprint.Task) -> int:
        assert task.clip
        seen.append((task, np.load(task.clip)))
        return 100

    monkeypatch.setattr(footprint, "of_imports", lambda library, threads: 70)
    monkeypatch.setattr(footprint, "peak", peak)
    x = clips(4)
    assert device.memory("onnx_int8", student, tmp_path, x, 1) == {
        "peak_bytes": 30,
        "import_bytes": 70,
    }
    assert device.memory("eager", student, tmp_path, x, 1) == {"peak_bytes": 30, "import_bytes": 70}
    (of_file, clip), (of_torch, _) = seen
    assert (of_file.file, of_file.blueprint) == (tmp_path / "student.int8.onnx", None)
    assert (of_torch.file, of_torch.blueprint) == (None, student)
    assert np.array_equal(clip, x[1].numpy())


@pytest.mark.slow
def test_a_process_of_its_own_finds_the_package_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert footprint.peak(footprint.Task("onnx_fp32", 1)) > 10e6


def test_a_process_that_fails_is_named_with_its_last_word(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"onnx_fp32, .*: ended with status 1: FileNotFoundError: .*gone.onnx"
    ):
        np.save(tmp_path / "clip.npy", clips(1)[0].numpy())
        footprint.peak(
            footprint.Task("onnx_fp32", 1, tmp_path / "gone.onnx", None, tmp_path / "clip.npy")
        )


def test_a_clip_with_other_logits_is_an_error_that_names_it() -> None:
    expected = np.array([[1.0, -8.0], [0.1, 0.2], [3.0, 4.0]])
    names = ["a", "b", "c"]
    found = expected.copy()
    device.agree(found, expected, names, 1e-3, "student onnx_fp32")
    found[0, 1] += 0.0079  # 8 is its largest
    found[1, 0] += 0.0009  # and 1 the least
    device.agree(found, expected, names, 1e-3, "student onnx_fp32")
    found[2, 0] -= 0.0041
    with pytest.raises(
        ExportError,
        match="student onnx_fp32: clip c: found logits that are 0.001 of .*at most 0.001",
    ):
        device.agree(found, expected, names, 1e-3, "student onnx_fp32")
    found[1, 1] = np.nan
    with pytest.raises(ExportError, match="clip b: found logits that are nan"):
        device.agree(found, expected, names, 1e-3, "student onnx_fp32")


@pytest.mark.parametrize("form", ["compact", "onnx_fp32"])
def test_a_form_that_says_something_else_stops_the_measuring(
    form: str, student: Blueprint, test: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(x: Tensor) -> Tensor:
        logits = student.load()(x)
        logits[(x == test.x[7]).flatten(1).all(dim=1)] += 1
        return logits

    monkeypatch.setattr(forms, "make", lambda *told: ({form: off}, {}))
    monkeypatch.setattr(device, "memory", lambda *told: {})
    (tmp_path / "student.onnx").touch()
    with pytest.raises(ExportError, match=f"student {form}: clip clip7: found logits that are"):
        device.measure([student], test.x, test, tmp_path, replace(HOW, forms=[form]))


@pytest.mark.slow
def test_a_graph_of_one_size_of_batch_is_an_error(
    student: Blueprint, test: Clips, tmp_path: Path
) -> None:
    path = tmp_path / "student.onnx"
    edge.export(inference.compact(student.load(), SHAPE), path)
    form = forms.of_file(path)
    one_by_one = device.any_batch(form, test.x[:3], "student onnx_fp32")
    np.testing.assert_allclose(one_by_one, form(test.x[:3]).numpy(), rtol=1e-4, atol=1e-5)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, path)
    with pytest.raises(
        ExportError, match="student onnx_fp32: found no answer to 1 clips at once, expected one: "
    ):
        device.any_batch(forms.of_file(path), test.x[:3], "student onnx_fp32")
    with pytest.raises(ExportError, match="found 1 answers to 2 clips at once, expected 2"):
        device.any_batch(lambda x: torch.zeros(1, CLASSES), test.x[:3], "student onnx_fp32")


def test_every_clip_has_its_turn(test: Clips) -> None:
    seen: list[Tensor] = []

    def form(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    work = device.one_by_one(form, test.x)
    for _ in range(13):
        work()
    assert torch.equal(torch.cat(seen), torch.cat([test.x, test.x[:2]]))


def test_without_the_extra_an_onnx_form_is_an_error_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    HOW.check()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError) as caught:
        HOW.check()
    assert str(caught.value) == (
        "export.forms: found onnx_fp32, onnx_int8, but found no package onnxruntime; "
        "`pip install -e '.[edge]'` installs it; or leave them out of the list"
    )
    replace(HOW, forms=["eager", "compact", "compiled"]).check()


def test_forms_in_torch_do_without_the_extra(
    student: Blueprint, test: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(device, "memory", lambda *told: {"peak_bytes": 1, "import_bytes": 2})
    rows, missing = device.measure(
        [student], test.x, test, tmp_path, replace(HOW, forms=["eager", "compact"])
    )
    assert [row["form"] for row in rows] == ["eager", "compact"] and missing == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def forgetful() -> Iterator[None]:
    """torch's compiler remembers nothing of other tests, nor they of this one."""
    from torch import _dynamo
    from torch._inductor import cpp_builder

    _dynamo.reset()
    cpp_builder.cpp_compiler_search.cache_clear()
    yield
    _dynamo.reset()
    cpp_builder.cpp_compiler_search.cache_clear()


def test_a_network_whose_compiled_form_is_not_asked_for_is_said_to_be_left_out(
    student: Blueprint, test: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "memory", lambda *told: {"peak_bytes": 1, "import_bytes": 2})
    how = replace(HOW, forms=["eager", "compiled"], compiled=["teacher"])
    rows, missing = device.measure([student], test.x, test, tmp_path, how)
    assert [row["form"] for row in rows] == ["eager"]
    assert missing == [
        {"model": "student", "form": "compiled", "reason": "export.compiled does not name it"}
    ]


@pytest.mark.slow
@COMPILING
@pytest.mark.usefixtures("forgetful")
def test_without_a_compiler_the_compiled_form_is_not_available_and_the_others_are(
    student: Blueprint, test: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setattr(device, "memory", lambda *told: {"peak_bytes": 1, "import_bytes": 2})
    how = replace(HOW, forms=["eager", "compiled"])
    rows, missing = device.measure([student], test.x, test, tmp_path, how)
    assert [row["form"] for row in rows] == ["eager"]
    (only,) = missing
    assert (only["model"], only["form"]) == ("student", "compiled")
    assert "C++ compiler" in only["reason"] and "\n" not in only["reason"]


@pytest.mark.slow
@COMPILING
@pytest.mark.usefixtures("forgetful")
def test_a_compiled_form_says_the_same_of_one_person_and_of_two(
    student: Blueprint, test: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    # traced as ever; no compiler of C++ is asked for
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    made, missing = forms.make(["compiled"], student.load(), test.x, Path("nowhere"), "student")
    assert missing == {} and isinstance(made["compiled"], torch._dynamo.OptimizedModule)
    with torch.no_grad():
        found = device.answers(made["compiled"], test.x, 1)
    device.agree(
        found, evaluation.forward(student.load(), test.x).numpy(), test.names, 1e-3, "compiled"
    )


def test_only_the_networks_that_are_named_are_compiled() -> None:
    how = Export(streams=[])
    assert how.of("student") == ["eager", "compiled", "onnx_fp32", "onnx_int8"]
    assert how.of("teacher") == ["eager", "onnx_fp32", "onnx_int8"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"forms": ["onnx"]},
            "export.forms: found 'onnx', expected some of eager, compact, compiled, onnx_fp32",
        ),
        (
            {"compiled": ["encoder"]},
            "export.compiled: found 'encoder', expected some of teacher, student",
        ),
        ({"repeats": 0}, "export.repeats: found 0, expected 1 or more"),
        ({"threads": 0}, "export.threads: found 0, expected 1 or more"),
        ({"calibration": 0}, "export.calibration: found 0, expected 1 or more"),
        ({"tolerance": 0.0}, "export.tolerance: found 0.0, expected more than 0"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build({"streams": ["joint"], **values}, Export, "params.yaml: export")
