"""An encoder that sees all bodies of a clip at once, where others see one after the other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from asma import backbones, efficiency, evaluation, skeleton
from asma.augment import Augment
from asma.backbones.base import Architecture, Encoder
from asma.deployment.inference import Compact
from asma.protocols import finetuned, frozen
from asma.protocols.bench import Bench, linear_head
from asma.protocols.finetuned import Finetune
from asma.skeleton import Skeleton
from asma.training import Run

CPU = torch.device("cpu")
SKELETON = skeleton.load("kinect_v1")


class Pair(Encoder):
    """Frames of both bodies in one map; the embedding is the mean over the frames that count."""

    takes_joint_subsets = False

    def __init__(self, joints: int, bodies: int, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.map = nn.Linear(3 * joints * bodies, dim)

    def forward(self, x: Tensor, joints: Tensor | None = None) -> Tensor:
        if joints is not None:
            raise ValueError("joints: found a subset, expected None: every joint is looked at")
        return self.map(x.permute(0, 2, 1, 3, 4).flatten(2)).tanh()[:, :, None]  # (N, T, 1, D)

    def pool(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return super().pool(features)
        valid = torch.arange(features.shape[1]) < lengths[:, None]
        return (features[:, :, 0] * valid[:, :, None]).sum(dim=1) / lengths[:, None]


@pytest.fixture
def net() -> Pair:
    torch.manual_seed(0)
    return Pair(20, 2)


@pytest.fixture
def x(generator: Generator) -> Tensor:
    return torch.randn(9, 3, 8, 20, 2, generator=generator)


def bench() -> Bench:
    return Bench(3, Run(device="cpu"), CPU, 1)


def test_it_sees_who_does_what_to_whom(net: Pair, x: Tensor) -> None:
    assert net(x).shape == (9, 8, 1, 6)
    assert not torch.allclose(net(x.flip(-1)), net(x))


def test_its_embedding_is_what_it_says_it_is(net: Pair, x: Tensor) -> None:
    with torch.no_grad():
        features = net(x)
        torch.testing.assert_close(net.pool(features), features.mean(dim=(1, 2)))
        lengths = torch.arange(9) % 8 + 1
        pooled = net.pool(features, lengths)
        for n in range(9):
            expected = features[n, : int(lengths[n])].mean(dim=(0, 1))
            torch.testing.assert_close(pooled[n], expected)


def test_it_is_judged_frozen_and_trained_like_any_other(net: Pair, x: Tensor) -> None:
    embeddings = frozen.embeddings(net, x, bench())
    assert embeddings.shape == (9, 6)
    with torch.no_grad():
        torch.testing.assert_close(embeddings, net.pool(net(x)))
    labels, mirror = torch.arange(9) % 3, torch.as_tensor(SKELETON.mirror)
    head, before = linear_head(6, bench()), net.map.weight.detach().clone()
    still = Augment(crop=0, shear=0.0, rotate=0.0, tilt=0.0, flip=0.0)
    settings = Finetune(epochs=40, batch_size=9, learning_rate=0.02, augment=still, dropout=0.0)
    history = finetuned.finetune(net, head, x, labels, mirror, settings, bench(), "pair")
    assert history[-1] < 0.2 * history[0] and not torch.equal(net.map.weight, before)
    logits = evaluation.forward(nn.Sequential(Pooled(net), head), x, 4)
    assert F.cross_entropy(logits, labels) < 0.5


class Pooled(nn.Module):
    """An encoder up to its embedding."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder.pool(self.encoder(x))


def test_its_cost_is_counted(net: Pair) -> None:
    count = efficiency.count(net, torch.zeros(1, 3, 8, 20, 2))
    assert count == {"params": 6 * 121, "macs": 8 * 120 * 6, "flops": 2 * 8 * 120 * 6}


def test_it_has_no_form_body_by_body(net: Pair) -> None:
    with pytest.raises(ValueError, match="deployment: found a Pair, which sees all bodies"):
        Compact([net], nn.Linear(6, 3), "pooled", (3, 8, 20, 2))


def test_a_row_is_built_by_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    class Row(Pair):
        @classmethod
        def build(cls, skeleton: Skeleton, settings: Architecture, dropout: float) -> Row:
            return cls(len(skeleton), 2, dim=4)

    monkeypatch.setattr("tests.backbones.test_base.ROW", Row, raising=False)
    monkeypatch.setitem(backbones.BACKBONES, "pair", "tests.backbones.test_base:ROW")
    assert backbones.find("pair") is Row
    assert backbones.build(SKELETON, Architecture("pair")).dim == 4
    with pytest.raises(ValueError, match="encoder.backbone: found 'pear', expected one of stgcn"):
        backbones.build(SKELETON, Architecture("pear"))
