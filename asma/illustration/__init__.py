"""What the report shows beside its tables: recordings with their masks, and the paper's figures on
the data at hand.

Everything is read off runs that are there anyway. `masked` counts what the encoders hide and what
moves, `inside` looks into the networks, `judged` sorts their answers by class, `player` gathers
recordings for the report's player. The figures are drawn elsewhere, from arrays, by what knows no
network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asma.data.benchmarks import Benchmark

MODES = ("pretrain", "finetune")


@dataclass(frozen=True)
class Illustrate:
    """Section `illustrate` of the parameters."""

    stream: str = "joint"  # whose encoders and masks are shown
    # which fused model and student: those of pretrained or of fine-tuned encoders
    mode: str = "finetune"
    recordings: int = 12  # in the player
    draws: int = 2000  # of joints, to count how often each is hidden
    classes: int = 9  # in the two-dimensional embeddings, at most; drawn by the seed
    clips: int = 400  # in the two-dimensional embeddings, at most; drawn by the seed

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                f"illustrate.mode: found {self.mode!r}, expected one of {', '.join(MODES)}"
            )
        for key in ("recordings", "draws", "classes", "clips"):
            if getattr(self, key) < 1:
                raise ValueError(
                    f"illustrate.{key}: found {getattr(self, key)}, expected 1 or more"
                )

    @property
    def word(self) -> str:
        """What the mode is called where results are named: aligned_probed, distilled_finetuned."""
        return {"pretrain": "probed", "finetune": "finetuned"}[self.mode]

    def check(self, streams: list[str]) -> None:
        """Raise ValueError where the stream is none of those that are in the table."""
        if self.stream not in streams:
            known = ", ".join(streams)
            raise ValueError(
                f"params.yaml: illustrate.stream: found {self.stream!r}, "
                f"expected one of streams: {known}"
            )


def about(bench: Benchmark, encoders: Sequence[str], labels: np.ndarray) -> dict[str, np.ndarray]:
    """What the other arrays' rows and columns are: joints, classes, encoders; how many test clips
    a class has.
    """
    return {
        "joints": np.array(bench.skeleton.joints, dtype=np.str_),
        "parents": bench.skeleton.parents,
        "classes": np.array(bench.classes, dtype=np.str_),
        "encoders": np.array(encoders, dtype=np.str_),
        "clips": np.bincount(labels, minlength=len(bench.classes)),
    }


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """figures.npz, the same bytes for the same arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # none of the names is `allow_pickle`
