"""Logits → score: accuracy, nearest neighbours, ensembles. Tensors and arrays only."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MismatchError(ValueError):
    """Logits of streams that do not speak of the same recordings."""


def forward(module: nn.Module, x: Tensor, batch_size: int = 256) -> Tensor:
    """module(x) in batches, evaluation mode, no gradients: x (N, …) → (N, …)."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module(part).float() for part in x.split(batch_size)])


def embed(
    encoder: nn.Module, x: Tensor, reduce: Callable[[Tensor], Tensor], batch_size: int = 256
) -> Tensor:
    """reduce(encoder(x)) in batches, evaluation mode, no gradients, float32."""
    encoder.eval()
    with torch.no_grad():
        return torch.cat([reduce(encoder(part)).float() for part in x.split(batch_size)])


def answers(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class each sample is put into, (N,): the largest of its logits (N, K), with the true
    class last among equals.

    Ties count against the sample: the true class, labels (N,), must be strictly ahead, so constant
    logits are never right. Raises ValueError where a logit is NaN, which is ahead of nothing and
    would count as right.
    """
    if np.isnan(logits).any():
        raise ValueError(
            f"logits: found NaN for {np.isnan(logits).any(axis=1).sum()} of {len(logits)} samples"
        )
    place = np.arange(len(labels))
    others = np.array(logits, dtype=np.float64)
    others[place, labels] = -np.inf
    best = others.argmax(axis=1)
    return np.where(logits[place, labels] > others[place, best], labels, best)


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 accuracy in per cent over all N samples: logits (N, K), labels (N,).

    Ties count against the sample in both. Raises ValueError where a logit is NaN.
    """
    right = answers(logits, labels) == labels
    own = logits[np.arange(len(labels)), labels]
    ahead = (logits >= own[:, None]).sum(axis=1) - 1  # classes at least as likely as the true one
    return {
        "accuracy": 100 * float(right.mean()),
        "top5": 100 * float((ahead < min(5, logits.shape[1])).mean()),
    }


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the N samples, in per cent, that two logits (N, K) put into the same class."""
    return 100 * float((a.argmax(axis=1) == b.argmax(axis=1)).mean())


def nearest(train: Tensor, test: Tensor, labels: Tensor, classes: int, k: int = 1) -> Tensor:
    """k nearest neighbours by cosine as scores (N, K).

    For k = 1 the best similarity to each class; for k > 1 the votes of the k nearest, where equal
    votes are parted by the sum of the voters' similarities. train (N′, D), test (N, D);
    standardise before where dimensions differ in scale. Raises ValueError where k is more than
    there are training recordings.
    """
    if not 1 <= k <= len(train):
        raise ValueError(
            f"probe.neighbours: found {k}, expected 1 to {len(train)}, "
            "the number of training recordings"
        )
    train, test = F.normalize(train), F.normalize(test)
    known = torch.arange(classes, device=labels.device)
    scores = []
    for part in test.split(1024):
        similarity = part @ train.T
        if k == 1:
            best = torch.full((len(part), classes), -2.0, device=part.device)
            index = labels.expand(len(part), -1)
            scores.append(best.scatter_reduce(1, index, similarity, reduce="amax"))
        else:
            top, index = similarity.topk(k, dim=1)
            # (n, k, K): 1 where the voter is of the class
            voters = (labels[index][:, :, None] == known).float()
            together = (voters * top[:, :, None]).sum(dim=1)
            # |together| ≤ k, so what is added to the votes is below a half either way and never
            # worth a vote
            scores.append(voters.sum(dim=1) + together / (2 * k + 1))
    return torch.cat(scores)


def save_logits(
    path: Path, names: list[str], labels: np.ndarray, logits: Mapping[str, np.ndarray]
) -> None:
    """logits.npz: names (N,), labels (N,) and an (N, K) float32 array a mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "names": np.asarray(names, dtype=np.str_),
        "labels": np.asarray(labels, np.int64),
        **{mode: np.asarray(one, dtype=np.float32) for mode, one in logits.items()},
    }
    np.savez(path, **arrays)


def save_confusion(
    path: Path,
    classes: Sequence[str],
    labels: np.ndarray,
    logits: np.ndarray,
) -> None:
    """confusion.csv: the class of each of N recordings, and the one that its logits (N, K) put it
    into, for DVC to draw."""
    pairs = zip(labels.tolist(), answers(logits, labels).tolist(), strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([("actual", "predicted"), *((classes[a], classes[b]) for a, b in pairs)])


def load_logits(path: Path) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """names, labels and logits by mode of a logits.npz; nothing in it is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays.pop("names").tolist(), arrays.pop("labels"), arrays


def same_recordings(expected: list[str], found: list[str], where: str) -> None:
    """Raise MismatchError unless both lists name the same recordings in the same order."""
    if expected != found:
        beyond = {"missing": set(expected) - set(found), "unexpected": set(found) - set(expected)}
        what = "; ".join(
            f"{word} {', '.join(sorted(names)[:10])}" for word, names in beyond.items() if names
        )
        raise MismatchError(
            f"{where}: found logits of {len(found)} recordings, expected {len(expected)}: "
            f"{what or 'the same names in another order'}"
        )


def full_logits(decision: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Scores (N, K) float32 from a classifier that knows only the classes `present` in its
    training labels.

    A decision (N,) is that of two classes. Classes that were never seen score below all others.
    """
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    logits = np.full((len(decision), classes), decision.min() - 1, np.float32)
    logits[:, present] = decision
    return logits


def ensemble(
    parts: Mapping[str, tuple[list[str], np.ndarray]], weights: Mapping[str, float]
) -> tuple[list[str], np.ndarray]:
    """Weighted sum of the streams' logits, matched by recording name.

    parts: stream → (names, logits (N, K)). The order of the first stream is kept. Raises
    MismatchError naming the recordings that a stream lacks, or the streams that have no weight.
    """
    unweighted = [stream for stream in parts if stream not in weights]
    if unweighted:
        raise MismatchError(f"ensemble.weights: no weight for {', '.join(unweighted)}")
    everything = {name for names, _ in parts.values() for name in names}
    complaints = []
    for stream, (names, _) in parts.items():
        missing = sorted(everything - set(names))
        if missing:
            shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
            complaints.append(f"{stream} lacks {len(missing)} recordings: {shown}")
    if complaints:
        raise MismatchError("streams cannot be added: " + "; ".join(complaints))
    order = next(iter(parts.values()))[0]
    total = np.zeros_like(next(iter(parts.values()))[1], dtype=np.float64)
    for stream, (names, logits) in parts.items():
        place = {name: i for i, name in enumerate(names)}
        total = total + weights[stream] * logits[[place[name] for name in order]]
    return order, total
