"""What every method must be able to do, whichever row of the table it is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import methods, params, skeleton, training
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods import METHODS, Batch, Method, Pretrain
from asma.training import Checkpoint, Curves, Fit, Step
from asma.views import ViewConfig
from tests.methods import clips
from tests.methods.clips import MadeUp

SKELETON = skeleton.load("kinect_v1")
VIEWS = ViewConfig(SKELETON, Augment(), Mask("highdeg_lowmot", joints=5, frames=2))
CPU = torch.device("cpu")
ROWS = sorted(METHODS)
LEARNING = [name for name in ROWS if methods.find(name).learns]
SMALL: dict[str, Any] = {"projector": 8, "queue": 100, "projection": 8, "drop_last": False}


def settings_of(name: str, **values: Any) -> Pretrain:
    """A method's own settings, with a training of two small epochs."""
    kind = methods.find(name).Settings
    known = {field.name for field in fields(kind)}
    own = {key: value for key, value in SMALL.items() if key in known}
    common: dict[str, Any] = {"method": name, "epochs": 2, "batch_size": 4, "learning_rate": 0.01}
    return kind(**(own | common | {"dropout": 0.5} | values))


def build(name: str, streams: tuple[str, ...] = ("bone",), **values: Any) -> Method:
    torch.manual_seed(0)
    encoders = {stream: STGCN(SKELETON, (4, 6), (1, 1), 0.5) for stream in streams}
    return methods.find(name)(encoders, settings_of(name, **values), VIEWS)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(11, 3, 8, 20, 1, generator=generator)


def clips_for(method: Method, x: Tensor) -> MadeUp:
    return MadeUp.of(x, *method.inputs(list(method.encoders)))


def train(
    method: Method,
    x: Tensor,
    settings: Pretrain,
    checkpoint: Checkpoint | None = None,
) -> Curves:
    return clips.train(method, clips_for(method, x), settings, checkpoint)


@pytest.mark.parametrize("name", ROWS)
def test_it_has_settings_of_its_own_that_say_its_name(name: str) -> None:
    kind = methods.find(name)
    assert issubclass(kind.Settings, Pretrain) and issubclass(kind.Settings, Fit)
    values = {"method": name, "epochs": 3, "batch_size": 4, "learning_rate": 0.1}
    settings = params.build(values, kind.Settings, "test")
    assert settings.method == name
    with pytest.raises(params.ParamsError, match="unknown key 'projektor'"):
        params.build({"method": name, "projektor": 3}, kind.Settings, "test")


@pytest.mark.parametrize("name", ROWS)
def test_a_stream_that_it_trains_has_the_encoder_it_was_given(name: str) -> None:
    method = build(name)
    assert list(method.encoders) == ["bone"]
    assert isinstance(method.encoder("bone"), STGCN)
    assert method.inputs(["bone"])
    if not method.together:
        with pytest.raises(ValueError, match=r"with the streams joint, bone, expected one"):
            build(name, ("joint", "bone"))


@pytest.mark.parametrize("name", LEARNING)
def test_its_losses_have_names_and_the_encoder_learns_from_their_sum(name: str, x: Tensor) -> None:
    method = build(name, dropout=0.0).train()
    clips = clips_for(method, x)
    method.begin(clips)
    losses = method.loss(clips.batch(Generator().manual_seed(1)))
    assert losses and all(isinstance(key, str) for key in losses)
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(weight.grad is not None for weight in method.encoder("bone").parameters())
    for key, weight in method.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, key


@pytest.mark.parametrize("name", LEARNING)
def test_two_epochs_leave_curves_and_repeat_to_the_byte(name: str, x: Tensor) -> None:
    one, two = build(name), build(name)
    before = {key: value.clone() for key, value in one.encoder("bone").state_dict().items()}
    curves = train(one, x, settings_of(name))
    assert curves == train(two, x, settings_of(name))
    assert one.curve in curves
    assert all(len(values) == 2 for values in curves.values())
    assert all(key == one.curve or key.startswith(f"{one.curve}_") for key in curves)
    same(one, two)
    after = one.encoder("bone").state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in after.items())


def same(a: nn.Module, b: nn.Module) -> None:
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("where", [(0, 1), (1, 0), (1, 1)])
def test_a_training_that_is_killed_ends_as_one_that_was_not(
    name: str,
    where: tuple[int, int],
    x: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(name, accumulate=2)
    whole = build(name)
    curves = train(whole, x, settings)
    method, calls = build(name), 0
    loss = method.loss

    def killed(batch: Batch) -> dict[str, Tensor]:
        nonlocal calls
        calls = calls + 1 if batch.epoch == where[0] else 0
        if (batch.epoch, calls) == (where[0], where[1] + 1):
            raise KeyboardInterrupt
        return loss(batch)

    monkeypatch.setattr(method, "loss", killed)
    checkpoint = Checkpoint(tmp_path / "method.safetensors", "key")
    with pytest.raises(KeyboardInterrupt):
        train(method, x, settings, checkpoint)
    assert checkpoint.path.is_file() == (where[0] > 0)
    again = build(name)
    torch.manual_seed(99)  # whatever was drawn before
    assert train(again, x, settings, checkpoint) == curves
    same(again, whole)


@pytest.mark.parametrize("name", LEARNING)
def test_its_losses_do_not_depend_on_labels(name: str, x: Tensor) -> None:
    losses = []
    for labels in (torch.arange(11), torch.zeros(11, dtype=torch.int64)):
        method = build(name, dropout=0.0).train()
        clips = replace(clips_for(method, x), labels=labels)
        torch.manual_seed(3)
        method.begin(clips)
        losses.append(method.loss(clips.batch(Generator().manual_seed(1))))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", LEARNING)
def test_what_computes_at_every_step_is_named_for_the_compiler(name: str) -> None:
    method = build(name)
    networks = method.networks()
    assert method.encoder("bone") in networks
    assert not any(isinstance(network, nn.ModuleDict) for network in networks)


def test_a_batch_is_cut_from_all_that_the_clips_have(x: Tensor) -> None:
    clips = replace(MadeUp.of(x, "joint", "bone"), lengths=torch.arange(11))
    index, generator = torch.tensor([3, 0]), Generator()
    batch = Batch.cut(clips, Step(index, 4, generator))
    assert (batch.epoch, batch.generator) == (4, generator)
    assert batch.index is index and batch.lengths.tolist() == [3, 0]
    assert batch.labels.tolist() == [0, 0]
    assert list(batch.x) == ["joint", "bone"]
    assert torch.equal(batch.x["bone"], x[[3, 0]])


def test_an_unknown_method_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match="pretrain.method: found 'moko', expected one of asma"):
        methods.find("moko")


def test_settings_of_another_method_are_refused() -> None:
    encoders = {"joint": STGCN(SKELETON, (4, 6), (1, 1))}
    with pytest.raises(TypeError, match="Asma: found SkeletonClrSettings, expected AsmaSettings"):
        methods.find("asma")(encoders, settings_of("skeletonclr"), VIEWS)


LAZY = """
import sys
from asma import methods, backbones
table = methods.METHODS | backbones.BACKBONES
rows = {row.partition(":")[0] for row in table.values()}
assert not rows & set(sys.modules), rows & set(sys.modules)
methods.find("asma"), backbones.find("gin")
print(sorted(rows & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_row_is_imported_when_it_is_asked_for_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAZY],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["['asma.backbones.gin',", "'asma.methods.asma']"]


def test_what_begin_needs_is_not_asked_of_one_that_trains_nothing(x: Tensor) -> None:
    method = build("untrained")
    assert train(method, x, settings_of("untrained")) == {}
    assert not method.training or not method.encoder("bone").training


def test_the_sum_and_every_part_of_asma_are_curves(x: Tensor) -> None:
    curves = train(build("asma"), x, settings_of("asma"))
    assert list(curves) == ["barlow_twins", "barlow_twins_spatial", "barlow_twins_temporal"]
    for total, spatial, temporal in zip(*curves.values(), strict=True):
        assert total == pytest.approx(spatial + temporal, rel=1e-5)


def test_weights_of_every_stream_are_left_by_name(tmp_path: Path) -> None:
    method = build("skeletonclr")
    training.save_weights(tmp_path / "weights", encoder=method.encoder("bone"))
    again = STGCN(SKELETON, (4, 6), (1, 1), 0.5)
    training.load_weights(tmp_path / "weights", encoder=again)
    same(again, method.encoder("bone"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"batches": "by_hand"},
            "pretrain.batches: found 'by_hand', expected one of mixed, by_person",
        ),
        (
            {"batches": "by_person", "drop_last": True},
            "pretrain.drop_last: found true with batches",
        ),
        ({"frame_step": 0}, "pretrain.frame_step: found 0, expected 1 or more"),
    ],
)
def test_batches_that_cannot_be_drawn_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Pretrain(method="asma", epochs=1, batch_size=4, learning_rate=0.1, **change)
