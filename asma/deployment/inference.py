"""Networks as they are used once learnt: nothing left to normalise, nothing computed for people
who are not there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asma.backbones import tokens
from asma.backbones.base import Encoder, PerBody, averaged, mean, present
from asma.backbones.folded import folded
from asma.distillation import Student
from asma.fusion import Teacher


class Compact(nn.Module):
    """Clips (N, C, T, V, M) → logits (N, K) in evaluation mode, for the work of the bodies that
    are there.

    Encoders are folded copies. Their answer to a body of zeros, the second body of a recording of
    one person, is a constant of the weights and kept: a clip with one body costs half. Bodies may
    be absent in any place. Of encoders that skip who is absent it is not needed.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        head: nn.Module,
        kind: str,
        clip_shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """head: gives logits of tokens (N, E, S, D) of E encoders, averaged over bodies; kind: of
        the tokens.

        clip_shape: (C, T, V, M) of the clips to come; the constant depends on the number of
        frames. dtype: of the encoders; tokens, head and logits are float32. Raises ValueError
        where one is not PerBody.
        """
        super().__init__()
        C, T, V, _ = self.shape = tuple(clip_shape)
        single = [encoder for encoder in encoders if isinstance(encoder, PerBody)]
        if other := next((e for e in encoders if not isinstance(e, PerBody)), None):
            raise ValueError(
                f"deployment: found a {type(other).__name__}, which sees all bodies of a clip "
                "at once; expected encoders of single bodies"
            )
        self.skips = single[0].absent == "skipped"
        self.encoders, self.dtype = nn.ModuleList(map(folded, single)).to(dtype), dtype
        self.head, self.kind = copy.deepcopy(head), kind
        # (1, E, S, D)
        nobody = self._tokens(torch.zeros(1, T, V, C, device=next(head.parameters()).device))
        self.nobody = nn.Parameter(nobody.clone())
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError where the clips have another shape."""
        N, C, T, V, M = x.shape
        if self.shape != (C, T, V, M):
            raise ValueError(f"clips: found (C, T, V, M) = {(C, T, V, M)}, expected {self.shape}")
        x = x.permute(0, 4, 2, 3, 1)
        if self.skips:
            there = present(x)
            of = there.flatten().nonzero()[:, 0]
            known = self._tokens(x.reshape(N * M, T, V, C).index_select(0, of))
            # not an expanded zero: what torch compiles writes into the one element that it is
            bodies = known.new_zeros(N * M, *known.shape[1:]).index_copy(0, of, known)
            return self.head(averaged(bodies.unflatten(0, (N, M)), there))
        x = x.reshape(N * M, T, V, C)
        # the first body is computed whoever it is: no library likes a batch of none
        first = torch.ones(1, dtype=torch.bool, device=x.device)
        of = torch.cat([first, x[1:].flatten(1).any(dim=1)]).nonzero()[:, 0]
        bodies = self.nobody.expand(N * M, -1, -1, -1).index_copy(
            0, of, self._tokens(x.index_select(0, of))
        )
        return self.head(mean(bodies.unflatten(0, (N, M)), 1))

    def _tokens(self, x: Tensor) -> Tensor:
        """Bodies (B, T, V, C) → their tokens (B, E, S, D); the mean of two bodies' tokens is that
        of their mean.
        """
        return torch.stack(
            [tokens(encoder(x.to(self.dtype)), self.kind).float() for encoder in self.encoders],
            dim=1,
        )


def compact(
    network: Student | Teacher, clip_shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> Compact:
    """A network in the form it is to be used in; it stays as it is itself. clip_shape and dtype as
    in Compact.
    """
    if isinstance(network, Student):
        head = nn.Sequential(nn.Flatten(), network.head)
        return Compact([network.encoder], head, "pooled", clip_shape, dtype)
    return Compact(
        [network.first, network.second], network.classifier, network.kind, clip_shape, dtype
    )
