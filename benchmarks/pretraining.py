"""One step of pretraining: forward, backward and the optimiser, at the scale of NTU RGB+D.

The baseline is handed views that are made already; ours makes its own within the time. Each is a
process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from asma import efficiency, skeleton, training
from asma.augment import Augment
from asma.backbones import build
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN
from asma.masking import Mask
from asma.methods import Batch
from asma.methods.asma import Asma, AsmaSettings
from asma.training import Step
from asma.views import AsmaViews, ViewConfig
from benchmarks.measure import ROUNDS, Elsewhere, Result, compare, product_rate
from benchmarks.plain import PlainAsma, PlainSTGCN

SETTINGS = AsmaSettings(epochs=1, batch_size=64, learning_rate=1e-4)


@dataclass(frozen=True, eq=False)
class RandomClips:
    """Clips (n, 3, T, V, M) with motion scores (n, T), without labels."""

    x: dict[str, Tensor]
    scores: Tensor
    lengths: Tensor
    labels: Tensor

    @classmethod
    def of(cls, x: Tensor, scores: Tensor) -> RandomClips:
        n = len(x)
        return cls({"joint": x}, scores, x.new_full((n,), x.shape[2]), x.new_zeros(n))

    def motion_scores(self, stream: str) -> Tensor:
        return self.scores

    def __len__(self) -> int:
        return len(self.scores)


def loss_of(method: Asma, clips: RandomClips) -> Callable[[Step], Tensor]:
    """The loss of a step as the loop takes it, its parts added up."""
    method.begin(clips)

    def loss(step: Step) -> Tensor:
        spatial, temporal = method.loss(Batch.cut(clips, step)).values()
        return spatial + temporal

    return loss


def make(
    N: int, projector: int = 6144, frames: int = 50, device: str = "cpu"
) -> tuple[Asma, PlainAsma, Tensor, Tensor]:
    """Our method, the plain one with the same weights, clips (N, 3, T, 25, 2) and motion scores
    (N, T).
    """
    torch.manual_seed(0)
    kinect = skeleton.load("kinect_v2")
    encoder = build(kinect, StackArchitecture())
    assert isinstance(encoder, STGCN)
    views = ViewConfig(kinect, Augment(), Mask())
    settings = replace(SETTINGS, projector=projector)
    ours = Asma({"joint": encoder}, settings, views).to(device).train()
    plain = PlainAsma(PlainSTGCN(encoder), encoder.dim, projector, SETTINGS.redundancy)
    plain.projector.load_state_dict(ours.projector.state_dict())
    x, scores = torch.randn(N, 3, frames, 25, 2), torch.rand(N, frames)
    return ours, plain.to(device).train(), x.to(device), scores.to(device)


def our_step(method: Asma, x: Tensor, scores: Tensor, precision: str) -> Callable[[], Tensor]:
    """A step as `training.fit` takes it."""
    run, device = training.Run(precision=precision), x.device
    optimiser = training.Adam(method.parameters(), lr=1e-4, fused=True)
    loss = loss_of(method, RandomClips.of(x, scores))
    every = Step(torch.arange(len(x), device=device), 0, training.seeded(0, device))

    def step() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        with run.autocast(device):
            value = loss(every)
        value.backward()
        optimiser.step()
        return value.detach()

    return step


def plain_step(
    method: PlainAsma, views: AsmaViews, x: Tensor, scores: Tensor
) -> Callable[[], Tensor]:
    """The same step, plainly, in fp32, on views that are there already."""
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-4)
    made = views(x, scores, training.seeded(0, x.device))

    def step() -> Tensor:
        optimiser.zero_grad()
        value = method.loss(made)
        value.backward()
        optimiser.step()
        return value.detach()

    return step


def peak(whose: str, N: int, precision: str) -> float:
    """Memory that a step takes beyond weights and optimiser, MB; to be called in a process of its
    own.
    """
    if whose == "ours":
        training.Run().start()
    torch.randn(256, 256) @ torch.randn(256, 256)
    before = _status("VmRSS")
    ours, plain, x, scores = make(N)
    step = (
        our_step(ours, x, scores, precision)
        if whose == "ours"
        else plain_step(plain, ours.views, x, scores)
    )
    for _ in range(2):
        step()
    weights = {
        "ours": sum(p.nbytes for p in ours.parameters()),
        "plain": sum(p.nbytes for p in plain.parameters()),
    }
    known = sum(weights.values()) + 2 * weights[whose]  # both methods' weights, one's optimiser
    return _status("VmHWM") - before - known / 2**20


def _status(key: str) -> float:
    """A figure of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def memory(N: int, precision: str) -> Result:
    """Peak memory of both, each in a process of its own."""
    found = {}
    for whose in ("ours", "plain"):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found[whose] = pool.submit(peak, whose, N, precision).result()
    ratio = found["plain"] / found["ours"]
    return Result(
        topic="pretraining", case=f"memory of a step, B = {N}", unit="MB", ours=found["ours"],
        baseline=found["plain"], ratio=ratio, ratio_low=ratio, ratio_high=ratio,
        threads=torch.get_num_threads(), dtype=precision,
    )  # fmt: skip


def step(whose: str, N: int, precision: str) -> Callable[[], Tensor]:
    """What a process of its own repeats: ours as a stage sets it up, the plain one as Python
    starts.
    """
    torch.use_deterministic_algorithms(False)
    if whose == "ours":
        training.Run().start()
        torch.use_deterministic_algorithms(False)
    ours, plain, x, scores = make(N)
    if whose == "ours":
        return our_step(ours, x, scores, precision)
    return plain_step(plain, ours.views, x, scores)


def work(N: int, projector: int = 6144) -> float:
    """Operations (2 a multiply–accumulate) of a step a sample, by the definition of its layers.

    Of the three views one has all joints and frames, one lacks the masked joints, one the masked
    frames; backward is twice forward.
    """
    kinect, mask = skeleton.load("kinect_v2"), Mask()
    encoder = build(kinect, StackArchitecture())
    one = efficiency.count(encoder, torch.zeros(1, 3, 50, len(kinect), 2))["flops"]
    shares = 1 + (1 - mask.joints / len(kinect)) + (1 - mask.frames / 50)
    projecting = 3 * 2 * (encoder.dim * projector + 2 * projector**2)
    losses = 2 * 2 * 2 * N * projector  # two pairs of Gram matrices of the batch, and their product
    return 3 * (one * shares + projecting + losses)


def run(full: bool) -> list[Result]:
    """fp32 and bf16 at B = 64, and with `full` at 128; the limit is the largest product rate of
    the same precision.
    """
    results = []
    for N in (64, 128) if full else (64,):
        for precision in ("fp32", "bf16"):
            limit = product_rate(precision) * 1e9 / work(N)
            with (
                Elsewhere(step, "ours", N, precision) as ours,
                Elsewhere(step, "plain", N, "fp32") as plain,
            ):
                times = compare(ours, plain, ROUNDS if full else 3)
            case = f"step, B = {N}"
            results.append(
                times.result(
                    "pretraining",
                    case,
                    per_second=N,
                    unit="samples/s",
                    limit=limit,
                    dtype=precision,
                )
            )
    if Path("/proc/self/clear_refs").exists():  # Linux
        results += [memory(128 if full else 32, precision) for precision in ("fp32", "bf16")]
    return results
