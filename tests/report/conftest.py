from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HEADS = ("aligned", "averaged", "concatenated", "concatenated_wide")
Write = Callable[[Mapping[str, Any]], Path]


@pytest.fixture
def params() -> dict[str, Any]:
    """A params.yaml with one of the paper's benchmarks, a demonstration and a transfer between them."""
    return {
        "benchmarks": ["demo_ntu_xsub", "ntu60_xsub"],
        "streams": ["joint", "bone", "motion"],
        "encoders": ["lowdeg_highmot", "highdeg_lowmot", "random"],
        "fuse": {"modes": ["pretrain", "finetune"]},
        "distill": {"teachers": ["pretrain", "finetune"]},
        "transfers": {"to_demo": {"source": "ntu60_xsub", "target": "demo_pku_xsub"}},
        "sets": {
            "demo_ntu": {"demonstration": True},
            "demo_pku": {"demonstration": True},
            "ntu60": {"classes": "ntu120_classes"},
        },
    }


def leave(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def result(mode: str, accuracy: float, **more: Any) -> dict[str, Any]:
    cost = {"params": 1_500_000, "macs": 1_000_000_000, "flops": 2_000_000_000, "epochs": 3}
    return {"mode": mode, "accuracy": accuracy, "top5": min(accuracy + 10, 100.0), **cost, **more}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Lay out every run of some parameters; accuracies are 10 joint, 20 bone, 30 motion, 40 all three."""

    def runs_of(params: Mapping[str, Any]) -> Path:
        runs = tmp_path / "runs"
        height = {stream: 10.0 * (place + 1) for place, stream in enumerate(params["streams"])}
        together: list[dict[str, Any]] = []
        for benchmark in params["benchmarks"]:
            about = {"benchmark": benchmark, "n_train": 200, "n_test": 100, "seed": 1}

            def one(stage: str, word: str, encoder: str, modes: list[str], about: Any = about) -> None:
                for stream, accuracy in height.items():
                    content = {
                        **about,
                        "stage": stage,
                        "stream": stream,
                        "encoder": encoder,
                        "results": [result(mode, accuracy) for mode in modes],
                    }
                    leave(runs / stage / word / about["benchmark"] / stream / "metrics.json", content)
                together.extend(
                    result(mode, 40.0, **about, of=stage, encoder=encoder, stream=f"{len(height)}s") for mode in modes
                )

            for encoder in params["encoders"]:
                one("probe", encoder, encoder, ["linear", "knn_1", "knn_20"])
                one("finetune", encoder, encoder, ["scratch" if encoder == "random" else "finetuned"])
            for mode in params["fuse"]["modes"]:
                word = {"pretrain": "probed", "finetune": "finetuned"}[mode]
                one("fuse", mode, "both", [f"{head}_{word}" for head in HEADS])
            for teacher in params["distill"]["teachers"]:
                word = {"pretrain": "probed", "finetune": "finetuned"}[teacher]
                form = params["distill"].get("form", "distilled")
                one("distill", teacher, "student", [f"{form}_{word}"])
            ridge = {"stage": "baseline", "encoder": "coordinates", "stream": "joint"}
            leave(
                runs / "baseline" / benchmark / "metrics.json",
                {**about, **ridge, "results": [result("ridge", 66.0, epochs=0)]},
            )
            model = {"model": "student", "streams": 3, "params": 536271, "macs": 1255e6, "flops": 2510e6}
            leave(
                runs / "efficiency" / benchmark / "metrics.json",
                {"stage": "efficiency", "benchmark": benchmark, "models": [model]},
            )
        for name, ends in params["transfers"].items():
            rows = [
                result(mode, accuracy, encoder=encoder, stream=stream)
                for stream, accuracy in height.items()
                for encoder, mode in (("both", "transferred"), ("random", "scratch"))
            ]
            about = {"benchmark": ends["target"], "n_train": 60, "n_test": 40, "seed": 1}
            leave(
                runs / "transfer" / name / "metrics.json",
                {**about, "stage": "transfer", "source": ends["source"], "results": rows},
            )
            together += [
                result(mode, 40.0, **about, of="transfer", encoder=encoder, stream=f"{len(height)}s")
                for encoder, mode in (("both", "transferred"), ("random", "scratch"))
            ]
        leave(runs / "ensemble" / "metrics.json", {"stage": "ensemble", "seed": 1, "results": together})
        return runs

    return runs_of
