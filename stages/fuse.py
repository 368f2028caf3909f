"""Join two frozen encoders.   runs/<mode>/{first,second}@… → runs/fuse/<run>/<stream>

mode pretrain: the aligned probe of two pretrained encoders; finetune: the second step of
fine-tuning. Beside the feature alignment (by `fuse.fit`) stand its controls: both embeddings
averaged or side by side (linear, by `probe`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from asma import backbones, cli, evaluation, fusion, results, tracking, training
from asma.backbones.base import Architecture, Encoder
from asma.data import batches
from asma.data.batches import Clips
from asma.data.benchmarks import Benchmark
from asma.plan import Plan
from asma.protocols import frozen
from asma.protocols.bench import Bench
from asma.protocols.finetuned import Finetune
from asma.results import Judged
from asma.streamed import OfStream
from asma.training import Run

Heads = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    encoder: Architecture
    fuse: frozen.Fuse
    probe: frozen.Probe
    finetune: Finetune

    @property
    def fits(self) -> dict[str, training.Fit]:
        """How each head is trained."""
        aligned, linear = self.fuse.fit.of(self.fuse.mode), self.probe
        return {name: linear if name in fusion.LINEAR else aligned for name in self.fuse.heads}

    def seen(self, labels: Tensor) -> Tensor | slice:
        """What encoders were not to know of the labels is not for the heads on them either."""
        if self.fuse.mode != "finetune":
            return slice(None)
        return batches.labelled(labels, self.finetune.labels, self.finetune.draw)


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    run, seed = settings.run, settings.seed
    device, folders = run.start(), [plan.path("first"), plan.path("second")]
    weights = {s: [folder / s / training.WEIGHTS for folder in folders] for s in settings.streams}
    about = {"stage": "fuse", "encoder": "both", "seed": seed, **plan.about()}
    paths = [path for two in weights.values() for path in two]
    depends = (plan.settings, plan.code, bench.path, *paths)
    with (
        tracking.run("fuse", recipe=plan.recipe, benchmark=bench.name) as log,
        training.resumable("fuse", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, **plan.reads, **run.about(device)})
        log.data(bench, "train", "test")
        for stream in settings.streams:
            own, saved = OfStream(log, stream), partial(checkpoint, within=stream)
            judge = Bench(len(bench.classes), run, device, seed, own, saved)
            train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
            networks = []
            for path in weights[stream]:
                networks.append(backbones.build(bench.skeleton, settings.encoder).to(device))
                training.load_weights(path, encoder=networks[-1])
            kind = settings.fuse.alignment.tokens
            tokens = [
                frozen.paired_features(networks, clips.x, kind, judge) for clips in (train, test)
            ]
            seen = settings.seen(train.labels)
            known = train.labels[seen]
            heads: Heads = {
                name: frozen.fused_probe(
                    name, tokens[0][seen], known, tuple(tokens), settings.fuse.alignment, fit, judge
                )
                for name, fit in settings.fits.items()
            }
            leave(plan, stream, train, networks, heads, tokens[0], seen)
            judged = judge_heads(settings, bench, networks, heads, tokens[0])
            told = {**about, "stream": stream, "n_labelled": len(known), **run.about(device)}
            results.leave(plan.folder / stream, own, bench, test, judged, **told)


def leave(
    plan: Plan,
    stream: str,
    train: Clips,
    networks: Sequence[Encoder],
    heads: Heads,
    tokens: Tensor,
    seen: Tensor | slice,
) -> None:
    """Write the weights of the aligned classifier, and what a student may learn from."""
    out = plan.folder / stream
    aligned, (of_train, _) = heads["aligned"]
    first, second = networks
    training.save_weights(out / training.WEIGHTS, first=first, second=second, classifier=aligned)
    labelled = torch.zeros_like(train.labels)
    labelled[seen] = 1
    embedding = frozen.fused_embeddings(aligned, tokens)
    lesson = {"aligned": of_train, "embedding": embedding, "labelled": labelled}
    arrays = {name: what.cpu().numpy() for name, what in lesson.items()}
    labels = train.labels.cpu().numpy()
    evaluation.save_logits(out / "train_logits.npz", train.names, labels, arrays)


def judge_heads(
    settings: Settings, bench: Benchmark, networks: Sequence[Encoder], heads: Heads, tokens: Tensor
) -> dict[str, Judged]:
    """The answers of every head on the test clips, by mode, such as `aligned_probed`."""
    word = {"pretrain": "probed", "finetune": "finetuned"}[settings.fuse.mode]
    return {
        f"{name}_{word}": Judged(
            of_test, settings.fits[name].epochs, results.fused_cost(bench, networks, head, tokens)
        )
        for name, (head, (_, of_test)) in heads.items()
    }


if __name__ == "__main__":
    cli.run(main)
