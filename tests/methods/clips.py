"""Made-up clips that a method can learn from, and how tests have it learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from asma import methods
from asma.methods import Batch, Method, Pretrain
from asma.training import Checkpoint, Curves, Run, Step


@dataclass(frozen=True, eq=False)
class MadeUp:
    """The same clips in every stream, with motion scores by chance."""

    x: dict[str, Tensor]
    labels: Tensor
    lengths: Tensor
    scores: Tensor

    @classmethod
    def of(cls, x: Tensor, *streams: str) -> MadeUp:
        """x (n, C, T, V, M)."""
        n, frames = len(x), x.shape[2]
        scores = torch.rand(n, frames, generator=Generator().manual_seed(1)).to(x.dtype)
        every = {stream: x for stream in streams or ("joint",)}
        return cls(every, torch.arange(n) % 3, torch.full((n,), frames), scores)

    def motion_scores(self, stream: str) -> Tensor:
        return self.scores

    def batch(self, generator: Generator, epoch: int = 0) -> Batch:
        """All clips as one batch."""
        return Batch.cut(self, Step(torch.arange(len(self)), epoch, generator))

    def __len__(self) -> int:
        return len(self.labels)


def train(
    method: Method,
    clips: MadeUp,
    settings: Pretrain,
    checkpoint: Checkpoint | None = None,
) -> Curves:
    """The curves of a training on the CPU, seed 1."""
    return methods.train(
        method, clips, settings, run=Run(), device=torch.device("cpu"), seed=1, label="test",
        checkpoint=checkpoint,
    )  # fmt: skip
