from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from asma import backbones, efficiency, skeleton
from asma.backbones import dgcnn
from asma.backbones.blocks import Block, StackArchitecture
from asma.backbones.dgcnn import DGCNN, EdgeConvolution, nearest
from tests.backbones.alone import Alone

V1, V2 = skeleton.load("kinect_v1"), skeleton.load("kinect_v2")


def by_hand(x: Tensor, k: int) -> list[list[list[int]]]:
    """The k nearest joints of each joint of each frame, x (F, V, C), ascending."""
    found = []
    for frame in x:
        of_joints = []
        for i in range(len(frame)):
            distances = [float(((frame[i] - frame[j]) ** 2).sum()) for j in range(len(frame))]
            of_joints.append(sorted(sorted(range(len(frame)), key=distances.__getitem__)[:k]))
        found.append(of_joints)
    return found


def reference(net: EdgeConvolution, x: Tensor) -> Tensor:
    """Edge by edge: x (B, T, V, C)."""
    frames = x.flatten(0, 1)
    out = []
    for frame, near in zip(frames, by_hand(frames.detach(), net.neighbours), strict=True):
        for own, others in zip(frame, near, strict=True):
            edges = [
                net.edge.weight @ torch.cat([own, frame[j] - own]) + net.edge.bias for j in others
            ]
            out.append(torch.stack(edges).amax(dim=0))
    return torch.stack(out).view(*x.shape[:3], -1)


def operator(k: int = 5) -> EdgeConvolution:
    torch.manual_seed(0)
    return EdgeConvolution(3, 6, k).double()


def cloud(generator: Generator, V: int = 25) -> Tensor:
    return torch.randn(2, 3, V, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("k", "V"), [(1, 25), (5, 25), (5, 16), (5, 5), (5, 3), (40, 25)])
def test_it_is_the_maximum_over_the_edges_in_value_and_gradient(
    k: int, V: int, generator: Generator
) -> None:
    net, x = operator(k), cloud(generator, V).requires_grad_()
    found, expected = net(x), reference(net, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(net.definition(x), expected)
    weight = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    learnt = [x, *net.parameters()]
    for a, b in zip(
        *(torch.autograd.grad((y * weight).sum(), learnt) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected.detach())


@pytest.mark.parametrize("k", [1, 2, 5, 20, 30])
@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_the_nearest_are_the_nearest_also_far_from_the_origin(
    k: int, far: float, generator: Generator
) -> None:
    x = torch.randn(6, 20, 4, generator=generator) + far
    found = nearest(x, k)
    assert found.shape == (6, 20, min(k, 20))
    assert found.sort(dim=2).values.tolist() == by_hand(x, k)
    assert (found == torch.arange(20)[:, None]).any(dim=2).all()  # a joint is near itself


def test_joints_in_one_place_are_near_each_other(generator: Generator) -> None:
    x = torch.randn(1, 10, 3, generator=generator)
    x[:, 6:] = x[:, 6:7]
    found = nearest(x, 4)[0]
    for joint in range(6, 10):
        assert sorted(found[joint].tolist()) == [6, 7, 8, 9]


def test_neighbours_are_found_in_32_bits_whatever_the_precision(generator: Generator) -> None:
    x = torch.randn(4, 25, 16, generator=generator)
    x[:, 1::2] = x[:, :-1:2] + 0.002 * torch.randn(4, 12, 16, generator=generator)
    expected = nearest(x, 5).sort(dim=2).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest(x, 5).sort(dim=2).values, expected)
    rounded = x.bfloat16()  # as features are within a network of 16 bits
    expected = nearest(rounded.float(), 5).sort(dim=2).values
    assert torch.equal(nearest(rounded, 5).sort(dim=2).values, expected)


def test_renumbered_joints_give_renumbered_answers(generator: Generator) -> None:
    net, x = operator(), cloud(generator)
    order = torch.randperm(25, generator=generator)
    torch.testing.assert_close(net(x[:, :, order]), net(x)[:, :, order])


def test_a_joint_moved_with_all_others_has_the_same_neighbours_and_differences(
    generator: Generator,
) -> None:
    net, x = operator(), cloud(generator)
    with torch.no_grad():
        net.edge.weight[:, :3] = 0  # the part of the joint itself
    torch.testing.assert_close(net(x + 2.5), net(x))
    assert not torch.allclose(net(2.5 * x), net(x))


def test_a_frame_does_not_depend_on_others(generator: Generator) -> None:
    net, x = operator(), cloud(generator)
    other = x.clone()
    other[:, 1:] = torch.randn(2, 2, 25, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(net(other)[:, 0], net(x)[:, 0])
    assert not torch.allclose(net(other)[:, 1], net(x)[:, 1])


def test_every_block_finds_the_neighbours_anew(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Tensor] = []

    def watched(x: Tensor, k: int) -> Tensor:
        given.append(nearest(x, k))
        return given[-1]

    monkeypatch.setattr(dgcnn, "nearest", watched)
    torch.manual_seed(0)
    net = DGCNN(V2, (4, 6, 8), (1, 1, 1), neighbours=3).eval()
    net(torch.randn(1, 3, 5, 25, 1, generator=generator))
    assert [near.shape for near in given] == [(5, 25, 3)] * 3
    first, second, third = (near.sort(dim=2).values for near in given)
    assert not torch.equal(first, second) and not torch.equal(second, third)


def test_a_block_costs_the_multiplications_counted_by_hand() -> None:
    T, V, C, D, k = 8, 20, 4, 6, 5
    net = DGCNN(V1, (C, D), (1, 2), neighbours=k)
    block = net.blocks[1]
    assert isinstance(block, Block)
    found = efficiency.count(Alone(block), torch.zeros(1, T, V, C))
    distances, edges = T * V * V * C, T * V * k * 2 * C * D
    temporal, residual = T // 2 * V * 9 * D * D, T // 2 * V * C * D
    assert found["macs"] == distances + edges + temporal + residual
    assert (
        found["params"] == (2 * C * D + D) + 2 * D + (9 * D * D + D) + 2 * D + (C * D + D) + 2 * D
    )


def test_the_encoder_is_built_by_its_name_with_as_many_neighbours_as_it_says() -> None:
    wide = StackArchitecture("dgcnn", neighbours=8)
    for how, k in ((StackArchitecture("dgcnn"), 5), (wide, 8)):
        net = backbones.build(V2, how)
        assert isinstance(net, DGCNN)
        assert {m.neighbours for m in net.modules() if isinstance(m, EdgeConvolution)} == {k}


@pytest.mark.parametrize("layout", [V1, V2])
def test_five_is_the_largest_neighbourhood_of_the_skeleton(layout: skeleton.Skeleton) -> None:
    assert StackArchitecture().neighbours == 1 + layout.degree.max()


def test_no_neighbour_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="encoder.neighbours: found 0, expected 1 or more"):
        StackArchitecture(backbone="dgcnn", neighbours=0)
