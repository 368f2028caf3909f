from __future__ import annotations

import torch
from torch import nn

from asma import training
from asma.backbones import pool
from asma.backbones.dropout import Dropout
from asma.training import Step
from asma.views import View
from benchmarks import loss, pretraining


def without_dropout(*networks: nn.Module) -> None:
    for network in networks:
        for module in network.modules():
            if isinstance(module, Dropout):
                module.probability = 0.0
            elif isinstance(module, nn.Dropout):
                module.p = 0.0


def test_the_baseline_of_the_step_computes_what_we_compute() -> None:
    ours, plain, x, scores = pretraining.make(16, projector=16, frames=24)
    without_dropout(ours, plain)
    expected = plain.loss(ours.views(x, scores, training.seeded(0, x.device)))
    every = Step(torch.arange(16), 0, training.seeded(0, x.device))
    found = pretraining.loss_of(ours, pretraining.RandomClips.of(x, scores))(every)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_baseline_of_the_encoder_has_the_same_gradients() -> None:
    ours, plain, x, _ = pretraining.make(4, projector=16, frames=24)
    without_dropout(ours, plain)
    # in single precision a ReLU may open on one side only
    view = View(x.double(), torch.arange(3, 19))
    encoder = ours.encoder("joint").double()
    found, expected = pool(encoder(view.x, view.joints)), plain.double().embed(view)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for of_ours, of_plain in (
        ("blocks.9.temporal.weight", "blocks.9.temporal.2.weight"),
        ("blocks.3.graph.convolution.weight", "blocks.3.graph.weight"),
        ("blocks.0.importance", "blocks.0.importance"),
    ):
        a, b = encoder.get_parameter(of_ours).grad, plain.encoder.get_parameter(of_plain).grad
        assert a is not None and b is not None and b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8 * b.abs().max().item())


def test_the_baseline_of_the_loss_computes_what_we_compute(generator: torch.Generator) -> None:
    a, b = (torch.randn(6, 20, generator=generator, requires_grad=True) for _ in range(2))
    torch.testing.assert_close(loss.our_loss(a, b), loss.plain_loss(a, b), rtol=1e-4, atol=1e-4)
    for found, expected in zip(
        loss.gradient(loss.our_loss, a, b), loss.gradient(loss.plain_loss, a, b), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
