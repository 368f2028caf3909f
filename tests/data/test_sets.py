from __future__ import annotations

from pathlib import Path

import pytest

from asma import skeleton
from asma.augment import Augment
from asma.data.sets import Set
from asma.params import Project

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)


def test_the_paper_s_budget_holds_unless_a_set_says_otherwise() -> None:
    plain = Set(format="folder", layout="kinect_v2", bodies=1)
    assert plain.budget == "paper" and not plain.demonstration
    assert plain.without == [] and plain.missing == "none" and plain.splits == {}


@pytest.mark.parametrize(
    "dataset", sorted(path.stem for path in (ROOT / "datasets").glob("*.yaml"))
)
def test_every_set_of_the_parameters_can_be_used(dataset: str) -> None:
    found = PROJECT.dataset(dataset)
    Augment().without(found.without)
    assert len(skeleton.load(found.layout)) in (20, 25)
    assert found.bodies in (1, 2) and found.splits
    for split in found.splits.values():
        assert split.train and split.column
        words = [str(value) for value in split.train]
        assert len(set(words)) == len(words)
        assert not set(words) & {str(value) for value in split.test or []}


def test_the_splits_of_ntu_are_the_published_ones() -> None:
    ntu60, ntu120 = (PROJECT.dataset(name).splits for name in ("ntu60", "ntu120"))
    assert sorted(ntu60) == ["xsub", "xview"] and sorted(ntu120) == ["xset", "xsub"]
    twenty = [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38]
    assert (ntu60["xsub"].column, ntu60["xsub"].train) == ("subject", twenty)
    assert (ntu60["xview"].column, ntu60["xview"].train) == ("camera", [2, 3])
    more = [
        45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86,
        89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
    ]  # fmt: skip
    assert (ntu120["xsub"].column, ntu120["xsub"].train) == ("subject", twenty + more)
    assert (ntu120["xset"].column, ntu120["xset"].train) == ("setup", list(range(2, 33, 2)))
