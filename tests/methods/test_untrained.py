from __future__ import annotations

import torch
from torch import Generator, Tensor

from asma import methods, skeleton
from asma.augment import Augment
from asma.backbones import pool
from asma.backbones.stgcn import STGCN
from asma.methods import Pretrain, untrained
from asma.methods.untrained import Untrained
from asma.training import Run
from asma.views import ViewConfig
from tests.methods.clips import MadeUp

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


def test_the_clips_pass_three_times_and_a_single_left_over_clip_does_not(
    generator: Generator,
) -> None:
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


def test_as_a_method_it_settles_by_the_seed_of_the_training_and_learns_nothing(
    generator: Generator,
) -> None:
    x = clips(generator)
    settled, expected = encoder(), encoder()
    untrained.settle(expected, x, 4, seed=5)
    settings = Pretrain(method="untrained", epochs=7, batch_size=4, learning_rate=0.1)
    method = Untrained({"bone": settled}, settings, ViewConfig(SKELETON, Augment()))
    cpu, clipped = torch.device("cpu"), MadeUp.of(x, "bone")
    curves = methods.train(method, clipped, settings, run=Run(), device=cpu, seed=5, label="test")
    assert curves == {}
    for key, value in expected.state_dict().items():
        assert torch.equal(settled.state_dict()[key], value), key
