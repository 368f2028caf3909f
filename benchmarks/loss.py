"""The Barlow Twins loss of one pair, value and gradient, from projections that are not yet
standardised.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from asma import losses, training
from benchmarks.measure import ROUNDS, Result, compare
from benchmarks.plain import plain_barlow_twins

REDUNDANCY = 2e-4


def our_loss(a: Tensor, b: Tensor) -> Tensor:
    """As `asma.methods.asma` computes it, by N × N products."""
    return losses.barlow_twins(losses.standardise(a), losses.standardise(b), REDUNDANCY)


def plain_loss(a: Tensor, b: Tensor) -> Tensor:
    """Over the P × P matrix."""
    return plain_barlow_twins(a, b, REDUNDANCY)


def gradient(loss: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """The loss and what it asks of both projections."""
    return torch.autograd.grad(loss(a, b), (a, b))


def run(full: bool) -> list[Result]:
    """P = 6144 at N = 128, and with `full` at 64."""
    training.Run().start()
    torch.use_deterministic_algorithms(False)
    results = []
    for N in (64, 128) if full else (128,):
        a, b = (torch.randn(N, 6144, requires_grad=True) for _ in range(2))
        times = compare(
            partial(gradient, our_loss, a, b), partial(gradient, plain_loss, a, b), ROUNDS
        )
        results.append(times.result("loss", f"P = 6144, N = {N}"))
    return results
