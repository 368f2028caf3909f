from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml

from asma import params
from asma.augment import Augment
from asma.backbones import Encoder
from asma.data.clips import Prepare
from asma.data.parse import Parse
from asma.data.sets import Set
from asma.data.synthetic import Synthesize
from asma.deployment.device import Export
from asma.distillation import Distill
from asma.illustration import Illustrate
from asma.masking import Mask
from asma.methods.asma import AsmaSettings
from asma.motion import Motion
from asma.params import ParamsError
from asma.protocols.finetuned import Finetune
from asma.protocols.frozen import Fuse, Probe
from asma.training import Run

ROOT = Path(__file__).resolve().parents[1]
TEXT = """
train:
  epochs: by_budget
  rate: 1e-3
  name: plain
  inner:
    width: by_budget
  budgets:
    paper:
      epochs: 10
      inner:
        width: 4
    small:
      epochs: 40
      inner:
        width: 2
deep:
  down:
    epochs: 3
    rate: 0.5
word: seed
"""


@dataclass(frozen=True)
class Inner:
    width: int = 1
    depth: int = 7


@dataclass(frozen=True)
class Train:
    epochs: int
    rate: float
    name: str = "plain"
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"train.epochs: found {self.epochs}, expected 0 or more")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def test_a_section_becomes_a_dataclass_with_its_defaults(file: Path) -> None:
    assert params.load("train", Train, file=file) == Train(10, 1e-3, "plain", Inner(4, 7))


@pytest.mark.parametrize(
    "word",
    ["on", "off", "yes", "no", "y", "N", "true", "False", "true_distance", "falsey", "~", "null", "none"]
    + ["010", "08", "-7", "+3", "0x1F", "0o17", "1_000", "12:30"]
    + ["1e-3", "1.", ".5", "-2.5E+4", ".inf", "-.INF", ".nan", "1.2.3", "2024-05-01", "0b11", "''", "'1'"],
)
def test_a_value_is_what_dvc_takes_it_for(tmp_path: Path, word: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"train: {{rate: {word}}}\n")
    ours, theirs = params.section("train", file=path)["rate"], parse_yaml(path.read_text(), path)["train"]["rate"]
    assert (repr(ours), type(ours)) == (repr(theirs), type(theirs))


def test_a_change_is_read_as_the_file_is(file: Path) -> None:
    params.change("train.name=on")
    assert params.section("train", file=file)["name"] == "on"
    params.change(params.DEFAULT)


@pytest.mark.parametrize("seed", ["abc", "", "-1", "1.5", "true", "[1]"])
def test_a_seed_is_a_whole_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"seed: {seed}\n")
    with pytest.raises(ParamsError, match="params.yaml: seed: found .*, expected an integer of 0 or more"):
        params.seed()
    Path("params.yaml").write_text("seed: 12\n")
    assert params.seed() == 12


def test_a_budget_that_is_no_mapping_is_named(file: Path) -> None:
    file.write_text("train: {epochs: 1, budgets: {small: 5}}\n")
    with pytest.raises(ParamsError, match=r"train\.budgets\.small: found 5, expected a mapping of the values"):
        params.section("train", "small", file)
    file.write_text("train: {epochs: 1, budgets: [small]}\n")
    with pytest.raises(ParamsError, match=r"train\.budgets: found \['small'\], expected a mapping"):
        params.section("train", "small", file)


def test_a_value_given_for_all_budgets_holds_for_all_and_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params.load("train", Train, "small", file)
    assert capsys.readouterr().out == ""
    file.write_text(TEXT.replace("  epochs: by_budget", "  epochs: 2").replace("width: by_b", "width: 5 # b"))
    for budget in ("paper", "small"):
        found = params.load("train", Train, budget, file)
        assert (found.epochs, found.inner.width) == (2, 5)
    said = capsys.readouterr().out
    assert f"{file}: train.epochs: 2 holds for every budget (small: 40)" in said
    assert f"{file}: train.inner.width: 5 holds for every budget (paper: 4)" in said


def test_a_file_in_another_encoding_is_named(file: Path) -> None:
    file.write_bytes("train: Übung\n".encode("latin-1"))
    with pytest.raises(ParamsError, match="params.yaml: found bytes that are not UTF-8 .*, expected UTF-8 text"):
        params.read(file)


def test_a_dotted_name_goes_down(file: Path) -> None:
    assert params.load("deep.down", Train, file=file).epochs == 3


def test_a_budget_changes_the_few_values_it_names(file: Path) -> None:
    small = params.load("train", Train, "small", file)
    assert (small.epochs, small.rate, small.inner.width, small.inner.depth) == (40, 1e-3, 2, 7)


def test_a_budget_that_a_section_does_not_know_changes_nothing(file: Path) -> None:
    assert params.load("train", Train, "paper", file) == params.load("train", Train, file=file)
    assert params.load("deep.down", Train, "small", file).epochs == 3


def test_a_budget_leaves_the_section_itself_as_it_was(file: Path) -> None:
    params.load("train", Train, "small", file)
    assert params.load("train", Train, file=file).inner.width == 4


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  epochs: by_budget", "  epochz: 10", ["train", "unknown key 'epochs'", "'epochz'"]),
        ("    paper:\n      epochs: 10", "    paper:\n      epochz: 10", ["unknown key 'epochz'", "'epochs'"]),
        ("        width: 4", "        widht: 4", ["train.inner", "unknown key 'widht'", "'width'"]),
        ("      epochs: 10\n", "", ["train.epochs", "by_budget", "under budgets.paper"]),
        ("  rate: 1e-3\n", "", ["train", "missing rate"]),
        ("      epochs: 10", "      epochs: many", ["train.epochs", "found 'many'", "integer"]),
        ("      epochs: 10", "      epochs: 1.5", ["train.epochs", "found 1.5", "integer"]),
        ("      epochs: 10", "      epochs: -1", ["train.epochs", "found -1", "expected 0 or more"]),
        ("train:", "trian:", ["top level", "'train' not found", "'trian'"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(file: Path, before: str, after: str, said: list[str]) -> None:
    assert before in TEXT
    file.write_text(TEXT.replace(before, after, 1))
    with pytest.raises(ParamsError) as caught:
        params.load("train", Train, file=file)
    for word in (str(file), *said):
        assert word in str(caught.value)


def test_a_mistake_in_a_budget_is_found_where_the_budget_holds(file: Path) -> None:
    file.write_text(TEXT.replace("      epochs: 40", "      epoch: 40"))
    with pytest.raises(ParamsError, match="unknown key 'epoch'; expected 'epochs'"):
        params.load("train", Train, "small", file)


def test_a_value_is_no_section(file: Path) -> None:
    with pytest.raises(ParamsError, match="word: found 'seed', expected a section"):
        params.load("word", Train, file=file)
    with pytest.raises(ParamsError, match="word: key 'down' not found, there is 'seed'"):
        params.load("word.down", Train, file=file)


def test_a_file_that_is_missing_or_no_mapping_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParamsError, match="not found; run from the root"):
        params.read(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(ParamsError, match="found list, expected a mapping"):
        params.read(path)
    path.write_text("a: [1\nb: 2\n")
    with pytest.raises(ParamsError, match="not valid YAML"):
        params.read(path)


SECTIONS: list[tuple[str, type[Any]]] = [
    ("synthesize", Synthesize),
    ("parse", Parse),
    ("prepare", Prepare),
    ("motion", Motion),
    ("augment", Augment),
    ("mask", Mask),
    ("encoder", Encoder),
    ("pretrain", AsmaSettings),
    ("probe", Probe),
    ("finetune", Finetune),
    ("fuse", Fuse),
    ("distill", Distill),
    ("illustrate", Illustrate),
    ("export", Export),
    ("run", Run),
]


def budgets() -> list[str]:
    content = params.read(ROOT / "params.yaml")
    found = {budget for part in content.values() if isinstance(part, dict) for budget in part.get("budgets", {})}
    return ["paper", *sorted(found)]


@pytest.mark.parametrize(("name", "cls"), SECTIONS)
def test_every_section_loads_under_every_budget(name: str, cls: type[Any]) -> None:
    for budget in budgets():
        assert isinstance(params.load(name, cls, budget, ROOT / "params.yaml"), cls)


def test_every_set_loads_and_names_a_budget_there_is() -> None:
    content = params.read(ROOT / "params.yaml")
    for name in content["sets"]:
        known = params.load(f"sets.{name}", Set, file=ROOT / "params.yaml")
        assert known.budget in budgets()
        assert known.splits


def test_what_is_in_the_table_is_known() -> None:
    content = params.read(ROOT / "params.yaml")
    splits = {f"{name}_{split}" for name in content["datasets"] for split in content["sets"][name]["splits"]}
    assert set(content["splits"]) <= splits
    assert set(content["benchmarks"]) <= set(content["splits"])
    assert {content["fuse"]["first"], content["fuse"]["second"]} <= set(content["encoders"])
    assert set(content["ensemble"]["weights"]) >= set(content["streams"])
    assert content["illustrate"]["stream"] in content["streams"]
    assert content["illustrate"]["mode"] in content["fuse"]["modes"]
    assert set(content["export"]["teachers"]) <= set(content["distill"]["teachers"])
    assert set(content["export"]["streams"]) <= set(content["streams"])
    for name, ends in content["transfers"].items():
        assert name == f"{ends['source']}_to_{ends['target']}"
        assert ends["source"] in content["benchmarks"]
        assert ends["target"] in content["splits"]


@dataclass(frozen=True)
class _Inner:
    epochs: int = 1


@dataclass(frozen=True)
class _Outer:
    inner: _Inner
    by_name: dict[str, _Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"inner": {"epocz": 2}}, "section.inner"),
        ({"inner": {}, "by_name": {"xsub": {"epocz": 2}}}, "section.by_name.xsub"),
    ],
)
def test_an_unknown_key_is_refused_however_deep(values: dict[str, Any], where: str) -> None:
    with pytest.raises(params.ParamsError, match=rf"{where}: unknown key 'epocz'; expected 'epochs'"):
        params.build(values, _Outer, "section")


def test_a_misspelt_budget_is_named(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("pretrain:\n  epochs: 1\n  budgets:\n    small:\n      epochs: 2\n", encoding="utf-8")
    params.check_budget("small", "sets.mine.budget", file)
    params.check_budget("paper", "sets.mine.budget", file)
    with pytest.raises(params.ParamsError, match="sets.mine.budget: found 'smal', expected 'small'"):
        params.check_budget("smal", "sets.mine.budget", file)


@pytest.fixture
def _unchanged() -> Iterator[None]:
    yield
    params.change(params.DEFAULT)


@pytest.mark.usefixtures("_unchanged")
def test_a_change_is_read_instead_of_what_stands_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT.replace("  rate: 1e-3", "  rate: 1e-3\n  name: plain"))
    params.change("train.rate=0.5+train.name=other+word=word")
    assert params.load("train", Train, file=file) == Train(10, 0.5, "other", Inner(4))
    assert params.read(file)["word"] == "word"
    assert params.changed() == "train.rate=0.5+train.name=other+word=word"
    params.change("default")
    assert params.load("train", Train, file=file) == Train(10, 1e-3, "plain", Inner(4))
    assert params.changed() == "default"


@pytest.mark.usefixtures("_unchanged")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("train.epochs=3", Train(3, 1e-3, "plain", Inner(2))),
        ("train.inner.width=9", Train(40, 1e-3, "plain", Inner(9))),
        ("default+train.inner.width=9+train.epochs=3", Train(3, 1e-3, "plain", Inner(9))),
    ],
)
def test_a_change_wins_over_a_budget(tmp_path: Path, change: str, expected: Train) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT)
    params.change(change)
    assert params.load("train", Train, budget="small", file=file) == expected


@pytest.mark.usefixtures("_unchanged")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epoch=3", r"--change train.epoch: key not found, there is 'epochs'"),
        ("trian.epochs=3", r"--change trian.epochs: key not found, there is no such section"),
        ("word.epochs=3", r"--change word.epochs: key not found, there is no such section"),
        ("train.epochs=many", r"train.epochs: found 'many'"),
    ],
)
def test_a_change_of_what_is_not_there_is_an_error(tmp_path: Path, change: str, message: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT.replace("  rate: 1e-3", "  rate: 1e-3\n  name: plain"))
    params.change(change)
    with pytest.raises(ParamsError, match=message):
        params.load("train", Train, file=file)


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train.epochs=", "a=1++b=2"])
def test_a_change_that_is_not_a_key_and_a_value_is_an_error(text: str) -> None:
    with pytest.raises(ParamsError, match=r"--change: found .*, expected <key>=<value>"):
        params.change(text)
    assert params.changed() == "default"


def test_a_benchmark_is_named_by_its_set_and_its_split() -> None:
    assert params.dataset_of("ntu60_xsub", ["ntu60", "ntu120"]) == ("ntu60", "xsub")
    assert params.dataset_of("utd_mhad_xsub", ["utd_mhad"]) == ("utd_mhad", "xsub")


def test_the_longest_set_that_fits_is_meant() -> None:
    assert params.dataset_of("demo_ntu_xsub", ["demo", "demo_ntu"]) == ("demo_ntu", "xsub")
    assert params.dataset_of("demo_ntu_xsub", ["demo_ntu", "demo"]) == ("demo_ntu", "xsub")


@pytest.mark.parametrize("benchmark", ["ntu60", "ntu120_xsub", "ntu60xsub"])
def test_a_benchmark_of_no_set_is_an_error_that_names_the_sets(benchmark: str) -> None:
    with pytest.raises(ValueError, match=f"benchmark '{benchmark}': expected <dataset>_<split> .*'ntu60'"):
        params.dataset_of(benchmark, ["ntu60"])
