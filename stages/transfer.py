"""Fine-tune encoders of one benchmark on another.   runs/pretrain/…@<source> → runs/transfer/<run>

Two steps, as at home: each encoder with a head of its own, then feature alignment on the two,
frozen. Beside it the same network from scratch on the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from asma import backbones, cli, evaluation, results, skeleton, tracking, training
from asma.backbones.base import Architecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.plan import Plan
from asma.protocols import finetuned, frozen
from asma.protocols.bench import Bench, linear_head
from asma.results import Judged, Row
from asma.streamed import OfStream
from asma.training import Run


@dataclass(frozen=True)
class Transfer:
    """Section `transfer` of the parameters."""

    scratch: bool = True


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    encoder: Architecture
    finetune: finetuned.Finetune
    fuse: frozen.Fuse
    transfer: Transfer


def main(plan: Plan) -> None:
    settings, name = plan.load(Settings), plan.axes["transfer"]
    home, bench = Benchmark(plan.path("source")), Benchmark(plan.path("target"))
    skeleton.same(home.skeleton, bench.skeleton, f"transfer {name}")
    run, seed, device = settings.run, settings.seed, settings.run.start()
    folders = {key: path for key, path in plan.reads.items() if key.startswith("pretrained_")}
    weights = {
        stream: [Path(folder, stream, training.WEIGHTS) for folder in folders.values()]
        for stream in settings.streams
    }
    read = [path for those in weights.values() for path in those]
    with (
        tracking.run("transfer", transfer=name) as log,
        training.resumable(
            "transfer", name, of=(plan.settings, plan.code, bench.path, *read)
        ) as checkpoint,
    ):
        log.params({**plan.settings, **run.about(device)})
        log.data(bench, "train", "test")
        rows: list[Row] = []
        for stream in settings.streams:
            judge = Bench(len(bench.classes), run, device, seed, OfStream(log, stream))
            saved = partial(checkpoint, within=stream)
            of_stream, n = train(
                settings, bench, stream, weights[stream], judge, saved, plan.folder
            )
            rows += of_stream
        about = {"seed": seed, **plan.about(), **run.about(device), "n_labelled": n}
        results.write(plan.folder, log, bench, rows, stage="transfer", source=home.name, **about)


def train(
    settings: Settings,
    bench: Benchmark,
    stream: str,
    weights: list[Path],
    judge: Bench,
    checkpoint: training.Checkpoints,
    out: Path,
) -> tuple[list[Row], int]:
    """Results of one stream, and from how many labels: each encoder, then both together."""
    how, fuse, device = settings.finetune.without(bench.without), settings.fuse, judge.device
    mirror = torch.as_tensor(bench.skeleton.mirror, device=device)
    train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
    seen = batches.labelled(train.labels, how.labels, how.draw)
    x, labels = train.x[seen], train.labels[seen]
    networks, judged = [], {}
    names = [fuse.first, fuse.second, "random"][: len(weights)]
    for encoder, path in zip(names, weights, strict=True):
        network = backbones.build(bench.skeleton, settings.encoder, how.dropout).to(device)
        training.load_weights(path, encoder=network)
        head, saved = linear_head(network.dim, judge), checkpoint(encoder)
        finetuned.finetune(network, head, x, labels, mirror, how, judge, encoder, saved)
        logits = evaluation.forward(head, frozen.embeddings(network, test.x, judge))
        mode = "scratch" if encoder == "random" else "transferred"
        judged[f"{encoder}.{mode}"] = Judged(logits, how.epochs, results.cost(bench, network))
        networks.append(network)
    pair, fit, kind = networks[:2], fuse.fit.finetune, fuse.alignment.tokens
    a, b = (frozen.paired_features(pair, clips, kind, judge) for clips in (x, test.x))
    aligned, (logits,) = frozen.fused_probe("aligned", a, labels, (b,), fuse.alignment, fit, judge)
    cost = results.fused_cost(bench, pair, aligned, a)
    judged["both.transferred"] = Judged(logits, fit.epochs, cost)
    left = out / stream
    training.save_weights(
        left / training.WEIGHTS, first=pair[0], second=pair[1], classifier=aligned
    )
    return results.leave_part(left, bench, test, judged, stream), len(labels)


if __name__ == "__main__":
    cli.run(main)
