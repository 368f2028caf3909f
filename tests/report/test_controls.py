from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from asma import evaluation
from asma.report import claims, statistics, tables
from asma.report.claims import entries
from asma.report.rows import ReportError, answers, read
from tests.report.grid import collect_table

Write = Callable[[Mapping[str, Any]], Path]
N = 50
TUNED, RIDGE = ("both", "aligned_finetuned"), ("coordinates", "ridge")
UNTRAINED, SCRATCH = ("random", "standardised"), ("random", "scratch")
UNALIGNED = ("both", "concatenated_wide_finetuned")


def row(key: tuple[str, str], accuracy: float, **more: Any) -> dict[str, Any]:
    encoder, mode = key
    home = {
        "benchmark": "a_xsub",
        "stage": "probe",
        "of": "probe",
        "stream": "joint",
        "source": None,
    }
    sizes = {"n_train": 90, "n_test": N, "chance": 12.5, "seed": 1, "demonstration": False}
    return {**home, **sizes, "encoder": encoder, "mode": mode, "accuracy": accuracy, **more}


def results(tmp_path: Path, *rows: dict[str, Any]) -> pd.DataFrame:
    (tmp_path / "results.json").write_text(json.dumps(rows))
    return read(tmp_path / "results.json")


def named(found: pd.DataFrame) -> list[tuple[str, bool]]:
    """Names of methods and controls, and which are controls."""
    shown = entries(found, "a_xsub")
    return list(zip(shown.name, shown.control, strict=True))


def judged(params: dict[str, Any], runs: Path) -> pd.DataFrame:
    """All rows with their p against their controls."""
    rows = collect_table(params, runs).rows
    return claims.tested(rows, lambda row: answers(row, runs, params["ensemble"]["weights"]))


def test_methods_come_before_their_controls_and_only_those_that_are_there(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        row(RIDGE, 60.0),
        row(UNTRAINED, 50.0),
        row(("highdeg_lowmot", "standardised"), 55.0),
        row(("highdeg_lowmot", "linear"), 45.0),
        row(TUNED, 80.0),
    )
    assert named(found) == [
        ("fine-tuned ASMa", False),
        ("frozen highdeg_lowmot alone", False),
        ("frozen untrained encoder", True),
        ("ridge on raw coordinates", True),
    ]
    alone = results(tmp_path, row(RIDGE, 60.0))
    assert entries(alone, "a_xsub").empty and tables.short(alone, "a_xsub") is None


def test_a_transfer_stands_beside_training_from_scratch_on_its_target(tmp_path: Path) -> None:
    moved = {"of": "transfer", "stage": "transfer"}
    found = results(
        tmp_path,
        *(
            row(("both", f"transferred_from_{s}"), 70.0, source=s, **moved)
            for s in ("b_xsub", "c_xsub")
        ),
        *(row(SCRATCH, 40.0, source=s, **moved) for s in ("b_xsub", "c_xsub")),
    )
    assert named(found) == [
        ("fine-tuned ASMa from b_xsub", False),
        ("fine-tuned ASMa from c_xsub", False),
        ("training from scratch", True),
    ]
    against = [one["other"] for one in claims.verdicts(found, "a_xsub")]
    assert against == ["training from scratch"] * 2


@pytest.mark.parametrize(
    ("accuracy", "p", "said"),
    [
        (87.5, 0.004, "62.5: better by 25.0 points (p=0.004)."),
        (87.5, 0.0001, "62.5: better by 25.0 points (p<0.001)."),
        (50.0, 0.004, "62.5: worse by 12.5 points (p=0.004)."),
        (64.5, 0.5, "62.5: undecided, 2.0 points ahead (p=0.500)."),
        (60.5, 0.05, "62.5: undecided, 2.0 points behind (p=0.050)."),
        (62.5, 1.0, "62.5: undecided, equal (p=1.000)."),
        (87.5, None, "62.5: undecided, 25.0 points ahead (not tested)."),
    ],
)
def test_a_verdict_says_who_wins_or_that_it_may_be_luck(
    tmp_path: Path, accuracy: float, p: float | None, said: str
) -> None:
    against = None if p is None else {"coordinates.ridge": p}
    found = results(tmp_path, row(TUNED, accuracy, against=against), row(RIDGE, 62.5))
    assert (table := tables.short(found, "a_xsub")) is not None
    (verdict,) = table.points
    assert verdict == f"Fine-tuned ASMa {accuracy} against ridge on raw coordinates {said}"


def test_who_asks_often_has_to_be_surer(tmp_path: Path) -> None:
    told = {"coordinates.ridge": 0.03, "random.scratch": 0.02}
    found = results(
        tmp_path,
        row(TUNED, 80.0, against=told),
        row(SCRATCH, 60.0, of="finetune"),
        row(RIDGE, 60.0),
    )
    both = claims.verdicts(found, "a_xsub")
    assert [one["p"] for one in both] == statistics.holm([0.02, 0.03])
    assert [one["word"] for one in both] == ["better", "better"]
    found["against"] = pd.Series([{**told, "random.scratch": 0.04}, {}, {}])
    assert {one["word"] for one in claims.verdicts(found, "a_xsub")} == {"undecided"}


def test_a_difference_is_tested_on_the_answers_to_the_same_recordings(
    params: dict[str, Any], write: Write
) -> None:
    runs = write(params)
    found = judged(params, runs)
    tuned = claims.last(found, "ntu60_xsub").set_index("key").against["both.aligned_finetuned"]

    def right(folder: str, mode: str) -> Any:
        parts = {
            s: evaluation.load_logits(runs / f"{folder}/{s}/logits.npz") for s in params["streams"]
        }
        logits = {stream: (names, by_mode[mode]) for stream, (names, _, by_mode) in parts.items()}
        _, added = evaluation.ensemble(logits, params["ensemble"]["weights"])
        labels = parts["joint"][1]
        return evaluation.answers(added, labels) == labels

    _, labels, ridge = evaluation.load_logits(runs / "baseline/ntu60_xsub/logits.npz")
    of = right("fuse/asma_finetune@ntu60_xsub", "aligned_finetuned").astype(float)
    apart = of - (evaluation.answers(ridge["ridge"], labels) == labels)
    assert tuned["coordinates.ridge"] == statistics.over_recordings(apart) < 0.001
    assert tuned["random.scratch"] == 1.0  # the same answers
    (moved,) = claims.last(found, "demo_pku_xsub").query("not control").against
    assert moved == {"random.scratch": 1.0}


def test_answers_that_are_missing_or_of_others_are_named(
    params: dict[str, Any], write: Write
) -> None:
    runs = write(params)
    path = runs / "baseline" / "demo_ntu_xsub" / "logits.npz"
    names, labels, logits = evaluation.load_logits(path)
    evaluation.save_logits(path, [f"other {name}" for name in names], labels, logits)
    with pytest.raises(
        ReportError, match="fine-tuned ASMa and ridge on raw coordinates: found different"
    ):
        judged(params, runs)
    evaluation.save_logits(path, names, labels, {"other": logits["ridge"]})
    with pytest.raises(ReportError, match="found other, expected logits of ridge") as caught:
        judged(params, runs)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(ReportError, match="logits.npz: not found; `dvc repro` makes it"):
        judged(params, runs)
