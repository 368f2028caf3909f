from __future__ import annotations

import sys

import pytest

from asma import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test turns: clock[0] is the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return now


def test_the_items_come_through_as_they_are(clock: list[float]) -> None:
    assert list(progress.progress("abc", "spell", 3, "letter")) == ["a", "b", "c"]


def test_short_work_says_nothing_in_a_log(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.progress(range(100), "count", 100, "step"):
        clock[0] += 0.1
    assert capsys.readouterr().out == ""


def test_long_work_says_now_and_then_how_far_it_is(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.progress(range(10), "train", 10, "epoch"):
        clock[0] += 8
    assert capsys.readouterr().out.splitlines() == [
        f"train: {done}/10 epochs, about {8 * (10 - done)} s left" for done in (2, 4, 6, 8, 10)
    ]


def test_work_that_was_taken_up_again_counts_on_and_times_its_own_part(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.progress(range(6, 10), "train", 10, "epoch", first=6):
        clock[0] += 16
    assert capsys.readouterr().out.splitlines()[0] == "train: 7/10 epochs, about 48 s left"


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.progress(range(3), "train", 3, "epoch")) == [0, 1, 2]
    said = capsys.readouterr()
    assert "train" in said.err
    assert "/3" in said.err
    assert said.out == ""
