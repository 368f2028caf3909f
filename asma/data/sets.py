"""What is known of a data set: its file `datasets/<dataset>.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Set:
    """One data set."""

    format: str  # reader: ntu, pku, folder
    # joints and bones: the name of a file in asma/layouts, where every stage sees it change
    layout: str
    bodies: int  # M, most bodies kept in a clip
    up: str = "y"  # folder: the axis that points up, or -y, as image coordinates have it, x, z, …
    unit: str = "m"  # folder: m, cm, mm
    implausible: str = "refuse"  # positions that cannot be people so described: refuse or warn
    budget: str = "paper"  # which of the stages' `budgets` holds for it
    demonstration: bool = False  # said wherever its results appear
    without: list[str] = field(default_factory=list)  # augmentations that would contradict a label
    classes: str | None = None  # class names: a list in asma/data/lists, else the folder's own
    class_count: int | None = None  # the first so many of them
    person: str = "subject"  # the column that says who performs, if there is one
    # official: leave out the samples the data set's authors list as incomplete
    missing: str = "none"
    slicing: str = "one_based_inclusive"  # PKU-MMD: how label files count frames
    splits: dict[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if Path(self.layout).name != self.layout or Path(self.layout).suffix in (".yaml", ".yml"):
            raise ValueError(
                f"layout: found {self.layout!r}, "
                "expected the name of a file in asma/layouts, kinect_v2"
            )
        if self.bodies < 1:
            raise ValueError(f"bodies: found {self.bodies}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who is train and who is test, by one column of the recordings."""

    column: str
    train: list[Any]
    test: list[Any] | None = None  # None: everyone else
