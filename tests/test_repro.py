"""`make repro` and `make ablations` on a project of two stages and one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asma import repro

ROOT = Path(__file__).resolve().parents[1]
STAGES = """
vars: [recipes/lines.yaml]
stages:
  first:
    cmd: {python} -c "open('first.txt', 'w').write('1')"
    params: [mask.joints]
    outs: [first.txt]
  probe_lines:
    foreach: ${{lines.probe}}
    do:
      cmd: {python} -c "open('${{item.run}}.txt', 'w').write('2')"
      deps: [first.txt]
      outs: ["${{item.run}}.txt"]
  ablations:
    foreach: ${{lines.ablations}}
    do:
      cmd: {python} -c "open('ablations.txt', 'w').write('3')"
      deps: [a.txt]
      outs: [ablations.txt]
"""
EMPTY = "# empty\nlines:\n  probe: {}\n  ablations: {}\n"
# The lines without a project of recipes: what repro.lines makes of one is tested with the grid.
ABLATIONS = """
import sys
from asma import repro
repro.lines = lambda: {"lines": {"probe": {"a-b": {"run": "a"}}, "ablations": {"all": {}}}}
sys.exit(repro.main(["ablations"]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(STAGES.format(python=sys.executable))
    (tmp_path / "params.yaml").write_text("mask:\n  joints: 9\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "lines.yaml").write_text(EMPTY)
    return tmp_path


def said(project: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def ran(text: str) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", text)


@pytest.mark.slow
def test_the_table_is_made_without_the_ablations(project: Path) -> None:
    status, text = said(project, "-m", "asma.repro")
    assert status == 0, text
    assert ran(text) == ["first"]
    assert "The report lies in report/" in text and "Four things to try next" in text
    status, text = said(project, "-m", "asma.repro")
    assert (status, ran(text)) == (0, [])


@pytest.mark.slow
def test_pushing_is_advised_where_there_is_a_remote_and_only_there(project: Path) -> None:
    status, text = said(project, "-m", "asma.repro")
    assert status == 0 and "dvc push" not in text, text
    config = project / ".dvc" / "config"
    config.write_text(config.read_text() + "['remote \"store\"']\n    url = /nowhere\n")
    status, text = said(project, "-m", "asma.repro", "--force")
    assert status == 0 and repro.PUSH in text, text


def test_the_ablations_are_run_and_leave_lines_and_lock_as_they_were(project: Path) -> None:
    assert said(project, "-m", "asma.repro")[0] == 0
    lock = (project / "dvc.lock").read_text()
    status, text = said(project, "-c", ABLATIONS)
    assert status == 0, text
    assert ran(text) == ["probe_lines@a-b", "ablations@all"]
    assert "The ablations lie in report/ablations.html" in text and "try next" not in text
    assert (project / "recipes" / "lines.yaml").read_text() == EMPTY
    assert (project / "dvc.lock").read_text() == lock
    assert said(project, "-m", "dvc", "status")[1].strip() == "Data and pipelines are up to date."
    # what has been run is in DVC's cache
    (project / "a.txt").unlink()
    status, text = said(project, "-c", ABLATIONS)
    assert (status, ran(text)) == (0, [])
    assert "'probe_lines@a-b' is cached" in text and (project / "a.txt").is_file()


@pytest.mark.slow
def test_a_stage_that_fails_ends_with_its_status_and_no_promises(project: Path) -> None:
    text = (project / "dvc.yaml").read_text().replace("write('3')", "raise_(1)")
    (project / "dvc.yaml").write_text(text)
    status, text = said(project, "-c", ABLATIONS)
    assert status != 0
    assert "The ablations lie in" not in text
    assert (project / "recipes" / "lines.yaml").read_text() == EMPTY
    assert not (project / "dvc.lock").exists()


def test_files_are_put_back_when_the_run_is_interrupted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(KeyboardInterrupt), repro.filled({"lines": {"probe": {"x": {"run": "x"}}}}):
        assert yaml.safe_load(repro.LINES.read_text())["lines"]["probe"] == {"x": {"run": "x"}}
        repro.LOCK.write_text("schema: '2.0'\n")
        raise KeyboardInterrupt
    assert repro.LINES.read_text() == EMPTY
    assert not repro.LOCK.exists()


def test_a_line_that_changes_nothing_stops_the_ablations_before_the_first_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asma.params import Project

    content = yaml.safe_load((ROOT / "recipes" / "ablations.yaml").read_text(encoding="utf-8"))
    content["pretrain"] = ["motion.last=zero"]
    monkeypatch.setattr(Project, "ablations", content)
    monkeypatch.chdir(ROOT)
    assert repro.main(["ablations"]) == 1
    said = capsys.readouterr().err
    assert (
        "recipes/ablations.yaml: pretrain: found 'motion.last=zero', which changes nothing" in said
    )


def test_what_dvc_is_given_has_every_line_with_what_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    given = repro.lines()["lines"]
    assert set(given) == {"pretrain", "probe", "finetune", "fuse", "distill", "ablations"}
    assert given["ablations"] == {"all": {}}
    groups = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in set(given) - {"ablations"}:
        asked = set(re.findall(r"\$\{item\.(\w+)\}", str(groups[f"{stage}_lines"])))
        assert given[stage], stage
        for name, item in given[stage].items():
            assert asked <= item.keys(), name
            assert item["run"] == "@".join(name.rsplit("-", 1))
