"""metrics.json and curves.csv."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asma import record


def test_written_metrics_are_the_same_bytes_for_the_same_content(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "metrics.json", tmp_path / "b" / "metrics.json"
    scores = {"y": [np.float32(0.5)], "x": None}
    record.write(one, {"b": np.int64(2), "a": scores, "path": Path("runs/x")})
    record.write(two, {"path": Path("runs/x"), "a": {"x": None, "y": [0.5]}, "b": 2})
    assert one.read_bytes() == two.read_bytes()
    assert json.loads(one.read_text()) == {"a": {"x": None, "y": [0.5]}, "b": 2, "path": "runs/x"}


def test_written_curves_are_a_table_too_with_one_axis_for_what_is_learnt_in_phases(
    tmp_path: Path,
) -> None:
    curves = {"features": [2.0, np.float32(1.5)], "finetune": [0.5]}
    record.write(tmp_path / "metrics.json", {"curves": curves})
    record.write(tmp_path / "random" / "metrics.json", {"curves": {}})
    record.write(tmp_path / "probe" / "metrics.json", {"accuracy": 50.0})
    table = (tmp_path / "curves.csv").read_bytes()
    assert table == b"epoch,loss,curve\n0,2.0,features\n1,1.5,features\n2,0.5,finetune\n"
    assert (tmp_path / "random" / "curves.csv").read_text() == "epoch,loss,curve\n"
    assert not (tmp_path / "probe" / "curves.csv").exists()


def test_the_parts_of_a_loss_lie_beside_it_on_the_axis_of_epochs(tmp_path: Path) -> None:
    curves = {"loss": [3.0, 2.0], "loss_near": [1.0, 0.5], "loss_far": [2.0, 1.5], "later": [0.25]}
    record.write(tmp_path / "metrics.json", {"curves": curves})
    rows = (tmp_path / "curves.csv").read_text().splitlines()[1:]
    assert rows == [
        "0,3.0,loss", "1,2.0,loss", "0,1.0,loss_near", "1,0.5,loss_near", "0,2.0,loss_far",
        "1,1.5,loss_far", "2,0.25,later",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"results": [{"accuracy": 1.0}, {"accuracy": np.float64("nan")}]}, "results[1].accuracy"),
        ({"results": [{"top": {"five": float("nan")}}]}, "results[0].top.five"),
        ({"curves": {"joint": [1.0, np.float32("nan")]}}, "curves.joint[1]"),
    ],
)
def test_written_metrics_refuse_what_is_not_finite_and_name_it(
    tmp_path: Path,
    content: dict[str, Any],
    name: str,
) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(ValueError, match=f"^{re.escape(name)} is nan; expected a finite number$"):
        record.write(path, content)
    assert not path.exists()


def test_what_json_does_not_know_is_refused_by_its_kind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="found a set, expected something JSON can hold"):
        record.write(tmp_path / "metrics.json", {"classes": {1, 2}})
