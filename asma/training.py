"""The only training loop, and what makes it repeatable: seeds, schedule, checkpoints.

It knows tensors and a function that gives a loss, nothing of skeletons. Data stay on the device;
the loop waits for the device once an epoch.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, reduce
from inspect import unwrap
from operator import add
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn
from torch.utils import deterministic

from asma.progress import progress

PRECISIONS: dict[str, torch.dtype | None] = {
    "fp32": None,
    "tf32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
COMPILE = ("auto", "on", "off")
WEIGHTS = "weights.safetensors"  # what a stage that trains leaves of each stream
OPTIMISERS = ("adam", "sgd")
SHAPES = ("cosine", "step", "constant")
INTERVALS = ("epoch", "iteration")
CLIP_BY = ("all", "child")

Curves = dict[str, list[float]]  # the mean of every epoch, by name
Point = dict[str, float]  # the means of one epoch, by name


class NotFinite(ValueError):
    """A loss that is NaN or infinite; names what, epoch and step."""


class WeightsError(ValueError):
    """A weights file that does not fit the network that is to hold it."""


class Log(Protocol):
    """What the loop tells of itself."""

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each curve."""


@dataclass(frozen=True, eq=False)
class Step:
    """What the loop draws for one step, or for one of the parts whose gradients make a step."""

    index: Tensor  # (N,) int64, which samples, on the device
    epoch: int  # from 0
    generator: Generator  # of the device; all that is random in a step comes from it


Losses = Tensor | Mapping[str, Tensor]  # a scalar, or scalars by name whose sum is trained
Loss = Callable[[Step], Losses]


def expect_one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError, naming the key, unless the value is one of the known words."""
    if value not in (words := list(known)):
        raise ValueError(f"{key}: found {value!r}, expected one of {', '.join(words)}")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """How gradients become steps; the rate and the weight decay stand beside it in `Fit`."""

    name: str = "adam"  # or sgd
    momentum: float = 0.9  # of sgd
    nesterov: bool = False  # of sgd

    def __post_init__(self) -> None:
        expect_one_of("optimiser.name", self.name, OPTIMISERS)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optimiser.momentum: found {self.momentum}, expected 0 to below 1")
        if self.nesterov and (self.name != "sgd" or not self.momentum):
            raise ValueError(
                f"optimiser.nesterov: found true with {self.name} and momentum {self.momentum}, "
                "expected sgd and a momentum above 0"
            )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the rate falls once the warm-up is over."""

    shape: str = "cosine"  # half a cosine to 0; or step, or constant
    at: tuple[float, ...] = ()  # of step: where, as shares of `epochs`, ascending
    factor: float = 0.1  # of step: by what the rate is multiplied at each of them
    by: str = "epoch"  # or iteration: when the rate is set anew, the warm-up's too

    def __post_init__(self) -> None:
        expect_one_of("schedule.shape", self.shape, SHAPES)
        expect_one_of("schedule.by", self.by, INTERVALS)
        if bool(self.at) != (self.shape == "step"):
            expected = "shares of the epochs" if self.shape == "step" else "none"
            raise ValueError(f"schedule.at: found {self.at} for {self.shape}, expected {expected}")
        if any(not 0 <= share <= 1 for share in self.at) or tuple(sorted(self.at)) != self.at:
            raise ValueError(f"schedule.at: found {self.at}, expected shares of 0 to 1, ascending")
        if not self.factor >= 0:
            raise ValueError(f"schedule.factor: found {self.factor}, expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How long, how fast and in what batches: what every training section shares."""

    epochs: int
    batch_size: int
    learning_rate: float  # after the warm-up
    weight_decay: float = 0.0  # of every weight that learns
    warmup_epochs: int = 0  # through which the rate rises from 0 in a straight line
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    clip_norm: float = 0.0  # longest gradient, Euclidean over all weights; 0 = as long as it is
    clip_by: str = "all"  # or child: each child of the trained module has a norm of its own
    accumulate: int = 1  # parts of a batch, each a forward and backward pass of its own
    drop_last: bool = False  # leave out the last batch of an epoch where it is smaller

    def __post_init__(self) -> None:
        for key, least in (
            ("epochs", 0),
            ("batch_size", 2),
            ("learning_rate", 0),
            ("weight_decay", 0),
            ("warmup_epochs", 0),
            ("clip_norm", 0),
            ("accumulate", 1),
        ):
            if not getattr(self, key) >= least:  # NaN is not either
                raise ValueError(f"{key}: found {getattr(self, key)}, expected {least} or more")
        expect_one_of("clip_by", self.clip_by, CLIP_BY)
        if 0 < self.epochs <= self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs: found {self.warmup_epochs}, "
                f"expected fewer than the {self.epochs} epochs: "
                "the rate rises through all of a warm-up, from 0 in its first epoch"
            )
        if 2 * self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate: found {self.accumulate}, "
                f"expected at most half of batch_size, here {self.batch_size}: "
                "batch statistics need two samples in every part"
            )

    def reached(self, share: float, epoch: int) -> bool:
        """Whether a share of the epochs is over when an epoch (from 0) begins; to the nearest."""
        return epoch >= round(share * self.epochs)


@dataclass(frozen=True)
class Run:
    """Section `run` of the parameters: where and in which precision. Changes no result beyond
    rounding.
    """

    device: str = "auto"  # cuda where there is one, else cpu
    # of the networks' products; losses and normalised embeddings are never in 16 bits. auto: the
    # faster of bf16 and fp32, see `about`. tf32 exists on NVIDIA GPUs only, for all products
    precision: str = "fp32"
    threads: int = 0  # 0 = as many as torch finds
    # pretraining's networks by torch.compile: on, off, or where it pays, which is on a GPU
    compile: str = "auto"
    # the same bytes from the same stage; False lets torch choose faster kernels
    deterministic: bool = True

    def __post_init__(self) -> None:
        for key, known in (("precision", ("auto", *PRECISIONS)), ("compile", COMPILE)):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"run.{key}: found {getattr(self, key)!r}, expected one of {', '.join(known)}"
                )
        if self.threads < 0:
            raise ValueError(f"run.threads: found {self.threads}, expected 0 (all) or more")
        if self.device != "auto":
            try:
                torch.device(self.device)
            except RuntimeError as error:
                raise ValueError(
                    f"run.device: found {self.device!r}, expected auto, cpu or cuda"
                ) from error

    def start(self) -> torch.device:
        """Set torch up as the parameters say and return the device. Raises ValueError on cuda or
        tf32 without a GPU.
        """
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # use_deterministic_algorithms, less the import of torch's compiler, which has a flag of
        # its own for this
        torch.set_deterministic_debug_mode("error" if self.deterministic else "default")
        # filling fresh memory with NaN is for finding bugs; it costs a fifth of a step
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
        _keep_freed_memory()
        if self.threads:
            torch.set_num_threads(self.threads)
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"run.device: found {name!r}, expected auto or cpu: torch finds no GPU here"
            )
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = (
                self.precision == "tf32"
            )
        elif self.precision == "tf32":
            raise ValueError(
                f"run.precision: found 'tf32' on device {name}, "
                "expected a GPU for it; or fp32, bf16"
            )
        if self.precision == "auto":
            print(
                "precision {precision}: {precision_because}".format(**self.about(device)),
                flush=True,
            )
        return device

    def accelerate(self, *networks: nn.Module, device: torch.device) -> None:
        """Have torch compile the networks in place, where `compile` says so; their weights keep
        their names.

        On a CPU the compiled networks were no faster than the plain ones, so `auto` means a GPU. A
        network that skips who is absent stays as it is: how many people a batch has is not known
        beforehand.
        """
        networks = tuple(n for n in networks if getattr(n, "absent", "computed") != "skipped")
        if self.compile == "on" or (self.compile == "auto" and device.type == "cuda"):
            # here the compiler is to know it too
            torch.use_deterministic_algorithms(self.deterministic)
            for network in networks:
                network.compile(dynamic=False)

    def settled(self, device: torch.device) -> str:
        """The precision, `auto` decided for the device."""
        return self.about(device)["precision"]

    def about(self, device: torch.device) -> dict[str, str]:
        """The precision and why, for a run's record.

        On a processor bf16 pays with AMX alone: with avx512_bf16, two numbers at a time but no tile
        of them, a step of pretraining took 1.4 times as long as in fp32. A measurement in its place
        could come out otherwise the next time, and a resumed run would not be the same.
        """
        if self.precision != "auto":
            return {"precision": self.precision, "precision_because": "run.precision says so"}
        if device.type == "cuda":
            fast, what = (
                torch.cuda.is_bf16_supported(),
                f"bf16 in {torch.cuda.get_device_name(device)}",
            )
        else:
            fast, what = "amx_bf16" in _cpu_flags(), "AMX for bf16 in this processor"
        return {
            "precision": "bf16" if fast else "fp32",
            "precision_because": f"there is {what}" if fast else f"there is no {what}",
        }

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The precision as a context for forward passes."""
        dtype = PRECISIONS[self.settled(device)]
        return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


@cache  # asked at every step
def _cpu_flags() -> set[str]:
    """What Linux says the processor can do; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step; giving it back costs page faults, a tenth
    of a step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library; only speed is lost
    M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
    for option, value in (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 2**26),
    ):
        mallopt(option, value)


def learning_rate(epoch: float, settings: Fit) -> float:
    """Rate at a point of the training, in epochs from 0; a whole number is the begin of an epoch.

    In the warm-up a straight line from 0, which the first epoch has; then by the schedule: half a
    cosine to 0, or a factor for each share of all epochs that is over, or constant.
    """
    if epoch < settings.warmup_epochs:
        return settings.learning_rate * epoch / settings.warmup_epochs
    if settings.schedule.shape == "constant":
        return settings.learning_rate
    if settings.schedule.shape == "step":
        # shares are rounded to whole epochs, so that 0.8333 is five sixths whatever the epochs
        over = sum(settings.reached(share, int(epoch)) for share in settings.schedule.at)
        return settings.learning_rate * settings.schedule.factor**over
    done = (epoch - settings.warmup_epochs) / max(1, settings.epochs - settings.warmup_epochs)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def batches(
    n: int,
    size: int,
    generator: Generator,
    device: torch.device | None = None,
    drop_last: bool = False,
    groups: Tensor | None = None,
) -> list[Tensor]:
    """A shuffled epoch of sample numbers, int64.

    The last, smaller batch is kept unless it is a single sample or `drop_last` says otherwise. The
    order is drawn by a generator of the CPU, the same for all devices, and moved to the device as
    one. Raises ValueError where nothing would be left.

    With groups (n,), on the CPU, all samples of a batch are of one group, which is cut into parts
    of about `size`, none smaller than the others by more than one; a group of one is left out.
    """
    if groups is not None:
        parts = []
        for group in groups.unique():
            members = (groups == group).nonzero()[:, 0]
            members = members[torch.randperm(len(members), generator=generator)]
            parts += members.tensor_split(max(1, round(len(members) / size)))
        order = torch.randperm(len(parts), generator=generator).tolist()
        return [parts[i].to(device) for i in order if len(parts[i]) > 1]
    parts = list(torch.randperm(n, generator=generator).to(device).split(size))
    if drop_last and len(parts[-1]) < size:
        if len(parts) == 1:
            raise ValueError(f"drop_last: found {n} samples, expected a batch of {size} or more")
        return parts[:-1]
    return parts if len(parts[-1]) > 1 or len(parts) == 1 else parts[:-1]


def seeded(seed: int, device: torch.device) -> Generator:
    """A generator on the device, and torch's own (initialisation, dropout) set to the same seed."""
    torch.manual_seed(seed)
    return Generator(device).manual_seed(seed)


class Adam(torch.optim.Adam):
    """torch's Adam, less the import of torch's compiler: a second of every start.

    The methods below are the same functions, unwrapped. What they are wrapped in imports
    `torch._dynamo` at the first call, only to have them left out of graphs; nothing here compiles
    an optimiser. Of a torch that wraps them no more they are taken as they are.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class SGD(torch.optim.SGD):
    """torch's SGD, less the same import."""

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


def optimiser_of(module: nn.Module, settings: Fit) -> torch.optim.Optimizer:
    """The optimiser that the settings name, of all weights of the module that learn."""
    weights = [p for p in module.parameters() if p.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser.name == "adam":
        return Adam(weights, lr=rate, weight_decay=decay, fused=True)
    momentum, nesterov = settings.optimiser.momentum, settings.optimiser.nesterov
    # torch's fused SGD cannot take a weight whose first gradient comes late, as in later stages
    return SGD(weights, lr=rate, weight_decay=decay, momentum=momentum, nesterov=nesterov)


def fit(
    module: nn.Module,
    loss: Loss,
    n: int,
    settings: Fit,
    *,
    run: Run,
    device: torch.device,
    seed: int,
    label: str,
    log: Log | None = None,
    curve: str = "loss",
    checkpoint: Checkpoint | None = None,
    groups: Tensor | None = None,
    after_step: Callable[[], None] | None = None,
) -> Curves:
    """Train `module` in place on n samples; the last epoch is the result.

    loss(step) gives the mean loss of the samples step.index as a scalar, or its parts by name, the
    same names at every step; their sum is trained. Random draws come from step.generator. Each
    epoch seeds itself from `seed` and its number, so a run that is taken up again ends as one that
    was never stopped, if all that the module remembers is in its state_dict.

    With groups (n,), a batch is of one group: see `batches`. after_step is called when the weights
    have moved, e.g. for encoders that follow them.

    Returns the mean of every epoch: `curve` of the loss and, where it has several parts,
    `<curve>_<part>` of each. Raises NotFinite; ValueError where a part comes or goes.
    """
    optimiser = optimiser_of(module, settings)
    # 16-bit floats with 5 bits of exponent: small gradients would vanish
    scaler = torch.amp.GradScaler(device.type, enabled=run.settled(device) == "fp16")
    history = checkpoint.restore(module, optimiser, scaler) if checkpoint else {}
    first = len(history.setdefault(curve, []))
    module.train()
    for epoch in progress(range(first, settings.epochs), label, settings.epochs, "epoch", first):
        began = time.perf_counter()
        rate = learning_rate(epoch, settings)
        generator = seeded(seed * 1_000_003 + epoch, device)
        shuffle = Generator().manual_seed(seed * 1_000_003 + epoch)
        order = batches(n, settings.batch_size, shuffle, device, settings.drop_last, groups)
        steps = []
        for number, index in enumerate(order):
            if settings.schedule.by == "iteration":
                rate = learning_rate(epoch + number / len(order), settings)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            parts = _parts(index, settings.accumulate)
            values: dict[str, Tensor] = {}
            for part in parts:
                with run.autocast(device):
                    losses = loss(Step(part, epoch, generator))
                for name, value in _by_curve(losses, curve).items():
                    if len(parts) > 1:
                        value = value / len(parts)
                    if name == curve:
                        scaler.scale(value).backward()
                    value = value.detach()
                    values[name] = values[name] + value if name in values else value
            steps.append(values)
            if settings.clip_norm:
                scaler.unscale_(optimiser)
                _clip(module, settings)
            scaler.step(optimiser)
            scaler.update()
            if after_step:
                after_step()
        _check_names(steps, history if history[curve] else steps[0], f"{label}: epoch {epoch}")
        for name, mean in _means(steps, label, epoch, rate).items():
            history.setdefault(name, []).append(mean)
        if log:
            speed = n / (time.perf_counter() - began)
            about = {f"{curve}_learning_rate": rate, f"{curve}_samples_per_second": speed}
            log.epoch(epoch, **{name: values[-1] for name, values in history.items()}, **about)
        if checkpoint:
            checkpoint.save(history, module, optimiser, scaler)
    module.eval()
    return history


def _parts(index: Tensor, count: int) -> tuple[Tensor, ...]:
    """A batch (N,) in nearly equal parts: fewer than `count` where a part would be one sample."""
    return index.tensor_split(max(1, min(count, len(index) // 2)))


def _by_curve(losses: Losses, curve: str) -> dict[str, Tensor]:
    """The loss that is trained, by the name of its curve, and its parts where it has several."""
    if isinstance(losses, Tensor):
        return {curve: losses}
    parts = {f"{curve}_{name}": value for name, value in losses.items()}
    return {curve: reduce(add, losses.values()), **(parts if len(parts) > 1 else {})}


def _clip(module: nn.Module, settings: Fit) -> None:
    """Shorten gradients that are longer than `clip_norm`: all together, or child by child."""
    for of in module.children() if settings.clip_by == "child" else [module]:
        nn.utils.clip_grad_norm_(of.parameters(), settings.clip_norm)


def _check_names(steps: Iterable[Collection[str]], expected: Collection[str], where: str) -> None:
    """Raise ValueError unless every step of an epoch has the losses that there were before."""
    for step in steps:
        if set(step) != set(expected):
            raise ValueError(
                f"{where}: found the losses {', '.join(step)}, expected {', '.join(expected)} as "
                "before; a part that has no say yet is a zero"
            )


def _means(steps: list[dict[str, Tensor]], label: str, epoch: int, rate: float) -> Point:
    """Means over the steps of an epoch, by curve; waits for the device."""
    total, *parts = steps[0]
    values = {name: torch.stack([step[name] for step in steps]).float().cpu() for name in steps[0]}
    wrong = (~values[total].isfinite()).nonzero()
    if len(wrong):
        step = int(wrong[0])
        name = next((name for name in parts if not values[name][step].isfinite()), total)
        raise NotFinite(
            f"{label}: {name} is {values[name][step].item()} at epoch {epoch}, step {step} of "
            f"{len(steps)}; lower the learning rate (here {rate:g}) or look at the data"
        )
    return {name: float(value.mean()) for name, value in values.items()}


class Checkpoint:
    """State after the last finished epoch, good only for the same parameters, data and code."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def save(
        self,
        history: Curves,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> None:
        """Replace the file as one act, so that a kill leaves the old or the new one."""
        tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
        for i, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in state.items() if v is not None}
        about = {
            "key": self.key,
            "history": json.dumps(history),
            "scaler": json.dumps(scaler.state_dict()),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        save_file(_apart(tensors), partial, about)
        partial.replace(self.path)

    def restore(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> Curves:
        """Take the state up where the key is the same; return the curves so far (none: anew)."""
        if not self.path.is_file():
            return {}
        with safe_open(self.path, framework="pt") as file:
            about = file.metadata() or {}
        if about.get("key") != self.key:
            print(f"{self.path}: of other parameters, data or code; starting anew", flush=True)
            return {}
        tensors = load_file(self.path)
        module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
        trained = optimiser.param_groups[0]["params"]
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, i, key = name.split(".")
                parameter = trained[int(i)]
                # moments must lie in memory as their weights do: the fused step reads both in
                # storage order
                held = value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
                optimiser.state[parameter][key] = (
                    held.to(parameter.device) if held.ndim == 0 else held
                )
        if scaler.is_enabled():
            scaler.load_state_dict(json.loads(about["scaler"]))
        history: Curves = json.loads(about["history"])
        print(f"{self.path}: going on with epoch {len(next(iter(history.values())))}", flush=True)
        return history

    def remove(self) -> None:
        """The stage has written what it owed."""
        self.path.unlink(missing_ok=True)


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values, each in memory of its own: modules may share a weight, a file may not."""
    apart, seen = {}, set()
    for name, value in tensors.items():
        value = value.contiguous()
        apart[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return apart


class Checkpoints(Protocol):
    """What `resumable` gives: the checkpoint of what is named, in its stream's folder."""

    def __call__(self, name: str, within: str = "") -> Checkpoint: ...


@contextmanager
def resumable(stage: str, run: str, of: tuple[object, ...]) -> Iterator[Checkpoints]:
    """Checkpoints of one run of a stage, in `.resume/`; removed when the block ends well.

    `of`: everything the result depends on, by the run's plan (settings, digests of code) and its
    data: dataclasses and plain values by content, Paths by the file's bytes.
    """
    key = fingerprint(*of)
    made: list[Checkpoint] = []

    def checkpoint(name: str, within: str = "") -> Checkpoint:
        path = Path(".resume", stage, run, within, f"{name}.safetensors")
        made.append(Checkpoint(path, f"{key} {within} {name}"))
        return made[-1]

    yield checkpoint
    for one in made:
        one.remove()


def fingerprint(*parts: object) -> str:
    """SHA-256 over values and files; a Path stands for the bytes of its file."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(f"{part.name}:".encode() + hashlib.sha256(part.read_bytes()).digest())
        elif is_dataclass(part) and not isinstance(part, type):
            digest.update(json.dumps([type(part).__name__, asdict(part)], sort_keys=True).encode())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block the modules are in evaluation mode; on leaving, nothing of them may have
    changed.

    Frozen means parameters and normalisation statistics. What could learn before can learn again
    afterwards. Raises RuntimeError naming what changed.
    """
    learning = [
        parameter for m in modules for parameter in m.parameters() if parameter.requires_grad
    ]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in modules]
    for module in modules:
        module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
    for module, held in zip(modules, before, strict=True):
        changed = [k for k, v in module.state_dict().items() if not torch.equal(v, held[k])]
        if changed or module.training:
            raise RuntimeError(
                f"a frozen {type(module).__name__} changed: {changed or 'set to training mode'}"
            )


def save_weights(path: Path, **modules: nn.Module) -> None:
    """Write the modules' parameters and statistics to one safetensors file, under their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{k}": v.detach().cpu().contiguous()
        for name, m in modules.items()
        for k, v in m.state_dict().items()
    }
    save_file(tensors, path)


def load_weights(path: Path, **modules: nn.Module) -> None:
    """Read the modules' parameters and statistics back. Raises WeightsError naming what does not
    fit.
    """
    tensors = load_file(path)
    for name, module in modules.items():
        own = {
            k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")
        }
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise WeightsError(f"{path}: does not fit this {name}: {error}") from error
