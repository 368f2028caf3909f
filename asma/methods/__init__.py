"""Pretraining methods: an encoder and a stream of clips → a loss to train by.

METHODS is the table; a new row is one file and one line. `untrained.settle` stands in for all of them in the
control named `random`.
"""

from __future__ import annotations

from collections.abc import Callable

from asma.backbones.base import Backbone
from asma.methods.asma import Asma, Pretrain
from asma.methods.base import Method
from asma.views import AsmaViews

METHODS: dict[str, Callable[[Backbone, AsmaViews, Pretrain], Method]] = {"asma": Asma}


def build(encoder: Backbone, views: AsmaViews, how: Pretrain) -> Method:
    """The method that the parameters name. Raises ValueError on another name."""
    if how.method not in METHODS:
        raise ValueError(f"pretrain.method: found {how.method!r}, expected one of {', '.join(METHODS)}")
    return METHODS[how.method](encoder, views, how)
