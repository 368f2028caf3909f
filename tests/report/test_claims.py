from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from asma.report import ablation_tables, ablations, claims
from asma.report.ablations import Ablation
from tests.report.grid import lay, params, share


def put(runs: Path, better: dict[str, int]) -> dict[str, claims.Tested]:
    """All claims where a mode has this many points more than the others, and seeds differ."""

    def right(ablation: Ablation, mode: str, stream: str, seed: int) -> np.ndarray:
        count = (
            10
            + seed
            + better.get(mode, 0)
            + better.get(ablation.who[-1], 0)
            + (mode == "aligned_probed" and mode in better and seed == 3)
        )
        return share(count)

    content = params()
    found = ablations.collect(content, lay(runs, content, right))
    return {one.claim.key: one for one in claims.put_to_the_test(found)}


def test_a_claim_holds_where_all_its_comparisons_do(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["alignment"]
    assert [c.verdict for *_, c in one.comparisons] == ["better"] * 3
    assert one.verdict == claims.HOLDS
    assert one.sentence.startswith("Holds. Alignment against average: +50.8 points (")


def test_a_claim_of_which_a_part_was_not_run_cannot_hold_and_says_which(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["two encoders"]
    assert [c.verdict for *_, c in one.comparisons] == ["open"]
    better = replace(one, comparisons=tuple((w, a, b, replace(c, p_seeds=0.0)) for w, a, b, c in one.comparisons))
    better = replace(
        better,
        comparisons=tuple((w, a, b, replace(c, difference=5.0, p_recordings=0.0)) for w, a, b, c in better.comparisons),
    )
    assert [c.verdict for *_, c in better.comparisons] == ["better"]
    assert better.verdict == claims.OPEN
    assert better.sentence.endswith(
        "Not run: two against one of twice the width, linear; two kinds against two of highdeg_lowmot."
    )


def test_a_claim_fails_where_one_comparison_goes_the_other_way(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 10, "averaged_probed": 25})["alignment"]
    assert [c.verdict for *_, c in one.comparisons] == ["worse", "better", "better"]
    assert one.verdict == claims.FAILS


def test_the_other_way_has_to_be_clear_of_having_asked_several_times(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["alignment"]

    def told(*values: tuple[float, float]) -> str:
        comparisons = tuple(
            (w, a, b, replace(c, difference=difference, p_seeds=p, p_recordings=0.0))
            for (w, a, b, c), (difference, p) in zip(one.comparisons, values, strict=True)
        )
        return replace(one, comparisons=comparisons).verdict

    assert told((-3, 0.016), (1, 0.9), (1, 0.9)) == claims.FAILS  # 3 × 0.016 < 0.05
    assert told((-3, 0.017), (1, 0.9), (1, 0.9)) == claims.OPEN
    assert told((-3, 0.024), (1, 0.001), (1, 0.9)) == claims.FAILS  # 2 × 0.024, the smallest is another's
    assert told((3, 0.04), (1, 0.04), (1, 0.04)) == claims.HOLDS


def test_three_streams_are_compared_with_each_of_them(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone", "motion"])
    runs = lay(tmp_path, content, lambda ablation, mode, stream, seed: share(10 + seed))
    tested = {one.claim.key: one for one in claims.put_to_the_test(ablations.collect(content, runs))}
    assert [line.cells[1] for line in claims.table(tested["streams"], "").lines] == [
        "3s, joint",
        "3s, bone",
        "3s, motion",
    ]


def test_a_claim_is_open_where_nothing_differs(tmp_path: Path) -> None:
    one = put(tmp_path, {})["alignment"]
    assert one.verdict == claims.OPEN
    assert one.sentence.startswith("Cannot be told at this size. Alignment against average: 0.0 points")


def test_a_claim_whose_rows_are_not_in_the_grid_was_not_run(tmp_path: Path) -> None:
    one = put(tmp_path, {})["streams"]
    assert (one.verdict, one.sentence) == (claims.ABSENT, "Was not run.")


def test_where_not_all_streams_were_run_a_single_one_is_compared_and_named(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone"])
    runs = lay(tmp_path, content, lambda ablation, mode, stream, seed: share(10 + seed + 5 * (stream == "bone")))
    for folder in (tmp_path / "probe").glob("*/bone"):
        shutil.rmtree(folder)
    found = ablations.collect(content, runs, "leave_out")
    tested = {one.claim.key: one for one in claims.put_to_the_test(found)}
    streams = {key: [line.cells[1] for line in claims.table(one, "").lines] for key, one in tested.items()}
    assert streams["pretraining"] == ["joint", "joint", "2s", "2s"]
    assert streams["alignment"] == ["2s"] * 3


def test_two_kinds_are_compared_with_two_of_one_kind(tmp_path: Path) -> None:
    one = put(tmp_path, {"lowdeg_highmot_2": 20})["two encoders"]
    assert [what for what, *_ in one.comparisons] == ["two kinds against two of lowdeg_highmot"]
    assert one.comparisons[0][3].difference == -50


def test_every_claim_stands_in_the_page_with_its_verdict_and_the_command(tmp_path: Path) -> None:
    every = list(put(tmp_path, {"aligned_probed": 20}).values())
    content = params()
    content["budgets"] = {"paper": {"pretrain": {"epochs": 7}}, "small": {"pretrain": {"epochs": 8}}}
    found = ablations.collect(content, lay(tmp_path / "again", content, lambda *line: share(10)))
    values = ablation_tables.parameters(found, content)
    assert yaml.safe_load(values) == {
        "budgets": {"paper": {"pretrain": {"epochs": 7}}},
        "ablations": content["ablations"],
    }
    far = ablation_tables.pretraining(found, {("a", "demo_xsub", "joint"): [700.4, None, 1200.6]})
    assert [line.cells for line in far.lines] == [["demo_xsub (demonstration)", "a", "joint", "700", "–", "1201"]]
    text = ablation_tables.claims_markdown(every, "Demonstration.", "Made by `make ablations`.", values, far)
    assert "## The parameters of these runs" in text and values in text
    assert text.count("\n## ") == len(claims.claims("a", "b")) + 2
    assert "## How far pretraining got" in text and "| 700 |" in " ".join(text.split())
    assert "**demo_xsub: holds.**" in text
    assert "**demo_xsub: was not run.**" in text
    assert "Made by `make ablations`." in text
    assert "**Demonstration.**" in text
    assert "| alignment against average" in text
