"""Judge the settings of grid.yaml on validation subjects; write docs/budgets.md.

    python -m budgets [name ...] [--jobs 2]

A validation split takes its subjects from the training part, so that nothing here sees a test
recording. Every line is a recipe with changes, run by the pipeline's own stages from plans of its
own; what has been run with the same values is not run again. A name is a budget of grid.yaml.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate

import stages.plan
from asma import plan
from asma.deployment.machine import processor
from asma.grid import Grid
from asma.plan import DEFAULT, Plan
from asma.training import fingerprint

HERE = Path(__file__).parent
RUNS = Path("runs/budgets")
PAGE = Path("docs/budgets.md")
STAGES = ("pretrain", "finetune")
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Trial:
    """One line of a grid with one seed: what is trained, from which pretraining, with what
    changed.
    """

    budget: str
    benchmark: str
    stage: str  # pretrain (then probed), or finetune
    encoder: str
    line: str
    seed: int
    stream: str

    @property
    def recipe(self) -> str:
        """The encoder's recipe and what is changed."""
        own = [] if self.line in (DEFAULT, UNTRAINED) else [self.line]
        return "+".join([self.encoder, *own, f"seed={self.seed}", f"streams={self.stream}"])

    @property
    def data(self) -> Path:
        """The split; it holds digests of its clips."""
        return Path("data/benchmarks", f"{self.benchmark}.h5")

    @property
    def judging(self) -> str:
        """The stage that judges what is trained."""
        return "probe" if self.stage == "pretrain" else "finetune"

    @cached_property
    def plans(self) -> tuple[Plan, Plan]:
        """Of the pretraining and of the judging, in a folder of their own."""
        trained, judged = (
            runs().run(name, self.recipe, self.benchmark) for name in ("pretrain", self.judging)
        )
        told = json.dumps([trained.settings, judged.settings])
        key = fingerprint(told, *filter(Path.is_file, [self.data]))[:12]
        out = RUNS / self.benchmark / self.stage / self.encoder / self.stream / key
        pretrained = (out / "pretrained").as_posix()
        reads = {**judged.reads, "pretrained": pretrained}
        return replace(trained, out=pretrained), replace(judged, out=out.as_posix(), reads=reads)

    @property
    def folder(self) -> Path:
        """Named by the line and everything it stands on, so that a changed default is run anew."""
        return self.plans[1].folder

    def run(self) -> None:
        """Run the line's stages unless they have been; leave how long they took beside them."""
        done = self.folder / "trial.json"
        if done.is_file():
            return
        began = time.perf_counter()
        trained, judged = self.plans
        stage("pretrain", plan.write(trained, self.folder / "pretrain.json"))
        seconds_of_training = time.perf_counter() - began
        stage(self.judging, plan.write(judged, self.folder / "judge.json"))
        whole = time.perf_counter() - began
        seconds = seconds_of_training if self.stage == "pretrain" else whole - seconds_of_training
        told = {"line": self.line, "seed": self.seed, "seconds": seconds, "processor": processor()}
        done.write_text(json.dumps(told), encoding="utf-8")

    def outcome(self) -> dict[str, float]:
        """Accuracy by mode, the last loss of what was trained, minutes and epochs."""
        judged = json.loads(
            (self.folder / self.stream / "metrics.json").read_text(encoding="utf-8")
        )
        found = {row["mode"]: row["accuracy"] for row in judged["results"]}
        left = self.folder / "pretrained" if self.stage == "pretrain" else self.folder
        trained = json.loads((left / self.stream / "metrics.json").read_text(encoding="utf-8"))
        for curve in trained["curves"].values():
            found |= {"loss": curve[-1], "epochs": len(curve)}
        told = json.loads((self.folder / "trial.json").read_text(encoding="utf-8"))
        return {**found, "minutes": told["seconds"] / 60}


@cache
def runs() -> Grid:
    """The runs of the project, for plans of their kind."""
    return stages.plan.project()


def stage(name: str, of: Path) -> None:
    """Run a stage by its plan file on one thread. Raises RuntimeError with what it said where it
    fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{name}", str(of)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} {of}\n{done.stdout}{done.stderr}")


def trials(budget: str, grid: dict[str, Any]) -> Iterator[Trial]:
    """All lines of a grid with all its seeds; the untrained encoder first."""
    for name in STAGES:
        for line in ([UNTRAINED] if name == "pretrain" else []) + grid.get(name, []):
            encoder = grid["encoder"] if name == "pretrain" and line != UNTRAINED else "random"
            for benchmark, seed in itertools.product(grid["benchmarks"], grid["seeds"]):
                yield Trial(budget, benchmark, name, encoder, line, seed, grid["stream"])


def table(of: Iterable[Trial], chosen: str) -> str:
    """A row a line: means over the splits and seeds, with the deviation where there are several."""
    lines: dict[str, list[dict[str, float]]] = {}
    for trial in of:
        lines.setdefault(trial.line, []).append(trial.outcome())
    heads = list(dict.fromkeys(key for runs in lines.values() for run in runs for key in run))
    heads = [*(h for h in heads if h not in ("epochs", "minutes")), "epochs", "minutes"]
    rows = []
    for line, runs in lines.items():
        cells = []
        for head in heads:
            values = [run[head] for run in runs if head in run]
            spread = (
                f" ± {np.std(values, ddof=1):.1f}"
                if len(values) > 1 and head not in ("epochs", "minutes")
                else ""
            )
            cells.append(
                f"{np.mean(values):.{0 if head == 'epochs' else 1}f}{spread}" if values else "–"
            )
        rows.append([chosen if line == DEFAULT else f"`{line}`", *cells])
    return tabulate(rows, ["line", *heads], tablefmt="pipe", disable_numparse=True)


def page(grids: dict[str, Any]) -> str:
    """docs/budgets.md: the notes, and of every budget its grid."""
    parts = [(HERE / "notes.md").read_text(encoding="utf-8").rstrip()]
    before = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    for budget, grid in grids.items():
        known = [t for t in trials(budget, grid) if (t.folder / "trial.json").is_file()]
        if not known:  # not run on this machine: as it was
            parts += re.findall(
                rf"^(## {budget}\n.*?)\n*(?=^## |\Z)", before, re.MULTILINE | re.DOTALL
            )
            continue
        whom = []
        for benchmark in grid["benchmarks"]:
            dataset = runs().dataset_of(benchmark)
            told = asdict(
                runs().project.dataset(dataset).splits[benchmark.removeprefix(f"{dataset}_")]
            )
            words = [
                f"{told['column']} {', '.join(map(str, told[part]))}" for part in ("train", "test")
            ]
            whom.append(f"`{benchmark}` learns from {words[0]} and is judged on {words[1]}")
        machines = sorted(
            {json.loads((t.folder / "trial.json").read_text())["processor"] for t in known}
        )
        parts.append(
            f"## {budget}\n\nStream {grid['stream']}, seeds {', '.join(map(str, grid['seeds']))}. "
            f"{'; '.join(whom)}: all of the training part. One thread of {'; '.join(machines)}."
        )
        for name, title in (
            ("pretrain", "Pretrained, frozen"),
            ("finetune", "Trained from scratch"),
        ):
            if chosen := [t for t in known if t.stage == name]:
                parts.append(f"{title}; per cent right:\n\n{table(chosen, '**chosen**')}")
        parts.append(f"Chosen: [budgets/{budget}.yaml](../budgets/{budget}.yaml).")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    grids = yaml.safe_load((HERE / "grid.yaml").read_text(encoding="utf-8"))
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"any of {', '.join(grids)}; all if none is given"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="trials at once, each on one thread"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(grids):
        parser.error(f"found {', '.join(sorted(unknown))}; expected any of {', '.join(grids)}")
    for budget in given.names or grids:
        grid = grids[budget]
        for name in grid["benchmarks"]:
            stage("split", plan.write(runs().split(name), RUNS / name / "split.json"))
        waiting = list(trials(budget, grid))
        with ThreadPoolExecutor(given.jobs) as pool:
            for trial, _ in zip(waiting, pool.map(Trial.run, waiting), strict=True):
                said = ", ".join(f"{key} {value:.1f}" for key, value in trial.outcome().items())
                print(f"{budget} {trial.stage} {trial.line}, seed {trial.seed}: {said}", flush=True)
        PAGE.write_text(page(grids), encoding="utf-8")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
