from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from asma import backbones, efficiency, skeleton
from asma.backbones import pool
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN, Block, GraphConvolution

V1, V2 = skeleton.load("kinect_v1"), skeleton.load("kinect_v2")


def randomise(net: nn.Module) -> None:
    """Give every weight and statistic a value of its own, so that none can be left out unseen."""
    draw = Generator().manual_seed(11)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=draw)
                if name.endswith("running_var") or "importance" in name:
                    value.copy_(0.5 + noise)
                elif value.ndim == 1:
                    value.add_(noise - 0.5)


def norm(x: Tensor, layer: nn.BatchNorm1d | nn.BatchNorm2d, training: bool) -> Tensor:
    """Batch normalisation of channel 1 of x (B, C, …), written out."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    if training:
        others = [d for d in range(x.ndim) if d != 1]
        mean = x.mean(dim=others)
        variance = ((x - mean.view(shape)) ** 2).mean(dim=others)
    else:
        assert layer.running_mean is not None and layer.running_var is not None
        mean, variance = layer.running_mean, layer.running_var
    x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + layer.eps)
    return x * layer.weight.view(shape) + layer.bias.view(shape)


def reference(net: STGCN, x: Tensor, joints: list[int] | None, training: bool) -> Tensor:
    """ST-GCN as it is usually written: (N, C, T, V) tensors, einsum over the subsets, bodies one
    after the other.
    """
    N, C, T, V, M = x.shape
    # (N·M, V·C, T): all bodies of all samples in one batch
    y = torch.stack([x[n, :, :, :, m] for n in range(N) for m in range(M)])
    y = y.permute(0, 3, 1, 2).reshape(N * M, V * C, T)
    y = norm(y, net.data_norm, training).view(N * M, V, C, T).permute(0, 2, 3, 1)
    if joints is not None:
        y = torch.stack([y[..., v] for v in joints], dim=-1)
    for block in net.blocks:
        assert isinstance(block, Block)
        graph = net.adjacency * block.importance
        if joints is not None:
            rows = torch.stack([graph[:, v] for v in joints], dim=1)
            graph = torch.stack([rows[:, :, w] for w in joints], dim=2)
        z = block.graph.convolution(y)  # (B, K·C_out, T, V), a plain 1 × 1 convolution
        z = z.unflatten(1, (3, -1))
        z = torch.einsum("bkctv,kvw->bctw", z, graph)
        z = F.relu(norm(z, block.graph_norm, training))
        z = norm(block.temporal(z), block.temporal_norm, training)
        if block.has_residual:
            if block.residual is None:
                z = z + y
            else:
                assert isinstance(block.residual, nn.Sequential)
                convolution, last = block.residual
                assert isinstance(last, nn.BatchNorm2d)
                z = z + norm(convolution(y), last, training)
        y = F.relu(z)
    y = y.unflatten(0, (N, M))
    return sum(y[:, m] for m in range(M)).permute(0, 2, 3, 1) / M


def small(
    layout: skeleton.Skeleton = V2, dropout: float = 0.0, partition: str = "max_hop"
) -> STGCN:
    torch.manual_seed(0)
    net = STGCN(layout, (4, 4, 6), (1, 1, 2), dropout, partition)
    randomise(net)
    return net


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("joints", [None, [0, 1, 4, 5, 8, 20, 24]])
@pytest.mark.parametrize(("T", "M"), [(12, 2), (9, 1)])
def test_it_equals_the_usual_formulation(
    training: bool, joints: list[int] | None, T: int, M: int, generator: Generator
) -> None:
    net = small().train(training)
    x = torch.randn(3, 3, T, 25, M, generator=generator)
    expected = reference(net, x, joints, training)
    found = net(x, None if joints is None else torch.tensor(joints))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_its_gradients_equal_those_of_the_usual_formulation(generator: Generator) -> None:
    net = small().train().double()
    x = torch.randn(3, 3, 10, 25, 2, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 5, 16, 6, generator=generator)
    joints = list(range(3, 19))
    expected = torch.autograd.grad(
        (reference(net, x, joints, True) * weight).sum(), list(net.parameters())
    )
    found = torch.autograd.grad(
        (net(x, torch.tensor(joints)) * weight).sum(), list(net.parameters())
    )
    for (name, _), a, b in zip(net.named_parameters(), found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-9), name


def test_other_layouts_and_partitions_work_the_same(generator: Generator) -> None:
    net = small(V1, partition="true_distance").eval()
    x = torch.randn(2, 3, 6, 20, 1, generator=generator)
    torch.testing.assert_close(net(x), reference(net, x, None, False), rtol=1e-4, atol=1e-5)
    assert not torch.equal(net.adjacency, small(V1).adjacency)


def test_joints_are_normalised_before_they_leave(generator: Generator) -> None:
    net = small().train()
    x = torch.randn(2, 3, 6, 25, 2, generator=generator)
    net(x, torch.tensor([3, 20]))
    own = x.permute(0, 4, 2, 3, 1).reshape(-1, 75)  # statistics of all joints have moved
    statistics = small().data_norm
    assert statistics.running_mean is not None and net.data_norm.running_mean is not None
    expected = 0.9 * statistics.running_mean + 0.1 * own.mean(dim=0)
    torch.testing.assert_close(net.data_norm.running_mean, expected, atol=1e-5, rtol=1e-4)


def test_hidden_joints_have_no_say(generator: Generator) -> None:
    net = small().eval()
    x = torch.randn(2, 3, 6, 25, 2, generator=generator)
    other = x.clone()
    other[:, :, :, 7] = 9.0
    kept = torch.tensor([v for v in range(25) if v != 7])
    assert torch.equal(net(x, kept), net(other, kept))
    assert not torch.equal(net(x), net(other))


@pytest.mark.parametrize("kept", [None, [0, 1, 2, 20]])
def test_one_dense_product_a_frame_equals_the_two_sums(
    kept: list[int] | None, generator: Generator
) -> None:
    layer = GraphConvolution(5, 7, 3)
    graph = torch.rand(3, 25, 25, generator=generator)
    if kept:
        graph = graph[:, kept][:, :, kept]
    V = graph.shape[1]
    x = torch.randn(2, 4, V, 5, generator=generator)
    two_steps = layer(x, graph)
    weight, bias = layer.dense(graph)
    assert weight.shape == (V * 7, V * 5) and bias.shape == (V * 7,)
    dense = F.linear(x.flatten(2), weight, bias).view(2, 4, V, 7)
    torch.testing.assert_close(dense, two_steps, rtol=1e-4, atol=1e-5)


def test_sixteen_bit_precision_gives_nearly_the_same(generator: Generator) -> None:
    net = small().eval()
    x = torch.randn(2, 3, 8, 25, 2, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(x).float()
    expected = net(x)
    assert not torch.equal(found, expected)  # so it was in another precision
    assert (found - expected).norm() < 0.02 * expected.norm()


def encoder(**settings: Any) -> STGCN:
    net = backbones.build(V2, StackArchitecture(**settings))
    assert isinstance(net, STGCN)
    return net


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_encoder_has_the_parameters_of_the_paper_block_by_block() -> None:
    net = encoder()
    assert parameters(net) == 821_380
    assert parameters(net.data_norm) == 150
    importance = [p.numel() for name, p in net.named_parameters() if "importance" in name]
    assert importance == [3 * 25 * 25] * 10
    blocks = [parameters(block) - 3 * 25 * 25 for block in net.blocks]
    assert blocks == [2_576, 3_200, 3_200, 3_200, 11_616, 12_544, 12_544, 45_760, 49_664, 658_176]


def test_the_wide_encoder_has_the_parameters_of_full_st_gcn() -> None:
    assert parameters(encoder(width=64)) == 3_083_412


def test_weights_saved_before_have_a_place_and_a_seed_draws_what_it_drew() -> None:
    torch.manual_seed(5)
    state = encoder(width=8).state_dict()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = ["importance", "graph.convolution.weight", "graph.convolution.bias"]
    block += [f"graph_norm.{key}" for key in norm]
    block += ["temporal.weight", "temporal.bias", *(f"temporal_norm.{key}" for key in norm)]
    widening = ["residual.0.weight", "residual.0.bias", *(f"residual.1.{key}" for key in norm)]
    expected = [f"data_norm.{key}" for key in norm]
    for i in range(10):
        expected += [f"blocks.{i}.{key}" for key in block + (widening if i in (4, 7, 9) else [])]
    assert list(state) == expected
    # as the first version drew them; every later draw would be another if one before it was
    drawn = {
        "blocks.0.graph.convolution.weight": -0.28922587633132935,
        "blocks.0.temporal.bias": -0.00444489112123847,
        "blocks.9.graph.convolution.weight": 0.02289642207324505,
        "blocks.9.temporal.weight": 0.013792216777801514,
        "blocks.9.residual.0.bias": -0.09181416779756546,
    }
    assert {key: float(state[key].flatten()[-1]) for key in drawn} == pytest.approx(drawn, rel=1e-6)


def test_the_residuals_and_dropouts_are_those_of_the_public_code() -> None:
    net = backbones.build(V2, StackArchitecture(), 0.5)
    assert isinstance(net, STGCN)
    blocks = [block for block in net.blocks if isinstance(block, Block)]
    assert [block.has_residual for block in blocks] == [False] + [True] * 9
    assert [block.residual is not None for block in blocks] == [i in (4, 7, 9) for i in range(10)]
    assert [block.dropout.probability for block in blocks] == [0.0] + [0.5] * 9
    assert [block.temporal.stride[0] for block in blocks] == [1, 1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert all((block.importance == 1).all() for block in blocks)


def test_fifty_frames_become_thirteen_tokens_of_256(generator: Generator) -> None:
    net = encoder().eval()
    with torch.no_grad():
        features = net(torch.randn(1, 3, 50, 25, 2, generator=generator))
    assert features.shape == (1, 13, 25, 256) and net.dim == 256
    assert backbones.tokens(features).shape == (1, 13, 256)
    assert pool(features).shape == (1, 256)


def test_a_clip_costs_the_multiplications_that_were_published() -> None:
    found = efficiency.count(encoder(), torch.zeros(1, 3, 50, 25, 2))
    assert found["macs"] / 1e9 == pytest.approx(0.61239, abs=5e-6)
    assert found["flops"] == 2 * found["macs"]
    one_body = efficiency.count(encoder(), torch.zeros(1, 3, 50, 25, 1))
    assert 2 * one_body["macs"] == found["macs"]


def test_bodies_are_averaged(generator: Generator) -> None:
    net = small().eval()
    x = torch.randn(2, 3, 6, 25, 2, generator=generator)
    one, two = net(x[..., :1]), net(x[..., 1:])
    torch.testing.assert_close(net(x), (one + two) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(x.flip(4)), net(x), rtol=1e-4, atol=1e-5)


def test_a_sample_does_not_depend_on_its_batch(generator: Generator) -> None:
    net = small().eval()
    x = torch.randn(5, 3, 8, 25, 2, generator=generator)
    together = net(x)
    for n in range(5):
        torch.testing.assert_close(net(x[n : n + 1])[0], together[n], rtol=1e-4, atol=1e-6)


def test_dropout_acts_in_training_only(generator: Generator) -> None:
    net = small(dropout=0.5).eval()
    x = torch.randn(2, 3, 8, 25, 2, generator=generator)
    assert torch.equal(net(x), net(x))
    assert torch.equal(net(x), small(dropout=0.0).eval()(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_the_graph_is_no_part_of_the_weights() -> None:
    assert not [name for name in small().state_dict() if "adjacency" in name]
