"""The rule of tests/golden.py itself, against numbers of another program."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import golden


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (0, [0.0077651334, 0.6223195912, 0.0297745946, 0.0607230193, 0.4179353185]),
        (1000, [0.0034938978, 0.6988678160, 0.1924876580]),
    ],
)
def test_the_generator_gives_the_numbers_of_the_rule(tensor: int, expected: list[float]) -> None:
    found = golden.uniform(len(expected), tensor)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, abs=5e-11)


def test_it_is_the_hash_in_plain_integers() -> None:
    for tensor in (0, 7, 1000):
        expected = []
        for i in range(50):
            x = (i + 0x9E3779B9 * (tensor + 1)) % 2**32
            x ^= x >> 16
            x = x * 0x7FEB352D % 2**32
            x ^= x >> 15
            x = x * 0x846CA68B % 2**32
            x ^= x >> 16
            expected.append(x / 2**32)
        assert golden.uniform(50, tensor).tolist() == expected


def test_every_tensor_gets_its_own_numbers_in_its_own_range() -> None:
    layer, norm, filler = nn.Linear(6, 4).double(), nn.BatchNorm1d(4).double(), golden.Filler()
    filler.layers([layer, nn.ReLU(), norm])
    assert filler.next == 6
    torch.testing.assert_close(layer.weight.detach(), golden.signed(4, 6, tensor=0))  # √(6 / 6)
    torch.testing.assert_close(layer.bias.detach(), 0.1 * golden.signed(4, tensor=1))
    torch.testing.assert_close(norm.running_var, 1 + 0.25 * golden.signed(4, tensor=5))
