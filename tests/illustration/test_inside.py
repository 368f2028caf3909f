from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, skeleton
from asma.backbones.base import PerBody
from asma.backbones.blocks import StackArchitecture
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, CrossAttention, Teacher
from asma.illustration import inside
from asma.training import Run

LAYOUTS = sorted(path.stem for path in skeleton.LAYOUTS.glob("*.yaml"))
KINDS = backbones.TOKENS
RUN = Run(device="cpu")
Lively = Callable[[nn.Module, Tensor], None]


def encoder(layout: str = "kinect_v1", seed: int = 0) -> PerBody:
    torch.manual_seed(seed)
    network = backbones.build(skeleton.load(layout), StackArchitecture(width=4))
    assert isinstance(network, PerBody)
    return network


def teacher(kind: str = "time") -> Teacher:
    first, second = encoder(seed=1), encoder(seed=2)
    return Teacher(
        first, second, AlignedClassifier(first.dim, 3, Alignment(heads=2, tokens=kind)), kind
    )


@pytest.fixture
def clips(generator: Generator) -> Tensor:
    """Clips of two bodies, the second absent in two of them."""
    x = torch.randn(5, 3, 8, 20, 2, generator=generator)
    x[:2, ..., 1] = 0
    return x


@pytest.fixture
def maps(generator: Generator) -> tuple[Tensor, Tensor]:
    """Feature maps (N, T′, V, D) of two encoders."""
    a, b = torch.rand(2, 3, 4, 5, 8, generator=generator)
    return a, b


def test_the_response_is_the_mean_length_over_the_frames(maps: tuple[Tensor, Tensor]) -> None:
    found = inside.response(maps[0])
    for n in range(3):
        for v in range(5):
            lengths = [math.hypot(*maps[0][n, t, v].tolist()) for t in range(4)]
            assert float(found[n, v]) == pytest.approx(sum(lengths) / 4, rel=1e-5)


def test_weighted_frames_count_as_much_as_their_weights(
    maps: tuple[Tensor, Tensor], generator: Generator
) -> None:
    weights = torch.rand(3, 4, 1, generator=generator)
    found = inside.response(maps[0], weights)
    for n in range(3):
        for v in range(5):
            lengths = [
                float(weights[n, t]) * math.hypot(*maps[0][n, t, v].tolist()) for t in range(4)
            ]
            assert float(found[n, v]) == pytest.approx(
                sum(lengths) / float(weights[n].sum()), rel=1e-5
            )
    torch.testing.assert_close(inside.response(maps[0], 7 * weights), found)  # in any unit
    torch.testing.assert_close(
        inside.response(maps[0], torch.full((3, 4, 5), 0.2)), inside.response(maps[0])
    )


def test_responses_do_not_see_the_order_of_channels_and_frames_nor_their_unit(
    maps: tuple[Tensor, Tensor],
) -> None:
    found = inside.response(maps[0])
    torch.testing.assert_close(inside.response(maps[0].flip(3)), found)
    torch.testing.assert_close(inside.response(maps[0].flip(1)), found)
    # a joint takes its response along
    torch.testing.assert_close(inside.response(maps[0].flip(2)), found.flip(1))
    shown = inside.highest_is_one(found.numpy())
    np.testing.assert_allclose(
        inside.highest_is_one(inside.response(3 * maps[0]).numpy()), shown, rtol=1e-6
    )


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_the_softmax_written_out(heads: int, generator: Generator) -> None:
    torch.manual_seed(0)
    layer, width = CrossAttention(8, heads), 8 // heads
    asking, asked = (
        torch.randn(2, 3, 8, generator=generator),
        torch.randn(2, 5, 8, generator=generator),
    )
    found = inside.attention(layer, asking, asked)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))
    for n in range(2):
        expected = [0.0] * 5
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for s in range(3):
                q = layer.query(asking[n, s])[part]
                weights = [
                    math.exp(float(q @ layer.key(token)[part]) / math.sqrt(width))
                    for token in asked[n]
                ]
                for k, weight in enumerate(weights):
                    expected[k] += weight / sum(weights) / 3 / heads
        assert found[n].tolist() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_the_weights_are_those_the_alignment_itself_uses(generator: Generator) -> None:
    torch.manual_seed(0)
    layer = CrossAttention(8, 1)
    asking, asked = (
        torch.randn(2, 3, 8, generator=generator),
        torch.randn(2, 5, 8, generator=generator),
    )
    by_hand = torch.einsum("ns,nsd->nd", inside.attention(layer, asking, asked), layer.value(asked))
    torch.testing.assert_close(layer(asking, asked).mean(dim=1), by_hand)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_preference_the_fused_response_is_the_mean_of_both(
    kind: str, maps: tuple[Tensor, Tensor]
) -> None:
    classifier = AlignedClassifier(8, 3, Alignment(heads=2, tokens=kind))
    for layer in (classifier.alignment.first, classifier.alignment.second):
        nn.init.zeros_(layer.query.weight)
        nn.init.zeros_(layer.query.bias)
    expected = (inside.response(maps[0]) + inside.response(maps[1])) / 2
    torch.testing.assert_close(inside.fused_response(classifier, *maps, kind), expected)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "frame", "joint"), [("time", 2, None), ("space_time", 2, 3)])
def test_where_all_attention_goes_is_all_that_counts(
    kind: str, frame: int, joint: int | None, maps: tuple[Tensor, Tensor]
) -> None:
    a, b = maps
    classifier = AlignedClassifier(8, 3, Alignment(heads=1, tokens=kind))
    for layer, h in ((classifier.alignment.first, b), (classifier.alignment.second, a)):
        # keys of one number, large for the token that is meant
        place = (slice(None), frame) if joint is None else (slice(None), frame, joint)
        h[..., 0] = 0
        h[(*place, ..., 0)] = 1.0
        for part in (layer.query, layer.key):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        nn.init.constant_(layer.query.bias, 100.0)
        layer.key.weight[:, 0] = 10.0
    found = inside.fused_response(classifier, a, b, kind)
    expected = (a.norm(dim=-1)[:, frame] + b.norm(dim=-1)[:, frame]) / 2
    if joint is None:
        torch.testing.assert_close(found, expected)
    else:
        torch.testing.assert_close(found[:, joint], 5 * expected[:, joint])
        assert float(found[:, [v for v in range(5) if v != joint]].abs().max()) < 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bodies", [1, 2])
def test_an_encoder_is_seen_as_it_is_judged(
    layout: str, bodies: int, generator: Generator, lively: Lively
) -> None:
    network, V = encoder(layout), len(skeleton.load(layout))
    x = torch.randn(3, 3, 8, V, bodies, generator=generator)
    lively(network, x)
    embeddings, responses = inside.look(network.train(), x, RUN)
    with torch.no_grad():
        features = network.eval()(x)
    np.testing.assert_allclose(embeddings, backbones.pool(features).numpy(), rtol=1e-5)
    np.testing.assert_allclose(responses, features.norm(dim=-1).mean(dim=1).numpy(), rtol=1e-5)
    assert responses.shape == (3, V)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fused_embedding_is_what_the_head_gets(kind: str, clips: Tensor) -> None:
    network = teacher(kind).eval()
    embeddings, responses = inside.look(network, clips, RUN)
    with torch.no_grad():
        assert isinstance(network.classifier, AlignedClassifier)
        logits = network.classifier.head(torch.from_numpy(embeddings))
        torch.testing.assert_close(logits, network(clips))
    assert responses.shape == (5, 20)
    assert (responses > 0).all()


def test_the_embedding_of_a_student_is_what_its_head_gets(clips: Tensor) -> None:
    how = Distill(epochs=1, batch_size=2, learning_rate=0.1, layers=2, width=4, dim=8)
    network = Student(skeleton.load("kinect_v1"), 3, how).eval()
    embeddings, responses = inside.look(network, clips, RUN)
    with torch.no_grad():
        torch.testing.assert_close(network.head(torch.from_numpy(embeddings)), network(clips))
    assert responses.shape == (5, 20)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_clip_is_seen_the_same_whoever_else_is_looked_at(
    kind: str | None, clips: Tensor, monkeypatch: pytest.MonkeyPatch, lively: Lively
) -> None:
    network = teacher(kind) if kind else encoder()
    lively(network, clips)
    whole = inside.look(network, clips, RUN)
    monkeypatch.setattr(inside, "BATCH", 2)
    for found, expected in zip(inside.look(network, clips, RUN), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_bodies_may_change_places(clips: Tensor, lively: Lively) -> None:
    network = teacher()
    lively(network, clips)
    for found, expected in zip(
        inside.look(network, clips.flip(4), RUN), inside.look(network, clips, RUN), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_highest_is_one_and_nothing_stays_nothing() -> None:
    found = inside.highest_is_one(np.array([[1.0, 4, 2], [0, 0, 0]]))
    assert found.tolist() == [[0.25, 1, 0.5], [0, 0, 0]]


def test_a_sample_has_at_most_so_many_classes_and_clips() -> None:
    labels = np.repeat(np.arange(12), 5)
    chosen = inside.sample(labels, classes=4, clips=15, seed=1)
    assert len(chosen) == 15 and chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(np.unique(labels[chosen])) == 4
    assert inside.sample(labels, 4, 15, 1).tolist() == chosen.tolist()
    assert inside.sample(labels, 4, 15, 2).tolist() != chosen.tolist()
    assert inside.sample(labels, classes=99, clips=999, seed=1).tolist() == list(range(60))
    assert inside.sample(np.array([7]), classes=9, clips=400, seed=1).tolist() == [0]


def test_two_dimensions_keep_apart_what_is_apart() -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(36) % 3
    x = (draw.normal(size=(36, 10)) + 20 * np.eye(10)[labels]).astype(np.float32)
    found = inside.in_two_dimensions(x, 1)
    assert (found.shape, found.dtype) == ((36, 2), np.float32)
    distance = np.linalg.norm(found[:, None] - found, axis=2) + 1e9 * np.eye(36)
    assert (labels[distance.argmin(axis=1)] == labels).all()
    assert np.array_equal(inside.in_two_dimensions(x, 1), found)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_clips_keep_their_distances(n: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    found = inside.in_two_dimensions(x, 1)
    assert found.shape == (n, 2)
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found, axis=2),
        np.linalg.norm(x[:, None] - x, axis=2),
        atol=1e-5,
    )


def test_an_encoder_that_says_the_same_to_everything_is_one_point() -> None:
    assert not inside.in_two_dimensions(np.full((8, 5), 2.5, np.float32), 1).any()


def test_arrays_have_a_row_a_network() -> None:
    draw = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 2, 2, 2])
    seen = {name: (draw.normal(size=(6, 8)), draw.random((6, 20))) for name in ("one", "both")}
    found = inside.arrays(seen, labels, n_classes=3, classes=9, clips=5, seed=1)
    assert found["networks"].tolist() == ["one", "both"]
    assert found["activation"].shape == (2, 20)
    mean = seen["both"][1].mean(axis=0)
    np.testing.assert_allclose(found["activation"][1], mean / mean.max())
    by_class = found["activation_by_class"]
    assert by_class.shape == (2, 3, 20) and np.isnan(by_class[:, 1]).all()
    np.testing.assert_allclose(
        by_class[0, 2], seen["one"][1][3:].mean(axis=0) / seen["one"][1][3:].mean(axis=0).max()
    )
    assert found["embedding"].shape == (2, 5, 2) and len(found["embedding_labels"]) == 5


def test_no_network_is_no_row() -> None:
    found = inside.arrays({}, np.array([0, 1]), n_classes=2, classes=9, clips=5, seed=1)
    assert [
        len(found[key]) for key in ("networks", "activation", "activation_by_class", "embedding")
    ] == [0] * 4
