"""Memory of a process that loads one form of a network and answers one clip: a device that does
nothing else.

python -m asma.deployment.footprint '{"form": "onnx_int8", "file": "student.int8.onnx", "clip":
"clip.npy", …}'

is that process; it prints the most bytes it ever held. Without a clip it imports what the form
needs and ends, which is what the others are compared to. An ONNX form needs neither torch nor the
code of the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asma.deployment import edge, machine

if TYPE_CHECKING:
    from asma.deployment.forms import Blueprint


@dataclass(frozen=True)
class Task:
    """What a process is to load and answer."""

    form: str  # or, without a clip, the library: onnx or torch
    threads: int
    file: Path | None = None  # of an ONNX form
    blueprint: Blueprint | None = None  # of a form in torch
    clip: Path | None = None  # (C, T, V, M) float32 as .npy


def peak(task: Task) -> int:
    """Bytes that a fresh process held at most for a task. Raises RuntimeError with the last thing
    it said.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asdict(task), default=str)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(task.threads),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise RuntimeError(
            f"{task.form}, in a process of its own: ended with status {done.returncode}: {last}"
        )
    return int(done.stdout.splitlines()[-1])


@cache
def of_imports(library: str, threads: int) -> int:
    """Bytes of a process that imports what forms of a library (onnx, torch) need, and ends."""
    return peak(Task(library, threads))


def _with_onnx(task: dict[str, Any]) -> None:
    edge.runtime()
    if task["clip"]:
        edge.Session(Path(task["file"]), task["threads"])(np.load(task["clip"])[None])


def _with_torch(task: dict[str, Any]) -> None:
    import torch
    from pydantic import TypeAdapter

    from asma.deployment import forms

    torch.set_num_threads(task["threads"])
    if task["clip"]:
        plan = TypeAdapter(forms.Blueprint).validate_python(task["blueprint"])
        clip = torch.from_numpy(np.load(task["clip"])[None])
        network = forms.in_torch(task["form"], plan.load(), tuple(clip.shape[1:]))
        with torch.no_grad():
            network(clip)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    (_with_onnx if told["form"].startswith("onnx") else _with_torch)(told)
    print(machine.peak_memory())
