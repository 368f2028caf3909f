from __future__ import annotations

import json
from pathlib import Path

from benchmarks.__main__ import keep
from benchmarks.measure import Result


def result(topic: str, ours: float) -> Result:
    return Result(topic=topic, case="one", unit="s", ours=ours)


def test_a_topic_takes_the_place_of_its_earlier_results_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    keep("loss", [result("loss", 1.0)], tmp_path)
    keep("views", [result("views", 2.0)], tmp_path)
    keep("loss", [result("loss", 3.0)], tmp_path)
    found = [
        (line["topic"], line["ours"])
        for line in json.loads((tmp_path / "results.json").read_text())
    ]
    assert found == [("views", 2.0), ("loss", 3.0)]
    assert (tmp_path / "results.md").read_text().count("| one") == 2
