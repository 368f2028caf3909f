"""Where MLflow writes and how a run is opened there."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from asma import mlflow_store, tracking

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("own_store")


def test_without_dvc_the_store_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)
    assert mlflow_store.place() == (
        f"sqlite:///{tmp_path.resolve()}/mlflow.db",
        tmp_path.resolve() / "mlartifacts",
    )


def test_a_relative_database_in_the_environment_means_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    monkeypatch.chdir("/")
    assert mlflow_store.place() == (
        f"sqlite:///{tmp_path.resolve()}/other.db",
        tmp_path.resolve() / "mlartifacts",
    )


def test_a_server_in_the_environment_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert mlflow_store.place() == ("http://127.0.0.1:5000", None)


def test_mlflow_shows_runs_first_also_of_an_experiment_that_did_not_say_so(
    client: MlflowClient,
) -> None:
    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    key, value = "mlflow.experimentKind", "custom_model_development"
    assert experiment.tags[key] == value
    client.delete_experiment_tag(experiment.experiment_id, key)
    mlflow_store.connect()
    assert client.get_experiment(experiment.experiment_id).tags[key] == value
    client.set_experiment_tag(experiment.experiment_id, key, "classification")
    mlflow_store.connect()
    assert client.get_experiment(experiment.experiment_id).tags[key] == "classification"
    client.set_experiment_tag(experiment.experiment_id, key, value)


def test_the_page_of_the_runs_is_the_experiments_in_words_that_this_mlflow_knows(
    client: MlflowClient,
) -> None:
    import mlflow

    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    page = mlflow_store.page("http://127.0.0.1:5000")
    start = f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?workflowType="
    assert page.startswith(start)
    folder = Path(mlflow.__file__).parent / "server/js/build/static/js"
    code = "".join(path.read_text("utf-8") for path in folder.glob("*.js"))
    for word in (mlflow_store.KIND["mlflow.experimentKind"], page.removeprefix(start)):
        assert f'="{word}"' in code


def test_a_deleted_experiment_comes_back(client: MlflowClient) -> None:
    with tracking.run("probe"):
        pass
    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with tracking.run("probe") as log:
        pass
    assert client.get_run(log.run_id).info.experiment_id == experiment.experiment_id


def test_a_store_that_was_moved_keeps_its_runs_and_takes_new_ones(
    client: MlflowClient, warm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes((warm_store / "mlflow.db").read_bytes())
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    before = {path for path in warm_store.rglob("*")}
    note = tmp_path / "note.txt"
    note.write_text("note")
    for _ in range(2):
        with tracking.run("probe") as log:
            log.artifact(note)
    assert {path for path in warm_store.rglob("*")} == before
    assert len(list((tmp_path / "mlartifacts").rglob("note.txt"))) == 2


@pytest.mark.slow
def test_a_shell_between_dvc_and_a_stage_makes_no_reproduction_of_its_own() -> None:
    ask = f"{sys.executable} -P -c 'from asma import mlflow_store as s; print(s.reproduction())'"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "probe@random"}
    said = [  # a shell is replaced by the only command it has, and waits for one of several
        subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for command in (ask, f"{ask}; true", f"{ask}; true")
    ]
    assert len(set(said)) == 1
    assert f"(process {os.getpid()} on " in said[0]


HOLDER = """
from asma import mlflow_store
with mlflow_store.exclusive():
    print("alone", flush=True)
    input()
"""


@pytest.mark.slow
def test_one_process_at_a_time_opens_a_store_also_after_one_that_was_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def holder() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLDER]
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    with holder() as first, holder() as second:
        assert first.stdout and second.stdout and second.stdin
        entered = [select.select([first.stdout, second.stdout], [], [], 60)[0][0]]
        one, other = (first, second) if entered == [first.stdout] else (second, first)
        assert one.stdout and other.stdout and other.stdin
        assert one.stdout.readline() == "alone\n"
        assert select.select([other.stdout], [], [], 1.0)[0] == []
        one.kill()
        assert other.stdout.readline() == "alone\n"
        other.communicate("go on\n")
        assert other.returncode == 0
