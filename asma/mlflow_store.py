"""MLflow's store: where it is, how a run in it is opened, the page that shows it.

It is `MLFLOW_TRACKING_URI` if set, else `mlflow.db` (SQLite) and `mlartifacts/` at the root of the
repository: the folder in `DVC_ROOT`, which DVC sets to the original repository also under
`dvc exp run --temp` and `--queue`, where the working folder is a copy that is deleted afterwards;
without DVC the working folder. MLflow is loaded where it is needed, and only there.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

EXPERIMENT = "asma"
# What an experiment is to MLflow's page: machine learning, not traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "zsh")
QUIET = {  # MLflow: no telemetry, no progress chatter, no links to runs
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class StoreError(ValueError):
    """MLflow cannot open a run; says where and why."""


@contextlib.contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise StoreError(f"{place()[0]}: MLflow cannot open a run: {error}") from error


def place() -> tuple[str, Path | None]:
    """Where MLflow writes: (tracking URI, folder of artifacts or None where a server decides)."""
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not uri.startswith("sqlite:///"):
        return uri, None
    # A relative path in the URI means the root too: the working folder may be one that is deleted.
    database = root / uri.removeprefix("sqlite:///")
    return f"sqlite:///{database}", database.parent / "mlartifacts"


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """One process at a time, where the store is a file; on a server this is the server's matter.

    MLflow makes the tables of an empty database without a lock: processes that start together
    leave it broken for good. The lock is one of SQLite's on a file of its own, which ends with the
    process that holds it. Raises sqlite3.OperationalError where the file cannot be made.
    """
    uri, artifacts = place()
    file = f"{uri.removeprefix('sqlite:///')}.lock" if artifacts else ":memory:"
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(file, timeout=600, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


@_as_store_error()
def check() -> None:
    """Find out at once, without MLflow, whether there can be a store. Raises StoreError where it
    is a file and cannot be made or read; what only MLflow knows, `open_run` finds out."""
    uri, artifacts = place()
    if artifacts:
        database = uri.removeprefix("sqlite:///")
        with exclusive(), contextlib.closing(sqlite3.connect(database, timeout=600)) as file:
            file.execute("SELECT * FROM sqlite_master")


def connect() -> tuple[Any, str]:
    """Open the store, made on first use: (MlflowClient, id of the experiment `asma`)."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    collecting = gc.isenabled()
    gc.disable()  # thousands of modules: with collections in between they take a quarter longer
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        if place()[1]:
            # What the client would import anyway, but outside the lock.
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported for its time
    finally:
        if collecting:
            gc.enable()
    uri, artifacts = place()
    location = artifacts.as_uri() if artifacts else None
    with exclusive():
        client: Any = MlflowClient(uri)
        # A store that was moved to another folder keeps its old runs; new ones get an experiment
        # of their own, because the place of an experiment's artifacts cannot be changed.
        for name in (EXPERIMENT, f"{EXPERIMENT} ({artifacts})"):
            if client.get_experiment_by_name(name) is None:
                try:
                    client.create_experiment(name, location, KIND)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":  # on a server: another did
                        raise
            experiment = client.get_experiment_by_name(name)
            if location is None or experiment.artifact_location in (location, str(artifacts)):
                if experiment.lifecycle_stage == "deleted":
                    client.restore_experiment(experiment.experiment_id)
                for key in KIND.keys() - experiment.tags.keys():  # who set another, keeps it
                    client.set_experiment_tag(experiment.experiment_id, key, KIND[key])
                return client, experiment.experiment_id
    raise RuntimeError(f"experiment {EXPERIMENT!r} keeps its artifacts elsewhere than {location}")


@_as_store_error()
def open_run(name: str, tags: Mapping[str, str], began: int) -> tuple[Any, list[str]]:
    """Open a run, `began` in ms since 1970: (MlflowClient, its id and that of the run above it).

    The stages of a reproduction stand under one run, made by the first of them, that ends as the
    last of them does. A run whose process was killed without a chance to say so (SIGKILL, memory)
    is marked KILLED by the next stage on that machine. Raises StoreError.
    """
    client, experiment = connect()
    here = _environment_tags()
    running = f"attributes.status = 'RUNNING' and tags.host = '{here['host']}'"
    for stale in client.search_runs([experiment], running):
        if _has_ended(stale.data.tags.get("process")):
            for run_id in (stale.info.run_id, stale.data.tags.get("mlflow.parentRunId")):
                if run_id:
                    client.set_terminated(run_id, "KILLED")
    source = {"mlflow.source.name": f"stages/{tags['stage']}.py", "mlflow.source.type": "LOCAL"}
    own, parents = {**tags, **here, **source, "process": str(os.getpid())}, list[str]()
    if stage := os.environ.get("DVC_STAGE"):
        own["dvc.stage"] = stage
    if title := reproduction():
        with exclusive():
            runs = client.search_runs([experiment], f"tags.reproduction = '{title}'")
            if not runs:
                shared = {**here, "reproduction": title}
                runs = [client.create_run(experiment, began, shared, title)]
        parents = [runs[0].info.run_id]
        client.update_run(parents[0], status="RUNNING")
        own["mlflow.parentRunId"] = parents[0]
    return client, [client.create_run(experiment, began, own, name).info.run_id, *parents]


def _has_ended(process: str | None) -> bool:
    """Whether a process of this machine has ended."""
    try:
        os.kill(int(process or os.getpid()), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def reproduction() -> str | None:
    """The name that all stages of one `make repro`, `dvc repro` or `dvc exp run` give, and no
    others; none without DVC, and none without psutil.

    An experiment has its own. Otherwise it is the process that runs DVC: the stage's parent, or
    the parent of the shell between them.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    if experiment := os.environ.get("DVC_EXP_NAME"):
        return f"{experiment} on {os.environ.get('DVC_EXP_BASELINE_REV', '')[:7]}"
    try:
        import psutil
    except ImportError:
        return None
    process = psutil.Process(os.getppid())
    while process.name() in SHELLS and (above := process.parent()):
        process = above
    began = datetime.fromtimestamp(process.create_time())
    return f"repro of {began:%Y-%m-%d %H:%M:%S} (process {process.pid} on {socket.gethostname()})"


def _environment_tags() -> dict[str, str]:
    """Tags of where a run is made, the same for all stages of a reproduction."""
    revision = ""
    with contextlib.suppress(OSError):  # no git on this machine
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
        revision = git.stdout.strip()
    tags = {
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "host": socket.gethostname(),
        "revision": revision,
    }
    return {key: value for key, value in tags.items() if value}


def page(server: str) -> str:
    """Where a server shows the runs; the store is made before. Without the word for it, MLflow's
    page would open on language models whatever the experiment's kind."""
    return f"{server}/#/experiments/{connect()[1]}/runs?workflowType=machine_learning"
