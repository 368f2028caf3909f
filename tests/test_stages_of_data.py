"""What the stages that make data tell a person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from asma import tracking
from asma.data import clips
from asma.data.parse import Parse
from asma.data.posture import Implausible
from asma.data.recordings import Store
from asma.data.sets import Set
from asma.params import Project
from asma.plan import Plan, build
from stages import parse, prepare, split
from tests.data.people import person

ROOT = Path(__file__).parents[1]
SET: dict[str, Any] = {
    "format": "folder",
    "layout": "kinect_v1",
    "bodies": 1,
    "splits": {"half": {"column": "subject", "train": [1, 9]}},
}


class Log:
    """Keeps what a stage says at its end."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def params(self, values: Any) -> None: ...

    def metrics(self, values: Any) -> None: ...

    def summary(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A folder to work in and the log of its stages."""
    found = Log()

    @contextlib.contextmanager
    def run(stage: str, **axes: str) -> Iterator[Log]:
        yield found

    monkeypatch.setattr(tracking, "run", run)
    monkeypatch.chdir(tmp_path)
    return found


def planned(
    stage: str, name: str, /, out: str = "runs", reads: dict[str, str] | None = None, **changes: Any
) -> Plan:
    """The plan of a stage on the set, by the values of params.yaml."""
    config = Project(ROOT).config("")
    known = asdict(build({**SET, **changes}, Set, "mine"))
    sections = {"parse": ("parse", Parse), "prepare": ("prepare", clips.Prepare)}
    own = (
        {key: asdict(config.section(key, cls)) for key, cls in [sections[stage]]}
        if stage in sections
        else {}
    )
    return Plan(stage, {name: "mine"}, "", reads or {}, out, {"dataset": known, **own})


def recorded(*people: np.ndarray) -> None:
    """data/raw/mine: the n-th person, from 1, is subject n and alone in class n."""
    raw = Path("data/raw/mine")
    raw.mkdir(parents=True)
    rows = ["file,label,subject"]
    for i, xyz in enumerate(people, start=1):
        np.savetxt(raw / f"p{i}.txt", xyz.reshape(len(xyz), -1), "%.4f")
        rows.append(f"p{i}.txt,{i},{i}")
    (raw / "index.csv").write_text("\n".join(rows))


def parsed(**changes: Any) -> None:
    parse.main(
        planned(
            "parse", "dataset", reads={"raw": "data/raw/mine", "recordings": "mine.h5"}, **changes
        )
    )


def prepared(out: str) -> None:
    prepare.main(planned("prepare", "dataset", reads={"recordings": "mine.h5", "clips": out}))


def test_a_set_says_its_axes_and_unit_and_whether_to_refuse(log: Log) -> None:
    x, y, z = np.moveaxis(person(), -1, 0)
    recorded(np.stack([x, -z, y], axis=-1) * 100)
    with pytest.raises(Implausible, match="set `up: z`(.|\n)*set `unit: cm`"):
        parsed()
    parsed(implausible="warn")
    assert "note: 2" in log.said[-1]
    parsed(up="z", unit="cm")
    assert "note" not in log.said[-1]
    with Store(Path("mine.h5")) as store:
        np.testing.assert_allclose(store[0].xyz, person(), atol=1e-3)


def test_prepare_names_the_recordings_that_have_no_body(log: Log) -> None:
    recorded(person(4), person(4))
    parsed()
    with h5py.File("mine.h5", "r+") as file:
        file["xyz"][4:] = 0
    prepared("clips.h5")
    assert log.said[-2].endswith("1 empty recordings left out")
    assert log.said[-1] == "  without a body in any frame: p2"


def test_split_tells_of_classes_never_learnt_and_of_names_in_no_recording(log: Log) -> None:
    recorded(person(), person(), person())
    parsed()
    for folder in ("clips", "motion", "benchmarks"):
        Path(folder).mkdir()
    prepared("clips/mine.h5")
    with h5py.File("clips/mine.h5", "r+") as file:
        file.attrs["absent"] = '{"subject": ["p7", "p8"]}'
    h5py.File("motion/mine.h5", "w").close()
    told = planned(
        "split",
        "split",
        "benchmarks/mine_half.h5",
        reads={"clips": "clips/mine.h5", "motion": "motion/mine.h5"},
    )
    split.main(replace(told, axes={"split": "mine_half"}))
    assert log.said[-4:] == [
        "mine_half: 1 train / 2 test",
        "  1 values of subject listed, but in no recording: 9",
        "  2 names in the official list of subject, but in no recording: p7, p8",
        "  2 classes with test but no training recordings: 2, 3",
    ]
