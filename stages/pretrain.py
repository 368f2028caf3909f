"""Pretrain one encoder without labels.   benchmark → runs/pretrain/<encoder>/<benchmark>/<stream>"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import backbones, cli, masking, methods, params, record, tracking, training
from asma.augment import Augment
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.masking import Mask
from asma.motion import Motion
from asma.training import Run
from asma.views import ViewConfig

OTHER = 1000  # between the seeds of an encoder and of the next one of its kind


def main(encoder: str, benchmark: Path, stream: str, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    draws = seed + OTHER * (masking.number(encoder) - 1)
    kind = methods.find(params.section("pretrain", bench.budget)["method"])
    settings = params.load("pretrain", kind.Settings, bench.budget)
    kind = methods.find("untrained") if encoder == "random" else kind
    backbone = backbones.find(params.section("encoder", bench.budget)["backbone"])
    architecture = params.load("encoder", backbone.Settings, bench.budget)
    mask, scoring = params.load("mask", Mask, bench.budget), params.load("motion", Motion)
    augmenting = params.load("augment", Augment, bench.budget).without(bench.without)
    run = params.load("run", Run, bench.budget)
    device = run.start()
    axes = (encoder, bench.name, stream)
    depends = (draws, settings, architecture, mask, augmenting, scoring, run, benchmark)
    with (
        tracking.run("pretrain", encoder=encoder, benchmark=bench.name, stream=stream) as log,
        training.resumable("pretrain", *axes, params.changed(), of=depends) as checkpoint,
    ):
        log.params({"seed": seed, **run.about(device), "run": asdict(run)})
        log.params({"pretrain": asdict(settings), "encoder": asdict(architecture)})
        log.params({"mask": asdict(mask), "augment": asdict(augmenting)})
        log.data(bench, "train")
        step = settings.frame_step if kind.learns else 1
        train = batches.load_streams(bench, "train", kind.inputs([stream]), device, step)
        torch.manual_seed(draws)
        network = backbones.build(bench.skeleton, architecture, settings.dropout)
        views = ViewConfig(bench.skeleton, augmenting, mask, scoring, encoder)
        method = kind({stream: network}, settings, views).to(device)
        curves = methods.train(
            method, train, settings, run=run, device=device, seed=draws,
            label=f"pretrain {' '.join(axes)}", log=log, checkpoint=checkpoint("encoder"),
            people=batches.people(bench, "train") if settings.batches == "by_person" else None,
        )  # fmt: skip
        training.save_weights(out / "weights.safetensors", encoder=network)
        about = {
            "benchmark": bench.name,
            "encoder": encoder,
            "stream": stream,
            "epochs": len(curves.get(kind.curve, [])),
            "seed": seed,
            **run.about(device),
            **method.about(),
        }
        about |= {"n_train": len(train), "curves": {k: v for k, v in curves.items() if v}}
        record.write(out / "metrics.json", {"stage": "pretrain", **about})
        told = f"{about['epochs']} epochs on {len(train)} clips without labels"
        log.summary(f"{encoder}, {stream}: {told}")


if __name__ == "__main__":
    cli.run(main)
