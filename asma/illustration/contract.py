"""What player.json holds, checked before it is written: the report's page trusts what it gets.

V joints, T frames, M bodies, K classes.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

Number = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel, extra="forbid", allow_inf_nan=False):
    """Plain data with the keys of its fields and no others."""


class Likely(Strict):
    """One of the classes that a model finds likeliest."""

    number: Number = Field(alias="class")
    probability: Share


class Prediction(Strict):
    """What one model makes of a recording, the likeliest class first."""

    model: str
    stream: str
    top: list[Likely]


class Place(Strict):
    """About which point a body turns, metres, how far it reaches from there, and its floor."""

    middle: tuple[float, float, float]
    radius: Annotated[float, Field(ge=0)]
    floor: float


class Recording(Strict):
    """One test recording."""

    name: str
    label: Number
    frames: Annotated[int, Field(ge=2)]  # T
    bodies: Annotated[int, Field(ge=1)]  # M
    scale: Annotated[float, Field(gt=0)]  # metres a unit of xyz
    xyz: str  # (T, V, M, 3) int16, little-endian, in base64; a body that is not there is zero
    places: list[Place]  # of its bodies
    apart: bool  # whether they stand apart because each was centred by itself
    whole: list[Number]  # frames in which somebody is wholly there
    opens: dict[str, Number]  # which frame is shown first, by encoder; "" without one
    motion: list[Annotated[float, Field(ge=0)]]  # (T,), Eq. 3–4
    masks: dict[str, dict[Literal["joints", "frames"], list[Number]]]  # hidden, by encoder
    activation: dict[str, list[Share]] = {}  # (V,) by encoder
    predictions: list[Prediction] = []


class Player(Strict):
    """The recordings of one benchmark that can be looked at."""

    benchmark: str
    demonstration: bool
    layout: str
    joints: list[str]
    bones: list[tuple[Number, Number]]  # joint, the joint it hangs on
    classes: list[str]
    encoders: list[str]
    recordings: Annotated[list[Recording], Field(min_length=1)]

    @model_validator(mode="after")
    def fits(self) -> Player:
        """What one field promises about another. Raises ValueError."""
        V, K = len(self.joints), len(self.classes)
        _below("bones", [joint for bone in self.bones for joint in bone], V, "joints")
        for index, one in enumerate(self.recordings):
            where, T = f"recordings.{index}", one.frames
            _below(f"{where}.label", [one.label], K, "classes")
            _count(f"{where}.motion", len(one.motion), T, "values, one a frame")
            _count(f"{where}.places", len(one.places), one.bodies, "values, one a body")
            _below(f"{where}.whole", one.whole, T, "frames")
            _below(f"{where}.opens", list(one.opens.values()), T, "frames")
            for encoder in {*one.masks, *one.activation} - {*self.encoders}:
                known = ", ".join(self.encoders)
                raise ValueError(f"{where}: found {encoder!r}, expected one of {known}")
            for encoder, hidden in one.masks.items():
                _below(f"{where}.masks.{encoder}.joints", hidden["joints"], V, "joints")
                _below(f"{where}.masks.{encoder}.frames", hidden["frames"], T, "frames")
            for encoder, shares in one.activation.items():
                at = f"{where}.activation.{encoder}"
                _count(at, len(shares), V, "values, one a joint")
            for place, model in enumerate(one.predictions):
                numbers = [likely.number for likely in model.top]
                _below(f"{where}.predictions.{place}.top", numbers, K, "classes")
            try:
                size = len(base64.b64decode(one.xyz, validate=True))
            except binascii.Error as error:
                wrong = f"{where}.xyz: found {one.xyz[:20]!r} ({error})"
                raise ValueError(f"{wrong}, expected base64") from error
            shape = f"bytes: {T} frames, {V} joints, {one.bodies} bodies, 3 coordinates of 2 bytes"
            _count(f"{where}.xyz", size, T * V * one.bodies * 3 * 2, shape)
        return self


def check(content: dict[str, Any]) -> None:
    """Raise ValueError naming the key, what was found and what was expected."""
    try:
        Player.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        said = f"{where}: found {str(fault['input'])[:60]!r}: {fault['msg']}"
        raise ValueError(said if where else fault["msg"].removeprefix("Value error, ")) from None


def _below(where: str, numbers: list[int], limit: int, what: str) -> None:
    if numbers and max(numbers) >= limit:
        expected = f"expected less than {limit}, the number of {what}"
        raise ValueError(f"{where}: found {max(numbers)}, {expected}")


def _count(where: str, count: int, expected: int, what: str) -> None:
    if count != expected:
        raise ValueError(f"{where}: found {count}, expected {expected} {what}")
