"""One MLflow run for each stage execution: a view of its files, which are the record.

    with tracking.run("probe", encoder="random", benchmark="ntu60_xsub", stream="joint") as log:
        log.params({"lr": 1e-3})
        log.epoch(1, loss=0.7)

A thread loads MLflow and writes into its store (`asma.mlflow_store`) while the stage works; no
training waits for either. Of several processes (torchrun's `RANK`) only the first has a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, current_thread, main_thread
from typing import Any

from asma import mlflow_store, record

FLUSH_SECONDS = 10.0
PATIENCE = 120.0  # seconds that a stage waits at its end for a store that does not answer


@contextlib.contextmanager
def run(stage: str, **axes: str) -> Iterator[Log]:
    """One MLflow run named like the DVC stage (`probe@lowdeg_highmot-ntu60_xsub`) and tagged with
    its axes.

    Leaving the block ends the run as FINISHED; an exception ends it as FAILED, an interruption
    (Ctrl-C, SIGTERM) as KILLED, and both go on to the caller. Raises StoreError.
    """
    log = Log(stage, axes)
    previous = None
    if current_thread() is main_thread():  # the only one that may
        previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield log
    except BaseException as error:
        log.close("KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED")
        raise
    else:
        log.close("FINISHED")
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


class Log:
    """What a stage tells MLflow; made by `run`, done by its thread one after the other."""

    def __init__(self, stage: str, axes: Mapping[str, str]) -> None:
        self.name = os.environ.get("DVC_STAGE") or f"{stage}@{'-'.join(axes.values())}".rstrip("@")
        self._began, self._flushed = _now(), time.monotonic()
        self._metrics: list[tuple[str, float, int, int]] = []  # name, value, time, epoch
        self._params: dict[str, str] = {}
        self._sent, self._warned = 0, False
        self._summary: list[str] = []
        self._tasks: SimpleQueue[Callable[[Any, list[str]], object] | None] = SimpleQueue()
        self._runs: Future[list[str]] = Future()  # its id and that of the run above it
        self._thread = Thread(target=self._mirror, args=({"stage": stage, **axes},), daemon=True)
        self._first = os.environ.get("RANK", "0") == "0"
        if self._first and find_spec("mlflow"):
            mlflow_store.check()
            self._thread.start()
            if mlflow_store.place()[1] is None:  # only MLflow can tell whether a server will do
                self._runs.result()
        else:
            self._runs.set_result([""])
            if self._first:
                print("MLflow is not installed: nothing is mirrored", file=sys.stderr)

    @property
    def run_id(self) -> str:
        """MLflow's name for the run, once it is open; "" without one. Raises StoreError."""
        return self._runs.result()[0]

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters; nested mappings become dotted names. Raises ValueError on another value."""
        for key, value in record.flatten(values):
            text = (value if isinstance(value, str) else json.dumps(value, default=str))[:6000]
            if (known := self._params.setdefault(key, text)) != text:
                raise ValueError(f"parameter {key}: found {text}, expected {known} as before")
        self._submit(self._send)

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each named curve. Raises ValueError on NaN and infinity, StoreError."""
        self.metrics(metrics, epoch)

    def metrics(self, values: Mapping[str, Any], epoch: int | None = None) -> None:
        """Final figures; nested mappings become dotted names. Raises as `epoch` does."""
        self._check()
        for key, value in record.flatten(values):
            record.check_finite(key, float(value), epoch)
            name = re.sub(r"[^/\w.\- ]", "_", key)  # MLflow takes no other characters
            self._metrics.append((name, float(value), _now(), epoch or 0))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flushed = time.monotonic()
            self._submit(self._send)

    def data(self, bench: Any, *parts: str) -> None:
        """What is read of an asma.data.benchmarks.Benchmark: `train` to learn, `test` to judge."""
        counts, digest = bench.counts(), hashlib.sha256(bench.path.read_bytes()).hexdigest()[:16]
        source, classes = json.dumps({"uri": bench.path.as_posix()}), len(bench.classes)

        def send(client: Any, runs: list[str]) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            for part in parts:
                profile = json.dumps({"num_rows": counts[f"n_{part}"], "classes": classes})
                data = Dataset(f"{bench.name} {part}", digest, "local", source, None, profile)
                context = InputTag("mlflow.data.context", f"{part}ing")  # training or testing
                client.log_inputs(runs[0], [DatasetInput(data, [context])])

        self._submit(send)

    def artifact(self, path: Path) -> None:
        """A copy of a file, which has to stay as it is until the stage ends."""
        absolute = str(path.resolve())
        self._submit(lambda client, runs: client.log_artifact(runs[0], absolute))

    def summary(self, text: str) -> None:
        """What the stage says when it is done; printed only if it gets there."""
        self._summary.append(text)

    def close(self, status: str) -> None:
        """End the run, as `run` does. Raises StoreError if there is none to finish."""
        self._metrics.append(("duration_s", (_now() - self._began) / 1000, _now(), 0))
        self._tasks.put(self._send)
        self._tasks.put(self._send)  # does nothing unless the first failed
        self._tasks.put(lambda client, runs: [client.set_terminated(r, status) for r in runs])
        self._tasks.put(None)
        if error := self._runs.exception():  # waits until the run is open or cannot be
            if status == "FINISHED":
                raise error
            print(error, file=sys.stderr)  # what ended the stage goes on
        elif self._thread.is_alive():
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                self._warn(f"nothing for {PATIENCE:.0f} s")
        if status == "FINISHED" and self._first and self._summary:
            print(*self._summary, sep="\n", flush=True)

    def _submit(self, task: Callable[[Any, list[str]], object]) -> None:
        """Have the thread do something with MLflow's client and the ids that `open_run` gives."""
        self._check()
        self._tasks.put(task)

    def _check(self) -> None:
        if self._runs.done():
            self._runs.result()  # or why there is none

    def _mirror(self, tags: dict[str, str]) -> None:
        """The thread: open the run, then do the tasks that come. Hours of training outlive a store
        that does not answer: it is said once, and the stage goes on."""
        try:
            client, runs = mlflow_store.open_run(self.name, tags, self._began)
            self._runs.set_result(runs)
        except mlflow_store.StoreError as error:
            self._runs.set_exception(error)
            return
        for task in iter(self._tasks.get, None):
            try:
                task(client, runs)
            except Exception as error:
                self._warn(error)

    def _warn(self, why: object) -> None:
        if not self._warned:
            print(f"{self.name}: MLflow fails, the stage goes on: {why}", file=sys.stderr)
        self._warned = True

    def _send(self, client: Any, runs: list[str]) -> None:
        """Send what has gathered; what could not be sent stays for the next time."""
        from mlflow.entities import Metric, Param

        while self._metrics or self._sent < len(self._params):
            metrics = self._metrics[:800]  # the store takes at most 1000 entries a call,
            params = list(self._params.items())[self._sent : self._sent + 100]  # 100 parameters
            client.log_batch(runs[0], [Metric(*m) for m in metrics], [Param(*p) for p in params])
            del self._metrics[: len(metrics)]
            self._sent += len(params)


def _now() -> int:
    """Milliseconds since 1970, MLflow's time."""
    return int(time.time() * 1000)
