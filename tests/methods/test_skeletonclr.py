from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from asma import backbones, efficiency, losses, skeleton, streams, training
from asma.augment import Augment
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN
from asma.methods.moco import Queue
from asma.methods.skeletonclr import SkeletonClr, SkeletonClrSettings
from asma.views import ViewConfig
from tests import golden
from tests.methods.clips import MadeUp

SKELETON = skeleton.load("kinect_v1")
SETTINGS = SkeletonClrSettings(epochs=12, batch_size=4, queue=6, projection=5)
PUBLISHED = Augment(crop=6, shear=0.5, rotate=0.0, tilt=0.0, flip=0.0)


def method(stream: str = "joint", augment: Augment = PUBLISHED) -> SkeletonClr:
    torch.manual_seed(0)
    encoder = STGCN(SKELETON, (4, 6), (1, 1))
    return SkeletonClr({stream: encoder}, SETTINGS, ViewConfig(SKELETON, augment)).train()


@pytest.fixture
def clips(generator: Generator) -> MadeUp:
    return MadeUp.of(torch.randn(16, 3, 12, 20, 1, generator=generator))


def test_loss_logits_and_queue_are_those_of_its_code() -> None:
    q, k = (losses.normalised(golden.signed(4, 8, tensor=t)) for t in (1, 2))
    queue = Queue(16, 8).double()
    queue.keys.copy_(F.normalize(golden.signed(8, 16, tensor=3), dim=0).T)
    logits = losses.contrasts(q, k, queue.keys, 0.07)
    assert logits.shape == (4, 17)
    first = [0.29817626, -0.094795759, 6.1585113, 5.9070346, 3.5923362]
    assert logits[0, :5].tolist() == pytest.approx(first, rel=1e-4)
    assert float(losses.info_nce(logits)) == pytest.approx(9.138414675, rel=1e-4)
    queue.enqueue(k)
    row = [-0.43376311, -0.55427192, -0.34017393, 0.15218006, 0.22628628]
    assert queue.keys[:5, 0].tolist() == pytest.approx(row, rel=1e-4)
    assert queue.pointer == 4


def test_its_size_and_cost_are_those_of_its_code() -> None:
    kinect = skeleton.load("kinect_v2")
    encoder = backbones.build(kinect, StackArchitecture())
    net = SkeletonClr({"joint": encoder}, SkeletonClrSettings(), ViewConfig(kinect, PUBLISHED))
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert learning == 920_068
    assert sum(p.numel() for p in net.heads.parameters()) == 98_688
    assert sum(p.numel() for p in net.parameters()) == 1_840_136
    macs = efficiency.count(encoder, torch.zeros(1, 3, 50, 25, 2))["macs"]
    assert macs / 1e9 == pytest.approx(0.612, abs=5e-4)


def test_its_defaults_are_its_published_schedule() -> None:
    settings = SkeletonClrSettings()
    rates = [training.learning_rate(epoch, settings) for epoch in (0, 249, 250, 299)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert (settings.queue, settings.key_init, settings.drop_last) == (32768, "copy", True)


def test_the_stream_is_derived_from_augmented_joints(clips: MadeUp) -> None:
    net, seen = method("motion"), []
    net.encoder("motion").register_forward_hook(lambda _, given, __: seen.append(given[0]))
    net.begin(clips)
    net.loss(clips.batch(Generator().manual_seed(1)))
    (query,) = seen
    assert not query[:, :, -1].any()  # the last frame moves nowhere, wherever the crop took it
    still = method("motion", Augment(crop=0, shear=0.0, rotate=0.0, tilt=0.0, flip=0.0))
    still.encoder("motion").register_forward_hook(lambda _, given, __: seen.append(given[0]))
    still.begin(clips)
    still.loss(clips.batch(Generator().manual_seed(1)))
    assert torch.equal(seen[1], streams.derive("motion", clips.x["joint"], SKELETON))


def test_query_and_key_are_two_views_of_one_clip(clips: MadeUp) -> None:
    net, seen = method(), []
    for encoder in (net.encoders["joint"], net.key_encoders["joint"]):
        encoder.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    net.begin(clips)
    net.loss(clips.batch(Generator().manual_seed(1)))
    query, key = seen
    assert query.shape == key.shape == clips.x["joint"].shape
    assert not torch.allclose(query, key) and not torch.allclose(query, clips.x["joint"])


def nearer_than_others(net: SkeletonClr, clips: MadeUp) -> Tensor:
    net.begin(clips)
    return net.loss(clips.batch(Generator().manual_seed(1)))["joint"]


def test_thirty_steps_on_one_batch_lower_the_loss(clips: MadeUp) -> None:
    net = method()
    before = nearer_than_others(net, clips).item()
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1, 0.9)
    for _ in range(30):
        optimiser.zero_grad()
        nearer_than_others(net, clips).backward()
        optimiser.step()
    torch.manual_seed(0)
    assert nearer_than_others(net, clips).item() < 0.5 * before
