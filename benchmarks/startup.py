"""What a stage costs before its work begins, and when it has none: processes started in turns.

Ours is a stage among the others (`python -m stages.empty`) that imports what pretraining imports,
makes torch deterministic, opens its run, builds an optimiser, says 100 epochs of two curves and
ends. The baseline does the same as it is commonly written: `import torch`, `import mlflow`,
`set_experiment`, `start_run`, `Adam`, `log_metric` call by call. Work begins where either has its
optimiser and may log. The limit is `python -c "import torch"`, start to end.

MLflow loads in a thread of ours while the work goes on; a stage without any waits for it at its
end.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROUNDS, Result, Times

ROOT = Path(__file__).resolve().parents[1]
OURS = '''
"""A stage without work."""
import time

from stages.pretrain import backbones, cli, methods, tracking, training
from torch import nn


def main() -> None:
    training.Run(device="cpu").start()
    with tracking.run("empty") as log:
        log.params({"lr": 0.005})
        training.Adam(nn.Linear(8, 8).parameters(), lr=0.005, fused=True)
        log.summary(repr(time.time()))
        for epoch in range(100):
            log.epoch(epoch, loss=1.0, rate=0.005)


if __name__ == "__main__":
    cli.run(main)
'''
PLAIN = """
import time
import mlflow
import torch

torch.use_deterministic_algorithms(True)
mlflow.set_experiment("asma")
with mlflow.start_run(run_name="empty"):
    mlflow.log_param("lr", 0.005)
    optimiser = torch.optim.Adam(torch.nn.Linear(8, 8).parameters(), lr=0.005)
    optimiser.zero_grad()
    print(repr(time.time()))
    for epoch in range(100):
        mlflow.log_metric("loss", 1.0, step=epoch)
        mlflow.log_metric("rate", 0.005, step=epoch)
"""
COMMANDS = {
    "ours": ["-m", "stages.empty"],
    "baseline": ["-c", PLAIN],
    "limit": ["-c", "import time, torch; print(repr(time.time()))"],
}


@dataclass(frozen=True)
class Taken:
    """Seconds of one process and those it starts: to the line it prints, to its end, of all
    processors.
    """

    begun: float
    ended: float
    processor: float


def start(command: list[str], folder: Path) -> Taken:
    """Run Python with a command in a folder of its own store; raises CalledProcessError if it
    fails.
    """
    foreign = ("DVC_", "MLFLOW_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    environment |= {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    ended, after = time.time() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(float(done.stdout.splitlines()[0]) - began, ended, processor)


def run(full: bool) -> list[Result]:
    """Seconds to the beginning of the work, from start to end, and of the processors."""
    taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as root:
        folders = {name: Path(root, name) for name in COMMANDS}
        for folder in folders.values():
            folder.mkdir()
        shutil.copytree(ROOT / "stages", folders["ours"] / "stages")
        (folders["ours"] / "stages" / "empty.py").write_text(OURS, encoding="utf-8")
        for name, command in COMMANDS.items():  # not counted: makes the stores, reads the files
            start(command, folders[name])
        for i in range(2 * ROUNDS if full else ROUNDS):
            for name in list(COMMANDS) if i % 2 == 0 else reversed(COMMANDS):
                taken[name].append(start(COMMANDS[name], folders[name]))
    results = []
    for field, case, unit in (
        ("begun", "until work begins", "s"),
        ("ended", "a stage without work, start to end", "s"),
        ("processor", "a stage without work, all processors", "CPU s"),
    ):
        seconds = {name: [getattr(one, field) for one in ones] for name, ones in taken.items()}
        times, limit = (
            Times(seconds["ours"], seconds["baseline"]),
            statistics.median(seconds["limit"]),
        )
        results.append(times.result("startup", case, unit=unit, limit=limit))
    return results
