"""A grid of ablations laid out by hand: who is right about which recording is given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asma import evaluation
from asma.report import ablations
from asma.report.ablations import Ablation

N = 40  # test recordings
MODES = {
    "probe": ["linear", "standardised"],
    "finetune": ["finetuned"],
    "fuse": ["aligned_probed", "averaged_probed", "concatenated_probed", "concatenated_wide_probed"],
    "distill": ["distilled_probed"],
}
Right = Callable[[Ablation, str, str, int], np.ndarray]  # line, mode, stream, seed → (N,) bool


def params(**changed: Any) -> dict[str, Any]:
    """What of params.yaml the ablations need."""
    grid = {
        "benchmarks": ["demo_xsub"],
        "streams": ["joint"],
        "seeds": [1, 2, 3],
        "masks": ["random", "lowdeg_highmot", "highdeg_lowmot", "lowdeg_highmot_2"],
        "pairs": [
            {"first": "lowdeg_highmot", "second": "highdeg_lowmot"},
            {"first": "lowdeg_highmot", "second": "lowdeg_highmot_2"},
        ],
        "pretrain": ["mask.joints=7", "mask.joints=10"],
        "finetune": [],
        "labels": ["finetune.labels=0.1"],
        "fuse": ["fuse.alignment.tokens=pooled"],
        "distill": ["distill.temperature=4.0"],
    }
    values = {
        "mask": {"joints": 9},
        "finetune": {"epochs": 2, "labels": 1.0},
        "pretrain": {"epochs": 3},
        "probe": {"epochs": 4},
        "fuse": {"first": "lowdeg_highmot", "second": "highdeg_lowmot", "alignment": {"tokens": "time"}},
        "distill": {
            "epochs": 5,
            "teachers": ["pretrain"],
            "temperature": "by_benchmark",
            "temperatures": {"default": 8.0},
        },
        "ensemble": {"weights": {"joint": 0.6, "bone": 0.6, "motion": 0.4}},
    }
    of = {**grid, **changed}
    return told(values, of)


def told(values: dict[str, Any], grid: dict[str, Any], budget: str = "paper") -> dict[str, Any]:
    """What the plan of the stage `ablations` tells of some values, the same on every benchmark."""
    benchmarks = grid["benchmarks"]
    return {
        **values,
        "ablations": grid,
        "demonstrations": [name for name in benchmarks if name.startswith("demo")],
        "values": dict.fromkeys(benchmarks, values),
        "budget_of": dict.fromkeys(benchmarks, budget),
        "budgets": {budget: {"pretrain": {"epochs": 3}}},
    }


def share(count: int) -> np.ndarray:
    """Right about the first `count` of the recordings."""
    return np.arange(N) < count


def lay(runs: Path, content: Mapping[str, Any], right: Right) -> dict[str, str]:
    """metrics.json and logits.npz of every run of the grid, and their folders by `ablations.key`.

    Two classes, recordings in no order.
    """
    folders = {}
    how = content["ablations"]
    names, labels = [f"r{(i * 7) % N:02d}" for i in range(N)], np.arange(N) % 2
    for ablation in ablations.grid(content):
        modes = ["scratch" if ablation.who == ("random",) else m for m in MODES[ablation.stage]]
        modes = [m if ablation.stage == "finetune" else o for m, o in zip(modes, MODES[ablation.stage], strict=True)]
        if ablation.who[0] == "finetune":
            modes = [mode.replace("probed", "finetuned") for mode in modes]
        for benchmark, seed in itertools.product(how["benchmarks"], how["seeds"]):
            run = runs / ablation.stage / f"{ablation.recipe}+seed={seed}@{benchmark}"
            folders[ablations.key(ablation, benchmark, seed)] = run.as_posix()
            for stream in how["streams"]:
                folder = run / stream
                folder.mkdir(parents=True)
                logits = {}
                for mode in modes:
                    ok = right(ablation, mode, stream, seed)
                    answer = np.where([ok[int(name[1:])] for name in names], labels, 1 - labels)
                    logits[mode] = np.eye(2, dtype=np.float32)[answer]
                evaluation.save_logits(folder / "logits.npz", names, labels, logits)
                told = {"demonstration": True, "results": [{"mode": mode, "params": 100} for mode in modes]}
                (folder / "metrics.json").write_text(json.dumps(told))
    return folders
