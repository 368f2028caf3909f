from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asma import ablations
from asma.params import Project
from asma.report import claims, rows, tables
from asma.report.rows import Expected, ReportError
from tests.report.grid import collect, lay, pair, params, share


def judged(content: Any, runs: Path, missing: str = "error") -> dict[str, claims.Tested]:
    """All claims by their keys."""
    answers = partial(rows.answers, runs=runs, weights=content["ensemble"]["weights"])
    tested = claims.judge(collect(content, runs, missing), pair(content), answers)
    return {one.key: one for one in tested}


def put(runs: Path, better: dict[str, int]) -> dict[str, claims.Tested]:
    """All claims where a mode has this many points more than the others, and seeds differ."""

    def right(one: Expected, mode: str) -> np.ndarray:
        seed, encoder = one.says["seed"], one.columns["encoder"].split(" + ")[-1]
        one_more = mode == "aligned_probed" and mode in better and seed == 3
        return share(10 + seed + better.get(mode, 0) + better.get(encoder, 0) + one_more)

    return judged(params(), lay(runs, params(), right))


def test_a_claim_holds_where_all_its_comparisons_do(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["alignment"]
    assert [c.verdict for *_, c in one.comparisons] == ["better"] * 3
    assert one.verdict == claims.HOLDS
    assert one.sentence.startswith("Alignment against average: +50.8 points (")


def test_a_claim_of_which_a_part_was_not_run_cannot_hold_and_says_which(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["two encoders"]
    assert [c.verdict for *_, c in one.comparisons] == ["open"]
    ahead: Any = {"difference": 5.0, "p_seeds": 0.0, "p_recordings": 0.0}
    better = one._replace(
        comparisons=[(w, a, b, c._replace(**ahead)) for w, a, b, c in one.comparisons]
    )
    assert [c.verdict for *_, c in better.comparisons] == ["better"]
    assert better.verdict == claims.OPEN
    assert better.sentence.endswith(
        "Not run: two against one of twice the width, linear; "
        "two kinds against two of highdeg_lowmot."
    )


def test_a_claim_fails_where_one_comparison_goes_the_other_way(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 10, "averaged_probed": 25})["alignment"]
    assert [c.verdict for *_, c in one.comparisons] == ["worse", "better", "better"]
    assert one.verdict == claims.FAILS


def test_the_other_way_has_to_be_clear_of_having_asked_several_times(tmp_path: Path) -> None:
    one = put(tmp_path, {"aligned_probed": 20})["alignment"]

    def told(*values: tuple[float, float]) -> str:
        comparisons = [
            (w, a, b, c._replace(difference=difference, p_seeds=p, p_recordings=0.0))
            for (w, a, b, c), (difference, p) in zip(one.comparisons, values, strict=True)
        ]
        return one._replace(comparisons=comparisons).verdict

    assert told((-3, 0.016), (1, 0.9), (1, 0.9)) == claims.FAILS  # 3 × 0.016 < 0.05
    assert told((-3, 0.017), (1, 0.9), (1, 0.9)) == claims.OPEN
    assert (
        told((-3, 0.024), (1, 0.001), (1, 0.9)) == claims.FAILS
    )  # 2 × 0.024, the smallest is another's
    assert told((3, 0.04), (1, 0.04), (1, 0.04)) == claims.HOLDS


def test_three_streams_are_compared_with_each_of_them(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone", "motion"])
    runs = lay(tmp_path, content, lambda one, mode: share(10 + one.says["seed"]))
    table = tables.claim(judged(content, runs)["streams"], "")
    assert [line.cells[1] for line in table.lines] == ["3s, joint", "3s, bone", "3s, motion"]


def test_a_claim_is_open_where_nothing_differs(tmp_path: Path) -> None:
    one = put(tmp_path, {})["alignment"]
    assert one.verdict == claims.OPEN
    assert one.sentence.startswith("Alignment against average: 0.0 points")


def test_a_claim_whose_rows_are_not_in_the_grid_was_not_run(tmp_path: Path) -> None:
    one = put(tmp_path, {})["streams"]
    assert (one.verdict, one.sentence) == (claims.ABSENT, "")


def test_where_not_all_streams_were_run_a_single_one_is_compared_and_named(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone"])

    def right(one: Expected, mode: str) -> np.ndarray:
        return share(10 + one.says["seed"] + 5 * (one.says["stream"] == "bone"))

    runs = lay(tmp_path, content, right)
    for folder in runs.glob("ablations/probe/*/bone"):
        shutil.rmtree(folder)
    tested = judged(content, runs, "leave_out")
    streams = {k: [line.cells[1] for line in tables.claim(t, "").lines] for k, t in tested.items()}
    assert streams["pretraining"] == ["joint", "joint", "2s", "2s"]
    assert streams["alignment"] == ["2s"] * 3


def test_two_kinds_are_compared_with_two_of_one_kind(tmp_path: Path) -> None:
    one = put(tmp_path, {"lowdeg_highmot_2": 20})["two encoders"]
    assert [what for what, *_ in one.comparisons] == ["two kinds against two of lowdeg_highmot"]
    assert one.comparisons[0][3].difference == -50


def test_every_claim_stands_in_the_text_with_its_verdict_and_the_command(tmp_path: Path) -> None:
    every = list(put(tmp_path, {"aligned_probed": 20}).values())
    far = tables.Table("How far pretraining got", "As far as it got.", ["Encoder", "seed 1"], 1)
    text = tables.text(
        "claims.md.j2",
        claims=[(one, tables.claim(one, one.benchmark)) for one in every],
        note="Demonstration.",
        origin="Made by `make ablations`.",
        far=far._replace(lines=[tables.Line(["a", "700"])]),
        values={"pretrain": {"epochs": 7}},
    )
    assert "## The parameters of these runs" in text and "pretrain:\n  epochs: 7\n```" in text
    assert text.count("\n## ") == len(rows.data("claims.yaml")) + 2
    assert "## How far pretraining got" in text and "| 700 |" in " ".join(text.split())
    assert "The paper's Table 9." in text
    assert "**demo_xsub: holds.**" in text
    assert "**demo_xsub: was not run.**" in text
    assert "Not run: two against one of twice the width, linear;" in text
    assert "Made by `make ablations`." in text
    assert "**Demonstration.**" in text
    assert "| alignment against average" in text


def test_rows_on_other_recordings_are_an_error(tmp_path: Path) -> None:
    runs = lay(tmp_path, params(), lambda one, mode: share(10 + one.says["seed"]))
    line = "asma_pretrain+fuse.first=lowdeg_highmot+fuse.second=highdeg_lowmot+seed=2"
    path = runs / f"ablations/fuse/{line}@demo_xsub/joint/logits.npz"
    with np.load(path) as held:
        arrays = {key: held[key] for key in held.files}
    np.savez(path, **{**arrays, "names": np.char.add(arrays["names"], "x")})
    with pytest.raises(ReportError, match="found other test recordings in one, expected the same"):
        judged(params(), runs)


def test_every_claim_compares_rows_that_the_ablations_have() -> None:
    """A claim whose rows no line of recipes/ablations.yaml makes would never be judged."""
    project = Project(Path(__file__).resolve().parents[2])
    section = {"streams": [], **project.ablations}
    lines = {(line.encoder, line.change) for line in ablations.lines(project.params, section)}
    for claim in rows.data("claims.yaml"):
        for one in claim["comparisons"]:
            for side in (one["better"], one["worse"]):
                names = {"first": "lowdeg_highmot", "second": "highdeg_lowmot"}
                words = {key: word.format(**names) for key, word in side.items()}
                assert (words["encoder"], words.get("change", "")) in lines, one["what"]
