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
