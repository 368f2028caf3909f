"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def progress(items: Iterable[T], label: str, total: int, unit: str, first: int = 0) -> Iterator[T]:
    """The same items, `total` in all, reported under `label`; `first` of them were done before."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, initial=first, unit=unit, leave=False)
        return
    began = spoke = time.monotonic()
    for done, item in enumerate(items, start=first + 1):
        yield item
        now = time.monotonic()
        if now - spoke > SECONDS_BETWEEN_LINES:
            left = (now - began) / (done - first) * (total - done)
            print(f"{label}: {done}/{total} {unit}s, about {left:.0f} s left", flush=True)
            spoke = now
