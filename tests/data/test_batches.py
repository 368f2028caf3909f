from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asma import streams
from asma.data import batches
from asma.data.benchmarks import Benchmark

CPU = torch.device("cpu")


@pytest.mark.parametrize("stream", sorted(streams.STREAMS))
@pytest.mark.parametrize("part", ["train", "test"])
def test_clips_come_as_one_tensor_of_one_stream(part: str, stream: str, benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    plain = bench.part(part)
    found = batches.load(bench, part, stream, CPU)
    assert len(found) == len(found.x) == len(found.names) == len(found.labels) == bench.counts()[f"n_{part}"]
    assert found.names == plain.names
    assert found.labels.tolist() == plain.labels.tolist() and found.labels.dtype == torch.int64
    assert torch.equal(found.x, streams.derive(stream, torch.from_numpy(plain.clips), bench.skeleton))
    assert found.x.dtype == torch.float32


def test_scores_are_those_of_the_same_clips(benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    for stream in streams.STREAMS:
        found = batches.motion_scores(bench, "train", stream, CPU)
        assert found.shape == (5, 4)
        assert found.tolist() == bench.motion("train", stream).tolist()
