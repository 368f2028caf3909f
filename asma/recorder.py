"""Writes one run into MLflow, in a process beside the stage.

Loading MLflow takes as long as loading torch: the two load side by side, and no training waits for a store. The
process belongs to one stage and ends with it. Orders come on standard input, one a line as JSON, a method of
`Recorder` and its arguments, the first those of its making; the one answer is the run's id or why there is none. Orders
that end without `end` mean that the stage was killed.

The store is `MLFLOW_TRACKING_URI` if set, else `mlflow.db` (SQLite) and `mlartifacts/` at the repository's
root: the folder in `DVC_ROOT`, which DVC sets to the original repository also under `dvc exp run --temp`
and `--queue`, where the working folder is a copy that is deleted afterwards; without DVC the working
folder.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from mlflow.tracking import MlflowClient
    from torch import nn

EXPERIMENT = "asma"
# What an experiment is to MLflow's page: machine learning, not traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
# Tags that all stages of a reproduction have.
SHARED = ("dvc.exp_name", "dvc.baseline", "host", "revision")
FLUSH_SECONDS = 10.0
_BATCH_METRICS = 800  # the store takes at most 1000 entries a call,
_BATCH_PARAMS = 100  # of which at most 100 parameters

try:
    import fcntl
except ImportError:  # not a POSIX system: see _lock
    fcntl = None  # type: ignore[assignment]  # the module is optional


def store() -> tuple[str, Path | None]:
    """Where MLflow writes: (tracking URI, folder of artifacts or None where the server decides)."""
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not uri.startswith("sqlite:///"):
        return uri, None
    # A relative path in the URI means the root too: the working folder may be one that is deleted.
    database = root / uri.removeprefix("sqlite:///")
    return f"sqlite:///{database}", database.parent / "mlartifacts"


@contextlib.contextmanager
def _lock(uri: str) -> Iterator[None]:
    """One process at a time opens a SQLite store.

    MLflow creates the tables of an empty database without a lock of its own: processes that start together
    leave it broken for good. Where file locks do not exist the first stage has to run alone.
    """
    if fcntl is None or not uri.startswith("sqlite:///"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_name(database.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def load() -> None:
    """Import MLflow: no telemetry, no progress chatter, no links to runs."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    collecting = gc.isenabled()
    gc.disable()  # thousands of modules: without collections in between they load in two thirds of the time
    try:
        import mlflow.tracking

        if store()[0].startswith("sqlite:"):
            # What the client would import anyway, but outside the lock.
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported for its time
    finally:
        if collecting:
            gc.enable()


def connect() -> tuple[MlflowClient, str]:
    """Open the store, made on first use: (client, id of the experiment `asma`)."""
    load()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    uri, artifacts = store()
    with _lock(uri):
        client = MlflowClient(uri)
        location = artifacts.as_uri() if artifacts else None
        # A store that was moved to another folder keeps its old runs; new ones get an experiment of their
        # own, because the place of an experiment's artifacts cannot be changed.
        for name in (EXPERIMENT, f"{EXPERIMENT} ({artifacts})"):
            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    return client, client.create_experiment(name, location, KIND)
                except MlflowException:  # on a server, where the lock does not reach, another was faster
                    found = client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if location is None or found.artifact_location in (location, str(artifacts)):
                if found.lifecycle_stage == "deleted":
                    client.restore_experiment(found.experiment_id)
                for key in KIND.keys() - found.tags.keys():  # who set another, keeps it
                    client.set_experiment_tag(found.experiment_id, key, KIND[key])
                return client, found.experiment_id
    raise RuntimeError(f"{uri}: experiment {EXPERIMENT!r} keeps its artifacts elsewhere; expected {location}")


def page(server: str) -> str:
    """Where a server shows the runs; the store is made before. Without the word for it, MLflow's page would open on
    language models whatever the experiment's kind."""
    return f"{server}/#/experiments/{connect()[1]}/runs?workflowType=machine_learning"


def reproduction(
    client: MlflowClient,
    experiment: str,
    name: str,
    began: int,
    tags: Mapping[str, str],
) -> str:
    """The id of the run that the stages of a reproduction stand under, made by the first of them."""
    with _lock(store()[0]):
        found = client.search_runs([experiment], f"tags.reproduction = '{name}'", max_results=1)
        if not found:
            told = {**tags, "reproduction": name}
            return str(client.create_run(experiment, began, told, name).info.run_id)
    client.update_run(found[0].info.run_id, status="RUNNING")
    return str(found[0].info.run_id)


class Recorder:
    """One run in the store. Figures are gathered and sent together; times are in ms since 1970.

    With the name of a reproduction it stands under that one's run, which ends as its last does.
    """

    def __init__(
        self,
        name: str,
        tags: Mapping[str, str],
        began: int,
        whole: str | None = None,
    ) -> None:
        self.name = name
        self._flushed = time.monotonic()
        self._metrics: list[tuple[str, float, int, int]] = []
        self._params: list[tuple[str, str]] = []
        self._complained = self._ended = False
        self._client, experiment = connect()
        revision = _revision()
        told = {**tags, "revision": revision} if revision else dict(tags)
        self._parent: str | None = None
        if whole is not None:
            shared = {key: told[key] for key in SHARED if key in told}
            self._parent = reproduction(self._client, experiment, whole, began, shared)
            told["mlflow.parentRunId"] = self._parent
        run = self._client.create_run(experiment, start_time=began, run_name=name, tags=told)
        self.run_id: str = run.info.run_id

    def params(self, values: Mapping[str, str]) -> None:
        """Parameters, as text."""
        self._params += values.items()

    def metrics(self, values: Mapping[str, float], now: int, step: int) -> None:
        """A point of each named curve; sends what has gathered every ten seconds."""
        self._metrics += [(key, value, now, step) for key, value in values.items()]
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def data(self, parts: Iterable[Mapping[str, str]]) -> None:
        """Data sets that the run reads, each with the `context` it reads them in."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for part in parts:
            of = Dataset(part["name"], part["digest"], "local", part["source"], None, part["profile"])
            inputs.append(DatasetInput(of, [InputTag("mlflow.data.context", part["context"])]))
        with self._tolerant():
            self._client.log_inputs(self.run_id, inputs)

    def artifact(self, path: str, folder: str | None = None) -> None:
        """A copy of a file, in a folder of the run's artifacts."""
        with self._tolerant():
            self._client.log_artifact(self.run_id, path, folder)

    def end(self, status: str, now: int) -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        if not self._ended:
            self._ended = True
            self._flush(last=True)
            with self._tolerant():
                for run in filter(None, (self.run_id, self._parent)):
                    self._client.set_terminated(run, status, now)

    def _flush(self, last: bool = False) -> None:
        """Send what has gathered; what could not be sent stays for the next time."""
        from mlflow.entities import Metric, Param

        self._flushed = time.monotonic()
        for attempt in range(3 if last else 1):
            if attempt:
                time.sleep(attempt)
            with self._tolerant():
                while self._params or self._metrics:
                    metrics, params = self._metrics[:_BATCH_METRICS], self._params[:_BATCH_PARAMS]
                    self._client.log_batch(
                        self.run_id, [Metric(*one) for one in metrics], [Param(*one) for one in params]
                    )
                    self._metrics, self._params = self._metrics[len(metrics) :], self._params[len(params) :]
                return

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Hours of training outlive a store that does not answer: said once, and the stage goes on."""
        try:
            yield
        except Exception as error:
            if not self._complained:
                print(f"{self.name}: MLflow does not answer, the stage goes on: {error}", file=sys.stderr, flush=True)
            self._complained = True


def register(run_id: str, name: str, network: nn.Module, example: np.ndarray, logits: np.ndarray) -> tuple[str, Any]:
    """A network as the next version of `name` in the model registry: (version, the registered model read back).

    In the process that has the network, not beside it.
    """
    client, experiment = connect()
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(store()[0])  # of MLflow's global functions, which models need
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own modules, which are imported here
            import mlflow.pytorch
            import torch
            from mlflow.models import infer_signature

            # Without an entry of its own the model would land in MLflow's default experiment.
            entry = client.create_logged_model(experiment, name, run_id)
            info = mlflow.pytorch.log_model(
                network,
                name=name,
                model_id=entry.model_id,
                signature=infer_signature(example, logits),
                input_example=example,
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
                registered_model_name=name,
                serialization_format="pt2",
                validate_serving_input=False,  # a second reading of the model: whoever calls compares its answers
                run_id=run_id,
            )
            return str(info.registered_model_version), mlflow.pyfunc.load_model(info.model_uri)
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _revision() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def follow(orders: Iterable[str]) -> Iterator[dict[str, str]]:
    """Do what each line says; gives {"run_id": …} when the run is open, or {"error": …} and ends."""
    recorder = None
    for line in orders:
        what, *arguments = json.loads(line)
        if recorder is not None:
            getattr(recorder, what)(*arguments)
            continue
        try:
            recorder = Recorder(*arguments)
        except Exception as error:
            yield {"error": f"{store()[0]}: MLflow cannot open a run: {error}"}
            return
        yield {"run_id": recorder.run_id}
    if recorder is not None:
        recorder.end("KILLED", int(time.time() * 1000))


def main() -> None:
    """The process beside the stage."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    sys.modules["pandas"] = None  # type: ignore[assignment]  # a quarter of MLflow's time; it does without
    load()
    del sys.modules["pandas"]
    gc.freeze()
    for answer in follow(sys.stdin):
        print(json.dumps(answer), file=answers, flush=True)
    sys.stderr.flush()
    os._exit(0)  # Python would take thousands of modules apart one by one: half a second


if __name__ == "__main__":
    main()
