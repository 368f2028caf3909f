"""Judge one frozen encoder.   runs/pretrain/… → runs/probe/<encoder>/<benchmark>/<stream>"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from asma import backbones, cli, evaluation, params, results, tracking, training
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.protocols import frozen
from asma.protocols.bench import Bench
from asma.results import Judged
from asma.training import Run


def main(encoder: str, benchmark: Path, stream: str, pretrained: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.read()["seed"]
    how, run = params.load("probe", frozen.Probe, bench.budget), params.load("run", Run, bench.budget)
    architecture = params.load("encoder", Encoder, bench.budget)
    device = run.start()
    depends = (seed, how, architecture, run, benchmark, pretrained / "weights.safetensors")
    with (
        tracking.run("probe", encoder=encoder, benchmark=bench.name, stream=stream) as log,
        training.resumable("probe", encoder, bench.name, stream, params.changed(), of=depends) as checkpoint,
    ):
        log.params({"seed": seed, "probe": asdict(how), "run": asdict(run), **run.about(device)})
        network = backbones.build(bench.skeleton, architecture).to(device)
        training.load_weights(pretrained / "weights.safetensors", encoder=network)
        judge = Bench(len(bench.classes), run, device, seed, log, checkpoint)
        train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
        raw = (frozen.embeddings(network, train.x, judge), frozen.embeddings(network, test.x, judge))
        scaled = frozen.standardised(*raw)
        near = {k: evaluation.nearest(*scaled, train.labels, judge.classes, k) for k in how.neighbours}
        plain, free = results.cost(bench, network), results.cost(bench, network, classes=False)
        judged = {
            "linear": Judged(frozen.linear_probe(*raw, train.labels, how, judge, "linear"), how.epochs, plain),
            "standardised": Judged(
                frozen.linear_probe(*scaled, train.labels, how, judge, "standardised"), how.epochs, plain
            ),
            **{f"knn_{k}": Judged(logits, 0, free) for k, logits in near.items()},
        }
        about = {"stage": "probe", "encoder": encoder, "stream": stream, "seed": seed}
        results.leave(out, log, bench, test, judged, **about, **run.about(device))


if __name__ == "__main__":
    cli.run(main)
