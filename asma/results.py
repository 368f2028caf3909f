"""What a judged run leaves in its folder: metrics.json and logits.npz, the same shape for every
stage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asma import efficiency, evaluation, record
from asma.backbones import tokens
from asma.backbones.base import Encoder
from asma.data.batches import Clips
from asma.data.benchmarks import Benchmark
from asma.streamed import Log

# Whose accuracy stands for a run, so that runs can be sorted by one figure: the first of these
# modes that it has, what its stage is there for. A student has one mode, whatever it is called.
HEADLINE = (
    "aligned_finetuned",
    "aligned_probed",
    "transferred",
    "finetuned",
    "linear",
    "ridge",
    "scratch",
)


Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Judged:
    """The outcome of one mode: logits (n_test, K), epochs it was trained for, and what the network
    costs.
    """

    logits: Tensor
    epochs: int
    cost: dict[str, int]


def cost(bench: Benchmark, encoder: Encoder, *, classes: bool = True) -> dict[str, int]:
    """params, macs and flops of an encoder for one clip, with its linear head unless `classes` is
    False.
    """
    own = cost_of(bench, encoder)
    return efficiency.total(own, linear_cost(encoder.dim, len(bench.classes))) if classes else own


def cost_of(bench: Benchmark, network: nn.Module) -> dict[str, int]:
    """params, macs and flops of a network that takes clips, for one clip of the benchmark."""
    device = next(network.parameters()).device
    return efficiency.count(network, torch.zeros(1, *bench.clip_shape, device=device))


def linear_cost(dim: int, classes: int) -> dict[str, int]:
    """params, macs and flops of a linear head."""
    return efficiency.count(nn.Linear(dim, classes), torch.zeros(1, dim))


def fused_cost(
    bench: Benchmark,
    encoders: Sequence[Encoder],
    head: nn.Module,
    paired: Tensor,
) -> dict[str, int]:
    """params, macs and flops of several encoders and the head on them: alignment, or another of
    asma.fusion.HEADS.

    paired: tokens (n, 2, S, D), of which one sample is counted.
    """
    each = (cost(bench, encoder, classes=False) for encoder in encoders)
    return efficiency.total(*each, efficiency.count(head, paired[:1]))


def example_tokens(bench: Benchmark, encoder: Encoder, kind: str) -> Tensor:
    """Tokens (1, 2, S, D) of the shape that two such encoders give for one clip."""
    with torch.no_grad():
        one = tokens(encoder.eval()(torch.zeros(1, *bench.clip_shape)), kind)
    return torch.stack([one, one], dim=1)


def rows(judged: Mapping[str, Judged], labels: Tensor) -> list[dict[str, Any]]:
    """One result a mode: accuracy and top5 in per cent, cost, epochs."""
    truth = labels.cpu().numpy()
    return [
        {
            "mode": mode,
            **evaluation.score(one.logits.float().cpu().numpy(), truth),
            **one.cost,
            "epochs": one.epochs,
        }
        for mode, one in judged.items()
    ]


def leave_part(
    out: Path, bench: Benchmark, test: Clips, judged: Mapping[str, Judged], stream: str
) -> list[dict[str, Any]]:
    """Write the logits of one stream whose modes are named `<encoder>.<mode>`; its rows, for
    `write`.
    """
    save(out, test, judged)
    found = rows(judged, test.labels)
    for row in found:
        row["encoder"], _, row["mode"] = row["mode"].rpartition(".")
        row["stream"] = stream
    return found


def save(out: Path, test: Clips, judged: Mapping[str, Judged]) -> None:
    """logits.npz of one run."""
    logits = {mode: one.logits.float().cpu().numpy() for mode, one in judged.items()}
    evaluation.save_logits(out / "logits.npz", test.names, test.labels.cpu().numpy(), logits)


def headline(modes: Sequence[str]) -> str:
    """The mode that stands for a run."""
    return next((mode for mode in HEADLINE if mode in modes), modes[0])


def accuracy(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`accuracy` of a run: its headline mode's, of both encoders where it has rows of single ones
    too; the mean over the streams of a transfer or the benchmarks of an ensemble. Nothing of none.
    """
    if not results:
        return {}
    mode = headline([row["mode"] for row in results])
    chosen = [row for row in results if row["mode"] == mode]
    joined = [row for row in chosen if row.get("encoder") == "both"]
    return {"accuracy": mean(row["accuracy"] for row in joined or chosen)}


def chance(bench: Benchmark) -> float:
    """Per cent that always answering the commonest class of the test part scores: 100 / classes
    where all are as common, more where they are not."""
    labels = bench.labels[bench.indices["test"]]
    return 100 * float(np.bincount(labels).max()) / len(labels)


def write(
    out: Path, log: Log, bench: Benchmark, results: list[dict[str, Any]], **about: Any
) -> None:
    """Write metrics.json of one run, log its figures and say them beside chance."""
    told = {"benchmark": bench.name, "demonstration": bench.demonstration, **bench.counts()}
    told |= {"chance": chance(bench), **about}
    record.write(out / "metrics.json", {**told, **accuracy(results), "results": results})
    log.metrics(accuracy(results))
    for row in results:
        own = [row[key] for key in ("stream", "encoder", "mode") if key in row]
        name = ".".join(own)
        log.metrics({f"{name}.{key}": row[key] for key in ("accuracy", "top5")})
        whose = " ".join(
            [*(str(about[key]) for key in ("encoder", "stream") if key in about), *own]
        )
        right = f"{row['accuracy']:.1f} % of {told['n_test']} test recordings right"
        log.summary(f"{bench.name} {whose}: {right}, chance {told['chance']:.1f}")


def leave(
    out: Path, log: Log, bench: Benchmark, test: Clips, judged: Mapping[str, Judged], **about: Any
) -> None:
    """Write metrics.json, logits.npz and confusion.csv of one run, log its figures and say them;
    about: stage, encoder, seed, …"""
    save(out, test, judged)
    logits = judged[headline([*judged])].logits.float().cpu().numpy()
    labels = test.labels.cpu().numpy()
    evaluation.save_confusion(out / "confusion.csv", bench.classes, labels, logits)
    write(out, log, bench, rows(judged, test.labels), **about)


def add_streams(group: Mapping[str, Path], weights: Mapping[str, float]) -> list[dict[str, Any]]:
    """Results of the ensemble of one group of runs, a row a mode, each saying whose it is."""
    about = {stream: _metrics(folder) for stream, folder in group.items()}
    loaded = {
        stream: evaluation.load_logits(folder / "logits.npz") for stream, folder in group.items()
    }
    first = next(iter(group))
    found = []
    for mode in loaded[first][2]:
        names, logits = evaluation.ensemble(
            {stream: (part[0], part[2][mode]) for stream, part in loaded.items()}, weights
        )
        truth = dict(zip(loaded[first][0], loaded[first][1].tolist(), strict=True))
        labels = np.array([truth[name] for name in names])
        same = ("benchmark", "demonstration", "n_train", "n_test", "chance", "seed")
        shared = {key: about[first][key] for key in same}
        shared["source"] = about[first].get("source")
        encoder, _, word = mode.rpartition(".")
        own = [_row(about[stream], stream, encoder, word) for stream in group]
        cost = {key: sum(row[key] for row in own) for key in ("params", "macs", "flops")}
        found.append(
            {
                **shared,
                "of": about[first]["stage"],
                "encoder": encoder or about[first]["encoder"],
                "stream": f"{len(group)}s",
                "mode": word,
                **evaluation.score(logits, labels),
                **cost,
                "epochs": own[0]["epochs"],
            }
        )
    return found


def _row(metrics: dict[str, Any], stream: str, encoder: str, mode: str) -> dict[str, Any]:
    for row in metrics["results"]:
        if (
            row["mode"] == mode
            and row.get("encoder", encoder) == encoder
            and row.get("stream", stream) == stream
        ):
            return row
    raise ValueError(
        f"metrics.json of {metrics['stage']}: found no row for mode {mode!r}, expected one"
    )


def _metrics(folder: Path) -> dict[str, Any]:
    for candidate in (folder, folder.parent):  # the streams of a transfer share one file
        if (candidate / "metrics.json").is_file():
            return json.loads((candidate / "metrics.json").read_text(encoding="utf-8"))
    raise FileNotFoundError(f"{folder / 'metrics.json'}: not found; `dvc repro` makes it")
