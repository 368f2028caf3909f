from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import losses, skeleton
from asma.augment import Augment
from asma.backbones import pool
from asma.backbones.base import Encoder
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods import Batch
from asma.methods.asma import Asma, AsmaSettings, Projector
from asma.training import Step
from asma.views import ViewConfig
from tests.methods.clips import MadeUp

SKELETON = skeleton.load("kinect_v1")
SETTINGS = AsmaSettings(epochs=1, batch_size=8, learning_rate=0.005, projector=24, redundancy=0.01)
GENTLE = Augment(shear=0.1, rotate=5, tilt=1, flip=0)
MASK = Mask(joints=7, frames=3)


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(8, 3, 12, 20, 1, generator=generator))


def method(settings: AsmaSettings = SETTINGS, mask: Mask = MASK) -> Asma:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 8), (1, 2), 0.0)
    views = ViewConfig(SKELETON, GENTLE, mask)
    return Asma({"joint": encoder}, settings, views).train()


def parts(net: Asma, clips: MadeUp, seed: int) -> dict[str, Tensor]:
    """Both terms of all clips as one batch."""
    net.begin(clips)
    return net.loss(clips.batch(Generator().manual_seed(seed)))


def loss(net: Asma, clips: MadeUp, seed: int = 4) -> Tensor:
    spatial, temporal = parts(net, clips, seed).values()
    return spatial + temporal


def test_the_projector_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):  # 308 MB otherwise
        paper = Projector(256, 6144)
    assert sum(p.numel() for p in paper.parameters()) == 77_094_912
    kinds = [type(layer).__name__ for layer in paper]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert all(layer.bias is None for layer in paper if isinstance(layer, torch.nn.Linear))


def test_views_that_share_a_product_are_still_normalised_one_by_one(generator: Generator) -> None:
    alone, together = (method().projector.train() for _ in range(2))
    parts = [torch.randn(6, 8, generator=generator) * (i + 1) + i for i in range(3)]
    expected = torch.cat([alone(part) for part in parts])
    torch.testing.assert_close(together(torch.cat(parts), 3), expected)
    for (name, a), b in zip(
        alone.state_dict().items(), together.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(
            b, a, msg=f"{name}: the views' statistics were not taken in turn"
        )


def test_the_loss_compares_the_anchor_with_each_masked_view(clips: MadeUp) -> None:
    one, two = method(), method()
    views = one.views(clips.x["joint"], clips.scores, Generator().manual_seed(4))
    z = [
        losses.standardise(one.projector(pool(one.encoder("joint")(view.x, view.joints))))
        for view in (views.anchor, views.joint_masked, views.frame_masked)
    ]

    def naive(a: Tensor, b: Tensor) -> Tensor:
        matrix = a.T @ b / len(a)
        loss = torch.zeros(())
        for i in range(24):
            for j in range(24):
                loss = loss + ((1 - matrix[i, i]) ** 2 if i == j else 0.01 * matrix[i, j] ** 2)
        return loss

    actual = parts(two, clips, seed=4)
    assert list(actual) == ["spatial", "temporal"]
    torch.testing.assert_close(actual["spatial"], naive(z[0], z[1]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual["temporal"], naive(z[0], z[2]), rtol=1e-4, atol=1e-4)


def test_equation_5_to_the_letter_is_another_loss(clips: MadeUp) -> None:
    literal = method(replace(SETTINGS, centre=False))
    assert not torch.isclose(loss(method(), clips), loss(literal, clips))


def test_no_label_and_no_other_batch_is_needed_and_every_weight_learns(clips: MadeUp) -> None:
    net = method()
    loss(net, clips).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    last = net.projector[-1]
    assert isinstance(last, torch.nn.Linear) and last.weight.grad is not None
    assert last.weight.grad.abs().max() > 0


def test_the_same_seed_gives_the_same_loss(clips: MadeUp) -> None:
    a, b, other = (loss(method(), clips, seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)


def test_scores_of_a_batch_are_those_of_its_clips(clips: MadeUp) -> None:
    net = method()
    net.begin(clips)
    turned = Batch.cut(clips, Step(torch.arange(7, -1, -1), 0, Generator().manual_seed(1)))
    with torch.no_grad():
        expected = net.views(turned.x["joint"], clips.scores.flip(0), Generator().manual_seed(1))
        embedded = net.embed(expected)
        actual = net.loss(turned)
    wanted = losses.barlow_twins(embedded[0], embedded[2], SETTINGS.redundancy)
    torch.testing.assert_close(actual["temporal"], wanted)


def test_scores_are_not_asked_for_where_views_have_their_own(clips: MadeUp) -> None:
    net = method(mask=Mask(joints=7, frames=3, score="view"))
    assert loss(net, clips).isfinite() and net.scores is None


def test_scores_are_data_and_in_no_checkpoint(clips: MadeUp) -> None:
    net = method()
    net.begin(clips)
    assert net.scores is not None
    assert {name.split(".")[0] for name in net.state_dict()} == {"encoders", "projector"}


def test_sixteen_bit_products_leave_the_loss_in_full_precision(clips: MadeUp) -> None:
    in_32 = loss(method(), clips, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net = method()
        views = net.views(clips.x["joint"], clips.scores, Generator().manual_seed(1))
        anchor, *masked = net.embed(views)
        actual = loss(method(), clips, seed=1)
    assert anchor.dtype == actual.dtype == torch.float32
    # the loss of the same embeddings in full precision, which products in 16 bits would miss by a
    # hundredth
    expected = sum(losses.barlow_twins(anchor, one, SETTINGS.redundancy) for one in masked)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(actual, in_32, rtol=0.1, atol=0.0)


def test_twenty_steps_on_one_batch_lower_the_loss(clips: MadeUp) -> None:
    net = method()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.005)
    before = sum(loss(net, clips, seed).item() for seed in range(3)) / 3
    for seed in range(3, 23):
        optimiser.zero_grad()
        loss(net, clips, seed).backward()
        optimiser.step()
    after = sum(loss(net, clips, seed).item() for seed in range(23, 26)) / 3
    assert after < 0.8 * before


class Whole(Encoder):
    """Frames of all bodies at once, no joints left: takes no subsets of them."""

    takes_joint_subsets = False
    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3 * 20, 6)

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        assert joints is None
        return self.map(x.permute(0, 2, 1, 3, 4).flatten(2))[:, :, None]


def test_an_encoder_without_joints_learns_from_zeroed_ones_only(clips: MadeUp) -> None:
    views = ViewConfig(SKELETON, GENTLE, MASK)
    with pytest.raises(ValueError, match=r"mask.operation: found 'remove' with a Whole.*'zero'"):
        Asma({"joint": Whole()}, SETTINGS, views)
    zeroed = replace(views, mask=replace(views.mask, operation="zero"))
    net = Asma({"joint": Whole()}, SETTINGS, zeroed).train()
    loss(net, clips).backward()
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize(("layers", "linear", "norms"), [(1, 1, 0), (2, 2, 1), (3, 3, 2)])
def test_a_projector_has_the_layers_that_were_asked_for(
    layers: int, linear: int, norms: int
) -> None:
    kinds = [type(layer) for layer in Projector(4, 8, layers)]
    assert (kinds.count(nn.Linear), kinds.count(nn.BatchNorm1d)) == (linear, norms)
    assert kinds[0] is kinds[-1] is nn.Linear
    with pytest.raises(
        ValueError, match=r"pretrain\.projector_layers: found 0, expected 1 or more"
    ):
        replace(SETTINGS, projector_layers=0)
