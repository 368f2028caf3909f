"""Resolve and check every run.   params.yaml, recipes/, datasets/, budgets/, code → plan/<stage>/<run>.json"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from asma import cli, grid, plan
from asma.grid import Grid
from asma.imports import Code
from asma.params import Project
from asma.plan import Plan
from asma.report import ablations

STAGES = (
    "synthesize", "parse", "prepare", "motion", "split", "pretrain", "probe", "finetune", "fuse", "distill",
    "transfer", "baseline", "efficiency", "export", "illustrate", "ensemble", "table", "ablations",
)  # fmt: skip
JUDGED = ("probe", "finetune", "fuse", "distill")


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
    return of.lines((stage, recipe, benchmark) for stage, recipe, benchmark in _wanted(of).values())


def _wanted(of: Grid) -> dict[str, tuple[str, str, str]]:
    """(stage, recipe, benchmark) of each line, benchmark and seed, by `ablations.key`."""
    content = about(of)
    settings = content["ablations"]
    every = ablations.grid(content)
    every += [ablations.Ablation("pretrain", (encoder,), change=None) for encoder in settings["masks"]]
    streams = f"+streams={','.join(map(str, settings['streams']))}"
    found = {}
    for line in every:
        for benchmark in map(str, settings["benchmarks"]):
            for seed in settings["seeds"]:
                recipe = f"{line.recipe}+seed={seed}{streams}"
                name = ablations.key(line, benchmark, seed)
                found[name] = (line.stage, of.recipe(line.stage, recipe, benchmark), benchmark)
    return found


def about(of: Grid) -> dict[str, Any]:
    """What the report is told of the parameters."""
    params, own = of.params, dict(of.project.ablations)
    own.setdefault("streams", params["streams"])
    columns = [*of.words("benchmarks"), *map(str, own.get("benchmarks") or [])]
    targets = [str(ends["target"]) for ends in (params.get("transfers") or {}).values()]
    sets = {b: of.project.dataset(of.dataset_of(b)) for b in dict.fromkeys([*columns, *targets])}
    axes = ("benchmarks", "streams", "encoders", "transfers", "fuse", "distill", "export", "transfer", "mask")
    return {
        **{axis: params[axis] for axis in axes},
        "ensemble": params["ensemble"],
        "seed": params["seed"],
        "ablations": own,
        "demonstrations": [name for name, known in sets.items() if known.demonstration],
        "budget_of": {name: known.budget for name, known in sets.items()},
        "budgets": {known.budget: of.project.overlay(known.budget) for known in sets.values()},
        "values": {name: grid.without_machine(of.config("", name).values) for name in sets},
    }


def ensemble(of: Grid, rows: list[Plan]) -> Plan:
    """The plan of the streams' ensembles: of every judged run with several streams."""
    groups = {
        run.out: run.settings["streams"]
        for run in rows
        if run.stage in (*JUDGED, "transfer") and len(run.settings["streams"]) > 1
    }
    given = {"groups": groups}
    return of.plan("ensemble", {}, of.project.config(""), {}, "runs/ensemble", given=given)


def table(of: Grid, rows: list[Plan]) -> Plan:
    """The plan of the table: every run whose results it has to have, and what it is called."""
    content = about(of)
    told = ("benchmarks", "streams", "encoders", "transfers", "ensemble", "transfer", "demonstrations")
    shown = {key: content[key] for key in told}
    shown["fuse"] = {key: content["fuse"][key] for key in ("first", "second", "modes")}
    shown["distill"] = {"teachers": content["distill"]["teachers"]}
    shown["export"] = {key: content["export"][key] for key in ("teachers", "streams")}
    listed = [
        {"stage": run.stage, **run.axes, "run": run.out, **of.project.row(run.axes.get("recipe", ""))}
        for run in rows
        if run.stage in (*JUDGED, "transfer", "baseline", "efficiency", "export")
    ]
    given = {"table": shown, "rows": listed}
    return of.plan("table", {}, of.project.config(""), {}, "report", given=given)


def summary(of: Grid) -> Plan:
    """The plan of the ablations' report."""
    folders = {key: of.folder(*run) for key, run in _wanted(of).items()}
    given = {"table": about(of), "folders": folders}
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
