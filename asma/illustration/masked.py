"""What the encoders hide and what moves, as in the paper's Figures 1 and 2(a): counted, by joint
and by frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from asma import masking
from asma.illustration.judged import by_class
from asma.masking import Mask
from asma.skeleton import Skeleton

UNTRAINED = "random"  # the encoder that never saw a masked view
BLOCK = 1024  # clips at once
SHORTEST = 0.085  # of the bones of a drawn pose, in heights of the body


def hide(
    encoder: str, mask: Mask, skeleton: Skeleton, scores: Tensor, generator: Generator
) -> tuple[list[int], list[int]]:
    """Joints and frames that an encoder hides from one clip with motion scores (T,), by one draw,
    ascending.

    The joints are drawn first, then the frames, as when the views of training are made. The clip
    is taken as it is: in training the frames are those of an augmented view, which a crop may have
    moved. The untrained encoder hides nothing.
    """
    if encoder == UNTRAINED:
        return [], []
    degree, motion = masking.strategy(encoder)
    joints = masking.choose_joints(degree, mask, skeleton, generator)
    frames = masking.choose_frames(motion, mask, scores[None], generator)[0]
    return _others(joints, len(skeleton)), _others(frames, len(scores))


def _others(kept: Tensor, n: int) -> list[int]:
    return sorted(set(range(n)) - set(kept.tolist()))


def joints_hidden(
    encoder: str, mask: Mask, skeleton: Skeleton, draws: int, generator: Generator
) -> np.ndarray:
    """Share of `draws` joint-masked views in which each joint is hidden, (V,) float64."""
    count = np.zeros(len(skeleton))
    if encoder != UNTRAINED:
        degree, _ = masking.strategy(encoder)
        for _ in range(draws):
            count[
                _others(masking.choose_joints(degree, mask, skeleton, generator), len(skeleton))
            ] += 1
    return count / draws


def drawn_first(encoder: str, mask: Mask, skeleton: Skeleton) -> np.ndarray:
    """Probability that each joint is the first to be drawn, exactly, (V,) float64. Eq. 1–2."""
    if encoder == UNTRAINED:
        return np.zeros(len(skeleton))
    return masking.joint_weights(masking.strategy(encoder)[0], skeleton, mask.low_degree).numpy()


def frames_hidden(encoder: str, mask: Mask, scores: Tensor, generator: Generator) -> np.ndarray:
    """Share of n clips with motion scores (n, T) from which the frame at each position is hidden,
    (T,) float64.
    """
    n, T = scores.shape
    if encoder == UNTRAINED:
        return np.zeros(T)
    kept = masking.choose_frames(masking.strategy(encoder)[1], mask, scores, generator)
    return 1 - np.bincount(kept.flatten().numpy(), minlength=T) / n


def displacement(clips: Tensor) -> Tensor:
    """Mean displacement of each joint of clips (n, C, T, V, M), metres a frame: (n, V).

    Over the frames and over the bodies that are there; Eq. 3 read as in asma.motion, by joint
    instead of by frame.
    """
    found = []
    for part in clips.split(BLOCK):
        # (n, V, M)
        step = torch.linalg.vector_norm(part[:, :, 1:] - part[:, :, :-1], dim=1).mean(dim=1)
        there = part.flatten(1, 3).any(dim=1)  # (n, M)
        found.append(
            (step * there[:, None]).sum(dim=2) / there.sum(dim=1, keepdim=True).clamp_min(1)
        )
    return torch.cat(found)


def mean_pose(clips: Tensor) -> np.ndarray:
    """Mean position of each joint over clips (n, C, T, V, M), frames and bodies that are there,
    (V, C) metres.
    """
    total, count = torch.zeros(clips.shape[3], clips.shape[1]), 0.0
    for part in clips.split(BLOCK):
        there = part.any(dim=1).any(dim=2).to(part.dtype)  # (n, T, M)
        total += torch.einsum("nctvm,ntm->vc", part, there)
        count += float(there.sum())
    return (total / max(count, 1.0)).numpy()


def flat(pose: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Where joints of a pose (V, 3) are drawn, (V, 2) in heights of the body, from the front.

    The joints of a hand lie too close to be told apart: short bones are drawn longer, and where no
    other branches off they go on as the bone before, away from the body. A bone without a direction
    of its own hangs down.
    """
    seen = pose[:, :2] * (-1, 1)
    seen = seen / (float(np.ptp(seen, axis=0).max()) or 1.0)
    found, ways = np.zeros_like(seen), np.tile([0.0, -1.0], (len(seen), 1))
    joints = range(len(parents))
    children = [[v for v in joints if parents[v] == joint != v] for joint in joints]
    reached = [joint for joint in joints if parents[joint] == joint]
    for joint in reached:  # grows: children after their parents
        for child in children[joint]:
            bone = seen[child] - seen[joint]
            length = float(np.hypot(*bone))
            if length < SHORTEST and len(children[joint]) == 1:
                ways[child] = np.sign(found[joint][0]) * abs(ways[joint][0]), ways[joint][1]
            elif length > 0:
                ways[child] = bone / length
            found[child] = found[joint] + ways[child] * max(length, SHORTEST)
            reached.append(child)
    return found


def arrays(
    encoders: Sequence[str],
    mask: Mask,
    skeleton: Skeleton,
    clips: Tensor,
    scores: Tensor,
    labels: np.ndarray,
    classes: int,
    draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """All of the above for clips (n, C, T, V, M) in metres with motion scores (n, T), a row an
    encoder.
    """
    mask.check(skeleton, scores.shape[1])
    moved, V, T = displacement(clips).numpy(), len(skeleton), scores.shape[1]
    # one for all: with one for each they would hide nearly the same joints
    draw = Generator().manual_seed(seed)

    def rows(found: list[np.ndarray], length: int) -> np.ndarray:
        return np.array(found).reshape(len(encoders), length)

    return {
        "place": flat(mean_pose(clips), skeleton.parents),
        "degree": skeleton.degree,
        "drawn_first": rows([drawn_first(e, mask, skeleton) for e in encoders], V),
        "joints_hidden": rows([joints_hidden(e, mask, skeleton, draws, draw) for e in encoders], V),
        "frames_hidden": rows([frames_hidden(e, mask, scores, draw) for e in encoders], T),
        "motion_by_frame": scores.double().mean(dim=0).numpy(),
        "displacement": moved.mean(axis=0),
        "displacement_by_class": by_class(moved, labels, classes),
    }
