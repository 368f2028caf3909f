from __future__ import annotations

import torch
from torch import Generator, Tensor

from asma import skeleton
from asma.backbones import pool
from asma.backbones.stgcn import STGCN
from asma.methods import untrained

SKELETON = skeleton.load("kinect_v1")


def encoder() -> STGCN:
    torch.manual_seed(0)
    return STGCN(SKELETON, (4, 8), (1, 2), 0.5)


def clips(generator: Generator, N: int = 9) -> Tensor:
    return 0.01 * torch.randn(N, 3, 8, 20, 1, generator=generator) + 1


def test_only_normalisation_statistics_change(generator: Generator) -> None:
    net = encoder()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    untrained.settle(net, clips(generator), 4, seed=1)
    for key, value in net.state_dict().items():
        statistic = key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, before[key]) is not statistic, key
    assert all(weight.grad is None and weight.requires_grad for weight in net.parameters())
    assert not net.training


def test_the_clips_pass_three_times_and_a_single_left_over_clip_does_not(generator: Generator) -> None:
    net = encoder()
    untrained.settle(net, clips(generator, 9), 4, seed=1)  # batches of 4, 4 and 1
    assert net.data_norm.num_batches_tracked == 3 * 2


def test_the_statistics_move_towards_those_of_the_clips(generator: Generator) -> None:
    net, x = encoder(), clips(generator, 12)
    untrained.settle(net, x, 12, seed=1)
    own = x.permute(0, 4, 2, 3, 1).reshape(-1, 60)
    assert net.data_norm.running_mean is not None
    expected = (1 - 0.9**3) * own.mean(dim=0)
    torch.testing.assert_close(net.data_norm.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_features_differ_more_between_clips_than_without(generator: Generator) -> None:
    x = clips(generator)
    with torch.no_grad():
        untouched = pool(encoder().eval()(x)).std(dim=0).mean()
        net = encoder()
        untrained.settle(net, x, 3, seed=1)
        assert pool(net(x)).std(dim=0).mean() > 1.5 * untouched


def test_the_same_seed_settles_the_same(generator: Generator) -> None:
    x = clips(generator)
    one, two, other = encoder(), encoder(), encoder()
    for net, seed in ((one, 1), (two, 1), (other, 2)):
        untrained.settle(net, x, 4, seed)
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key])
    statistic = "blocks.1.temporal_norm.running_mean"
    assert not torch.equal(one.state_dict()[statistic], other.state_dict()[statistic])
