"""What every backbone must be able to do, whichever row of the table it is."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from asma import backbones, skeleton
from asma.backbones import BACKBONES, Encoder, pool, tokens
from asma.backbones.base import Backbone, mean

KINECT_V1 = skeleton.load("kinect_v1")


@pytest.fixture(params=sorted(BACKBONES))
def net(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return backbones.build(KINECT_V1, Encoder(backbone=request.param, width=4))


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(3, 3, 16, 20, 2, generator=generator)


def test_clips_become_a_map_of_the_width_it_names(net: Backbone, x: Tensor) -> None:
    N, frames, joints, width = net.eval()(x).shape
    assert (N, joints, width) == (3, 20, net.dim)
    assert 1 <= frames <= 16


def test_any_joints_can_leave_and_any_number_of_frames_come(net: Backbone, x: Tensor) -> None:
    net.eval()
    assert net(x, torch.tensor([0, 1, 2, 19])).shape[2] == 4
    assert net(x[:, :, :9]).shape[1] < net(x).shape[1]
    assert net(x[..., :1]).shape == net(x).shape


def test_hidden_joints_and_other_samples_have_no_say(net: Backbone, x: Tensor) -> None:
    net.eval()
    kept = torch.tensor([v for v in range(20) if v != 5])
    other = x.clone()
    other[:, :, :, 5], other[1:] = 7.0, -other[1:]
    torch.testing.assert_close(net(other, kept)[0], net(x, kept)[0], rtol=1e-4, atol=1e-6)


def test_every_weight_learns_and_stays_finite(net: Backbone, x: Tensor) -> None:
    net.train()
    (pool(net(x)).square().sum()).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_same_seed_builds_the_same_network(name: str) -> None:
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(backbones.build(KINECT_V1, Encoder(backbone=name, width=4)).state_dict())
    assert all(torch.equal(built[0][key], built[1][key]) for key in built[0])
    assert not all(torch.equal(built[0][key], built[2][key]) for key in built[0])


def test_an_unknown_backbone_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match="encoder.backbone: found 'gru', expected one of stgcn"):
        backbones.build(KINECT_V1, Encoder(backbone="gru"))


def test_an_unknown_partition_is_an_error() -> None:
    with pytest.raises(ValueError, match="partition: found 'near'"):
        backbones.build(KINECT_V1, Encoder(partition="near"))


def test_tokens_are_frames_or_frames_and_joints_or_one(generator: Generator) -> None:
    features = torch.randn(2, 3, 4, 5, generator=generator)
    time, space_time, pooled = (tokens(features, kind) for kind in backbones.TOKENS)
    assert (time.shape, space_time.shape, pooled.shape) == ((2, 3, 5), (2, 12, 5), (2, 1, 5))
    for n in range(2):
        for t in range(3):
            expected = sum(features[n, t, v] for v in range(4)) / 4
            torch.testing.assert_close(time[n, t], expected)
            for v in range(4):
                assert torch.equal(space_time[n, 4 * t + v], features[n, t, v])
    torch.testing.assert_close(pooled[:, 0], pool(features))
    torch.testing.assert_close(time.mean(dim=1), pool(features))
    torch.testing.assert_close(space_time.mean(dim=1), pool(features))


def test_another_kind_of_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="tokens: found 'joints', expected one of time, space_time, pooled"):
        tokens(torch.zeros(1, 1, 1, 1), "joints")


@pytest.mark.parametrize("dims", [(1,), (1, 2), (0, 2)])
def test_the_mean_is_a_mean_in_value_and_gradient(dims: tuple[int, ...], generator: Generator) -> None:
    x = torch.randn(3, 4, 5, generator=generator).requires_grad_()
    found, expected = mean(x, *dims), x.mean(dim=dims)
    torch.testing.assert_close(found, expected)
    a, b = (torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected))
    torch.testing.assert_close(a, b)
