"""Teach a small student by a frozen teacher.   runs/fuse/… → runs/distill/<teacher>/<benchmark>/<stream>

It learns the teacher's logits, or its embedding and then labels, or, the control, labels alone: `distill.form`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import cli, evaluation, params, results, tracking, training
from asma.backbones import Encoder, pool
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill
from asma.protocols import distilled
from asma.protocols.bench import Bench
from asma.results import Judged
from asma.training import Run


def main(teacher: str, benchmark: Path, stream: str, fused: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.seed()
    how, run = params.load("distill", Distill, bench.budget), params.load("run", Run, bench.budget)
    architecture = params.load("encoder", Encoder, bench.budget)
    device = run.start()
    taught_by, temperature = fused / "train_logits.npz", how.tau(bench.name)
    axes, depends = (teacher, bench.name, stream), (seed, how, architecture, run, benchmark, taught_by)
    with (
        tracking.run("distill", teacher=teacher, benchmark=bench.name, stream=stream) as log,
        training.resumable("distill", *axes, params.changed(), of=depends) as checkpoint,
    ):
        log.params(
            {
                "seed": seed,
                "distill": asdict(how),
                "temperature": temperature,
                "run": asdict(run),
                **run.about(device),
            }
        )
        judge = Bench(len(bench.classes), run, device, seed, log, checkpoint)
        train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
        names, _, told = evaluation.load_logits(taught_by)
        evaluation.same_recordings(train.names, names, str(taught_by))
        logits, embedding, labelled = (
            torch.from_numpy(told[k]).to(device) for k in ("aligned", "embedding", "labelled")
        )
        lesson = distilled.Lesson(train.x, logits, embedding, train.labels, labelled.nonzero()[:, 0])
        student, curves = distilled.distil(bench.skeleton, lesson, how, architecture, temperature, judge)
        with run.autocast(device):
            embedded = evaluation.embed(student.encoder, test.x, pool)
        answers = evaluation.forward(student.head, embedded)  # logits in 16 bits would often be equal
        training.save_weights(out / "weights.safetensors", student=student)
        epochs = sum(len(curve) for curve in curves.values())
        judged = {how.mode(teacher): Judged(answers, epochs, results.cost_of(bench, student))}
        about = {
            "stage": "distill",
            "encoder": "student",
            "stream": stream,
            "seed": seed,
            **run.about(device),
            "n_labelled": None if how.form == "logits" else len(lesson.known),
        }
        results.leave(out, log, bench, test, judged, **about, curves=curves)


if __name__ == "__main__":
    cli.run(main)
