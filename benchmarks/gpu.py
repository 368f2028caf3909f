"""An epoch of pretraining at the scale of NTU RGB+D 60, all clips in memory: made for a GPU, runs
anywhere.

    python -m benchmarks.gpu                  # 40 091 clips, the paper's sizes, eager and compiled
    python -m benchmarks.gpu --processes 2    # two at once on one device
    python -m benchmarks.gpu --clips 128 --batch 16 --projector 256      # a try on a small machine

Each variant is trained for one epoch that is not counted and one that is, by the package's own
loop. Printed are samples a second, seconds an epoch of all clips, the share of the largest product
rate measured in the same run, the peak memory, and with --profile what the time of some steps goes
to.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from asma import training
from asma.training import Fit, Run, Step
from benchmarks.measure import product_rate
from benchmarks.pretraining import RandomClips, loss_of, make

NTU60 = 40_091  # training clips of the cross-subject split


@dataclass(frozen=True)
class Case:
    """What is measured."""

    clips: int
    batch: int
    projector: int
    run: Run
    steps: int  # of the epoch that is counted; 0 is all
    profile: bool


@dataclass(frozen=True)
class Measured:
    """One variant on one device."""

    samples_per_second: float
    flops: float  # a second
    memory: float  # GB at the most, 0 where the device does not say
    profile: str


def epoch(case: Case) -> Measured:
    """Train on random clips: two epochs, the second is timed."""
    device = case.run.start()
    method, _, _, _ = make(2, case.projector, device=device.type)
    n = min(case.clips, case.steps * case.batch) if case.steps else case.clips
    x = torch.randn(case.clips, 3, 50, 25, 2, device=device)
    scores = torch.rand(case.clips, 50, device=device)

    loss = loss_of(method, RandomClips.of(x, scores))
    index = torch.arange(min(case.batch, case.clips), device=device)
    with FlopCounterMode(display=False) as counter, case.run.autocast(device):
        loss(Step(index, 0, training.seeded(0, device))).backward()
    case.run.accelerate(*method.networks(), device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def train(samples: int) -> float:
        how = Fit(epochs=1, batch_size=case.batch, learning_rate=1e-4)
        began = time.perf_counter()  # the loop waits for the device at the end of its epoch
        training.fit(method, loss, samples, how, run=case.run, device=device, seed=1, label="epoch")
        return time.perf_counter() - began

    train(n)
    rate = n / train(n)
    table = ""
    if case.profile:
        activities = [
            ProfilerActivity.CPU,
            *([ProfilerActivity.CUDA] if device.type == "cuda" else []),
        ]
        with profile(activities=activities) as seen:
            train(min(n, 5 * case.batch))
        order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        table = seen.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=50)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return Measured(rate, rate * counter.get_total_flops() / len(index), memory, table)


def main() -> None:
    """Every variant, one after the other; with --processes several of each at once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=NTU60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--projector", type=int, default=6144)
    parser.add_argument("--steps", type=int, default=0, help="of the timed epoch; 0 is all")
    parser.add_argument("--processes", type=int, default=1, help="side by side on the device")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compiled networks on a CPU too: minutes of compiling",
    )
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    print(
        f"{torch.cuda.get_device_name() if cuda else 'CPU'}, torch {torch.__version__}", flush=True
    )
    ways = ("off", "on") if cuda or given.compile else ("off",)
    variants = [
        (p, c, True) for p in (("fp32", "tf32", "bf16") if cuda else ("fp32", "bf16")) for c in ways
    ]
    variants.append(("bf16", ways[-1], False))
    for precision, compiled, deterministic in variants:
        run = Run(precision=precision, compile=compiled, deterministic=deterministic)
        case = Case(given.clips, given.batch, given.projector, run, given.steps, given.profile)
        # a process of its own: what one variant compiled and kept is not there for the next
        with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
            found = list(pool.map(epoch, [case] * given.processes))
        peak = product_rate("bf16" if precision == "bf16" else "fp32", device) * 1e9
        rate = sum(one.samples_per_second for one in found)
        print(
            f"{precision} compile {compiled:3} deterministic {deterministic!s:5} "
            f"x {given.processes}: "
            f"{rate:9.1f} samples/s, {given.clips / rate:8.1f} s an epoch, "
            f"{sum(one.flops for one in found) / peak:6.1%} of {peak / 1e12:.1f} TFLOP/s, "
            f"{max(one.memory for one in found):.1f} GB",
            flush=True,
        )
        print(found[0].profile, end="\n" if given.profile else "", flush=True)


if __name__ == "__main__":
    main()
