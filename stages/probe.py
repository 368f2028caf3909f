"""Judge one frozen encoder a stream.   runs/pretrain/… → runs/probe/<run>/<stream>"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from asma import backbones, cli, evaluation, results, tracking, training
from asma.backbones.base import Architecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.plan import Plan
from asma.protocols import frozen
from asma.protocols.bench import Bench
from asma.results import Judged
from asma.streamed import OfStream
from asma.training import Run


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    encoder: Architecture
    probe: frozen.Probe


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    how, run, seed = settings.probe, settings.run, settings.seed
    device, pretrained = run.start(), plan.path("pretrained")
    weights = {stream: pretrained / stream / training.WEIGHTS for stream in settings.streams}
    about = {"stage": "probe", "encoder": plan.like, "seed": seed, **plan.about()}
    depends = (plan.settings, plan.code, bench.path, *weights.values())
    with (
        tracking.run("probe", recipe=plan.recipe, benchmark=bench.name) as log,
        training.resumable("probe", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, **run.about(device)})
        log.data(bench, "train", "test")
        for stream in settings.streams:
            own, saved = OfStream(log, stream), partial(checkpoint, within=stream)
            network = backbones.build(bench.skeleton, settings.encoder).to(device)
            training.load_weights(weights[stream], encoder=network)
            judge = Bench(len(bench.classes), run, device, seed, own, saved)
            train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
            raw = (
                frozen.embeddings(network, train.x, judge),
                frozen.embeddings(network, test.x, judge),
            )
            scaled = frozen.standardised(*raw)
            near = {
                k: evaluation.nearest(*scaled, train.labels, judge.classes, k)
                for k in how.neighbours
            }
            plain, free = results.cost(bench, network), results.cost(bench, network, classes=False)
            linear = {
                name: frozen.linear_probe(of_train, of_test, train.labels, how, judge, name)
                for name, (of_train, of_test) in (("linear", raw), ("standardised", scaled))
            }
            judged = {
                **{name: Judged(logits, how.epochs, plain) for name, logits in linear.items()},
                **{f"knn_{k}": Judged(logits, 0, free) for k, logits in near.items()},
            }
            told = {**about, "stream": stream, **run.about(device)}
            results.leave(plan.folder / stream, own, bench, test, judged, **told)


if __name__ == "__main__":
    cli.run(main)
