"""Encoders of one benchmark, fine-tuned on another.   runs/pretrain/…/<source> → runs/transfer/<source>_to_<target>

Two steps, as at home: each encoder with a head of its own, then feature alignment on the two, frozen. Beside it
the same network from scratch on the target.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from asma import backbones, cli, evaluation, params, results, skeleton, tracking, training
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.protocols import finetuned, frozen
from asma.protocols.bench import Bench, linear_head
from asma.results import Judged
from asma.training import Run


@dataclass(frozen=True)
class Transfer:
    """Section `transfer` of the parameters."""

    scratch: bool = True


def main(transfer: str, source: Path, target: Path, pretrained: Path, out: Path) -> None:
    home, bench, content = Benchmark(source), Benchmark(target), params.read()
    skeleton.same(home.skeleton, bench.skeleton, f"transfer {transfer}")
    seed, streams = content["seed"], content["streams"]
    how = params.load("finetune", finetuned.Finetune, bench.budget).without(bench.without)
    fuse, run = params.load("fuse", frozen.Fuse, bench.budget), params.load("run", Run, bench.budget)
    architecture, device = params.load("encoder", Encoder, bench.budget), run.start()
    mirror = torch.as_tensor(bench.skeleton.mirror, device=device)
    encoders = (fuse.first, fuse.second, *(["random"] if params.load("transfer", Transfer).scratch else []))
    weights = {(e, s): pretrained / e / home.name / s / "weights.safetensors" for e in encoders for s in streams}
    depends = (seed, how, architecture, run, target, *weights.values())
    with (
        tracking.run("transfer", transfer=transfer) as log,
        training.resumable("transfer", transfer, of=depends) as checkpoint,
    ):
        about = {"seed": seed, **run.about(device)}
        log.params({**about, "finetune": asdict(how), "fuse": asdict(fuse), "run": asdict(run)})
        judge = Bench(len(bench.classes), run, device, seed, log)
        rows = []
        for stream in streams:
            train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
            seen = batches.labelled(train.labels, how.labels, how.draw)
            x, labels = train.x[seen], train.labels[seen]
            networks, judged = [], {}
            for encoder in encoders:
                network = backbones.build(bench.skeleton, architecture, how.dropout).to(device)
                training.load_weights(weights[encoder, stream], encoder=network)
                head, name = linear_head(network.dim, judge), f"{stream}_{encoder}"
                finetuned.finetune(network, head, x, labels, mirror, how, judge, name, checkpoint(name))
                logits = evaluation.forward(head, frozen.embeddings(network, test.x, judge))
                mode = "scratch" if encoder == "random" else "transferred"
                judged[f"{encoder}.{mode}"] = Judged(logits, how.epochs, results.cost(bench, network))
                networks.append(network)
            pair, fit, kind = networks[:2], fuse.fit.finetune, fuse.alignment.tokens
            a, b = (frozen.paired_features(pair, clips, kind, judge) for clips in (x, test.x))
            aligned, (logits,) = frozen.fused_probe("aligned", a, labels, (b,), fuse.alignment, fit, judge)
            judged["both.transferred"] = Judged(logits, fit.epochs, results.fused_cost(bench, pair, aligned, a))
            left = out / "streams" / stream
            training.save_weights(left / "weights.safetensors", first=pair[0], second=pair[1], classifier=aligned)
            rows += results.leave_part(left, bench, test, judged, stream)
        results.write(out, log, bench, rows, stage="transfer", source=home.name, n_labelled=len(labels), **about)


if __name__ == "__main__":
    cli.run(main)
