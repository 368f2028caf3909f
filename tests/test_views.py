from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from asma import augment, motion, skeleton
from asma.augment import Augment
from asma.masking import Mask
from asma.motion import Motion
from asma.views import AsmaViews, View, ViewConfig, augmented

SKELETON = skeleton.load("kinect_v2")
OFF = Augment(crop=0, shear=0, rotate=0, tilt=0, flip=0)
CROP = replace(OFF, crop=6)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(4, 3, 50, 25, 2, generator=generator)


@pytest.fixture
def scores(generator: Generator) -> Tensor:
    return torch.rand(4, 50, generator=generator)


def make(strategy: str = "lowdeg_highmot", augmenting: Augment = OFF, **mask: Any) -> AsmaViews:
    return AsmaViews(ViewConfig(SKELETON, augmenting, Mask(strategy, **mask)))


def numbered(N: int, T: int) -> Tensor:
    """Clips in which every coordinate of a frame is the number of the frame."""
    return torch.arange(float(T)).view(1, 1, T, 1, 1).expand(N, 3, T, 25, 2).clone()


def frames_of(view: View) -> list[list[int]]:
    return view.x[:, 0, :, 0, 0].int().tolist()


def test_without_augmentation_the_anchor_is_the_clip(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    anchor = make()(x, scores, generator).anchor
    assert torch.equal(anchor.x, x)
    assert anchor.joints is None


def test_the_joint_masked_view_keeps_its_frames_and_names_the_joints_that_stay(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    view = make(joints=9)(x, scores, generator).joint_masked
    assert torch.equal(view.x, x)
    assert view.joints is not None and len(view.joints) == 16
    zeroed = make(joints=9, operation="zero")(x, scores, generator).joint_masked
    assert zeroed.joints is None and zeroed.x.shape == x.shape
    gone = [v for v in range(25) if (zeroed.x[:, :, :, v] == 0).all()]
    assert len(gone) == 9
    stay = [v for v in range(25) if v not in gone]
    assert torch.equal(zeroed.x[:, :, :, stay], x[:, :, :, stay])


@pytest.mark.parametrize(
    ("strategy", "first"), [("lowdeg_highmot", True), ("highdeg_lowmot", False)]
)
def test_the_frame_masked_view_lacks_the_frames_that_the_strategy_hides(
    strategy: str, first: bool, scores: Tensor, generator: Generator
) -> None:
    views = make(strategy)(numbered(4, 50), scores, generator)
    assert views.frame_masked.joints is None
    for n, kept in enumerate(frames_of(views.frame_masked)):
        by_motion = sorted(range(50), key=lambda t: float(scores[n, t]), reverse=first)
        assert kept == sorted(by_motion[10:])


@pytest.mark.parametrize(
    ("strategy", "high"), [("lowdeg_highmot", True), ("highdeg_lowmot", False)]
)
def test_scores_follow_the_crop_by_its_own_map(
    strategy: str, high: bool, generator: Generator
) -> None:
    N, T, hidden = 16, 50, 10
    scores = torch.stack([torch.randperm(T, generator=generator) for _ in range(N)]).float()
    view = make(strategy, CROP)(numbered(N, T), scores, generator).frame_masked
    every = augment.crop_frames(torch.arange(17), T, 8).tolist()
    crops = set()
    for n, kept in enumerate(frames_of(view)):
        assert len(kept) == T - hidden
        fitting = []
        for start, frames in enumerate(every):
            ordered = sorted((float(scores[n, t]) for t in frames), reverse=high)
            left = sorted(float(scores[n, t]) for t in kept)
            if left == sorted(ordered[hidden:]) and all(t in frames for t in kept):
                fitting.append(start)
        assert fitting, "no crop of the clip gives these frames"
        crops.add(fitting[0])
    assert len(crops) > 3


def test_scores_may_come_from_the_augmented_view_instead(x: Tensor, generator: Generator) -> None:
    wrong = torch.arange(50.0).expand(4, 50)  # must not be looked at
    view = make(score="view")(x, wrong, generator).frame_masked
    own = motion.score(x)
    for n in range(4):
        kept = sorted(own[n].argsort(descending=True)[10:].tolist())
        assert torch.equal(view.x[n], x[n][:, kept])


def test_the_measure_of_the_scores_of_a_view_can_be_chosen(generator: Generator) -> None:
    x = torch.zeros(1, 3, 4, 25, 1)
    x[:, 0, 1:] = 1.0  # frame 0: all joints move by 1
    # frame 1: one joint moves by 20; less in the mean, more in the mean square
    x[:, 1, 2:, 0] = 20.0
    mask = Mask(joints=1, frames=1, score="view")
    for scoring, expected in ((Motion(last="zero"), 0), (Motion("squared", "zero"), 1)):
        views = AsmaViews(ViewConfig(SKELETON, OFF, mask, scoring))
        view = views(x, torch.zeros(1, 4), generator).frame_masked
        kept = [t for t in range(4) if t != expected]
        assert torch.equal(view.x, x[:, :, kept])


def test_zeroed_frames_stay_in_the_clip(scores: Tensor, generator: Generator) -> None:
    view = make(operation="zero")(numbered(4, 50) + 1, scores, generator).frame_masked
    assert view.x.shape[2] == 50
    for n in range(4):
        cleared = (view.x[n, 0, :, 0, 0] == 0).nonzero()[:, 0].tolist()
        assert cleared == sorted(scores[n].argsort(descending=True)[:10].tolist())


@pytest.mark.parametrize("score", ["clip", "view"])
def test_removing_and_zeroing_agree_on_what_is_left(score: str, x: Tensor, scores: Tensor) -> None:
    removed = make(augmenting=Augment(), score=score)(x, scores, Generator().manual_seed(5))
    zeroed = make(augmenting=Augment(), score=score, operation="zero")(
        x, scores, Generator().manual_seed(5)
    )
    assert torch.equal(removed.anchor.x, zeroed.anchor.x)
    joints = removed.joint_masked.joints
    assert torch.equal(
        removed.joint_masked.x[:, :, :, joints], zeroed.joint_masked.x[:, :, :, joints]
    )
    for n in range(4):
        left = zeroed.frame_masked.x[n].abs().sum(dim=(0, 2, 3)).nonzero()[:, 0]
        torch.testing.assert_close(removed.frame_masked.x[n], zeroed.frame_masked.x[n][:, left])


def test_extra_random_frames_shorten_the_view_further(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    view = make(extra_random_frames=10)(x, scores, generator).frame_masked
    assert view.x.shape == (4, 3, 30, 25, 2)


def test_all_three_views_are_augmented_by_draws_of_their_own(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    views = make(augmenting=replace(OFF, shear=1.0), joints=0, frames=0)(x, scores, generator)
    three = [views.anchor.x, views.joint_masked.x, views.frame_masked.x]
    for view in three:
        assert view.shape == x.shape and not torch.allclose(view, x)
    assert not torch.allclose(three[0], three[1])
    assert not torch.allclose(three[1], three[2])
    assert not torch.allclose(three[0], three[2])


def test_the_same_seed_gives_the_same_views(x: Tensor, scores: Tensor) -> None:
    one, two = (make(augmenting=Augment())(x, scores, Generator().manual_seed(2)) for _ in range(2))
    for a, b in (
        (one.anchor, two.anchor),
        (one.joint_masked, two.joint_masked),
        (one.frame_masked, two.frame_masked),
    ):
        assert torch.equal(a.x, b.x)
    assert one.joint_masked.joints is not None and two.joint_masked.joints is not None
    assert torch.equal(one.joint_masked.joints, two.joint_masked.joints)


def test_views_leave_the_clips_as_they_were(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    before = x.clone()
    make(augmenting=Augment(), operation="zero")(x, scores, generator)
    assert torch.equal(x, before)


def test_masks_that_hide_everything_are_refused(
    x: Tensor, scores: Tensor, generator: Generator
) -> None:
    with pytest.raises(ValueError, match="mask.frames"):
        make(frames=50)(x, scores, generator)


def test_several_augmented_views_are_drawn_one_after_the_other(x: Tensor) -> None:
    config = ViewConfig(SKELETON, Augment(proportions=0.2))
    first, second = augmented(x, config, Generator().manual_seed(3), count=2)
    generator = Generator().manual_seed(3)
    mirror = torch.as_tensor(SKELETON.mirror)
    both = augment.sides(x, mirror, config.augment)
    for view in (first, second):
        draw = augment.sample(config.augment, 4, 50, generator, 25 * 2)
        torch.testing.assert_close(view, augment.apply(both, draw))
    assert not torch.allclose(first, second)
