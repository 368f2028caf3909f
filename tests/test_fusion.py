from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, skeleton
from asma.backbones.blocks import StackArchitecture
from asma.fusion import (
    HEADS,
    LINEAR,
    AlignedClassifier,
    Alignment,
    AveragedClassifier,
    ConcatenatedClassifier,
    CrossAttention,
    FeatureAlignment,
    Teacher,
)
from asma.protocols.bench import Bench, linear_head
from asma.training import Run


@torch.no_grad()
def slow_attention(layer: CrossAttention, asking: Tensor, asked: Tensor) -> Tensor:
    """Scaled dot-product attention, sample by sample, head by head, query by query."""
    N, S, D = asking.shape
    width = D // layer.heads
    out = torch.zeros(N, S, D)
    for n in range(N):
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            for s in range(S):
                q = layer.query(asking[n, s])[part]
                weights = [
                    math.exp(float(q @ layer.key(token)[part]) / math.sqrt(width))
                    for token in asked[n]
                ]
                for weight, token in zip(weights, asked[n], strict=True):
                    out[n, s, part] += weight / sum(weights) * layer.value(token)[part]
    return out


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_equals_the_sum_written_out(heads: int, generator: Generator) -> None:
    torch.manual_seed(0)
    layer = CrossAttention(8, heads)
    asking, asked = (
        torch.randn(2, 3, 8, generator=generator),
        torch.randn(2, 5, 8, generator=generator),
    )
    torch.testing.assert_close(
        layer(asking, asked), slow_attention(layer, asking, asked), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shared", [True, False])
def test_each_sequence_asks_the_other_and_the_outputs_are_summed(
    shared: bool, generator: Generator
) -> None:
    torch.manual_seed(0)
    module = FeatureAlignment(8, Alignment(heads=2, shared_output=shared))
    a, b = torch.randn(2, 2, 3, 8, generator=generator)
    from_a, from_b = slow_attention(module.first, a, b), slow_attention(module.second, b, a)
    second = module.second_output
    assert (second is None) == shared
    fused = (
        module.output(from_a + from_b) if second is None else module.output(from_a) + second(from_b)
    )
    expected = torch.stack([sum(fused[n, s] for s in range(3)) / 3 for n in range(2)])
    torch.testing.assert_close(module(a, b), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_tokens_does_not_matter_but_the_pairing_of_the_encoders_does(
    generator: Generator,
) -> None:
    torch.manual_seed(0)
    module = FeatureAlignment(8, Alignment())
    a, b = torch.randn(2, 2, 5, 8, generator=generator)
    shuffled = torch.randperm(5, generator=generator)
    torch.testing.assert_close(module(a[:, shuffled], b), module(a, b), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(a, b[:, shuffled]), module(a, b), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(module(b, a), module(a, b), atol=1e-3)


def test_a_samples_logits_do_not_depend_on_its_batch(generator: Generator) -> None:
    torch.manual_seed(0)
    net = AlignedClassifier(16, 5, Alignment()).eval()
    tokens = torch.randn(6, 2, 13, 16, generator=generator)
    together = net(tokens)
    for n in range(6):
        torch.testing.assert_close(net(tokens[n : n + 1])[0], together[n], rtol=1e-4, atol=1e-6)
    other = torch.cat([tokens[:1], torch.randn(5, 2, 13, 16, generator=generator)])
    torch.testing.assert_close(net(other)[0], together[0], rtol=1e-4, atol=1e-6)


def test_from_clip_to_logits_a_sample_stands_alone(generator: Generator) -> None:
    torch.manual_seed(0)
    layout = skeleton.load("kinect_v1")
    encoders = [backbones.build(layout, StackArchitecture(width=4)).eval() for _ in range(2)]
    net = AlignedClassifier(256, 5, Alignment()).eval()
    x = torch.randn(3, 3, 16, 20, 2, generator=generator)

    def logits(clips: Tensor) -> Tensor:
        with torch.no_grad():
            return net(
                torch.stack([backbones.tokens(encoder(clips)) for encoder in encoders], dim=1)
            )

    together = logits(x)
    for n in range(3):
        torch.testing.assert_close(logits(x[n : n + 1])[0], together[n], rtol=1e-4, atol=1e-5)


def test_three_streams_have_the_parameters_of_the_paper() -> None:
    one = 256 * 256 + 256
    assert parameters(FeatureAlignment(256, Alignment())) == 7 * one
    assert parameters(FeatureAlignment(256, Alignment(shared_output=False))) == 8 * one
    encoder = parameters(backbones.build(skeleton.load("kinect_v2"), StackArchitecture()))
    assert 3 * (2 * encoder + 7 * one) == 6_309_912
    assert parameters(AlignedClassifier(256, 60, Alignment())) == 7 * one + 257 * 60


def test_with_one_token_queries_and_keys_learn_nothing(generator: Generator) -> None:
    torch.manual_seed(0)
    net = AlignedClassifier(8, 3, Alignment(heads=2))
    for tokens, learns in ((1, False), (2, True)):
        net.zero_grad()
        net(torch.randn(4, 2, tokens, 8, generator=generator)).square().sum().backward()
        for attention in (net.alignment.first, net.alignment.second):
            assert (
                attention.value.weight.grad is not None
                and attention.value.weight.grad.abs().max() > 1e-3
            )
            for layer in (attention.query, attention.key):
                assert layer.weight.grad is not None
                assert (layer.weight.grad.abs().max() > 1e-4) == learns


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="fuse.alignment.heads: found 3, expected a divisor of 8"):
        CrossAttention(8, 3)


@pytest.mark.parametrize("S", [1, 4])
def test_without_alignment_embeddings_are_averaged(S: int, generator: Generator) -> None:
    torch.manual_seed(0)
    net = AveragedClassifier(6, 3)
    tokens = torch.randn(2, 2, S, 6, generator=generator)
    for n in range(2):
        embeddings = [sum(tokens[n, e, s] for s in range(S)) / S for e in range(2)]
        torch.testing.assert_close(net(tokens)[n], net.head((embeddings[0] + embeddings[1]) / 2))


@pytest.mark.parametrize("S", [1, 4])
@pytest.mark.parametrize("hidden", [None, 5])
def test_without_alignment_embeddings_stand_side_by_side(
    S: int, hidden: int | None, generator: Generator
) -> None:
    torch.manual_seed(0)
    net = ConcatenatedClassifier(6, 3, hidden)
    tokens = torch.randn(2, 2, S, 6, generator=generator)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    for n in range(2):
        h = torch.cat(
            [sum((tokens[n, e, s] for s in range(S)), torch.zeros(6)) / S for e in range(2)]
        )
        if hidden:
            h = (layers[0].weight @ h + layers[0].bias).clamp_min(0)
        torch.testing.assert_close(net(tokens)[n], layers[-1].weight @ h + layers[-1].bias)
    assert len(layers) == (2 if hidden else 1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("classes", [8, 12, 51, 60, 120])
def test_the_wide_head_trains_as_many_parameters_as_alignment(classes: int, shared: bool) -> None:
    how = Alignment(shared_output=shared)
    wide, aligned = (HEADS[name](256, classes, how) for name in ("concatenated_wide", "aligned"))
    assert parameters(wide) == pytest.approx(parameters(aligned), rel=0.01)
    assert parameters(HEADS["concatenated"](256, classes, how)) == 512 * classes + classes
    assert parameters(HEADS["averaged"](256, classes, how)) == 256 * classes + classes


def test_linear_heads_are_those_of_one_linear_layer() -> None:
    layers = {
        name: [
            layer for layer in make(16, 5, Alignment()).modules() if isinstance(layer, nn.Linear)
        ]
        for name, make in HEADS.items()
    }
    assert tuple(name for name, of in layers.items() if len(of) == 1) == LINEAR


@pytest.mark.parametrize(("name", "dim"), [("averaged", 256), ("concatenated", 512)])
def test_linear_heads_begin_as_a_linear_probe_does(name: str, dim: int) -> None:
    bench = Bench(9, Run(), torch.device("cpu"), 3)
    torch.manual_seed(3)
    (layer,) = (
        part for part in HEADS[name](256, 9, Alignment()).modules() if isinstance(part, nn.Linear)
    )
    assert torch.equal(layer.weight, linear_head(dim, bench).weight)
    assert not layer.bias.any()


@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_logits_of_tokens(name: str, generator: Generator) -> None:
    tokens = torch.randn(3, 2, 4, 16, generator=generator)
    net = HEADS[name](16, 5, Alignment())
    assert net(tokens).shape == (3, 5)
    torch.testing.assert_close(net(tokens[1:2])[0], net(tokens)[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", backbones.TOKENS)
def test_a_teacher_is_its_two_encoders_tokens_and_the_classifier(
    kind: str, generator: Generator
) -> None:
    torch.manual_seed(0)
    plan = StackArchitecture(width=4)
    first, second = (backbones.build(skeleton.load("kinect_v1"), plan).eval() for _ in range(2))
    classifier = AlignedClassifier(256, 5, Alignment())
    net = Teacher(first, second, classifier, kind).eval()
    x = torch.randn(2, 3, 8, 20, 2, generator=generator)
    expected = classifier(
        torch.stack([backbones.tokens(first(x), kind), backbones.tokens(second(x), kind)], dim=1)
    )
    torch.testing.assert_close(net(x), expected)
    swapped = Teacher(second, first, classifier, kind).eval()
    assert not torch.allclose(swapped(x), expected, atol=1e-7)
    assert {name.split(".")[0] for name in net.state_dict()} == {"first", "second", "classifier"}
