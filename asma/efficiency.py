"""What a network costs: parameters, multiply–accumulates, floating-point operations, latency.

A MAC is one multiplication and one addition; FLOPs are 2 · MACs. Counted are the matrix products
of convolutions, linear maps, graph sums and attention, for one clip; normalisations and
activations are not. Published counts mix both conventions, so both stand in every table under
their own names. A module that computes in another order than its definition says so by a method
`definition`, which is what is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import unwrap

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

# What the counter's method is wrapped in imports torch's compiler, a second, only to keep out of
# its graphs.
_mode = getattr(flop_counter, "_FlopCounterMode", None)
if _mode is not None:
    _mode.__torch_dispatch__ = unwrap(_mode.__torch_dispatch__)


def count(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """params, macs and flops of module(*inputs); inputs hold one sample, of which only the shapes
    count.
    """
    inputs = tuple(torch.ones_like(x) for x in inputs)  # an encoder skips bodies of zeros
    was_training = module.training
    module.eval()
    rearranged = [m for m in module.modules() if hasattr(m, "definition")]
    for m in rearranged:
        vars(m)["forward"] = m.definition  # of this one object, for the time of the count
    # attention as plain matrix products: the counter does not know the fused kernel of a CPU
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    for m in rearranged:
        del vars(m)["forward"]
    module.train(was_training)
    flops = counter.get_total_flops()
    return {
        "params": sum(p.numel() for p in module.parameters()),
        "macs": flops // 2,
        "flops": flops,
    }


def total(*parts: dict[str, int], times: int = 1) -> dict[str, int]:
    """The sum of several counts, `times` over (e.g. three streams)."""
    return {key: times * sum(part[key] for part in parts) for key in ("params", "macs", "flops")}


def latency(work: Callable[[], object], repeats: int = 100, warmup: int = 10) -> dict[str, float]:
    """median_ms and p95_ms of one call over `repeats`, after `warmup` calls that are not counted.

    On a device that works asynchronously `work` has to wait for it. Raises ValueError where there
    is nothing to take a median of.
    """
    if repeats < 1:
        raise ValueError(f"repeats: found {repeats}, expected 1 or more")
    for _ in range(warmup):
        work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return {"median_ms": float(np.median(taken)), "p95_ms": float(np.percentile(taken, 95))}
