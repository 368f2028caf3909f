"""What every backbone must be able to do, whichever row of the table it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import backbones, efficiency, methods, skeleton, training
from asma.augment import Augment
from asma.backbones import BACKBONES, pool, tokens
from asma.backbones.base import PerBody, mean
from asma.backbones.blocks import StackArchitecture
from asma.backbones.dropout import Dropout
from asma.backbones.folded import folded
from asma.masking import Mask
from asma.methods import Batch
from asma.methods.asma import Asma, AsmaSettings
from asma.skeleton import LAYOUTS, Skeleton
from asma.training import Checkpoint, Run
from asma.views import ViewConfig
from tests.methods.clips import MadeUp

KINECT_V1 = skeleton.load("kinect_v1")
Lively = Callable[[nn.Module, Tensor], None]


def build(name: str, dropout: float = 0.0) -> PerBody:
    network = backbones.build(KINECT_V1, StackArchitecture(name, width=4), dropout)
    assert isinstance(network, PerBody)
    return network


@pytest.fixture(params=sorted(BACKBONES))
def net(request: pytest.FixtureRequest) -> PerBody:
    torch.manual_seed(0)
    return build(request.param, 0.5)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(3, 3, 16, 20, 2, generator=generator)


def test_clips_become_a_map_of_the_width_it_names(net: PerBody, x: Tensor) -> None:
    N, frames, joints, width = net.eval()(x).shape
    assert (N, joints, width) == (3, 20, net.dim)
    assert 1 <= frames <= 16


def test_any_joints_can_leave_and_any_number_of_frames_come(net: PerBody, x: Tensor) -> None:
    net.eval()
    assert net(x, torch.tensor([0, 1, 2, 19])).shape[2] == 4
    assert net(x[:, :, :9]).shape[1] < net(x).shape[1]
    assert net(x[..., :1]).shape == net(x).shape


def test_hidden_joints_and_other_samples_have_no_say(net: PerBody, x: Tensor) -> None:
    net.eval()
    kept = torch.tensor([v for v in range(20) if v != 5])
    other = x.clone()
    other[:, :, :, 5], other[1:] = 7.0, -other[1:]
    torch.testing.assert_close(net(other, kept)[0], net(x, kept)[0], rtol=1e-4, atol=1e-6)


def test_every_weight_learns_and_stays_finite(net: PerBody, x: Tensor) -> None:
    net.train()
    (pool(net(x)).square().sum()).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("layout", sorted(path.stem for path in LAYOUTS.glob("*.yaml")))
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_layout_and_plan_gives_thirteen_tokens_of_fifty_frames(
    name: str, layout: str, generator: Generator
) -> None:
    V = len(skeleton.load(layout))
    net = backbones.build(skeleton.load(layout), StackArchitecture(backbone=name, width=3)).eval()
    with torch.no_grad():
        features = net(torch.randn(1, 3, 50, V, 1, generator=generator))
    assert features.shape == (1, 13, V, 256) and net.dim == 256


def test_all_but_the_spatial_operator_is_the_same() -> None:
    parts = []
    for name in BACKBONES:
        state = build(name).state_dict()
        parts.append(
            {k: v.shape for k, v in state.items() if ".graph." not in k and "importance" not in k}
        )
        assert len(parts[-1]) < len(state)
    assert all(part == parts[0] for part in parts)


def without_hands(layout: Skeleton) -> tuple[Skeleton, list[int]]:
    """A skeleton without its hands, which is a tree as well, and the joints it kept."""
    kept = [v for v, name in enumerate(layout.joints) if "hand" not in name and "thumb" not in name]
    place = {v: i for i, v in enumerate(kept)}
    smaller = Skeleton(
        "without_hands",
        tuple(layout.joints[v] for v in kept),
        tuple((place[a], place[b]) for a, b in layout.edges if a in place),
        place[layout.centre],
        (place[layout.shoulders[0]], place[layout.shoulders[1]]),
        tuple(place[layout.mirror[v]] for v in kept),
    )
    return smaller, kept


def cut(net: nn.Module, kept: list[int], V: int) -> dict[str, Tensor]:
    """The weights and graphs of a network, of the joints that are kept."""

    def own(name: str, value: Tensor) -> Tensor:
        if name.startswith("data_norm") and value.ndim:
            return value.view(V, -1)[kept].flatten()
        return value[..., kept, :][..., kept] if value.shape[-2:] == (V, V) else value

    return {
        name: own(name, value) for name, value in [*net.named_parameters(), *net.named_buffers()]
    }


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_removing_joints_is_building_on_what_is_left_of_the_skeleton(
    name: str, training: bool, lively: Lively, generator: Generator
) -> None:
    layout = skeleton.load("kinect_v2")
    smaller, kept = without_hands(layout)
    assert len(kept) == 19 and (smaller.hops >= 0).all()
    how = StackArchitecture(backbone=name, width=4)
    net, other = backbones.build(layout, how).double(), backbones.build(smaller, how).double()
    x = torch.randn(3, 3, 10, 25, 2, generator=generator, dtype=torch.float64)
    lively(net, x)
    with torch.no_grad():
        held = cut(net, kept, 25)
        for key, value in [*other.named_parameters(), *other.named_buffers()]:
            # whose edges count by the degrees in the whole skeleton
            if "adjacency" in key and name != "stgcn":
                assert torch.equal(value, held[key])
            value.copy_(held[key])
    found, expected = (
        n.train(training)(*given)
        for n, given in ((net, (x, torch.tensor(kept))), (other, (x[:, :, :, kept],)))
    )
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected)


def test_a_sample_does_not_depend_on_its_batch(net: PerBody, x: Tensor, lively: Lively) -> None:
    lively(net, x)
    together = net(x)
    for n in range(len(x)):
        torch.testing.assert_close(net(x[n : n + 1])[0], together[n], rtol=1e-4, atol=1e-5)


def test_sixteen_bit_products_give_nearly_the_same_and_train(
    net: PerBody,
    x: Tensor,
    lively: Lively,
) -> None:
    lively(net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pool(net(x))
    expected = pool(net(x))
    assert found.dtype == torch.bfloat16 and not torch.equal(found.float(), expected)
    assert (found.float() - expected).norm() < 0.03 * expected.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pool(net.train()(x, torch.arange(4, 18))).float().square().sum()
    loss.backward()
    assert all(
        weight.grad is not None and weight.grad.isfinite().all() for weight in net.parameters()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_form_for_inference_says_the_same(
    net: PerBody,
    x: Tensor,
    lively: Lively,
    dtype: torch.dtype,
) -> None:
    lively(net, x)
    one = x[..., 0].permute(0, 2, 3, 1)
    found, expected = folded(net).to(dtype)(one.to(dtype)), net.bodies(one).detach()
    if dtype == torch.float32:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (pool(found.float()) - pool(expected)).norm() < 0.03 * pool(expected).norm()


def test_what_is_counted_is_what_is_computed(net: PerBody, x: Tensor, lively: Lively) -> None:
    lively(net, x)
    expected = net(x)
    for module in net.modules():
        if hasattr(module, "definition"):
            vars(module)["forward"] = module.definition
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def test_two_bodies_cost_twice_one_and_half_the_frames_half(net: PerBody) -> None:
    one, two = (efficiency.count(net, torch.zeros(1, 3, 16, 20, M)) for M in (1, 2))
    assert two["macs"] == 2 * one["macs"] > 0
    assert one["params"] == sum(weight.numel() for weight in net.parameters())
    assert 2 * efficiency.count(net, torch.zeros(1, 3, 8, 20, 1))["macs"] == one["macs"]


def pretrained(
    name: str,
    x: Tensor,
    epochs: int,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Tensor]:
    """The weights after so many epochs of a plan of two."""
    torch.manual_seed(0)
    net = build(name)
    views = ViewConfig(KINECT_V1, Augment(), Mask("highdeg_lowmot", joints=5, frames=4))
    settings = AsmaSettings(epochs=2, batch_size=3, learning_rate=0.01, projector=8)

    class Stopped(Asma):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            if epochs < settings.epochs and batch.epoch == epochs:
                raise KeyboardInterrupt
            return super().loss(batch)

    run = Run()
    before = torch.get_deterministic_debug_mode()
    try:
        methods.train(
            Stopped({"joint": net}, settings, views), MadeUp.of(x), settings,
            run=run, device=run.start(), seed=0, label="test", checkpoint=checkpoint,
        )  # fmt: skip
    finally:
        torch.set_deterministic_debug_mode(before)
    return net.state_dict()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_pretraining_repeats_itself_and_is_taken_up_where_it_was_stopped(
    name: str, tmp_path: Path, generator: Generator
) -> None:
    x = torch.randn(6, 3, 10, 20, 1, generator=generator)
    expected, again = pretrained(name, x, 2), pretrained(name, x, 2)
    checkpoint = Checkpoint(tmp_path / "half.safetensors", "key")
    with pytest.raises(KeyboardInterrupt):
        pretrained(name, x, 1, checkpoint)
    resumed = pretrained(name, x, 2, checkpoint)
    for key, value in expected.items():
        assert torch.equal(again[key], value), key
        assert torch.equal(resumed[key], value), key


def test_weights_come_back_from_their_file(
    net: PerBody,
    x: Tensor,
    lively: Lively,
    tmp_path: Path,
) -> None:
    lively(net, x)
    training.save_weights(tmp_path / "weights.safetensors", encoder=net)
    name = next(name for name in BACKBONES if type(build(name)) is type(net))
    other = build(name).eval()
    training.load_weights(tmp_path / "weights.safetensors", encoder=other)
    assert torch.equal(other(x), net(x))
    wrong = next(key for key in BACKBONES if key != name)
    with pytest.raises(training.WeightsError, match="does not fit this encoder"):
        training.load_weights(tmp_path / "weights.safetensors", encoder=build(wrong))


@pytest.mark.slow
def test_a_compiler_follows_the_whole_network(net: PerBody, x: Tensor) -> None:
    assert torch._dynamo.explain(net)(x, torch.arange(3, 17)).graph_break_count == 0


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


def count_bodies(net: PerBody, monkeypatch: pytest.MonkeyPatch) -> list[int]:
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
    net: PerBody,
    x: Tensor,
    who: str,
    kept: list[int] | None,
    lively: Lively,
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
    net: PerBody, x: Tensor, monkeypatch: pytest.MonkeyPatch
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
    net: PerBody,
    x: Tensor,
    lively: Lively,
) -> None:
    lively(net, x)
    with torch.no_grad():
        example = with_absent(x, "the second of some")[:2]
        graph = torch.export.export(
            net, (example,), dynamic_shapes=({0: torch.export.Dim("N")},)
        ).module()
        for who in ABSENT:
            for N in (1, 3):
                clips = with_absent(x, who)[:N]
                torch.testing.assert_close(graph(clips), net(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_same_seed_builds_the_same_network(name: str) -> None:
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(build(name).state_dict())
    assert all(torch.equal(built[0][key], built[1][key]) for key in built[0])
    assert not all(torch.equal(built[0][key], built[2][key]) for key in built[0])


def test_an_unknown_backbone_is_an_error_that_names_the_known() -> None:
    with pytest.raises(
        ValueError, match="encoder.backbone: found 'gru', expected one of stgcn, gin, dgcnn"
    ):
        backbones.build(KINECT_V1, StackArchitecture(backbone="gru"))


def test_an_unknown_partition_is_an_error() -> None:
    with pytest.raises(ValueError, match="partition: found 'near'"):
        backbones.build(KINECT_V1, StackArchitecture(partition="near"))


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
    with pytest.raises(
        ValueError, match="tokens: found 'joints', expected one of time, space_time, pooled"
    ):
        tokens(torch.zeros(1, 1, 1, 1), "joints")


@pytest.mark.parametrize("dims", [(1,), (1, 2), (0, 2)])
def test_the_mean_is_a_mean_in_value_and_gradient(
    dims: tuple[int, ...], generator: Generator
) -> None:
    x = torch.randn(3, 4, 5, generator=generator).requires_grad_()
    found, expected = mean(x, *dims), x.mean(dim=dims)
    torch.testing.assert_close(found, expected)
    a, b = (torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected))
    torch.testing.assert_close(a, b)


def one_by_one(net: PerBody, x: Tensor) -> Tensor:
    """`absent: skipped` by its definition, in evaluation: a body at a time, averaged over who is
    there.
    """
    found = []
    for clip in x:
        people = [body for body in clip.permute(3, 1, 2, 0) if body.any()]
        found.append(torch.stack([net.bodies(body[None])[0] for body in people]).mean(dim=0))
    return torch.stack(found)


@pytest.fixture
def mixed(x: Tensor) -> Tensor:
    """Clips of two people, of one in the first place and of one in the second."""
    x = x.clone()
    x[1, ..., 1] = x[2, ..., 0] = 0
    return x


def test_who_is_skipped_has_no_say(net: PerBody, mixed: Tensor, lively: Lively) -> None:
    lively(net, mixed)
    computed = net(mixed)
    net.absent = "skipped"
    torch.testing.assert_close(net(mixed), one_by_one(net, mixed), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(mixed)[1], computed[1], rtol=1e-2)
    torch.testing.assert_close(net(mixed)[0], computed[0], rtol=1e-4, atol=1e-5)
    swapped = mixed.flip(-1)
    torch.testing.assert_close(net(swapped), net(mixed), rtol=1e-4, atol=1e-5)


def test_who_is_skipped_is_not_normalised_over_either(net: PerBody, mixed: Tensor) -> None:
    net.absent = "skipped"
    for module in net.modules():
        if isinstance(module, Dropout):
            module.probability = 0.0
    alone = mixed[1:].sum(dim=-1, keepdim=True)  # the same people, in clips of one
    torch.testing.assert_close(net.train()(mixed[1:]), net(alone), rtol=1e-3, atol=1e-4)


def test_a_traced_network_skips_the_same_people(
    net: PerBody, mixed: Tensor, lively: Lively, monkeypatch: pytest.MonkeyPatch
) -> None:
    lively(net, mixed)
    net.absent = "skipped"
    expected = net(mixed)
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    torch.testing.assert_close(net(mixed), expected, rtol=1e-4, atol=1e-5)


def test_a_clip_of_nobody_is_its_first_body(net: PerBody, x: Tensor, lively: Lively) -> None:
    lively(net, x)
    net.absent = "skipped"
    empty = torch.zeros_like(x)
    torch.testing.assert_close(net(empty), net(empty[..., :1]), rtol=1e-4, atol=1e-5)
    assert net(empty).isfinite().all()


def test_absent_is_computed_or_skipped() -> None:
    with pytest.raises(
        ValueError, match=r"encoder\.absent: found 'left', expected one of computed, skipped"
    ):
        StackArchitecture(absent="left")
    skipping = backbones.build(KINECT_V1, StackArchitecture(width=2, absent="skipped"))
    assert isinstance(skipping, PerBody) and skipping.absent == "skipped"


def test_a_compiler_in_training_normalises_over_the_same_people(
    net: PerBody, mixed: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.absent = "skipped"
    found = []
    for captured in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda captured=captured: captured)
        for module in net.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.reset_running_stats()
            if isinstance(module, Dropout):
                module.probability = 0.0
        net.train()(mixed)
        found.append([value.clone() for key, value in net.named_buffers() if "running" in key])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
