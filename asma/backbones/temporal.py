"""Convolution over frames, on a CPU with a fifth of the multiplications.

A convolution of T frames with K taps, padded to T again, is a product of spectra of length
T + K // 2: taps that reach over either end meet the same zeros. With three real products for a
complex one it is bilinear, y = C((A x) · (B w)), where A, B and C are small constant matrices along
time and the products in between are ordinary matrix products of the channels. 13 frames and 9 taps
need 25 of them in place of 117. The DFT is as well conditioned as sums can be: the result is as
exact as the direct one's.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

LEAST_CHANNELS = 32  # with fewer, the transforms cost more than the products that they save


class TemporalConvolution(nn.Conv2d):
    """nn.Conv2d of K × 1 taps that pads to the same length, the direct one but where the other
    pays.

    That is in training, on a CPU, in full precision, at stride 1 and with many channels. Used once
    learnt, for few clips at a time, transforming the taps would take longer than it saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, T, V) → (B, C_out, T′, V)."""
        if (
            self.training
            and x.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and self.stride == (1, 1)
            and self.in_channels >= LEAST_CHANNELS
        ):
            y = by_spectra(x.permute(0, 2, 3, 1), self.weight[..., 0])
            if self.bias is not None:
                y = y.add_(self.bias)
            return y.permute(0, 3, 1, 2)
        return super().forward(x)


def by_spectra(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, T, V, C_in), weight (C_out, C_in, K), K odd → (B, T, V, C_out), padded by K // 2."""
    B, T, V, _ = x.shape
    C_out, C_in, K = weight.shape
    of_x, of_weight, of_products = maps(T, K, x.dtype)
    R = len(of_x)
    rows = (of_x @ x.transpose(0, 1).reshape(T, -1)).view(R, B * V, C_in)
    taps = (of_weight @ weight.permute(2, 1, 0).reshape(K, -1)).view(R, C_in, C_out)
    y = of_products @ torch.bmm(rows, taps).view(R, -1)
    return y.view(T, B, V, C_out).transpose(0, 1)


@cache
def maps(T: int, K: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices A (R, T), B (R, K) and C (T, R) of the module's docstring.

    A complex product X·W of two spectra is made of three real ones, (Re X + Im X)·Re W,
    Re X·(Im W − Re W) and Im X·(Re W + Im W): the first less the third is its real part, the
    first plus the second its imaginary part.
    """
    N = T + K // 2
    frame = torch.arange(T, dtype=torch.float64)
    lag = K // 2 - torch.arange(K, dtype=torch.float64)  # what a convolution calls a kernel's place
    a, b, c = [], [], []
    for k in range(N // 2 + 1):
        turn = 2 * math.pi * k / N
        x_re, x_im = torch.cos(turn * frame), -torch.sin(turn * frame)
        w_re, w_im = torch.cos(turn * lag), -torch.sin(turn * lag)
        if k == 0 or 2 * k == N:  # these have no imaginary part
            a.append(x_re)
            b.append(w_re)
            c.append(x_re / N)
        else:  # of y = (2 Re Y · cos − 2 Im Y · sin) / N, where x_im is −sin
            a += [x_re + x_im, x_re, x_im]
            b += [w_re, w_im - w_re, w_re + w_im]
            c += [2 * (x_re + x_im) / N, 2 * x_im / N, -2 * x_re / N]
    A, B, C = (torch.stack(rows).to(dtype) for rows in (a, b, c))
    return A, B, C.T.contiguous()
