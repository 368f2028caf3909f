"""Numbers of a network without a file of weights: a rule that fills tensors by their place.

An implementation lists its tensors in a stated order; the k-th gets the generator's tensor k. Two
programs that agree on the order give the same numbers, whatever they call their weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from asma.backbones.stgcn import STGCN, Block

MODULUS = 2**32


def uniform(count: int, tensor: int) -> Tensor:
    """u(0 … count − 1, tensor) in [0, 1), float64: an integer hash of the place and the tensor."""
    x = (torch.arange(count) + 0x9E3779B9 * (tensor + 1)) % MODULUS
    x = x ^ (x >> 16)
    x = _times(x, 0x7FEB352D)
    x = x ^ (x >> 15)
    x = _times(x, 0x846CA68B)
    x = x ^ (x >> 16)
    return x.double() / MODULUS


def _times(x: Tensor, factor: int) -> Tensor:
    """x · factor modulo 2³² in int64: the product itself would not fit."""
    high, low = factor >> 16, factor & 0xFFFF
    return (((x * high) % MODULUS << 16) + x * low) % MODULUS


def signed(*shape: int, tensor: int = 1000) -> Tensor:
    """X(shape, tensor): 2u − 1 row by row, float64."""
    return (2 * uniform(math.prod(shape), tensor) - 1).view(shape)


class Filler:
    """Fills tensors one after the other, the first by tensor 0."""

    def __init__(self) -> None:
        self.next = 0

    @torch.no_grad()
    def special(self, value: Tensor, base: float, amplitude: float) -> None:
        """base + amplitude · v."""
        value.copy_(base + amplitude * signed(*value.shape, tensor=self.next))
        self.next += 1

    def map(self, layer: nn.Linear | nn.Conv2d) -> None:
        """w: v · √(6 / fan-in); then b: 0.1 v, where there is a bias."""
        weight = layer.weight
        self.special(weight, 0.0, math.sqrt(6 * weight.shape[0] / weight.numel()))
        if layer.bias is not None:
            self.special(layer.bias, 0.0, 0.1)

    def norm(self, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        """BN4: weight, bias, running mean, running variance."""
        assert layer.running_mean is not None and layer.running_var is not None
        self.special(layer.weight, 1.0, 0.25)
        self.special(layer.bias, 0.0, 0.1)
        self.special(layer.running_mean, 0.0, 0.1)
        self.special(layer.running_var, 1.0, 0.25)

    def layers(self, layers: Iterable[nn.Module]) -> None:
        """Maps and normalisations in their order; what has no tensors is passed over."""
        for layer in layers:
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                self.map(layer)
            elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                self.norm(layer)

    def stgcn(self, net: STGCN) -> None:
        """data_bn; a block: graph map, BN, temporal map, BN, residual; then edge importances."""
        self.norm(net.data_norm)
        blocks = [block for block in net.blocks if isinstance(block, Block)]
        for block in blocks:
            layers = [block.graph.convolution, block.graph_norm, block.temporal]
            self.layers([*layers, block.temporal_norm])
            if isinstance(block.residual, nn.Sequential):
                self.layers(block.residual)
        for block in blocks:
            self.special(block.importance, 1.0, 0.2)
