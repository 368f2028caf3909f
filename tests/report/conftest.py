from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Generator, from_numpy

from asma import evaluation, illustration, masking, motion, skeleton
from asma.illustration import player as writer

HEADS = ("aligned", "averaged", "concatenated", "concatenated_wide")
Write = Callable[[Mapping[str, Any]], Path]
WriteTo = Callable[[Path, Mapping[str, Any]], Path]
Illustrate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def paper() -> dict[str, Any]:
    """What is in a table with one of the paper's benchmarks, a demonstration and a transfer."""
    return {
        "benchmarks": ["demo_ntu_xsub", "ntu60_xsub"],
        "streams": ["joint", "bone", "motion"],
        "encoders": ["lowdeg_highmot", "highdeg_lowmot", "random"],
        "fuse": {"modes": ["pretrain", "finetune"]},
        "distill": {"teachers": ["pretrain", "finetune"]},
        "export": {"teachers": ["finetune"], "streams": ["joint"]},
        "ensemble": {"weights": {"joint": 0.6, "bone": 0.6, "motion": 0.4}},
        "transfers": {"to_demo": {"source": "ntu60_xsub", "target": "demo_pku_xsub"}},
    }


@pytest.fixture
def params(paper: dict[str, Any]) -> dict[str, Any]:
    """The same, to be changed."""
    return copy.deepcopy(paper)


def leave(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def result(mode: str, accuracy: float, **more: Any) -> dict[str, Any]:
    cost = {"params": 1_500_000, "macs": 1_000_000_000, "flops": 2_000_000_000, "epochs": 3}
    return {"mode": mode, "accuracy": accuracy, "top5": min(accuracy + 10, 100.0), **cost, **more}


def answer(folder: Path, accuracies: Mapping[str, float], n: int) -> None:
    """logits.npz: in each mode so many of n recordings are right, from the first, as it says."""
    labels = np.arange(n) % 20
    logits = {mode: np.zeros((n, 20), np.float32) for mode in accuracies}
    for mode, accuracy in accuracies.items():
        right = np.arange(n) < round(accuracy * n / 100)
        logits[mode][np.arange(n), labels] = np.where(right, 1, -1)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.save_logits(folder / "logits.npz", [f"r{i:03}" for i in range(n)], labels, logits)


def exported(benchmark: str, teacher: str, stream: str) -> dict[str, Any]:
    models = []
    for scale, (model, form) in enumerate(
        [("teacher", "eager"), ("student", "eager"), ("student", "onnx_int8")], start=1
    ):
        figures: dict[str, float] = {
            "params": 2_106_388,
            "macs": 1_230_911_104,
            "flops": 2_461_822_208,
            "file_bytes": 8_487_320 // scale,
        }
        figures |= {
            "peak_bytes": 41_000_000,
            "import_bytes": 239_000_000,
            "accuracy": 50.0,
            "agreement": 97.9,
        }
        time = {
            "latency_ms": 40.0 / scale,
            "latency_p95_ms": 50.0,
            "clips_per_s": 25.0 * scale,
            "frames_per_s": 1250.0,
        }
        models.append({"model": model, "form": form, **figures, **time, "largest_difference": 0.25})
    about = {"stage": "export", "benchmark": benchmark, "teacher": teacher, "stream": stream}
    machine = {"processor": "Some Processor", "threads": 1, "torch": "2.11"}
    gone = {"model": "student", "form": "compiled", "reason": "no C++ compiler"}
    return {**about, "machine": machine, "models": models, "unavailable": [gone]}


def illustrated(
    layout: str = "kinect_v2",
    encoders: tuple[str, ...] = ("lowdeg_highmot", "highdeg_lowmot"),
    classes: int = 4,
    *,
    fused: bool = True,
) -> dict[str, np.ndarray]:
    """What `illustrate` leaves of a benchmark, by hand: eight clips a class, none of the second.

    The fused model takes five of the first class for the last, with all streams one.
    """
    joints, draw, T = skeleton.load(layout), np.random.default_rng(0), 10
    V, networks = len(joints), [*encoders, *(["both", "student"] if fused else [])]
    models = [f"{encoder} linear" for encoder in encoders] + ["both aligned_finetuned"] * 2 * fused
    confusion = np.tile(8 * np.eye(classes, dtype=np.int64), (len(models), 1, 1))
    pairs = np.full((len(models), 10, 2), -1)
    if classes > 1:
        confusion[:, 1, 1] = 0
    if fused and classes > 2:
        for row, wrong in ((-2, 5), (-1, 1)):
            confusion[row, 0, 0], confusion[row, 0, -1] = 8 - wrong, wrong
            pairs[row, 0] = 0, classes - 1
    clips = np.array([8 * (k != 1) for k in range(classes)])
    labels = np.repeat(np.flatnonzero(clips), 3)
    with np.errstate(invalid="ignore"):
        accuracy = 100 * confusion.diagonal(axis1=1, axis2=2) / confusion.sum(axis=2)
    share = draw.random((len(encoders), V))
    return {
        "joints": np.array(joints.joints),
        "parents": joints.parents,
        "classes": np.array([f"class <{k}>" for k in range(classes)]),
        "encoders": np.array(encoders, dtype=np.str_),
        "clips": clips,
        "place": draw.normal(size=(V, 2)),
        "degree": joints.degree,
        "drawn_first": share / share.sum(axis=1, keepdims=True),
        "joints_hidden": share,
        "frames_hidden": draw.random((len(encoders), T)),
        "motion_by_frame": draw.random(T),
        "displacement": draw.random(V),
        "displacement_by_class": np.where(clips[:, None] > 0, draw.random((classes, V)), np.nan),
        "activation_by_class": np.where(
            clips[:, None] > 0, draw.random((len(networks), classes, V)), np.nan
        ),
        "networks": np.array(networks, dtype=np.str_),
        "activation": draw.random((len(networks), V)),
        "embedding": draw.normal(size=(len(networks), len(labels), 2)),
        "embedding_labels": labels,
        "models": np.array(models, dtype=np.str_),
        "model_streams": np.array(
            ["joint"] * len(encoders) + ["joint", "3s"] * fused, dtype=np.str_
        ),
        "confusion": confusion,
        "worst_pairs": pairs,
        "accuracy": accuracy,
    }


@pytest.fixture(scope="session")
def arrays() -> Callable[..., dict[str, np.ndarray]]:
    """arrays(layout, encoders, classes, fused): what `illustrate` leaves of a benchmark."""
    return illustrated


@pytest.fixture(scope="session")
def write_to() -> WriteTo:
    """Lay out every run of some parameters; accuracies are 10 joint, 20 bone, 30 motion, 40 all."""

    def runs_of(folder: Path, params: Mapping[str, Any]) -> Path:
        runs = folder / "runs"
        height = {stream: 10.0 * (place + 1) for place, stream in enumerate(params["streams"])}
        together: list[dict[str, Any]] = []
        for benchmark in params["benchmarks"]:
            about = {
                "benchmark": benchmark,
                "n_train": 200,
                "n_test": 100,
                "chance": 5.0,
                "seed": 1,
            }
            about["demonstration"] = benchmark.startswith("demo")

            def one(
                stage: str, word: str, encoder: str, modes: list[str], about: Any = about
            ) -> None:
                for stream, accuracy in height.items():
                    content = {
                        **about,
                        "stage": stage,
                        "recipe": word,
                        "stream": stream,
                        "encoder": encoder,
                        "results": [result(mode, accuracy) for mode in modes],
                    }
                    folder = runs / stage / f"{word}@{about['benchmark']}" / stream
                    leave(folder / "metrics.json", content)
                    answer(folder, dict.fromkeys(modes, accuracy), about["n_test"])
                together.extend(
                    result(mode, 40.0, **about, of=stage, encoder=encoder, stream=f"{len(height)}s")
                    for mode in modes
                )

            for encoder in params["encoders"]:
                one("probe", encoder, encoder, ["linear", "knn_1", "knn_20"])
                one(
                    "finetune",
                    encoder,
                    encoder,
                    ["scratch" if encoder == "random" else "finetuned"],
                )
            for mode in params["fuse"]["modes"]:
                word = {"pretrain": "probed", "finetune": "finetuned"}[mode]
                one("fuse", f"asma_{mode}", "both", [f"{head}_{word}" for head in HEADS])
            for teacher in params["distill"]["teachers"]:
                word = {"pretrain": "probed", "finetune": "finetuned"}[teacher]
                form = params["distill"].get("form", "distilled")
                one("distill", f"asma_{teacher}", "student", [f"{form}_{word}"])
            ridge = {"stage": "baseline", "encoder": "coordinates", "stream": "joint"}
            leave(
                runs / "baseline" / benchmark / "metrics.json",
                {**about, **ridge, "results": [result("ridge", 66.0, epochs=0)]},
            )
            answer(runs / "baseline" / benchmark, {"ridge": 66.0}, about["n_test"])
            model = {
                "model": "student",
                "streams": 3,
                "params": 536271,
                "macs": 1255e6,
                "flops": 2510e6,
            }
            leave(
                runs / "efficiency" / benchmark / "metrics.json",
                {"stage": "efficiency", "benchmark": benchmark, "models": [model]},
            )
            for teacher in params["export"]["teachers"]:
                for stream in params["export"]["streams"]:
                    leave(
                        runs / f"export/asma_{teacher}@{benchmark}" / stream / "metrics.json",
                        exported(benchmark, teacher, stream),
                    )
        for name, ends in params["transfers"].items():
            rows = [
                result(mode, accuracy, encoder=encoder, stream=stream)
                for stream, accuracy in height.items()
                for encoder, mode in (("both", "transferred"), ("random", "scratch"))
            ]
            about = {
                "benchmark": ends["target"],
                "n_train": 60,
                "n_test": 40,
                "chance": 5.0,
                "seed": 1,
            }
            about |= {"source": ends["source"], "demonstration": ends["target"].startswith("demo")}
            for stream, accuracy in height.items():
                told = dict.fromkeys(("both.transferred", "random.scratch"), accuracy)
                answer(runs / "transfer" / name / stream, told, about["n_test"])
            leave(
                runs / "transfer" / name / "metrics.json",
                {**about, "stage": "transfer", "results": rows},
            )
            together += [
                result(
                    mode, 40.0, **about, of="transfer", encoder=encoder, stream=f"{len(height)}s"
                )
                for encoder, mode in (("both", "transferred"), ("random", "scratch"))
            ]
        for benchmark in params["benchmarks"]:
            illustration.save(runs / "illustrate" / benchmark / "figures.npz", illustrated())
        leave(
            runs / "ensemble" / "metrics.json",
            {"stage": "ensemble", "seed": 1, "results": together},
        )
        return runs

    return runs_of


@pytest.fixture
def write(tmp_path: Path, write_to: WriteTo) -> Write:
    """The same, in the folder of the test."""
    return lambda params: write_to(tmp_path, params)


def _walk(layout: str, bodies: int, T: int, rng: np.random.Generator) -> np.ndarray:
    """Somebody, or two, waving every joint: (C, T, V, M) metres, centred; the second comes late."""
    joints = skeleton.load(layout)
    x = np.zeros((3, T, len(joints), bodies), np.float32)
    bones = rng.normal(size=(3, len(joints), bodies)) * 0.15
    swing = rng.uniform(0, 0.08, size=(len(joints), bodies))
    for joint in np.argsort(joints.hops[joints.centre]):
        if joint != joints.centre:
            step = (
                bones[:, None, joint]
                + swing[joint] * np.sin(np.arange(T) / 3 + joint)[None, :, None]
            )
            x[:, :, joint] = x[:, :, joints.parents[joint]] + step
    x[:, : T // 4, :, 1:] = 0
    return x


@pytest.fixture(scope="session")
def illustrate() -> Illustrate:
    """illustrate(benchmark, layout, bodies): a player.json of random recordings and masks."""

    def player(
        benchmark: str,
        layout: str = "kinect_v2",
        bodies: int = 2,
        recordings: int = 2,
        frames: int = 20,
        seed: int = 5,
    ) -> dict[str, Any]:
        rng, joints = np.random.default_rng(seed), skeleton.load(layout)
        how = masking.Mask(joints=9, frames=6)
        encoders = ["lowdeg_highmot", "highdeg_lowmot"]
        shown = []
        for index in range(recordings):
            x = _walk(layout, bodies, frames, rng)
            scores = motion.score(from_numpy(x[None]))
            masks = {}
            for encoder in encoders:
                degree, movement = masking.strategy(encoder)
                draw = Generator().manual_seed(seed + index)
                kept = masking.choose_joints(degree, how, joints, draw)
                seen = masking.choose_frames(movement, how, scores, draw)[0]
                masks[encoder] = {
                    "joints": sorted(set(range(len(joints))) - set(kept.tolist())),
                    "frames": sorted(set(range(frames)) - set(seen.tolist())),
                }
            units = np.round(x.transpose(1, 2, 3, 0) / 0.001).astype("<i2")
            moved = [round(value, 5) for value in scores[0].tolist()]
            shown.append(
                {
                    "name": f"recording {index}",
                    "label": index % 3,
                    "frames": frames,
                    "bodies": bodies,
                    "scale": 0.001,
                    "xyz": base64.b64encode(units.tobytes()).decode(),
                    "motion": moved,
                    **writer.staged(units * 0.001, moved, masks),
                    "masks": masks,
                    "activation": {
                        encoder: rng.random(len(joints)).round(3).tolist() for encoder in encoders
                    },
                    "predictions": [
                        {
                            "model": "aligned_probed",
                            "stream": "joint",
                            "top": [
                                {"class": 0, "probability": 0.7},
                                {"class": 2, "probability": 0.2},
                            ],
                        }
                    ],
                }
            )
        return {
            "benchmark": benchmark,
            "demonstration": "demo" in benchmark,
            "layout": layout,
            "joints": list(joints.joints),
            "bones": [list(edge) for edge in joints.edges],
            "classes": ["wave", "</script><b>clap", "kick"],  # a name is text, never markup
            "encoders": encoders,
            "recordings": shown,
        }

    return player
