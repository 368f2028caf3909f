"""`dvc repro` with a count: every stage is announced as `[12/54] Running stage 'probe@…'`; then the results.

DVC runs in this process and only its messages are touched, so the stages keep the terminal and their
progress bars.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from asma import params

REPORT = Path("report")
NEXT = """\
Three things to try next:
  make ui                                   every run with its parameters and curves, on this machine only
  .venv/bin/dvc exp run -S mask.joints=8    one value changed, then .venv/bin/dvc exp show --only-changed
  README.md, "Your own recordings"          the same table for NTU RGB+D, PKU-MMD or skeletons of yours\
"""
# What DVC says once about each stage it comes to, and who says it.
_SAID = {
    "Running stage '%s':": "dvc.stage.run",
    "Stage '%s' didn't change, skipping": "dvc.stage",
    "Stage '%s' is cached - skipping run, checking out outputs": "dvc.stage.cache",
}


class Count(logging.Filter):
    """Puts `[number/total]` in front of DVC's message about each stage; remembers which ones were run."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total
        self.met: list[str] = []
        self.ran: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, changed where it is about a stage not met before."""
        if record.msg in _SAID and record.args:
            stage = str(record.args[0]) if isinstance(record.args, tuple) else str(record.args)
            if record.msg.startswith("Running"):
                self.ran.append(stage)
            if stage not in self.met:
                self.met.append(stage)
                record.msg = f"[{len(self.met)}/{self.total}] {record.msg}"
        return True


def count() -> Count:
    """A Count of the stages of the pipeline here, listening to DVC."""
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    with Repo() as repo:
        counting = Count(sum(isinstance(stage, PipelineStage) for stage in repo.index.stages))
    for name in _SAID.values():
        logging.getLogger(name).addFilter(counting)
    return counting


def main(arguments: list[str]) -> int:
    """Run `dvc repro` with its own arguments; print the table, where it lies and what to do next. The exit
    status."""
    from dvc.cli import main as dvc

    # The commands in dvc.yaml say `python`: this one, whether or not the environment is active.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    counting = count()
    status = dvc(["repro", *arguments])
    if status:
        return status
    if "table" not in counting.ran:  # else it has just printed it
        from asma.report import collect, tables

        print(tables.terminal(collect.collect(params.read(), Path("runs"))))
    print(f"\nThe report lies in {REPORT}/: index.html, results.md, .csv and .json, figures/\n\n{NEXT}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
