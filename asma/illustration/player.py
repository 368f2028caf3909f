"""Recordings for the report's player: how they move, what is hidden from them, what they are taken
for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from asma.data.batches import Clips
from asma.data.benchmarks import Benchmark
from asma.illustration import contract, judged, masked
from asma.illustration.inside import highest_is_one
from asma.illustration.judged import Answers
from asma.masking import Mask
from asma.skeleton import Skeleton

LARGEST = 2**15 - 1  # of 16 bits with a sign


def choose(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of so many clips (or of all), by class: none is shown twice before all that have
    clips are shown once.

    Drawn by the seed and by nothing that a model says.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = labels[order]
    sorted_ = np.argsort(drawn, kind="stable")
    turn = np.empty(len(labels), np.int64)  # how many of its class come before it
    turn[sorted_] = np.arange(len(labels)) - np.searchsorted(drawn[sorted_], drawn[sorted_])
    chosen = order[np.argsort(turn, kind="stable")[:count]]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def quantise(xyz: np.ndarray) -> tuple[np.ndarray, float]:
    """Coordinates as little-endian 16-bit numbers, and the metres that 1 stands for; half of it is
    the worst error.
    """
    scale = float(np.abs(xyz).max()) / LARGEST or 1.0
    return np.rint(xyz.astype(np.float64) / scale).astype("<i2"), scale


def present(clip: np.ndarray) -> np.ndarray:
    """A clip (C, T, V, M) as (T, V, M′, C) with the bodies that are there in their order; with one
    if there is none.
    """
    there = np.any(clip, axis=(0, 1, 2), keepdims=True)[0, 0, 0]
    there[0] |= not there.any()
    return clip[..., there].transpose(1, 2, 3, 0)


def staged(xyz: np.ndarray, motion: Sequence[float], masks: Mapping[str, Any]) -> dict[str, Any]:
    """Where a recording (T, V, M, 3) is shown: `places` of its bodies, `apart`, `whole`, `opens`.

    A body turns about the middle of a box, `radius` is to the farthest point from there, `floor`
    the lowest height. The box is around all bodies, or where some joint of all is always at the
    origin, each having been centred by itself, around each alone, to be shown apart. Whole frames
    show at least half of what most show: where a recording lost everybody for a moment, resampling
    leaves a body shrunk between nobody and somebody. It opens when half of the motion (T,) of those
    has passed, at the next that is not hidden, by encoder in `masks` and for no encoder, "".
    """
    there = np.asarray(xyz.any(axis=(1, 3)))  # (T, M)
    apart = xyz.shape[2] > 1 and not xyz.any(axis=(0, 2, 3)).all()
    groups = [[m] for m in range(xyz.shape[2])] if apart else [list(range(xyz.shape[2]))]
    places = []
    for group in groups:
        points = np.concatenate([xyz[there[:, m], :, m].reshape(-1, 3) for m in group])
        points = points if len(points) else np.zeros((1, 3))
        low, high = points.min(axis=0), points.max(axis=0)
        middle = (low + high) / 2
        radius = float(np.linalg.norm(points - middle, axis=1).max())
        place = {"middle": middle.round(4).tolist(), "radius": round(radius, 4)}
        places += [{**place, "floor": round(float(low[1]), 4)}] * len(group)
    boxes = (xyz.min(axis=1, keepdims=True) + xyz.max(axis=1, keepdims=True)) / 2
    tall = np.where(there, np.linalg.norm(xyz - boxes, axis=3).max(axis=1), 0).max(axis=1)  # (T,)
    usual = np.sort(tall[tall > 0])
    whole = np.flatnonzero((tall > 0) & (tall >= (usual[len(usual) // 2] / 2 if len(usual) else 0)))
    opens = {}
    for encoder in ("", *masks):
        hidden = masks[encoder]["frames"] if encoder else []
        passed = np.cumsum(np.asarray(motion)[whole])
        half = whole[np.searchsorted(passed, passed[-1] / 2)] if len(whole) else 0
        seen = np.setdiff1d(whole, hidden)
        seen = seen if len(seen) else whole
        opens[encoder] = int(seen[np.abs(seen - half).argmin()]) if len(seen) else 0
    return {"places": places, "apart": apart, "whole": whole.tolist(), "opens": opens}


def recordings(
    chosen: np.ndarray,
    test: Clips,
    clips: np.ndarray,
    scores: Tensor,
    encoders: Sequence[str],
    mask: Mask,
    skeleton: Skeleton,
    responses: Mapping[str, np.ndarray],
    answers: Sequence[Answers],
    seed: int,
) -> list[dict[str, Any]]:
    """The chosen clips as plain data.

    clips (n, C, T, V, M): positions in metres, whatever stream `test` is in; scores (n, T): motion
    scores of that stream; responses (n, V): of each encoder by joint. The masks are drawn by one
    generator that starts from `seed`: for one recording after the other, for one encoder after the
    other, joints before frames.
    """
    generator, found = Generator().manual_seed(seed), []
    for i in chosen.tolist():
        xyz, scale = quantise(present(clips[i]))
        masks = {}
        for encoder in encoders:
            joints, frames = masked.hide(encoder, mask, skeleton, scores[i], generator)
            masks[encoder] = {"joints": joints, "frames": frames}
        # the shortest text that is the same 32-bit number again, so that the frames follow from it
        moved = [float(str(value)) for value in scores[i].to(torch.float32).numpy()]
        found.append(
            {
                "name": test.names[i],
                "label": int(test.labels[i]),
                "frames": xyz.shape[0],
                "bodies": xyz.shape[2],
                "scale": scale,
                "xyz": base64.b64encode(xyz.tobytes()).decode("ascii"),
                **staged(xyz * scale, moved, masks),
                "motion": moved,
                "masks": masks,
                "activation": {
                    encoder: [round(float(v), 3) for v in highest_is_one(responses[encoder][i])]
                    for encoder in encoders
                },
                "predictions": [
                    {
                        "model": one.model,
                        "stream": one.stream,
                        "top": judged.probable(one.logits[i]),
                    }
                    for one in answers
                ],
            }
        )
    return found


def document(
    bench: Benchmark, encoders: Sequence[str], shown: list[dict[str, Any]]
) -> dict[str, Any]:
    """player.json: the recordings, and what their numbers mean.

    Of each recording `xyz` is base64 of int16 (frames, joints, bodies, 3), little-endian, times
    `scale` metres; joints in the order of `joints`, `bones` as [joint, the joint it hangs on].
    """
    return {
        "benchmark": bench.name,
        "demonstration": bench.demonstration,
        "layout": bench.skeleton.name,
        "joints": list(bench.skeleton.joints),
        "bones": [list(edge) for edge in bench.skeleton.edges],
        "classes": list(bench.classes),
        "encoders": list(encoders),
        "recordings": shown,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """player.json on one line, the same bytes for the same content. Raises ValueError where it is
    not what the page may trust."""
    contract.check(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )
