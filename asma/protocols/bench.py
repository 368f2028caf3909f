"""What every protocol needs to know besides its data, and the head they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from asma.fusion import linear_classifier
from asma.training import Checkpoint, Log, Run


@dataclass(frozen=True, eq=False)
class Bench:
    """What every protocol needs to know besides its data."""

    classes: int
    run: Run
    device: torch.device
    seed: int
    log: Log | None = None
    checkpoint: Callable[[str], Checkpoint] | None = None  # by the name of what is trained


def linear_head(dim: int, bench: Bench) -> nn.Linear:
    """A fresh linear classifier, Xavier-normal weights, zero bias."""
    torch.manual_seed(bench.seed)
    return linear_classifier(dim, bench.classes).to(bench.device)
