"""A learnt network in every form it can be run in.

    eager       the network as it learnt
    compact     folded, nothing computed for a person who is not there: asma/deployment/inference.py
    compiled    the compact one by torch.compile, which needs a C++ compiler
    onnx_fp32   the compact one as an ONNX file, run by ONNX Runtime: asma/deployment/edge.py
    onnx_int8   the same with its convolutions in eight bits

All take clips (N, C, T, V, M) float32 and give logits (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asma import networks
from asma.backbones.blocks import StackArchitecture
from asma.deployment import edge, inference
from asma.deployment.inference import Compact
from asma.distillation import Distill, Student
from asma.fusion import Alignment, Teacher
from asma.skeleton import Skeleton

FORMS = ("eager", "compact", "compiled", "onnx_fp32", "onnx_int8")
# Those that are a file of their own, and how it ends.
FILES = {"onnx_fp32": ".onnx", "onnx_int8": ".int8.onnx"}

Form = Callable[[Tensor], Tensor]


class NoCompiler(RuntimeError):
    """torch.compile cannot compile here; says why."""


@dataclass(frozen=True)
class Blueprint:
    """All that a network is, so that another process can build it again."""

    name: str  # teacher or student
    skeleton: Skeleton
    classes: int
    encoder: StackArchitecture
    alignment: Alignment  # of a teacher
    distill: Distill  # of a student
    weights: Path

    def __post_init__(self) -> None:
        if self.name not in ("teacher", "student"):
            raise ValueError(f"network: found {self.name!r}, expected teacher or student")

    def load(self) -> Student | Teacher:
        """The network as it learnt, ready to be used. Raises WeightsError where the file does not
        fit.
        """
        if self.name == "student":
            found: Student | Teacher = networks.student(
                self.skeleton, self.classes, self.encoder, self.distill, self.weights
            )
        else:
            found = networks.teacher(
                self.skeleton, self.classes, self.encoder, self.alignment, self.weights
            )
        return found.eval().requires_grad_(False)


def in_torch(form: str, network: Student | Teacher, clip_shape: tuple[int, ...]) -> nn.Module:
    """`network` as one of the forms that torch carries out; a compiled one is compiled when it is
    first called.

    clip_shape: (C, T, V, M).
    """
    if form == "eager":
        return network.eval()
    small = inference.compact(network, clip_shape)
    return small if form == "compact" else _compiled(small)


def of_file(path: Path, threads: int = 1) -> Form:
    """An ONNX file as a form."""
    session = edge.Session(path, threads)
    return lambda x: torch.from_numpy(session(x.numpy()))


def make(
    names: Sequence[str],
    network: Student | Teacher,
    calibration: Tensor,
    folder: Path,
    stem: str,
    threads: int = 1,
) -> tuple[dict[str, Form], dict[str, str]]:
    """The named forms of a network, and for those that cannot be had on this machine the reason.

    calibration: training clips (n, C, T, V, M) that give eight-bit activations their range. ONNX
    files are written to `folder` as `<stem>.onnx` and `<stem>.int8.onnx`; threads: of ONNX
    Runtime, torch keeps its own. Compiled forms are to be called without gradients, a clip at a
    time. Raises MissingExtra where ONNX is asked for and not installed.
    """
    made: dict[str, Form] = {}
    missing: dict[str, str] = {}
    clip_shape = tuple(calibration.shape[1:])
    files = {name: folder / f"{stem}{ending}" for name, ending in FILES.items()}
    if set(names) & set(files):
        edge.export(inference.compact(network, clip_shape), files["onnx_fp32"])
    if "onnx_int8" in names:
        edge.quantise(files["onnx_fp32"], files["onnx_int8"], calibration.numpy())
    for name in names:
        if name in files:
            made[name] = of_file(files[name], threads)
            continue
        made[name] = form = in_torch(name, network, clip_shape)
        if name == "compiled":
            try:
                _compile_now(form, network, clip_shape)
            except NoCompiler as error:
                missing[name] = str(error)
                del made[name]
    return made, missing


def _compiled(network: Compact) -> nn.Module:
    """A program a batch size and number of bodies; there are few where clips come one at a time."""
    compiled = torch.compile(network, dynamic=False)
    assert isinstance(compiled, nn.Module)
    return compiled


@torch.no_grad()
def _compile_now(compiled: Form, network: Student | Teacher, clip_shape: tuple[int, ...]) -> None:
    """Compile the programs for one clip with any number of its bodies. Raises NoCompiler."""
    bodies = clip_shape[-1]
    clips = [
        torch.ones(1, *clip_shape) * (torch.arange(bodies) < present)
        for present in range(1, bodies + 1)
    ]
    # what is wrong with the network itself shows here, so that below it is the compiler
    network(clips[0])
    try:
        for clip in clips:
            compiled(clip)
    except RuntimeError as error:
        raise NoCompiler(str(error).strip().splitlines()[0]) from error
