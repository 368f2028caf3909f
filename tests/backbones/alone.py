"""A block by itself."""

from __future__ import annotations

from torch import Tensor, nn

from asma.backbones.blocks import Block


class Alone(nn.Module):
    """A block of all joints, to be counted."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, None)
