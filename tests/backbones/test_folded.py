"""Encoders that no longer learn, against the same encoders as they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import skeleton
from asma.backbones.base import PerBody
from asma.backbones.blocks import Block, Stack
from asma.backbones.dgcnn import DGCNN
from asma.backbones.folded import (
    FoldedBlock,
    FoldedGraphConvolution,
    FoldedStack,
    NeighbourSums,
    folded,
)
from asma.backbones.gin import GIN
from asma.backbones.stgcn import STGCN

V1 = skeleton.load("kinect_v1")


Lively = Callable[[nn.Module, Tensor], None]


PLAN = (4, 4, 7, 5), (1, 1, 1, 2)


@pytest.fixture(params=["max_hop", "true_distance"])
def net(request: pytest.FixtureRequest, lively: Lively) -> STGCN:
    """A block without residual, with the identity, with a wider, with a narrower and a shorter
    one.
    """
    torch.manual_seed(0)
    encoder = STGCN(V1, *PLAN, 0.5, request.param)
    lively(encoder, torch.randn(8, 3, 9, 20, 2))
    return encoder


@pytest.mark.parametrize(("B", "T"), [(1, 12), (3, 9)])
def test_a_folded_encoder_says_the_same(net: STGCN, B: int, T: int, generator: Generator) -> None:
    x = torch.randn(B, T, 20, 3, generator=generator)
    expected = net.bodies(x).detach()
    assert expected.std() > 0.1
    torch.testing.assert_close(folded(net)(x), expected, rtol=1e-4, atol=1e-5)


def test_it_says_the_same_to_nine_digits_in_double_precision(
    net: STGCN, generator: Generator
) -> None:
    net = net.double()
    x = torch.randn(2, 8, 20, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(folded(net)(x), net.bodies(x).detach(), rtol=1e-9, atol=1e-9)


def test_both_orders_of_the_graph_sum_are_the_sum_written_out(
    net: STGCN, generator: Generator
) -> None:
    found = folded(net)
    assert isinstance(found, FoldedStack)
    block = found.blocks[2]
    assert isinstance(block, FoldedBlock) and isinstance(block.spatial, FoldedGraphConvolution)
    neighbours = block.spatial.sums
    assert isinstance(neighbours, NeighbourSums)
    x = torch.randn(2, 4, 5, 20, generator=generator)
    graph = neighbours.adjacency.detach()
    sums = [
        torch.stack([x[..., v, None] * graph[k, v] for v in range(20)]).sum(dim=0)
        for k in range(len(graph))
    ]
    expected = torch.cat(sums, dim=1)
    torch.testing.assert_close(neighbours(x), expected, rtol=1e-4, atol=1e-5)
    exported = torch.export.export(neighbours, (x,)).module()
    torch.testing.assert_close(exported(x), expected, rtol=1e-4, atol=1e-5)


def test_the_copy_is_frozen_and_the_encoder_stays_as_it_was(
    net: STGCN, generator: Generator
) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    copy = folded(net.train())
    assert net.training and not any(module.training for module in copy.modules())
    assert not any(weight.requires_grad for weight in copy.parameters())
    assert all(weight.requires_grad for weight in net.parameters())
    x = torch.randn(2, 8, 20, 3, generator=generator)
    expected = copy(x)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    assert torch.equal(copy(x), expected)


def test_nothing_is_left_to_normalise(net: STGCN) -> None:
    kinds = {type(module).__name__ for module in folded(net).modules()}
    assert not kinds & {"BatchNorm1d", "BatchNorm2d", "Dropout"}


@pytest.mark.parametrize("kind", [GIN, DGCNN])
def test_other_operators_have_a_folded_form_as_well(
    kind: type[GIN] | type[DGCNN], lively: Lively, generator: Generator
) -> None:
    torch.manual_seed(0)
    net = kind(V1, *PLAN)
    lively(net, torch.randn(8, 3, 9, 20, 2))
    net = net.double()
    with torch.no_grad():
        for block in net.blocks:
            assert isinstance(block, Block)
            block.graph_norm.weight[::2] *= -1  # learnt scales have either sign
    found = folded(net)
    assert isinstance(found, FoldedStack)
    assert not {type(module).__name__ for module in found.modules()} & {
        "BatchNorm1d",
        "BatchNorm2d",
        "Dropout",
    }
    x = torch.randn(2, 8, 20, 3, generator=generator, dtype=torch.float64)
    expected = net.bodies(x).detach()
    assert expected.std() > 0.1
    torch.testing.assert_close(found(x), expected, rtol=1e-9, atol=1e-9)


def test_an_operator_without_a_folded_form_is_left_as_it_is(
    lively: Lively, generator: Generator
) -> None:
    class Nothing(nn.Linear):
        """Mixes no joints."""

        def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
            return super().forward(x)

    net = Stack(20, (4, 6), (1, 2), 0.5, lambda *plan: Block(Nothing, *plan))
    lively(net, torch.randn(8, 3, 9, 20, 2))
    x = torch.randn(2, 8, 20, 3, generator=generator)
    assert torch.equal(folded(net)(x), net.bodies(x))


def test_another_backbone_is_copied_as_it_is(lively: Lively, generator: Generator) -> None:
    class Other(PerBody):
        def __init__(self) -> None:
            super().__init__()
            self.dim = 3
            self.norm = nn.BatchNorm1d(3)
            self.dropout = nn.Dropout(0.5)

        def bodies(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
            return self.dropout(self.norm(x.flatten(0, 2)).view(x.shape))

    net = Other()
    lively(net, torch.randn(4, 3, 9, 20, 2))
    net.train()
    x = torch.randn(2, 4, 20, 3, generator=generator)
    found = folded(net)(x)
    assert torch.equal(found, net.eval().bodies(x))
