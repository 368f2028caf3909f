"""Clips on the device: one tensor of one stream, from which every batch is cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asma import streams
from asma.data.benchmarks import Benchmark


@dataclass(frozen=True, eq=False)
class Clips:
    """One part of a benchmark in one stream, on the device."""

    names: list[str]
    labels: Tensor  # (n,) int64
    x: Tensor  # (n, C, T, V, M) float32

    def __len__(self) -> int:
        return len(self.x)


def load(benchmark: Benchmark, part: str, stream: str, device: torch.device) -> Clips:
    """The `train` or `test` clips of a benchmark in one stream."""
    loaded = benchmark.part(part)
    x = streams.derive(stream, torch.from_numpy(loaded.clips).to(device), benchmark.skeleton)
    return Clips(loaded.names, torch.from_numpy(loaded.labels).to(device), x)


def motion_scores(benchmark: Benchmark, part: str, stream: str, device: torch.device) -> Tensor:
    """Motion scores (n, T) of the same clips in the same order."""
    return torch.from_numpy(benchmark.motion(part, stream)).to(device)
