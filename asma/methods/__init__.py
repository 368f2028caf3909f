"""Pretraining methods: an encoder and a stream of clips → a loss to train by.

METHODS is the table; a new row is one file and one line. A row is loaded when it is built, so that an
edit of one method is no edit of the others. `untrained` stands in for all of them in the control.
"""

from __future__ import annotations

from importlib import import_module

from torch import Tensor

from asma.backbones.base import Backbone
from asma.methods.base import Method, Pretrain
from asma.views import AsmaViews

METHODS = {"asma": "asma.methods.asma"}
UNTRAINED = "untrained"  # the control: no row, it has no loss

__all__ = ["METHODS", "UNTRAINED", "Method", "Pretrain", "build", "settle"]


def build(encoder: Backbone, views: AsmaViews, how: Pretrain) -> Method:
    """The method that the settings name. Raises ValueError on another name."""
    if how.method not in METHODS:
        raise ValueError(f"pretrain.method: found {how.method!r}, expected one of {', '.join(METHODS)}")
    method: Method = import_module(METHODS[how.method]).build(encoder, views, how)
    return method


def settle(encoder: Backbone, x: Tensor, batch_size: int, seed: int) -> None:
    """What stands in for training in the control: see `untrained.settle`."""
    import_module(f"asma.methods.{UNTRAINED}").settle(encoder, x, batch_size, seed)
