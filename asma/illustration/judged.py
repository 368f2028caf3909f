"""Answers sorted by class: who is taken for whom, and which encoder knows which class, as in the
paper's Figure 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma import evaluation

PAIRS = 10  # of classes, named as the worst


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits (n, K) of a model on the test clips in their order. stream: one, or `3s` for three
    added up.
    """

    model: str
    stream: str
    logits: np.ndarray


def read(
    folder: Path,
    encoder: str,
    mode: str,
    stream: str,
    streams: Sequence[str],
    weights: Mapping[str, float],
    names: list[str],
) -> list[Answers]:
    """Answers of a mode in one of `streams`, and of all of them together where there are more than
    one.

    folder: of the runs, `folder`/<stream>/logits.npz; names: the test clips. Raises MismatchError
    where a file speaks of others, ValueError where it lacks the mode, FileNotFoundError where
    there is none.
    """
    found = {}
    for each in streams:
        path = folder / each / "logits.npz"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not found; `dvc repro` makes it")
        those, _, logits = evaluation.load_logits(path)
        evaluation.same_recordings(names, those, str(path))
        if mode not in logits:
            raise ValueError(
                f"{path}: found {', '.join(logits) or 'nothing'}, expected logits of {mode}"
            )
        found[each] = logits[mode]
    answers = [Answers(f"{encoder} {mode}", stream, found[stream])]
    if len(streams) > 1:
        _, total = evaluation.ensemble(
            {each: (names, logits) for each, logits in found.items()}, weights
        )
        answers.append(Answers(f"{encoder} {mode}", f"{len(streams)}s", total))
    return answers


def by_class(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean of values (n, …) over the clips of each class, (K, …) float64; NaN for a class without
    clips.
    """
    found = np.full((classes, *values.shape[1:]), np.nan)
    for label in np.unique(labels):
        found[label] = values[labels == label].mean(axis=0)
    return found


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many clips of each class (row) are taken for each (column), (K, K) int64, by their
    logits (n, K).

    Raises ValueError where a logit is NaN.
    """
    found = np.zeros((logits.shape[1], logits.shape[1]), np.int64)
    np.add.at(found, (labels, evaluation.answers(logits, labels)), 1)
    return found


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Per cent of each class's clips that are on the diagonal, (K,) float64; NaN for a class
    without clips.
    """
    count = matrix.sum(axis=1)
    return np.where(count > 0, 100 * matrix.diagonal() / np.maximum(count, 1), np.nan)


def worst_pairs(matrix: np.ndarray, most: int = PAIRS) -> list[tuple[int, int]]:
    """Classes (true, taken for) that are confused in the most clips, most first; of equals the
    larger share first.
    """
    wrong = matrix - np.diag(matrix.diagonal())
    share = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    order = np.lexsort((-share.flatten(), -wrong.flatten()))[:most]
    pairs = [divmod(int(place), len(matrix)) for place in order]
    return [pair for pair in pairs if wrong[pair]]


def probable(logits: np.ndarray, most: int = 5) -> list[dict[str, float]]:
    """The most probable classes of one clip, by the softmax of its logits (K,), most first."""
    likely = np.exp(logits.astype(np.float64) - logits.max())
    likely /= likely.sum()
    order = np.argsort(-likely, kind="stable")[:most]
    return [{"class": int(k), "probability": round(float(likely[k]), 4)} for k in order]


def arrays(answers: Sequence[Answers], labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Confusions, accuracies by class and worst pairs (rows, PAIRS, 2; −1 where there are fewer),
    a row an answer.
    """
    matrices = [confusion(one.logits, labels) for one in answers]
    pairs = np.full((len(answers), PAIRS, 2), -1)
    for row, matrix in enumerate(matrices):
        for place, pair in enumerate(worst_pairs(matrix)):
            pairs[row, place] = pair
    return {
        "models": np.array([one.model for one in answers], dtype=np.str_),
        "model_streams": np.array([one.stream for one in answers], dtype=np.str_),
        "confusion": np.array(matrices, np.int64).reshape(len(answers), classes, classes),
        "worst_pairs": pairs,
        "accuracy": np.array([accuracy(matrix) for matrix in matrices]).reshape(
            len(answers), classes
        ),
    }


def told(
    answers: Sequence[Answers], labels: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, object]]:
    """The same as plain data for metrics.json: accuracy by class name, and the pairs confused
    most, by model.
    """
    found: dict[str, dict[str, object]] = {}
    for one in answers:
        matrix = confusion(one.logits, labels)
        found[f"{one.model} {one.stream}"] = {
            "accuracy": {
                names[k]: float(v) for k, v in enumerate(accuracy(matrix)) if not np.isnan(v)
            },
            "worst_pairs": [
                {
                    "class": names[a],
                    "taken_for": names[b],
                    "clips": int(matrix[a, b]),
                    "of": int(matrix[a].sum()),
                }
                for a, b in worst_pairs(matrix)
            ],
        }
    return found
