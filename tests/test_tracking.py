from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from asma import mlflow_store, tracking

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("own_store")


WRITER = """
import sys
from asma import tracking
with tracking.run("pretrain", stream=sys.argv[1]) as log:
    log.params({"lr": 0.1})
    for epoch in range(1, 101):
        log.epoch(epoch, loss=1 / epoch, accuracy=epoch)
"""


def _python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_cold_database_takes_five_writers_at_once_and_prints_nothing(tmp_path: Path) -> None:
    experiment_of_dvc = {"DVC_EXP_NAME": "tidal-aunt", "DVC_EXP_BASELINE_REV": "abcdef0123"}
    writers = [
        _python(WRITER, name, DVC_STAGE=f"pretrain@{name}", **experiment_of_dvc) for name in "abcde"
    ]
    for writer in writers:
        assert writer.communicate() == ("", "")
        assert writer.returncode == 0

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    (whole,) = (found for found in runs if "reproduction" in found.data.tags)
    assert (whole.info.run_name, whole.info.status) == ("tidal-aunt on abcdef0", "FINISHED")
    runs.remove(whole)
    assert sorted(found.info.run_name for found in runs) == [f"pretrain@{name}" for name in "abcde"]
    for found in runs:
        assert found.data.tags["mlflow.parentRunId"] == whole.info.run_id
        assert found.info.status == "FINISHED"
        assert found.data.params == {"lr": "0.1"}
        assert len(client.get_metric_history(found.info.run_id, "loss")) == 100
        assert len(client.get_metric_history(found.info.run_id, "accuracy")) == 100


STAGE = """
import signal, sys
from asma import tracking
# a shell's background job, as these tests may be, ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
with tracking.run("pretrain") as log:
    print("training", flush=True)
    log.params({"lr": 0.1})
    log.epoch(1, loss=0.5)
    print(log.run_id, flush=True)
    input()
    log.epoch(2, loss=0.25)
"""


def _stage(**environment: str) -> tuple[subprocess.Popen[str], str]:
    """A stage that has opened its run and waits for a line, and the run's id."""
    stage = _python(STAGE, **environment)
    assert stage.stdout
    assert stage.stdout.readline() == "training\n"
    return stage, stage.stdout.readline().strip()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_stage_marks_its_run_killed_with_what_it_had_told(
    client: MlflowClient, number: signal.Signals
) -> None:
    stage, run_id = _stage()
    stage.send_signal(number)
    stage.communicate()
    assert stage.returncode
    found = client.get_run(run_id)
    assert found.info.status == "KILLED"
    assert found.data.metrics["loss"] == 0.5
    assert found.data.params == {"lr": "0.1"}


@pytest.mark.slow
def test_a_run_whose_process_is_gone_without_a_word_is_marked_killed_by_the_next_stage(
    client: MlflowClient,
) -> None:
    alive, still = _stage()
    stage, run_id = _stage(DVC_STAGE="pretrain", DVC_EXP_NAME="lost", DVC_EXP_BASELINE_REV="1")
    parent = client.get_run(run_id).data.tags["mlflow.parentRunId"]
    stage.kill()
    stage.communicate()
    assert client.get_run(run_id).info.status == client.get_run(parent).info.status == "RUNNING"
    with tracking.run("probe"):
        pass
    found = client.get_run(run_id)
    assert found.info.status == client.get_run(parent).info.status == "KILLED"
    assert client.get_run(still).info.status == "RUNNING"
    assert alive.communicate("go on\n") == ("", "")
    assert client.get_run(still).info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["no folder", "no database", "no server"])
def test_a_store_that_cannot_be_opened_ends_the_stage_before_it_trains_and_is_named(
    tmp_path: Path,
    kind: str,
) -> None:
    uri = {
        "no folder": f"sqlite:///{tmp_path}/file/mlflow.db",
        "no database": f"sqlite:///{tmp_path}/file",
        "no server": "http://127.0.0.1:1",
    }[kind]
    (tmp_path / "file").write_text("neither a folder nor a database")
    stage = _python(STAGE, MLFLOW_TRACKING_URI=uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    out, err = stage.communicate("go on\n")
    assert stage.returncode == 1
    assert out == ""
    assert f"{uri}: MLflow cannot open a run: " in err


def test_what_only_mlflow_finds_wrong_with_a_store_ends_the_stage_at_its_next_word(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise MlflowException("out-of-date database schema")

    monkeypatch.setattr(MlflowClient, "create_run", refuse)
    where = re.escape(mlflow_store.place()[0])
    reached: list[int] = []
    with (
        pytest.raises(mlflow_store.StoreError, match=f"^{where}: .* out-of-date database schema"),
        tracking.run("pretrain") as log,
    ):
        log._thread.join()
        reached.append(1)
        log.epoch(1, loss=0.5)
        reached.append(2)
    assert reached == [1]
    with pytest.raises(mlflow_store.StoreError, match="out-of-date"), tracking.run("probe"):
        pass


def test_a_store_that_cannot_be_opened_hides_no_other_failure(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise MlflowException("no store")

    monkeypatch.setattr(MlflowClient, "create_run", refuse)
    with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe"):
        raise RuntimeError("on purpose")
    assert "no store" in capfd.readouterr().err


def test_without_mlflow_a_stage_runs_as_well_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    (tmp_path / "note.txt").write_text("note")
    with tracking.run("pretrain") as log:
        log.params({"lr": 0.1})
        log.epoch(1, loss=0.5)
        log.metrics({"accuracy": 50.0})
        log.artifact(tmp_path / "note.txt")
        log.summary("all is well")
        assert log.run_id == ""
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert capsys.readouterr() == (
        "all is well\n",
        "MLflow is not installed: nothing is mirrored\n",
    )


@pytest.mark.slow
def test_a_stage_needs_neither_mlflow_nor_psutil_nor_dvc() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys(('mlflow', 'psutil', 'dvc')))\n{STAGE}"
    stage = _python(code, DVC_STAGE="pretrain")
    out, err = stage.communicate("go on\n")
    assert (stage.returncode, out) == (0, "training\n\n")
    assert err == "MLflow is not installed: nothing is mirrored\n"


def test_of_several_processes_only_the_first_has_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=0.5)
        log.summary("all is well")
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_the_first_of_several_processes_has_a_run(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "0")
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=0.5)
    assert client.get_run(log.run_id).data.metrics["loss"] == 0.5


def test_a_temporary_working_folder_writes_into_the_store_at_the_root(
    client: MlflowClient, warm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)
    (copy / "note.txt").write_text("note")
    with tracking.run("parse", dataset="demo") as log:
        log.artifact(copy / "note.txt")
    assert [path.name for path in copy.iterdir()] == ["note.txt"]
    assert client.get_run(log.run_id).info.status == "FINISHED"
    assert list((warm_store / "mlartifacts").rglob("note.txt"))


def test_a_run_is_named_and_tagged_like_its_stage(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "probe@random-demo-joint")
    monkeypatch.setenv("DVC_EXP_NAME", "tidal-aunt")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    with tracking.run("probe", encoder="random", benchmark="demo", stream="joint") as log:
        log.params({"fit": {"lr": 0.1, "layers": [1, 2]}, "name": "x"})
        log.metrics({"linear": {"accuracy": np.float32(50)}})
    found = client.get_run(log.run_id)
    assert found.info.run_name == "probe@random-demo-joint"
    expected = {
        "stage": "probe",
        "encoder": "random",
        "benchmark": "demo",
        "stream": "joint",
        "dvc.stage": "probe@random-demo-joint",
        "dvc.exp_name": "tidal-aunt",
        "dvc.baseline": "abc",
    }
    assert expected.items() <= found.data.tags.items()
    assert found.data.params == {"fit.lr": "0.1", "fit.layers": "[1, 2]", "name": "x"}
    assert found.data.metrics["linear.accuracy"] == 50
    assert found.data.metrics["duration_s"] > 0


def test_the_stages_of_one_reproduction_stand_under_one_run_that_ends_as_the_last_of_them_does(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "probe@random")
    name = mlflow_store.reproduction()
    assert name is not None and re.fullmatch(
        r"repro of \d{4}-\d\d-\d\d [\d:]{8} \(process \d+ on .+\)", name
    )
    with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe") as first:
        raise RuntimeError("on purpose")
    parent = client.get_run(first.run_id).data.tags["mlflow.parentRunId"]
    whole = client.get_run(parent)
    assert (whole.info.run_name, whole.info.status) == (name, "FAILED")
    assert whole.data.tags["reproduction"] == name
    assert "stage" not in whole.data.tags
    with tracking.run("probe") as second:
        assert second.run_id  # it is open
        assert client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(second.run_id).data.tags["mlflow.parentRunId"] == parent
    assert client.get_run(parent).info.status == "FINISHED"

    monkeypatch.setenv("DVC_EXP_NAME", "tidal-aunt")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abcdef0123")
    with tracking.run("probe") as other:
        pass
    parent = client.get_run(other.run_id).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.run_name == "tidal-aunt on abcdef0"
    monkeypatch.delenv("DVC_STAGE")
    with tracking.run("probe") as alone:
        pass
    assert "mlflow.parentRunId" not in client.get_run(alone.run_id).data.tags


class Recordings:
    """What is told of a benchmark."""

    name = "toy_xsub"
    classes = ("sit", "run")

    def __init__(self, path: Path) -> None:
        self.path = path

    def counts(self) -> dict[str, int]:
        return {"n_train": 8, "n_test": 4}


def test_a_run_says_which_recordings_it_learnt_from_and_was_judged_on(
    client: MlflowClient, tmp_path: Path
) -> None:
    path = tmp_path / "toy_xsub.h5"
    found = []
    for content in ("a", "b"):
        path.write_text(content)
        with tracking.run("probe") as log:
            log.data(Recordings(path), "train", "test")
        read = client.get_run(log.run_id).inputs
        assert read is not None
        inputs = read.dataset_inputs
        told = {
            one.dataset.name: (one.tags[0].value, json.loads(one.dataset.profile or ""))
            for one in inputs
        }
        assert told == {
            "toy_xsub train": ("training", {"num_rows": 8, "classes": 2}),
            "toy_xsub test": ("testing", {"num_rows": 4, "classes": 2}),
        }
        assert {json.loads(one.dataset.source)["uri"] for one in inputs} == {path.as_posix()}
        found += [{one.dataset.digest for one in inputs}]
    assert len(found[0]) == len(found[1]) == 1
    assert found[0] != found[1]


def test_a_figure_of_an_encoder_with_an_unusual_name_arrives_under_one_that_mlflow_takes(
    client: MlflowClient,
) -> None:
    encoder = "lowdeg_highmot+mask.joints=7"
    with tracking.run("probe", encoder=encoder, benchmark="demo", stream="joint") as log:
        log.metrics({f"{encoder}.linear": {"accuracy": 50}})
        log.epoch(1, **{f"joint_{encoder}": 2.0})
    found = client.get_run(log.run_id)
    assert found.data.tags["encoder"] == encoder
    assert found.info.run_name == f"probe@{encoder}-demo-joint"
    assert found.data.metrics["lowdeg_highmot_mask.joints_7.linear.accuracy"] == 50
    assert found.data.metrics["joint_lowdeg_highmot_mask.joints_7"] == 2.0


def test_without_dvc_the_name_is_the_stage_and_its_axes(client: MlflowClient) -> None:
    with (
        tracking.run("probe", encoder="random", stream="joint") as one,
        tracking.run("table") as two,
    ):
        pass
    assert client.get_run(one.run_id).info.run_name == "probe@random-joint"
    assert client.get_run(two.run_id).info.run_name == "table"


def test_more_than_one_batch_of_parameters_and_metrics_arrives(client: MlflowClient) -> None:
    with tracking.run("pretrain") as log:
        log.params({f"p{i}": i for i in range(250)})
        for epoch in range(1, 901):
            log.epoch(epoch, loss=epoch, rate=1.0)
    found = client.get_run(log.run_id)
    assert len(found.data.params) == 250
    history = client.get_metric_history(log.run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == [
        (i, float(i)) for i in range(1, 901)
    ]


def test_curves_are_sent_while_the_stage_runs(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=3.0)
        until = time.monotonic() + 60
        while client.get_run(log.run_id).data.metrics != {"loss": 3.0}:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert client.get_run(log.run_id).info.status == "RUNNING"


def test_what_is_said_within_seconds_is_sent_together(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes, send = [], MlflowClient.log_batch

    def count(self: MlflowClient, run_id: str, metrics: list[Any], params: list[Any]) -> None:
        sizes.append((len(metrics), len(params)))
        send(self, run_id, metrics, params)

    monkeypatch.setattr(MlflowClient, "log_batch", count)
    with tracking.run("pretrain") as log:
        for epoch in range(100):
            log.epoch(epoch, loss=1.0)
    assert sizes == [(101, 0)]  # with the duration


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_figure_that_is_not_finite_stops_the_stage_with_its_name_and_epoch(
    client: MlflowClient, value: float
) -> None:
    with (
        pytest.raises(ValueError, match=r"^loss is (nan|inf) at epoch 7; expected a finite number"),
        tracking.run("pretrain") as log,
    ):
        log.epoch(6, loss=0.5)
        log.epoch(7, loss=value)
    found = client.get_run(log.run_id)
    assert found.info.status == "FAILED"
    assert found.data.metrics["loss"] == 0.5


def test_a_final_figure_that_is_not_finite_is_refused(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="linear.accuracy is nan"), tracking.run("probe") as log:
        log.metrics({"linear": {"accuracy": float("nan")}})


def test_a_failing_stage_is_marked_failed_and_says_no_summary(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe") as log:
        log.summary("all is well")
        raise RuntimeError("on purpose")
    assert client.get_run(log.run_id).info.status == "FAILED"
    assert capsys.readouterr().out == ""


def test_the_summary_is_printed_at_the_end(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracking.run("probe") as log:
        log.summary("all is well")
        assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == "all is well\n"


def test_a_terminated_stage_is_marked_killed(client: MlflowClient) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), tracking.run("pretrain") as log:
        os.kill(os.getpid(), signal.SIGTERM)
    assert client.get_run(log.run_id).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == before


def test_another_value_for_a_known_parameter_is_refused(client: MlflowClient) -> None:
    with (
        pytest.raises(ValueError, match=r"parameter lr: found 2, expected 1"),
        tracking.run("probe") as log,
    ):
        log.params({"lr": 1})
        log.params({"lr": 1})
        log.params({"lr": 2})


def test_a_store_that_does_not_answer_does_not_stop_the_training(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    send, refused = MlflowClient.log_batch, threading.Semaphore(0)

    def refuse(*arguments: object, **named: object) -> None:
        refused.release()
        raise MlflowException("no route")

    with tracking.run("pretrain") as log:
        monkeypatch.setattr(MlflowClient, "log_batch", refuse)
        log.epoch(1, loss=3.0)
        log.epoch(2, loss=2.0)
        for _ in range(2):
            assert refused.acquire(timeout=60)
        monkeypatch.setattr(MlflowClient, "log_batch", send)
    assert len(client.get_metric_history(log.run_id, "loss")) == 2
    said = capsys.readouterr().err
    assert said == "pretrain: MLflow fails, the stage goes on: no route\n"


def test_what_could_not_be_sent_at_the_end_is_sent_again(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, attempts = MlflowClient.log_batch, [0]

    def refuse_once(*arguments: Any, **named: Any) -> None:
        attempts[0] += 1
        if attempts[0] == 1:
            raise MlflowException("database is locked")
        send(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", refuse_once)
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=3.0)
    assert attempts == [2]
    assert client.get_run(log.run_id).data.metrics["loss"] == 3.0


def test_a_store_that_hangs_holds_up_no_training_and_the_end_only_for_a_while(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    send, hanging, answer = MlflowClient.log_batch, threading.Event(), threading.Event()

    def hang(*arguments: Any, **named: Any) -> None:
        hanging.set()
        answer.wait()
        send(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", hang)
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=1.0)
        assert hanging.wait(timeout=60)
        for epoch in range(2, 101):
            log.epoch(epoch, loss=1.0)
        log.summary("trained")
    assert capsys.readouterr() == (
        "trained\n",
        "pretrain: MLflow fails, the stage goes on: nothing for 0 s\n",
    )
    answer.set()
    log._thread.join()
    assert len(client.get_metric_history(log.run_id, "loss")) == 100
