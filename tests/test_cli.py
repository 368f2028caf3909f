"""`python -m stages.<stage> <plan file>`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asma import cli, plan
from asma.plan import Plan

PLAN = Plan(
    "probe",
    {"recipe": "random", "benchmark": "toy"},
    "random",
    {},
    "out",
    {"seed": 3},
    notes=["a note"],
)


def with_a_plan(told: Plan) -> None:
    print(told.name, told.settings["seed"])


def with_nothing() -> None:
    print("done")


def mistaken(told: Plan) -> None:
    raise ValueError("data.h5: found nothing, expected clips")


def broken(told: Plan) -> None:
    raise KeyError("x")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written = plan.write(PLAN, tmp_path / "one.json")
    monkeypatch.setattr("sys.argv", ["stage", str(written)])
    return written


def test_main_is_given_the_plan_and_its_notes_are_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(with_a_plan)
    assert capsys.readouterr().out == "a note\nrandom@toy 3\n"


def test_a_main_that_takes_nothing_is_called_with_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage"])
    cli.run(with_nothing)
    assert capsys.readouterr().out == "done\n"


PROGRAM = """
import atexit, gc
from asma import cli

atexit.register(lambda: print("exit handler,", gc.get_freeze_count() > 1000))

def main() -> None:
    assert gc.isenabled()
    print("work")
    FAIL

gc.disable()  # as the package of stages does
cli.run(main)
print("after")
"""


@pytest.mark.parametrize(
    ("fail", "status", "out", "err"),
    [
        ("pass", 0, "work\nafter\nexit handler, True\n", ""),
        ("raise ValueError('bad')", 1, "work\nexit handler, True\n", "error: bad\n"),
    ],
)
def test_modules_are_no_garbage_to_be_looked_through_and_a_program_ends_as_any(
    fail: str, status: int, out: str, err: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("FAIL", fail)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


def test_an_expected_failure_ends_with_its_message_and_no_traceback(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(mistaken)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: data.h5: found nothing, expected clips\n"


def test_a_plan_that_is_missing_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "gone.json"])
    with pytest.raises(SystemExit):
        cli.run(with_a_plan)
    assert "error: gone.json: not found" in capsys.readouterr().err


def test_any_other_failure_keeps_its_traceback(file: Path) -> None:
    with pytest.raises(KeyError):
        cli.run(broken)
