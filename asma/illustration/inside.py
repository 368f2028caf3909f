"""What networks make of clips: which joints they respond to, and where their embeddings lie.

The paper shows joint-wise attention without saying how it is taken. An encoder's response to a
joint is read here as the length of the channel vector that its last feature map has there,
averaged over the frames of the map: no gradient and no class is needed, so it is there for a
frozen encoder too. Bodies are averaged as they are in the map, with the constant answer to an
absent one among them where these are computed. For the fused model the frames count as much as the
alignment attends to them, and both encoders count alike as far as their lengths do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor, nn

from asma.backbones import tokens
from asma.backbones.base import Encoder
from asma.distillation import Student
from asma.fusion import AlignedClassifier, CrossAttention, Teacher
from asma.illustration.judged import by_class
from asma.training import Run

BATCH = 64  # clips at once
PERPLEXITY = 30.0  # of t-SNE, its usual value; less where there are few clips


def response(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Response by joint, (N, V), of a feature map (N, T′, V, D): mean over the frames of its
    vectors' lengths.

    weights (N, T′, V) or broadcasting to it, in any unit: how much each place counts; None counts
    all alike.
    """
    lengths = torch.linalg.vector_norm(features, dim=-1)
    if weights is not None:
        weights = weights.expand_as(lengths)
        lengths = lengths * weights / weights.mean(dim=(1, 2), keepdim=True)
    return lengths.mean(dim=1)


def attention(layer: CrossAttention, asking: Tensor, asked: Tensor) -> Tensor:
    """How much of its attention each token of `asked` (N, S′, D) gets, (N, S′), sum 1.

    The softmax of Eq. 10, averaged over the heads and over the tokens `asking` (N, S, D).
    """
    q, k = (
        part(h).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for part, h in ((layer.query, asking), (layer.key, asked))
    )
    return (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=(1, 2))


def over_map(weights: Tensor, features: Tensor, kind: str) -> Tensor:
    """Weights of tokens (N, S) laid over the map (N, T′, V, D) that the tokens of a kind were made
    of.
    """
    shape = {"time": (-1, 1), "space_time": tuple(features.shape[1:3]), "pooled": (1, 1)}[kind]
    return weights.unflatten(1, shape)


def fused_response(classifier: AlignedClassifier, a: Tensor, b: Tensor, kind: str) -> Tensor:
    """Response by joint, (N, V), of the fused model to its two encoders' maps (N, T′, V, D)."""
    of_a, of_b, module = tokens(a, kind), tokens(b, kind), classifier.alignment
    # the first attention asks about the second encoder's tokens, the second about the first's
    to_b, to_a = attention(module.first, of_a, of_b), attention(module.second, of_b, of_a)
    return (response(a, over_map(to_a, a, kind)) + response(b, over_map(to_b, b, kind))) / 2


def look(network: nn.Module, x: Tensor, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, D) and responses by joint (n, V) of clips x (n, C, T, V, M), in evaluation
    mode, float32.

    network: an Encoder, a Student or a Teacher with aligned classifier; its embedding is what its
    head gets. Encoders compute in the run's precision, alignment in full, as when judged.
    """
    network.eval()
    found: list[tuple[Tensor, Tensor]] = []
    for part in x.split(BATCH):
        with torch.no_grad():
            found.append(_look(network, part, run))
    embeddings, responses = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return embeddings, responses


def _look(network: nn.Module, x: Tensor, run: Run) -> tuple[Tensor, Tensor]:
    def feature_map(encoder: nn.Module) -> Tensor:
        with run.autocast(x.device):
            return encoder(x).float()

    if isinstance(network, Teacher):
        assert isinstance(network.classifier, AlignedClassifier)
        a, b = feature_map(network.first), feature_map(network.second)
        fused = network.classifier.alignment(tokens(a, network.kind), tokens(b, network.kind))
        return fused, fused_response(network.classifier, a, b, network.kind)
    assert isinstance(network, (Encoder, Student))
    encoder = network.encoder if isinstance(network, Student) else network
    features = feature_map(encoder)
    return encoder.pool(features), response(features)


def highest_is_one(values: np.ndarray) -> np.ndarray:
    """values (…, V) ≥ 0 over their largest; rows of zeros stay zeros."""
    largest = values.max(axis=-1, keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def sample(labels: np.ndarray, classes: int, clips: int, seed: int) -> np.ndarray:
    """Numbers, ascending, of the clips of at most so many classes, and at most so many of them;
    drawn by the seed.
    """
    draw = np.random.default_rng(seed)
    there = np.unique(labels)
    chosen = np.flatnonzero(
        np.isin(labels, draw.choice(there, min(classes, len(there)), replace=False))
    )
    return np.sort(draw.choice(chosen, min(clips, len(chosen)), replace=False))


def in_two_dimensions(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Embeddings (n, D) by t-SNE from their principal components, (n, 2) float32; the components
    where n < 4.

    The exact form of t-SNE: the other adds up in an order that depends on the threads.
    """
    x = embeddings - embeddings.mean(axis=0)
    if len(x) >= 4 and x.any():
        found = TSNE(
            perplexity=min(PERPLEXITY, (len(x) - 1) / 3),
            init="pca",
            method="exact",
            random_state=seed,
        ).fit_transform(x)
    else:
        left, scale, _ = np.linalg.svd(x, full_matrices=False)
        found = np.zeros((len(x), 2))
        found[:, : len(scale)] = (left * scale)[:, :2]
    return found.astype(np.float32)


def arrays(
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    n_classes: int,
    classes: int,
    clips: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """What `look` saw of n clips by each network, averaged and drawn in two dimensions; a row a
    network.

    n_classes: all there are; classes, clips: how many the embeddings show at most.
    """
    chosen = sample(labels, classes, clips, seed)
    averaged = {
        name: highest_is_one(responses.mean(axis=0)) for name, (_, responses) in seen.items()
    }
    sorted_ = {
        name: by_class(responses, labels, n_classes) for name, (_, responses) in seen.items()
    }
    shown = {
        name: in_two_dimensions(embeddings[chosen], seed) for name, (embeddings, _) in seen.items()
    }
    return {
        "networks": np.array(list(seen), dtype=np.str_),
        "activation": np.array(list(averaged.values())),
        "activation_by_class": np.array([highest_is_one(one) for one in sorted_.values()]),
        "embedding": np.array(list(shown.values())),
        "embedding_labels": labels[chosen],
    }
