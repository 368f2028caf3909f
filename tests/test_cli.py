from __future__ import annotations

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
