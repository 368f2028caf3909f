"""A plan file: all that a run is made by.   plan/<stage>/<recipe>@<benchmark>.json → Plan

It holds the settings of the run, resolved and checked, the paths it reads and writes, and digests
of the code it imports. The stage `plan` writes it; every other stage is given one and looks at no
other parameters. Reading one needs pydantic alone, so that a machine without DVC can train.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import pkgutil
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
FOLDER = Path("plan")
DEFAULT = "default"  # the change that changes nothing
# Settings that change no result: they stand in no plan file, so that nothing reruns for them.
MACHINE = FOLDER / "machine.json"
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class ParamsError(ValueError):
    """A setting that is missing, unknown or of the wrong kind; names file, key, found, expected."""


@dataclass(frozen=True)
class Plan:
    """One run of a stage.

    `axes` are what tells it from the other runs of its stage, `like` the recipe of the table that
    a line of the ablations is laid over (else its own recipe), `reads` and `out` the paths of its
    data.
    """

    stage: str
    axes: dict[str, str]
    like: str
    reads: dict[str, str]
    out: str
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    file: Path = Path()

    @property
    def name(self) -> str:
        """`lowdeg_highmot@ntu60_xsub`, what the plan file and the folder of the run are called."""
        return "@".join(self.axes.values()) or "all"

    @property
    def recipe(self) -> str:
        """The recipe, `lowdeg_highmot` or `lowdeg_highmot+mask.joints=7`."""
        return self.axes["recipe"]

    @property
    def folder(self) -> Path:
        """Where the run leaves its files."""
        return Path(self.out)

    def path(self, name: str) -> Path:
        """A path that the run reads, by the name it has in the plan."""
        return Path(self.reads[name])

    def load(self, cls: type[T]) -> T:
        """The settings as an instance of the dataclass `cls`. Raises ParamsError."""
        return build(self.settings, cls, str(self.file))

    def section(self, name: str, cls: type[T]) -> T:
        """One section of the settings. Raises ParamsError."""
        if name not in self.settings:
            known = closest(name, sorted(self.settings))
            raise ParamsError(f"{self.file}: settings: key {name!r} not found, there is {known}")
        return build(self.settings[name], cls, f"{self.file}: {name}")

    def about(self) -> dict[str, str]:
        """What the metrics of the run say of where it belongs."""
        return {"run": self.folder.as_posix(), "recipe": self.axes.get("recipe", self.stage)}


def read(file: Path) -> Plan:
    """Read a plan file, with the settings of this machine. Raises ParamsError."""
    content = _json(file)
    fields = {f.name for f in dataclasses.fields(Plan)} - {"file"}
    if (
        not isinstance(content, dict)
        or not {"stage", "settings", "out"} <= content.keys() <= fields
    ):
        raise ParamsError(
            f"{file}: found no plan of a run, expected one as the stage `plan` writes it"
        )
    if MACHINE.is_file():
        for name, values in _json(MACHINE).items():
            if name in content["settings"]:
                content["settings"][name] |= values
    return Plan(**content, file=file)


def text(run: Plan) -> str:
    """A plan as its file holds it, the same for the same plan."""
    content = dataclasses.asdict(run)
    del content["file"]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(run: Plan, file: Path) -> Path:
    """Write a plan file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(run), encoding="utf-8")
    return file


def _json(file: Path) -> Any:
    if not file.is_file():
        raise ParamsError(f"{file}: not found; `python -m stages.plan` writes it")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ParamsError(f"{file}:{error.lineno}: found {error.msg}, expected JSON") from error


def build(values: Mapping[str, Any], cls: type[T], where: str) -> T:
    """An instance of the dataclass `cls` from plain data, unknown keys refused however deep.

    `where` stands in front of every complaint. A field that has rows is built by the settings of
    the row that it names: ROW of its class has the key and what finds a row. Raises ParamsError.
    """
    built = dict(values)
    for name, kind in typing.get_type_hints(cls).items():
        if hasattr(kind, "ROW") and isinstance(values.get(name), Mapping):
            built[name] = build(
                values[name], _row(values[name], kind, where, name), f"{where}.{name}"
            )
    try:
        found: T = _adapter(cls).validate_python(built, extra="forbid")
        return found
    except ValidationError as error:
        raise ParamsError(
            "\n".join(_said(problem, cls, where) for problem in error.errors())
        ) from None


def _row(section: Mapping[str, Any], kind: Any, where: str, name: str) -> Any:
    key, find = kind.ROW
    try:
        return pkgutil.resolve_name(find)(section.get(key)).Settings
    except ValueError as error:
        raise ParamsError(f"{where}.{name}.{key}: {str(error).partition(': ')[2]}") from None


def _adapter(cls: Any) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:  # making one takes longer than using it
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def _said(problem: Any, cls: type[Any], where: str) -> str:
    """A complaint of pydantic's as every error of this project is worded."""
    *parents, key = [*problem["loc"]] or ["(section)"]
    place = ".".join([where, *map(str, parents)])
    known = _fields(cls, parents)
    if problem["type"] == "unexpected_keyword_argument":
        return f"{place}: unknown key {key!r}; expected {closest(str(key), known)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place}: missing {key}"
    if not problem["loc"]:
        return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{place}.{key}: found {problem['input']!r}: {problem['msg']}"


def _fields(cls: Any, parents: Sequence[Any]) -> list[str]:
    """The keys that are known at a place inside a dataclass."""
    for parent in parents:
        if typing.get_origin(cls) is dict:
            cls = typing.get_args(cls)[1]
        elif dataclasses.is_dataclass(cls) and isinstance(cls, type):
            cls = typing.get_type_hints(cls).get(str(parent))
        choices = [c for c in typing.get_args(cls) if dataclasses.is_dataclass(c)]
        if choices and typing.get_origin(cls) is not dict:
            cls = choices[0]
    return sorted(f.name for f in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else []


def closest(word: str, known: Sequence[str]) -> str:
    """`'epochs' (of epochs, rate)`: the known word most like this one, for an error."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"{close[0]!r} (of {', '.join(known)})" if close else ", ".join(known)
