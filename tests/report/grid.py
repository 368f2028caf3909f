"""A grid of ablations laid out by hand: who is right about which recording is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from asma import evaluation, grid
from asma.grid import Expected
from asma.report import rows, tables
from asma.report.tables import Table

N = 40  # test recordings
MODES = {
    "probe": ["linear", "standardised"],
    "finetune": ["finetuned"],
    "fuse": [
        "aligned_probed",
        "averaged_probed",
        "concatenated_probed",
        "concatenated_wide_probed",
    ],
    "distill": ["distilled_probed"],
}
Right = Callable[[Expected, str], np.ndarray]  # run, mode → (N,) bool


def params(**changed: Any) -> dict[str, Any]:
    """What of params.yaml the ablations need."""
    lists = {
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
    return {
        "mask": {"joints": 9},
        "finetune": {"epochs": 2, "labels": 1.0},
        "pretrain": {"epochs": 3},
        "probe": {"epochs": 4},
        "fuse": {
            "first": "lowdeg_highmot",
            "second": "highdeg_lowmot",
            "alignment": {"tokens": "time"},
        },
        "distill": {
            "epochs": 5,
            "teachers": ["pretrain"],
            "temperature": "by_benchmark",
            "temperatures": {"default": 8.0},
        },
        "ensemble": {"weights": {"joint": 0.6, "bone": 0.6, "motion": 0.4}},
        "sets": {"demo": {"demonstration": True, "budget": "paper"}},
        "ablations": {**lists, **changed},
    }


def share(count: int) -> np.ndarray:
    """Right about the first `count` of the recordings."""
    return np.arange(N) < count


def lay(runs: Path, content: Mapping[str, Any], right: Right) -> Path:
    """metrics.json and logits.npz of every run of the grid; two classes, recordings in no order."""
    names, labels = [f"r{(i * 7) % N:02d}" for i in range(N)], np.arange(N) % 2
    for one in grid.ablations(content):
        stage, encoder = one.says["stage"], one.columns["encoder"]
        modes = MODES[stage]
        if stage == "finetune" and encoder == "random":
            modes = ["scratch"]
        if "/finetune/" in one.folder and stage != "finetune":
            modes = [mode.replace("probed", "finetuned") for mode in modes]
        folder = runs / one.folder
        folder.mkdir(parents=True)
        logits, results = {}, []
        for mode in modes:
            ok = right(one, mode)
            answer = np.where([ok[int(name[1:])] for name in names], labels, 1 - labels)
            logits[mode] = np.eye(2, dtype=np.float32)[answer]
            results.append({"mode": mode, "accuracy": float(100 * ok.sum() / N), "params": 100})
        evaluation.save_logits(folder / "logits.npz", names, labels, logits)
        whose = {"fuse": "both", "distill": "student"}.get(stage, encoder)
        about = {**one.says, "encoder": whose, "demonstration": "demo" in one.folder}
        (folder / "metrics.json").write_text(json.dumps({**about, "results": results}))
    return runs


def collect(content: Mapping[str, Any], runs: Path, missing: str = "error") -> pd.DataFrame:
    """The rows of the grid."""
    weights = content["ensemble"]["weights"]
    return rows.ablations(grid.ablations(content), runs, weights, missing)


def pair(content: Mapping[str, Any]) -> tuple[str, str]:
    """The encoders that are fused."""
    return content["fuse"]["first"], content["fuse"]["second"]


def tables_of(content: Mapping[str, Any], runs: Path) -> dict[str, Table]:
    """Every table of the grid."""
    return tables.ablations(collect(content, runs), pair(content), partial(grid.default, content))
