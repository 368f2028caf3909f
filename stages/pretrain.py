"""Pretrain one encoder without labels.   benchmark → runs/pretrain/<encoder>/<benchmark>/<stream>"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import backbones, cli, masking, methods, params, record, tracking, training
from asma.augment import Augment
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.masking import Mask
from asma.methods import Pretrain, untrained
from asma.motion import Motion
from asma.training import Run
from asma.views import AsmaViews

OTHER = 1000  # between the seeds of an encoder and of the next one of its kind


def main(encoder: str, benchmark: Path, stream: str, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    draws = seed + OTHER * (masking.number(encoder) - 1)
    how = params.load("pretrain", Pretrain, bench.budget)
    architecture, mask = params.load("encoder", Encoder, bench.budget), params.load("mask", Mask, bench.budget)
    augmenting = params.load("augment", Augment, bench.budget).without(bench.without)
    scoring, run = params.load("motion", Motion), params.load("run", Run, bench.budget)
    device = run.start()
    axes = (encoder, bench.name, stream)
    depends = (draws, how, architecture, mask, augmenting, scoring, run, benchmark)
    with (
        tracking.run("pretrain", encoder=encoder, benchmark=bench.name, stream=stream) as log,
        training.resumable("pretrain", *axes, params.changed(), of=depends) as checkpoint,
    ):
        log.params({"seed": seed, **run.about(device), "run": asdict(run), "pretrain": asdict(how)})
        log.params({"encoder": asdict(architecture), "mask": asdict(mask), "augment": asdict(augmenting)})
        log.data(bench, "train")
        train = batches.load(bench, "train", stream, device)
        torch.manual_seed(draws)
        network = backbones.build(bench.skeleton, architecture, how.dropout).to(device)
        history: list[float] = []
        if encoder == "random":
            untrained.settle(network, train.x, how.batch_size, draws)
        else:
            scores = batches.motion_scores(bench, "train", stream, device)
            views = AsmaViews(encoder, bench.skeleton, augmenting, mask, scoring)
            method = methods.build(network, views, how).to(device)
            run.accelerate(*method.children(), device=device)
            history = training.fit(
                method, lambda index, g: method.loss(train.x[index], scores[index], g), len(train), how,
                run=run, device=device, seed=draws, label=f"pretrain {' '.join(axes)}", log=log,
                curve="barlow_twins", checkpoint=checkpoint("encoder"),
            )  # fmt: skip
        training.save_weights(out / "weights.safetensors", encoder=network)
        about = {
            "benchmark": bench.name,
            "encoder": encoder,
            "stream": stream,
            "epochs": len(history),
            "seed": seed,
            **run.about(device),
        }
        about |= {"n_train": len(train), "curves": {"barlow_twins": history} if history else {}}
        record.write(out / "metrics.json", {"stage": "pretrain", **about})
        log.summary(f"{encoder}, {stream}: {len(history)} epochs on {len(train)} clips without labels")


if __name__ == "__main__":
    cli.run(main)
