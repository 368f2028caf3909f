"""What the report's player and figures show.   runs/<stage>/… → runs/illustrate/<benchmark>"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asma import cli, illustration, networks, record, tracking
from asma.backbones.blocks import StackArchitecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill
from asma.illustration import Illustrate, inside, judged, masked, player
from asma.masking import Mask
from asma.plan import Plan
from asma.protocols.frozen import Fuse
from asma.training import WEIGHTS, Run


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters; `folders` has one for each `<stage>/<recipe>`."""

    seed: int
    streams: list[str]
    encoders: list[str]
    folders: dict[str, str]
    run: Run
    mask: Mask
    encoder: StackArchitecture
    fuse: Fuse
    distill: Distill
    ensemble: dict[str, Any]
    illustrate: Illustrate

    def folder(self, stage: str, recipe: str) -> Path | None:
        """Where a run of the table lies, if there is one."""
        found = self.folders.get(f"{stage}/{recipe}")
        return Path(found) if found else None


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    seed, illustrate, mask = settings.seed, settings.illustrate, settings.mask
    illustrate.check(settings.streams)
    pair = dict.fromkeys((settings.fuse.first, settings.fuse.second))
    encoders = [encoder for encoder in pair if encoder in settings.encoders]
    stream, device, cpu = illustrate.stream, settings.run.start(), torch.device("cpu")
    skeleton, classes, out = bench.skeleton, len(bench.classes), plan.folder
    with tracking.run("illustrate", benchmark=bench.name) as log:
        about = {"illustrate": asdict(illustrate), "mask": asdict(mask)}
        log.params({"seed": seed, **about, **settings.run.about(device)})
        test = batches.load(bench, "test", stream, device)
        positions = batches.load(bench, "test", "joint", cpu).x
        scores = batches.motion_scores(bench, "test", stream, cpu)
        labels = test.labels.cpu().numpy()
        built, each, fused = read(settings, bench, encoders, test.names)
        seen = {
            word: inside.look(network.to(device), test.x, settings.run)
            for word, network in built.items()
        }
        hidden = (encoders, mask, skeleton, positions, scores, labels, classes)
        shown_inside = (labels, classes, illustrate.classes, illustrate.clips, seed)
        illustration.save(
            out / "figures.npz",
            illustration.about(bench, encoders, labels)
            | masked.arrays(*hidden, illustrate.draws, seed)
            | inside.arrays(seen, *shown_inside)
            | judged.arrays([*each, *fused], labels, classes),
        )
        chosen = player.choose(labels, illustrate.recordings, seed)
        responses = {word: by_joint for word, (_, by_joint) in seen.items()}
        moving = (chosen, test, positions.numpy(), scores)
        shown = player.recordings(*moving, encoders, mask, skeleton, responses, fused, seed)
        player.write(out / "player.json", player.document(bench, encoders, shown))
        told = {
            "stage": "illustrate",
            "benchmark": bench.name,
            "demonstration": bench.demonstration,
            "seed": seed,
            "stream": stream,
            "encoders": encoders,
            "models": judged.told([*each, *fused], labels, bench.classes),
        }
        record.write(out / "metrics.json", told)
        networks_seen = ", ".join(seen) or "no network"
        clips = f"{len(shown)} recordings for the player, {len(labels)} clips"
        log.summary(f"{clips}; {networks_seen}")


def read(
    settings: Settings, bench: Benchmark, encoders: list[str], names: list[str]
) -> tuple[dict[str, nn.Module], list[judged.Answers], list[judged.Answers]]:
    """The networks of the table that are there, and what single encoders and fused ones answer."""
    stream, weights = settings.illustrate.stream, settings.ensemble["weights"]
    of, encoder = (bench.skeleton, len(bench.classes)), settings.encoder
    built: dict[str, nn.Module] = {}
    each: list[judged.Answers] = []
    fused: list[judged.Answers] = []
    for name in encoders:
        if left := settings.folder("pretrain", name):
            built[name] = networks.encoder(bench.skeleton, encoder, left / stream / WEIGHTS)
        if left := settings.folder("probe", name):
            each += judged.read(left, name, "linear", stream, [stream], weights, names)
    system, word = f"asma_{settings.illustrate.mode}", settings.illustrate.word
    if left := settings.folder("fuse", system):
        alignment, path = settings.fuse.alignment, left / stream / WEIGHTS
        built["both"] = networks.teacher(*of, encoder, alignment, path)
        mode = f"aligned_{word}"
        fused += judged.read(left, "both", mode, stream, settings.streams, weights, names)
    if left := settings.folder("distill", system):
        path = left / stream / WEIGHTS
        built["student"] = networks.student(*of, encoder, settings.distill, path)
        mode = f"distilled_{word}"
        fused += judged.read(left, "student", mode, stream, settings.streams, weights, names)
    return built, each, fused


if __name__ == "__main__":
    cli.run(main)
