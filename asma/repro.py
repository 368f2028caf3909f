"""`dvc repro`, then the results and what to do next.   python -m asma.repro [ablations]

With the word `ablations` DVC is given their lines for as long as it runs: recipes/lines.yaml is
filled before and put back afterwards, and dvc.lock with it, so that `dvc repro` makes the table
alone. What was run is in DVC's cache, where the next `make ablations` finds it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

REPORT = Path("report")
LINES = Path("recipes/lines.yaml")
LOCK = Path("dvc.lock")
NEXT = """\
Four things to try next:
  make ui                                   every run, parameters and curves, on this machine only
  .venv/bin/dvc exp run -S mask.joints=8    one value changed, then .venv/bin/dvc metrics diff
  make ablations                            one thing changed at a time, in tables and figures
  README.md, "Your own recordings"          the same table for NTU RGB+D, PKU-MMD or your skeletons\
"""


def lines() -> dict[str, Any]:
    """What recipes/lines.yaml holds while the ablations run: their runs by stage. Raises
    ValueError.
    """
    from stages import plan

    of = plan.project()
    found: dict[str, dict[str, Any]] = {"ablations": {"all": {}}}
    for run in plan.lines(of):
        name = f"{run.axes['recipe']}-{run.axes['benchmark']}"
        found.setdefault(run.stage, {})[name] = {"run": run.name, **run.reads}
    stages = ("pretrain", "probe", "finetune", "fuse", "distill", "ablations")
    return {"lines": {stage: found.get(stage, {}) for stage in stages}}


@contextmanager
def filled(content: dict[str, Any]) -> Iterator[None]:
    """Within the block DVC finds the lines; afterwards both files are as they were."""
    before = {file: file.read_bytes() if file.is_file() else None for file in (LINES, LOCK)}
    with LINES.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    try:
        yield
    finally:
        for path, text in before.items():
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(text)


def main(arguments: list[str]) -> int:
    """Run `dvc repro` with its own arguments, or for the ablations. The exit status."""
    from dvc.cli import main as dvc

    # The commands in dvc.yaml say `python`: this one, whether or not the environment is active.
    os.environ["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    if arguments[:1] == ["ablations"]:
        try:
            content = lines()
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        with filled(content):
            status = dvc(["repro", *arguments[1:], "ablations"])
        if not status:
            print(f"\nThe ablations lie in {REPORT}/ablations.html and {REPORT}/ablations/")
        return status
    page = REPORT / "index.html"
    before = page.stat().st_mtime_ns if page.is_file() else 0
    if status := dvc(["repro", *arguments]):
        return status
    if page.is_file() and page.stat().st_mtime_ns == before:  # else the stage has just printed it
        from asma.report import rows, tables

        print(tables.terminal(rows.read(REPORT / "results.json")))
    print(
        f"\nThe report lies in {REPORT}/: index.html, results.md, .csv and .json, figures/\n\n"
        f"{NEXT}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
