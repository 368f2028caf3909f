"""What the skeleton player shows.   runs/illustrate/<benchmark>/player.json → checked, ready for the page

The page's script trusts what it gets, so everything is checked here. V joints, T frames, M bodies, K classes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asma.report.collect import ReportError

Number = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Class(_Strict):
    """One of the classes that a model finds likeliest."""

    number: Number = Field(alias="class")
    probability: Share


class Prediction(_Strict):
    """What one model makes of a recording, the likeliest class first."""

    model: str
    stream: str
    top: list[Class]


class Hidden(_Strict):
    """Joints and frames that an encoder does not see in its masked views of a recording."""

    joints: list[Number]
    frames: list[Number]


class Recording(_Strict):
    """One test recording."""

    name: str
    label: Number
    frames: Annotated[int, Field(ge=2)]  # T
    bodies: Annotated[int, Field(ge=1)]  # M
    scale: Annotated[float, Field(gt=0)]  # metres a unit of xyz
    xyz: str  # (T, V, M, 3) int16, little-endian, in base64; a body that is not there is all zero
    motion: list[Annotated[float, Field(ge=0)]]  # (T,), Eq. 3–4
    masks: dict[str, Hidden]  # by encoder
    activation: dict[str, list[Share]] = Field(default_factory=dict)  # (V,) by encoder
    predictions: list[Prediction] = Field(default_factory=list)


class Player(_Strict):
    """The recordings of one benchmark that can be looked at."""

    benchmark: str
    demonstration: bool
    layout: str
    joints: list[str]
    bones: list[tuple[Number, Number]]  # joint, the joint it hangs on
    classes: list[str]
    encoders: list[str]
    recordings: Annotated[list[Recording], Field(min_length=1)]


def read(path: Path) -> dict[str, Any]:
    """The file as plain data. Raises ReportError naming file, key, what was found and what was expected."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}:{error.lineno}: found {error.msg}, expected JSON") from error
    try:
        player = Player.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ReportError(f"{path}: {where}: found {str(first['input'])[:60]!r}: {first['msg']}") from None
    _check(player, path)
    return content


def collect(benchmarks: Iterable[str], runs: Path) -> dict[str, dict[str, Any]]:
    """The players of those benchmarks that `illustrate` was run for, in their order. Raises ReportError."""
    found = {}
    for benchmark in benchmarks:
        path = runs / "illustrate" / benchmark / "player.json"
        if path.is_file():
            found[benchmark] = read(path)
            if (told := found[benchmark]["benchmark"]) != benchmark:
                raise ReportError(f"{path}: benchmark: found {told!r}, expected {benchmark!r} as its folder says")
    return found


def _check(player: Player, path: Path) -> None:
    """What one field promises about another."""
    V, K = len(player.joints), len(player.classes)
    _below(V, [joint for bone in player.bones for joint in bone], f"{path}: bones", "joints")
    for index, one in enumerate(player.recordings):
        where, T = f"{path}: recordings.{index}", one.frames
        _below(K, [one.label], f"{where}.label", "classes")
        _count(T, one.motion, f"{where}.motion", "one a frame")
        for encoder, hidden in one.masks.items():
            _known(encoder, player.encoders, f"{where}.masks")
            _below(V, hidden.joints, f"{where}.masks.{encoder}.joints", "joints")
            _below(T, hidden.frames, f"{where}.masks.{encoder}.frames", "frames")
        for encoder, shares in one.activation.items():
            _known(encoder, player.encoders, f"{where}.activation")
            _count(V, shares, f"{where}.activation.{encoder}", "one a joint")
        for place, told in enumerate(one.predictions):
            _below(K, [item.number for item in told.top], f"{where}.predictions.{place}.top", "classes")
        try:
            found = len(base64.b64decode(one.xyz, validate=True))
        except binascii.Error as error:
            raise ReportError(f"{where}.xyz: found {one.xyz[:20]!r} ({error}), expected base64") from error
        if found != (expected := T * V * one.bodies * 3 * 2):
            shape = f"{T} frames, {V} joints, {one.bodies} bodies, 3 coordinates of 2 bytes"
            raise ReportError(f"{where}.xyz: found {found} bytes, expected {expected}: {shape}")


def _below(limit: int, found: list[int], where: str, what: str) -> None:
    if found and max(found) >= limit:
        raise ReportError(f"{where}: found {max(found)}, expected less than {limit}, the number of {what}")


def _count(expected: int, found: list[float], where: str, why: str) -> None:
    if len(found) != expected:
        raise ReportError(f"{where}: found {len(found)} values, expected {expected}, {why}")


def _known(word: str, known: list[str], where: str) -> None:
    if word not in known:
        raise ReportError(f"{where}: found {word!r}, expected one of {', '.join(known)}")
