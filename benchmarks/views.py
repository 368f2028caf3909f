"""Three views of every sample: augmented anchor, joint-masked and frame-masked view.

The baseline is a feeder that makes each sample's views by itself in NumPy, as a data set class
does it in `__getitem__`, and stacks them into batches; augmentations and masks are those of the
method, drawn anew for every sample and view.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from asma import masking, skeleton, training
from asma.augment import Augment
from asma.masking import Mask
from asma.skeleton import Skeleton
from asma.views import AsmaViews, ViewConfig
from benchmarks.measure import ROUNDS, Result, compare, memory_rate

HOW, MASK = Augment(), Mask()
BATCHES = 8  # a round


def augmented(
    clip: np.ndarray, kinect: Skeleton, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One clip (3, T, V, M) cropped, sheared, turned and perhaps mirrored; and which frames it
    shows, (T,).
    """
    T = clip.shape[1]
    pad = T // HOW.crop
    numbers = np.arange(T)
    longer = np.concatenate([numbers[:pad][::-1], numbers, numbers[-pad:][::-1]])
    start = draw.integers(0, 2 * pad + 1)
    frames = longer[start : start + T]
    clip = clip[:, frames]
    shear = np.eye(3)
    for row in range(3):
        for column in range(3):
            if row != column:
                shear[row, column] = draw.uniform(-HOW.shear, HOW.shear)
    clip = np.dot(clip.transpose(1, 2, 3, 0), shear.T)
    angles = [math.radians(draw.uniform(0, HOW.tilt)) for _ in range(3)]
    angles[draw.integers(3)] = math.radians(draw.uniform(0, HOW.rotate))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    clip = np.dot(clip, (z @ y @ x).T).transpose(3, 0, 1, 2)
    if draw.random() < HOW.flip:
        clip = clip[:, :, kinect.mirror]
    return clip, frames


def feeder(
    clips: np.ndarray, scores: np.ndarray, kinect: Skeleton, seed: int = 0
) -> list[torch.Tensor]:
    """The three views of a batch, made sample by sample: clips (N, 3, T, V, M), scores (N, T)."""
    draw = np.random.default_rng(seed)
    weights = masking.joint_weights("low", kinect).numpy()
    V, T = len(kinect), clips.shape[2]
    anchors, joint_masked, frame_masked = [], [], []
    for clip, score in zip(clips, scores, strict=True):
        anchors.append(augmented(clip, kinect, draw)[0])
        hidden = draw.choice(V, MASK.joints, replace=False, p=weights)
        kept = np.setdiff1d(np.arange(V), hidden)
        joint_masked.append(augmented(clip, kinect, draw)[0][:, :, kept])
        view, frames = augmented(clip, kinect, draw)
        still = np.sort(np.argsort(score[frames], kind="stable")[: T - MASK.frames])
        frame_masked.append(view[:, still])
    return [
        torch.from_numpy(np.stack(views).astype(np.float32))
        for views in (anchors, joint_masked, frame_masked)
    ]


def run(full: bool) -> list[Result]:
    """Batches of 128 clips of two people, several one after another; the limit writes what the
    views hold.
    """
    training.Run().start()
    kinect = skeleton.load("kinect_v2")
    make = AsmaViews(ViewConfig(kinect, HOW, MASK))
    limit = memory_rate() * 1e9 / (4 * 3 * 25 * 2 * (50 + 50 * 16 / 25 + 40)) / 2 / 1000
    generator = training.seeded(0, torch.device("cpu"))
    results = []
    for N in (64, 128) if full else (128,):
        x, scores = torch.randn(N, 3, 50, 25, 2), torch.rand(N, 50)
        times = compare(
            partial(several, partial(make, x, scores, generator)),
            partial(several, partial(feeder, x.numpy(), scores.numpy(), kinect)),
            ROUNDS,
        )
        case, unit = f"three views, B = {N}, {BATCHES} batches a round", "thousand samples/s"
        results.append(
            times.result("views", case, per_second=BATCHES * N / 1000, unit=unit, limit=limit)
        )
    return results


def several(make: Callable[[], object]) -> None:
    """Batches one after another: a single one of ours takes milliseconds, too short to be timed
    between two others.
    """
    for _ in range(BATCHES):
        make()
