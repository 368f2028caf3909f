"""What many tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

torch.set_num_threads(1)  # the tensors are tiny; threads only get in each other's way


@pytest.fixture
def generator() -> Generator:
    """A generator that starts the same for every test."""
    return Generator().manual_seed(7)


def _lively(net: nn.Module, x: Tensor) -> None:
    draw = Generator().manual_seed(11)
    norms = [m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim == 1 or "importance" in name:
                value.add_(torch.rand(value.shape, generator=draw) - 0.5)
        for norm in norms:
            norm.momentum = 1.0
        net.train()(x)
        for norm in norms:
            norm.momentum = 0.1
    net.eval()


@pytest.fixture(scope="session")
def lively() -> Callable[[nn.Module, Tensor], None]:
    """lively(net, x): statistics of clips x, and no two biases alike, so that nothing can be left out unseen.

    A network fresh from its initialisation gives nearly the same answer to everything.
    """
    return _lively


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline takes minutes to be made: it comes first, and a second process does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
