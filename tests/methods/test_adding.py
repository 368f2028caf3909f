"""docs/adding.md is tried: its method enters the table by a word, its recipe trains it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from asma import methods, skeleton
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.methods import METHODS, Method, Pretrain
from asma.params import Config, Project
from asma.plan import ParamsError
from asma.training import Checkpoint
from asma.views import ViewConfig
from tests.methods.clips import MadeUp, train

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")


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
def recipe(tmp_path: Path) -> Path:
    """The recipe of the page, in a project that else is this one."""
    for name in ("recipes", "budgets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    path = tmp_path / "recipes" / "twins.yaml"
    path.write_text(block("yaml", "# recipes/twins.yaml"), encoding="utf-8")
    return path


def config(recipe: Path, budget: str = "small") -> Config:
    return Project(recipe.parents[1]).config("twins", budget)


@pytest.fixture
def settings(kind: type[Method], recipe: Path) -> Pretrain:
    found: Pretrain = config(recipe).section("pretrain", Pretrain)
    assert isinstance(found, kind.Settings)
    return found


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(14, 3, 8, 20, 1, generator=generator))


def build(kind: type[Method], settings: Pretrain, augment: Augment) -> Method:
    torch.manual_seed(0)
    kinect = skeleton.load("kinect_v1")
    encoder = STGCN(kinect, (4, 6), (1, 1), dropout=0.0)
    return kind({"joint": encoder}, settings, ViewConfig(kinect, augment))


def test_a_method_is_a_file_a_word_and_a_recipe(
    kind: type[Method],
    settings: Pretrain,
    recipe: Path,
    clips: MadeUp,
) -> None:
    assert settings.optimiser.nesterov and settings.schedule.at == (0.6, 0.8)
    assert settings.learning_rate == 0.05 and settings.batches == "mixed"
    assert config(recipe, "paper").section("pretrain", Pretrain).learning_rate == 0.1
    assert Project(recipe.parents[1]).name("twins") == "Twins"
    short = replace(settings, epochs=2, batch_size=4, warmup_epochs=0)
    method = build(kind, short, config(recipe).section("augment", Augment))
    curves = train(method, clips, short)
    assert list(curves) == ["twins", "twins_apart", "twins_alike"]
    assert all(len(values) == 2 for values in curves.values())
    centre = method.centre
    assert isinstance(centre, Tensor) and centre.any()


def test_it_is_taken_up_where_it_was_killed(
    kind: type[Method],
    settings: Pretrain,
    clips: MadeUp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = replace(settings, epochs=3, batch_size=4, warmup_epochs=0)
    whole, killed, again = (build(kind, short, Augment()) for _ in range(3))
    curves = train(whole, clips, short)
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
        train(killed, clips, short, checkpoint)
    assert train(again, clips, short, checkpoint) == curves
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("inertia:", "inertja:", "pretrain: unknown key 'inertja'; expected 'inertia'"),
        ("inertia: 0.95", "inertia: 1.5", "pretrain: pretrain.inertia: found 1.5, expected 0 to"),
        ("method: twins", "method: twin", "pretrain.method: found 'twin', expected one of asma"),
    ],
)
def test_a_wrong_key_and_a_wrong_value_are_named_by_the_recipe(
    kind: type[Method], recipe: Path, right: str, wrong: str, said: str
) -> None:
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(ParamsError, match=re.escape(said)) as caught:
        config(recipe).section("pretrain", Pretrain)
    assert str(caught.value).startswith("recipes/twins.yaml: ")
