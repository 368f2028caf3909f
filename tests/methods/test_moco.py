from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.autograd import gradcheck

from asma import losses, methods, skeleton, training
from asma.augment import Augment
from asma.backbones.stgcn import STGCN
from asma.methods import Batch, moco
from asma.methods.moco import Moco, MocoSettings, Queue
from asma.training import Curves, Optimiser, Run
from asma.views import ViewConfig
from tests import golden
from tests.methods.clips import MadeUp

SKELETON = skeleton.load("kinect_v1")
VIEWS = ViewConfig(SKELETON, Augment(crop=6, shear=0.5, rotate=0, tilt=0, flip=0))
SETTINGS = MocoSettings(
    method="toy",
    epochs=3,
    batch_size=4,
    learning_rate=0.05,
    queue=6,
    projection=5,
    key_momentum=0.9,
    optimiser=Optimiser(name="sgd"),
    dropout=0.0,
)


class Toy(Moco):
    """Two streams together; clips are compared with themselves."""

    together = True

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x = self.derived(batch.x["joint"])
        queries, keys = self.queries(x), self.keys(x)
        return {n: losses.info_nce(self.contrasts(n, queries[n], keys[n])) for n in queries}


def build(settings: MocoSettings = SETTINGS, streams: tuple[str, ...] = ("joint", "bone")) -> Toy:
    torch.manual_seed(0)
    encoders = {stream: STGCN(SKELETON, (4, 6), (1, 1), dropout=0.0) for stream in streams}
    return Toy(encoders, settings, VIEWS)


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(13, 3, 8, 20, 1, generator=generator))


def encoder_of(seed: int = 0) -> STGCN:
    torch.manual_seed(seed)
    return STGCN(SKELETON, (4, 6), (1, 1), dropout=0.0)


def queue(method: Toy, stream: str) -> Queue:
    one = method.queues[stream]
    assert isinstance(one, Queue)
    return one


def train(method: Toy, clips: MadeUp, settings: MocoSettings) -> Curves:
    cpu = torch.device("cpu")
    return methods.train(method, clips, settings, run=Run(), device=cpu, seed=1, label="toy")


def test_a_queue_begins_with_random_keys_of_length_one() -> None:
    torch.manual_seed(3)
    one = Queue(7, 5)
    torch.testing.assert_close(one.keys.norm(dim=1), torch.ones(7))
    assert (one.pointer, one.filled) == (0, 0)
    torch.manual_seed(3)
    assert torch.equal(Queue(7, 5).keys, one.keys)


def test_a_queue_holds_the_last_keys_and_the_oldest_go_first() -> None:
    one, entered = Queue(5, 1), []
    first = one.keys.clone()
    for number, count in enumerate((2, 2, 3, 1, 12, 4)):
        keys = torch.arange(count)[:, None] + 100.0 * number
        one.enqueue(keys)
        entered += keys.flatten().tolist()
        filled = min(5, len(entered))
        assert (one.written, one.filled) == (len(entered), filled)
        place = [(len(entered) - filled + i) % 5 for i in range(filled)]
        assert one.keys[place].flatten().tolist() == entered[-filled:]
        if filled < 5:
            assert torch.equal(one.keys[filled:], first[filled:])


def test_a_queue_is_buffers_and_nothing_else() -> None:
    one, other = Queue(5, 2), Queue(5, 2)
    one.enqueue(torch.ones(3, 2))
    assert not list(one.parameters())
    other.load_state_dict(one.state_dict())
    for twin in (one, other):
        twin.enqueue(torch.full((3, 2), 2.0))
    assert torch.equal(one.keys, other.keys) and one.pointer == other.pointer == 1


@pytest.mark.parametrize(("asked", "clips", "size"), [(32768, 430, 215), (6, 13, 6), (7, 13, 6)])
def test_a_queue_is_at_most_half_of_the_set_and_says_so(
    asked: int,
    clips: int,
    size: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert moco.queue_size(asked, clips) == size
    said = capsys.readouterr().out
    if size == asked:
        assert not said
    else:
        half = f"expected at most half of the {clips} clips"
        assert said.startswith(f"pretrain.queue: found {asked}, {half}")
        assert f"the last {size} keys are kept" in said


def test_one_clip_cannot_be_told_from_others() -> None:
    with pytest.raises(ValueError, match="pretrain.queue: found 1 clips to learn from, exp"):
        moco.queue_size(10, 1)


def test_the_size_of_a_shortened_queue_is_told_in_the_record(clips: MadeUp) -> None:
    method = build(replace(SETTINGS, queue=1000))
    assert method.about() == {}
    method.begin(clips)
    assert method.about() == {"queue": 6} and len(queue(method, "bone").keys) == 6


def test_keys_follow_queries_by_the_formula_and_their_statistics_do_not() -> None:
    query = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    key = copy.deepcopy(query)
    with torch.no_grad():
        for weight in query.parameters():
            weight.add_(torch.randn(weight.shape))
    query.train()(torch.randn(8, 3))
    pairs = zip(key.parameters(), query.parameters(), strict=True)
    expected = [0.99 * k + 0.01 * q for k, q in pairs]
    statistics = [value.clone() for value in key.buffers()]
    moco.follow(key, query, 0.99)
    torch.testing.assert_close(list(key.parameters()), expected)
    assert all(torch.equal(a, b) for a, b in zip(key.buffers(), statistics, strict=True))


@torch.no_grad()
def test_weights_begin_as_published_code_draws_them() -> None:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (64, 128), (1, 1))
    importance = [p.clone() for name, p in encoder.named_parameters() if "importance" in name]
    moco.initialise(encoder, 0.02)
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.bias is not None and not module.bias.any()
            mean = 0.0 if isinstance(module, nn.Conv2d) else 1.0
            error = 0.02 / module.weight.numel() ** 0.5
            assert float(module.weight.mean()) == pytest.approx(mean, abs=5 * error)
            assert float(module.weight.std()) == pytest.approx(0.02, rel=5 * error / 0.02)
    after = [p for name, p in encoder.named_parameters() if "importance" in name]
    assert all(torch.equal(a, b) for a, b in zip(importance, after, strict=True))


def weights(method: Toy, which: str) -> list[Tensor]:
    parts = {
        "query": (method.encoders, method.heads),
        "key": (method.key_encoders, method.key_heads),
    }[which]
    return [p.detach().clone() for part in parts for p in part.parameters()]


@pytest.mark.parametrize("deviation", [0.0, 0.02])
def test_key_encoders_begin_as_a_copy_or_on_their_own(deviation: float) -> None:
    copied = build(replace(SETTINGS, init_deviation=deviation))
    pairs = list(zip(weights(copied, "query"), weights(copied, "key"), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    alone = build(replace(SETTINGS, init_deviation=deviation, key_init="independent"))
    pairs = list(zip(weights(alone, "query"), weights(alone, "key"), strict=True))
    matrices = [(a, b) for a, b in pairs if a.ndim > 1 and not (a == 1).all()]
    assert matrices and not any(torch.allclose(a, b, rtol=0.1) for a, b in matrices)
    with torch.no_grad():
        for a, b in matrices:
            # a tenth of the query's weights is in it already
            cosine = F.cosine_similarity(a.flatten(), b.flatten(), dim=0)
            assert cosine < 0.9


@pytest.mark.parametrize("key_init", ["copy", "independent"])
def test_a_training_is_that_of_the_published_order(key_init: str, clips: MadeUp) -> None:
    settings = replace(SETTINGS, key_init=key_init, batch_size=6, epochs=4)
    method = build(settings, ("joint",))
    torch.manual_seed(1)
    method.begin(clips)
    encoder, head = encoder_of(), moco.head(6, 5)
    for module in (encoder, head):
        moco.initialise(module, 0.02)
    slow_encoder, slow_head = copy.deepcopy(encoder), copy.deepcopy(head)
    if key_init == "independent":
        for module in (slow_encoder, slow_head):
            moco.initialise(module, 0.02)
    key = nn.Sequential(slow_encoder, slow_head).train()
    rows = queue(method, "joint").keys.T.clone()  # (D, K)

    curves = train(method, clips, settings)
    query = nn.Sequential(encoder, head).train()
    optimiser = torch.optim.SGD(query.parameters(), lr=0.05, momentum=0.9)
    pointer, expected = 0, []
    for epoch in range(4):
        order = training.batches(13, 6, Generator().manual_seed(1_000_003 + epoch))
        optimiser.param_groups[0]["lr"] = training.learning_rate(epoch, settings)
        values = []
        for index in order:
            x = clips.x["joint"][index]
            z = F.normalize(head(encoder(x).mean(dim=(1, 2))))
            with torch.no_grad():
                for slow_one, fast in zip(key.parameters(), query.parameters(), strict=True):
                    slow_one.copy_(0.9 * slow_one + 0.1 * fast)
                k = F.normalize(slow_head(slow_encoder(x).mean(dim=(1, 2))))
            logits = torch.cat([(z * k).sum(dim=1)[:, None], z @ rows], dim=1) / 0.07
            value = F.cross_entropy(logits, torch.zeros(len(index), dtype=torch.int64))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            values.append(value.item())
            for row in k:
                rows[:, pointer] = row
                pointer = (pointer + 1) % 6
        expected.append(sum(values) / len(values))
    assert curves["info_nce"] == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(queue(method, "joint").keys.T, rows, rtol=1e-3, atol=1e-4)
    assert queue(method, "joint").pointer == pointer


def test_keys_get_no_gradient_and_learn_nothing_by_themselves(clips: MadeUp) -> None:
    method = build().train()
    method.begin(clips)
    torch.stack(list(method.loss(clips.batch(Generator())).values())).sum().backward()
    learning = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert learning == {"encoders", "heads"}
    assert all(p.grad is None for p in [*method.key_encoders.parameters()])
    assert method.key_encoders.training


def test_the_queue_is_written_when_the_step_is_over_and_not_before(clips: MadeUp) -> None:
    method = build().train()
    method.begin(clips)
    before = queue(method, "joint").keys.clone()
    first = method.loss(clips.batch(Generator()))
    assert torch.equal(queue(method, "joint").keys, before)
    second = method.loss(clips.batch(Generator()))  # another part of the same step
    torch.testing.assert_close(second, first)
    method.after_step()
    assert queue(method, "joint").written == queue(method, "bone").written == 26
    assert not torch.isclose(method.loss(clips.batch(Generator()))["joint"], first["joint"])


def test_streams_are_of_the_same_joints_and_have_queues_of_their_own(clips: MadeUp) -> None:
    method = build()
    assert method.inputs(["joint", "motion"]) == ("joint",)
    assert list(build().derived(clips.x["joint"])) == ["joint", "bone"]
    centre = SKELETON.centre
    assert not method.derived(clips.x["joint"])["bone"][:, :, :, centre].any()
    curves = train(method, clips, SETTINGS)
    assert list(curves) == ["info_nce", "info_nce_joint", "info_nce_bone"]
    assert not torch.equal(queue(method, "joint").keys, queue(method, "bone").keys)


def test_sixteen_bit_products_leave_similarities_in_full_precision(clips: MadeUp) -> None:
    method = build().train()
    method.begin(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        queries = method.queries(method.derived(clips.x["joint"]))
        logits = method.contrasts("joint", queries["joint"], queries["joint"])
    assert queries["joint"].dtype == logits.dtype == torch.float32
    query, keys = queries["joint"], queue(method, "joint").keys
    assert torch.equal(logits, losses.contrasts(query, query, keys, 0.07))


def three(generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and negatives of length one, float64."""
    shapes = (4, 8), (4, 8), (16, 8)
    made = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    q, k, negatives = (F.normalize(z) for z in made)
    return q, k, negatives


def test_info_nce_is_the_slow_one_in_value_and_gradient(generator: Generator) -> None:
    q, k, negatives = (z.requires_grad_() for z in three(generator))
    actual = losses.info_nce(losses.contrasts(q, k, negatives, 0.07))
    gradients = torch.autograd.grad(actual, (q, k, negatives))
    slow = q.new_zeros(())
    for n in range(4):
        own = torch.exp((q[n] * k[n]).sum() / 0.07)
        others = sum(torch.exp((q[n] * one).sum() / 0.07) for one in negatives)
        slow = slow - torch.log(own / (own + others)) / 4
    torch.testing.assert_close(actual, slow, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(gradients, torch.autograd.grad(slow, (q, k, negatives)))


def test_the_gradient_of_info_nce_is_that_of_finite_differences() -> None:
    q, k = (golden.signed(4, 8, tensor=t) for t in (1, 2))
    negatives = golden.signed(16, 8, tensor=3)

    def loss(z: Tensor) -> Tensor:
        z = losses.normalised(z)
        return losses.info_nce(losses.contrasts(z, losses.normalised(k), negatives, 0.07))

    assert gradcheck(loss, (q.requires_grad_(),), rtol=1e-4)


def test_info_nce_sees_neither_the_order_of_negatives_nor_a_turn(generator: Generator) -> None:
    q, k, negatives = three(generator)
    expected = losses.info_nce(losses.contrasts(q, k, negatives, 0.2))
    order = torch.randperm(16, generator=generator)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    shuffled = losses.info_nce(losses.contrasts(q, k, negatives[order], 0.2))
    turned = losses.info_nce(losses.contrasts(q @ turn, k @ turn, negatives @ turn, 0.2))
    torch.testing.assert_close([shuffled, turned], [expected, expected])
    assert losses.info_nce(losses.contrasts(q, k.roll(1, 0), negatives, 0.2)) != expected


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"temperature": 0.0}, "pretrain.temperature: found 0.0, expected above 0"),
        ({"queue": 0}, "pretrain.queue: found 0, expected 1 or more"),
        ({"projection": 0}, "pretrain.projection: found 0, expected 1 or more"),
        ({"key_momentum": 1.5}, "pretrain.key_momentum: found 1.5, expected 0 to 1"),
        ({"key_init": "clone"}, "pretrain.key_init: found 'clone', expected one of copy"),
        ({"init_deviation": -1.0}, "pretrain.init_deviation: found -1.0, expected 0 or more"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SETTINGS, **values)  # type: ignore[arg-type]  # wrong on purpose
