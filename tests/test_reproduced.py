"""What is committed belongs together: `dvc.lock` to code and parameters, README's table to the report.

Nothing that DVC keeps is needed, so this holds in a fresh clone too. Nothing is run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils import serialize, strictyaml
from dvc.utils.serialize import _yaml

from asma import repro
from asma.report import collect, tables

ROOT = Path(__file__).resolve().parents[1]
REMEDY = "`make repro`, then commit dvc.lock, report/ and README.md with it"


def changed(root: Path) -> list[str]:
    """What of code, parameters and commands is not as it was when dvc.lock was written, a line a stage."""
    found = []
    with Repo(str(root)) as repo:
        for stage in repo.stage.load_all(str(root / "dvc.yaml")):
            what = ["command: changed"] if stage.cmd_changed else []
            for dep in stage.deps:
                if dep.def_path.startswith(("asma/", "stages/")) or dep.def_path == "params.yaml":
                    what += [f"{path}: {how}" for path, how in dep.status().items()]
            if what:
                found.append(f"{stage.name}: {'; '.join(what)}")
    return found


@pytest.mark.slow
def test_the_results_are_of_this_code_and_of_these_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (_yaml, serialize, strictyaml):  # so that what follows ends with this test
        monkeypatch.setattr(module, "parse_yaml", _yaml.parse_yaml)
    repro.read_yaml_once()  # a stage at a time it would be a minute
    found = changed(ROOT)
    assert not found, "\n".join([f"dvc.lock: {len(found)} stages are of other code; {REMEDY}", *found])


def project(root: Path) -> None:
    """A pipeline whose one stage has been run and whose output is not there, as in a fresh clone."""
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    for path in ("stages/probe.py", "asma/layouts/kinect.yaml", "data/benchmark.h5"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("1")
    (root / "params.yaml").write_text("seed: 1\nprobe:\n  epochs: 2\n")
    deps = ["stages/probe.py", "asma/layouts", "data/benchmark.h5"]
    stage = {"cmd": "echo > out.txt", "deps": deps, "params": ["probe"], "outs": ["out.txt"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"probe": stage}}))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=root, check=True)
    (root / "out.txt").unlink()
    (root / "data/benchmark.h5").unlink()


@pytest.mark.slow
def test_what_is_not_of_this_code_is_named_and_absent_data_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path)
    assert changed(tmp_path) == []
    (tmp_path / "params.yaml").write_text("seed: 2\nprobe:\n  epochs: 2\n")  # not its own
    assert changed(tmp_path) == []
    (tmp_path / "params.yaml").write_text("seed: 2\nprobe:\n  epochs: 3\n")
    (tmp_path / "asma/layouts/kinect.yaml").write_text("2")
    (told,) = changed(tmp_path)
    assert re.fullmatch(r"probe: asma/layouts: modified; params\.yaml: .*probe.*modified.*", told)
    text = (tmp_path / "dvc.yaml").read_text()
    (tmp_path / "dvc.yaml").write_text(text.replace("echo >", "true >"))
    (told,) = changed(tmp_path)
    assert told.startswith("probe: command: changed; asma/layouts: modified")


def test_the_table_in_the_readme_is_the_reports() -> None:
    shown = tables.terminal(collect.read(ROOT / repro.REPORT / "results.json")).strip()
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert shown in [block.strip() for block in blocks], (
        f"README.md: found no ```text block that is the table of report/results.json; {REMEDY}:\n{shown}"
    )
