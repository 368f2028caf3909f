"""The control beside every pretrained encoder: random weights, statistics of the real data."""

from __future__ import annotations

import torch
from torch import Tensor

from asma.backbones.base import Encoder
from asma.methods.base import Batch, Method, TrainingClips

PASSES = 3


def settle(encoder: Encoder, x: Tensor, batch_size: int, seed: int) -> None:
    """Let the encoder's normalisations see the clean clips x (N, C, T, V, M) PASSES times.

    No weight changes. Without it a random encoder's features are nearly constant and its probe is
    at chance, which would make the control too easy to beat.
    """
    torch.manual_seed(seed)
    encoder.train()
    with torch.no_grad():
        for _ in range(PASSES):
            for index in torch.randperm(len(x)).split(batch_size):
                if len(index) > 1:
                    encoder(x[index.to(x.device)])
    encoder.eval()


class Untrained(Method):
    """Encoders as they were made, settled."""

    learns = False

    def begin(self, train: TrainingClips) -> None:
        seed = torch.initial_seed()
        for stream in self.encoders:
            settle(self.encoder(stream), train.x[stream], self.settings.batch_size, seed)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError("an untrained encoder has no loss: it does not learn")
