"""Join two frozen encoders.   runs/<mode>/{first,second}/… → runs/fuse/<mode>/<benchmark>/<stream>

mode pretrain: the aligned probe of two pretrained encoders; finetune: the second step of fine-tuning. Beside the
feature alignment (by `fuse.fit`) stand its controls: both embeddings averaged or side by side (linear, by `probe`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import backbones, cli, evaluation, fusion, params, results, tracking, training
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.protocols import frozen
from asma.protocols.bench import Bench
from asma.protocols.finetuned import Finetune
from asma.results import Judged
from asma.training import Run


def main(mode: str, benchmark: Path, stream: str, first: Path, second: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    how, run = params.load("fuse", frozen.Fuse, bench.budget), params.load("run", Run, bench.budget)
    fit, tuned = how.fit.of(mode), params.load("finetune", Finetune, bench.budget)
    architecture = params.load("encoder", Encoder, bench.budget)
    linear = params.load("probe", frozen.Probe, bench.budget)
    fits = {name: linear if name in fusion.LINEAR else fit for name in how.heads}
    device = run.start()
    weights = [folder / "weights.safetensors" for folder in (first, second)]
    depends = (seed, how, linear, tuned.labels, tuned.draw, architecture, run, benchmark, *weights)
    with (
        tracking.run("fuse", mode=mode, benchmark=bench.name, stream=stream) as log,
        training.resumable("fuse", mode, bench.name, stream, params.changed(), of=depends) as checkpoint,
    ):
        log.params({"seed": seed, "fuse": asdict(how), "run": asdict(run), **run.about(device)})
        log.params({"first": first.as_posix(), "second": second.as_posix()})
        judge = Bench(len(bench.classes), run, device, seed, log, checkpoint)
        train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
        networks = []
        for path in weights:
            networks.append(backbones.build(bench.skeleton, architecture).to(device))
            training.load_weights(path, encoder=networks[-1])
        kind, clips = how.alignment.tokens, (train.x, test.x)
        tokens = [frozen.paired_features(networks, x, kind, judge) for x in clips]
        # labels that the encoders were not to know are not for the head on them either
        seen = batches.labelled(train.labels, tuned.labels, tuned.draw) if mode == "finetune" else slice(None)
        known, labelled = train.labels[seen], torch.zeros_like(train.labels)
        labelled[seen] = 1
        heads = {
            name: frozen.fused_probe(name, tokens[0][seen], known, (tokens[0], tokens[1]), how.alignment, each, judge)
            for name, each in fits.items()
        }
        aligned, (of_train, _) = heads["aligned"]
        training.save_weights(out / "weights.safetensors", first=networks[0], second=networks[1], classifier=aligned)
        # what a student may learn from
        lesson = {"aligned": of_train, "embedding": frozen.fused_embeddings(aligned, tokens[0]), "labelled": labelled}
        told = {name: what.cpu().numpy() for name, what in lesson.items()}
        evaluation.save_logits(out / "train_logits.npz", train.names, train.labels.cpu().numpy(), told)
        word = {"pretrain": "probed", "finetune": "finetuned"}[mode]
        judged = {
            f"{name}_{word}": Judged(of_test, fits[name].epochs, results.fused_cost(bench, networks, head, tokens[0]))
            for name, (head, (_, of_test)) in heads.items()
        }
        about = {"stage": "fuse", "encoder": "both", "stream": stream, "seed": seed, "n_labelled": len(known)}
        results.leave(out, log, bench, test, judged, **about, **run.about(device))


if __name__ == "__main__":
    cli.run(main)
