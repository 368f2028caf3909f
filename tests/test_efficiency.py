from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from asma import backbones, efficiency, skeleton
from asma.backbones.blocks import StackArchitecture
from asma.fusion import Alignment, FeatureAlignment


@pytest.mark.parametrize(
    ("layer", "shape", "params", "macs"),
    [
        (nn.Linear(5, 7), (1, 5), 42, 35),
        (nn.Linear(5, 7), (1, 4, 5), 42, 4 * 35),
        (nn.Conv2d(3, 4, (9, 1), (2, 1), (4, 0)), (1, 3, 10, 6), 112, 4 * 3 * 9 * 5 * 6),
        (nn.BatchNorm1d(8), (1, 8), 16, 0),
    ],
)
def test_products_are_counted_as_by_hand(
    layer: nn.Module, shape: tuple[int, ...], params: int, macs: int
) -> None:
    assert efficiency.count(layer, torch.zeros(shape)) == {
        "params": params,
        "macs": macs,
        "flops": 2 * macs,
    }


@pytest.mark.parametrize(("shared", "maps"), [(True, 7), (False, 8)])
def test_attention_is_counted_as_by_hand(shared: bool, maps: int) -> None:
    S, D = 13, 32
    module = FeatureAlignment(D, Alignment(shared_output=shared))
    found = efficiency.count(module, torch.zeros(1, S, D), torch.zeros(1, S, D))
    # two modules, each queries × keys and weights × values, all heads together
    attention = 2 * 2 * S * S * D
    assert found["macs"] == maps * S * D * D + attention
    assert found["params"] == maps * (D * D + D)


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_module_as_it_was(training: bool) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train(training)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    efficiency.count(net, torch.ones(1, 3))
    assert net.training == net[1].training == training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_what_the_inputs_hold_does_not_matter(generator: Generator) -> None:
    net = backbones.build(skeleton.load("kinect_v1"), StackArchitecture(width=4))
    nobody = torch.zeros(1, 3, 8, 20, 2)
    assert efficiency.count(net, nobody) == efficiency.count(
        net, torch.randn(nobody.shape, generator=generator)
    )


def test_latencies_are_the_median_and_the_slow_end_of_what_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # seconds; the first three are warm-up
    taken = [*(0.5 for _ in range(3)), *(i / 1000 for i in range(1, 101))]
    now: list[float] = [0.0]
    calls: list[int] = []

    def work() -> None:
        calls.append(len(calls))
        now[0] += taken[len(calls) - 1]

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    found = efficiency.latency(work, repeats=100, warmup=3)
    assert len(calls) == 103
    assert found == {"median_ms": pytest.approx(50.5), "p95_ms": pytest.approx(95.05)}


def test_a_latency_needs_at_least_one_call() -> None:
    with pytest.raises(ValueError, match="repeats: found 0, expected 1 or more"):
        efficiency.latency(lambda: None, repeats=0)


def test_counts_add_up_over_parts_and_streams() -> None:
    a, b = {"params": 1, "macs": 10, "flops": 20}, {"params": 2, "macs": 5, "flops": 10}
    assert efficiency.total(a, b) == {"params": 3, "macs": 15, "flops": 30}
    assert efficiency.total(a, b, times=3) == {"params": 9, "macs": 45, "flops": 90}
