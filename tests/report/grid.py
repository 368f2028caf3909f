"""What a plan lists, and runs of ablations laid out by hand: who is right about which is given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asma import ablations, evaluation
from asma.report import rows, tables
from asma.report.rows import Expected, Results
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


def table(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the plan of a table lists, as `stages.plan` does."""
    found: list[dict[str, Any]] = []

    def add(stage: str, run: str, streams: list[str], says: Any = (), **axes: str) -> None:
        about = {"run": f"runs/{stage}/{run}".rstrip("/"), "streams": streams, "says": dict(says)}
        found.append({**about, "axes": {"stage": stage, **axes}, "columns": {}})

    systems = {"fuse": params["fuse"]["modes"], "distill": params["distill"]["teachers"]}
    systems["export"] = params["export"]["teachers"]
    for stage in ("probe", "finetune", "fuse", "distill", "pretrain", "export"):
        recipes = params["encoders"]
        if stage in systems:
            recipes = [f"asma_{word}" for word in systems[stage]]
        streams = (params["export"] if stage == "export" else params)["streams"]
        for benchmark, recipe in itertools.product(params["benchmarks"], recipes):
            add(stage, f"{recipe}@{benchmark}", streams, recipe=recipe, benchmark=benchmark)
    for stage, benchmark in itertools.product(("baseline", "efficiency"), params["benchmarks"]):
        add(stage, benchmark, [], benchmark=benchmark)
    for name, ends in params["transfers"].items():
        says = {"source": ends["source"], "benchmark": ends["target"]}
        add("transfer", name, [], says, transfer=name)
    add("ensemble", "", [])
    return found


def collect_table(params: Mapping[str, Any], runs: Path) -> Results:
    """The results of a table."""
    return rows.collect(table(params), runs)


def lines(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the plan of the ablations lists, as `stages.plan` does."""
    section = content["ablations"]
    every = ablations.lines(content, section)
    axes = itertools.product(every, section["benchmarks"], section["seeds"])
    return [
        {
            "run": f"runs/ablations/{line.stage}/{line.recipe}+seed={seed}@{benchmark}",
            "streams": section["streams"],
            "axes": {
                "stage": line.stage,
                "recipe": f"{line.recipe}+seed={seed}",
                "benchmark": benchmark,
            },
            "says": {"seed": seed},
            "columns": {"encoder": line.encoder, "change": line.change, "draw": line.draw},
        }
        for line, benchmark, seed in axes
    ]


def params(**changed: Any) -> dict[str, Any]:
    """What the ablations need: what is fused, their lists, and values without a change."""
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
        "mask": {},
        "fuse": {"first": "lowdeg_highmot", "second": "highdeg_lowmot"},
        "distill": {"teachers": ["pretrain"]},
        "ensemble": {"weights": {"joint": 0.6, "bone": 0.6, "motion": 0.4}},
        "ablations": {**lists, **changed},
        "defaults": {
            "mask.joints": 9,
            "finetune.labels": 1.0,
            "fuse.alignment.tokens": "time",
            "distill.temperature": 8.0,
        },
    }


def share(count: int) -> np.ndarray:
    """Right about the first `count` of the recordings."""
    return np.arange(N) < count


def lay(runs: Path, content: Mapping[str, Any], right: Right) -> Path:
    """metrics.json and logits.npz of every run of the grid; two classes, recordings in no order."""
    names, labels = [f"r{(i * 7) % N:02d}" for i in range(N)], np.arange(N) % 2
    for one in rows.expected(lines(content)):
        stage, encoder = one.says["stage"], one.columns["encoder"]
        if not one.needed:
            continue
        modes = MODES[stage]
        if stage == "finetune" and encoder == "random":
            modes = ["scratch"]
        if one.says["recipe"].startswith("asma_finetune"):
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
    return rows.ablations(lines(content), runs, weights, missing).rows


def pair(content: Mapping[str, Any]) -> tuple[str, str]:
    """The encoders that are fused."""
    return content["fuse"]["first"], content["fuse"]["second"]


def tables_of(content: Mapping[str, Any], runs: Path) -> dict[str, Table]:
    """Every table of the grid; values without a change are the same on every benchmark."""
    defaults = dict.fromkeys(content["ablations"]["benchmarks"], content["defaults"])
    return tables.ablations(collect(content, runs), pair(content), defaults)
