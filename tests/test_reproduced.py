"""What is committed belongs together: `dvc.lock` to code and parameters, README's table to the
report.

Nothing that DVC keeps is needed, so this holds in a fresh clone too. Nothing is run.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from asma import plan, repro
from asma.plan import Plan
from asma.report import rows, tables
from stages import plan as planning

ROOT = Path(__file__).resolve().parents[1]
REMEDY = "`make repro`, then commit dvc.lock, report/ and README.md with it"


def changed(lock: dict[str, Any], runs: list[Plan]) -> list[str]:
    """The stages of a lock that were run by another plan than they would be now."""
    now = {
        f"plan/{run.stage}/{run.name}.json": hashlib.md5(
            plan.text(run).encode(), usedforsecurity=False
        ).hexdigest()
        for run in runs
    }
    found = []
    for stage, held in lock["stages"].items():
        for dep in held.get("deps", []):
            if dep["path"].startswith("plan/") and now.get(dep["path"]) != dep["md5"]:
                found.append(f"{stage}: {dep['path']}")
    return found


def test_the_results_are_of_this_code_and_of_these_parameters() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    found = changed(lock, list(planning.runs(planning.project(ROOT))))
    planned = [name for name in lock["stages"] if name != "plan"]
    assert all("plan/" in str(lock["stages"][name]["deps"]) for name in planned), (
        f"dvc.lock knows no plans; {REMEDY}"
    )
    assert not found, "\n".join(
        [f"dvc.lock: {len(found)} stages are of another plan; {REMEDY}", *found]
    )


def test_the_plan_was_made_of_these_files() -> None:
    # else `dvc status` names it, though every plan would come out as it is
    (stage,) = Repo(str(ROOT)).stage.collect("plan")
    changed = [str(dep) for dep in stage.deps if dep.workspace_status()]
    assert not changed, f"dvc.lock knows another {', '.join(changed)}; `dvc repro plan`"


def test_a_stage_that_another_plan_would_change_is_named() -> None:
    run = Plan("probe", {"recipe": "a", "benchmark": "b"}, "a", {}, "out", {"seed": 1})
    md5 = hashlib.md5(plan.text(run).encode(), usedforsecurity=False).hexdigest()
    deps = [{"path": "plan/probe/a@b.json", "md5": md5}, {"path": "data/b.h5", "md5": "0"}]
    lock = {"stages": {"plan": {"outs": []}, "probe@a-b": {"deps": deps}}}
    assert changed(lock, [run]) == []
    told = ["probe@a-b: plan/probe/a@b.json"]
    assert changed(lock, [replace(run, settings={"seed": 2})]) == told
    assert changed(lock, [replace(run, code={"asma/x.py": "1"})]) == told
    assert changed(lock, []) == told


def test_the_table_in_the_readme_is_the_reports() -> None:
    shown = tables.terminal(rows.read(ROOT / repro.REPORT / "results.json")).strip()
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert shown in [block.strip() for block in blocks], (
        "README.md: found no ```text block that is the table of report/results.json; "
        f"{REMEDY}:\n{shown}"
    )
