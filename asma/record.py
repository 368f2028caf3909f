"""What a stage leaves of its figures: `metrics.json` and, of what it learnt, `curves.csv`.

These files are the record of a run; the report is made of them, and MLflow only shows them.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write `metrics.json`: sorted keys, the same bytes for the same content.

    Where it has the key `curves` (name → loss of each epoch), these also go to `curves.csv` beside
    it, which DVC can draw. Raises ValueError naming a figure that is NaN or infinite.
    """
    for key, value in flatten(content):
        check_finite(key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=plain)
    path.write_text(text + "\n", encoding="utf-8")
    if "curves" in content:
        with path.with_name("curves.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("epoch", "loss", "curve"))
            table.writerows(_points(content["curves"]))


def _points(curves: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, Any, str]]:
    """Epoch, value and name of every point of the curves.

    One after the other: what is learnt in two phases has one axis of epochs. The parts of a loss,
    named `<curve>_<part>`, lie beside it.
    """
    begins: dict[str, int] = {}
    end = 0
    for name, curve in curves.items():
        whole = next((known for known in begins if name.startswith(f"{known}_")), None)
        begins[name] = end if whole is None else begins[whole]
        end = max(end, begins[name] + len(curve))
        yield from ((begins[name] + i, plain(value), name) for i, value in enumerate(curve))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings under dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_finite(key: str, value: Any, epoch: int | None = None) -> None:
    """Raise ValueError, with the name and where it is known the epoch, on NaN and infinity.

    Lists are looked into; texts, truth values, whole numbers and None are always fine.
    """
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            leaves = flatten(item, ".") if isinstance(item, Mapping) else [("", item)]
            for inner, leaf in leaves:
                check_finite(f"{key}[{index}]{inner}", leaf, epoch)
    elif not isinstance(value, (str, bool, int, type(None))):
        number = plain(value)
        if isinstance(number, float) and not math.isfinite(number):
            where = "" if epoch is None else f" at epoch {epoch}"
            raise ValueError(f"{key} is {number}{where}; expected a finite number")


def plain(value: Any) -> Any:
    """A Python number of a numpy or torch scalar, the text of a path. Raises TypeError."""
    if isinstance(value, float):
        return value
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"found a {type(value).__name__}, expected something JSON can hold")
