from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asma.backbones.dropout import Dropout

MANY = 200_000


def dropped(probability: float, x: Tensor, seed: int = 1) -> Tensor:
    torch.manual_seed(seed)
    return Dropout(probability).train()(x)


@pytest.mark.parametrize("probability", [0.5, 0.25, 1 / 256, 255 / 256])
def test_each_element_goes_with_the_probability_and_the_rest_grows(probability: float) -> None:
    found = dropped(probability, torch.ones(MANY))
    gone = found == 0
    error = (probability * (1 - probability) / MANY) ** 0.5
    assert abs(gone.float().mean().item() - probability) < 4.5 * error
    assert found[~gone].unique().tolist() == pytest.approx([1 / (1 - probability)])


def test_what_is_kept_is_the_element_itself_scaled() -> None:
    x = torch.randn(101, 7)  # not a multiple of eight elements
    found = dropped(0.5, x)
    assert found.shape == x.shape
    kept = found != 0
    assert torch.equal(found[kept], 2 * x[kept])


def test_no_element_knows_of_its_neighbours() -> None:
    kept = (dropped(0.5, torch.ones(MANY)) != 0).float() - 0.5
    for lag in (1, 2, 3, 4, 7, 8, 9, 16, 64):
        correlation = (kept[lag:] * kept[:-lag]).mean() / 0.25
        assert abs(correlation) < 4.5 / MANY**0.5
    for place in range(8):  # of the eight in a word
        assert abs(kept[place::8].mean()) < 4.5 * 0.5 / (MANY / 8) ** 0.5


def test_every_call_draws_anew_and_the_same_seed_the_same() -> None:
    torch.manual_seed(3)
    layer, x = Dropout(0.5).train(), torch.ones(1000)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert torch.equal(dropped(0.5, x, seed=3), first)


def test_the_gradient_goes_where_the_element_went() -> None:
    x = torch.randn(500).requires_grad_()
    torch.manual_seed(1)
    found = Dropout(0.5).train()(x)
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], torch.where(found == 0, 0.0, 2.0))


def test_any_memory_layout_and_precision_is_served() -> None:
    x = torch.ones(4, 6, 5, 3).permute(0, 3, 1, 2)
    assert dropped(0.5, x).shape == x.shape
    assert set(dropped(0.5, x).unique().tolist()) == {0.0, 2.0}
    assert dropped(0.5, x.bfloat16()).dtype == torch.bfloat16


def test_a_probability_that_no_byte_decides_uses_torch() -> None:
    x = torch.ones(1000)
    found = dropped(0.3, x)
    torch.manual_seed(1)
    assert torch.equal(found, torch.nn.functional.dropout(x, 0.3))


def test_nothing_is_dropped_in_evaluation_or_at_probability_zero() -> None:
    x = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)


def test_at_probability_one_nothing_is_left() -> None:
    assert torch.equal(dropped(1.0, torch.ones(20)), torch.zeros(20))


def test_a_probability_above_one_or_below_zero_is_an_error() -> None:
    for probability in (-0.5, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            dropped(probability, torch.ones(2))
