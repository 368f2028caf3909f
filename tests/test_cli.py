from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asma import cli

called: list[tuple[str, Path, int, float]] = []


def stage(dataset: str, raw_folder: Path, count: int = 3, share: float = 0.5) -> None:
    called.append((dataset, raw_folder, count, share))


def bad_data(dataset: str) -> None:
    raise ValueError(f"{dataset}: found nothing, expected a data set")


def bug(dataset: str) -> None:
    raise RuntimeError("a bug")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    called.clear()


def given(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])


def test_arguments_become_options_of_their_type(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "--dataset", "ntu60", "--raw-folder", "data/raw", "--count", "7")
    cli.run(stage)
    assert called == [("ntu60", Path("data/raw"), 7, 0.5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "ntu60"], "--raw-folder"),
        (["--dataset", "a", "--raw-folder", "b", "--count", "x"], "invalid int value: 'x'"),
        (["--dataset", "a", "--raw-folder", "b", "--colour", "x"], "unrecognized arguments: --colour x"),
    ],
)
def test_wrong_options_end_with_the_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    given(monkeypatch, *arguments)
    with pytest.raises(SystemExit) as ended:
        cli.run(stage)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not called


def test_an_expected_failure_ends_with_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, "--dataset", "ntu60")
    with pytest.raises(SystemExit) as ended:
        cli.run(bad_data)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: ntu60: found nothing, expected a data set\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "--dataset", "ntu60")
    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(bug)


PROGRAM = """
import atexit, gc
from asma import cli

atexit.register(lambda: print("exit handler,", gc.get_freeze_count() > 1000))

def main(fail: int) -> None:
    assert gc.isenabled()
    print("work")
    if fail:
        raise ValueError("bad data")

gc.disable()  # as the package of stages does
cli.run(main)
print("after")
"""


@pytest.mark.parametrize(
    ("fail", "status", "out", "err"),
    [
        (0, 0, "work\nafter\nexit handler, True\n", ""),
        (1, 1, "work\nexit handler, True\n", "error: bad data\n"),
    ],
)
def test_modules_are_no_garbage_to_be_looked_through_and_a_program_ends_as_any(
    fail: int, status: int, out: str, err: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--fail", str(fail)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


def test_a_change_is_laid_over_the_parameters_before_the_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "--dataset", "ntu60", "--raw-folder", "x", "--change", "mask.joints=7+seed=2")
    told: list[str] = []
    monkeypatch.setattr(cli.params, "change", told.append)
    cli.run(stage)
    assert told == ["mask.joints=7+seed=2"]
    assert len(called) == 1


def test_a_change_that_cannot_be_read_ends_with_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, "--dataset", "ntu60", "--raw-folder", "x", "--change", "mask.joints")
    with pytest.raises(SystemExit, match="1"):
        cli.run(stage)
    assert "--change: found 'mask.joints', expected <key>=<value>" in capsys.readouterr().err
    assert not called
