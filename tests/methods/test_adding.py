"""docs/adding.md is tried: its method enters the table by a word, its values train it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Generator, Tensor

from asma import methods, params, skeleton
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.methods import METHODS, Method, Pretrain
from asma.training import Checkpoint, Curves, Run
from asma.views import ViewConfig
from tests.methods.clips import MadeUp

PAGE = (Path(__file__).parents[2] / "docs" / "adding.md").read_text(encoding="utf-8")


def block(language: str, begin: str) -> str:
    """The page's piece of code that begins like this."""
    (found,) = re.findall(rf"```{language}\n({re.escape(begin)}.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Method]:
    """The method of the page, by its word in the table."""
    code = block("python", "# asma/methods/twins.py")
    (tmp_path / "twins.py").write_text(code, encoding="utf-8")
    (word, place), *others = re.findall(r'^ {4}"(\w+)": "([\w.]+:\w+)",$', PAGE, re.MULTILINE)
    assert (word, place, others) == ("twins", "asma.methods.twins:Twins", [])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, word, place.removeprefix("asma.methods."))
    return methods.find(word)


@pytest.fixture
def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(block("yaml", "# in params.yaml"))
    return content


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(14, 3, 8, 20, 1, generator=generator))


def build(kind: type[Method], settings: Pretrain, augment: Augment) -> Method:
    torch.manual_seed(0)
    kinect = skeleton.load("kinect_v1")
    encoder = STGCN(kinect, (4, 6), (1, 1), dropout=0.0)
    return kind({"joint": encoder}, settings, ViewConfig(kinect, augment))


def train(
    method: Method,
    settings: Pretrain,
    clips: MadeUp,
    checkpoint: Checkpoint | None = None,
) -> Curves:
    return methods.train(
        method, clips, settings, run=Run(), device=torch.device("cpu"), seed=1, label="twins",
        checkpoint=checkpoint,
    )  # fmt: skip


def test_a_method_is_a_file_a_word_and_its_values(
    kind: type[Method],
    values: dict[str, Any],
    clips: MadeUp,
) -> None:
    settings = params.build(values["pretrain"], kind.Settings, "params.yaml: pretrain")
    assert settings.optimiser.nesterov and settings.schedule.at == (0.6, 0.8)
    short = replace(settings, epochs=2, batch_size=4)
    method = build(kind, short, Augment(**values["augment"]))
    curves = train(method, short, clips)
    assert list(curves) == ["twins", "twins_apart", "twins_alike"]
    assert all(len(values) == 2 for values in curves.values())
    centre = method.centre
    assert isinstance(centre, Tensor) and centre.any()


def test_it_is_taken_up_where_it_was_killed(
    kind: type[Method],
    values: dict[str, Any],
    clips: MadeUp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = params.build(values["pretrain"], kind.Settings, "test")
    short = replace(settings, epochs=3, batch_size=4)
    whole, killed, again = (build(kind, short, Augment()) for _ in range(3))
    curves = train(whole, short, clips)
    checkpoint = Checkpoint(tmp_path / "twins.safetensors", "key")
    after_step, steps = killed.after_step, 0

    def stop() -> None:
        nonlocal steps
        steps += 1
        if steps == 5:  # of nine
            raise KeyboardInterrupt
        after_step()

    monkeypatch.setattr(killed, "after_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(killed, short, clips, checkpoint)
    assert train(again, short, clips, checkpoint) == curves
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_a_wrong_key_and_a_wrong_value_of_its_values_are_named(
    kind: type[Method],
    values: dict[str, Any],
) -> None:
    section = values["pretrain"]
    with pytest.raises(params.ParamsError, match="unknown key 'inertja'; expected 'inertia'"):
        params.build(section | {"inertja": 0.5}, kind.Settings, "params.yaml")
    with pytest.raises(params.ParamsError, match="pretrain.inertia: found 1.5, expected 0 to"):
        params.build(section | {"inertia": 1.5}, kind.Settings, "params.yaml")
