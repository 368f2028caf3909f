"""What encoder, teacher and student cost.   benchmark → runs/efficiency/<benchmark>"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asma import backbones, cli, efficiency, record, results, tracking
from asma.backbones.blocks import StackArchitecture
from asma.data.benchmarks import Benchmark
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier
from asma.plan import Plan
from asma.protocols.frozen import Fuse


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    streams: list[str]
    encoder: StackArchitecture
    fuse: Fuse
    distill: Distill


def main(plan: Plan) -> None:
    settings, bench = plan.load(Settings), Benchmark(plan.path("benchmark"))
    architecture, fuse, distill = settings.encoder, settings.fuse, settings.distill
    n_streams = len(settings.streams)
    with tracking.run("efficiency", benchmark=bench.name) as log:
        encoder = backbones.build(bench.skeleton, architecture)
        head = AlignedClassifier(encoder.dim, len(bench.classes), fuse.alignment)
        student = Student(
            bench.skeleton, len(bench.classes), distill, architecture.partition, architecture.absent
        )
        single = {
            "encoder with linear head": results.cost(bench, encoder),
            "teacher: two encoders, alignment, head": results.fused_cost(
                bench,
                [encoder, encoder],
                head,
                results.example_tokens(bench, encoder, fuse.alignment.tokens),
            ),
            "student with head": results.cost_of(bench, student),
        }
        models: list[dict[str, Any]] = [
            {"model": model, "streams": times, **efficiency.total(count, times=times)}
            for model, count in single.items()
            for times in sorted({1, n_streams})
        ]
        about = {"stage": "efficiency", "benchmark": bench.name}
        record.write(plan.folder / "metrics.json", {**about, "models": models})
        for row in models:
            log.metrics(
                {
                    f"{row['streams']}s {row['model']}".replace(":", "").replace(",", ""): row[
                        "params"
                    ]
                }
            )
        lines = [
            f"{r['streams']}s {r['model']}: {r['params'] / 1e6:.3f} M, {r['macs'] / 1e9:.2f} GMAC"
            for r in models
        ]
        log.summary("\n".join(lines))


if __name__ == "__main__":
    cli.run(main)
