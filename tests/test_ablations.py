from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asma import ablations, contents
from asma.ablations import Line
from asma.plan import ParamsError
from asma.report import rows
from stages import plan as planning

ROOT = Path(__file__).resolve().parents[1]
BOTH = {"first": "lowdeg_highmot", "second": "highdeg_lowmot"}
PARAMS: dict[str, Any] = {"fuse": BOTH, "distill": {"teachers": ["finetune"]}, "mask": {}}


def lines(of: Mapping[str, Any] = PARAMS, **changed: Any) -> list[Line]:
    lists: dict[str, Any] = {name: [] for name in ablations.LISTS}
    lists["masks"] = ["random", *BOTH.values()]
    return ablations.lines(of, {**lists, **changed})


def test_a_line_is_a_recipe_in_a_stage_and_what_was_changed_stands_beside_whose_it_is() -> None:
    gin, few = "encoder.backbone=gin", "finetune.labels=0.1+finetune.draw=2"
    found = lines(pretrain=[gin], finetune=[gin], labels=[few], distill=["distill.layers=3"])
    pair = "fuse.first=lowdeg_highmot+fuse.second=highdeg_lowmot"
    both = "lowdeg_highmot + highdeg_lowmot"
    assert Line("probe", f"lowdeg_highmot+{gin}", "lowdeg_highmot", gin) in found
    assert Line("finetune", f"random+{few}", "random", "finetune.labels=0.1", "2") in found
    assert Line("fuse", f"asma_finetune+{pair}+{gin}", both, gin) in found
    assert Line("distill", "asma_finetune", "student") in found
    student = Line("distill", "asma_finetune+distill.layers=3", "student", "distill.layers=3")
    assert student in found
    assert [one.recipe for one in found if one.stage == "pretrain"] == ["random", *BOTH.values()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": [{"first": "a"}]}, r"yaml: pairs\[0\]: found .* expected first and second"),
        (
            {"pairs": [{"first": "lowdeg_highmot", "second": "lowdeg_lowmot"}]},
            "ablations.yaml: masks: found no 'lowdeg_lowmot', which a pair needs",
        ),
        ({"finetune": ["encoder.width=32"]}, "yaml: pretrain: found no 'encoder.width=32', which"),
        ({"masks": [*BOTH.values()]}, "masks: found no 'random', which `finetune` needs"),
        ({"labels": None}, "recipes/ablations.yaml: labels: found None, expected a list"),
    ],
)
def test_lists_that_do_not_fit_are_an_error(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        lines(**changed)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pretrain", "motion.measure=squared"),
        ("pretrain", "prepare.frames=64"),
        ("pretrain", "probe.epochs=3"),
        ("pretrain", "mask.joints=7+distill.layers=3"),
        ("fuse", "fuse.fit.finetune.epochs=3"),
        ("pretrain", "seed=4"),
        ("labels", "mask.joints=7"),
        ("fuse", "fuse.first=random"),
        ("distill", "encoder.width=32"),
    ],
)
def test_a_line_that_would_change_nothing_is_refused_before_it_is_run(name: str, line: str) -> None:
    word = line.split("+")[-1]
    wrong = rf"ablations\.yaml: {name}: found '{word}', which changes nothing there; expected"
    with pytest.raises(ParamsError, match=wrong):
        lines(PARAMS, **{name: [line]})


def test_motion_may_be_varied_where_views_measure_it_themselves() -> None:
    lines(pretrain=["mask.score=view+motion.measure=squared"])
    lines(pretrain=["mask.joints=7+probe.epochs=3+finetune.epochs=2"])
    lines({**PARAMS, "mask": {"score": "view"}}, pretrain=["motion.measure=squared"])


def test_the_reports_are_told_of_runs_that_are_planned_and_of_values_without_a_change() -> None:
    runs = {f"{run.stage}/{run.name}": run for run in planning.runs(planning.project(ROOT))}
    planned = {run.out for run in runs.values()}
    table, grid = runs["table/all"].settings, runs["ablations/all"].settings
    assert {one["run"] for one in (*table["rows"], *grid["rows"])} <= planned
    of_lines = {out for out in planned if out.startswith("runs/ablations/")}
    judged = {out for out in of_lines if "/pretrain/" not in out}
    assert judged <= {one["run"] for one in grid["rows"]}
    told = grid["benchmarks"]["demo_ntu_xsub"]
    assert told["budget"] == "demonstration" and told["epochs"].keys() == set(contents.TRAINED)
    assert told["defaults"]["distill.temperature"] == 8.0  # the benchmark's own τ
    assert told["defaults"]["mask.joints"] == 9
    for one in rows.expected(table["rows"]):
        assert (
            one.needed == (one.says["stage"] != "pretrain")
            and "tags.stage" in one.columns["search"]
        )
