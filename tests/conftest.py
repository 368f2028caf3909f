"""What many tests share."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

torch.set_num_threads(1)  # the tensors are tiny; threads only get in each other's way


@pytest.fixture
def generator() -> Generator:
    """A generator that starts the same for every test."""
    return Generator().manual_seed(7)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline takes minutes to be made: it comes first, and a second process does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
