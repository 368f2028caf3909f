"""PSTL (Zhou et al., AAAI 2023): partial spatio-temporal learning, on which ASMa builds.

The same three views and the same two Barlow Twins terms, one strategy: joints are drawn by their
degree, each entry of a joint's degree by itself (`mask.joint_draw: pstl_multiset`), and the frames
that move most are hidden. What its published code does beside that are values of the sections that
ASMa has too, so that each can be told by itself: scores of the augmented view (`mask.score: view`)
by squared displacement with 0 at the last frame (`motion`), ten more frames dropped at random
(`mask.extra_random_frames`), and one draw of the augmentation a batch (`augment.draw: batch`),
which learns far less on small sets. The code projects the anchor once for each pair; in training
mode both times give the same, so it is projected once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from asma.backbones.base import Encoder
from asma.methods.asma import Asma, AsmaSettings
from asma.methods.base import Pretrain
from asma.views import ViewConfig

STRATEGY = "highdeg_highmot"


@dataclass(frozen=True, kw_only=True)
class PstlSettings(AsmaSettings):
    """Section `pretrain` of PSTL."""

    method: str = "pstl"


class Pstl(Asma):
    """ASMa's loss under PSTL's one strategy, whatever strategy the views name."""

    Settings: ClassVar[type[Pretrain]] = PstlSettings

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        settings: PstlSettings,
        views: ViewConfig,
    ) -> None:
        mask = replace(views.mask, strategy=STRATEGY)
        super().__init__(encoders, settings, replace(views, mask=mask))
