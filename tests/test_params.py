"""params.yaml, recipes/, datasets/ and budgets/ → values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml

from asma import params
from asma.params import ParamsError, Project

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "params.yaml": """
seed: 1
datasets:
- toy
train:
  epochs: by_budget
  rate: 1e-3
  name: plain
  inner:
    width: by_budget
fuse:
  modes:
  - a
  first: one
""",
    "budgets/paper.yaml": "train: {epochs: 10, inner: {width: 4}}",
    "budgets/small.yaml": "train: {epochs: 40, inner: {width: 2}}",
    "budgets/tiny.yaml": "like: small\ntrain: {epochs: 3}",
    "recipes/one.yaml": "name: One\ntrain: {name: one}",
    "recipes/two.yaml": (
        "like: one\ntrain: {rate: 0.5, extra: 2}\nbudgets: {paper: {train: {epochs: 99}}}"
    ),
    "recipes/lowdeg_highmot.yaml": "train: {name: low}",
    "recipes/ablations.yaml": "recipes: {named: train.rate=0.25}",
    "recipes/lines.yaml": "lines: {}",
    "datasets/toy.yaml": "format: ntu\nlayout: kinect_v2\nbodies: 1\nbudget: small\n",
}


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
    extra: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"train.epochs: found {self.epochs}, expected 0 or more")


@dataclass(frozen=True)
class Fuse:
    first: str


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def train(root: Path, recipe: str = "", budget: str = "paper") -> Any:
    return Project(root).config(recipe, budget).section("train", Train)


def test_a_section_becomes_a_dataclass_with_its_defaults(root: Path) -> None:
    assert train(root) == Train(10, 1e-3, "plain", Inner(4, 7))


def test_a_budget_changes_the_few_values_it_names(root: Path) -> None:
    assert train(root, budget="small") == Train(40, 1e-3, "plain", Inner(2, 7))
    assert train(root, budget="tiny") == Train(3, 1e-3, "plain", Inner(2, 7))


def test_a_recipe_has_what_differs_and_what_the_one_it_is_like_has(root: Path) -> None:
    assert train(root, "one") == Train(10, 1e-3, "one", Inner(4))
    assert train(root, "two") == Train(99, 0.5, "one", Inner(4), 2)
    assert train(root, "two", "small").epochs == 40  # its paper's value is no other budget's
    assert train(root, "named") == Train(10, 0.25, "low", Inner(4))
    assert [Project(root).name(name) for name in ("one", "two", "named")] == ["One", "two", "named"]
    assert Project(root).recipes == ["lowdeg_highmot", "one", "two", "named"]


def test_changes_in_the_name_of_a_recipe_win_over_all_and_over_budgets(root: Path) -> None:
    found = train(root, "two+train.rate=2+train.inner.width=9", "small")
    assert found == Train(40, 2, "one", Inner(9), 2)
    assert Project(root).config("one+train.epochs=7", "small").held == {}


def test_one_recipe_leaves_the_others_as_they_were(root: Path) -> None:
    project = Project(root)
    before = project.config("one", "small").values
    project.config("one+train.inner.width=9", "small")
    project.config("two", "tiny")
    assert (
        Project(root).config("one", "small").values
        == before
        == project.config("one", "small").values
    )


def test_a_value_given_for_all_budgets_holds_for_all_and_says_so(root: Path) -> None:
    assert Project(root).config("one", "small").held == {}
    file = root / "params.yaml"
    file.write_text(file.read_text().replace("  epochs: by_budget", "  epochs: 2"))
    (root / "recipes" / "one.yaml").write_text("train: {inner: {width: 5}}")
    for budget, epochs, width in (("paper", 10, 4), ("small", 40, 2)):
        found = train(root, "one", budget)
        assert (found.epochs, found.inner.width) == (2, 5)
        every = "holds for every budget"
        assert Project(root).config("one", budget).held == {
            "train.epochs": f"params.yaml: train.epochs: 2 {every} ({budget}: {epochs})",
            "train.inner.width": (
                f"recipes/one.yaml: train.inner.width: 5 {every} ({budget}: {width})"
            ),
        }


def test_axes_are_no_settings(root: Path) -> None:
    assert Project(root).config("").section("fuse", Fuse) == Fuse("one")


@pytest.mark.parametrize(
    ("file", "before", "after", "recipe", "said"),
    [
        ("params.yaml", "  rate", "  rat", "",
         "params.yaml: train: unknown key 'rat'; expected 'rate'"),
        ("params.yaml", "  rate: 1e-3\n", "", "", "train: missing rate"),
        ("recipes/one.yaml", "train: {", "train: {nmae: a, ", "one",
         "recipes/one.yaml: train: unknown key 'nmae'"),
        ("recipes/one.yaml", "train: {", "trian: {", "one",
         "recipes/one.yaml: unknown key 'trian'; expected 'train'"),
        ("recipes/two.yaml", "0.5", "fast", "two", "recipes/two.yaml: train.rate: found 'fast'"),
        ("budgets/paper.yaml", "10", "1.5", "", "budgets/paper.yaml: train.epochs: found 1.5"),
        ("budgets/paper.yaml", "10", "-1", "", "train.epochs: found -1, expected 0 or more"),
        ("budgets/paper.yaml", "epochs: 10, ", "", "",
         "params.yaml: train.epochs: found by_budget, expected it in"),
        ("budgets/paper.yaml", "width", "widht", "",
         "budgets/paper.yaml: unknown key 'train.inner.widht'; expected"),
        ("recipes/two.yaml", "like: one", "like: oen", "two", "recipe 'oen': expected 'one'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_and_key(
    root: Path, file: str, before: str, after: str, recipe: str, said: str
) -> None:
    text = (root / file).read_text()
    assert before in text
    (root / file).write_text(text.replace(before, after, 1))
    with pytest.raises(ParamsError) as caught:
        train(root, recipe)
    assert said in str(caught.value)


def test_a_recipe_a_budget_and_a_set_that_are_not_there_are_named_with_the_nearest(
    root: Path,
) -> None:
    project = Project(root)
    with pytest.raises(ParamsError, match="recipe 'tow': expected 'two'"):
        project.config("tow")
    with pytest.raises(ParamsError, match="budget: found 'smal', expected 'small'"):
        project.config("one", "smal")
    with pytest.raises(ParamsError, match=r"datasets: found 'tyo', expected 'toy'"):
        project.dataset("tyo")
    (root / "datasets" / "toy.yaml").write_text(FILES["datasets/toy.yaml"].replace("small", "smal"))
    with pytest.raises(
        ParamsError, match=r"datasets/toy\.yaml: budget: found 'smal', expected 'small'"
    ):
        Project(root).dataset("toy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: [1\nb: 2\n", "not valid YAML"),
        (b"- a\n", "found list, expected a mapping"),
        (b"a: 1\na: 2\n", "not valid YAML"),
        ("a: Übung\n".encode("latin-1"), "found bytes that are not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(root: Path, text: bytes, said: str) -> None:
    (root / "params.yaml").write_bytes(text)
    with pytest.raises(ParamsError, match=rf"params\.yaml: {said}"):
        train(root)
    (root / "params.yaml").unlink()
    with pytest.raises(ParamsError, match=r"params\.yaml: not found; run from the root"):
        train(root)


@pytest.mark.parametrize(
    "word",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "N",
        "true",
        "False",
        "true_distance",
        "falsey",
        "~",
        "null",
        "none",
    ]
    + [
        "010",
        "08",
        "-7",
        "+3",
        "0x1F",
        "0o17",
        "12:30",
        "1e-3",
        "1.",
        ".5",
        "-2.5E+4",
        ".inf",
        "1.2.3",
        "''",
        "'1'",
    ],
)
def test_a_value_is_what_dvc_takes_it_for(root: Path, word: str) -> None:
    (root / "params.yaml").write_text(f"train: {{rate: {word}, epochs: 1}}\n")
    (root / "budgets" / "paper.yaml").write_text("{}")
    ours = Project(root).config("").get("train.rate")
    theirs = parse_yaml(f"train: {{rate: {word}}}", "params.yaml")["train"]["rate"]
    assert (repr(ours), type(ours)) == (repr(theirs), type(theirs))


def test_words_and_their_spelling_are_inverse() -> None:
    for text in (
        "mask.joints=7",
        "a.b=0.1+c=true+d=word",
        "streams=joint,bone",
        "streams=joint",
        "",
    ):
        assert params.spelled(params.words(text)) == text
    assert params.words("default") == {}
    assert params.words("streams=joint,bone+x=1e-3") == {"streams": ["joint", "bone"], "x": 0.001}


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train.epochs=", "a=1++b=2"])
def test_a_change_that_is_not_a_key_and_a_value_is_an_error(text: str) -> None:
    with pytest.raises(ParamsError, match=r"change: found .*, expected <key>=<value>"):
        params.words(text)


@pytest.mark.parametrize("name", ["paper", "small", "medium", "demonstration"])
def test_every_recipe_resolves_under_every_budget(name: str) -> None:
    project = Project(ROOT)
    assert name in project.budgets
    for recipe in project.recipes:
        config = project.config(recipe, name)
        assert "by_budget" not in str(config.values)
        assert config.held == {}


def test_what_each_file_changes_is_all_it_says() -> None:
    # a recipe holds only what differs: no value of it is params.yaml's own
    project = Project(ROOT)
    for recipe in ("highdeg_lowmot", "pstl", "skeletonclr", "asma_finetune"):
        own, plain = project.config(recipe).values, project.config("").values
        assert own != plain


def test_params_and_the_pipeline_stay_short() -> None:
    assert len((ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()) <= 250
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 200
