"""Pretraining methods: encoders by stream and clips → losses to train by.

METHODS is the table: a new row is one file and one line, and a row is imported when it is asked
for.
"""

from __future__ import annotations

from pkgutil import resolve_name

import torch
from torch import Tensor

from asma import training
from asma.methods.base import Batch, Method, Pretrain, TrainingClips
from asma.training import Checkpoint, Curves, Log, Run

METHODS = {
    "asma": "asma.methods.asma:Asma",
    "pstl": "asma.methods.pstl:Pstl",
    "skeletonclr": "asma.methods.skeletonclr:SkeletonClr",
    "untrained": "asma.methods.untrained:Untrained",
}


def find(name: str) -> type[Method]:
    """The method of a row of METHODS. Raises ValueError on another name."""
    training.expect_one_of("pretrain.method", name, METHODS)
    method: type[Method] = resolve_name(METHODS[name])
    return method


def train(
    method: Method,
    clips: TrainingClips,
    settings: Pretrain,
    *,
    run: Run,
    device: torch.device,
    seed: int,
    label: str,
    log: Log | None = None,
    checkpoint: Checkpoint | None = None,
    people: Tensor | None = None,
) -> Curves:
    """Train a method's encoders in place and return the curves of its losses.

    With people (n,), who performs each clip, a batch is of one person. A method that does not learn
    has no curves. Raises NotFinite.
    """
    torch.manual_seed(seed)
    method.begin(clips)
    if not method.learns:
        return {}
    run.accelerate(*method.networks(), device=device)
    return training.fit(
        method, lambda step: method.loss(Batch.cut(clips, step)), len(clips), settings,
        run=run, device=device, seed=seed, label=label, log=log, curve=method.curve,
        checkpoint=checkpoint, after_step=method.after_step, groups=people,
    )  # fmt: skip
