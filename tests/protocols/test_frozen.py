from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from asma import skeleton
from asma.backbones.base import PerBody
from asma.backbones.stgcn import STGCN
from asma.fusion import HEADS, AlignedClassifier, Alignment
from asma.protocols import frozen
from asma.protocols.bench import Bench, linear_head
from asma.training import Fit, Run

SKELETON = skeleton.load("kinect_v1")
FIT = Fit(epochs=25, batch_size=16, learning_rate=0.05)


class Curve:
    """A log that remembers."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def epoch(self, epoch: int, **metrics: float) -> None:
        self.points.append(metrics)


def bench(
    classes: int = 3, log: Curve | None = None, precision: str = "fp32", seed: int = 1
) -> Bench:
    return Bench(classes, Run(device="cpu", precision=precision), torch.device("cpu"), seed, log)


def encoder(seed: int = 0) -> STGCN:
    torch.manual_seed(seed)
    return STGCN(SKELETON, (4, 8), (1, 2), 0.5)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(5, 3, 8, 20, 1, generator=generator)


@pytest.fixture
def clusters(generator: Generator) -> tuple[Tensor, Tensor]:
    """Three clusters of tokens (n, 2, S, D) that a straight line separates, and their classes."""
    labels = torch.arange(30) % 3
    noise = 0.3 * torch.randn(30, 2, 4, 8, generator=generator)
    return noise + F.one_hot(labels, 8).float()[:, None, None] * 2, labels


def test_standardised_features_have_the_training_mean_and_deviation(generator: Generator) -> None:
    train, test = torch.randn(2, 9, 4, generator=generator) * 5 + 3
    a, b = frozen.standardised(train, test)
    for d in range(4):
        mean = sum(float(v) for v in train[:, d]) / 9
        deviation = (sum((float(v) - mean) ** 2 for v in train[:, d]) / 9) ** 0.5
        assert a[:, d].tolist() == pytest.approx(
            [(float(v) - mean) / deviation for v in train[:, d]], abs=1e-5
        )
        assert b[:, d].tolist() == pytest.approx(
            [(float(v) - mean) / deviation for v in test[:, d]], abs=1e-5
        )


def test_a_constant_feature_becomes_zero_whatever_it_is_in_the_test() -> None:
    train, test = torch.tensor([[2.0, 1], [2, 3]]), torch.tensor([[7.0, 2]])
    a, b = frozen.standardised(train, test)
    assert a[:, 0].tolist() == [0, 0] and b.tolist() == [[0, 0]]


def test_features_are_those_of_the_encoder_in_evaluation(x: Tensor) -> None:
    net = encoder().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = frozen.features(net, x, "time", bench())
    with torch.no_grad():
        torch.testing.assert_close(found, encoder().eval()(x).mean(dim=2))
        torch.testing.assert_close(
            frozen.embeddings(net, x, bench()), encoder().eval()(x).mean(dim=(1, 2))
        )
    assert found.shape == (5, 4, 8) and not found.requires_grad
    assert not net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_features_of_two_encoders_stand_side_by_side(x: Tensor) -> None:
    pair = [encoder(0), encoder(1)]
    found = frozen.paired_features(pair, x, "time", bench())
    assert found.shape == (5, 2, 4, 8)
    for i in range(2):
        assert torch.equal(found[:, i], frozen.features(pair[i], x, "time", bench()))


def test_features_in_sixteen_bit_precision_are_handed_on_in_full(x: Tensor) -> None:
    found = frozen.embeddings(encoder(), x, bench(precision="bf16"))
    expected = frozen.embeddings(encoder(), x, bench())
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).norm() < 0.02 * expected.norm()


class Restless(PerBody):
    """An encoder that does not stay as it is."""

    dim = 3

    def __init__(self, touched: str) -> None:
        super().__init__()
        self.touched = touched
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(3))

    def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        if self.touched == "training":
            self.train()
        elif self.touched:
            self.state_dict()[self.touched].add_(1)
        return x * self.weight


@pytest.mark.parametrize(
    ("touched", "complaint"),
    [
        ("weight", r"a frozen Restless changed: \['weight'\]"),
        ("running_mean", r"a frozen Restless changed: \['running_mean'\]"),
        ("training", "a frozen Restless changed: set to training mode"),
    ],
)
def test_frozen_means_weights_and_statistics(touched: str, complaint: str, x: Tensor) -> None:
    with pytest.raises(RuntimeError, match=complaint):
        frozen.embeddings(Restless(touched), x, bench())
    frozen.embeddings(Restless(""), x, bench())


def right(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(dim=1) == labels).float().mean().item()


def test_a_linear_probe_learns_what_a_line_separates(clusters: tuple[Tensor, Tensor]) -> None:
    tokens, labels = clusters
    x, log = tokens.mean(dim=(1, 2)), Curve()
    logits = frozen.linear_probe(x[:15], x[15:], labels[:15], FIT, bench(log=log), "linear")
    assert logits.shape == (15, 3) and not logits.requires_grad
    assert right(logits, labels[15:]) == 1
    assert len(log.points) == 25 and log.points[-1]["linear"] < 0.5 * log.points[0]["linear"]


def test_labels_without_sense_are_not_learnt(generator: Generator) -> None:
    x, labels = torch.randn(200, 4, generator=generator), torch.arange(200) % 2
    logits = frozen.linear_probe(x[:100], x[100:], labels[:100], FIT, bench(2), "linear")
    assert 0.3 < right(logits, labels[100:]) < 0.7


def test_the_aligned_probe_answers_for_training_and_test(clusters: tuple[Tensor, Tensor]) -> None:
    tokens, labels = clusters
    head, (of_train, of_test) = frozen.fused_probe(
        "aligned",
        tokens[:15],
        labels[:15],
        (tokens[:15], tokens[15:]),
        Alignment(heads=2),
        FIT,
        bench(),
    )
    assert of_train.shape == of_test.shape == (15, 3)
    assert right(of_train, labels[:15]) == right(of_test, labels[15:]) == 1
    with torch.no_grad():
        torch.testing.assert_close(head(tokens[15:]), of_test)
    assert not head.training


@pytest.mark.parametrize("name", [name for name in HEADS if name != "aligned"])
def test_heads_learn_without_alignment(name: str, clusters: tuple[Tensor, Tensor]) -> None:
    tokens, labels = clusters
    _, (logits,) = frozen.fused_probe(
        name, tokens[:15], labels[:15], (tokens[15:],), Alignment(heads=2), FIT, bench()
    )
    assert right(logits, labels[15:]) == 1


def test_a_probe_is_the_same_with_the_same_seed_only(clusters: tuple[Tensor, Tensor]) -> None:
    tokens, labels = clusters
    short = Fit(epochs=2, batch_size=8, learning_rate=0.01)

    def logits(seed: int) -> Tensor:
        torch.manual_seed(99 + seed)  # whatever was drawn before
        given = (tokens, labels, (tokens,), Alignment(heads=2), short, bench(seed=seed))
        return frozen.fused_probe("aligned", *given)[1][0]

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))


@pytest.mark.parametrize(
    ("heads", "complaint"),
    [
        (
            ["aligned", "stacked"],
            "fuse.heads: found 'stacked', expected some of aligned, averaged, concatenated",
        ),
        (
            ["averaged", "concatenated"],
            r"fuse.heads: found \['averaged', 'concatenated'\], expected 'aligned' among",
        ),
    ],
)
def test_an_unknown_head_or_none_that_is_aligned_is_an_error(
    heads: list[str], complaint: str
) -> None:
    fit = frozen.FuseFit(pretrain=FIT, finetune=FIT)
    assert frozen.Fuse(first="a", second="b", fit=fit).heads == list(HEADS)
    with pytest.raises(ValueError, match=complaint):
        frozen.Fuse(first="a", second="b", fit=fit, heads=heads)


def test_a_head_starts_as_the_papers_code_does() -> None:
    head = linear_head(200, bench(100))
    assert (head.bias == 0).all()
    assert head.weight.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.05)
    assert torch.equal(linear_head(200, bench(100)).weight, head.weight)


def test_the_alignment_is_trained_as_long_as_its_encoders_ask() -> None:
    a, b = (Fit(epochs=epochs, batch_size=8, learning_rate=0.1) for epochs in (150, 50))
    both = frozen.FuseFit(pretrain=a, finetune=b)
    assert both.of("pretrain") is a and both.of("finetune") is b
    with pytest.raises(ValueError, match="fuse.mode: found 'probe', expected pretrain or finetune"):
        both.of("probe")


@pytest.mark.parametrize("neighbours", [[0], [1, -3]])
def test_fewer_neighbours_than_one_are_an_error(neighbours: list[int]) -> None:
    frozen.Probe(epochs=1, batch_size=2, learning_rate=0.1, neighbours=[])
    with pytest.raises(
        ValueError, match=rf"probe.neighbours: found .*{neighbours[-1]}\], expected numbers of 1 or"
    ):
        frozen.Probe(epochs=1, batch_size=2, learning_rate=0.1, neighbours=neighbours)


def test_the_fused_embedding_is_what_the_linear_head_sees(clusters: tuple[Tensor, Tensor]) -> None:
    tokens, labels = clusters
    given = (tokens, labels, (tokens,), Alignment(heads=2), FIT, bench())
    head, (logits,) = frozen.fused_probe("aligned", *given)
    assert isinstance(head, AlignedClassifier)
    found = frozen.fused_embeddings(head, tokens)
    assert found.shape == (30, 8) and not found.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(head.head(found), logits)
        torch.testing.assert_close(head.alignment(tokens[:, 0], tokens[:, 1]), found)
    with pytest.raises(
        TypeError, match="found a AveragedClassifier, expected an AlignedClassifier"
    ):
        frozen.fused_embeddings(frozen.fused_probe("averaged", *given)[0], tokens)
