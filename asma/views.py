"""Stream → views: the anchor, the joint-masked and the frame-masked view of §3.2–3.3.

All three are augmented, by draws of their own. The paper feeds "the unmasked input" to the anchor
but draws it as augmented in its Fig. 2(b), as PSTL's code does; augmented is what is built here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Generator, Tensor

from asma import augment, masking, motion
from asma.augment import Augment
from asma.masking import Mask
from asma.motion import Motion
from asma.skeleton import Skeleton


@dataclass(frozen=True)
class View:
    """One view of a batch."""

    x: Tensor  # (N, C, T′, V, M), all V joints present
    joints: Tensor | None = None  # joints that the encoder is to keep, ascending; None = all


@dataclass(frozen=True)
class Views:
    """The three views of a batch."""

    anchor: View
    joint_masked: View
    frame_masked: View


@dataclass(frozen=True)
class ViewConfig:
    """What views are made by: the skeleton and the sections `augment`, `mask` and `motion`."""

    skeleton: Skeleton
    augment: Augment
    mask: Mask = Mask()
    motion: Motion = Motion()  # only for `mask.score: view`


def augmented(x: Tensor, config: ViewConfig, generator: Generator, count: int) -> list[Tensor]:
    """Augmented views of clips x (N, 3, T, V, M), each by a draw of its own, same shape each."""
    N, _, T, V, M = x.shape
    views = [augment.numbers(config.augment, N, T, generator, V * M) for _ in range(count)]
    draw = augment.drawn(config.augment, T, *views)
    both = augment.sides(x, _mirror_on(x.device, config.skeleton), config.augment)
    return list(augment.apply(both, draw).split(N))


@cache  # copied to a GPU once, not every step
def _mirror_on(device: torch.device, skeleton: Skeleton) -> Tensor:
    return torch.as_tensor(skeleton.mirror, device=device)


class AsmaViews:
    """Makes the three views of a batch for one encoder."""

    def __init__(self, config: ViewConfig) -> None:
        self.skeleton, self.augmenting = config.skeleton, config.augment
        self.mask, self.scoring = config.mask, config.motion
        self.degree, self.motion = masking.strategy(config.mask.strategy)

    def __call__(self, x: Tensor, scores: Tensor | None, generator: Generator) -> Views:
        """x (N, 3, T, V, M) of one stream, scores (N, T) its motion scores, in step with its
        frames.

        scores may be None with `mask.score: view`, which takes them of the augmented view. Raises
        ValueError where the masks would leave no joint or no frame.
        """
        N, _, T, V, M = x.shape
        self.mask.check(self.skeleton, T)
        sides = augment.sides(x, _mirror_on(x.device, self.skeleton), self.augmenting)
        of = self.augmenting, N, T, generator, V * M
        anchor, joint_masked = augment.numbers(*of), augment.numbers(*of)
        kept_joints = masking.choose_joints(self.degree, self.mask, self.skeleton, generator)
        frame_masked = augment.numbers(*of)
        drawn = augment.drawn(self.augmenting, T, anchor, joint_masked, frame_masked)

        first, second = augment.apply(sides, drawn[: 2 * N]).split(N)
        if self.mask.operation == "remove":
            spatial = View(second, kept_joints)
        else:
            spatial = View(masking.zero_joints(second, kept_joints))

        drawn = drawn[2 * N :]
        if self.mask.score == "view":
            scores = motion.score(augment.apply(sides, drawn), self.scoring)
        else:
            assert scores is not None
            # the score of a frame goes wherever the crop takes the frame
            scores = scores.gather(1, drawn.frames)
        kept = masking.choose_frames(self.motion, self.mask, scores, generator)
        if self.mask.operation == "zero":
            temporal = View(masking.zero_frames(augment.apply(sides, drawn), kept))
        else:
            # frames that will not be seen are not augmented either
            temporal = View(
                augment.apply(sides, replace(drawn, frames=drawn.frames.gather(1, kept)))
            )
        return Views(View(first), spatial, temporal)
