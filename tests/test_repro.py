from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc import dvcfile
from dvc.utils import serialize, strictyaml
from dvc.utils.serialize import _yaml, loads_yaml

from asma import repro

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
VARIED = "    params:\n      - mask.joints\n    outs:\n      - first.txt"
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
    assert any("Four things to try next" in line for line in lines)

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
def test_pushing_is_advised_where_there_is_a_remote_and_only_there(project: Path) -> None:
    status, lines = said(project, "-m", "asma.repro")
    assert status == 0, lines
    assert not any("dvc push" in line for line in lines)
    (project / "second_b.txt").unlink()
    config = project / ".dvc" / "config"
    config.write_text(config.read_text() + "['remote \"store\"']\n    url = /nowhere\n")
    (project / "dvc.lock").unlink()
    status, lines = said(project, "-m", "asma.repro", "--force")
    assert status == 0, lines
    assert repro.PUSH in lines  # DVC's own words: an empty promise once it has others


@pytest.mark.slow
def test_the_experiment_that_is_proposed_does_not_speak_of_ablations_that_were_never_run(
    project: Path,
) -> None:
    (project / "ablations").mkdir()
    (project / "ablations" / "dvc.yaml").write_text(
        "stages:\n  one:\n    wdir: ..\n    cmd: never run\n    outs:\n      - never.txt\n"
    )
    (project / "params.yaml").write_text("mask:\n  joints: 9\n")
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("    outs:\n      - first.txt", VARIED))
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (project / ".gitignore").write_text("*.txt\n.dvc/tmp\n.dvc/cache\n")
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "-m", "as it is"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    assert said(project, "-m", "dvc", "repro")[0] == 0
    proposed = re.search(r"/dvc (exp run .*)", repro.NEXT)
    assert proposed
    status, lines = said(project, "-m", "dvc", *proposed[1].split())
    assert status == 0, lines
    assert "Running stage 'first':" in lines
    assert not any("never.txt" in line for line in lines)


@pytest.mark.slow
def test_a_stage_that_fails_ends_with_its_status_and_no_promises(project: Path) -> None:
    text = (project / "dvc.yaml").read_text().replace("open('first.txt', 'w').write('1')", "raise SystemExit(3)")
    (project / "dvc.yaml").write_text(text)
    status, lines = said(project, "-m", "asma.repro")
    assert status != 0
    assert "[1/4] Running stage 'first':" in lines
    assert not any("try next" in line for line in lines)


@pytest.mark.slow
def test_the_ablations_are_counted_with_what_they_stand_on_and_the_pipeline_without_them(project: Path) -> None:
    (project / "ablations").mkdir()
    command = "open('ablations/one.txt', 'w').write('4')"
    (project / "ablations" / "dvc.yaml").write_text(
        f"""\
stages:
  one:
    wdir: ..
    cmd: {sys.executable} -c "{command}"
    deps:
      - second_a.txt
    outs:
      - ablations/one.txt
"""
    )
    status, lines = said(project, "-m", "asma.repro", "ablations/dvc.yaml")
    assert status == 0, lines
    assert [line for line in lines if line.startswith("[")] == [
        "[1/3] Running stage 'first':",
        "[2/3] Running stage 'second@a':",
        "[3/3] Running stage 'ablations/dvc.yaml:one':",
    ]
    assert "The ablations lie in report/ablations.html and report/ablations/" in lines
    assert not any("try next" in line for line in lines)
    status, lines = said(project, "-m", "asma.repro")
    assert status == 0, lines
    assert [line for line in lines if line.startswith("[")][-1] == "[4/4] Running stage 'table':"


HELD: dict[str, dict[str, Any]] = {
    "synthesize": {
        "cmd": "python -m stages.synthesize --ntu data/raw/demo_ntu --pku data/raw/demo_pku --metrics x.json"
    },
    "parse@demo": {
        "cmd": "python -m stages.parse",
        "deps": [{"path": "data/raw/demo", "hash": "md5", "md5": "0e9.dir", "size": 3, "nfiles": 2}],
        "params": {"params.yaml": {"decay": 1e-05, "longer": "no", "classes": None, "sets": {}, "train": [1, "02"]}},
        "outs": [{"path": "data/clips.h5", "hash": "md5", "md5": "12", "size": 4}],
    },
    "probe@low+mask.joints=7,mask.frames=11-demo_xsub-joint": {"cmd": "python -m stages.probe --encoder a+b=7"},
    "probe@random-demo_xsub-joint": {"cmd": "python -m stages.probe", "deps": [{"path": "a: b", "md5": "1e3"}]},
}


def record(stage: str, content: dict[str, Any]) -> bool:
    """What DVC does with `dvc.lock` after a stage; whether anything changed."""
    with dvcfile.modify_yaml("dvc.lock") as held:
        if not held:
            held.update({"schema": "2.0"})
        held["stages"] = held.get("stages", {})
        changed = held["stages"].get(stage, {}) != content
        held["stages"].update({stage: content})
    return bool(changed)


def history() -> list[tuple[bool, str]]:
    """Four stages are run, one of them again, one again with another size: what changed, and the file each time."""
    larger = {**HELD["parse@demo"], "outs": [{"path": "data/clips.h5", "hash": "md5", "md5": "13", "size": 5}]}
    told = []
    for stage, content in [*HELD.items(), ("synthesize", HELD["synthesize"]), ("parse@demo", larger)]:
        told.append((record(stage, content), Path("dvc.lock").read_text(encoding="utf-8")))
    return told


def test_the_lock_is_written_stage_by_stage_as_dvc_writes_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = history()
    assert [changed for changed, _ in whole] == [True, True, True, True, False, True]
    Path("dvc.lock").unlink()
    monkeypatch.setattr(dvcfile, "modify_yaml", dvcfile.modify_yaml)
    repro.write_lock_by_stage()
    assert history() == whole


@pytest.mark.parametrize("text", ["schema: '2.0'\nstages: {}\n", "stages:\n    a:\n        cmd: b\nschema: '2.0'\n"])
def test_a_lock_of_another_layout_is_left_to_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(text)
    with pytest.raises(ValueError, match="another layout"):
        repro.Stages(text)
    monkeypatch.setattr(dvcfile, "modify_yaml", dvcfile.modify_yaml)
    repro.write_lock_by_stage()
    assert record("synthesize", HELD["synthesize"])
    before = loads_yaml(text)["stages"]
    assert loads_yaml(Path("dvc.lock").read_text())["stages"] == {**before, "synthesize": HELD["synthesize"]}


def test_other_files_are_left_to_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("# a comment\nstages:\n  a:\n    cmd: b\n")
    monkeypatch.setattr(dvcfile, "modify_yaml", dvcfile.modify_yaml)
    repro.write_lock_by_stage()
    with dvcfile.modify_yaml("dvc.yaml") as content:
        content["stages"]["a"]["cmd"] = "c"
    assert Path("dvc.yaml").read_text() == "# a comment\nstages:\n  a:\n    cmd: c\n"


def test_yaml_that_dvc_has_read_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    plain = _yaml.parse_yaml

    def counted(text: str, path: str, typ: str = "safe") -> Any:
        parsed.append(text)
        return plain(text, path, typ)

    for module in (_yaml, serialize, strictyaml):
        monkeypatch.setattr(module, "parse_yaml", counted)
    repro.read_yaml_once()
    file = tmp_path / "params.yaml"
    file.write_text("a: [1, 1e-05, no]\n")
    first = serialize.load_yaml(str(file))
    assert first == {"a": [1, 1e-05, "no"]}
    first["a"].append("spoilt")
    assert serialize.load_yaml(str(file)) == strictyaml.load(str(file))[0] == {"a": [1, 1e-05, "no"]}
    assert len(parsed) == 1
    file.write_text("a: 2\n")
    assert serialize.load_yaml(str(file)) == {"a": 2}
    file.write_text("a: [\n")
    for _ in range(2):
        with pytest.raises(serialize.YAMLFileCorruptedError):
            serialize.load_yaml(str(file))


def test_a_line_of_the_ablations_that_changes_nothing_stops_them_before_the_first_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "  - mask.joints=7\n" in text
    (tmp_path / "params.yaml").write_text(text.replace("  - mask.joints=7\n", "  - motion.last=zero\n"))
    monkeypatch.chdir(tmp_path)  # where there is nothing that DVC could run
    assert repro.main([repro.ABLATIONS]) == 1
    assert "params.yaml: ablations.pretrain: found 'motion.last=zero', which changes nothing" in capsys.readouterr().err
