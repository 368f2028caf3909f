"""What the report's player and figures show.   runs/{pretrain,probe,fuse,distill}/… → runs/illustrate/<benchmark>"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from asma import cli, illustration, networks, params, record, tracking
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill
from asma.illustration import Illustrate, inside, judged, masked, player
from asma.masking import Mask
from asma.protocols.frozen import Fuse
from asma.training import Run


def main(benchmark: Path, runs: Path, out: Path) -> None:
    bench, content = Benchmark(benchmark), params.read()
    seed, streams, weights = content["seed"], content["streams"], content["ensemble"]["weights"]
    how, mask = params.load("illustrate", Illustrate), params.load("mask", Mask, bench.budget)
    architecture, run = params.load("encoder", Encoder, bench.budget), params.load("run", Run, bench.budget)
    fuse, distill = params.load("fuse", Fuse, bench.budget), params.load("distill", Distill, bench.budget)
    how.check(streams)
    encoders = [encoder for encoder in dict.fromkeys((fuse.first, fuse.second)) if encoder in content["encoders"]]
    name, stream, device, cpu = bench.name, how.stream, run.start(), torch.device("cpu")
    of = bench.skeleton, len(bench.classes)
    with tracking.run("illustrate", benchmark=name) as log:
        log.params({"seed": seed, "illustrate": asdict(how), "mask": asdict(mask), **run.about(device)})
        test, positions = batches.load(bench, "test", stream, device), batches.load(bench, "test", "joint", cpu).x
        scores, labels = batches.motion_scores(bench, "test", stream, cpu), test.labels.cpu().numpy()

        built: dict[str, nn.Module] = {}
        each: list[judged.Answers] = []
        fused: list[judged.Answers] = []
        for encoder in encoders:
            left = runs / "pretrain" / encoder / name / stream / "weights.safetensors"
            built[encoder] = networks.encoder(bench.skeleton, architecture, left)
            left = runs / "probe" / encoder / name
            each += judged.read(left, encoder, "linear", stream, [stream], weights, test.names)
        if how.mode in fuse.modes:
            left = runs / "fuse" / how.mode / name
            built["both"] = networks.teacher(*of, architecture, fuse.alignment, left / stream / "weights.safetensors")
            fused += judged.read(left, "both", f"aligned_{how.word}", stream, streams, weights, test.names)
        if how.mode in distill.teachers:
            left = runs / "distill" / how.mode / name
            built["student"] = networks.student(*of, architecture, distill, left / stream / "weights.safetensors")
            fused += judged.read(left, "student", f"distilled_{how.word}", stream, streams, weights, test.names)

        seen = {word: inside.look(network.to(device), test.x, run) for word, network in built.items()}
        illustration.save(
            out / "figures.npz",
            illustration.about(bench, encoders, labels)
            | masked.arrays(encoders, mask, bench.skeleton, positions, scores, labels, of[1], how.draws, seed)
            | inside.arrays(seen, labels, of[1], how.classes, how.clips, seed)
            | judged.arrays([*each, *fused], labels, of[1]),
        )
        chosen = player.choose(labels, how.recordings, seed)
        responses = {word: by_joint for word, (_, by_joint) in seen.items()}
        shown = player.recordings(
            chosen, test, positions.numpy(), scores, encoders, mask, bench.skeleton, responses, fused, seed
        )
        player.write(out / "player.json", player.document(bench, encoders, shown))
        told = judged.told([*each, *fused], labels, bench.classes)
        about = {"benchmark": name, "demonstration": bench.demonstration, "seed": seed, "stream": stream}
        record.write(out / "metrics.json", {"stage": "illustrate", **about, "encoders": encoders, "models": told})
        log.summary(f"{len(shown)} recordings for the player, {len(labels)} clips; {', '.join(seen) or 'no network'}")


if __name__ == "__main__":
    cli.run(main)
