from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from asma import backbones, efficiency, skeleton
from asma.backbones.blocks import Block, StackArchitecture
from asma.backbones.gin import GIN, Isomorphism
from asma.skeleton import Skeleton
from tests.backbones.alone import Alone

V1, V2 = skeleton.load("kinect_v1"), skeleton.load("kinect_v2")


def adjacency(layout: Skeleton) -> Tensor:
    """1 where two joints hang together, written edge by edge."""
    graph = torch.zeros(len(layout), len(layout))
    for child, parent in layout.edges:
        graph[child, parent] = graph[parent, child] = 1
    return graph


def operator(layout: Skeleton = V2, training: bool = False) -> Isomorphism:
    """An operator of 3 → 5 channels whose every value is one of its own."""
    torch.manual_seed(0)
    net = Isomorphism(3, 5, adjacency(layout)).double().train(training)
    with torch.no_grad():
        net.epsilon.fill_(0.3)
        for value in (net.hidden_norm.weight, net.hidden_norm.running_var):
            assert value is not None
            value.copy_(0.5 + torch.rand(5))
        for value in (net.hidden_norm.bias, net.hidden_norm.running_mean):
            assert value is not None
            value.copy_(torch.rand(5))
    return net


def reference(net: Isomorphism, x: Tensor, kept: list[int], layout: Skeleton) -> Tensor:
    """Joint by joint, neighbour by neighbour, in evaluation mode."""
    edges = {frozenset(edge) for edge in layout.edges}
    norm = net.hidden_norm
    assert norm.running_mean is not None and norm.running_var is not None
    out = []
    for i, v in enumerate(kept):
        total = (1 + net.epsilon) * x[:, :, i]
        for j, u in enumerate(kept):
            if frozenset((u, v)) in edges:
                total = total + x[:, :, j]
        hidden = total @ net.hidden.weight.T + net.hidden.bias
        hidden = (hidden - norm.running_mean) / torch.sqrt(
            norm.running_var + norm.eps
        ) * norm.weight + norm.bias
        out.append(F.relu(hidden) @ net.output.weight.T + net.output.bias)
    return torch.stack(out, dim=2)


KEPT = [None, [0, 1, 4, 5, 8, 20, 24], [3], [2, 3, 20]]


@pytest.mark.parametrize("kept", KEPT)
def test_it_is_the_sum_over_neighbours_and_the_map_of_it_in_value_and_gradient(
    kept: list[int] | None, generator: Generator
) -> None:
    net = operator()
    some = kept or list(range(25))
    x = torch.randn(2, 4, len(some), 3, generator=generator, dtype=torch.float64).requires_grad_()
    found, expected = net(x, torch.tensor(kept) if kept else None), reference(net, x, some, V2)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    learnt = [x, *net.parameters()]
    assert any(w is net.epsilon for w in learnt)
    for a, b in zip(
        *(torch.autograd.grad((y * weight).sum(), learnt) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_hidden_channels_are_normalised_over_joints_frames_and_bodies(generator: Generator) -> None:
    net = operator(training=True)
    hidden: list[Tensor] = []
    net.output.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    nn.init.ones_(net.hidden_norm.weight)
    nn.init.constant_(net.hidden_norm.bias, 9.0)  # nothing falls below zero
    net(torch.randn(4, 6, 25, 3, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(
        hidden[0].mean(dim=(0, 1, 2)), torch.full((5,), 9.0, dtype=torch.float64)
    )
    torch.testing.assert_close(
        hidden[0].var(dim=(0, 1, 2), correction=0),
        torch.ones(5, dtype=torch.float64),
        atol=1e-3,
        rtol=0,
    )


@pytest.mark.parametrize("layout", [V1, V2])
def test_the_graph_is_the_skeleton_and_no_part_of_the_weights(layout: Skeleton) -> None:
    net = GIN(layout, (4, 6), (1, 2))
    for block in net.blocks:
        assert isinstance(block, Block) and isinstance(block.graph, Isomorphism)
        assert torch.equal(block.graph.adjacency, adjacency(layout))
    assert not [name for name in net.state_dict() if "adjacency" in name or "importance" in name]


def test_renumbered_joints_give_renumbered_answers(generator: Generator) -> None:
    net = operator()
    x = torch.randn(2, 3, 25, 3, generator=generator, dtype=torch.float64)
    order = torch.randperm(25, generator=generator)
    expected = net(x)[:, :, order]
    net.adjacency = net.adjacency[order][:, order]
    torch.testing.assert_close(net(x[:, :, order]), expected)


def test_what_hung_on_a_hidden_joint_is_not_joined(generator: Generator) -> None:
    net = operator()
    kept = torch.tensor([4, 6])  # shoulder and wrist, without the elbow between them
    x = torch.randn(1, 2, 2, 3, generator=generator, dtype=torch.float64)
    other = x.clone()
    other[:, :, 1] += 1
    assert torch.equal(net(other, kept)[:, :, 0], net(x, kept)[:, :, 0])
    near = torch.tensor([4, 5])
    assert not torch.equal(net(other, near)[:, :, 0], net(x, near)[:, :, 0])


def test_a_block_costs_the_multiplications_counted_by_hand() -> None:
    T, V, C, D = 8, 20, 4, 6
    net = GIN(V1, (C, D), (1, 2))
    block = net.blocks[1]
    assert isinstance(block, Block)
    found = efficiency.count(Alone(block), torch.zeros(1, T, V, C))
    sums, maps = T * V * V * C, T * V * (C * D + D * D)
    temporal, residual = T // 2 * V * 9 * D * D, T // 2 * V * C * D
    assert found["macs"] == sums + maps + temporal + residual
    operator = 1 + (C * D + D) + 2 * D + (D * D + D)  # ε, a map, a normalisation, a map
    assert found["params"] == operator + 2 * D + (9 * D * D + D) + 2 * D + (C * D + D) + 2 * D


def test_the_encoder_is_built_by_its_name_with_its_epsilons_at_zero() -> None:
    net = backbones.build(V2, StackArchitecture(backbone="gin"))
    assert isinstance(net, GIN)
    epsilons = [value for name, value in net.named_parameters() if name.endswith("epsilon")]
    assert len(epsilons) == 10 and all(
        value.requires_grad and not value.any() for value in epsilons
    )
