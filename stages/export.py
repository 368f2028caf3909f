"""Teacher and student as one deploys them.   runs/{fuse,distill}/… → runs/export/<teacher>/<benchmark>/<stream>

The student also becomes a version of `student` in MLflow's model registry.
The ONNX files are the same bytes for the same weights. metrics.json is not: it holds times and memory of this machine.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from asma import cli, params, record, registry, tracking
from asma.backbones import Encoder
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.deployment import device, machine
from asma.deployment.device import Export
from asma.deployment.forms import Blueprint
from asma.distillation import Distill
from asma.protocols.frozen import Fuse

WEIGHTS = "weights.safetensors"
FIGURES = ("file_bytes", "peak_bytes", "latency_ms", "latency_p95_ms", "clips_per_s", "accuracy", "agreement")


def main(teacher: str, benchmark: Path, stream: str, fused: Path, distilled: Path, out: Path) -> None:
    bench, how = Benchmark(benchmark), params.load("export", Export)
    architecture, distill = params.load("encoder", Encoder, bench.budget), params.load("distill", Distill, bench.budget)
    alignment = params.load("fuse", Fuse, bench.budget).alignment
    how.check()
    torch.set_num_threads(how.threads)
    with tracking.run("export", teacher=teacher, benchmark=bench.name, stream=stream) as log:
        here = {"processor": machine.processor(), "threads": how.threads, "torch": torch.__version__}
        log.params({"export": asdict(how), "machine": here})
        log.data(bench, "train", "test")
        train, test = (batches.load(bench, part, stream, torch.device("cpu")) for part in ("train", "test"))
        (out / "models").mkdir(parents=True, exist_ok=True)
        networks = [
            Blueprint(name, bench.skeleton, len(bench.classes), architecture, alignment, distill, folder / WEIGHTS)
            for name, folder in (("teacher", fused), ("student", distilled))
        ]
        rows, missing = device.measure(networks, train.x, test, out / "models", how)
        about = {"stage": "export", "benchmark": bench.name, "demonstration": bench.demonstration, **bench.counts()}
        about |= {"teacher": teacher, "stream": stream, "machine": here}
        record.write(out / "metrics.json", {**about, "models": rows, "unavailable": missing})
        for row in rows:
            name = f"{row['model']} {row['form']}"
            log.metrics({f"{name}.{key}": row[key] for key in FIGURES})
            log.summary(
                f"{name}: {row['latency_ms']:.2f} ms a clip, {row['file_bytes'] / 1e6:.2f} MB, "
                f"{row['accuracy']:.2f} % top-1, {row['agreement']:.1f} % the same answer as the network"
            )
        for row in missing:
            log.summary(f"{row['model']} {row['form']}: not available: {row['reason']}")
        if log.run_id:
            registry.register(log.run_id, "student", networks[-1].load(), test.x[:2].numpy())


if __name__ == "__main__":
    cli.run(main)
