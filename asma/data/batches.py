"""Clips on the device: one tensor a stream, from which every batch is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from asma import streams
from asma.data.benchmarks import Benchmark


@dataclass(frozen=True, eq=False)
class Clips:
    """One part of a benchmark in one stream, on the device."""

    names: list[str]
    labels: Tensor  # (n,) int64
    x: Tensor  # (n, C, T, V, M) float32
    lengths: Tensor  # (n,) int64, valid frames of each clip

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class StreamClips:
    """One part of a benchmark in one or several streams, on the device, for methods to learn."""

    benchmark: Benchmark
    part: str
    labels: Tensor  # (n,) int64
    lengths: Tensor  # (n,) int64, valid frames of each clip
    x: dict[str, Tensor]  # stream → (n, C, T, V, M) float32
    frame_step: int = 1  # x holds every so many of the benchmark's frames

    def __len__(self) -> int:
        return len(self.labels)

    def motion_scores(self, stream: str) -> Tensor:
        """Motion scores (n, T) of the clips in one stream, as the stage `motion` left them."""
        scores = motion_scores(self.benchmark, self.part, stream, self.labels.device)
        return scores[:, :: self.frame_step]


def load(benchmark: Benchmark, part: str, stream: str, device: torch.device) -> Clips:
    """The `train` or `test` clips of a benchmark in one stream."""
    several = load_streams(benchmark, part, [stream], device)
    names = benchmark.names[benchmark.indices[part]].tolist()
    return Clips(names, several.labels, several.x[stream], several.lengths)


def load_streams(
    benchmark: Benchmark,
    part: str,
    names: Sequence[str],
    device: torch.device,
    frame_step: int = 1,
) -> StreamClips:
    """The same in several streams; what is read is read once.

    A frame_step of 2 keeps every second frame, from the first on. Bones and motion are those of
    all frames, so that what is left looks as it does at the full rate.
    """
    loaded = benchmark.part(part)
    joint = torch.from_numpy(loaded.clips).to(device)
    x = {
        name: streams.derive(name, joint, benchmark.skeleton)[:, :, ::frame_step].contiguous()
        for name in names
    }
    labels, lengths = (torch.from_numpy(v).to(device) for v in (loaded.labels, loaded.lengths))
    kept = lengths.add(frame_step - 1).div(frame_step, rounding_mode="floor")
    return StreamClips(benchmark, part, labels, kept, x, frame_step)


def motion_scores(benchmark: Benchmark, part: str, stream: str, device: torch.device) -> Tensor:
    """Motion scores (n, T) of the same clips in the same order."""
    return torch.from_numpy(benchmark.motion(part, stream)).to(device)


def people(benchmark: Benchmark, part: str) -> Tensor | None:
    """Who performs each of the same clips, (n,) int64; None, and a word, where no column tells."""
    numbers = benchmark.people(part)
    if numbers is None:
        print(
            f"{benchmark.name}: its recordings have no column {benchmark.person!r} that says who "
            "performs them, so batches mix people",
            flush=True,
        )
        return None
    return torch.from_numpy(numbers)


def labelled(labels: Tensor, share: float, draw: int) -> Tensor | slice:
    """Which of the n recordings with labels (n,) may be learnt from, as an index: in order,
    balanced by class.

    Each class gives max(1, round(share · its recordings)) of them. Who is drawn depends on the
    labels and the number of the draw alone, so that every encoder, stream and seed learns from the
    same; a larger share of the same draw holds a smaller one. A share of 1 is a slice of
    everything, which copies nothing.
    """
    if share == 1:
        return slice(None)
    generator, of = Generator().manual_seed(draw), labels.cpu()
    drawn = []
    for label in of.unique():
        own = (of == label).nonzero()[:, 0]
        order = torch.randperm(len(own), generator=generator)
        drawn.append(own[order[: max(1, round(share * len(own)))]])
    return torch.cat(drawn).sort().values.to(labels.device)
