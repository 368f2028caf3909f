"""An epoch of everything that comes after pretraining.

The baselines repeat each epoch what does not change between epochs: frozen encoders see every clip
again, and so does the teacher of a distillation. Their networks are the plain ones of `plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma import augment, backbones, losses, skeleton, training
from asma.augment import Augment
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment
from benchmarks.measure import Result, compare
from benchmarks.plain import PlainSTGCN

CLASSES, BATCH = 60, 64
MODERATE = Augment(crop=6, shear=0.3, rotate=0.0, tilt=0.0, flip=0.0)


def epoch(
    module: nn.Module, loss: Callable[[Tensor], Tensor], n: int, fused: bool
) -> Callable[[], None]:
    """A function that trains `module` for one epoch of n samples."""
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4, fused=fused or None)

    def once() -> None:
        module.train()
        for index in torch.randperm(n).split(BATCH):
            optimiser.zero_grad()
            loss(index).backward()
            optimiser.step()

    return once


def run(full: bool) -> list[Result]:
    """Probe, alignment, fine-tuning and distillation, fp32."""
    training.Run().start()
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(0)
    n = 512 if full else 128
    kinect = skeleton.load("kinect_v2")
    encoder = backbones.build(kinect, StackArchitecture())
    assert isinstance(encoder, STGCN)
    plain = PlainSTGCN(encoder)
    x, labels = torch.randn(n, 3, 50, 25, 2), torch.randint(0, CLASSES, (n,))
    with torch.no_grad():
        # (n, 2, 13, 256)
        tokens = backbones.tokens(encoder.eval()(x)).repeat(2, 1, 1, 1).transpose(0, 1)
    features = tokens[:, 0].mean(dim=1)

    def frozen(index: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = plain.eval()(x[index])
        return answer

    def classes(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[index])

    heads = nn.Linear(256, CLASSES), nn.Linear(256, CLASSES)
    pairs = [
        (
            "probe",
            epoch(heads[0], lambda i: classes(heads[0](features[i]), i), n, True),
            epoch(heads[1], lambda i: classes(heads[1](frozen(i)), i), n, False),
        )
    ]
    aligned = [AlignedClassifier(256, CLASSES, Alignment()) for _ in range(2)]

    def both(index: Tensor) -> Tensor:
        # the work of two encoders; their feature maps are the ones above
        frozen(index), frozen(index)
        return tokens[index]

    pairs.append(
        (
            "aligned probe",
            epoch(aligned[0], lambda i: classes(aligned[0](tokens[i]), i), n, True),
            epoch(aligned[1], lambda i: classes(aligned[1](both(i)), i), n, False),
        )
    )
    generator, mirror = training.seeded(0, x.device), torch.as_tensor(kinect.mirror)

    def fine(network: Callable[[Tensor], Tensor], head: nn.Module, index: Tensor) -> Tensor:
        drawn = augment.sample(MODERATE, len(index), 50, generator)
        return classes(
            head(network(augment.apply(augment.sides(x[index], mirror, MODERATE), drawn))), index
        )

    tuned = (
        nn.ModuleList([encoder, nn.Linear(256, CLASSES)]),
        nn.ModuleList([plain, nn.Linear(256, CLASSES)]),
    )
    pairs.append(
        (
            "fine-tuning",
            epoch(
                tuned[0], partial(fine, lambda x: backbones.pool(encoder(x)), tuned[0][1]), n, True
            ),
            epoch(tuned[1], partial(fine, plain, tuned[1][1]), n, False),
        )
    )
    how = Distill(epochs=1, batch_size=BATCH, learning_rate=0.01)
    student = Student(kinect, CLASSES, how)
    slow = nn.Sequential(PlainSTGCN(student.encoder), nn.Linear(how.dim, CLASSES))
    teacher = torch.randn(n, CLASSES)

    def asked(index: Tensor) -> Tensor:
        both(index)
        return teacher[index]

    pairs.append(
        (
            "distillation",
            epoch(student, lambda i: losses.distillation(student(x[i]), teacher[i], 8.0), n, True),
            epoch(slow, lambda i: losses.distillation(slow(x[i]), asked(i), 8.0), n, False),
        )
    )
    results = []
    for name, ours, baseline in pairs:
        times = compare(ours, baseline, rounds=5 if full else 3)
        results.append(times.result("epochs", f"{name}, an epoch", per_second=n, unit="samples/s"))
    return results
