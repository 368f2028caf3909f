"""What every pretraining method is to the rest of the project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor, nn

from asma.backbones import check_dropout
from asma.backbones.base import Encoder
from asma.training import Fit, Step, expect_one_of
from asma.views import ViewConfig


class TrainingClips(Protocol):
    """The clips that a method learns from, on the device."""

    @property
    def x(self) -> dict[str, Tensor]:
        """Stream → (n, C, T, V, M)."""

    @property
    def lengths(self) -> Tensor:
        """Valid frames of each clip, (n,) int64."""

    @property
    def labels(self) -> Tensor:
        """Classes, (n,) int64."""

    def motion_scores(self, stream: str) -> Tensor:
        """Motion scores (n, T) of the clips in one stream."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Batch(Step):
    """What a method gets at a step, or at one of the parts whose gradients make a step."""

    x: dict[str, Tensor]  # stream → (N, C, T, V, M)
    lengths: Tensor  # (N,) int64, valid frames of each clip
    labels: Tensor  # (N,) int64; a method that learns without labels leaves them alone

    @classmethod
    def cut(cls, clips: TrainingClips, step: Step) -> Batch:
        """The clips of a step of the loop."""
        index = step.index
        x = {stream: values[index] for stream, values in clips.x.items()}
        of = x, clips.lengths[index], clips.labels[index]
        return cls(index, step.epoch, step.generator, *of)


BATCHES = ("mixed", "by_person")


@dataclass(frozen=True, kw_only=True)
class Pretrain(Fit):
    """Section `pretrain` of the parameters: what every method has; its own Settings add to it."""

    ROW: ClassVar[tuple[str, str]] = ("method", "asma.methods:find")

    method: str  # a row of METHODS
    dropout: float = 0.5  # of the encoders while they learn
    batches: str = "mixed"  # or by_person, not in the papers: all recordings of a batch are of one
    # person. In a mixed batch of few people, who it is tells recordings apart and is learnt first
    frame_step: int = 1  # 2 pretrains on every second frame, not in the papers: half the time

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dropout("pretrain", self.dropout)
        expect_one_of("pretrain.batches", self.batches, BATCHES)
        if self.frame_step < 1:
            raise ValueError(f"pretrain.frame_step: found {self.frame_step}, expected 1 or more")
        if self.batches == "by_person" and self.drop_last:
            raise ValueError(
                "pretrain.drop_last: found true with batches by_person, expected false: "
                "a person's recordings are cut into batches of about one size"
            )


class Method(nn.Module, ABC):
    """A module that holds encoders and is trained by its own loss.

    All that a method remembers from one step to the next (queues and where they are written, key
    encoders, centres) is a parameter or a persistent buffer: it is in the checkpoint, and a
    training that is taken up again ends as one that was never stopped. Nothing of it learns unless
    it asks for gradients.
    """

    Settings: ClassVar[type[Pretrain]] = Pretrain
    curve: ClassVar[str] = "loss"  # the name of the sum of its losses; `<curve>_<part>` of each
    together: ClassVar[bool] = False  # one method for all streams, or one method a stream
    learns: ClassVar[bool] = True  # False: `begin` is all that it does

    settings: Pretrain
    encoders: nn.ModuleDict  # by stream: what is kept afterwards

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        settings: Pretrain,
        views: ViewConfig,
    ) -> None:
        """encoders: by stream, fresh; views: what it may make its views by.

        Raises ValueError on several streams where the method trains one at a time, and on settings
        of another method.
        """
        super().__init__()
        if len(encoders) != 1 and not self.together:
            raise ValueError(
                f"pretrain.method: found {settings.method!r} with the streams "
                f"{', '.join(encoders)}, expected one: it trains a stream at a time"
            )
        if not isinstance(settings, self.Settings):
            names = type(settings).__name__, self.Settings.__name__
            raise TypeError("{}: found {}, expected {}".format(type(self).__name__, *names))
        self.settings = settings
        self.encoders = nn.ModuleDict(encoders)

    @classmethod
    def inputs(cls, streams: Sequence[str]) -> tuple[str, ...]:
        """The streams of clips that it wants in `Batch.x` to train encoders of these streams."""
        return tuple(streams)

    def encoder(self, stream: str) -> Encoder:
        """The encoder of a stream."""
        return cast(Encoder, self.encoders[stream])

    def begin(self, train: TrainingClips) -> None:  # noqa: B027 - most have nothing to do
        """Make memories, look at all clips; called once, on the device, before training.

        torch's own generator has just been set to the seed of the training. A checkpoint that is
        taken up afterwards replaces what was made.
        """

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Parts of the loss of a batch, scalars by name, the same names at every step.

        Their sum is trained, and the sum and each part are curves. It may be called several times
        a step, each time for a part of the batch (`accumulate`): what it keeps for later steps
        waits for `after_step`.
        """

    def after_step(self) -> None:  # noqa: B027 - most have nothing to do
        """Called when the weights have moved: key encoders follow, queues take their keys."""

    def networks(self) -> list[nn.Module]:
        """What computes at every step: the modules that it may pay to compile."""
        children: list[nn.Module] = []
        for child in self.children():
            children += child.values() if isinstance(child, nn.ModuleDict) else [child]
        return children

    def about(self) -> dict[str, Any]:
        """What a run's record should say beside the settings, such as a shortened queue."""
        return {}
