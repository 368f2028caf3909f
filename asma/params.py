"""`params.yaml` → dataclasses. A section, a dataclass, one hop; an unknown or missing key is an error.

A value that is the word `by_budget` stands under `budgets:` of its section, by the name of a data
set's budget: `paper` has the paper's values, and what another budget does not name is `paper`'s.
`load(..., budget=...)` puts them in. Any other value holds for every budget; where one of them
would differ, `load` says so, so that neither is overruled without a word.

`change` is how an ablation says what it changes: for the rest of the process other values are read than stand there.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
FILE = Path("params.yaml")
DEFAULT = "default"  # the change that changes nothing
BY_BUDGET, PAPER = "by_budget", "paper"
_changes: dict[str, Any] = {}
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML has it, ten times as fast
_NUMBERS = {  # YAML 1.2
    "int": r"[-+]?[0-9][0-9_]*|0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}


class _Loader(_BASE):  # type: ignore[valid-type, misc]  # one of two classes
    """YAML 1.2, as DVC reads the same file: `on` and `yes` are words, 010 is ten, 1e-3 is a number."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way of keeping them
        first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in ("bool", "int", "float")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
for _kind, _form in _NUMBERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_form})$"), list("-+.0123456789"))
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(node.value.replace("_", ""), {"0b": 2, "0o": 8, "0x": 16}.get(node.value[:2], 10)),
)


class ParamsError(ValueError):
    """A parameter that is missing, unknown or of the wrong kind; names file, key, found and expected."""


def read(file: Path = FILE) -> dict[str, Any]:
    """The whole of params.yaml as plain data."""
    if not file.is_file():
        raise ParamsError(f"{file}: not found; run from the root of the project")
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise ParamsError(f"{file}: not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{file}: found bytes that are not UTF-8 ({error}), expected UTF-8 text") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{file}: found {type(content).__name__}, expected a mapping of sections")
    for key, value in _changes.items():
        _put(content, key, value, file)
    return content


def change(text: str) -> None:
    """Have this process read other values from now on: `mask.joints=7+seed=2`; `default` is no change.

    They hold for every budget. Raises ParamsError on a word that is not `<key>=<value>`; `read` raises it on a key
    that params.yaml does not have.
    """
    changes: dict[str, Any] = {}
    for word in filter(lambda word: word != DEFAULT, text.split("+")):
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ParamsError(f"--change: found {word!r}, expected <key>=<value>, e.g. mask.joints=7, or {DEFAULT}")
        changes[key] = yaml.load(value, Loader=_Loader)
    _changes.clear()
    _changes.update(changes)


def changed() -> str:
    """What `change` was told last, `mask.joints=7+seed=2`; `default` if nothing."""
    return "+".join(f"{key}={json.dumps(value).strip(chr(34))}" for key, value in _changes.items()) or DEFAULT


def _put(content: dict[str, Any], key: str, value: Any, file: Path) -> None:
    """Set one value by its dotted name."""
    *parents, last = key.split(".")
    place: Any = content
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        found = _closest(last, sorted(map(str, place))) if isinstance(place, dict) else "no such section"
        raise ParamsError(f"{file}: --change {key}: key not found, there is {found}")
    place[last] = value


def seed() -> int:
    """The one seed. Raises ParamsError."""
    found = read().get("seed")
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ParamsError(f"{FILE}: seed: found {found!r}, expected an integer of 0 or more")
    return found


def section(name: str, budget: str = PAPER, file: Path = FILE) -> dict[str, Any]:
    """One section by dotted name, as plain data, with the values of a budget put in."""
    return section_of(read(file), name, budget, file)


def section_of(content: Mapping[str, Any], name: str, budget: str = PAPER, file: Path = FILE) -> dict[str, Any]:
    """The same of a params.yaml that was read before."""
    value, budgets = _parts(content, name, file)
    return _settled(value, _chosen(budgets, budget, f"{file}: {name}"), f"{file}: {name}")


def _parts(content: Mapping[str, Any], name: str, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A section without its budgets, and these."""
    value: Any = content
    for depth, part in enumerate(name.split(".")):
        where = ".".join(name.split(".")[:depth]) or "top level"
        if not isinstance(value, dict) or part not in value:
            found = sorted(map(str, value)) if isinstance(value, dict) else repr(value)
            raise ParamsError(f"{file}: {where}: key {part!r} not found, there is {_closest(part, found)}")
        value = value[part]
    if not isinstance(value, dict):
        raise ParamsError(f"{file}: {name}: found {value!r}, expected a section")
    value = dict(value)
    budgets = value.pop("budgets", None) or {}
    if not isinstance(budgets, dict):
        raise ParamsError(f"{file}: {name}.budgets: found {budgets!r}, expected a mapping by the name of a budget")
    return value, budgets


def _chosen(budgets: dict[str, Any], budget: str, where: str) -> dict[str, Any]:
    """What a section's budgets say for one of them: its own values over the paper's."""
    chosen: dict[str, Any] = {}
    for name in (PAPER, budget):
        found = budgets.get(name) or {}
        if not isinstance(found, dict):
            raise ParamsError(f"{where}.budgets.{name}: found {found!r}, expected a mapping of the values")
        chosen = _overlay(chosen, found)
    return chosen


def _overlay(value: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: _overlay(value[key], item) if isinstance(item, dict) and isinstance(value.get(key), dict) else item
        for key, item in changes.items()
    }
    return {**value, **nested}


def _settled(value: dict[str, Any], chosen: dict[str, Any], where: str) -> dict[str, Any]:
    """The section with what was chosen in the place of every `by_budget`."""
    if unknown := sorted(set(chosen) - set(value)):
        raise ParamsError(
            f"{where}.budgets: unknown key {unknown[0]!r}; expected {_closest(unknown[0], sorted(value))}"
        )
    settled: dict[str, Any] = {}
    for key, item in value.items():
        if item == BY_BUDGET:
            if key not in chosen:
                raise ParamsError(f"{where}.{key}: found {BY_BUDGET}, expected a value of it under budgets.{PAPER}")
            item = chosen[key]
        elif isinstance(item, dict):
            inner = chosen.get(key)
            item = _settled(item, inner if isinstance(inner, dict) else {}, f"{where}.{key}")
        settled[key] = item
    return settled


def held(value: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values that hold for every budget although this one has another: key → (value, the budget's)."""
    found: dict[str, tuple[Any, Any]] = {}
    for key, item in chosen.items():
        if isinstance(item, dict) and isinstance(value.get(key), dict):
            found |= {f"{key}.{inner}": both for inner, both in held(value[key], item).items()}
        elif value.get(key) not in (BY_BUDGET, item):
            found[key] = (value.get(key), item)
    return found


def dataset_of(benchmark: str, datasets: list[str]) -> tuple[str, str]:
    """`<dataset>_<split>` → (dataset, split). Raises ParamsError where no data set of the list fits."""
    fitting = [d for d in datasets if benchmark.startswith(f"{d}_")]
    if not fitting:
        raise ParamsError(f"benchmark {benchmark!r}: expected <dataset>_<split> with a dataset of {datasets}")
    dataset = max(fitting, key=len)
    return dataset, benchmark.removeprefix(f"{dataset}_")


def check_budget(budget: str, where: str, file: Path = FILE) -> None:
    """Raise ParamsError unless some section has this budget: a misspelt one would mean the paper's."""
    sections = [value for value in read(file).values() if isinstance(value, dict)]
    known = {PAPER} | {name for value in sections for name in value.get("budgets") or {}}
    if budget not in known:
        raise ParamsError(f"{file}: {where}: found {budget!r}, expected {_closest(budget, sorted(known))}")


def load(name: str, cls: type[T], budget: str = PAPER, file: Path = FILE) -> T:
    """The section `name` as an instance of the dataclass `cls`. Raises ParamsError.

    Says which values of the file hold although the budget has others.
    """
    where = f"{file}: {name}"
    value, budgets = _parts(read(file), name, file)
    chosen = _chosen(budgets, budget, where)
    for key, (stands, other) in held(value, chosen).items():
        print(f"{where}.{key}: {stands} holds for every budget ({budget}: {other})", flush=True)
    return build(_settled(value, chosen, where), cls, where)


def build(values: dict[str, Any], cls: type[T], where: str) -> T:
    """An instance of the dataclass `cls` from plain data; `where` stands in front of every complaint."""
    _check_keys(values, cls, where)
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        problems = [
            f"{where}.{'.'.join(map(str, p['loc'])) or '(section)'}: found {p['input']!r}: {p['msg']}"
            for p in error.errors()
        ]
        raise ParamsError("\n".join(problems)) from None


def _check_keys(values: dict[str, Any], cls: Any, where: str) -> None:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in fields:
            raise ParamsError(f"{where}: unknown key {key!r}; expected {_closest(str(key), sorted(fields))}")
        _check_nested(value, hints[key], f"{where}.{key}")
    required = [
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in values
    ]
    if required:
        raise ParamsError(f"{where}: missing {', '.join(required)}")


def _check_nested(value: Any, hint: Any, where: str) -> None:
    """Dataclasses within dataclasses, also as the values of a mapping."""
    if not isinstance(value, dict):
        return
    if dataclasses.is_dataclass(hint):
        _check_keys(value, hint, where)
    elif typing.get_origin(hint) is dict:
        for key, item in value.items():
            _check_nested(item, typing.get_args(hint)[1], f"{where}.{key}")


def _closest(word: str, known: list[str] | str) -> str:
    if isinstance(known, str):
        return known
    close = difflib.get_close_matches(word, known, n=1)
    return f"{close[0]!r} (of {', '.join(known)})" if close else ", ".join(known)
