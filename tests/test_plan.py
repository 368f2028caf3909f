"""A plan file and what is built from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from asma import plan
from asma.plan import ParamsError, Plan, build


@dataclass(frozen=True)
class Inner:
    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: found {self.width}, expected 1 or more")


@dataclass(frozen=True)
class Outer:
    epochs: int
    inner: Inner = Inner()
    by_name: dict[str, Inner] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    seed: int
    train: Outer


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"epochs": 1, "epocs": 2},
            "here: unknown key 'epocs'; expected 'epochs' (of by_name, epochs, inner)",
        ),
        (
            {"epochs": 1, "inner": {"widht": 2}},
            "here.inner: unknown key 'widht'; expected 'width' (of width)",
        ),
        (
            {"epochs": 1, "by_name": {"xsub": {"widht": 2}}},
            "here.by_name.xsub: unknown key 'widht'; expected 'width' (of width)",
        ),
        ({}, "here: missing epochs"),
        ({"epochs": "many"}, "here.epochs: found 'many': Input should be a valid integer"),
        ({"epochs": 1.5}, "here.epochs: found 1.5: Input should be a valid integer"),
        ({"epochs": 1, "inner": {"width": 0}}, "width: found 0, expected 1 or more"),
    ],
)
def test_a_mistake_is_named_with_key_found_expected_and_the_nearest_known(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        build(values, Outer, "here")
    assert said in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ParamsError) as caught:
        build({"epochs": "many", "inner": {"widht": 2}}, Outer, "here")
    assert len(str(caught.value).splitlines()) == 2


def made(**settings: Any) -> Plan:
    axes = {"recipe": "random", "benchmark": "toy_xsub"}
    return Plan(
        "probe", axes, "random", {"benchmark": "b.h5"}, "runs/probe/random@toy_xsub", settings
    )


def test_a_plan_that_is_written_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = plan.write(made(seed=1, train={"epochs": 2}), Path("plan/probe/random@toy_xsub.json"))
    found = plan.read(file)
    assert (found.name, found.recipe, found.file) == ("random@toy_xsub", "random", file)
    assert found.path("benchmark") == Path("b.h5")
    assert found.load(Settings) == Settings(1, Outer(2))
    assert found.about() == {"run": "runs/probe/random@toy_xsub", "recipe": "random"}
    again = plan.write(made(seed=1, train={"epochs": 2}), Path("again.json"))
    assert again.read_bytes() == file.read_bytes()


def test_settings_of_this_machine_are_laid_over_and_stand_in_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = plan.write(made(run={"precision": "fp32"}, seed=1), Path("plan/probe/one.json"))
    plan.MACHINE.write_text(json.dumps({"run": {"threads": 3}, "parse": {"workers": 2}}))
    assert plan.read(file).settings == {"run": {"precision": "fp32", "threads": 3}, "seed": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"x\.json:1: found .*, expected JSON"),
        ("[]", r"x\.json: found no plan of a run"),
        ('{"stage": "probe"}', r"x\.json: found no plan of a run"),
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(ParamsError, match=said):
        plan.read(file)
    with pytest.raises(
        ParamsError, match=r"y\.json: not found; `python -m stages\.plan` writes it"
    ):
        plan.read(tmp_path / "y.json")


def test_a_section_that_a_plan_does_not_have_is_named() -> None:
    with pytest.raises(ParamsError, match="settings: key 'trian' not found, there is 'train'"):
        made(train={"epochs": 2}).section("trian", Outer)
