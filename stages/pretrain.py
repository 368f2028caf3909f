"""Pretrain one encoder a stream without labels.   benchmark → runs/pretrain/<recipe>@<benchmark>/<stream>"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from asma import backbones, cli, masking, methods, tracking, training
from asma.augment import Augment
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.masking import Mask
from asma.methods import Pretrain
from asma.motion import Motion
from asma.plan import Plan
from asma.streamed import OfStream
from asma.training import Run
from asma.views import AsmaViews

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
    encoder: Encoder
    pretrain: Pretrain

    @property
    def draws(self) -> int:
        """The seed of this encoder: the second of a kind differs from the first in its draws alone."""
        return self.seed + OTHER * (masking.number(self.mask.strategy) - 1)


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    device, recipe = settings.run.start(), plan.recipe
    about = {"benchmark": bench.name, "encoder": plan.like, "seed": settings.seed}
    about |= {**plan.about(), **settings.run.about(device)}
    depends = (plan.settings, plan.code, bench.path)
    with (
        tracking.run("pretrain", recipe=recipe, benchmark=bench.name) as log,
        training.resumable("pretrain", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, **settings.run.about(device)})
        log.data(bench, "train")
        for stream in settings.streams:
            own = OfStream(log, stream)
            saved = checkpoint(f"{stream}/encoder")
            network, history, n = train(settings, bench, stream, device, own, saved)
            training.save_weights(plan.folder / stream / "weights.safetensors", encoder=network)
            told = {**about, "stream": stream, "epochs": len(history), "n_train": n}
            told["curves"] = {"barlow_twins": history} if history else {}
            log.write(plan.folder / stream / "metrics.json", {"stage": "pretrain", **told})
            clips = f"{n} clips without labels"
            log.summary(f"{recipe}, {stream}: {len(history)} epochs on {clips}")


def train(
    settings: Settings,
    bench: Benchmark,
    stream: str,
    device: torch.device,
    log: OfStream,
    checkpoint: training.Checkpoint,
) -> tuple[nn.Module, list[float], int]:
    """The encoder of one stream, its loss by epoch, and the number of clips it has seen."""
    how, draws = settings.pretrain, settings.draws
    clips = batches.load(bench, "train", stream, device)
    torch.manual_seed(draws)
    network = backbones.build(bench.skeleton, settings.encoder, how.dropout).to(device)
    if how.method == methods.UNTRAINED:
        methods.settle(network, clips.x, how.batch_size, draws)
        return network, [], len(clips)
    people = batches.people(bench, "train") if how.batches == "by_person" else None
    scores = batches.motion_scores(bench, "train", stream, device)
    augmenting, mask = settings.augment.without(bench.without), settings.mask
    views = AsmaViews(mask.strategy, bench.skeleton, augmenting, mask, settings.motion)
    method = methods.build(network, views, how).to(device)
    settings.run.accelerate(*method.children(), device=device)
    history = training.fit(
        method, lambda index, g: method.loss(clips.x[index], scores[index], g), len(clips), how,
        run=settings.run, device=device, seed=draws, label=f"pretrain {bench.name} {stream}",
        log=log, curve="barlow_twins", checkpoint=checkpoint, groups=people,
    )  # fmt: skip
    return network, history, len(clips)


if __name__ == "__main__":
    cli.run(main)
