from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asma import evaluation
from asma.report import headline, paired
from asma.report.collect import ReportError, Results, collect, read

Write = Callable[[Mapping[str, Any]], Path]
N = 50


def row(key: tuple[str, str], accuracy: float, **more: Any) -> dict[str, Any]:
    encoder, mode = key
    home = {"benchmark": "a_xsub", "stage": "probe", "of": "probe", "stream": "joint", "source": None}
    sizes = {"n_train": 90, "n_test": N, "chance": 12.5, "seed": 1, "demonstration": False}
    return {**home, **sizes, "encoder": encoder, "mode": mode, "accuracy": accuracy, **more}


def results(tmp_path: Path, *rows: dict[str, Any]) -> Results:
    (tmp_path / "results.json").write_text(json.dumps(rows))
    return read(tmp_path / "results.json")


def test_methods_come_before_their_controls_and_only_those_that_are_there(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        row(headline.RIDGE, 60.0),
        row(headline.UNTRAINED, 50.0),
        row(("highdeg_lowmot", "standardised"), 55.0),
        row(("highdeg_lowmot", "linear"), 45.0),
        row(headline.TUNED, 80.0),
    )
    assert [(one.name, one.control) for one in headline.entries(found, "a_xsub")] == [
        ("fine-tuned ASMa", False),
        ("frozen highdeg_lowmot alone", False),
        ("frozen untrained encoder", True),
        ("ridge on raw coordinates", True),
    ]
    alone = results(tmp_path, row(headline.RIDGE, 60.0))
    assert headline.entries(alone, "a_xsub") == []
    assert headline.sentence(alone, "a_xsub") is None


def test_a_transfer_stands_beside_training_from_scratch_on_its_target(tmp_path: Path) -> None:
    moved = {"of": "transfer", "stage": "transfer"}
    found = results(
        tmp_path,
        *(row(("both", f"transferred_from_{s}"), 70.0, source=s, **moved) for s in ("b_xsub", "c_xsub")),
        *(row(headline.SCRATCH, 40.0, source=s, **moved) for s in ("b_xsub", "c_xsub")),
    )
    assert [(one.name, one.control) for one in headline.entries(found, "a_xsub")] == [
        ("fine-tuned ASMa from b_xsub", False),
        ("fine-tuned ASMa from c_xsub", False),
        ("training from scratch", True),
    ]
    assert [one.other.name for one in headline.verdicts(found, "a_xsub")] == ["training from scratch"] * 2


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
    found = results(tmp_path, row(headline.TUNED, accuracy, against=against), row(headline.RIDGE, 62.5))
    (verdict,) = headline.verdicts(found, "a_xsub")
    assert verdict.sentence == f"Fine-tuned ASMa {accuracy} against ridge on raw coordinates {said}"


def test_who_asks_often_has_to_be_surer(tmp_path: Path) -> None:
    told = {"coordinates.ridge": 0.03, "random.scratch": 0.02}
    found = results(
        tmp_path,
        row(headline.TUNED, 80.0, against=told),
        row(headline.SCRATCH, 60.0),
        row(headline.RIDGE, 60.0),
    )
    both = headline.verdicts(found, "a_xsub")
    assert [one.p for one in both] == paired.holm([0.02, 0.03])
    assert [one.word for one in both] == ["better", "better"]
    found.rows[0]["against"] = {**told, "random.scratch": 0.04}
    assert {one.word for one in headline.verdicts(found, "a_xsub")} == {"undecided"}


def test_the_sentence_names_every_control_and_those_that_win(tmp_path: Path) -> None:
    told = {"coordinates.ridge": 0.001, "random.scratch": 0.001, "both.concatenated_wide_finetuned": 0.9}
    found = results(
        tmp_path,
        row(headline.TUNED, 50.0, against=told),
        row(headline.SCRATCH, 10.0),
        row(headline.UNALIGNED, 52.0),
        row(headline.RIDGE, 75.0),
    )
    said = headline.sentence(found, "a_xsub")
    assert said is not None
    assert said.replace("\N{NO-BREAK SPACE}", " ") == (
        "Fine-tuned ASMa recognises the action in 50.0 % of 50 test recordings, where chance is 12.5 %: better than "
        "training from scratch (10.0 %); undecided against fine-tuned ASMa without alignment (52.0 %); worse than "
        "ridge on raw coordinates (75.0 %)."
    )


def test_a_difference_is_tested_on_the_answers_to_the_same_recordings(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    found = collect(params, runs)
    headline.test(found, params["ensemble"]["weights"], runs)
    (tuned,) = [one for one in headline.entries(found, "ntu60_xsub") if one.key == headline.TUNED]

    def right(folder: str, mode: str) -> Any:
        parts = {s: evaluation.load_logits(runs / f"{folder}/{s}/logits.npz") for s in params["streams"]}
        logits = {stream: (names, by_mode[mode]) for stream, (names, _, by_mode) in parts.items()}
        _, added = evaluation.ensemble(logits, params["ensemble"]["weights"])
        labels = parts["joint"][1]
        return evaluation.answers(added, labels) == labels

    _, labels, ridge = evaluation.load_logits(runs / "baseline/ntu60_xsub/logits.npz")
    of = right("fuse/asma_finetune@ntu60_xsub", "aligned_finetuned").astype(float)
    expected = paired.over_recordings(of - (evaluation.answers(ridge["ridge"], labels) == labels))
    assert tuned.row["against"]["coordinates.ridge"] == expected < 0.001
    assert tuned.row["against"]["random.scratch"] == 1.0  # the same answers
    (moved,) = [one for one in headline.entries(found, "demo_pku_xsub") if not one.control]
    assert moved.row["against"] == {"random.scratch": 1.0}


def test_answers_that_are_missing_or_of_others_are_named(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    found, path = collect(params, runs), runs / "baseline" / "demo_ntu_xsub" / "logits.npz"
    names, labels, logits = evaluation.load_logits(path)
    evaluation.save_logits(path, [f"other {name}" for name in names], labels, logits)
    with pytest.raises(ReportError, match="fine-tuned ASMa and ridge on raw coordinates: found different"):
        headline.test(found, params["ensemble"]["weights"], runs)
    evaluation.save_logits(path, names, labels, {"other": logits["ridge"]})
    with pytest.raises(ReportError, match="found other, expected logits of ridge") as caught:
        headline.test(found, params["ensemble"]["weights"], runs)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(ReportError, match="logits.npz: not found; `dvc repro` makes it"):
        headline.test(found, params["ensemble"]["weights"], runs)
