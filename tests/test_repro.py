from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = """
stages:
  first:
    cmd: {python} -c "open('first.txt', 'w').write('1')"
    outs:
      - first.txt
  second:
    foreach:
      - a
      - b
    do:
      cmd: {python} -c "open('second_${{item}}.txt', 'w').write('2')"
      deps:
        - first.txt
      outs:
        - second_${{item}}.txt
  table:
    cmd: {python} -c "import sys; print(sys.stdout.isatty()); open('table.txt', 'w').write('3')"
    deps:
      - second_a.txt
      - second_b.txt
    outs:
      - table.txt
"""
COUNTED = "import sys; from asma import repro; repro.count(); from dvc.cli import main; sys.exit(main(['repro']))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(STAGES.format(python=sys.executable))
    return tmp_path


def said(project: Path, *command: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.slow
def test_each_stage_is_announced_with_its_number_run_or_not(project: Path) -> None:
    status, lines = said(project, "-m", "asma.repro")
    assert status == 0, lines
    assert [line for line in lines if line.startswith("[")] == [
        "[1/4] Running stage 'first':",
        "[2/4] Running stage 'second@a':",
        "[3/4] Running stage 'second@b':",
        "[4/4] Running stage 'table':",
    ]
    assert any("The report lies in report/" in line for line in lines)
    assert any("Three things to try next" in line for line in lines)

    (project / "second_b.txt").unlink()
    status, lines = said(project, "-c", COUNTED)
    assert status == 0, lines
    assert [line for line in lines if line.startswith("[")] == [
        "[1/4] Stage 'first' didn't change, skipping",
        "[2/4] Stage 'second@a' didn't change, skipping",
        "[3/4] Stage 'second@b' is cached - skipping run, checking out outputs",
        "[4/4] Stage 'table' didn't change, skipping",
    ]


@pytest.mark.slow
def test_a_stage_that_fails_ends_with_its_status_and_no_promises(project: Path) -> None:
    text = (project / "dvc.yaml").read_text().replace("open('first.txt', 'w').write('1')", "raise SystemExit(3)")
    (project / "dvc.yaml").write_text(text)
    status, lines = said(project, "-m", "asma.repro")
    assert status != 0
    assert "[1/4] Running stage 'first':" in lines
    assert not any("try next" in line for line in lines)
