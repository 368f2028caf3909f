"""`params.yaml` → dataclasses. A section, a dataclass, one hop; an unknown or missing key is an error.

A section may hold `schedules:`, a mapping from a data set's schedule name to the few values that differ for it
(a small set trains longer, the demonstration shorter). `load(..., schedule=...)` lays them over the section.

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

    They win over a schedule's. Raises ParamsError on a word that is not `<key>=<value>`; `read` raises it on a key
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
    """Set one value by its dotted name; no schedule of its section has another one then."""
    first, *between = (*parents, last) = key.split(".")
    place: Any = content
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        found = _closest(last, sorted(map(str, place))) if isinstance(place, dict) else "no such section"
        raise ParamsError(f"{file}: --change {key}: key not found, there is {found}")
    place[last] = value
    for schedule in (content[first].get("schedules") or {}).values() if parents else ():
        for part in between[:-1]:
            schedule = schedule.get(part) if isinstance(schedule, dict) else None
        if isinstance(schedule, dict):
            schedule.pop(last, None)


def seed() -> int:
    """The one seed. Raises ParamsError."""
    found = read().get("seed")
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ParamsError(f"{FILE}: seed: found {found!r}, expected an integer of 0 or more")
    return found


def section(name: str, schedule: str | None = None, file: Path = FILE) -> dict[str, Any]:
    """One section by dotted name, as plain data, with a schedule's values laid over it."""
    return section_of(read(file), name, schedule, file)


def section_of(content: Mapping[str, Any], name: str, schedule: str | None = None, file: Path = FILE) -> dict[str, Any]:
    """The same of a params.yaml that was read before."""
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
    schedules = value.pop("schedules", None) or {}
    if not isinstance(schedules, dict):
        raise ParamsError(f"{file}: {name}.schedules: found {schedules!r}, expected a mapping by schedule name")
    differing = schedules.get(schedule) or {}
    if not isinstance(differing, dict):
        where = f"{file}: {name}.schedules.{schedule}"
        raise ParamsError(f"{where}: found {differing!r}, expected a mapping of the values that differ")
    return _overlay(value, differing)


def _overlay(value: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: _overlay(value[key], item) if isinstance(item, dict) and isinstance(value.get(key), dict) else item
        for key, item in changes.items()
    }
    return {**value, **nested}


def dataset_of(benchmark: str, datasets: list[str]) -> tuple[str, str]:
    """`<dataset>_<split>` → (dataset, split). Raises ParamsError where no data set of the list fits."""
    fitting = [d for d in datasets if benchmark.startswith(f"{d}_")]
    if not fitting:
        raise ParamsError(f"benchmark {benchmark!r}: expected <dataset>_<split> with a dataset of {datasets}")
    dataset = max(fitting, key=len)
    return dataset, benchmark.removeprefix(f"{dataset}_")


def check_schedule(schedule: str, where: str, file: Path = FILE) -> None:
    """Raise ParamsError unless `paper` or some section's `schedules` has this name: a misspelt one would mean paper."""
    sections = [value for value in read(file).values() if isinstance(value, dict)]
    known = {"paper"} | {name for value in sections for name in value.get("schedules") or {}}
    if schedule not in known:
        raise ParamsError(f"{file}: {where}: found {schedule!r}, expected {_closest(schedule, sorted(known))}")


def load(name: str, cls: type[T], schedule: str | None = None, file: Path = FILE) -> T:
    """The section `name` as an instance of the dataclass `cls`. Raises ParamsError."""
    return build(section(name, schedule, file), cls, f"{file}: {name}")


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
