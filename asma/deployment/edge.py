"""Networks outside of torch: ONNX files in float32 and in eight bits, and ONNX Runtime to carry
them out.

    network = inference.compact(student, clip_shape)
    edge.export(network, Path("student.onnx"))
    edge.quantise(Path("student.onnx"), Path("student.int8.onnx"), train_clips)
    logits = edge.Session(Path("student.int8.onnx")).logits(test_clips)

A file takes `clips` (N, C, T, V, M), N any, and gives `logits` (N, K). It chooses the bodies that
are there by itself and holds the constant answer to those that are not, so that one file serves
one and two people, each at its own cost.

Needs the extra `edge` (onnx, onnxruntime, onnxscript), which nothing else in the package does. A
Session needs no torch: a device that only answers has numpy and onnxruntime.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from asma.deployment.inference import Compact

OPSET = 20
INPUT, OUTPUT = "clips", "logits"


class MissingExtra(ImportError):
    """One of the packages of the extra `edge` is not installed."""


def _need(*names: str) -> list[Any]:
    """The modules of the extra. Raises MissingExtra saying how to get them."""
    try:
        return [importlib.import_module(name) for name in names]
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"found no package {error.name}; `pip install -e '.[edge]'` installs it"
        ) from error


def check() -> None:
    """Raise MissingExtra unless the whole extra is installed."""
    _need("onnx", "onnxscript", "onnxruntime")


def available() -> bool:
    """Whether the extra is installed."""
    try:
        check()
    except MissingExtra:
        return False
    return True


def export(network: Compact, path: Path) -> None:
    """Write a float32 network as an ONNX file, for batches of any size.

    Raises MissingExtra, and ValueError where the network is of another precision.
    """
    import torch
    from torch.export import Dim

    onnx, _ = _need("onnx", "onnxscript")
    if network.dtype != torch.float32:
        raise ValueError(f"network: found {network.dtype}, expected torch.float32")
    # more than one clip, because a size of one would become a constant
    clips = torch.ones(2, *network.shape)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            copy.deepcopy(network).cpu(), (clips,), dynamo=True, dynamic_shapes=({0: Dim("N")},),
            opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT], verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for part in (
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
    ):
        # traces of the Python that made each node, with the folders of this machine
        del part.metadata_props[:]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def quantise(
    path: Path, out: Path, clips: np.ndarray, batch_size: int = 32, reduce_range: bool = False
) -> None:
    """Write the file `path` as `out`, its convolutions, where nearly all the work is, in eight
    bits.

    Static quantisation: weights signed with a scale a channel, activations unsigned with the range
    that the clips (n, C, T, V, M) float32 span; give some hundred training clips. The rest stays
    in float32: clips in metres before their normalisation, graph sums, residuals and attention
    lose far more accuracy in eight bits than they gain in time. reduce_range: seven-bit weights,
    for processors with AVX2 or AVX-512 but without VNNI, whose sums of products overflow
    otherwise. Raises MissingExtra, FileNotFoundError, and ValueError where there are no clips.
    """
    quantization, prepare = _need(
        "onnxruntime.quantization", "onnxruntime.quantization.shape_inference"
    )
    if not len(clips):
        raise ValueError("clips: found none, expected some to calibrate with")
    _must_exist(path)
    batches = iter([{INPUT: clips[i : i + batch_size]} for i in range(0, len(clips), batch_size)])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]  # of a module that may be missing
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder, "prepared.onnx")
        prepare.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared, out, Reader(), op_types_to_quantize=["Conv"], per_channel=True,
            reduce_range=reduce_range, quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip


def runtime() -> Any:
    """The module onnxruntime. Raises MissingExtra."""
    return _need("onnxruntime")[0]


class Session:
    """An ONNX file, ready to be run on the processor."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """threads: 0 takes all. Raises MissingExtra, and FileNotFoundError."""
        ort = runtime()
        _must_exist(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Clips (N, C, T, V, M) float32 → logits (N, K) float32, in one go."""
        return self.session.run([OUTPUT], {INPUT: clips})[0]

    def logits(self, clips: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """The same in batches; `evaluation.score` makes an accuracy of it."""
        return np.concatenate(
            [self(clips[i : i + batch_size]) for i in range(0, len(clips), batch_size)]
        )


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found, expected an ONNX file")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter and the quantiser warn of packages they would use and of their own ways."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
