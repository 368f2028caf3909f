from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from asma import evaluation
from asma.evaluation import MismatchError
from asma.illustration import judged
from asma.illustration.judged import Answers

# Class 0 has four clips, 1 three, 2 none, 3 two; of class 1 all are taken for 3, of 0 one for 1
# and one for 3.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 3, 3])
TAKEN_FOR = [0, 0, 1, 3, 3, 3, 3, 3, 1]
MATRIX = np.array([[2, 1, 0, 1], [0, 0, 0, 3], [0, 0, 0, 0], [0, 1, 0, 1]])
NAMES = [f"r{i}" for i in range(len(LABELS))]


def logits(taken_for: list[int] = TAKEN_FOR) -> np.ndarray:
    found = np.random.default_rng(0).random((len(LABELS), 4)).astype(np.float32)
    found[np.arange(len(LABELS)), taken_for] += 1
    return found


def leave(folder: Path, names: list[str] = NAMES, **modes: np.ndarray) -> None:
    evaluation.save_logits(folder / "logits.npz", names, LABELS, modes)


def test_who_is_taken_for_whom_is_counted() -> None:
    assert judged.confusion(logits(), LABELS).tolist() == MATRIX.tolist()


def test_the_pair_that_was_made_the_worst_comes_first_and_equals_by_their_share() -> None:
    # 1 of 2 is more than 1 of 4; of two that are equal in both, the one that stands first
    assert judged.worst_pairs(MATRIX) == [(1, 3), (3, 1), (0, 1), (0, 3)]
    assert judged.worst_pairs(MATRIX, most=1) == [(1, 3)]
    assert judged.worst_pairs(np.diag([3, 0, 2])) == []


def test_accuracy_by_class_is_the_share_on_the_diagonal() -> None:
    found = judged.accuracy(MATRIX)
    assert found[[0, 1, 3]].tolist() == [50, 0, 50]
    assert math.isnan(found[2])
    overall = evaluation.score(logits(), LABELS)["accuracy"]
    count = MATRIX.sum(axis=1)
    assert np.nansum(found * count) / count.sum() == pytest.approx(overall)


def test_a_logit_that_is_no_number_is_an_error() -> None:
    bad = logits()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="logits: found NaN for 1 of 9 samples"):
        judged.confusion(bad, LABELS)


def test_means_by_class_are_those_of_its_clips() -> None:
    values = np.random.default_rng(0).random((9, 5))
    found = judged.by_class(values, LABELS, 4)
    for k in (0, 1, 3):
        own = [values[i] for i in range(9) if LABELS[i] == k]
        np.testing.assert_allclose(found[k], sum(own) / len(own))
    assert np.isnan(found[2]).all()


def test_the_most_probable_classes_are_named_with_their_probability() -> None:
    found = judged.probable(np.log(np.array([0.1, 0.5, 0.05, 0.2, 0.05, 0.06, 0.04])) + 700)
    assert [one["class"] for one in found] == [1, 3, 0, 5, 2]  # of equals the first
    assert [one["probability"] for one in found] == pytest.approx(
        [0.5, 0.2, 0.1, 0.06, 0.05], abs=1e-4
    )
    assert len(judged.probable(np.zeros(3))) == 3
    assert judged.probable(np.zeros(1)) == [{"class": 0, "probability": 1.0}]


def test_answers_are_read_by_stream_and_added_up(tmp_path: Path) -> None:
    parts = {"joint": logits(), "bone": logits()[::-1].copy()}
    for stream, part in parts.items():
        leave(tmp_path / stream, aligned_probed=part, averaged_probed=part * 0)
    found = judged.read(
        tmp_path,
        "both",
        "aligned_probed",
        "bone",
        ["joint", "bone"],
        {"joint": 0.5, "bone": 0.25},
        NAMES,
    )
    assert [(one.model, one.stream) for one in found] == [
        ("both aligned_probed", "bone"),
        ("both aligned_probed", "2s"),
    ]
    assert np.array_equal(found[0].logits, parts["bone"])
    np.testing.assert_allclose(found[1].logits, 0.5 * parts["joint"] + 0.25 * parts["bone"])
    alone = judged.read(tmp_path, "both", "aligned_probed", "bone", ["bone"], {}, NAMES)
    assert [one.stream for one in alone] == ["bone"]


def test_answers_that_are_not_there_or_of_others_are_named(tmp_path: Path) -> None:
    def read(mode: str = "linear", names: list[str] = NAMES) -> None:
        judged.read(tmp_path, "random", mode, "joint", ["joint"], {}, names)

    with pytest.raises(
        FileNotFoundError, match=r"joint.logits\.npz: not found; `dvc repro` makes it"
    ):
        read()
    leave(tmp_path / "joint", linear=logits())
    read()
    with pytest.raises(ValueError, match=r"logits\.npz: found linear, expected logits of knn"):
        read(mode="knn")
    with pytest.raises(
        MismatchError, match=r"logits\.npz: found logits of 9 recordings, expected 10: missing r9"
    ):
        read(names=[*NAMES, "r9"])


def test_arrays_and_metrics_say_the_same() -> None:
    right = [int(k) for k in LABELS]
    answers = [
        Answers("both aligned", "joint", logits()),
        Answers("both aligned", "3s", logits(right)),
    ]
    found = judged.arrays(answers, LABELS, 4)
    assert found["models"].tolist() == ["both aligned"] * 2 and found["model_streams"].tolist() == [
        "joint",
        "3s",
    ]
    assert found["confusion"][0].tolist() == MATRIX.tolist()
    assert found["worst_pairs"][0][:5].tolist() == [[1, 3], [3, 1], [0, 1], [0, 3], [-1, -1]]
    assert (found["worst_pairs"][1] == -1).all()
    assert found["accuracy"][1][[0, 1, 3]].tolist() == [100, 100, 100]
    told = judged.told(answers, LABELS, ["sit", "stand", "fly", "fall"])
    assert told["both aligned joint"]["accuracy"] == {"sit": 50.0, "stand": 0.0, "fall": 50.0}
    worst = {"class": "stand", "taken_for": "fall", "clips": 3, "of": 3}
    pairs = told["both aligned joint"]["worst_pairs"]
    assert isinstance(pairs, list) and pairs[0] == worst
    assert told["both aligned 3s"]["worst_pairs"] == []


def test_one_class_and_no_answers_are_few_but_no_error() -> None:
    found = judged.arrays([], LABELS, 4)
    assert found["confusion"].shape == (0, 4, 4) and found["accuracy"].shape == (0, 4)
    single = judged.arrays([Answers("both x", "joint", np.zeros((3, 1)))], np.zeros(3, np.int64), 1)
    assert single["confusion"].tolist() == [[[3]]] and single["accuracy"].tolist() == [[100]]
