"""`dvc repro` with a count: every stage is announced as `[12/54] Running stage 'probe@…'`; then the results.

DVC runs in this process, so the stages keep the terminal and their progress bars. Three things of it are touched: its
messages, how it reads YAML that it has read before, and how it writes `dvc.lock`. Its advice to
push is left out where there is nowhere to push to.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from asma import params

REPORT = Path("report")
ABLATIONS = "ablations/dvc.yaml"
NEXT = """\
Four things to try next:
  make ui                                   every run with its parameters and curves, on this machine only
  .venv/bin/dvc exp run dvc.yaml -S mask.joints=8
                                            one value changed, then .venv/bin/dvc metrics diff
  make ablations                            one thing changed at a time, in tables and figures
  README.md, "Your own recordings"          the same table for NTU RGB+D, PKU-MMD or skeletons of yours\
"""
# What DVC says after a reproduction whether or not it has a remote storage.
PUSH = "Use `dvc push` to send your updates to remote storage."
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


def count(*targets: str) -> Count:
    """A Count of the stages that the targets (else all of dvc.yaml) stand on, listening to DVC."""
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    with Repo() as repo:
        if targets:
            wanted = {stage for target in targets for stage in repo.stage.collect(target, with_deps=True)}
        else:  # the same as collecting dvc.yaml, without walking the graph of all that there is
            wanted = {stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"}
    counting = Count(sum(isinstance(stage, PipelineStage) for stage in wanted))
    for name in _SAID.values():
        logging.getLogger(name).addFilter(counting)
    return counting


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


class Stages(dict[str, str]):
    """The stages of a `dvc.lock` as pieces of its text; only what is asked for is parsed, only what changes is written.

    Raises ValueError where the text is not laid out as DVC does it.
    """

    HEAD = "schema: '2.0'\nstages:\n"

    def __init__(self, text: str) -> None:
        pieces = re.findall(r"  [\w@.+=,-]+:\n(?:    .*\n)+", text.removeprefix(self.HEAD))
        if text and self.HEAD + "".join(pieces) != text:
            raise ValueError("dvc.lock: found another layout than DVC's")
        super().__init__((piece.partition(":")[0].strip(), piece) for piece in pieces)

    def get(self, name: str, default: Any = None) -> Any:
        """What is held of a stage, as plain data."""
        from dvc.utils.serialize import loads_yaml

        return loads_yaml(self[name])[name] if name in self else default

    def update(self, stages: dict[str, Any]) -> None:  # type: ignore[override]  # all that DVC calls
        """Replace stages, new ones last."""
        from dvc.utils.serialize import dumps_yaml

        for name, content in stages.items():
            self[name] = dumps_yaml({"stages": {name: content}}).removeprefix("stages:\n")

    def __str__(self) -> str:
        return self.HEAD + "".join(self.values())


def write_lock_by_stage() -> None:
    """Have DVC write the same `dvc.lock` at the price of the one stage that was run.

    It reads and writes the whole file after every stage, in a parser and printer in Python that keep comments: with
    the demonstration's 8000 lines more than a second, as much as loading torch. A file that it did not lay out itself
    is left to it.
    """
    from dvc import dvcfile

    plain = getattr(dvcfile, "modify_yaml", None)
    if plain is None:  # another version of DVC: only time is lost
        return

    @contextlib.contextmanager
    def modify(path: str, fs: Any = None) -> Iterator[Any]:
        file = Path(path)
        try:
            stages = Stages(file.read_text(encoding="utf-8") if file.is_file() else "")
        except ValueError:
            stages = None
        if stages is None or file.name != dvcfile.LOCK_FILE:
            with plain(path, fs=fs) as content:
                yield content
            return
        yield {"schema": "2.0", "stages": stages}
        file.write_text(str(stages), encoding="utf-8")

    dvcfile.modify_yaml = modify


def read_yaml_once() -> None:
    """Have DVC parse a text of YAML the first time only, and afterwards take a copy of what it found.

    It reads params.yaml three times a stage and the other files several times before the first, in a parser in Python.
    """
    from dvc.utils import serialize, strictyaml
    from dvc.utils.serialize import _yaml

    plain = getattr(_yaml, "parse_yaml", None)
    if plain is None:  # another version of DVC: only time is lost
        return
    found: dict[str, Any] = {}

    def parse(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":
            return plain(text, path, typ)
        if text not in found:
            found[text] = plain(text, path, typ)
        return copy.deepcopy(found[text])

    for module in (_yaml, serialize, strictyaml):
        if getattr(module, "parse_yaml", None) is plain:
            module.parse_yaml = parse


def main(arguments: list[str]) -> int:
    """Run `dvc repro` with its own arguments; print the table, where it lies and what to do next. The exit
    status. Given the ablations, only where those lie."""
    from dvc.cli import main as dvc
    from dvc.config import Config

    # The commands in dvc.yaml say `python`: this one, whether or not the environment is active.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if ABLATIONS in arguments and params.FILE.is_file():  # where there is none, DVC says so
        from asma.report import ablations

        try:
            ablations.grid(params.read())  # what is wrong with a line, before the first of them is run
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    read_yaml_once()
    counting = count(*(word for word in arguments if not word.startswith("-")))
    write_lock_by_stage()
    nowhere = not Config.from_cwd()["remote"]
    heard = cast(TextIO, Unsaid(sys.stdout, PUSH)) if nowhere else sys.stdout
    with contextlib.redirect_stdout(heard):
        status = dvc(["repro", *arguments])
    if status:
        return status
    if ABLATIONS in arguments:
        print(f"\nThe ablations lie in {REPORT}/ablations.html and {REPORT}/ablations/")
        return 0
    if "table" not in counting.ran:  # else it has just printed it
        from asma.report import collect, tables

        print(tables.terminal(collect.read(Path(REPORT, "results.json"))))
    print(f"\nThe report lies in {REPORT}/: index.html, results.md, .csv and .json, figures/\n\n{NEXT}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
