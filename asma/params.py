"""params.yaml, recipes/, datasets/ and budgets/ → the values of one recipe on one data set.

Later ones win: params.yaml, the recipe that a recipe is `like`, the recipe, its changes. A value
that says `by_budget` then stands in budgets/, in the file that the data set names, and what that
does not name in the budget it is `like`, at last in the paper's. Any other value holds for every
budget; where a budget would differ, it is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from asma.data.sets import Set
from asma.plan import DEFAULT, ParamsError, build, closest

BY_BUDGET, PAPER = "by_budget", "paper"
LIKE, NAME, CHANGES = "like", "name", "changes"
BASE = "lowdeg_highmot"  # what the recipes in a line of ablations.yaml are laid over
# What is in the table; everything else in params.yaml is a section of settings.
TABLE = ("datasets", "splits", "benchmarks", "encoders", "transfers")
# Keys of sections that say which runs there are, and are no setting of any of them.
AXES = {"fuse": ("modes",), "distill": ("teachers",), "export": ("teachers",)}
_HOLDERS: dict[type[Any], type[Any]] = {}


def load(file: Path) -> dict[str, Any]:
    """A YAML file as plain data, read as DVC reads it (YAML 1.2). Raises ParamsError."""
    if not file.is_file():
        raise ParamsError(f"{file}: not found; run from the root of the project")
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise ParamsError(f"{file}: not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(
            f"{file}: found bytes that are not UTF-8 ({error}), expected text"
        ) from error
    if not isinstance(content, dict):
        raise ParamsError(f"{file}: found {type(content).__name__}, expected a mapping of sections")
    return content


def words(text: str) -> dict[str, Any]:
    """`mask.joints=7+seed=2` → {"mask.joints": 7, "seed": 2}; `default`: no change. ParamsError."""
    changes: dict[str, Any] = {}
    for word in text.split("+") if text else ():
        if word == DEFAULT:
            continue
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ParamsError(f"change: found {word!r}, expected <key>=<value>, e.g. mask.joints=7")
        changes[key] = value.split(",") if key == "streams" else _value(value)
    return changes


@cache
def _value(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(f"[{text}]" if "," in text else text)


def spelled(changes: Mapping[str, Any]) -> str:
    """The inverse of `words`, as it stands in the name of a recipe."""
    return "+".join(f"{key}={_spelled(value)}" for key, value in changes.items())


def _spelled(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_spelled, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Config:
    """All values of one recipe on one data set, and which of them hold although its budget
    differs.
    """

    values: dict[str, Any]
    held: dict[str, str]  # dotted key → a sentence
    sources: list[tuple[str, dict[str, Any]]] = field(repr=False)

    def get(self, key: str) -> Any:
        """A value by its dotted key, None where there is none."""
        return _at(self.values, key)

    def section(self, name: str, cls: type[Any]) -> Any:
        """A section as an instance of `cls`. Raises ParamsError, naming the file a value stands
        in.
        """
        if name not in self.values:
            raise ParamsError(f"params.yaml: top level: missing {name}")
        value = self.values[name]
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if key not in AXES.get(name, ())}
        try:
            return build({"value": value}, _holder(cls), "").value
        except ParamsError as error:
            lines = [self._placed(name, line) for line in str(error).splitlines()]
            raise ParamsError("\n".join(lines)) from None

    def _placed(self, name: str, line: str) -> str:
        """`.value.epochs: found …` → `recipes/x.yaml: pretrain.epochs: found …`."""
        where, colon, rest = line.partition(": ")
        key = where.replace(".value", name, 1)
        full = f"{key}.{rest.split(chr(39))[1]}" if rest.startswith("unknown key") else key
        stands = [
            file for file, content in self.sources if _at(content, full) not in (None, BY_BUDGET)
        ]
        files = stands or [file for file, content in self.sources if _has(content, full)]
        return f"{files[-1] if files else 'params.yaml'}: {key}{colon}{rest}"


def _holder(cls: type[Any]) -> type[Any]:
    """A dataclass of one field, so that plain values are checked as sections are."""
    if cls not in _HOLDERS:
        _HOLDERS[cls] = make_dataclass("Section", [("value", cls)], frozen=True)
    return _HOLDERS[cls]


class Project:
    """The parameters below a folder, each file read once."""

    def __init__(self, root: Path = Path()) -> None:
        self.root = root
        self._configs: dict[tuple[str, str], Config] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._bases: dict[str, dict[str, Any]] = {}

    def load(self, file: str) -> dict[str, Any]:
        """A file by its path below the folder. Raises ParamsError."""
        if file not in self._files:
            self._files[file] = load(self.root / file)
        return self._files[file]

    @cached_property
    def params(self) -> dict[str, Any]:
        """The whole of params.yaml."""
        return self.load("params.yaml")

    @cached_property
    def ablations(self) -> dict[str, Any]:
        """The whole of recipes/ablations.yaml; empty where there is none."""
        file = "recipes/ablations.yaml"
        return self.load(file) if (self.root / file).is_file() else {}

    @cached_property
    def recipes(self) -> list[str]:
        """Names of all recipes that have a file or a line."""
        files = (self.root / "recipes").glob("*.yaml")
        own = sorted({path.stem for path in files} - {"ablations", "lines"})
        return [*own, *(self.ablations.get("recipes") or {})]

    @cached_property
    def budgets(self) -> list[str]:
        """Names of all budgets."""
        return sorted({path.stem for path in (self.root / "budgets").glob("*.yaml")} - {"grid"})

    def dataset(self, name: str) -> Set:
        """What is known of a data set. Raises ParamsError."""
        file = Path("datasets", f"{name}.yaml")
        if not (self.root / file).is_file():
            known = sorted(path.stem for path in (self.root / "datasets").glob("*.yaml"))
            raise ParamsError(
                f"params.yaml: datasets: found {name!r}, expected {closest(name, known)}"
            )
        found = build(self.load(str(file)), Set, str(file))
        if found.budget not in self.budgets:
            expected = closest(found.budget, self.budgets)
            raise ParamsError(f"{file}: budget: found {found.budget!r}, expected {expected}")
        return found

    def layers(self, recipe: str) -> list[tuple[str, dict[str, Any]]]:
        """(file, content) of a recipe: params.yaml first, its own changes last. Raises
        ParamsError.
        """
        name, _, changes = recipe.partition("+")
        lines = self.ablations.get("recipes") or {}
        if not name:
            found = [("params.yaml", self.params)]
        elif name in lines:
            file = f"recipes/ablations.yaml: {name}"
            found = [*self.layers(BASE), (file, _nested(words(str(lines[name]))))]
        else:
            file = f"recipes/{name}.yaml"
            if name not in self.recipes:
                where = "params.yaml or recipes/ablations.yaml"
                raise ParamsError(
                    f"{where}: recipe {name!r}: expected {closest(name, self.recipes)}"
                )
            content = self.load(file)
            found = [*self.layers(str(content.get(LIKE, ""))), (file, content)]
        return [*found, (CHANGES, _nested(words(changes)))] if changes else found

    def config(self, recipe: str, budget: str = PAPER) -> Config:
        """All values of a recipe under a budget; recipe "" is params.yaml alone. Raises
        ParamsError.
        """
        if (recipe, budget) not in self._configs:
            self._configs[recipe, budget] = self._config(recipe, budget)
        return self._configs[recipe, budget]

    def _config(self, recipe: str, budget: str) -> Config:
        layers = self.layers(recipe)
        for file, content in layers[1:]:
            known = {*self.params, LIKE, NAME, "budgets"}
            for key in content:
                if key not in known:
                    raise ParamsError(
                        f"{file}: unknown key {key!r}; expected {closest(key, sorted(known))}"
                    )
        changed = layers[-1][1] if layers[-1][0] == CHANGES else {}
        base = recipe.partition("+")[0]
        if base not in self._bases:
            files = [content for file, content in layers if file != CHANGES]
            self._bases[base] = _merged(
                *({k: v for k, v in c.items() if k != "budgets"} for c in files)
            )
        merged = laid_over(self._bases[base], changed)
        own = [c["budgets"] for _, c in layers if isinstance(c.get("budgets"), dict)]
        overlay = self.overlay(budget, own)
        sections = {k: v for k, v in merged.items() if k not in (*TABLE, LIKE, NAME)}
        values = _settled(sections, overlay, f"budgets/{budget}.yaml", "")
        held = {
            key: f"{_file(layers, key)}: {key}: {stands} holds for every budget ({budget}: {other})"
            for key, (stands, other) in _held(sections, overlay)
            if _file(layers, key) != CHANGES
        }
        return Config(values, held, [(f"budgets/{budget}.yaml", overlay), *layers])

    def overlay(self, budget: str, own: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """What a budget has for every `by_budget`, with what recipes have for it. Raises
        ParamsError.
        """
        found: dict[str, Any] = {}
        for name in dict.fromkeys((PAPER, *self.lineage(budget))):
            found = laid_over(found, self._budget(name, own))
        return found

    def name(self, recipe: str) -> str:
        """What a recipe is called in tables: its own `name`, or that of the file."""
        return str(self.layers(recipe)[-1][1].get(NAME, recipe))

    def lineage(self, budget: str) -> list[str]:
        """A budget and those that it is like, the farthest first. Raises ParamsError."""
        if budget not in self.budgets:
            raise ParamsError(f"budget: found {budget!r}, expected {closest(budget, self.budgets)}")
        like = self.load(f"budgets/{budget}.yaml").get(LIKE)
        return [*(self.lineage(str(like)) if like else []), budget]

    def _budget(self, name: str, own: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What a budget says, and what recipes of this line say for it."""
        content = self.load(f"budgets/{name}.yaml")
        found = {key: value for key, value in content.items() if key != LIKE}
        for recipe in own:
            found = laid_over(found, recipe.get(name) or {})
        return found


def _merged(*contents: Mapping[str, Any]) -> dict[str, Any]:
    try:
        merged = OmegaConf.merge(*(OmegaConf.create(dict(content)) for content in contents))
        found = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise ParamsError(f"recipes: {error}") from error
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def laid_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with other values, however deep; both stay as they are."""
    made = dict(values)
    for key, item in changes.items():
        below = made.get(key)
        both = isinstance(item, Mapping) and isinstance(below, Mapping)
        made[key] = laid_over(below or {}, item) if both else item
    return made


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """{"mask.joints": 7} → {"mask": {"joints": 7}}."""
    made: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return made


def _settled(values: Any, chosen: Any, file: str, where: str) -> Any:
    """The values with what a budget has in the place of every `by_budget`."""
    if not isinstance(values, dict):
        return values
    chosen = chosen if isinstance(chosen, dict) else {}
    if unknown := sorted(set(chosen) - set(values)):
        place = f"{where}." if where else ""
        expected = closest(unknown[0], sorted(values))
        raise ParamsError(f"{file}: unknown key {place + unknown[0]!r}; expected {expected}")
    settled = {}
    for key, item in values.items():
        place = f"{where}.{key}" if where else key
        if item == BY_BUDGET:
            if key not in chosen:
                raise ParamsError(f"params.yaml: {place}: found {BY_BUDGET}, expected it in {file}")
            item = chosen[key]
        settled[key] = _settled(item, chosen.get(key), file, place)
    return settled


def _held(values: Any, chosen: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Values that stand although the budget has others: (dotted key, (value, the budget's))."""
    for key, other in chosen.items():
        place = f"{where}.{key}" if where else key
        if isinstance(other, dict) and isinstance(values.get(key), dict):
            yield from _held(values[key], other, place)
        elif values.get(key) not in (BY_BUDGET, other):
            yield place, (values.get(key), other)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _has(content: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True


def _file(layers: list[tuple[str, dict[str, Any]]], key: str) -> str:
    return next((file for file, content in reversed(layers) if _has(content, key)), "params.yaml")
