from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from asma import recorder, tracking

ROOT = Path(__file__).resolve().parents[1]


class Inside:
    """The recorder within the process of the tests: the same orders as text, without a process to start."""

    def __init__(self) -> None:
        self.recorder: recorder.Recorder | None = None

    def tell(self, what: str, *arguments: object) -> None:
        what, *told = json.loads(json.dumps([what, *arguments]))
        if self.recorder is None:
            assert what == "open"
            self.recorder = recorder.Recorder(*told)
        else:
            getattr(self.recorder, what)(*told)

    @property
    def run_id(self) -> str:
        assert self.recorder
        return self.recorder.run_id

    def close(self) -> None:
        """Everything is written already."""


@pytest.fixture(autouse=True)
def _inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "Recording", Inside)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose store exists already: making one takes seconds."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(root))
        recorder.connect()
    return root


@pytest.fixture
def client(warm: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("DVC_ROOT", str(warm))
    return MlflowClient(f"sqlite:///{warm}/mlflow.db")


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
    writers = [_python(WRITER, name, DVC_STAGE=f"pretrain@{name}", **experiment_of_dvc) for name in "abcde"]
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
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as these tests may be, ignores it
with tracking.run("pretrain") as log:
    log.params({"lr": 0.1})
    log.epoch(1, loss=0.5)
    print(log.run_id, flush=True)
    input()
    log.epoch(2, loss=0.25)
    log.summary("mlflow" in sys.modules)
"""


def _stage(**environment: str) -> tuple[subprocess.Popen[str], str]:
    """A stage that has opened its run and waits for a line, and the run's id."""
    stage = _python(STAGE, **environment)
    assert stage.stdout
    return stage, stage.stdout.readline().strip()


@pytest.mark.slow
def test_the_process_of_the_stage_does_without_mlflow(client: MlflowClient) -> None:
    stage, run_id = _stage()
    assert stage.communicate("go on\n") == ("False\n", "")
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.info.end_time - found.info.start_time < 60_000
    assert len(client.get_metric_history(run_id, "loss")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_stage_is_stopped_its_run_is_marked_killed_with_what_it_had_told(
    client: MlflowClient, number: signal.Signals
) -> None:
    stage, run_id = _stage()
    stage.send_signal(number)
    stage.communicate()  # until nobody holds its standard error any more, also not the process beside it
    found = client.get_run(run_id)
    assert found.info.status == "KILLED"
    assert found.data.metrics["loss"] == 0.5
    assert found.data.params == {"lr": "0.1"}


@pytest.mark.slow
def test_a_stage_outlives_the_process_beside_it(client: MlflowClient) -> None:
    code = STAGE.replace("input()", "log._recording._process.kill(); log._recording._process.wait()")
    stage = _python(code)
    out, err = stage.communicate()
    assert stage.returncode == 0
    assert out.splitlines()[1:] == ["False"]
    assert err.count("the process that writes the run has ended, the stage goes on") == 1


@pytest.mark.slow
def test_a_store_that_cannot_be_opened_fails_the_stage_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    stage = _python(STAGE, DVC_ROOT=str(tmp_path / "file"))
    out, err = stage.communicate("go on\n")
    assert stage.returncode == 1
    assert out == ""
    assert f"sqlite:///{tmp_path}/file/mlflow.db: MLflow cannot open a run" in err


def test_a_store_that_cannot_be_opened_hides_no_other_failure(capfd: pytest.CaptureFixture[str]) -> None:
    class Closed(Inside):
        def tell(self, what: str, *arguments: object) -> None:
            if what != "open":
                raise tracking.StoreError("no store")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "Recording", Closed)
        with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe"):
            raise RuntimeError("on purpose")
        assert "no store" in capfd.readouterr().err
        with pytest.raises(tracking.StoreError, match="no store"), tracking.run("probe"):
            pass


def test_orders_that_end_before_a_run_is_open_leave_nothing(tmp_path: Path) -> None:
    assert list(recorder.follow([])) == []
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_working_folder_writes_into_the_store_at_the_root(
    client: MlflowClient, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)
    (copy / "note.txt").write_text("note")
    with tracking.run("parse", dataset="demo") as log:
        log.artifact(copy / "note.txt")
    assert [path.name for path in copy.iterdir()] == ["note.txt"]
    assert client.get_run(log.run_id).info.status == "FINISHED"
    assert list((warm / "mlartifacts").rglob("note.txt"))


def test_without_dvc_the_store_is_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)
    assert recorder.store() == (
        f"sqlite:///{tmp_path.resolve()}/mlflow.db",
        tmp_path.resolve() / "mlartifacts",
    )


def test_a_relative_database_in_the_environment_means_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    monkeypatch.chdir("/")
    assert recorder.store() == (
        f"sqlite:///{tmp_path.resolve()}/other.db",
        tmp_path.resolve() / "mlartifacts",
    )


def test_a_server_in_the_environment_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert recorder.store() == ("http://127.0.0.1:5000", None)


def test_a_run_is_named_and_tagged_like_its_stage(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
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
    name = tracking.reproduction()
    assert name is not None and re.fullmatch(r"repro of \d{4}-\d\d-\d\d [\d:]{8} \(process \d+ on .+\)", name)
    with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe") as first:
        raise RuntimeError("on purpose")
    parent = client.get_run(first.run_id).data.tags["mlflow.parentRunId"]
    whole = client.get_run(parent)
    assert (whole.info.run_name, whole.info.status) == (name, "FAILED")
    assert whole.data.tags["reproduction"] == name
    assert "stage" not in whole.data.tags
    with tracking.run("probe") as second:
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


@pytest.mark.slow
def test_a_shell_between_dvc_and_a_stage_makes_no_reproduction_of_its_own() -> None:
    ask = f"{sys.executable} -P -c 'from asma import tracking; print(tracking.reproduction())'"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "probe@random"}
    said = [  # a shell is replaced by the only command it has, and waits for one of several
        subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True).stdout
        for command in (ask, f"{ask}; true", f"{ask}; true")
    ]
    assert len(set(said)) == 1
    assert f"(process {os.getpid()} on " in said[0]


def test_mlflow_shows_runs_first_also_of_an_experiment_that_did_not_say_so(client: MlflowClient, warm: Path) -> None:
    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    key, value = "mlflow.experimentKind", "custom_model_development"
    assert experiment.tags[key] == value
    client.delete_experiment_tag(experiment.experiment_id, key)
    recorder.connect()
    assert client.get_experiment(experiment.experiment_id).tags[key] == value
    client.set_experiment_tag(experiment.experiment_id, key, "classification")
    recorder.connect()
    assert client.get_experiment(experiment.experiment_id).tags[key] == "classification"
    client.set_experiment_tag(experiment.experiment_id, key, value)


def test_the_page_of_the_runs_is_the_experiments_in_words_that_this_mlflow_knows(
    client: MlflowClient,
) -> None:
    import mlflow

    experiment = client.get_experiment_by_name("asma")
    assert experiment is not None
    page = recorder.page("http://127.0.0.1:5000")
    start = f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?workflowType="
    assert page.startswith(start)
    folder = Path(mlflow.__file__).parent / "server/js/build/static/js"
    code = "".join(path.read_text("utf-8") for path in folder.glob("*.js"))
    for word in (recorder.KIND["mlflow.experimentKind"], page.removeprefix(start)):
        assert f'="{word}"' in code


class Recordings:
    """What is told of a benchmark."""

    name = "toy_xsub"
    classes = ("sit", "run")

    def __init__(self, path: Path) -> None:
        self.path = path

    def counts(self) -> dict[str, int]:
        return {"n_train": 8, "n_test": 4}


def test_a_run_says_which_recordings_it_learnt_from_and_was_judged_on(client: MlflowClient, tmp_path: Path) -> None:
    path = tmp_path / "toy_xsub.h5"
    found = []
    for content in ("a", "b"):
        path.write_text(content)
        with tracking.run("probe") as log:
            log.data(Recordings(path), "train", "test")
        read = client.get_run(log.run_id).inputs
        assert read is not None
        inputs = read.dataset_inputs
        told = {one.dataset.name: (one.tags[0].value, json.loads(one.dataset.profile or "")) for one in inputs}
        assert told == {
            "toy_xsub train": ("training", {"num_rows": 8, "classes": 2}),
            "toy_xsub test": ("testing", {"num_rows": 4, "classes": 2}),
        }
        assert {json.loads(one.dataset.source)["uri"] for one in inputs} == {path.as_posix()}
        found += [{one.dataset.digest for one in inputs}]
    assert len(found[0]) == len(found[1]) == 1
    assert found[0] != found[1]


def test_a_figure_of_an_encoder_with_an_unusual_name_arrives_under_one_that_mlflow_takes(client: MlflowClient) -> None:
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
    with tracking.run("probe", encoder="random", stream="joint") as one, tracking.run("table") as two:
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
    assert sorted((point.step, point.value) for point in history) == [(i, float(i)) for i in range(1, 901)]


def test_curves_are_sent_while_the_stage_runs(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.0)
    with tracking.run("pretrain") as log:
        log.epoch(1, loss=3.0)
        assert client.get_run(log.run_id).data.metrics == {"loss": 3.0}
        assert client.get_run(log.run_id).info.status == "RUNNING"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_figure_that_is_not_finite_stops_the_stage_with_its_name_and_epoch(
    client: MlflowClient, value: float
) -> None:
    with (
        pytest.raises(tracking.NotFinite, match=r"^loss is (nan|inf) at epoch 7; expected a finite number$"),
        tracking.run("pretrain") as log,
    ):
        log.epoch(6, loss=0.5)
        log.epoch(7, loss=value)
    found = client.get_run(log.run_id)
    assert found.info.status == "FAILED"
    assert found.data.metrics["loss"] == 0.5


def test_a_final_figure_that_is_not_finite_is_refused(client: MlflowClient) -> None:
    with pytest.raises(tracking.NotFinite, match="linear.accuracy is nan"), tracking.run("probe") as log:
        log.metrics({"linear": {"accuracy": float("nan")}})


def test_a_failing_stage_is_marked_failed_and_says_no_summary(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), tracking.run("probe") as log:
        log.summary("all is well")
        raise RuntimeError("on purpose")
    assert client.get_run(log.run_id).info.status == "FAILED"
    assert capsys.readouterr().out == ""


def test_the_summary_is_printed_at_the_end(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
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
    with pytest.raises(ValueError, match=r"parameter lr: found 2, expected 1"), tracking.run("probe") as log:
        log.params({"lr": 1})
        log.params({"lr": 1})
        log.params({"lr": 2})


def test_a_store_that_does_not_answer_does_not_stop_the_training(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder.time, "sleep", lambda seconds: None)

    def refuse(*arguments: object, **named: object) -> None:
        raise MlflowException("no route")

    with tracking.run("pretrain") as log:
        assert isinstance(log._recording, Inside)
        assert log._recording.recorder
        own = log._recording.recorder._client
        send = own.log_batch
        monkeypatch.setattr(own, "log_batch", refuse)
        log.epoch(1, loss=3.0)
        log.epoch(2, loss=2.0)
        monkeypatch.setattr(own, "log_batch", send)
    assert len(client.get_metric_history(log.run_id, "loss")) == 2
    assert capsys.readouterr().err.count("no route") == 1


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
    client: MlflowClient, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes((warm / "mlflow.db").read_bytes())
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    before = {path for path in warm.rglob("*")}
    note = tmp_path / "note.txt"
    note.write_text("note")
    for _ in range(2):
        with tracking.run("probe") as log:
            log.artifact(note)
    assert {path for path in warm.rglob("*")} == before
    assert len(list((tmp_path / "mlartifacts").rglob("note.txt"))) == 2


def test_written_metrics_are_the_same_bytes_for_the_same_content(client: MlflowClient, tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "metrics.json", tmp_path / "b" / "metrics.json"
    with tracking.run("probe") as log:
        log.write(one, {"b": np.int64(2), "a": {"y": [np.float32(0.5)], "x": None}, "path": Path("runs/x")})
        log.write(two, {"path": Path("runs/x"), "a": {"x": None, "y": [0.5]}, "b": 2})
    assert one.read_bytes() == two.read_bytes()
    assert json.loads(one.read_text()) == {"a": {"x": None, "y": [0.5]}, "b": 2, "path": "runs/x"}


def test_written_curves_are_a_table_too_with_one_axis_for_what_is_learnt_in_phases(
    client: MlflowClient, tmp_path: Path
) -> None:
    with tracking.run("distill") as log:
        log.write(tmp_path / "metrics.json", {"curves": {"features": [2.0, np.float32(1.5)], "finetune": [0.5]}})
        log.write(tmp_path / "random" / "metrics.json", {"curves": {}})
        log.write(tmp_path / "probe" / "metrics.json", {"accuracy": 50.0})
    table = (tmp_path / "curves.csv").read_bytes()
    assert table == b"epoch,loss,curve\n0,2.0,features\n1,1.5,features\n2,0.5,finetune\n"
    assert (tmp_path / "random" / "curves.csv").read_text() == "epoch,loss,curve\n"
    assert not (tmp_path / "probe" / "curves.csv").exists()


def test_the_parts_of_a_loss_lie_beside_it_on_the_axis_of_epochs(
    client: MlflowClient,
    tmp_path: Path,
) -> None:
    curves = {"loss": [3.0, 2.0], "loss_near": [1.0, 0.5], "loss_far": [2.0, 1.5], "later": [0.25]}
    with tracking.run("pretrain") as log:
        log.write(tmp_path / "metrics.json", {"curves": curves})
    rows = (tmp_path / "curves.csv").read_text().splitlines()[1:]
    assert rows == [
        "0,3.0,loss", "1,2.0,loss", "0,1.0,loss_near", "1,0.5,loss_near", "0,2.0,loss_far",
        "1,1.5,loss_far", "2,0.25,later",
    ]  # fmt: skip


def test_written_metrics_refuse_what_is_not_finite_and_name_it(client: MlflowClient, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with (
        pytest.raises(tracking.NotFinite, match=r"results\[1\]\.accuracy is nan"),
        tracking.run("probe") as log,
    ):
        log.write(path, {"results": [{"accuracy": 1.0}, {"accuracy": np.float64("nan")}]})
    assert not path.exists()


@pytest.mark.slow
def test_a_registered_model_is_right_for_any_batch_size(
    client: MlflowClient, warm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow
    import torch
    from torch import nn

    class Network(nn.Module):
        """What an exported student has: two bodies folded into the batch, a graph product, a norm."""

        def __init__(self) -> None:
            super().__init__()
            self.adjacency = nn.Parameter(torch.rand(3, 5, 5))
            self.norm = nn.BatchNorm1d(15)
            self.widen = nn.Conv2d(3, 12, 1)
            self.along = nn.Conv2d(4, 4, (9, 1), padding=(4, 0), stride=(2, 1))
            self.head = nn.Linear(4, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            N, C, T, V, M = x.shape
            x = x.permute(0, 4, 3, 1, 2).reshape(N * M, V * C, T)
            x = self.norm(x).reshape(N * M, V, C, T).permute(0, 2, 3, 1)
            x = self.widen(x).reshape(N * M, 3, 4, T, V)
            x = self.along(torch.einsum("nkctv,kvw->nctw", x, self.adjacency)).relu()
            return self.head(x.mean((2, 3)).reshape(N, M, 4).mean(1))

    torch.manual_seed(0)
    network = Network()
    assert network.training
    with tracking.run("distill", stream="joint") as log:
        uri = log.model("student", network, np.random.default_rng(0).normal(size=(1, 3, 10, 5, 2)).astype("f4"))
        log.epoch(1, loss=1.0)
    assert uri == "models:/student/1"
    assert network.training
    assert capfd.readouterr() == ("", "")
    assert "MLFLOW_TRACKING_URI" not in os.environ

    version = client.get_model_version("student", "1")
    assert version.run_id == log.run_id
    assert client.get_run(log.run_id).info.status == "FINISHED"
    mlflow.set_tracking_uri(f"sqlite:///{warm}/mlflow.db")
    try:
        model = mlflow.pyfunc.load_model(uri)
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 3, 10, 5, 2)
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, 6)
    network.eval()
    for size in (1, 2, 5, 17):
        batch = np.random.default_rng(size).normal(size=(size, 3, 10, 5, 2)).astype("f4")
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(model.predict(batch), expected, rtol=1e-4, atol=1e-5)
    kept = [path.name for path in (warm / "mlartifacts").rglob("*") if path.is_file()]
    assert "model.pt2" in kept
    assert not [name for name in kept if name.endswith((".pkl", ".pth", ".pickle"))]
