"""`dvc repro`, then the results and what to do next.   python -m asma.repro [ablations]

With the word `ablations` DVC is given their lines for as long as it runs: recipes/lines.yaml is
filled before and put back afterwards, and dvc.lock with it, so that `dvc repro` makes the table
alone. What was run is in DVC's cache, where the next `make ablations` finds it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

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


# What DVC says after a reproduction whether or not it has a remote storage.
PUSH = "Use `dvc push` to send your updates to remote storage."


class Unsaid:
    """A stream that passes everything on but one sentence, printed by itself."""

    def __init__(self, stream: TextIO, sentence: str) -> None:
        self._stream, self._sentence, self._ends = stream, sentence, False

    def write(self, text: str) -> int:
        """Write the text, unless it is the sentence or the end of its line."""
        ends, self._ends = self._ends, text == self._sentence
        return len(text) if self._ends or (ends and text == "\n") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reproduce(*arguments: str) -> int:
    """`dvc repro`; that something can be pushed is said where there is a remote. The status."""
    from dvc.cli import main as dvc
    from dvc.config import Config

    # The commands in dvc.yaml say `python`: this one, whether or not the environment is active.
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    os.environ["PATH"] = os.pathsep.join(places)
    heard = sys.stdout if Config.from_cwd()["remote"] else cast(TextIO, Unsaid(sys.stdout, PUSH))
    with redirect_stdout(heard):
        return int(dvc(["repro", *arguments]))


def lines() -> dict[str, Any]:
    """What recipes/lines.yaml holds while the ablations run: their runs by stage. Raises
    ValueError.
    """
    from asma import contents
    from stages import plan

    of = plan.project()
    found: dict[str, dict[str, Any]] = {"ablations": {"all": {}}}
    for run in contents.lines(of):
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
    if arguments[:1] == ["ablations"]:
        try:
            content = lines()
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        with filled(content):
            status = reproduce(*arguments[1:], "ablations")
        if not status:
            print(f"\nThe ablations lie in {REPORT}/ablations.html and {REPORT}/ablations/")
        return status
    page = REPORT / "index.html"
    before = page.stat().st_mtime_ns if page.is_file() else 0
    if status := reproduce(*arguments):
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
