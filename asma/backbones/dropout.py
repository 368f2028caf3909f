"""Dropout that does not cost a third of a training step on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """nn.Dropout with the same distribution, drawn eight elements to a random word on a CPU.

    torch draws one number after the other there, in one thread. Where the probability is a
    multiple of 1/256, as the usual 0.5 is, a byte decides exactly; other probabilities and other
    devices use torch's own.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def extra_repr(self) -> str:
        return f"{self.probability}"

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape → the same, each element 0 with the probability, else over 1 −
        probability.
        """
        share = self.probability * 256
        if not self.training or self.probability == 0:
            return x
        exact = share == int(share) and 0 <= share < 256
        if x.device.type != "cpu" or not exact or torch.compiler.is_compiling():
            return nn.functional.dropout(x, self.probability)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()] >= int(share)
        dropped: Tensor = _Drop.apply(x, kept.view(x.shape), 1 / (1 - self.probability))
        return dropped


class _Drop(torch.autograd.Function):
    """x · kept · scale; remembers a byte an element for the gradient, where autograd would keep
    the whole factor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x * kept.to(x.dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return gradient * kept.to(gradient.dtype).mul_(ctx.scale), None, None
