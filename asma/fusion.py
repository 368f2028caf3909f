"""Feature alignment of two encoders, Eq. 10–12: each attends to the other, the outputs are summed.

The paper's sequence length N is read as the frames of the feature map (13 of 50): with one token
the softmax over one key is 1 and queries and keys learn nothing, and with the batch as sequence a
sample's answer would depend on its batch-mates. Two sets of query, key and value maps with one
shared output map (`shared_output`) give 6.31 M parameters for three streams with their encoders,
the paper's 6.3 M; two complete attention modules are the option. No residual, normalisation or
dropout, as none is mentioned.

Beside it stand heads on the same encoders without attention: HEADS is the table. Those of LINEAR
are linear classifiers of fixed features and learnt as all of them here, by the section `probe`;
the paper says only how alignment is learnt, and at that rate, a tenth, they would be far from done
when it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma import backbones
from asma.backbones.base import Encoder


@dataclass(frozen=True)
class Alignment:
    """Section `fuse.alignment` of the parameters."""

    heads: int = 4
    shared_output: bool = True
    tokens: str = "time"  # see asma.backbones.tokens

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"fuse.alignment.heads: found {self.heads}, expected 1 or more")
        if self.tokens not in backbones.TOKENS:
            known = ", ".join(backbones.TOKENS)
            raise ValueError(
                f"fuse.alignment.tokens: found {self.tokens!r}, expected one of {known}"
            )


class CrossAttention(nn.Module):
    """Multi-head scaled dot-product attention of one sequence to another, Eq. 10, before the
    output map.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"fuse.alignment.heads: found {heads}, expected a divisor of {dim}")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """asking (N, S, D), asked (N, S′, D) → (N, S, D)."""
        q, k, v = (
            layer(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, S, D / heads)
            for layer, h in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class FeatureAlignment(nn.Module):
    """Two encoders' tokens → one embedding, Eq. 11; mean over the tokens."""

    def __init__(self, dim: int, how: Alignment) -> None:
        super().__init__()
        self.first, self.second = CrossAttention(dim, how.heads), CrossAttention(dim, how.heads)
        self.output = nn.Linear(dim, dim)
        self.second_output = None if how.shared_output else nn.Linear(dim, dim)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a, b (N, S, D) → (N, D). A sample's result depends on that sample alone."""
        from_a, from_b = self.first(a, b), self.second(b, a)
        if self.second_output is None:
            fused = self.output(from_a + from_b)
        else:
            fused = self.output(from_a) + self.second_output(from_b)
        return fused.mean(dim=1)


class AlignedClassifier(nn.Module):
    """Feature alignment and a linear head, Eq. 12."""

    def __init__(self, dim: int, classes: int, how: Alignment) -> None:
        super().__init__()
        self.alignment, self.head = FeatureAlignment(dim, how), nn.Linear(dim, classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens (N, 2, S, D), first encoder's then second's → fused embeddings (N, D)."""
        return self.alignment(tokens[:, 0], tokens[:, 1])

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (N, 2, S, D), first encoder's then second's → logits (N, K)."""
        return self.head(self.embed(tokens))


def linear_classifier(dim: int, classes: int) -> nn.Linear:
    """A fresh linear classifier, Xavier-normal weights, zero bias."""
    head = nn.Linear(dim, classes)
    nn.init.xavier_normal_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class AveragedClassifier(nn.Module):
    """Without alignment: the mean of both encoders' embeddings and a linear head."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.head = linear_classifier(dim, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (N, 2, S, D) → logits (N, K)."""
        return self.head(tokens.mean(dim=(1, 2)))


class ConcatenatedClassifier(nn.Module):
    """Without alignment: both encoders' embeddings side by side and a linear head, or a perceptron
    of two layers.
    """

    def __init__(self, dim: int, classes: int, hidden: int | None = None) -> None:
        """hidden: units of the perceptron's first layer; None is the linear head."""
        super().__init__()
        self.head: nn.Module = (
            linear_classifier(2 * dim, classes)
            if hidden is None
            else nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (N, 2, S, D) → logits (N, K)."""
        return self.head(tokens.mean(dim=2).flatten(1))


def as_large(dim: int, classes: int, parameters: int) -> int:
    """Hidden units with which a ConcatenatedClassifier has about so many trained parameters."""
    each = 2 * dim + 1 + classes  # a unit's weights in and out and its bias
    return max(1, round((parameters - classes) / each))


def _averaged(dim: int, classes: int, how: Alignment) -> nn.Module:
    return AveragedClassifier(dim, classes)


def _concatenated(dim: int, classes: int, how: Alignment) -> nn.Module:
    return ConcatenatedClassifier(dim, classes)


def _concatenated_wide(dim: int, classes: int, how: Alignment) -> nn.Module:
    aligned = sum(p.numel() for p in AlignedClassifier(dim, classes, how).parameters())
    return ConcatenatedClassifier(dim, classes, as_large(dim, classes, aligned))


# What may stand on two frozen encoders: the method, then its controls. Only a head that trains as
# many parameters as alignment does (`concatenated_wide`, within 1 %) can tell that attention, and
# not size, is what helps.
HEADS: dict[str, Callable[[int, int, Alignment], nn.Module]] = {
    "aligned": AlignedClassifier,
    "averaged": _averaged,
    "concatenated": _concatenated,
    "concatenated_wide": _concatenated_wide,
}
LINEAR = ("averaged", "concatenated")


class Teacher(nn.Module):
    """Two encoders and the classifier of their tokens as one network: clips (N, C, T, V, M) →
    logits (N, K).
    """

    def __init__(
        self,
        first: Encoder,
        second: Encoder,
        classifier: nn.Module,
        kind: str = "time",
    ) -> None:
        """kind: which tokens the classifier learnt on, see asma.backbones.tokens."""
        super().__init__()
        self.first, self.second, self.classifier, self.kind = first, second, classifier, kind

    def forward(self, x: Tensor) -> Tensor:
        both = [backbones.tokens(encoder(x), self.kind) for encoder in (self.first, self.second)]
        return self.classifier(torch.stack(both, dim=1))
