"""Pretrain one encoder a stream without labels.   benchmark → runs/pretrain/<run>/<stream>"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asma import backbones, cli, masking, methods, record, tracking, training
from asma.augment import Augment
from asma.backbones.base import Architecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.masking import Mask
from asma.methods.base import Pretrain
from asma.motion import Motion
from asma.plan import Plan
from asma.streamed import OfStream
from asma.training import Run
from asma.views import ViewConfig

OTHER = 1000  # between the seeds of an encoder and of the next one of its kind


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    motion: Motion
    augment: Augment
    mask: Mask
    encoder: Architecture
    pretrain: Pretrain

    @property
    def draws(self) -> int:
        """The seed of this encoder; a second of a kind differs from the first in draws alone."""
        return self.seed + OTHER * (masking.number(self.mask.strategy) - 1)


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    pretrain, device = settings.pretrain, settings.run.start()
    kind = methods.find(pretrain.method)
    depends = (plan.settings, plan.code, bench.path)
    with (
        tracking.run("pretrain", recipe=plan.recipe, benchmark=bench.name) as log,
        training.resumable("pretrain", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, **settings.run.about(device)})
        log.data(bench, "train")
        # a method that trains its streams together is one training of all of them
        for streams in [settings.streams] if kind.together else [[s] for s in settings.streams]:
            own = OfStream(log, "+".join(streams))
            saved = checkpoint("encoder", within=own.stream)
            method, curves, n = train(settings, bench, streams, device, own, saved)
            told = {
                "stage": "pretrain",
                "benchmark": bench.name,
                "encoder": plan.like,
                "seed": settings.seed,
                "epochs": len(curves.get(kind.curve, [])),
                "n_train": n,
                "curves": {name: curve for name, curve in curves.items() if curve},
                **plan.about(),
                **settings.run.about(device),
                **method.about(),
            }
            for stream in streams:
                out = plan.folder / stream
                training.save_weights(out / training.WEIGHTS, encoder=method.encoder(stream))
                record.write(out / "metrics.json", {**told, "stream": stream})
            learnt = f"{told['epochs']} epochs on {n} clips without labels"
            log.summary(f"{plan.recipe}, {own.stream}: {learnt}")


def train(
    settings: Settings,
    bench: Benchmark,
    streams: list[str],
    device: torch.device,
    log: OfStream,
    checkpoint: training.Checkpoint,
) -> tuple[methods.Method, training.Curves, int]:
    """The method with its trained encoders, its losses by epoch, and how many clips it has seen."""
    pretrain, draws = settings.pretrain, settings.draws
    kind = methods.find(pretrain.method)
    step = pretrain.frame_step if kind.learns else 1
    clips = batches.load_streams(bench, "train", kind.inputs(streams), device, step)
    torch.manual_seed(draws)
    encoders = {
        stream: backbones.build(bench.skeleton, settings.encoder, pretrain.dropout)
        for stream in streams
    }
    augment = settings.augment.without(bench.without)
    views = ViewConfig(bench.skeleton, augment, settings.mask, settings.motion)
    method = kind(encoders, pretrain, views).to(device)
    label = f"pretrain {bench.name} {log.stream}"
    people = batches.people(bench, "train") if pretrain.batches == "by_person" else None
    curves = methods.train(
        method, clips, pretrain, run=settings.run, device=device, seed=draws, label=label,
        log=log, checkpoint=checkpoint, people=people,
    )  # fmt: skip
    return method, curves, len(clips)


if __name__ == "__main__":
    cli.run(main)
