from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import skeleton
from asma.augment import Augment
from asma.backbones import pool
from asma.backbones.stgcn import STGCN
from asma.protocols import finetuned
from asma.protocols.bench import Bench, linear_head
from asma.protocols.finetuned import Finetune
from asma.training import Run

SKELETON = skeleton.load("kinect_v1")
MIRROR = torch.as_tensor(SKELETON.mirror)
BENCH = Bench(2, Run(device="cpu"), torch.device("cpu"), seed=1)
HOW = Finetune(
    epochs=10,
    batch_size=4,
    learning_rate=0.01,
    augment=Augment(crop=6, shear=0.1, rotate=0, tilt=0, flip=0),
)


def network() -> tuple[STGCN, nn.Linear]:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 8), (1, 2))
    return encoder, linear_head(encoder.dim, BENCH)


@pytest.fixture
def clips(generator: Generator) -> tuple[Tensor, Tensor]:
    """Two classes: the right arm is up or down."""
    x, labels = 0.1 * torch.randn(24, 3, 8, 20, 1, generator=generator), torch.arange(24) % 2
    for v in (9, 10, 11):
        x[:, 1, :, v] += (2.0 * labels - 1)[:, None, None]
    return x, labels


def test_encoder_and_head_learn_together(clips: tuple[Tensor, Tensor]) -> None:
    x, labels = clips
    encoder, head = network()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    history = finetuned.finetune(encoder, head, x[:16], labels[:16], MIRROR, HOW, BENCH, "finetune")
    assert len(history) == 10 and history[-1] < 0.6 * history[0]
    assert not encoder.training and not head.training
    with torch.no_grad():
        assert (head(pool(encoder(x[16:]))).argmax(dim=1) == labels[16:]).all()
    unchanged = [
        key for key, value in encoder.state_dict().items() if torch.equal(value, before[key])
    ]
    assert not unchanged  # no weight and no statistic


def test_the_same_seed_trains_the_same(clips: tuple[Tensor, Tensor]) -> None:
    x, labels = clips
    how = replace(HOW, epochs=2, augment=Augment())
    histories = []
    for seed in (1, 1, 2):
        encoder, head = network()
        histories.append(
            finetuned.finetune(
                encoder, head, x, labels, MIRROR, how, replace(BENCH, seed=seed), "finetune"
            )
        )
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_clips_are_augmented_as_told(clips: tuple[Tensor, Tensor]) -> None:
    x, labels = clips
    seen: list[Tensor] = []

    class Watching(STGCN):
        def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
            seen.append(x)
            return super().forward(x, joints)

    off = Augment(crop=0, shear=0, rotate=0, tilt=0, flip=0)
    for augmenting, plain in (
        (off, True),
        (replace(off, shear=0.5), False),
        (replace(off, flip=1.0), False),
    ):
        seen.clear()
        torch.manual_seed(0)
        encoder = Watching(SKELETON, (4, 8), (1, 2))
        how = replace(HOW, epochs=2, batch_size=24, augment=augmenting)
        finetuned.finetune(
            encoder, linear_head(8, BENCH), x, labels, MIRROR, how, BENCH, "finetune"
        )
        clean = {tuple(row) for row in x.flatten(1).tolist()}
        assert ({tuple(row) for row in seen[0].flatten(1).tolist()} == clean) == plain


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": 0.0}, "finetune.labels: found 0.0, expected a share above 0 and up to 1"),
        ({"labels": 10.0}, "finetune.labels: found 10.0, expected a share above 0 and up to 1"),
        ({"labels": float("nan")}, "finetune.labels: found nan, expected a share"),
        ({"draw": -1}, "finetune.draw: found -1, expected 0 or more"),
        ({"epochs": -1}, "epochs: found -1, expected 0 or more"),
    ],
)
def test_a_share_that_is_none_is_an_error(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(HOW, **changes)


def test_augmentations_that_contradict_a_label_are_switched_off() -> None:
    how = replace(HOW, augment=Augment(flip=0.5), labels=0.3)
    assert how.without(["flip"]) == replace(how, augment=how.augment.without(["flip"]))
    assert how.without(["flip"]).augment.flip == 0
