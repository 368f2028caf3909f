"""Teach a small student by a frozen teacher.   runs/fuse/… → runs/distill/<run>/<stream>

It learns the teacher's logits, or its embedding and then labels, or, the control, labels alone:
`distill.form`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from asma import cli, evaluation, results, tracking, training
from asma.backbones import pool
from asma.backbones.blocks import StackArchitecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill
from asma.plan import Plan
from asma.protocols import distilled
from asma.protocols.bench import Bench
from asma.protocols.frozen import Fuse
from asma.results import Judged
from asma.streamed import OfStream
from asma.training import Run


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    seed: int
    streams: list[str]
    run: Run
    encoder: StackArchitecture
    fuse: Fuse
    distill: Distill


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    how, run, seed = settings.distill, settings.run, settings.seed
    device, temperature = run.start(), how.tau(bench.name)
    teachers = {s: plan.path("fused") / s / "train_logits.npz" for s in settings.streams}
    about = {"stage": "distill", "encoder": "student", "seed": seed, **plan.about()}
    depends = (plan.settings, plan.code, bench.path, *teachers.values())
    with (
        tracking.run("distill", recipe=plan.recipe, benchmark=bench.name) as log,
        training.resumable("distill", plan.name, of=depends) as checkpoint,
    ):
        log.params({**plan.settings, "temperature": temperature, **run.about(device)})
        log.data(bench, "train", "test")
        for stream in settings.streams:
            own, saved = OfStream(log, stream), partial(checkpoint, within=stream)
            judge = Bench(len(bench.classes), run, device, seed, own, saved)
            train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
            names, _, taught = evaluation.load_logits(teachers[stream])
            evaluation.same_recordings(train.names, names, str(teachers[stream]))
            logits, embedding, labelled = (
                torch.from_numpy(taught[k]).to(device) for k in ("aligned", "embedding", "labelled")
            )
            known = labelled.nonzero()[:, 0]
            lesson = distilled.Lesson(train.x, logits, embedding, train.labels, known)
            student, curves = distilled.distil(
                bench.skeleton, lesson, how, settings.encoder, temperature, judge
            )
            with run.autocast(device):
                embedded = evaluation.embed(student.encoder, test.x, pool)
            # 16 bits would often make them equal
            answers = evaluation.forward(student.head, embedded)
            out = plan.folder / stream
            training.save_weights(out / training.WEIGHTS, student=student)
            epochs = sum(len(curve) for curve in curves.values())
            mode = how.mode(settings.fuse.mode)
            judged = {mode: Judged(answers, epochs, results.cost_of(bench, student))}
            told = {**about, "stream": stream, **run.about(device)}
            told["n_labelled"] = None if how.form == "logits" else len(lesson.known)
            results.leave(out, own, bench, test, judged, **told, curves=curves)


if __name__ == "__main__":
    cli.run(main)
