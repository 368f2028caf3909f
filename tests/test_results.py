from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch

from asma import backbones, efficiency, evaluation, results, skeleton
from asma.backbones.blocks import StackArchitecture
from asma.data.batches import Clips
from asma.data.benchmarks import Benchmark
from asma.evaluation import MismatchError
from asma.fusion import HEADS, AlignedClassifier, Alignment, as_large
from asma.results import Judged

COST = {"params": 10, "macs": 100, "flops": 200}


class SmallBenchmark:
    """What results asks a benchmark."""

    name = "toy_xsub"
    classes = tuple("abcdefg")
    demonstration = True
    clip_shape = (3, 10, 20, 1)
    skeleton = skeleton.load("kinect_v1")
    labels = np.array([6, 0, 6, 1, 2, 3, 6])
    indices: ClassVar = {"train": np.array([0, 2, 6]), "test": np.array([1, 3, 4, 5])}

    def counts(self) -> dict[str, int]:
        return {"n_train": 8, "n_test": 4}


BENCH = cast(Benchmark, SmallBenchmark())


class Log:
    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.lines: list[str] = []

    def metrics(self, values: dict[str, float]) -> None:
        self.figures |= values

    def epoch(self, epoch: int, **metrics: float) -> None:
        self.curve = metrics

    def summary(self, text: str) -> None:
        self.lines.append(text)


FRAMES = torch.full((4,), BENCH.clip_shape[1])
TEST = Clips(["r1", "r2", "r3", "r4"], torch.arange(4), torch.zeros(4, *BENCH.clip_shape), FRAMES)


def answers(*chosen: int) -> torch.Tensor:
    """Logits (4, 7) that choose these classes; the true class of a wrong one comes last of all."""
    logits = torch.zeros(4, 7)
    logits[range(4), TEST.labels] = -1.0
    logits[range(4), list(chosen)] = 2.0
    return logits


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_a_run_leaves_its_scores_and_its_logits(tmp_path: Path) -> None:
    log = Log()
    judged = {
        "linear": Judged(answers(0, 1, 2, 0), 5, COST),
        "knn": Judged(answers(0, 1, 2, 3), 0, COST),
    }
    results.leave(
        tmp_path,
        log,
        BENCH,
        TEST,
        judged,
        stage="probe",
        encoder="random",
        stream="bone",
        seed=3,
        precision="fp32",
    )
    told = read(tmp_path / "metrics.json")
    assert told.pop("results") == [
        {"mode": "linear", "accuracy": 75.0, "top5": 75.0, **COST, "epochs": 5},
        {"mode": "knn", "accuracy": 100.0, "top5": 100.0, **COST, "epochs": 0},
    ]
    assert told == {
        "accuracy": 75.0,
        "benchmark": "toy_xsub",
        "demonstration": True,
        "n_train": 8,
        "n_test": 4,
        "chance": 25.0,
        "stage": "probe",
        "encoder": "random",
        "stream": "bone",
        "seed": 3,
        "precision": "fp32",
    }
    names, labels, logits = evaluation.load_logits(tmp_path / "logits.npz")
    assert names == TEST.names
    assert labels.tolist() == [0, 1, 2, 3]
    assert {mode: one.dtype for mode, one in logits.items()} == {
        "linear": np.float32,
        "knn": np.float32,
    }
    assert logits["linear"].argmax(1).tolist() == [0, 1, 2, 0]


def test_a_run_says_its_scores_and_logs_them(tmp_path: Path) -> None:
    log = Log()
    judged = {"linear": Judged(answers(0, 1, 2, 0), 5, COST)}
    results.leave(
        tmp_path, log, BENCH, TEST, judged, stage="probe", encoder="random", stream="bone", seed=3
    )
    assert log.figures == {"accuracy": 75.0, "linear.accuracy": 75.0, "linear.top5": 75.0}
    said = "toy_xsub random bone linear: 75.0 % of 4 test recordings right, chance 25.0"
    assert log.lines == [said]


def test_chance_is_what_the_commonest_class_of_the_test_part_scores() -> None:
    class Uneven(SmallBenchmark):
        indices: ClassVar = {"train": np.array([1]), "test": np.array([0, 2, 3, 4, 6])}

    # four classes, one recording each; those of training do not count
    assert results.chance(BENCH) == 25.0
    assert results.chance(cast(Benchmark, Uneven())) == 60.0


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["standardised", "knn_1", "linear"], "linear"),
        (["finetuned"], "finetuned"),
        (["scratch"], "scratch"),
        (["averaged_probed", "aligned_probed"], "aligned_probed"),
        (["aligned_finetuned", "concatenated_finetuned"], "aligned_finetuned"),
        (["feature_distilled_probed"], "feature_distilled_probed"),
        (["scratch_finetuned"], "scratch_finetuned"),
        (["ridge"], "ridge"),
    ],
)
def test_one_mode_stands_for_a_run(modes: list[str], expected: str) -> None:
    assert results.headline(modes) == expected


def test_a_transfer_and_an_ensemble_are_as_accurate_as_the_method_is_on_average() -> None:
    rows = [
        {"mode": mode, "encoder": encoder, "accuracy": accuracy}
        for mode, encoder, accuracy in (
            ("transferred", "lowdeg_highmot", 10.0),
            ("transferred", "both", 30.0),
            ("scratch", "random", 90.0),
            ("transferred", "both", 50.0),  # another stream
        )
    ]
    assert results.accuracy(rows) == {"accuracy": 40.0}
    summed = [{"mode": "aligned_finetuned", "encoder": "both", "accuracy": 70.0}, *rows]
    assert results.accuracy(summed) == {"accuracy": 70.0}
    assert results.accuracy([]) == {}


def test_a_run_leaves_what_each_recording_was_taken_for(tmp_path: Path) -> None:
    judged = {
        "knn": Judged(answers(0, 1, 2, 3), 0, COST),
        "linear": Judged(answers(0, 1, 2, 0), 5, COST),
    }
    results.leave(
        tmp_path, Log(), BENCH, TEST, judged, stage="probe", encoder="random", stream="bone", seed=3
    )
    assert (tmp_path / "confusion.csv").read_text() == "actual,predicted\na,a\nb,b\nc,c\nd,a\n"


def test_logits_in_half_precision_are_kept_as_float32(tmp_path: Path) -> None:
    judged = {"linear": Judged(answers(0, 1, 2, 3).to(torch.bfloat16), 5, COST)}
    results.save(tmp_path, TEST, judged)
    assert evaluation.load_logits(tmp_path / "logits.npz")[2]["linear"].dtype == np.float32
    assert results.rows(judged, TEST.labels)[0]["accuracy"] == 100.0


def test_the_same_run_leaves_the_same_bytes(tmp_path: Path) -> None:
    judged = {"linear": Judged(answers(0, 1, 2, 0), 5, COST)}
    for name in ("a", "b"):
        results.save(tmp_path / name, TEST, judged)
    assert (tmp_path / "a" / "logits.npz").read_bytes() == (
        tmp_path / "b" / "logits.npz"
    ).read_bytes()


def test_a_part_names_encoder_and_stream_of_each_row(tmp_path: Path) -> None:
    judged = {
        "lowdeg_highmot.transferred": Judged(answers(0, 1, 2, 3), 5, COST),
        "random.scratch": Judged(answers(0, 0, 0, 0), 5, COST),
        "lowdeg_highmot+mask.joints=7.transferred": Judged(answers(0, 1, 2, 0), 5, COST),
    }
    rows = results.leave_part(tmp_path, BENCH, TEST, judged, "bone")
    found = [(row["encoder"], row["mode"], row["stream"], row["accuracy"]) for row in rows]
    assert found == [
        ("lowdeg_highmot", "transferred", "bone", 100.0),
        ("random", "scratch", "bone", 25.0),
        ("lowdeg_highmot+mask.joints=7", "transferred", "bone", 75.0),
    ]
    assert set(evaluation.load_logits(tmp_path / "logits.npz")[2]) == set(judged)


def test_what_a_linear_head_costs() -> None:
    assert results.linear_cost(256, 60) == {
        "params": 256 * 60 + 60,
        "macs": 256 * 60,
        "flops": 2 * 256 * 60,
    }


def test_what_is_judged_costs_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    encoder = backbones.build(BENCH.skeleton, StackArchitecture())
    own, head = results.cost_of(BENCH, encoder), results.linear_cost(encoder.dim, 7)
    assert own["params"] == sum(p.numel() for p in encoder.parameters())
    assert own["flops"] == 2 * own["macs"] > 0
    assert results.cost(BENCH, encoder, classes=False) == own
    assert results.cost(BENCH, encoder) == efficiency.total(own, head)

    tokens = results.example_tokens(BENCH, encoder, "time")
    assert tokens.shape == (1, 2, 3, encoder.dim)  # 10 frames, twice halved
    aligned = AlignedClassifier(encoder.dim, 7, Alignment())
    together = results.fused_cost(BENCH, [encoder, encoder], aligned, tokens.expand(5, -1, -1, -1))
    assert together == efficiency.total(own, own, efficiency.count(aligned, tokens))
    assert together["params"] == 2 * own["params"] + sum(p.numel() for p in aligned.parameters())


def test_heads_without_alignment_cost_their_linear_maps() -> None:
    torch.manual_seed(0)
    encoder = backbones.build(BENCH.skeleton, StackArchitecture())
    own, D = results.cost_of(BENCH, encoder), encoder.dim
    tokens, how = results.example_tokens(BENCH, encoder, "time"), Alignment()
    hidden = as_large(D, 7, 7 * (D * D + D) + D * 7 + 7)
    expected = {
        "averaged": [results.linear_cost(D, 7)],
        "concatenated": [results.linear_cost(2 * D, 7)],
        "concatenated_wide": [results.linear_cost(2 * D, hidden), results.linear_cost(hidden, 7)],
    }
    for name, maps in expected.items():
        found = results.fused_cost(BENCH, [encoder, encoder], HEADS[name](D, 7, how), tokens)
        assert found == efficiency.total(own, own, *maps), name


def two_streams(tmp_path: Path, second: Clips = TEST) -> dict[str, Path]:
    """A joint run that is right about r1 and r2, a bone run that is right about r3."""
    for stream, test, judged in (
        ("joint", TEST, answers(0, 1, 3, 4)),
        ("bone", second, answers(5, 5, 2, 4)),
    ):
        modes = {"linear": Judged(judged, 5, COST)}
        about = {"stage": "probe", "encoder": "random", "stream": stream, "seed": 3}
        results.leave(tmp_path / stream, Log(), BENCH, test, modes, **about)
    return {"joint": tmp_path / "joint", "bone": tmp_path / "bone"}


def test_streams_are_added_by_their_weights(tmp_path: Path) -> None:
    group = two_streams(tmp_path)
    (row,) = results.add_streams(group, {"joint": 0.6, "bone": 0.4, "motion": 9.0})
    assert row == {
        "benchmark": "toy_xsub",
        "demonstration": True,
        "n_train": 8,
        "n_test": 4,
        "chance": 25.0,
        "seed": 3,
        "source": None,
        "of": "probe",
        "encoder": "random",
        "stream": "2s",
        "mode": "linear",
        "accuracy": 50.0,  # the joint run prevails
        "top5": row["top5"],
        "params": 20,
        "macs": 200,
        "flops": 400,
        "epochs": 5,
    }
    (row,) = results.add_streams(group, {"joint": 0.1, "bone": 0.9})
    assert row["accuracy"] == 25.0


def test_streams_are_matched_by_name_not_by_place(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    turned = Clips([TEST.names[i] for i in order], TEST.labels[order], TEST.x, FRAMES)
    group = two_streams(tmp_path)
    (straight,) = results.add_streams(group, {"joint": 0.5, "bone": 0.6})
    logits = answers(5, 5, 2, 4)[order]
    evaluation.save_logits(
        tmp_path / "bone" / "logits.npz",
        turned.names,
        turned.labels.numpy(),
        {"linear": logits.numpy()},
    )
    (mixed,) = results.add_streams(group, {"joint": 0.5, "bone": 0.6})
    assert mixed == straight


def test_streams_of_other_recordings_are_an_error_that_names_them(tmp_path: Path) -> None:
    group = two_streams(tmp_path, Clips(["r1", "r2", "r3", "r9"], TEST.labels, TEST.x, FRAMES))
    with pytest.raises(
        MismatchError, match=r"joint lacks 1 recordings: r9; bone lacks 1 recordings: r4"
    ):
        results.add_streams(group, {"joint": 0.6, "bone": 0.4})


def test_a_stream_without_a_weight_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="no weight for bone"):
        results.add_streams(two_streams(tmp_path), {"joint": 0.6})


def test_a_run_that_is_missing_is_named(tmp_path: Path) -> None:
    group = two_streams(tmp_path)
    (tmp_path / "bone" / "metrics.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"bone/metrics.json: not found; `dvc repro` makes it"
    ):
        results.add_streams(group, {"joint": 0.6, "bone": 0.4})


def test_the_streams_of_a_transfer_share_one_file(tmp_path: Path) -> None:
    folder, rows = tmp_path / "transfer" / "a_to_b", []
    for stream, right in (("joint", answers(0, 1, 2, 3)), ("bone", answers(0, 1, 2, 4))):
        judged = {
            "random.scratch": Judged(right, 5, COST),
            "both.transferred": Judged(
                answers(0, 1, 5, 5), 2, {key: 3 * value for key, value in COST.items()}
            ),
        }
        rows += results.leave_part(folder / stream, BENCH, TEST, judged, stream)
    results.write(folder, Log(), BENCH, rows, stage="transfer", source="a", seed=3)
    group = {stream: folder / stream for stream in ("joint", "bone")}
    scratch, both = results.add_streams(group, {"joint": 0.6, "bone": 0.4})
    assert (scratch["encoder"], scratch["mode"], scratch["accuracy"], scratch["params"]) == (
        "random",
        "scratch",
        100.0,
        20,
    )
    assert (both["encoder"], both["mode"], both["accuracy"], both["params"]) == (
        "both",
        "transferred",
        50.0,
        60,
    )
    assert (both["of"], both["source"], both["epochs"]) == ("transfer", "a", 2)
