"""Train encoder and linear head on labels.   runs/pretrain/… → runs/finetune/<run>/<stream>

From an untrained encoder this is training from scratch; with `finetune.labels` below 1, it is
semi-supervised learning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asma import backbones, cli, evaluation, results, tracking, training
from asma.backbones.base import Architecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.plan import Plan
from asma.protocols import finetuned, frozen
from asma.protocols.bench import Bench, linear_head
from asma.results import Judged
from asma.streamed import OfStream
from asma.training import Run

SCRATCH = "random"  # the recipe that is not pretrained


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    encoder: Architecture
    finetune: finetuned.Finetune


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    how, run, seed = settings.finetune.without(bench.without), settings.run, settings.seed
    device, pretrained = run.start(), plan.path("pretrained")
    weights = {stream: pretrained / stream / training.WEIGHTS for stream in settings.streams}
    mirror = torch.as_tensor(bench.skeleton.mirror, device=device)
    about = {"stage": "finetune", "encoder": plan.like, "seed": seed, **plan.about()}
    mode = "scratch" if plan.like == SCRATCH else "finetuned"
    depends = (plan.settings, plan.code, bench.path, *weights.values())
    with (
        tracking.run("finetune", recipe=plan.recipe, benchmark=bench.name) as log,
        training.resumable("finetune", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, **run.about(device)})
        log.data(bench, "train", "test")
        for stream in settings.streams:
            own, saved = OfStream(log, stream), checkpoint("network", within=stream)
            network = backbones.build(bench.skeleton, settings.encoder, how.dropout).to(device)
            training.load_weights(weights[stream], encoder=network)
            judge = Bench(len(bench.classes), run, device, seed, own)
            head = linear_head(network.dim, judge)
            train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
            seen = batches.labelled(train.labels, how.labels, how.draw)
            x, labels = train.x[seen], train.labels[seen]
            learning = (network, head, x, labels, mirror, how, judge, "finetune", saved)
            history = finetuned.finetune(*learning)
            logits = evaluation.forward(head, frozen.embeddings(network, test.x, judge))
            out = plan.folder / stream
            training.save_weights(out / training.WEIGHTS, encoder=network, head=head)
            judged = {mode: Judged(logits, how.epochs, results.cost(bench, network))}
            told = {**about, "stream": stream, "n_labelled": len(labels), **run.about(device)}
            results.leave(out, own, bench, test, judged, **told, curves={"finetune": history})


if __name__ == "__main__":
    cli.run(main)
