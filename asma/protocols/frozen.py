"""Protocols on frozen encoders: linear probe, and alignment or its controls on two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma import evaluation, training
from asma.backbones import tokens
from asma.backbones.base import Encoder
from asma.fusion import HEADS, AlignedClassifier, Alignment
from asma.protocols.bench import Bench, linear_head
from asma.training import Fit, Step


@dataclass(frozen=True, kw_only=True)
class Probe(Fit):
    """Section `probe` of the parameters."""

    neighbours: list[int] = field(default_factory=lambda: [1, 20])  # k of each kNN

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(k < 1 for k in self.neighbours):
            raise ValueError(
                f"probe.neighbours: found {self.neighbours}, expected numbers of 1 or more"
            )


@dataclass(frozen=True, kw_only=True)
class FuseFit:
    """How long the alignment is trained: on pretrained and on fine-tuned encoders."""

    pretrain: Fit
    finetune: Fit

    def of(self, mode: str) -> Fit:
        """The one of a mode. Raises ValueError on another word."""
        if mode not in ("pretrain", "finetune"):
            raise ValueError(f"fuse.mode: found {mode!r}, expected pretrain or finetune")
        return self.pretrain if mode == "pretrain" else self.finetune


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Section `fuse` of the parameters."""

    first: str  # the two encoders
    second: str
    mode: str = "pretrain"  # where they come from; or finetune, the second step of fine-tuning
    # which of asma.fusion.HEADS are trained on them
    heads: list[str] = field(default_factory=lambda: list(HEADS))
    alignment: Alignment = field(default_factory=Alignment)
    fit: FuseFit

    def __post_init__(self) -> None:
        self.fit.of(self.mode)
        unknown = [head for head in self.heads if head not in HEADS]
        if unknown:
            raise ValueError(
                f"fuse.heads: found {unknown[0]!r}, expected some of {', '.join(HEADS)}"
            )
        if "aligned" not in self.heads:
            raise ValueError(
                f"fuse.heads: found {self.heads}, expected 'aligned' among them: "
                "it is what students learn"
            )


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both features (n, D) less the training mean, over the training deviation; constant ones
    become 0.
    """
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    scale = torch.where(deviation > 0, 1 / deviation.clamp_min(1e-12), torch.zeros_like(deviation))
    return (train - mean) * scale, (test - mean) * scale


def features(encoder: Encoder, x: Tensor, kind: str, bench: Bench) -> Tensor:
    """Tokens (n, S, D) of clean clips x (n, C, T, V, M) from a frozen encoder."""
    with training.frozen(encoder), bench.run.autocast(bench.device):
        return evaluation.embed(encoder, x, lambda h: tokens(h.float(), kind))


def paired_features(encoders: Sequence[Encoder], x: Tensor, kind: str, bench: Bench) -> Tensor:
    """Tokens (n, 2, S, D) of clean clips from two frozen encoders."""
    return torch.stack([features(encoder, x, kind, bench) for encoder in encoders], dim=1)


def embeddings(encoder: Encoder, x: Tensor, bench: Bench) -> Tensor:
    """Pooled embeddings (n, D) of clean clips from a frozen encoder."""
    with training.frozen(encoder), bench.run.autocast(bench.device):
        return evaluation.embed(encoder, x, lambda h: encoder.pool(h.float()))


def classify(
    head: nn.Module,
    train: Tensor,
    labels: Tensor,
    tests: tuple[Tensor, ...],
    settings: Fit,
    bench: Bench,
    label: str,
) -> tuple[Tensor, ...]:
    """Train a head on fixed features (n, …) by cross-entropy and return its logits of each of
    `tests`.
    """

    def loss(step: Step) -> Tensor:
        return F.cross_entropy(head(train[step.index]), labels[step.index])

    training.fit(
        head, loss, len(train), settings,
        run=replace(bench.run, precision="fp32"), device=bench.device, seed=bench.seed,
        label=label, log=bench.log, curve=label,
        checkpoint=bench.checkpoint(label) if bench.checkpoint else None,
    )  # fmt: skip
    return tuple(evaluation.forward(head, test, 1024) for test in tests)


def linear_probe(
    train: Tensor, test: Tensor, labels: Tensor, settings: Fit, bench: Bench, label: str
) -> Tensor:
    """Logits (n, K) of the test embeddings by a linear classifier learnt on the training
    embeddings (n, D).
    """
    head = linear_head(train.shape[1], bench)
    return classify(head, train, labels, (test,), settings, bench, label)[0]


def fused_probe(
    name: str,
    train: Tensor,
    labels: Tensor,
    tests: tuple[Tensor, ...],
    alignment: Alignment,
    settings: Fit,
    bench: Bench,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The head of HEADS that has this name, learnt on both encoders' tokens (n, 2, S, D); its
    logits of `tests`.
    """
    torch.manual_seed(bench.seed)
    head = HEADS[name](train.shape[-1], bench.classes, alignment).to(bench.device)
    return head, classify(head, train, labels, tests, settings, bench, name)


def fused_embeddings(head: nn.Module, tokens: Tensor) -> Tensor:
    """What an aligned head gives its linear classifier, Eq. 11: tokens (n, 2, S, D) → (n, D).
    TypeError for another.
    """
    if not isinstance(head, AlignedClassifier):
        raise TypeError(f"found a {type(head).__name__}, expected an AlignedClassifier")
    head.eval()
    with torch.no_grad():
        return torch.cat([head.embed(part) for part in tokens.split(1024)])
