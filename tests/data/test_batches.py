from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from asma import streams
from asma.data import batches
from asma.data.benchmarks import Benchmark

CPU = torch.device("cpu")


@pytest.mark.parametrize("stream", sorted(streams.STREAMS))
@pytest.mark.parametrize("part", ["train", "test"])
def test_clips_come_as_one_tensor_of_one_stream(
    part: str, stream: str, benchmark_file: Path
) -> None:
    bench = Benchmark(benchmark_file)
    plain = bench.part(part)
    found = batches.load(bench, part, stream, CPU)
    assert (
        len(found)
        == len(found.x)
        == len(found.names)
        == len(found.labels)
        == bench.counts()[f"n_{part}"]
    )
    assert found.names == plain.names
    assert found.labels.tolist() == plain.labels.tolist() and found.labels.dtype == torch.int64
    assert torch.equal(
        found.x, streams.derive(stream, torch.from_numpy(plain.clips), bench.skeleton)
    )
    assert found.x.dtype == torch.float32


def test_scores_are_those_of_the_same_clips(benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    for stream in streams.STREAMS:
        found = batches.motion_scores(bench, "train", stream, CPU)
        assert found.shape == (5, 4)
        assert found.tolist() == bench.motion("train", stream).tolist()


def test_people_are_told_apart_or_said_to_be_unknown(
    benchmark_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Benchmark(benchmark_file)
    people = batches.people(bench, "train")
    assert people is not None and people.shape == (5,) and people.dtype == torch.int64
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(bench, "person", "actor")
    assert batches.people(bench, "train") is None
    assert "toy_xsub: its recordings have no column 'actor'" in capsys.readouterr().out


def test_lengths_are_all_frames_unless_the_clips_know_better(benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    clips = batches.load(bench, "train", "joint", CPU)
    assert clips.lengths.tolist() == [4] * 5 and clips.lengths.dtype == torch.int64
    with h5py.File(benchmark_file.parents[1] / "clips" / "toy.h5", "a") as file:
        file["lengths"] = np.array([4, 3, 2, 1, 4, 3, 2], np.int32)
    # subjects 3, 1, 2, 1, 3, 2, 1, of whom the second is for testing
    assert batches.load(bench, "train", "joint", CPU).lengths.tolist() == [4, 3, 1, 4, 2]
    assert batches.load_streams(bench, "test", ["bone"], CPU).lengths.tolist() == [2, 3]


@pytest.mark.parametrize("step", [2, 3])
def test_every_second_frame_is_that_of_the_stream_at_the_full_rate(
    step: int, benchmark_file: Path
) -> None:
    bench = Benchmark(benchmark_file)
    with h5py.File(benchmark_file.parents[1] / "clips" / "toy.h5", "a") as file:
        file["lengths"] = np.array([4, 3, 2, 1, 4, 3, 2], np.int32)
    kept = batches.load_streams(bench, "train", ["motion"], CPU, frame_step=step)
    full = batches.load_streams(bench, "train", ["motion"], CPU)
    frames = list(range(0, 4, step))
    assert torch.equal(kept.x["motion"], full.x["motion"][:, :, frames])
    assert torch.equal(kept.motion_scores("motion"), full.motion_scores("motion")[:, frames])
    valid = [sum(frame < length for frame in frames) for length in full.lengths.tolist()]
    assert kept.lengths.tolist() == valid


def test_several_streams_are_of_the_same_clips_in_the_same_order(benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    several = batches.load_streams(bench, "train", ["motion", "joint"], CPU)
    assert list(several.x) == ["motion", "joint"] and len(several) == 5
    for stream, x in several.x.items():
        one = batches.load(bench, "train", stream, CPU)
        assert torch.equal(x, one.x) and torch.equal(several.labels, one.labels)
        assert several.motion_scores(stream).tolist() == bench.motion("train", stream).tolist()


# 30 of the first class, 15 of the others
LABELS = torch.tensor([0, 1, 2, 0, 0, 1, 0, 2, 2, 0, 1, 0] * 5)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, [15, 8, 8]), (0.1, [3, 2, 2]), (0.01, [1, 1, 1]), (0.999, [30, 15, 15])],
)
def test_labels_are_drawn_from_every_class_alike(share: float, expected: list[int]) -> None:
    index = batches.labelled(LABELS, share, 1)
    assert LABELS[index].bincount().tolist() == expected
    assert isinstance(index, torch.Tensor) and index.tolist() == sorted(set(index.tolist()))


def test_a_draw_depends_on_its_number_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = batches.labelled(LABELS, 0.2, 1)
    torch.manual_seed(2)  # another encoder, another seed
    assert torch.equal(torch.as_tensor(batches.labelled(LABELS, 0.2, 1)), torch.as_tensor(first))
    others = {
        tuple(torch.as_tensor(batches.labelled(LABELS, 0.2, draw)).tolist()) for draw in range(1, 6)
    }
    assert len(others) == 5


def test_all_labels_are_everybody_in_order() -> None:
    assert batches.labelled(LABELS, 1.0, 7) == slice(None)
    x = torch.arange(len(LABELS))
    assert x[batches.labelled(LABELS, 1.0, 7)].data_ptr() == x.data_ptr()
