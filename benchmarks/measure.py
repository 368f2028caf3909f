"""Two programs run in turns, what the machine could do at most, and a list of results.

A ratio is taken within a round, where both programs ran one after the other, so that what else the
machine does falls on both; the median over the rounds is reported with the lowest and the highest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Self

import torch

ROUNDS = 5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of `results.json`. `ours` and `baseline` are medians in `unit`; a ratio above 1 is
    in our favour.
    """

    topic: str
    case: str
    unit: str  # of ours, baseline and limit
    ours: float
    baseline: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    limit: float | None = None  # what this machine could do at most, measured in the same run
    share_of_limit: float | None = None
    threads: int = 1
    dtype: str = "fp32"
    device: str = "cpu"


@dataclass(frozen=True)
class Times:
    """Seconds of each round of both programs."""

    ours: list[float]
    baseline: list[float]

    def result(
        self, topic: str, case: str, *, per_second: float | None = None, unit: str = "s",
        limit: float | None = None, dtype: str = "fp32", device: str = "cpu",
    ) -> Result:  # fmt: skip
        """As a Result in seconds, or with per_second (how many `unit`s one call does) as a rate."""
        ratios = [b / o for o, b in zip(self.ours, self.baseline, strict=True)]
        ours, baseline = statistics.median(self.ours), statistics.median(self.baseline)
        if per_second is not None:
            ours, baseline = per_second / ours, per_second / baseline
        share = None
        if limit is not None:
            share = ours / limit if per_second is not None else limit / ours
        return Result(
            topic=topic, case=case, unit=unit, ours=ours, baseline=baseline,
            ratio=statistics.median(ratios), ratio_low=min(ratios), ratio_high=max(ratios),
            limit=limit, share_of_limit=share, threads=torch.get_num_threads(), dtype=dtype,
            device=device,
        )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, the device's queue included."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(
    ours: Callable[[], object], baseline: Callable[[], object], rounds: int = ROUNDS
) -> Times:
    """Both in turns, after one call of each that is not counted; every other round the other one
    begins.
    """
    ours()
    baseline()
    times = Times([], [])
    for i in range(rounds):
        pair = [(ours, times.ours), (baseline, times.baseline)]
        for work, kept in pair if i % 2 == 0 else reversed(pair):
            kept.append(seconds(work))
    return times


class Elsewhere:
    """A program in a process of its own, so that what it sets for its process does not help the
    other one.

    `make(*arguments)` is called there and returns what is to be run; a call of this object runs it
    once and waits.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: object) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def __call__(self) -> None:
        self._pipe.send(True)
        self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._pipe.send(False)
        self._process.join()


def _serve(
    pipe: Connection, make: Callable[..., Callable[[], object]], arguments: tuple[object, ...]
) -> None:
    work = make(*arguments)
    pipe.send(True)
    while pipe.recv():
        work()
        pipe.send(True)


def product_rate(dtype: str, device: str = "cpu", rounds: int = ROUNDS) -> float:
    """The largest rate of a matrix product, in GFLOP/s: the best round of some square sizes."""
    best = 0.0
    for n in (1024, 2048, 3072):
        a = torch.randn(n, n, device=device).to(DTYPES[dtype])
        b = torch.randn(n, n, device=device).to(DTYPES[dtype])
        product = partial(torch.mm, a, b)
        product()
        best = max(best, *(2 * n**3 / seconds(product) / 1e9 for _ in range(rounds)))
    return best


def memory_rate(device: str = "cpu", rounds: int = ROUNDS) -> float:
    """Bytes read and written a second when one large array is copied into another, in GB/s: the
    best round.
    """
    a = torch.ones(2**26, device=device)
    b = torch.empty_like(a)
    b.copy_(a)
    return max(2 * a.nbytes / seconds(lambda: b.copy_(a)) / 1e9 for _ in range(rounds))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within the block torch uses `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
