"""One MLflow run for each stage execution, in one store whichever folder the stage runs in.

Files are the record and MLflow is the view: nothing in the project reads back what is logged here.

    with tracking.run("probe", encoder="lowdeg_highmot", benchmark="ntu60_xsub", stream="joint") as log:
        log.params({"lr": 1e-3})
        log.epoch(1, loss=0.7)
        log.metrics({"accuracy": 62.3})
        log.write(Path("runs/.../metrics.json"), {...})

What is logged is checked here and written to the store by a process beside the stage: see `recorder.py`.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "zsh")
_LONGEST_PARAM = 6000  # characters
_REFUSED = re.compile(r"[^/\w.\- ]")  # what MLflow does not want in a metric's name; an encoder may be called a+b=7


class Benchmark(Protocol):
    """What is told of a benchmark's recordings; asma.data.benchmarks.Benchmark."""

    name: str
    path: Path
    classes: Any

    def counts(self) -> dict[str, int]:
        """n_train and n_test."""


class NotFinite(ValueError):
    """A figure that is NaN or infinite; says which one, and at which epoch (and step) where that is known."""

    def __init__(self, name: str, value: float, *, epoch: int | None = None, step: int | None = None) -> None:
        self.name, self.value, self.epoch, self.step = name, value, epoch, step
        where = "".join(f" {k} {v}" for k, v in (("epoch", epoch), ("step", step)) if v is not None)
        super().__init__(f"{name} is {value}" + (f" at{where}" if where else "") + "; expected a finite number")


class StoreError(ValueError):
    """MLflow cannot open a run; says where and why."""


class Recording:
    """The process beside the stage that writes its run into MLflow; `recorder.Recorder` with a pipe between."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: the package's folder is not a place to import from
            [sys.executable, "-P", str(Path(__file__).with_name("recorder.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the stage, which then says how it ended
        )
        self._lost = False

    def tell(self, what: str, *arguments: object) -> None:
        """Have one of the recorder's methods called; nothing is waited for. Raises StoreError if there is no run."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps([what, *arguments]) + "\n")
            self._process.stdin.flush()
        except OSError:
            self._gone()

    @cached_property
    def run_id(self) -> str:
        """Waits until the run is open. Raises StoreError if that fails."""
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or "{}")
        if "run_id" not in answer:
            raise StoreError(answer.get("error", "MLflow: the process that writes the run ended before it was open"))
        return str(answer["run_id"])

    def close(self) -> None:
        """Wait until everything is written."""
        _ = self.run_id
        self._process.communicate()
        if self._process.returncode:
            self._gone()

    def _gone(self) -> None:
        if self.run_id and not self._lost:
            self._lost = True
            print("MLflow: the process that writes the run has ended, the stage goes on", file=sys.stderr, flush=True)


_ahead: list[Recording] = []


def ahead() -> None:
    """Start the process of the coming run now, so that it loads MLflow while the stage loads torch."""
    _ahead.append(Recording())


@contextlib.contextmanager
def run(stage: str, **axes: str) -> Iterator[Log]:
    """One MLflow run named like the DVC stage (`probe@lowdeg_highmot-ntu60_xsub-joint`) and tagged with its
    axes, and with what an ablation changed.

    Leaving the block ends the run as FINISHED; an exception ends it as FAILED, an interruption (Ctrl-C,
    SIGTERM) as KILLED, and both go on to the caller.
    """
    from asma import params  # not before a stage has announced itself: `ahead` is there to save time

    changed = params.changed()
    log = Log(stage, axes if changed == params.DEFAULT else {**axes, "change": changed})
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
    """What a stage tells MLflow; made by `run`."""

    def __init__(self, stage: str, axes: Mapping[str, str]) -> None:
        default = "-".join([*axes.values()])
        self.name = os.environ.get("DVC_STAGE") or (f"{stage}@{default}" if default else stage)
        self._began = time.monotonic()
        self._known: dict[str, str] = {}
        self._summary: list[str] = []
        self._recording = _ahead.pop() if _ahead else Recording()
        self._recording.tell("open", self.name, _tags(stage, axes), _now(), reproduction())

    @property
    def run_id(self) -> str:
        """MLflow's name for the run; waits until there is one."""
        return self._recording.run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters; nested mappings become dotted names. Another value for a known name is a ValueError."""
        new = {}
        for key, value in _flat(values):
            text = (value if isinstance(value, str) else json.dumps(value, default=str))[:_LONGEST_PARAM]
            if key not in self._known:
                self._known[key] = new[key] = text
            elif self._known[key] != text:
                raise ValueError(f"parameter {key}: found {text}, expected {self._known[key]} as logged before")
        self._recording.tell("params", new)

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each named curve. Raises NotFinite."""
        self._add(metrics, epoch)

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Final figures; nested mappings become dotted names. Raises NotFinite."""
        self._add(dict(_flat(values)), None)

    def data(self, bench: Benchmark, *parts: str) -> None:
        """Which recordings of a benchmark the run reads: `train` to learn from, `test` to be judged."""
        counts, digest = bench.counts(), hashlib.sha256(bench.path.read_bytes()).hexdigest()[:16]
        classes = len(bench.classes)
        told = [
            {
                "name": f"{bench.name} {part}",
                "digest": digest,
                "source": json.dumps({"uri": bench.path.as_posix()}),
                "profile": json.dumps({"num_rows": counts[f"n_{part}"], "classes": classes}),
                "context": {"train": "training", "test": "testing"}[part],
            }
            for part in parts
        ]
        self._recording.tell("data", told)

    def artifact(self, path: Path) -> None:
        """A copy of a file, which has to stay as it is until the stage ends."""
        self._recording.tell("artifact", str(path.resolve()))

    def summary(self, text: str) -> None:
        """What the stage says when it is done; printed only if it gets there."""
        self._summary.append(text)

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """`metrics.json`: sorted keys, the same bytes for the same content; its `curves`, where it
        has that key, also as `curves.csv` beside it, which DVC can draw. Raises NotFinite."""
        for key, value in _flat(content):
            _finite(key, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=_plain)
        path.write_text(text + "\n", encoding="utf-8")
        if "curves" in content:
            points = list(_points(content["curves"]))
            with path.with_name("curves.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("epoch", "loss", "curve"))
                table.writerows(points)

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

        from asma import recorder

        network = copy.deepcopy(module).cpu().eval()
        if len(example) < 2:  # an exported graph takes a size of one for a constant
            example = np.repeat(example, 2, axis=0)
        example = example[:2]
        batch = np.concatenate([example, example[:1]])
        with torch.no_grad():
            logits, expected = (network(torch.from_numpy(x)).numpy() for x in (example, batch))
        version, reloaded = recorder.register(self.run_id, name, network, example, logits)
        if not np.allclose(reloaded.predict(batch), expected, rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"model {name}: the registered copy disagrees with the network on a batch of 3")
        return f"models:/{name}/{version}"

    def close(self, status: str) -> None:
        """End the run: FINISHED, FAILED or KILLED. Called by `run`. Raises StoreError if there is no run to finish."""
        try:
            self._add({"duration_s": time.monotonic() - self._began}, None)
            self._recording.tell("end", status, _now())
            self._recording.close()
        except StoreError as error:
            if status == "FINISHED":
                raise
            print(error, file=sys.stderr, flush=True)  # what ended the stage goes on to the caller
        if status == "FINISHED":
            for line in self._summary:
                print(line, flush=True)

    def _add(self, values: Mapping[str, Any], epoch: int | None) -> None:
        for key, value in values.items():
            _finite(key, float(value), epoch)
        told = {_REFUSED.sub("_", key): float(value) for key, value in values.items()}
        self._recording.tell("metrics", told, _now(), epoch or 0)


def reproduction() -> str | None:
    """The name that all stages of one `make repro`, `dvc repro` or `dvc exp run` find, and no
    others; none without DVC.

    An experiment has its own. Otherwise it is the process that runs DVC: the stage's parent, or the
    parent of the shell between them.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    if experiment := os.environ.get("DVC_EXP_NAME"):
        return f"{experiment} on {os.environ.get('DVC_EXP_BASELINE_REV', '')[:7]}"
    import psutil

    process = psutil.Process(os.getppid())
    while process.name() in _SHELLS and (above := process.parent()):
        process = above
    began = datetime.fromtimestamp(process.create_time())
    return f"repro of {began:%Y-%m-%d %H:%M:%S} (process {process.pid} on {socket.gethostname()})"


def _points(curves: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, Any, str]]:
    """Epoch, value and name of every point of the curves.

    One after the other: what is learnt in two phases has one axis of epochs. The parts of a loss,
    named `<curve>_<part>`, lie beside it.
    """
    begins: dict[str, int] = {}
    end = 0
    for name, curve in curves.items():
        whole = next((known for known in begins if name.startswith(f"{known}_")), None)
        begins[name] = end if whole is None else begins[whole]
        end = max(end, begins[name] + len(curve))
        yield from ((begins[name] + i, _plain(value), name) for i, value in enumerate(curve))


def _now() -> int:
    """Milliseconds since 1970, MLflow's time."""
    return int(time.time() * 1000)


def _tags(stage: str, axes: Mapping[str, str]) -> dict[str, str]:
    environment = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "host": socket.gethostname(),
        "mlflow.source.name": f"stages/{stage}.py",
        "mlflow.source.type": "LOCAL",
    }
    return {"stage": stage, **axes, **{key: value for key, value in environment.items() if value}}


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
