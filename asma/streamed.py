"""A run has several streams and one log: what each of them says carries its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

ACCURACY = "accuracy"


class Log(Protocol):
    """The part of the tracking log that a stream needs."""

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each curve."""

    def metrics(self, values: dict[str, float]) -> None:
        """Final figures."""

    def summary(self, text: str) -> None:
        """A line for the end of the stage."""


@dataclass(frozen=True, eq=False)
class OfStream:
    """The log of a run as one of its streams sees it: figures and curves carry the stream's name.

    The stream's accuracy is also the run's, so that runs can be sorted by one figure; of several
    streams it is the last one's that stays.
    """

    log: Log
    stream: str

    def epoch(self, epoch: int, **metrics: float) -> None:
        """A point of each curve."""
        self.log.epoch(epoch, **{f"{self.stream}.{key}": value for key, value in metrics.items()})

    def metrics(self, values: dict[str, float]) -> None:
        """Final figures."""
        self.log.metrics({f"{self.stream}.{key}": value for key, value in values.items()})
        if ACCURACY in values:
            self.log.metrics({ACCURACY: values[ACCURACY]})

    def summary(self, text: str) -> None:
        """A line for the end of the stage."""
        self.log.summary(text)
