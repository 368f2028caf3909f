"""Resolve and check every run.   parameters, code → plan/<stage>/<run>.json

The parameters stand in params.yaml, recipes/, datasets/ and budgets/.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from asma import ablations, cli, grid, plan
from asma.grid import Grid
from asma.imports import Code
from asma.params import Project
from asma.plan import Plan

STAGES = (
    "synthesize", "parse", "prepare", "motion", "split", "pretrain", "probe", "finetune", "fuse",
    "distill", "transfer", "baseline", "efficiency", "export", "illustrate", "ensemble", "table",
    "ablations",
)  # fmt: skip
JUDGED = ("probe", "finetune", "fuse", "distill")
# in the table, in order
SHOWN = (*JUDGED, "pretrain", "baseline", "efficiency", "transfer", "export")
TRAINED = ("pretrain", "probe", "finetune", "distill")  # whose epochs are said of the ablations


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
    yield ensemble(of, rows)
    yield table(of, rows)
    if of.project.ablations:
        yield from lines(of)
        yield summary(of)


def lines(of: Grid) -> list[Plan]:
    """The plans of the ablations' runs that the table does not have."""
    wanted = (run["axes"] for run in _wanted(of))
    return of.lines((axes["stage"], axes["recipe"], axes["benchmark"]) for axes in wanted)


def _wanted(of: Grid) -> Iterator[dict[str, Any]]:
    """Every run that the ablations ask for, as the report is told of it."""
    section = about(of)
    every = ablations.lines(of.params, section)
    streams = [str(stream) for stream in section["streams"]]
    for line, benchmark, seed in product(every, map(str, section["benchmarks"]), section["seeds"]):
        changed = f"{line.recipe}+seed={seed}+streams={','.join(streams)}"
        recipe = of.recipe(line.stage, changed, benchmark)
        yield {
            "run": of.folder(line.stage, recipe, benchmark),
            "streams": streams,
            "axes": {"stage": line.stage, "recipe": recipe, "benchmark": benchmark},
            "says": {"seed": seed},
            "columns": {"encoder": line.encoder, "change": line.change, "draw": line.draw},
        }


def about(of: Grid) -> dict[str, Any]:
    """recipes/ablations.yaml, where it does not name streams with those of the table."""
    return {"streams": of.params["streams"], **of.project.ablations}


def ensemble(of: Grid, rows: list[Plan]) -> Plan:
    """The plan of the streams' ensembles: of every judged run with several streams."""
    groups = {
        run.out: run.settings["streams"]
        for run in rows
        if run.stage in (*JUDGED, "transfer") and len(run.settings["streams"]) > 1
    }
    return of.plan(
        "ensemble", {}, of.project.config(""), {}, "runs/ensemble", given={"groups": groups}
    )


def table(of: Grid, rows: list[Plan]) -> Plan:
    """The plan of the table: every run whose files it reads, and the benchmarks it illustrates."""
    shown = sorted(
        (run for run in rows if run.stage in SHOWN), key=lambda run: SHOWN.index(run.stage)
    )
    listed = [_listed(of, run) for run in (*shown, ensemble(of, rows))]
    given = {"rows": listed, "benchmarks": of.words("benchmarks")}
    return of.plan("table", {}, of.project.config(""), {}, "report", given=given)


def _listed(of: Grid, run: Plan) -> dict[str, Any]:
    """A run as the report is told of it: one of a recipe leaves a file a stream, any other one
    file.
    """
    own = run.settings["export"] if run.stage == "export" else run.settings
    ends = of.params["transfers"][run.axes["transfer"]] if run.stage == "transfer" else {}
    return {
        "run": run.out,
        "streams": own["streams"] if "recipe" in run.axes else [],
        "axes": {"stage": run.stage, **run.axes},
        "says": {"source": ends["source"], "benchmark": ends["target"]} if ends else {},
        "columns": {},
    }


def summary(of: Grid) -> Plan:
    """The plan of the ablations' report: every run, what is fused, and what was not changed."""
    section, wanted = about(of), list(_wanted(of))
    keys = sorted({run["columns"]["change"].partition("=")[0] for run in wanted} - {""})
    benchmarks: dict[str, dict[str, Any]] = {}
    for name in map(str, section["benchmarks"]):
        config = of.config("", name)
        benchmarks[name] = {
            "budget": of.project.dataset(of.dataset_of(name)).budget,
            "epochs": {stage: config.get(f"{stage}.epochs") for stage in TRAINED},
            "defaults": {key: grid.value_of(config, key, name) for key in keys},
        }
    budgets = sorted({own["budget"] for own in benchmarks.values()})
    given = {
        "rows": wanted,
        "pair": [of.params["fuse"][place] for place in ablations.PLACES],
        "benchmarks": benchmarks,
        "values": {
            "ablations": section,
            "budgets": {name: of.project.overlay(name) for name in budgets},
        },
    }
    return of.plan("ablations", {}, of.project.config(""), {}, "report", given=given)


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
