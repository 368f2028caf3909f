"""Resolve and check every run.   parameters, code → plan/<stage>/<run>.json

The parameters stand in params.yaml, recipes/, datasets/ and budgets/.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from asma import cli, contents, grid, plan
from asma.grid import Grid
from asma.imports import Code
from asma.params import Project
from asma.plan import Plan

STAGES = (
    "synthesize", "parse", "prepare", "motion", "split", "pretrain", "probe", "finetune", "fuse",
    "distill", "transfer", "baseline", "efficiency", "export", "illustrate", "ensemble", "table",
    "ablations",
)  # fmt: skip


def project(root: Path = Path()) -> Grid:
    """The runs of the project below a folder. Raises ParamsError."""
    settings = {stage: import_module(f"stages.{stage}").Settings for stage in STAGES}
    made = Grid(Project(root), settings, Code(root))
    grid.check(made)
    return made


def runs(of: Grid) -> Iterator[Plan]:
    """The plans of all runs: of the table, of the ablations, and of what is made of both."""
    rows = list(of.rows())
    yield from rows
    yield contents.ensemble(of, rows)
    yield contents.table(of, rows)
    if of.project.ablations:
        yield from contents.lines(of)
        yield contents.summary(of)


def main() -> None:
    of = project()
    every = list(runs(of))  # what is wrong is said before anything is written
    shutil.rmtree(plan.FOLDER, ignore_errors=True)
    for run in every:
        plan.write(run, plan.FOLDER / run.stage / f"{run.name}.json")
    settings = json.dumps(grid.machine(of.project.config("")), indent=1)
    plan.MACHINE.write_text(settings + "\n", encoding="utf-8")
    print(f"{len(every)} runs planned: {plan.FOLDER}/")


if __name__ == "__main__":
    cli.run(main)
