"""Teach a small student by a frozen teacher's logits.   runs/fuse/… → runs/distill/<teacher>/<benchmark>/<stream>"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import cli, efficiency, evaluation, params, results, tracking, training
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill
from asma.protocols import distilled
from asma.protocols.bench import Bench
from asma.results import Judged
from asma.training import Run


def main(teacher: str, benchmark: Path, stream: str, fused: Path, out: Path) -> None:
    bench, seed = Benchmark(benchmark), params.read()["seed"]
    how, run = params.load("distill", Distill, bench.schedule), params.load("run", Run)
    architecture = params.load("encoder", Encoder)
    device = run.start()
    with tracking.run("distill", teacher=teacher, benchmark=bench.name, stream=stream) as log:
        temperature = how.tau(bench.name)
        log.params({"seed": seed, "distill": asdict(how), "temperature": temperature, "run": asdict(run)})
        judge = Bench(len(bench.classes), run, device, seed, log)
        train, test = (batches.load(bench, part, stream, device) for part in ("train", "test"))
        names, _, logits = evaluation.load_logits(fused / "train_logits.npz")
        evaluation.same_recordings(train.names, names, str(fused))
        taught = torch.from_numpy(logits["aligned"]).to(device)
        depends = (seed, how, architecture, run, benchmark, fused / "train_logits.npz")
        with training.resumable("distill", teacher, bench.name, stream, of=depends) as checkpoint:
            student = distilled.distil(
                bench.skeleton, train.x, taught, how, architecture.partition, temperature, judge, checkpoint("student")
            )
        with run.autocast(device):
            answers = evaluation.forward(student, test.x)
        training.save_weights(out / "weights.safetensors", student=student)
        log.model("student", student.cpu(), test.x[:2].cpu().numpy())
        word = {"pretrain": "probed", "finetune": "finetuned"}[teacher]
        cost = efficiency.count(student, test.x[:1].cpu())
        judged = {f"distilled_{word}": Judged(answers, how.epochs, cost)}
        results.leave(
            out, log, bench, test, judged, stage="distill", encoder="student", stream=stream, seed=seed
        )


if __name__ == "__main__":
    cli.run(main)
