"""Teacher and student as one deploys them.   runs/{fuse,distill}/… → runs/export/<run>/<stream>

The student also becomes a version of `student` in MLflow's model registry. The ONNX files are the
same bytes for the same weights. metrics.json is not: it holds times and memory of this machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from asma import cli, record, registry, tracking
from asma.backbones.blocks import StackArchitecture
from asma.data import batches
from asma.data.benchmarks import Benchmark
from asma.deployment import device, machine
from asma.deployment.device import Export
from asma.deployment.forms import Blueprint
from asma.distillation import Distill
from asma.plan import Plan
from asma.protocols.frozen import Fuse
from asma.streamed import OfStream
from asma.training import WEIGHTS

FIGURES = (
    "file_bytes",
    "peak_bytes",
    "latency_ms",
    "latency_p95_ms",
    "clips_per_s",
    "accuracy",
    "agreement",
)


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    encoder: StackArchitecture
    fuse: Fuse
    distill: Distill
    export: Export


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    how, alignment = settings.export, settings.fuse.alignment
    how.check()
    torch.set_num_threads(how.threads)
    with tracking.run("export", recipe=plan.recipe, benchmark=bench.name) as log:
        here = {
            "processor": machine.processor(),
            "threads": how.threads,
            "torch": torch.__version__,
        }
        log.params({"export": asdict(how), "machine": here})
        log.data(bench, "train", "test")
        about = {"stage": "export", "benchmark": bench.name, "demonstration": bench.demonstration}
        about |= {**bench.counts(), **plan.about(), "teacher": settings.fuse.mode, "machine": here}
        for stream in how.streams:
            own, out = OfStream(log, stream), plan.folder / stream
            train, test = (
                batches.load(bench, part, stream, torch.device("cpu")) for part in ("train", "test")
            )
            (out / "models").mkdir(parents=True, exist_ok=True)
            shape = (
                bench.skeleton,
                len(bench.classes),
                settings.encoder,
                alignment,
                settings.distill,
            )
            networks = [
                Blueprint(name, *shape, plan.path(read) / stream / WEIGHTS)
                for name, read in (("teacher", "fused"), ("student", "distilled"))
            ]
            rows, missing = device.measure(networks, train.x, test, out / "models", how)
            told = {**about, "stream": stream, "models": rows, "unavailable": missing}
            record.write(out / "metrics.json", told)
            for row in rows:
                name = f"{row['model']} {row['form']}"
                own.metrics({f"{name}.{key}": row[key] for key in FIGURES})
                log.summary(
                    f"{name}: {row['latency_ms']:.2f} ms a clip, {row['file_bytes'] / 1e6:.2f} MB, "
                    f"{row['accuracy']:.2f} % top-1, {row['agreement']:.1f} % the same answer"
                )
            for row in missing:
                log.summary(f"{row['model']} {row['form']}: not available: {row['reason']}")
            if log.run_id:
                registry.register(log.run_id, "student", networks[-1].load(), test.x[:2].numpy())


if __name__ == "__main__":
    cli.run(main)
