from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import losses, skeleton
from asma.augment import Augment
from asma.backbones import pool
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods.asma import Asma, Pretrain, Projector
from asma.views import AsmaViews

SKELETON = skeleton.load("kinect_v1")
HOW = Pretrain(epochs=1, batch_size=8, learning_rate=0.005, projector=24, redundancy=0.01)
GENTLE = Augment(shear=0.1, rotate=5, tilt=1, flip=0)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(8, 3, 12, 20, 1, generator=generator)


@pytest.fixture
def scores(generator: Generator) -> Tensor:
    return torch.rand(8, 12, generator=generator)


def method(how: Pretrain = HOW, dropout: float = 0.0) -> Asma:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 8), (1, 2), dropout)
    views = AsmaViews("lowdeg_highmot", SKELETON, GENTLE, Mask(joints=7, frames=3))
    return Asma(encoder, views, how)


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
    for (name, a), b in zip(alone.state_dict().items(), together.state_dict().values(), strict=True):
        torch.testing.assert_close(b, a, msg=f"{name}: the views' statistics were not taken in turn")


def test_the_loss_compares_the_anchor_with_each_masked_view(x: Tensor, scores: Tensor) -> None:
    one, two = method().train(), method().train()
    views = one.views(x, scores, Generator().manual_seed(4))
    z = [
        losses.standardise(one.projector(pool(one.encoder(view.x, view.joints))))
        for view in (views.anchor, views.joint_masked, views.frame_masked)
    ]

    def naive(a: Tensor, b: Tensor) -> Tensor:
        matrix = a.T @ b / len(a)
        return sum(
            ((1 - matrix[i, i]) ** 2 if i == j else 0.01 * matrix[i, j] ** 2) for i in range(24) for j in range(24)
        )  # type: ignore[return-value]  # a sum of tensors

    expected = naive(z[0], z[1]) + naive(z[0], z[2])
    torch.testing.assert_close(two.loss(x, scores, Generator().manual_seed(4)), expected, rtol=1e-4, atol=1e-4)


def test_equation_5_to_the_letter_is_another_loss(x: Tensor, scores: Tensor) -> None:
    centred = method().train().loss(x, scores, Generator().manual_seed(4))
    literal = method(replace(HOW, centre=False)).train().loss(x, scores, Generator().manual_seed(4))
    assert not torch.isclose(centred, literal)


def test_no_label_and_no_other_batch_is_needed_and_every_weight_learns(x: Tensor, scores: Tensor) -> None:
    net = method().train()
    net.loss(x, scores, Generator().manual_seed(1)).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    last = net.projector[-1]
    assert isinstance(last, torch.nn.Linear) and last.weight.grad is not None
    assert last.weight.grad.abs().max() > 0


def test_the_same_seed_gives_the_same_loss(x: Tensor, scores: Tensor) -> None:
    a, b, other = (method().train().loss(x, scores, Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)


def test_sixteen_bit_products_leave_the_loss_in_full_precision(x: Tensor, scores: Tensor) -> None:
    in_32 = method().train().loss(x, scores, Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net = method().train()
        anchor, *masked = net.embed(net.views(x, scores, Generator().manual_seed(1)))
        found = method().train().loss(x, scores, Generator().manual_seed(1))
    assert anchor.dtype == found.dtype == torch.float32
    # the loss of the same embeddings in full precision, which products in 16 bits would miss by a hundredth
    expected = sum(losses.barlow_twins(anchor, one, HOW.redundancy) for one in masked)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(found, in_32, rtol=0.1, atol=0.0)


def test_twenty_steps_on_one_batch_lower_the_loss(x: Tensor, scores: Tensor, generator: Generator) -> None:
    net = method().train()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.005)

    def loss() -> Tensor:
        return net.loss(x, scores, generator)

    before = sum(loss().item() for _ in range(3)) / 3
    for _ in range(20):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
    after = sum(loss().item() for _ in range(3)) / 3
    assert after < 0.8 * before


@pytest.mark.parametrize(("layers", "linear", "norms"), [(1, 1, 0), (2, 2, 1), (3, 3, 2)])
def test_a_projector_has_the_layers_that_were_asked_for(layers: int, linear: int, norms: int) -> None:
    kinds = [type(layer) for layer in Projector(4, 8, layers)]
    assert (kinds.count(nn.Linear), kinds.count(nn.BatchNorm1d)) == (linear, norms)
    assert kinds[0] is kinds[-1] is nn.Linear
    with pytest.raises(ValueError, match=r"pretrain\.projector_layers: found 0, expected 1 or more"):
        replace(HOW, projector_layers=0)
