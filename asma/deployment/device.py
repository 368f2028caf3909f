"""What a network costs where it is used, in each of its forms: size, memory, time, and the
accuracy that is left.

The paper's Table 2, for the machine at hand. Latencies and memory differ from run to run;
everything else does not. Clips are of one stream; three streams are three networks one after
another.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asma import efficiency, evaluation
from asma.data.batches import Clips
from asma.deployment import edge, footprint, forms
from asma.deployment.footprint import Task
from asma.deployment.forms import FILES, FORMS, Blueprint, Form
from asma.distillation import Student
from asma.fusion import Teacher

BATCH = 64
FEW = 8  # clips that are answered one by one as well

Row = dict[str, Any]


class ExportError(ValueError):
    """A form that does not say what the network says, or that cannot be made; names what and how
    to mend it.
    """


@dataclass(frozen=True, kw_only=True)
class Export:
    """Section `export` of the parameters."""

    streams: list[str]
    forms: list[str] = field(
        default_factory=lambda: ["eager", "compiled", "onnx_fp32", "onnx_int8"]
    )
    # networks that have a compiled form
    compiled: list[str] = field(default_factory=lambda: ["student"])
    repeats: int = 100  # calls that a latency is the median of
    threads: int = 1
    # training clips, evenly spread, that give eight-bit activations their range
    calibration: int = 256
    # for logits of a form in float32, in parts of a clip's largest, or of 1
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        for key, known in (("forms", FORMS), ("compiled", ("teacher", "student"))):
            for word in getattr(self, key):
                if word not in known:
                    raise ValueError(
                        f"export.{key}: found {word!r}, expected some of {', '.join(known)}"
                    )
        for key in ("repeats", "threads", "calibration"):
            if getattr(self, key) < 1:
                raise ValueError(f"export.{key}: found {getattr(self, key)}, expected 1 or more")
        if not self.tolerance > 0:
            raise ValueError(f"export.tolerance: found {self.tolerance}, expected more than 0")

    def of(self, network: str) -> list[str]:
        """The forms of teacher or student."""
        return [form for form in self.forms if form != "compiled" or network in self.compiled]

    def check(self) -> None:
        """Raise ExportError where a form needs packages that are not installed."""
        wanted = [form for form in self.forms if form in FILES]
        if not wanted:
            return
        try:
            edge.check()
        except edge.MissingExtra as error:
            raise ExportError(
                f"export.forms: found {', '.join(wanted)}, but {error}; "
                "or leave them out of the list"
            ) from error


@torch.no_grad()
def measure(
    networks: Sequence[Blueprint], train: Tensor, test: Clips, folder: Path, how: Export
) -> tuple[list[Row], list[Row]]:
    """A row of figures a network and form, and the forms that cannot be had on this machine with
    the reason.

    train (n, C, T, V, M) calibrates; test is what all forms are judged on; ONNX files are left in
    `folder`. Torch's own threads are taken as they are. Raises ExportError, and WeightsError where
    the weights do not fit.
    """
    spread = np.linspace(0, len(train) - 1, min(how.calibration, len(train))).round().astype(int)
    held: dict[tuple[str, str], Future[dict[str, int]]] = {}
    made: dict[str, tuple[Student | Teacher, dict[str, Form]]] = {}
    unavailable: list[Row] = []
    # nothing is timed yet: while forms are made here, processes beside find out what they take
    with ThreadPoolExecutor(1) as beside:

        def weigh(plan: Blueprint, form: str) -> None:
            held[plan.name, form] = beside.submit(memory, form, plan, folder, test.x, how.threads)

        # what takes longest first
        for form in sorted(set(how.forms) - set(FILES), key=("compiled", *FORMS).index):
            for plan in networks:
                if form in how.of(plan.name):
                    weigh(plan, form)
        for plan in networks:
            network = plan.load()
            found, missing = forms.make(
                how.of(plan.name), network, train[spread], folder, plan.name, how.threads
            )
            for form in found.keys() & FILES.keys():
                weigh(plan, form)
            made[plan.name] = network, found
            left_out = [form for form in how.forms if form not in how.of(plan.name)]
            missing |= dict.fromkeys(left_out, "export.compiled does not name it")
            unavailable += [
                {"model": plan.name, "form": form, "reason": why} for form, why in missing.items()
            ]
    rows = []
    for plan in networks:
        network, found = made[plan.name]
        cost, expected = efficiency.count(network, test.x[:1]), answers(network, test.x)
        for form, answer in found.items():
            row = {"model": plan.name, "form": form, **cost, **held[plan.name, form].result()}
            row["file_bytes"] = file_of(form, plan, folder).stat().st_size
            rows.append(row | judged(plan.name, form, answer, expected, test, how))
    return rows, unavailable


def judged(
    name: str, form: str, answer: Form, expected: np.ndarray, test: Clips, how: Export
) -> Row:
    """Accuracy, agreement with the network's logits (n, K), and latencies of one form. Raises
    ExportError.
    """
    where = f"{name} {form}"
    batch_size = 1 if form == "compiled" else BATCH  # of which a compiled form has one
    logits = expected if form == "eager" else answers(answer, test.x, batch_size)
    exact = form != "onnx_int8"
    if exact:
        agree(logits, expected, test.names, how.tolerance, where)
    if form in FILES:
        alone = any_batch(answer, test.x[:FEW], where)
        if exact:
            agree(alone, expected[:FEW], test.names, how.tolerance, f"{where}, a clip at a time")
    taken = efficiency.latency(one_by_one(answer, test.x), how.repeats)
    each_second = 1000 / taken["median_ms"]
    return {
        "accuracy": evaluation.score(logits, test.labels.numpy())["accuracy"],
        "agreement": evaluation.agreement(logits, expected),
        "largest_difference": float(np.abs(logits - expected).max()),
        "latency_ms": taken["median_ms"],
        "latency_p95_ms": taken["p95_ms"],
        "clips_per_s": each_second,
        "frames_per_s": each_second * test.x.shape[2],
    }


def file_of(form: str, plan: Blueprint, folder: Path) -> Path:
    """What a device would hold: an ONNX file, or for torch the weights."""
    return folder / f"{plan.name}{FILES[form]}" if form in FILES else plan.weights


def answers(form: Form, x: Tensor, batch_size: int = BATCH) -> np.ndarray:
    """Logits (n, K) of clips x (n, C, T, V, M), in batches."""
    return np.concatenate([form(part).numpy() for part in x.split(batch_size)])


def agree(
    found: np.ndarray, expected: np.ndarray, names: list[str], tolerance: float, where: str
) -> None:
    """Raise ExportError naming the clip that is farthest off, unless all logits (n, K) are within
    the tolerance.

    The difference of a clip is that of its worst logit, in parts of its largest logit, or of 1 if
    that is smaller.
    """
    off = np.abs(found - expected).max(axis=1) / np.maximum(1, np.abs(expected).max(axis=1))
    worst = int(off.argmax())  # NaN is worse than anything
    if not off[worst] <= tolerance:
        raise ExportError(
            f"{where}: clip {names[worst]}: "
            f"found logits that are {off[worst]:.2g} of the largest away from the network's, "
            f"expected at most {tolerance:g} (export.tolerance)"
        )


def any_batch(form: Form, x: Tensor, where: str) -> np.ndarray:
    """Logits (n, K) of a few clips, one by one. Raises ExportError unless every size of batch is
    answered.
    """
    for size in range(1, len(x) + 1):
        try:
            count = len(form(x[:size]))
        except (
            Exception
        ) as error:  # of ONNX Runtime, which has a class of its own for each of its reasons
            raise ExportError(
                f"{where}: found no answer to {size} clips at once, expected one: {error}"
            ) from error
        if count != size:
            raise ExportError(
                f"{where}: found {count} answers to {size} clips at once, expected {size}"
            )
    return answers(form, x, 1)


def one_by_one(form: Form, x: Tensor) -> Callable[[], object]:
    """Work that answers the next clip of x each time, the first after the last: what people are
    there varies.
    """
    turn = itertools.cycle(x.split(1))
    return lambda: form(next(turn))


def memory(form: str, plan: Blueprint, folder: Path, x: Tensor, threads: int) -> dict[str, int]:
    """peak_bytes that a fresh process which loads the form and answers a clip takes beyond its
    imports' import_bytes.

    The clip is the one of x with the most bodies.
    """
    crowded = x.flatten(1, 3).any(dim=1).sum(dim=1).argmax()
    imports = footprint.of_imports("onnx" if form in FILES else "torch", threads)
    file, built = (file_of(form, plan, folder), None) if form in FILES else (None, plan)
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place, "clip.npy")
        np.save(clip, x[crowded].numpy())
        whole = footprint.peak(Task(form, threads, file, built, clip))
    return {"peak_bytes": whole - imports, "import_bytes": imports}
