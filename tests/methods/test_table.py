"""What every method must be able to do, whichever row of the table it is."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from asma import methods, skeleton
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods import METHODS, Pretrain
from asma.views import AsmaViews

SKELETON = skeleton.load("kinect_v1")


def build(name: str) -> tuple[STGCN, methods.Method]:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 6), (1, 1))
    views = AsmaViews("highdeg_lowmot", SKELETON, Augment(), Mask(joints=5, frames=2))
    how = Pretrain(epochs=1, batch_size=4, learning_rate=0.1, projector=8, method=name)
    return encoder, methods.build(encoder, views, how)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_it_holds_the_encoder_and_gives_a_loss_that_the_encoder_learns_from(name: str, generator: Generator) -> None:
    encoder, method = build(name)
    assert method.encoder is encoder
    x = torch.randn(4, 3, 8, 20, 1, generator=generator)
    loss = method.train().loss(x, torch.rand(4, 8, generator=generator), generator)
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_an_unknown_method_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match="pretrain.method: found 'moco', expected one of asma"):
        build("moco")
