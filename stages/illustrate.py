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
    seed, streams, weights = settings.seed, settings.streams, settings.ensemble["weights"]
    how, mask, run, out = settings.illustrate, settings.mask, settings.run, plan.folder
    architecture, fuse, distill = settings.encoder, settings.fuse, settings.distill
    how.check(streams)
    encoders = [
        encoder
        for encoder in dict.fromkeys((fuse.first, fuse.second))
        if encoder in settings.encoders
    ]
    name, stream, device, cpu = bench.name, how.stream, run.start(), torch.device("cpu")
    of = bench.skeleton, len(bench.classes)
    with tracking.run("illustrate", benchmark=name) as log:
        log.params(
            {"seed": seed, "illustrate": asdict(how), "mask": asdict(mask), **run.about(device)}
        )
        test, positions = (
            batches.load(bench, "test", stream, device),
            batches.load(bench, "test", "joint", cpu).x,
        )
        scores, labels = (
            batches.motion_scores(bench, "test", stream, cpu),
            test.labels.cpu().numpy(),
        )

        built: dict[str, nn.Module] = {}
        each: list[judged.Answers] = []
        fused: list[judged.Answers] = []
        for encoder in encoders:
            if left := settings.folder("pretrain", encoder):
                path = left / stream / WEIGHTS
                built[encoder] = networks.encoder(bench.skeleton, architecture, path)
            if left := settings.folder("probe", encoder):
                each += judged.read(left, encoder, "linear", stream, [stream], weights, test.names)
        system = f"asma_{how.mode}"
        if left := settings.folder("fuse", system):
            path = left / stream / WEIGHTS
            built["both"] = networks.teacher(*of, architecture, fuse.alignment, path)
            mode = f"aligned_{how.word}"
            fused += judged.read(left, "both", mode, stream, streams, weights, test.names)
        if left := settings.folder("distill", system):
            built["student"] = networks.student(*of, architecture, distill, left / stream / WEIGHTS)
            mode = f"distilled_{how.word}"
            fused += judged.read(left, "student", mode, stream, streams, weights, test.names)

        seen = {
            word: inside.look(network.to(device), test.x, run) for word, network in built.items()
        }
        illustration.save(
            out / "figures.npz",
            illustration.about(bench, encoders, labels)
            | masked.arrays(
                encoders, mask, bench.skeleton, positions, scores, labels, of[1], how.draws, seed
            )
            | inside.arrays(seen, labels, of[1], how.classes, how.clips, seed)
            | judged.arrays([*each, *fused], labels, of[1]),
        )
        chosen = player.choose(labels, how.recordings, seed)
        responses = {word: by_joint for word, (_, by_joint) in seen.items()}
        shown = player.recordings(
            chosen,
            test,
            positions.numpy(),
            scores,
            encoders,
            mask,
            bench.skeleton,
            responses,
            fused,
            seed,
        )
        player.write(out / "player.json", player.document(bench, encoders, shown))
        told = judged.told([*each, *fused], labels, bench.classes)
        about = {
            "benchmark": name,
            "demonstration": bench.demonstration,
            "seed": seed,
            "stream": stream,
        }
        record.write(
            out / "metrics.json",
            {"stage": "illustrate", **about, "encoders": encoders, "models": told},
        )
        log.summary(
            f"{len(shown)} recordings for the player, {len(labels)} clips; "
            f"{', '.join(seen) or 'no network'}"
        )


if __name__ == "__main__":
    cli.run(main)
