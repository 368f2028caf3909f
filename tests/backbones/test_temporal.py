from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from asma.backbones.temporal import LEAST_CHANNELS, TemporalConvolution, by_spectra, maps


def slow(x: Tensor, weight: Tensor) -> Tensor:
    """The definition, a frame and a tap at a time: x (B, T, V, C), weight (C_out, C_in, K)."""
    T, K = x.shape[1], weight.shape[2]
    y = x.new_zeros(*x.shape[:3], len(weight))
    for t in range(T):
        for k in range(K):
            if 0 <= t + k - K // 2 < T:
                y[:, t] += x[:, t + k - K // 2] @ weight[:, :, k].T
    return y


@pytest.mark.parametrize("T", [1, 2, 3, 9, 10, 13, 50])
@pytest.mark.parametrize("K", [1, 3, 9])
def test_products_of_spectra_are_the_convolution(T: int, K: int, generator: Generator) -> None:
    x = torch.randn(2, T, 3, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 4, K, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(by_spectra(x, weight), slow(x, weight), rtol=1e-10, atol=1e-10)


def test_it_needs_a_fifth_of_the_products() -> None:
    assert [len(of) for of in maps(13, 9, torch.float32)[:2]] == [25, 25]
    assert 13 * 9 / 25 > 4.6


def test_gradients_are_those_of_the_direct_convolution(generator: Generator) -> None:
    x = torch.randn(2, 13, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    g = torch.randn(2, 13, 3, 5, generator=generator, dtype=torch.float64)
    direct = F.conv2d(x.permute(0, 3, 1, 2), weight[..., None], padding=(4, 0)).permute(0, 2, 3, 1)
    expected = torch.autograd.grad(direct, (x, weight), g)
    for found, right in zip(
        torch.autograd.grad(by_spectra(x, weight), (x, weight), g), expected, strict=True
    ):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


def test_in_full_precision_it_is_as_exact_as_the_direct_one(generator: Generator) -> None:
    layer = TemporalConvolution(LEAST_CHANNELS, LEAST_CHANNELS, (9, 1), (1, 1), (4, 0))
    x = torch.randn(4, LEAST_CHANNELS, 13, 5, generator=generator)
    assert layer.bias is not None
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=(4, 0))
    error = (layer.train()(x) - exact).abs().max()
    direct = (layer.eval()(x) - exact).abs().max()
    assert 0 < error < 2 * direct + 1e-6
    assert not torch.equal(layer.train()(x), layer.eval()(x))  # two ways indeed


@pytest.mark.parametrize(("channels", "stride"), [(LEAST_CHANNELS // 2, 1), (LEAST_CHANNELS, 2)])
def test_where_it_does_not_pay_it_is_the_direct_convolution(
    channels: int, stride: int, generator: Generator
) -> None:
    layer = TemporalConvolution(channels, 8, (9, 1), (stride, 1), (4, 0)).train()
    x = torch.randn(2, channels, 13, 5, generator=generator)
    expected = F.conv2d(x, layer.weight, layer.bias, (stride, 1), (4, 0))
    assert torch.equal(layer(x), expected)
