"""ST-GCN against numbers of its published code, filled by the rule of tests/golden.py, float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asma import backbones, skeleton
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN
from tests import golden

KINECT = skeleton.load("kinect_v2")


@pytest.fixture
def net() -> STGCN:
    network = backbones.build(KINECT, StackArchitecture()).double().eval()
    assert isinstance(network, STGCN)
    filler = golden.Filler()
    filler.stgcn(network)
    assert filler.next == 152
    return network


@pytest.fixture
def x() -> Tensor:
    return golden.signed(2, 3, 50, 25, 2)


def expect(embedding: Tensor, first: list[float], total: float) -> None:
    assert embedding.shape == (2, 256)
    assert embedding[0, :5].tolist() == pytest.approx(first, rel=1e-4, abs=1e-7)
    assert float(embedding.sum()) == pytest.approx(total, rel=1e-4)


@torch.no_grad()
def test_the_whole_clip(net: STGCN, x: Tensor) -> None:
    first = [1.5792918, 0.13899827, 1.0949981, 0.21213971, 0.0027468397]
    expect(net.pool(net(x)), first, 712.182855)


@torch.no_grad()
def test_without_five_joints(net: STGCN, x: Tensor) -> None:
    kept = torch.tensor([v for v in range(25) if v not in (0, 1, 4, 8, 20)])
    first = [1.2078147, 0.17064642, 0.96755783, 0.19852371, 0.0018249882]
    expect(net.pool(net(x, kept)), first, 602.901551)


@torch.no_grad()
def test_ten_frames_alone(net: STGCN, x: Tensor) -> None:
    frames = x[:, :, [0, 3, 4, 5, 9, 20, 21, 22, 30, 49]]
    first = [1.5684379, 0.44580514, 0.33060098, 0.65781356, 0.0]
    expect(net.pool(net(frames)), first, 381.052868)


@torch.no_grad()
def test_a_second_body_of_zeros(net: STGCN, x: Tensor) -> None:
    x[..., 1] = 0
    first = [1.2088695, 0.132682, 0.80847056, 0.13822684, 0.0025085815]
    expect(net.pool(net(x)), first, 529.922064)


@torch.no_grad()
def test_by_the_statistics_of_the_batch(net: STGCN, x: Tensor) -> None:
    first = [0.48181722, 0.70958426, 0.42477829, 0.49159869, 0.52858879]
    expect(net.train().pool(net(x)), first, 277.414623)
    assert net.data_norm.running_mean is not None
    moved = [-0.072646042, 0.080067444, 0.030173037]
    assert net.data_norm.running_mean[:3].tolist() == pytest.approx(moved, rel=1e-4)


@torch.no_grad()
def test_with_a_classifier(net: STGCN, x: Tensor) -> None:
    classifier = nn.Linear(256, 60).double()
    filler = golden.Filler()
    filler.next = 152
    filler.map(classifier)
    logits = classifier(net.pool(net(x)))
    first = [-5.421805, 2.4263916, 0.36708283, 0.57278154, 0.88060322]
    assert logits[0, :5].tolist() == pytest.approx(first, rel=1e-4)
    assert float(logits.sum()) == pytest.approx(21.064313, rel=1e-4)


def test_the_graph_and_its_three_subsets() -> None:
    adjacency = torch.from_numpy(KINECT.adjacency("max_hop")).double()
    assert adjacency.sum(dim=(1, 2)).tolist() == pytest.approx([8.95, 13.3, 2.75])
    place = torch.arange(1, adjacency.numel() + 1).view_as(adjacency)
    assert float((adjacency * place).sum()) == pytest.approx(19727.083333)
