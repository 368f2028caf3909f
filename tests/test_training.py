from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partialmethod
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from asma import skeleton, training
from asma.backbones.stgcn import STGCN
from asma.training import (
    Checkpoint,
    Curves,
    Fit,
    Loss,
    NotFinite,
    Optimiser,
    Run,
    Schedule,
    Step,
    WeightsError,
)

CPU = torch.device("cpu")
UNSCALED = torch.amp.GradScaler("cpu", enabled=False)
N = 13
X = torch.randn(N, 3, 6, 5, generator=Generator().manual_seed(1))
Y = torch.arange(N) % 4


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """`Run.start` changes torch for the whole process."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


class Toy(nn.Module):
    """All that makes resuming hard: dropout, running statistics, weights that lie channels-last in
    memory.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 4, 3)
        self.unused = nn.Linear(2, 2)
        self.unused.requires_grad_(False)
        for layer in (self.first, self.second):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(F.relu(self.norm(self.first(x))), 0.5, self.training)
        return self.second(h).mean(dim=(2, 3))


def loss_of(module: nn.Module, stop_at: int | None = None) -> Loss:
    """Cross-entropy of noisy clips; raises KeyboardInterrupt at a given call, as a kill would
    come.
    """
    calls = 0

    def loss(step: Step) -> Tensor:
        nonlocal calls
        if calls == stop_at:
            raise KeyboardInterrupt
        calls += 1
        noise = torch.randn(len(step.index), 3, 6, 5, generator=step.generator)
        return F.cross_entropy(module(X[step.index] + 0.1 * noise), Y[step.index])

    return loss


HOW = Fit(epochs=5, batch_size=4, learning_rate=0.02, weight_decay=1e-3, warmup_epochs=1)
STEPS = 3  # an epoch: 4 + 4 + 4, the thirteenth alone is left out


class PointLog:
    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []

    def epoch(self, epoch: int, **metrics: float) -> None:
        self.points.append((epoch, metrics))


def train(
    module: nn.Module,
    how: Fit = HOW,
    *,
    stop_at: int | None = None,
    checkpoint: Checkpoint | None = None,
    log: PointLog | None = None,
    seed: int = 1,
    run: Run | None = None,
) -> list[float]:
    """Train in place; the mean loss of every epoch."""
    return training.fit(
        module, loss_of(module, stop_at), N, how, run=run or Run(), device=CPU, seed=seed,
        label="toy", log=log, curve="error", checkpoint=checkpoint,
    )["error"]  # fmt: skip


def trained(how: Fit = HOW, *, checkpoint: Checkpoint | None = None, seed: int = 1) -> Toy:
    module = Toy()
    train(module, how, checkpoint=checkpoint, seed=seed)
    return module


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


WITHOUT_COMPILER = """
import sys
from pathlib import Path
from torch import amp, nn, zeros
from asma import efficiency, training

how = training.Fit(epochs=2, batch_size=2, learning_rate=0.1)
run = training.Run(device="cpu")
device, module = run.start(), nn.Linear(3, 2)
kept = training.Checkpoint(Path(sys.argv[1]), "key")
loss = lambda step: module(zeros(len(step.index), 3)).sum()
training.fit(module, loss, 4, how, run=run, device=device, seed=1, label="toy", checkpoint=kept)
sgd = training.Optimiser(name="sgd")
other = training.Fit(epochs=1, batch_size=2, learning_rate=0.1, optimiser=sgd, clip_norm=1.0)
training.fit(module, loss, 4, other, run=run, device=device, seed=1, label="toy")
kept.restore(module, training.Adam(module.parameters()), amp.GradScaler("cpu", enabled=False))
efficiency.count(module, zeros(1, 3))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


@pytest.mark.slow
def test_training_saving_and_counting_import_nothing_of_torchs_compiler(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER, str(tmp_path / "kept.safetensors")],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_adam_is_torchs_step_by_step() -> None:
    ours, theirs = Toy(), Toy()
    steppers = [
        kind(
            [p for p in toy.parameters() if p.requires_grad], lr=0.02, weight_decay=1e-3, fused=True
        )
        for kind, toy in ((training.Adam, ours), (torch.optim.Adam, theirs))
    ]
    for step in range(4):
        for optimiser, toy in zip(steppers, (ours, theirs), strict=True):
            torch.manual_seed(step)
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(toy(X), Y).backward()
            optimiser.step()
    assert same(ours, theirs)
    own, plain = (optimiser.state_dict() for optimiser in steppers)
    assert own["param_groups"] == plain["param_groups"]
    for i, state in plain["state"].items():
        assert all(torch.equal(own["state"][i][key], value) for key, value in state.items())
    assert all(p.grad is not None for p in theirs.parameters() if p.requires_grad)
    steppers[0].zero_grad()
    assert all(p.grad is None for p in ours.parameters())


def test_a_run_starts_with_deterministic_algorithms_only() -> None:
    torch.use_deterministic_algorithms(False)
    Run(device="cpu").start()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize(("epochs", "warmup"), [(150, 10), (10, 1), (12, 0), (3, 2), (1, 0)])
def test_the_rate_warms_up_and_falls_along_half_a_cosine(epochs: int, warmup: int) -> None:
    how = Fit(epochs=epochs, batch_size=8, learning_rate=0.4, warmup_epochs=warmup)
    for epoch in range(epochs):
        if epoch < warmup:
            expected = 0.4 / warmup * epoch
        else:
            expected = 0.2 + 0.2 * math.cos(math.pi * (epoch - warmup) / (epochs - warmup))
        assert training.learning_rate(epoch, how) == pytest.approx(expected, abs=1e-12)


def test_the_rate_is_full_when_the_warm_up_is_over() -> None:
    assert (
        training.learning_rate(
            10, Fit(epochs=150, batch_size=8, learning_rate=0.005, warmup_epochs=10)
        )
        == 0.005
    )


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 8, [3]), (1, 8, [1])],
)
def test_a_last_smaller_batch_is_kept_and_a_single_sample_is_not(
    n: int, size: int, sizes: list[int]
) -> None:
    parts = training.batches(n, size, Generator().manual_seed(3))
    assert [len(part) for part in parts] == sizes
    seen = torch.cat(parts).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(n))


def test_every_sample_comes_up_and_their_order_is_drawn() -> None:
    first, second = (
        torch.cat(training.batches(50, 8, Generator().manual_seed(s))).tolist() for s in (1, 2)
    )
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


@pytest.mark.parametrize("size", [2, 4, 5, 50])
def test_a_batch_of_groups_is_of_one_group_and_everybody_comes_up(size: int) -> None:
    order = torch.randperm(26, generator=Generator().manual_seed(1))
    groups = torch.tensor([7] * 13 + [2] * 9 + [5] * 4)[order]
    parts = training.batches(26, size, Generator().manual_seed(3), groups=groups)
    assert all(len(groups[part].unique()) == 1 for part in parts)
    assert sorted(torch.cat(parts).tolist()) == list(range(26))
    for group in (7, 2, 5):
        sizes = [len(part) for part in parts if groups[part[0]] == group]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == max(1, round(sum(sizes) / size))


def test_batches_of_groups_come_in_a_drawn_order() -> None:
    groups = torch.arange(4).repeat(10)
    draws = [training.batches(40, 5, Generator().manual_seed(s), groups=groups) for s in (1, 1, 2)]
    first, again, other = (torch.cat(draw).tolist() for draw in draws)
    assert first == again != other
    of = [int(groups[part[0]]) for part in draws[0]]
    assert of != sorted(of)  # not one person after the other


def test_a_group_of_a_single_sample_is_left_out() -> None:
    parts = training.batches(5, 4, Generator().manual_seed(1), groups=torch.tensor([0, 0, 1, 0, 0]))
    assert [sorted(part.tolist()) for part in parts] == [[0, 1, 3, 4]]


def test_fit_draws_its_batches_within_groups() -> None:
    groups, seen, module = torch.arange(N) % 3, [], Toy()

    def loss(step: Step) -> Tensor:
        seen.append(step.index)
        value = loss_of(module)(step)
        assert isinstance(value, Tensor)
        return value

    training.fit(module, loss, N, HOW, run=Run(), device=CPU, seed=1, label="toy", groups=groups)
    assert seen and all(len(groups[index].unique()) == 1 for index in seen)


def test_training_lowers_the_loss_and_ends_in_evaluation_mode() -> None:
    module = Toy()
    history = train(module, Fit(epochs=40, batch_size=6, learning_rate=0.02))
    assert not module.training
    assert history[-1] < 0.6 * history[0]


def test_the_log_gets_one_point_an_epoch_with_the_rate_of_that_epoch() -> None:
    log = PointLog()
    history = train(Toy(), log=log)
    assert [epoch for epoch, _ in log.points] == list(range(HOW.epochs))
    assert [told["error"] for _, told in log.points] == history
    for epoch, told in log.points:
        assert set(told) == {"error", "error_learning_rate", "error_samples_per_second"}
        assert told["error_learning_rate"] == training.learning_rate(epoch, HOW)
        assert told["error_samples_per_second"] > 0


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    assert same(trained(), trained())
    assert not same(trained(), trained(seed=2))


def test_the_order_is_drawn_anew_every_epoch_and_follows_the_seed() -> None:
    def orders(seed: int) -> list[list[int]]:
        module, seen = nn.Linear(1, 1), []

        def loss(step: Step) -> Tensor:
            seen.append(step.index.tolist())
            return module(torch.ones(len(step.index), 1)).mean()

        how = Fit(epochs=3, batch_size=20, learning_rate=0.1)
        training.fit(module, loss, 20, how, run=Run(), device=CPU, seed=seed, label="toy")
        return seen

    first, second, third = orders(1)
    assert first != second != third != first
    assert orders(1) == [first, second, third]
    assert orders(2)[0] not in (first, second, third)


def test_what_needs_no_gradient_stays() -> None:
    assert torch.equal(trained().unused.weight, Toy().unused.weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_what_epoch_and_step(bad: float) -> None:
    module, calls = nn.Linear(3, 1), 0

    def loss(step: Step) -> Tensor:
        nonlocal calls
        calls += 1
        value = module(torch.ones(len(step.index), 3)).mean()
        return value * (bad if calls == 2 * STEPS + 2 else 1.0)

    log = PointLog()
    with pytest.raises(NotFinite) as caught:
        training.fit(
            module,
            loss,
            N,
            HOW,
            run=Run(),
            device=CPU,
            seed=1,
            label="probe joint",
            log=log,
            curve="linear",
        )
    said = str(caught.value)
    assert said.startswith("probe joint: linear is ")
    assert f"at epoch 2, step 1 of {STEPS}" in said
    assert len(log.points) == 2


@pytest.mark.parametrize("stop_at", [0, 1, STEPS, 2 * STEPS, 2 * STEPS + 1, 5 * STEPS - 1])
def test_a_fit_that_is_killed_and_taken_up_again_ends_as_if_never_stopped(
    tmp_path: Path, stop_at: int
) -> None:
    whole, again = Toy(), Toy()
    history = train(whole)
    checkpoint = Checkpoint(tmp_path / "a" / "toy.safetensors", "key")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(), stop_at=stop_at, checkpoint=checkpoint)
    log = PointLog()
    assert train(again, checkpoint=checkpoint, log=log) == history
    assert [epoch for epoch, _ in log.points] == list(range(stop_at // STEPS, HOW.epochs))
    assert same(again, whole)


def test_a_fit_whose_gradients_are_scaled_is_taken_up_with_its_scale(tmp_path: Path) -> None:
    whole, again, run = Toy(), Toy(), Run(precision="fp16")
    history = train(whole, run=run)
    checkpoint = Checkpoint(tmp_path / "toy.safetensors", "key")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(), stop_at=2 * STEPS, checkpoint=checkpoint, run=run)
    assert train(again, checkpoint=checkpoint, run=run) == history
    assert same(again, whole) and not same(whole, Toy())
    with safe_open(checkpoint.path, framework="pt") as file:
        about = json.loads(file.metadata()["scaler"])
    assert about["scale"] > 1


def test_a_fit_that_is_killed_twice_ends_as_if_never_stopped(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "toy.safetensors", "key")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(Toy(), stop_at=STEPS + 1, checkpoint=checkpoint)
    assert same(trained(checkpoint=checkpoint), trained())


def test_a_finished_checkpoint_leaves_nothing_to_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint(tmp_path / "toy.safetensors", "key")
    whole, again = Toy(), Toy()
    history = train(whole, checkpoint=checkpoint)
    assert train(again, stop_at=0, checkpoint=checkpoint) == history
    assert same(again, whole)
    assert f"going on with epoch {HOW.epochs}" in capsys.readouterr().out


@pytest.mark.parametrize("finished", [True, False])
def test_a_checkpoint_of_another_key_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: bool
) -> None:
    path = tmp_path / "toy.safetensors"
    if finished:
        train(Toy(), seed=2, checkpoint=Checkpoint(path, "seed 2"))
    else:
        with pytest.raises(KeyboardInterrupt):
            train(Toy(), seed=2, stop_at=4, checkpoint=Checkpoint(path, "seed 2"))
    assert same(trained(checkpoint=Checkpoint(path, "seed 1")), trained())
    assert "of other parameters, data or code; starting anew" in capsys.readouterr().out


def test_a_checkpoint_is_replaced_as_one_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "toy.safetensors", "key")
    module = Toy()
    optimiser = torch.optim.Adam(module.parameters())
    checkpoint.save({"loss": [0.5]}, module, optimiser, UNSCALED)
    before = checkpoint.path.read_bytes()

    def killed(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
        path.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"loss": [0.5, 0.4]}, module, optimiser, UNSCALED)
    assert checkpoint.path.read_bytes() == before
    assert checkpoint.restore(module, optimiser, UNSCALED) == {"loss": [0.5]}


@dataclass(frozen=True)
class How:
    rate: float
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Other:
    rate: float
    words: tuple[str, ...] = ()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data file, to stand in."""
    (tmp_path / "data.h5").write_text("data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def key(*of: object) -> str:
    with training.resumable(
        "pretrain", "joint", of=of or (1, How(0.1), Path("data.h5"))
    ) as checkpoint:
        return checkpoint("encoder").key


def test_the_same_parameters_and_data_have_one_fingerprint(project: Path) -> None:
    assert key() == key()
    assert key(1, How(0.1, ("a",))) == key(1, How(0.1, ("a",)))


def test_the_fingerprint_changes_with_parameters(project: Path) -> None:
    data = Path("data.h5")
    keys = [
        key(1, How(0.1), data), key(2, How(0.1), data), key(1, How(0.2), data),
        key(1, How(0.1, ("a",)), data), key(1, Other(0.1), data), key(1, How(0.1)),
        key(How(0.1), 1, data),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_the_fingerprint_changes_with_the_bytes_of_data_and_not_with_their_time(
    project: Path,
) -> None:
    before = key()
    (project / "data.h5").touch()
    assert key() == before
    (project / "data.h5").write_text("something else")
    assert key() != before


def test_checkpoints_stay_when_a_stage_fails_and_go_when_it_ends(project: Path) -> None:
    module = Toy()
    optimiser = torch.optim.Adam(module.parameters())
    path = Path(".resume/pretrain/joint/encoder.safetensors")
    with (
        pytest.raises(KeyboardInterrupt),
        training.resumable("pretrain", "joint", of=(1,)) as checkpoint,
    ):
        checkpoint("encoder").save({"loss": [0.5]}, module, optimiser, UNSCALED)
        raise KeyboardInterrupt
    assert path.is_file()
    with training.resumable("pretrain", "joint", of=(1,)) as checkpoint:
        assert checkpoint("encoder").restore(module, optimiser, UNSCALED) == {"loss": [0.5]}
    assert not path.exists()


def test_two_networks_of_one_stage_keep_apart(project: Path) -> None:
    with training.resumable("pretrain", "joint", of=(1,)) as checkpoint:
        a, b = checkpoint("a"), checkpoint("b")
    assert a.path != b.path
    assert a.key != b.key


def test_frozen_modules_are_in_evaluation_mode_and_ask_for_no_gradient() -> None:
    module = Toy().train()
    with training.frozen(module):
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())
        module(X)


def test_a_frozen_module_whose_statistics_move_is_an_error() -> None:
    module = Toy()
    with (
        pytest.raises(RuntimeError, match="frozen Toy changed.*norm.running_mean"),
        training.frozen(module),
    ):
        module.norm.train()
        module(X)


def test_a_frozen_module_whose_weights_move_is_an_error() -> None:
    still, moved = nn.Linear(2, 2), Toy()
    with (
        pytest.raises(RuntimeError, match="frozen Toy changed.*second.weight"),
        training.frozen(still, moved),
    ):
        moved.second.weight.add_(1.0)


def test_a_frozen_module_in_training_mode_is_an_error() -> None:
    module = nn.Linear(2, 2)
    with (
        pytest.raises(RuntimeError, match="frozen Linear changed: set to training mode"),
        training.frozen(module),
    ):
        module.train()


def test_weights_come_back_with_their_statistics(tmp_path: Path) -> None:
    network, head = trained(), nn.Linear(4, 2)
    path = tmp_path / "deep" / "weights.safetensors"
    training.save_weights(path, encoder=network, head=head)
    torch.manual_seed(9)
    other, other_head = Toy(), nn.Linear(4, 2)
    assert not same(network, other)
    training.load_weights(path, encoder=other, head=other_head)
    assert same(network, other)
    assert same(head, other_head)
    assert other.first.weight.is_contiguous(memory_format=torch.channels_last)


def test_one_module_can_be_taken_from_a_file_of_several(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    training.save_weights(path, encoder=trained(), encoder_head=nn.Linear(4, 2))
    assert {name.split(".")[0] for name in load_file(path)} == {"encoder", "encoder_head"}
    training.load_weights(path, encoder=Toy())


def test_weights_that_do_not_fit_name_the_file_the_module_and_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    training.save_weights(path, head=nn.Linear(4, 2))
    with pytest.raises(WeightsError) as caught:
        training.load_weights(path, head=nn.Linear(4, 3))
    for word in (str(path), "this head", "weight", "[2, 4]", "[3, 4]"):
        assert word in str(caught.value)
    with pytest.raises(WeightsError, match="this encoder"):
        training.load_weights(path, encoder=nn.Linear(4, 2))


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    training.save_weights(a, encoder=trained())
    training.save_weights(b, encoder=trained())
    assert a.read_bytes() == b.read_bytes()
    with safe_open(a, framework="pt") as file:
        assert not file.metadata()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("compile", "yes", "run.compile: found 'yes', expected one of auto, on, off"),
        (
            "precision",
            "fp8",
            "run.precision: found 'fp8', expected one of auto, fp32, tf32, bf16, fp16",
        ),
        ("device", "gpu", "run.device: found 'gpu', expected auto, cpu or cuda"),
        ("threads", -1, "run.threads: found -1"),
    ],
)
def test_a_wrong_value_of_run_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Run(**{key: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [
        ("epochs", -1, 0),
        ("batch_size", 1, 2),
        ("learning_rate", math.nan, 0),
        ("warmup_epochs", -1, 0),
    ],
)
def test_a_schedule_that_cannot_be_is_named(key: str, value: float, least: int) -> None:
    values = {"epochs": 3, "batch_size": 4, "learning_rate": 0.1, key: value}
    with pytest.raises(ValueError, match=f"{key}: found {value}, expected {least} or more"):
        Fit(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_a_start_makes_torch_deterministic_and_names_the_device() -> None:
    assert Run(device="cpu", threads=1).start() == CPU
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Run().start().type == expected


def test_what_need_not_repeat_itself_may_be_asked_for() -> None:
    Run(deterministic=False).start()
    assert not torch.are_deterministic_algorithms_enabled()


def test_tf32_is_refused_where_it_does_not_exist() -> None:
    with pytest.raises(
        ValueError, match="run.precision: found 'tf32' on device cpu, expected a GPU"
    ):
        Run(device="cpu", precision="tf32").start()


@pytest.mark.slow
def test_compiled_networks_train_to_the_same_within_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # traced and differentiated as for a GPU; no compiler of C++ is asked for
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    kinect = skeleton.load("kinect_v1")
    x = torch.randn(4, 3, 12, 20, 1, generator=Generator().manual_seed(1))
    found = []
    for way in ("off", "on", "auto"):
        torch.manual_seed(0)
        net = STGCN(kinect, (4, 8), (1, 2), dropout=0.0)
        names = list(net.state_dict())
        Run(compile=way).accelerate(net, device=CPU)
        assert list(net.state_dict()) == names
        value = net(x, torch.arange(3, 17)).square().sum()
        found.append((value, torch.autograd.grad(value, list(net.parameters()))))
    assert (
        torch._dynamo.explain(STGCN(kinect, (4, 8), (1, 2)))(
            x, torch.arange(3, 17)
        ).graph_break_count
        == 0
    )
    (plain, plain_gradient), (compiled, compiled_gradient), (auto, _) = found
    torch.testing.assert_close(compiled, plain)
    torch.testing.assert_close(compiled_gradient, plain_gradient, rtol=1e-3, atol=1e-3)
    assert torch.equal(auto, plain)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_the_precision_is_that_of_the_products(precision: str, dtype: torch.dtype) -> None:
    with Run(precision=precision).autocast(CPU):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == dtype
    assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32


def test_the_loop_trains_in_the_precision_of_the_run() -> None:
    module, seen = nn.Linear(3, 1), []

    def loss(step: Step) -> Tensor:
        out = module(torch.ones(len(step.index), 3))
        seen.append(out.dtype)
        return out.float().square().mean()

    how = Fit(epochs=1, batch_size=4, learning_rate=0.1)
    training.fit(module, loss, 4, how, run=Run(precision="bf16"), device=CPU, seed=1, label="toy")
    assert seen == [torch.bfloat16]
    assert module.weight.dtype == torch.float32


def test_the_automatic_precision_is_one_of_the_others() -> None:
    settled = Run(precision="auto").settled(CPU)
    assert settled in ("fp32", "bf16")
    assert Run(precision=settled).settled(CPU) == settled


@pytest.mark.parametrize(
    ("flags", "settled"),
    [({"fma", "amx_bf16"}, "bf16"), ({"avx512_bf16"}, "fp32"), ({"avx2"}, "fp32"), (set(), "fp32")],
)
def test_the_automatic_precision_of_a_processor_is_bf16_only_with_tiles(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], settled: str
) -> None:
    monkeypatch.setattr(training, "_cpu_flags", lambda: flags)
    assert Run(precision="auto").settled(CPU) == settled
    assert "AMX" in Run(precision="auto").about(CPU)["precision_because"]
    assert Run(precision="fp32").settled(CPU) == "fp32"


def test_a_warm_up_that_leaves_no_epoch_to_learn_in_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"warmup_epochs: found 4, expected fewer than the 4 epochs"
    ):
        Fit(epochs=4, batch_size=8, learning_rate=0.1, warmup_epochs=4)
    Fit(epochs=0, batch_size=8, learning_rate=0.1)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs_step_by_step(nesterov: bool) -> None:
    rule = Optimiser(name="sgd", momentum=0.8, nesterov=nesterov)
    settings = replace(HOW, learning_rate=0.05, optimiser=rule)
    ours, theirs = Toy(), Toy()
    weights = [p for p in theirs.parameters() if p.requires_grad]
    plain = torch.optim.SGD(weights, 0.05, 0.8, weight_decay=1e-3, nesterov=nesterov)
    pairs = (plain, theirs), (training.optimiser_of(ours, settings), ours)
    for step in range(3):
        for optimiser, toy in pairs:
            torch.manual_seed(step)
            optimiser.zero_grad()
            F.cross_entropy(toy(X), Y).backward()
            optimiser.step()
    assert same(ours, theirs) and not same(ours, Toy())


def plain_loop(module: nn.Module, loss: Loss, n: int, settings: Fit, seed: int) -> list[float]:
    """The loop of before it knew more than Adam and a cosine by epoch, written out."""
    weights = [p for p in module.parameters() if p.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    optimiser = torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=True)
    means = []
    module.train()
    for epoch in range(settings.epochs):
        rate = settings.learning_rate
        if epoch < settings.warmup_epochs:
            rate = rate * epoch / settings.warmup_epochs
        else:
            over = (epoch - settings.warmup_epochs) / (settings.epochs - settings.warmup_epochs)
            rate = rate * 0.5 * (1 + math.cos(math.pi * over))
        optimiser.param_groups[0]["lr"] = rate
        torch.manual_seed(seed * 1_000_003 + epoch)
        generator = Generator().manual_seed(seed * 1_000_003 + epoch)
        shuffle = Generator().manual_seed(seed * 1_000_003 + epoch)
        values = []
        for index in torch.randperm(n, generator=shuffle).split(settings.batch_size):
            if len(index) > 1:
                optimiser.zero_grad()
                value = loss(Step(index, epoch, generator))
                assert isinstance(value, Tensor)
                value.backward()
                optimiser.step()
                values.append(value.detach())
        means.append(float(torch.stack(values).mean()))
    return means


def test_with_nothing_else_said_the_loop_is_the_plain_one_to_the_byte() -> None:
    ours, plain = Toy(), Toy()
    history = train(ours)
    assert history == plain_loop(plain, loss_of(plain), N, HOW, seed=1)
    assert same(ours, plain) and not same(ours, Toy())


STEPS_AT = Schedule(shape="step", at=(0.6, 0.8), factor=0.1)


def test_a_rate_by_steps_falls_at_shares_of_the_epochs() -> None:
    settings = Fit(epochs=50, batch_size=8, learning_rate=0.05, schedule=STEPS_AT)
    rates = [training.learning_rate(epoch, settings) for epoch in range(50)]
    assert rates == pytest.approx([0.05] * 30 + [0.005] * 10 + [0.0005] * 10)
    short = replace(settings, epochs=5)
    expected = [0.05, 0.05, 0.05, 0.005, 0.0005]
    assert [training.learning_rate(epoch, short) for epoch in range(5)] == pytest.approx(expected)


@pytest.mark.parametrize(("share", "epochs", "epoch"), [(0.8333, 300, 250), (0.778, 451, 351)])
def test_a_share_means_the_nearest_epoch(share: float, epochs: int, epoch: int) -> None:
    settings = Fit(epochs=epochs, batch_size=8, learning_rate=1.0)
    reached = [e for e in range(epochs) if settings.reached(share, e)]
    assert reached[0] == epoch and len(reached) == epochs - epoch


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    schedule = Schedule(shape="constant")
    settings = Fit(epochs=4, batch_size=8, learning_rate=0.2, warmup_epochs=2, schedule=schedule)
    rates = [training.learning_rate(epoch, settings) for epoch in range(4)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.2])


class Rates(training.Adam):
    """Writes down the rate of each of its steps."""

    seen: ClassVar[list[float]] = []

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.seen.append(self.param_groups[0]["lr"])
        super().step()


@pytest.mark.parametrize("by", ["epoch", "iteration"])
def test_the_rate_is_set_by_epoch_or_iteration(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Adam", Rates)
    Rates.seen.clear()
    settings = replace(HOW, epochs=4, warmup_epochs=1, schedule=Schedule(by=by))
    train(Toy(), settings)
    share = 1 / STEPS if by == "iteration" else 0.0
    points = [epoch + step * share for epoch in range(4) for step in range(STEPS)]
    expected = []
    for point in points:
        cosine = 0.01 + 0.01 * math.cos(math.pi * (point - 1) / 3)
        expected.append(0.02 * point if point < 1 else cosine)
    assert Rates.seen == pytest.approx(expected)


def test_parts_of_a_batch_add_up_to_the_gradient_of_their_mean() -> None:
    settings = Fit(epochs=1, batch_size=12, learning_rate=0.1, accumulate=3)
    sgd = replace(settings, optimiser=Optimiser(name="sgd", momentum=0.0))
    ours, plain, sizes = Toy(), Toy(), []

    def loss(step: Step) -> Tensor:
        sizes.append(len(step.index))
        torch.manual_seed(len(sizes))  # dropout
        return F.cross_entropy(ours(X[step.index]), Y[step.index])

    history = training.fit(ours, loss, 12, sgd, run=Run(), device=CPU, seed=1, label="toy")
    assert sizes == [4, 4, 4]
    order = torch.randperm(12, generator=Generator().manual_seed(1_000_003))
    total = torch.zeros(())
    for number, part in enumerate(order.split(4), start=1):  # statistics of each by itself
        torch.manual_seed(number)
        total = total + F.cross_entropy(plain.train()(X[part]), Y[part]) / 3
    total.backward()
    assert history["loss"] == pytest.approx([total.item()])
    for name, weight in plain.named_parameters():
        if weight.grad is not None:
            expected = weight - 0.1 * weight.grad
            torch.testing.assert_close(ours.get_parameter(name), expected, msg=name)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), value, msg=name)


@pytest.mark.parametrize(("n", "parts"), [(12, [4, 4, 4]), (7, [3, 2, 2]), (5, [3, 2]), (3, [3])])
def test_no_part_of_a_batch_is_a_single_sample(n: int, parts: list[int]) -> None:
    assert [len(part) for part in training._parts(torch.arange(n), 3)] == parts


def gradient_norms(settings: Fit) -> dict[str, float]:
    """Norms of the gradients of a step, as the optimiser sees them."""
    torch.manual_seed(0)
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    module = nn.ModuleDict({"a": a, "b": b})
    for number, child in enumerate((a, b), start=1):
        nn.init.constant_(child.weight, 0.5 * number)

    def loss(step: Step) -> Tensor:
        clips = torch.ones(len(step.index), 3)
        return a(clips).square().mean() + 3 * b(clips).square().mean()

    training.fit(module, loss, 4, settings, run=Run(), device=CPU, seed=1, label="toy")
    norms = {}
    for name, part in module.items():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        norms[name] = float(torch.cat([g.flatten() for g in gradients]).norm())
    return norms


def test_a_gradient_is_shortened_to_the_norm_as_a_whole_or_child_by_child() -> None:
    settings = Fit(epochs=1, batch_size=4, learning_rate=0.0)
    free = gradient_norms(settings)
    long = math.hypot(*free.values())
    assert min(free.values()) > 2
    whole = gradient_norms(replace(settings, clip_norm=2.0))
    assert whole == pytest.approx({name: 2 * norm / long for name, norm in free.items()}, rel=1e-4)
    each = gradient_norms(replace(settings, clip_norm=2.0, clip_by="child"))
    assert each == pytest.approx({"a": 2.0, "b": 2.0}, rel=1e-4)
    assert gradient_norms(replace(settings, clip_norm=2 * long)) == pytest.approx(free)


def test_the_last_smaller_batch_can_be_left_out() -> None:
    draw = Generator().manual_seed(3)
    assert [len(part) for part in training.batches(10, 4, draw, drop_last=True)] == [4, 4]
    assert [len(part) for part in training.batches(8, 4, draw, drop_last=True)] == [4, 4]
    with pytest.raises(ValueError, match="drop_last: found 3 samples, expected a batch of 4"):
        training.batches(3, 4, draw, drop_last=True)


class Memory(nn.Module):
    """A weight, a weight that follows it, a queue, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query = nn.Linear(4, 4)
        self.twin = self.query
        self.key = nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("queue", torch.randn(5, 4))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def loss(self, step: Step) -> dict[str, Tensor]:
        self.step = step
        assert isinstance(self.queue, Tensor)
        query = self.query(X[step.index].mean(dim=(2, 3)) @ torch.ones(3, 4))
        return {
            "near": (query - self.key(query).detach()).square().mean(),
            "far": (query @ self.queue.T).square().mean(),
        }

    def after_step(self) -> None:
        assert isinstance(self.queue, Tensor) and isinstance(self.written, Tensor)
        with torch.no_grad():
            self.key.weight.lerp_(self.query.weight, 0.1)
            self.queue[self.written % 5] = self.key.weight[0]
            self.written += 1


MEMORY = Fit(
    epochs=4,
    batch_size=4,
    learning_rate=0.01,
    optimiser=Optimiser(name="sgd", nesterov=True),
    schedule=Schedule(by="iteration"),
)


def remember(
    checkpoint: Checkpoint | None = None,
    stop_in: int | None = None,
) -> tuple[Memory, Curves]:
    module = Memory()

    def loss(step: Step) -> dict[str, Tensor]:
        if step.epoch == stop_in:
            raise KeyboardInterrupt
        return module.loss(step)

    history = training.fit(
        module, loss, N, MEMORY, run=Run(), device=CPU, seed=1, label="toy", checkpoint=checkpoint,
        after_step=module.after_step,
    )  # fmt: skip
    return module, history


def test_what_a_module_remembers_is_taken_up_with_it(tmp_path: Path) -> None:
    whole, history = remember()
    assert whole.written == MEMORY.epochs * STEPS
    checkpoint = Checkpoint(tmp_path / "memory.safetensors", "key")
    with pytest.raises(KeyboardInterrupt):
        remember(checkpoint, stop_in=2)
    again, resumed = remember(checkpoint)
    assert resumed == history and same(again, whole)
    assert not torch.equal(whole.key.weight, Memory().key.weight)


def test_every_part_of_a_loss_is_a_curve_beside_their_sum() -> None:
    _, history = remember()
    assert list(history) == ["loss", "loss_near", "loss_far"]
    for total, near, far in zip(*history.values(), strict=True):
        assert total == pytest.approx(near + far) and near != far


def test_a_loss_of_one_part_is_one_curve() -> None:
    module = nn.Linear(3, 1)
    fit = Fit(epochs=1, batch_size=4, learning_rate=0.1)
    history = training.fit(
        module, lambda step: {"only": module(torch.ones(len(step.index), 3)).mean()}, 4, fit,
        run=Run(), device=CPU, seed=1, label="toy", curve="error",
    )  # fmt: skip
    assert list(history) == ["error"]


def test_a_part_that_is_not_finite_is_named() -> None:
    module = nn.Linear(3, 1)

    def loss(step: Step) -> dict[str, Tensor]:
        value = module(torch.ones(len(step.index), 3)).mean()
        return {"good": value, "bad": value * (math.nan if step.epoch == 1 else 1)}

    with pytest.raises(NotFinite, match="toy: loss_bad is nan at epoch 1, step 0 of 3"):
        training.fit(module, loss, N, HOW, run=Run(), device=CPU, seed=1, label="toy")


@pytest.mark.parametrize("within", [True, False])
def test_a_part_that_comes_late_is_an_error(within: bool) -> None:
    module, calls = nn.Linear(3, 1), 0

    def loss(step: Step) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        value = module(torch.ones(len(step.index), 3)).mean()
        parts = {"a": value, "b": value}
        late = calls > 1 if within else step.epoch
        return {**parts, "c": value} if late else parts

    with pytest.raises(ValueError, match=r"the losses .*loss_c, expected loss, loss_a, loss_b as"):
        training.fit(module, loss, N, HOW, run=Run(), device=CPU, seed=1, label="toy")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Optimiser(name="lion"), "optimiser.name: found 'lion', expected one of adam"),
        (lambda: Optimiser(name="sgd", momentum=1.0), "optimiser.momentum: found 1.0"),
        (lambda: Optimiser(nesterov=True), "optimiser.nesterov: found true with adam"),
        (lambda: Schedule(shape="line"), "schedule.shape: found 'line', expected one of cosine"),
        (lambda: Schedule(by="day"), "schedule.by: found 'day', expected one of epoch, iteration"),
        (lambda: Schedule(shape="step"), r"schedule.at: found \(\) for step, expected shares"),
        (lambda: Schedule(at=(0.5,)), r"schedule.at: found \(0.5,\) for cosine, expected none"),
        (lambda: Schedule(shape="step", at=(0.8, 0.6)), "schedule.at: found .* 0 to 1, ascending"),
        (lambda: Schedule(shape="step", at=(351.0,)), "schedule.at: found .* 0 to 1, ascending"),
        (lambda: replace(HOW, accumulate=3), "accumulate: found 3, expected at most half of"),
        (lambda: replace(HOW, clip_by="layer"), "clip_by: found 'layer', expected one of all"),
    ],
)
def test_a_wrong_value_of_the_loop_is_named(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


def test_what_was_frozen_can_learn_again_afterwards() -> None:
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    with training.frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
    assert (net.weight.requires_grad, net.bias.requires_grad) == (True, False)


def test_a_network_that_skips_who_is_absent_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled.append(self))

    class Skipping(nn.Linear):
        absent = "skipped"  # as a backbone says it

    nets = nn.Linear(1, 1), Skipping(1, 1)
    Run(compile="on").accelerate(*nets, device=CPU)
    assert compiled == [nets[0]]


def test_what_was_frozen_can_learn_again_after_an_error() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(KeyError), training.frozen(net):
        raise KeyError
    assert all(p.requires_grad for p in net.parameters())
