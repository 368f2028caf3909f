from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.autograd import gradcheck

from asma import losses, masking, motion, skeleton
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods.asma import Projector
from asma.methods.pstl import Pstl, PstlSettings
from asma.motion import Motion
from asma.views import View, ViewConfig
from tests import golden
from tests.methods.clips import MadeUp

SKELETON = skeleton.load("kinect_v2")
SETTINGS = PstlSettings(epochs=1, batch_size=6, learning_rate=0.005, projector=12)
OFF = Augment(crop=0, shear=0.0, rotate=0.0, tilt=0.0, flip=0.0)
# what its published code does beside ASMa's values
PUBLISHED = Mask(
    joints=8, frames=10, joint_draw="pstl_multiset", extra_random_frames=10, score="view"
)
SCORES = Motion("squared", "zero")


def method(augment: Augment = OFF, mask: Mask = PUBLISHED) -> Pstl:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 8), (1, 2), 0.0)
    return Pstl({"joint": encoder}, SETTINGS, ViewConfig(SKELETON, augment, mask, SCORES))


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(6, 3, 50, 25, 2, generator=generator))


def test_the_loss_is_that_of_its_code() -> None:
    a, b = (losses.standardise(golden.signed(6, 12, tensor=t)) for t in (3, 4))
    diagonal = losses.barlow_twins(a, b, 0.0)
    off = losses.barlow_twins(a, b, 1.0) - diagonal
    assert float(diagonal) == pytest.approx(11.360340, rel=1e-4)
    assert float(off) == pytest.approx(28.367708, rel=1e-4)
    assert float(losses.barlow_twins(a, b, 2e-4)) == pytest.approx(11.366014, rel=1e-4)


def projector() -> Projector:
    head, filler = Projector(8, 12).double().train(), golden.Filler()
    filler.layers(head)
    assert filler.next == 3 + 2 * 4
    return head


def test_the_loss_behind_the_projector_is_that_of_its_code() -> None:
    head = projector()
    a, b = (losses.standardise(head(golden.signed(6, 8, tensor=t))) for t in (1, 2))
    assert losses.barlow_twins(a, b, 2e-4).item() == pytest.approx(18.924123, rel=1e-4)


def test_its_gradient_is_that_of_finite_differences() -> None:
    head = projector()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        za, zb = (losses.standardise(z) for z in head(torch.cat([a, b]), 2).chunk(2))
        return losses.barlow_twins(za, zb, 2e-4)

    inputs = [golden.signed(6, 8, tensor=t).requires_grad_() for t in (1, 2)]
    assert gradcheck(loss, inputs, rtol=1e-4)


def test_the_frames_that_move_most_by_the_square_are_dropped() -> None:
    scores = motion.score(golden.signed(2, 3, 20, 25, 2), SCORES)
    kept = masking.choose_frames("high", Mask(frames=4), scores, Generator())
    dropped = [sorted(set(range(20)) - set(row)) for row in kept.tolist()]
    assert dropped == [[0, 8, 12, 15], [5, 9, 10, 17]]


def views(net: Pstl, clips: MadeUp, seed: int = 1) -> tuple[View, View, View]:
    made = net.views(clips.x["joint"], None, Generator().manual_seed(seed))
    return made.anchor, made.joint_masked, made.frame_masked


def test_its_three_views_are_those_of_its_code(clips: MadeUp) -> None:
    anchor, joint_masked, frame_masked = views(method(), clips)
    x = clips.x["joint"]
    assert torch.equal(anchor.x, x) and torch.equal(joint_masked.x, x)
    assert joint_masked.joints is not None and 17 <= len(joint_masked.joints) < 25
    assert frame_masked.x.shape == (6, 3, 30, 25, 2)
    scores = x.diff(dim=2).square().mean(dim=(1, 3, 4))
    for n in range(6):
        fast = set(scores[n].argsort(descending=True)[:10].tolist())
        seen = frame_masked.x[n].unbind(1)
        frames = [t for t in range(50) if any(torch.equal(x[n, :, t], one) for one in seen)]
        assert len(frames) == 30 and not fast & set(frames)


def test_its_strategy_is_its_own_whatever_the_views_name() -> None:
    torch.manual_seed(0)
    config = ViewConfig(SKELETON, OFF, Mask("lowdeg_lowmot", joints=1))
    net = Pstl({"joint": STGCN(SKELETON, (4, 8), (1, 2))}, SETTINGS, config)
    assert (net.views.degree, net.views.motion) == ("high", "high")


@pytest.mark.parametrize("draw", ["sample", "batch"])
def test_one_draw_may_serve_the_whole_batch(draw: str) -> None:
    one = torch.randn(1, 3, 50, 25, 2, generator=Generator().manual_seed(3))
    same = MadeUp.of(one.expand(6, -1, -1, -1, -1))
    anchor, _, _ = views(method(Augment(draw=draw)), same)
    assert (anchor.x[1:] == anchor.x[:1]).all() == (draw == "batch")


def slow(net: Pstl, clips: MadeUp) -> tuple[Tensor, Tensor]:
    """Both terms as its paper has them: the anchor projected for each, matrices built."""

    def term(one: View) -> Tensor:
        norm = nn.BatchNorm1d(12, affine=False).double()
        encoder = net.encoder("joint")
        z = [net.projector(encoder(v.x, v.joints).mean(dim=(1, 2))) for v in (anchor, one)]
        matrix = norm(z[0]).T @ norm(z[1]) / 6
        off = matrix - torch.diag(matrix.diagonal())
        return (matrix.diagonal() - 1).square().sum() + 2e-4 * off.square().sum()

    anchor, joint_masked, frame_masked = views(net, clips)
    return term(joint_masked), term(frame_masked)


def test_a_step_is_the_slow_one_in_value_and_gradient(clips: MadeUp) -> None:
    full = replace(clips, x={"joint": clips.x["joint"].double()})
    ours, theirs = method(Augment()).double().train(), method(Augment()).double().train()
    parts = ours.loss(full.batch(Generator().manual_seed(1)))
    expected = slow(theirs, full)
    assert list(parts) == ["spatial", "temporal"]
    torch.testing.assert_close(list(parts.values()), list(expected), rtol=1e-4, atol=0.0)
    sum(parts.values()).backward()  # type: ignore[union-attr]  # two of them
    sum(expected).backward()  # type: ignore[union-attr]
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-8, msg=name)
