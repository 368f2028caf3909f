"""The only training loop, and what makes it repeatable: seeds, schedule, checkpoints.

It knows tensors and a function that gives a loss, nothing of skeletons. Data stay on the device; the loop
waits for the device once an epoch.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from inspect import unwrap
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn
from torch.utils import deterministic

from asma.progress import progress

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPILE = ("auto", "on", "off")
WEIGHTS = "weights.safetensors"  # what a stage that trains leaves of each stream


class NotFinite(ValueError):
    """A loss that is NaN or infinite; names what, epoch and step."""


class WeightsError(ValueError):
    """A weights file that does not fit the network that is to hold it."""


class Log(Protocol):
    """What the loop tells of itself."""

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each curve."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How long and how fast: the part that every training section of the parameters shares."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        for key, least in (
            ("epochs", 0),
            ("batch_size", 2),
            ("learning_rate", 0),
            ("weight_decay", 0),
            ("warmup_epochs", 0),
        ):
            if not getattr(self, key) >= least:  # NaN is not either
                raise ValueError(f"{key}: found {getattr(self, key)}, expected {least} or more")
        if 0 < self.epochs <= self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs: found {self.warmup_epochs}, expected fewer than the {self.epochs} epochs: "
                "the rate rises through all of a warm-up, from 0 in its first epoch"
            )


@dataclass(frozen=True)
class Run:
    """Section `run` of the parameters: where and in which precision. Changes no result beyond rounding."""

    device: str = "auto"  # cuda where there is one, else cpu
    precision: str = "fp32"  # of the networks' products; losses and normalised embeddings are never in 16 bits. auto:
    # the faster of bf16 and fp32, see `about`. tf32 exists on NVIDIA GPUs only, for all products
    threads: int = 0  # 0 = as many as torch finds
    compile: str = "auto"  # pretraining's networks by torch.compile: on, off, or where it pays, which is on a GPU
    deterministic: bool = True  # the same bytes from the same stage; False lets torch choose faster kernels

    def __post_init__(self) -> None:
        for key, known in (("precision", ("auto", *PRECISIONS)), ("compile", COMPILE)):
            if getattr(self, key) not in known:
                raise ValueError(f"run.{key}: found {getattr(self, key)!r}, expected one of {', '.join(known)}")
        if self.threads < 0:
            raise ValueError(f"run.threads: found {self.threads}, expected 0 (all) or more")
        if self.device != "auto":
            try:
                torch.device(self.device)
            except RuntimeError as error:
                raise ValueError(f"run.device: found {self.device!r}, expected auto, cpu or cuda") from error

    def start(self) -> torch.device:
        """Set torch up as the parameters say and return the device. Raises ValueError on cuda or tf32 without a GPU."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # use_deterministic_algorithms, less the import of torch's compiler, which has a flag of its own for this
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
            raise ValueError(f"run.device: found {name!r}, expected auto or cpu: torch finds no GPU here")
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        elif self.precision == "tf32":
            raise ValueError(f"run.precision: found 'tf32' on device {name}, expected a GPU for it; or fp32, bf16")
        if self.precision == "auto":
            print("precision {precision}: {precision_because}".format(**self.about(device)), flush=True)
        return device

    def accelerate(self, *networks: nn.Module, device: torch.device) -> None:
        """Have torch compile the networks in place, where `compile` says so; their weights keep their names.

        On a CPU the compiled networks were no faster than the plain ones, so `auto` means a GPU. A network
        that skips who is absent stays as it is: how many people a batch has is not known beforehand.
        """
        networks = tuple(n for n in networks if getattr(n, "absent", "computed") != "skipped")
        if self.compile == "on" or (self.compile == "auto" and device.type == "cuda"):
            torch.use_deterministic_algorithms(self.deterministic)  # here the compiler is to know it too
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
            fast, what = torch.cuda.is_bf16_supported(), f"bf16 in {torch.cuda.get_device_name(device)}"
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
    """Tell glibc to keep freed memory for the next step; giving it back costs page faults, a tenth of a step."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library; only speed is lost
    M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
    for option, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
        mallopt(option, value)


def learning_rate(epoch: int, how: Fit) -> float:
    """Rate of one epoch: linear from 0 over the warm-up (the first epoch has 0), then half a cosine to 0."""
    if epoch < how.warmup_epochs:
        return how.learning_rate * epoch / how.warmup_epochs
    done = (epoch - how.warmup_epochs) / max(1, how.epochs - how.warmup_epochs)
    return how.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def batches(
    n: int,
    size: int,
    generator: Generator,
    device: torch.device | None = None,
    groups: Tensor | None = None,
) -> list[Tensor]:
    """A shuffled epoch of sample numbers; the last, smaller batch is kept unless it is a single sample.

    With groups (n,), on the CPU, all samples of a batch are of one group, which is cut into parts of
    about `size`, none of them smaller than the others by more than one; a group of one is left out.
    The order is drawn by a generator of the CPU, the same for all devices, and moved to the device as one.
    """
    if groups is None:
        parts = list(torch.randperm(n, generator=generator).to(device).split(size))
        return parts if len(parts[-1]) > 1 or len(parts) == 1 else parts[:-1]
    parts = []
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        parts += members.tensor_split(max(1, round(len(members) / size)))
    order = torch.randperm(len(parts), generator=generator).tolist()
    return [parts[i].to(device) for i in order if len(parts[i]) > 1]


def seeded(seed: int, device: torch.device) -> Generator:
    """A generator on the device, and torch's own (initialisation, dropout) set to the same seed."""
    torch.manual_seed(seed)
    return Generator(device).manual_seed(seed)


class Adam(torch.optim.Adam):
    """torch's Adam, less the import of torch's compiler: a second of every start.

    The methods below are the same functions, unwrapped. What they are wrapped in imports `torch._dynamo` at the first
    call, only to have them left out of graphs; nothing here compiles an optimiser. Of a torch that wraps them no more
    they are taken as they are.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def fit(
    module: nn.Module,
    loss: Callable[[Tensor, Generator], Tensor],
    n: int,
    how: Fit,
    *,
    run: Run,
    device: torch.device,
    seed: int,
    label: str,
    log: Log | None = None,
    curve: str = "loss",
    checkpoint: Checkpoint | None = None,
    groups: Tensor | None = None,
) -> list[float]:
    """Train `module` in place: Adam, warm-up and cosine by epoch, the last epoch is the result.

    loss(index, generator) gives the mean loss of the samples `index` (int64, on the device); random draws come from
    the generator. With groups (n,), a batch is of one group: see `batches`. Each epoch seeds itself from `seed`
    and its number, so a run that is taken up again ends as one that was never stopped.
    Returns the mean loss of every epoch. Raises NotFinite.
    """
    optimiser = Adam(
        [p for p in module.parameters() if p.requires_grad],
        lr=how.learning_rate,
        weight_decay=how.weight_decay,
        fused=True,
    )
    # 16-bit floats with 5 bits of exponent: small gradients would vanish
    scaler = torch.amp.GradScaler(device.type, enabled=run.settled(device) == "fp16")
    history = checkpoint.restore(module, optimiser, scaler) if checkpoint else []
    first = len(history)
    module.train()
    for epoch in progress(range(first, how.epochs), label, how.epochs, "epoch", first):
        began = time.perf_counter()
        rate = learning_rate(epoch, how)
        for group in optimiser.param_groups:
            group["lr"] = rate
        generator = seeded(seed * 1_000_003 + epoch, device)
        drawn = Generator().manual_seed(seed * 1_000_003 + epoch)
        order = batches(n, how.batch_size, drawn, device, groups)
        losses = []
        for index in order:
            optimiser.zero_grad(set_to_none=True)
            with run.autocast(device):
                value = loss(index, generator)
            scaler.scale(value).backward()
            scaler.step(optimiser)
            scaler.update()
            losses.append(value.detach())
        values = torch.stack(losses).float().cpu()
        if not values.isfinite().all():
            step = int((~values.isfinite()).nonzero()[0])
            raise NotFinite(
                f"{label}: {curve} is {values[step].item()} at epoch {epoch}, step {step} of {len(order)}; "
                f"lower the learning rate (here {rate:g}) or look at the data"
            )
        history.append(float(values.mean()))
        if log:
            seconds = time.perf_counter() - began
            log.epoch(
                epoch,
                **{
                    curve: history[-1],
                    f"{curve}_learning_rate": rate,
                    f"{curve}_samples_per_second": n / seconds,
                },
            )
        if checkpoint:
            checkpoint.save(history, module, optimiser, scaler)
    module.eval()
    return history


class Checkpoint:
    """State after the last finished epoch, good only for the same parameters, data and code."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def save(
        self, history: list[float], module: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> None:
        """Replace the file as one act, so that a kill leaves the old or the new one."""
        tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
        for i, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in state.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        save_file(
            {k: v.contiguous() for k, v in tensors.items()},
            partial,
            {"key": self.key, "history": json.dumps(history), "scaler": json.dumps(scaler.state_dict())},
        )
        partial.replace(self.path)

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> list[float]:
        """Take the state up where the key is the same; return the losses so far (none: from the start)."""
        if not self.path.is_file():
            return []
        with safe_open(self.path, framework="pt") as file:
            about = file.metadata() or {}
        if about.get("key") != self.key:
            print(f"{self.path}: of other parameters, data or code; starting anew", flush=True)
            return []
        tensors = load_file(self.path)
        module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
        trained = optimiser.param_groups[0]["params"]
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, i, key = name.split(".")
                parameter = trained[int(i)]
                # moments must lie in memory as their weights do: the fused step reads both in storage order
                held = value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
                optimiser.state[parameter][key] = held.to(parameter.device) if held.ndim == 0 else held
        if scaler.is_enabled():
            scaler.load_state_dict(json.loads(about["scaler"]))
        history: list[float] = json.loads(about["history"])
        print(f"{self.path}: going on with epoch {len(history)}", flush=True)
        return history

    def remove(self) -> None:
        """The stage has written what it owed."""
        self.path.unlink(missing_ok=True)


class Checkpoints(Protocol):
    """What `resumable` gives: a checkpoint by the name of what is trained, in a folder of its stream."""

    def __call__(self, name: str, within: str = "") -> Checkpoint: ...


@contextmanager
def resumable(stage: str, run: str, of: tuple[object, ...]) -> Iterator[Checkpoints]:
    """Checkpoints of one run of a stage, in `.resume/`; removed when the block ends well.

    `of`: everything the result depends on, by the run's plan (settings, digests of code) and its data:
    dataclasses and plain values by content, Paths by the file's bytes.
    """
    key = fingerprint(*of)
    made: list[Checkpoint] = []

    def checkpoint(name: str, within: str = "") -> Checkpoint:
        path = Path(".resume", stage, run, within, f"{name}.safetensors")
        made.append(Checkpoint(path, f"{key} {name}"))
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
    """Within the block the modules are in evaluation mode; on leaving, nothing of them may have changed.

    Frozen means parameters and normalisation statistics. What could learn before can learn again
    afterwards. Raises RuntimeError naming what changed.
    """
    learning = [parameter for m in modules for parameter in m.parameters() if parameter.requires_grad]
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
            raise RuntimeError(f"a frozen {type(module).__name__} changed: {changed or 'set to training mode'}")


def save_weights(path: Path, **modules: nn.Module) -> None:
    """Write the modules' parameters and statistics to one safetensors file, under their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{k}": v.detach().cpu().contiguous() for name, m in modules.items() for k, v in m.state_dict().items()
    }
    save_file(tensors, path)


def load_weights(path: Path, **modules: nn.Module) -> None:
    """Read the modules' parameters and statistics back. Raises WeightsError naming what does not fit."""
    tensors = load_file(path)
    for name, module in modules.items():
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise WeightsError(f"{path}: does not fit this {name}: {error}") from error
