"""What every protocol needs to know besides its data, and the head they share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from asma.training import Log, Run


@dataclass(frozen=True, eq=False)
class Bench:
    """What every protocol needs to know besides its data."""

    classes: int
    run: Run
    device: torch.device
    seed: int
    log: Log | None = None


def linear_head(dim: int, bench: Bench) -> nn.Linear:
    """A fresh linear classifier, Xavier-normal weights, zero bias."""
    torch.manual_seed(bench.seed)
    head = nn.Linear(dim, bench.classes, device=bench.device)
    nn.init.xavier_normal_(head.weight)
    nn.init.zeros_(head.bias)
    return head
