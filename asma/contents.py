"""What is made of runs: plans of the streams' ensembles, of the table and of the ablations' report.

A report is told in its plan which runs there are, where each lies and what its files must say; it
looks for no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from asma import ablations, grid
from asma.grid import Grid
from asma.plan import Plan

JUDGED = ("probe", "finetune", "fuse", "distill")
# in the table, in order
SHOWN = (*JUDGED, "pretrain", "baseline", "efficiency", "transfer", "export")
ENCODED = ("pretrain", "probe", "finetune")  # runs of one encoder, which its recipe names
TRAINED = ("pretrain", "probe", "finetune", "distill")  # whose epochs are said of the ablations


def lines(of: Grid) -> list[Plan]:
    """The plans of the ablations' runs that the table does not have."""
    every = (run["axes"] for run in wanted(of))
    return of.lines((axes["stage"], axes["recipe"], axes["benchmark"]) for axes in every)


def wanted(of: Grid) -> Iterator[dict[str, Any]]:
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
        "columns": {"encoder": of.project.name(run.recipe)} if run.stage in ENCODED else {},
    }


def summary(of: Grid) -> Plan:
    """The plan of the ablations' report: every run, what is fused, and what was not changed."""
    section, every = about(of), list(wanted(of))
    keys = sorted({run["columns"]["change"].partition("=")[0] for run in every} - {""})
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
        "rows": every,
        "pair": [of.params["fuse"][place] for place in ablations.PLACES],
        "benchmarks": benchmarks,
        "values": {
            "ablations": section,
            "budgets": {name: of.project.overlay(name) for name in budgets},
        },
    }
    return of.plan("ablations", {}, of.project.config(""), {}, "report", given=given)
