"""Train an encoder and a linear head on labels.   runs/pretrain/… → runs/finetune/<encoder>/<benchmark>/<stream>

From the encoder named random this is training from scratch; with `finetune.labels` below 1, semi-supervised learning.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import backbones, cli, evaluation, params, results, tracking, training
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.protocols import finetuned, frozen
from asma.protocols.bench import Bench, linear_head
from asma.results import Judged
from asma.training import Run


def main(encoder: str, benchmark: Path, stream: str, pretrained: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    how = params.load("finetune", finetuned.Finetune, bench.budget).without(bench.without)
    run = params.load("run", Run, bench.budget)
    architecture = params.load("encoder", Encoder, bench.budget)
    device = run.start()
    weights = pretrained / "weights.safetensors"
    with (
        tracking.run("finetune", encoder=encoder, benchmark=bench.name, stream=stream) as log,
        training.resumable(
            "finetune",
            encoder,
            bench.name,
            stream,
            params.changed(),
            of=(seed, how, architecture, run, benchmark, weights),
        ) as checkpoint,
    ):
        log.params({"seed": seed, "finetune": asdict(how), "run": asdict(run), **run.about(device)})
        network = backbones.build(bench.skeleton, architecture, how.dropout).to(device)
        training.load_weights(weights, encoder=network)
        judge = Bench(len(bench.classes), run, device, seed, log)
        head = linear_head(network.dim, judge)
        train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
        seen = batches.labelled(train.labels, how.labels, how.draw)
        x, labels = train.x[seen], train.labels[seen]
        mirror = torch.as_tensor(bench.skeleton.mirror, device=device)
        history = finetuned.finetune(network, head, x, labels, mirror, how, judge, "finetune", checkpoint("network"))
        logits = evaluation.forward(head, frozen.embeddings(network, test.x, judge))
        training.save_weights(out / "weights.safetensors", encoder=network, head=head)
        mode = "scratch" if encoder == "random" else "finetuned"
        judged = {mode: Judged(logits, how.epochs, results.cost(bench, network))}
        about = {
            "stage": "finetune",
            "encoder": encoder,
            "stream": stream,
            "seed": seed,
            **run.about(device),
            "n_labelled": len(labels),
        }
        results.leave(out, log, bench, test, judged, **about, curves={"finetune": history})


if __name__ == "__main__":
    cli.run(main)
