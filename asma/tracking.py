"""One MLflow run for each stage execution, in one store whichever folder the stage runs in.

Files are the record and MLflow is the view: nothing in the project reads back what is logged here.

    with tracking.run("probe", encoder="lowdeg_highmot", benchmark="ntu60_xsub", stream="joint") as log:
        log.params({"lr": 1e-3})
        log.epoch(1, loss=0.7)
        log.metrics({"accuracy": 62.3})
        log.write(Path("runs/.../metrics.json"), {...})

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
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient
    from torch import nn

EXPERIMENT = "asma"
FLUSH_SECONDS = 10.0
_BATCH_METRICS = 800  # the store takes at most 1000 entries a call,
_BATCH_PARAMS = 100  # of which at most 100 parameters
_LONGEST_PARAM = 6000  # characters

try:
    import fcntl
except ImportError:  # not a POSIX system: see _lock
    fcntl = None  # type: ignore[assignment]  # the module is optional


class NotFinite(ValueError):
    """A figure that is NaN or infinite; says which one, and at which epoch (and step) where that is known."""

    def __init__(self, name: str, value: float, *, epoch: int | None = None, step: int | None = None) -> None:
        self.name, self.value, self.epoch, self.step = name, value, epoch, step
        where = "".join(f" {k} {v}" for k, v in (("epoch", epoch), ("step", step)) if v is not None)
        super().__init__(f"{name} is {value}" + (f" at{where}" if where else "") + "; expected a finite number")


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


def _quiet() -> None:
    """No telemetry, no progress chatter, no links to runs. To be called before MLflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def connect() -> tuple[MlflowClient, str]:
    """Open the store, made on first use: (client, id of the experiment `asma`)."""
    _quiet()
    collecting = gc.isenabled()
    gc.disable()  # thousands of modules: without collections in between they load in two thirds of the time
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        uri, artifacts = store()
        if uri.startswith("sqlite:"):
            # What the client would import anyway, but outside the lock.
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported for its time
        gc.freeze()  # nor does the end of the process look through the modules again: half a second
    finally:
        if collecting:
            gc.enable()

    with _lock(uri):
        client = MlflowClient(uri)
        location = artifacts.as_uri() if artifacts else None
        # A store that was moved to another folder keeps its old runs; new ones get an experiment of their
        # own, because the place of an experiment's artifacts cannot be changed.
        for name in (EXPERIMENT, f"{EXPERIMENT} ({artifacts})"):
            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    return client, client.create_experiment(name, artifact_location=location)
                except MlflowException:  # on a server, where the lock does not reach, another was faster
                    found = client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if location is None or found.artifact_location in (location, str(artifacts)):
                if found.lifecycle_stage == "deleted":
                    client.restore_experiment(found.experiment_id)
                return client, found.experiment_id
    raise RuntimeError(f"{uri}: experiment {EXPERIMENT!r} keeps its artifacts elsewhere; expected {location}")


@contextlib.contextmanager
def run(stage: str, **axes: str) -> Iterator[Log]:
    """One MLflow run named like the DVC stage (`probe@lowdeg_highmot-ntu60_xsub-joint`) and tagged with its
    axes.

    Leaving the block ends the run as FINISHED; an exception ends it as FAILED, an interruption (Ctrl-C,
    SIGTERM) as KILLED, and both go on to the caller.
    """
    log = Log(stage, axes)
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield log
    except (KeyboardInterrupt, SystemExit):
        log.close("KILLED")
        raise
    except BaseException:
        log.close("FAILED")
        raise
    else:
        log.close("FINISHED")
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


class Log:
    """What a stage tells MLflow; made by `run`. Figures are buffered and sent together."""

    def __init__(self, stage: str, axes: Mapping[str, str]) -> None:
        default = "-".join([*axes.values()])
        self.name = os.environ.get("DVC_STAGE") or (f"{stage}@{default}" if default else stage)
        self._began = self._flushed = time.monotonic()
        self._metrics: list[Metric] = []
        self._params: list[Param] = []
        self._known: dict[str, str] = {}
        self._summary: list[str] = []
        self._complained = False
        self._client, self._experiment = connect()
        started = self._client.create_run(self._experiment, run_name=self.name, tags=_tags(stage, axes))
        self.run_id: str = started.info.run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters; nested mappings become dotted names. Another value for a known name is a ValueError."""
        from mlflow.entities import Param

        for key, value in _flat(values):
            text = (value if isinstance(value, str) else json.dumps(value, default=str))[:_LONGEST_PARAM]
            if key not in self._known:
                self._known[key] = text
                self._params.append(Param(key, text))
            elif self._known[key] != text:
                raise ValueError(f"parameter {key}: found {text}, expected {self._known[key]} as logged before")

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each named curve. Raises NotFinite; sends what has gathered every ten seconds."""
        self._add(metrics, epoch)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Final figures; nested mappings become dotted names. Raises NotFinite."""
        self._add(dict(_flat(values)), None)

    def figure(self, figure: Figure, name: str) -> None:
        """A matplotlib figure as an image, `name` with its ending: `confusion.png`."""
        self._client.log_figure(self.run_id, figure, f"figures/{name}")

    def artifact(self, path: Path) -> None:
        """A copy of a file."""
        self._client.log_artifact(self.run_id, str(path))

    def summary(self, text: str) -> None:
        """What the stage says when it is done; printed only if it gets there."""
        self._summary.append(text)

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """`metrics.json`: sorted keys, the same bytes for the same content. Raises NotFinite."""
        for key, value in _flat(content):
            _finite(key, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=_plain)
        path.write_text(text + "\n", encoding="utf-8")

    def model(self, name: str, module: nn.Module, example: np.ndarray) -> str:
        """Register a module as the next version of `name` in MLflow's model registry, and return its URI.

        Kept as an exported graph (no pickled code), with signature, input example and the two packages it
        needs, on the CPU and in evaluation mode; `module` itself is left as it was. The first axis of
        `example` (float32) is the batch; the registered model takes any batch size, which is checked here
        on one that is not the example's. Raises RuntimeError where the reloaded model disagrees with the
        module.
        """
        import copy

        import numpy as np
        import torch

        network = copy.deepcopy(module).cpu().eval()
        if len(example) < 2:  # an exported graph takes a size of one for a constant
            example = np.repeat(example, 2, axis=0)
        example = example[:2]
        with torch.no_grad():
            logits = network(torch.from_numpy(example)).numpy()

        with _fluent(store()[0]):
            import mlflow.pytorch
            from mlflow.models import infer_signature

            # Without an entry of its own the model would land in MLflow's default experiment.
            entry = self._client.create_logged_model(self._experiment, name, self.run_id)
            info = mlflow.pytorch.log_model(
                network,
                name=name,
                model_id=entry.model_id,
                signature=infer_signature(example, logits),
                input_example=example,
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
                registered_model_name=name,
                serialization_format="pt2",
                run_id=self.run_id,
            )
            reloaded = mlflow.pyfunc.load_model(info.model_uri)

        batch = np.concatenate([example, example[:1]])
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        if not np.allclose(reloaded.predict(batch), expected, rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"model {name}: the registered copy disagrees with the network on a batch of 3")
        return f"models:/{name}/{info.registered_model_version}"

    def close(self, status: str) -> None:
        """End the run: FINISHED, FAILED or KILLED. Called by `run`."""
        self._add({"duration_s": time.monotonic() - self._began}, None)
        self._flush(last=True)
        with self._tolerant():
            self._client.set_terminated(self.run_id, status)
        if status == "FINISHED":
            for line in self._summary:
                print(line, flush=True)

    def _add(self, values: Mapping[str, Any], epoch: int | None) -> None:
        from mlflow.entities import Metric

        for key, value in values.items():
            _finite(key, float(value), epoch)
        now = int(time.time() * 1000)
        self._metrics += [Metric(key, float(value), now, epoch or 0) for key, value in values.items()]

    def _flush(self, last: bool = False) -> None:
        """Send what has gathered; what could not be sent stays for the next time."""
        self._flushed = time.monotonic()
        for attempt in range(3 if last else 1):
            if attempt:
                time.sleep(attempt)
            with self._tolerant():
                while self._params or self._metrics:
                    metrics, params = self._metrics[:_BATCH_METRICS], self._params[:_BATCH_PARAMS]
                    self._client.log_batch(self.run_id, metrics=metrics, params=params)
                    self._metrics, self._params = self._metrics[len(metrics) :], self._params[len(params) :]
                return

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Hours of training outlive a tracking server that does not answer: said once, and the stage goes
        on."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if not self._complained:
                print(
                    f"{self.name}: MLflow does not answer, the stage goes on: {error}",
                    file=sys.stderr,
                    flush=True,
                )
            self._complained = True


@contextlib.contextmanager
def _fluent(uri: str) -> Iterator[None]:
    """Point MLflow's global functions, which models need, at the store; silence what they print."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own modules, which are imported here
            yield
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _tags(stage: str, axes: Mapping[str, str]) -> dict[str, str]:
    environment = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "revision": _revision(),
        "host": socket.gethostname(),
        "mlflow.source.name": f"stages/{stage}.py",
        "mlflow.source.type": "LOCAL",
    }
    return {"stage": stage, **axes, **{key: value for key, value in environment.items() if value}}


def _revision() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _finite(key: str, value: Any, epoch: int | None = None) -> None:
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                for inner, leaf in _flat(item, f"{key}[{index}]."):
                    _finite(inner, leaf, epoch)
            else:
                _finite(f"{key}[{index}]", item, epoch)
    elif not isinstance(value, (str, bool, int, type(None))):
        number = _plain(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise NotFinite(key, number, epoch=epoch)


def _plain(value: Any) -> Any:
    """A Python number of a numpy or torch scalar, the text of a path."""
    if isinstance(value, float):
        return value
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"found a {type(value).__name__}, expected something JSON can hold")
