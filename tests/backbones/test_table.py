"""What every backbone must be able to do, whichever row of the table it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

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


ABSENT = {
    "nobody": [],
    "the second of some": [(0, 1), (2, 1)],
    "the first of one": [(1, 0)],
    "both of one": [(1, 0), (1, 1)],
    "everybody": [(n, m) for n in range(3) for m in range(2)],
}


def with_absent(x: Tensor, who: str) -> Tensor:
    """Clips (N, C, T, V, M) without the bodies that ABSENT names."""
    x = x.clone()
    for n, m in ABSENT[who]:
        x[n, ..., m] = 0
    return x


def count_bodies(net: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bodies the encoder computes, a number a call from now on."""
    computed: list[int] = []
    bodies = net.bodies

    def counting(x: Tensor, joints: Tensor | None = None) -> Tensor:
        computed.append(len(x))
        return bodies(x, joints)

    monkeypatch.setattr(net, "bodies", counting)
    return computed


@pytest.mark.parametrize("who", ABSENT)
@pytest.mark.parametrize("kept", [None, [0, 1, 2, 7, 19]])
def test_absent_bodies_are_computed_once_with_the_same_answer(
    net: Backbone,
    x: Tensor,
    who: str,
    kept: list[int] | None,
    lively: Callable[[nn.Module, Tensor], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lively(net, x)
    x = with_absent(x, who)
    joints = None if kept is None else torch.tensor(kept)
    expected = net(x, joints)  # with gradients every body is computed
    assert who == "everybody" or expected.std(dim=0).max() > 0.1
    computed = count_bodies(net, monkeypatch)
    with torch.no_grad():
        found = net(x, joints)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)
    absent = len(ABSENT[who])
    assert computed == [6 - absent + (absent > 0)]


def test_absent_bodies_count_in_training_and_for_gradients(
    net: Backbone, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = with_absent(x, "the second of some")
    computed = count_bodies(net, monkeypatch)
    net.train()
    with torch.no_grad():
        net(x)
    net.eval()
    net(x)
    assert computed == [6, 6]


@pytest.mark.slow
def test_an_exported_graph_takes_any_batch_whoever_is_there(
    net: Backbone, x: Tensor, lively: Callable[[nn.Module, Tensor], None]
) -> None:
    lively(net, x)
    with torch.no_grad():
        example = with_absent(x, "the second of some")[:2]
        graph = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
        for who in ABSENT:
            for N in (1, 3):
                clips = with_absent(x, who)[:N]
                torch.testing.assert_close(graph(clips), net(clips), rtol=1e-4, atol=1e-5)


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
