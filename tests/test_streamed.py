"""The log of a run as its streams see it."""

from __future__ import annotations

from asma.streamed import OfStream


class Kept:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.points: list[tuple[int, dict[str, float]]] = []
        self.said: list[str] = []

    def epoch(self, epoch: int, **metrics: float) -> None:
        self.points.append((epoch, metrics))

    def metrics(self, values: dict[str, float]) -> None:
        self.figures |= values

    def summary(self, text: str) -> None:
        self.said.append(text)


def test_figures_and_curves_carry_the_name_of_their_stream() -> None:
    kept = Kept()
    for stream, accuracy in (("joint", 40.0), ("bone", 50.0)):
        own = OfStream(kept, stream)
        own.epoch(1, loss=2.0)
        own.metrics({"accuracy": accuracy, "linear.accuracy": accuracy})
        own.summary(f"{stream} done")
    assert kept.points == [(1, {"joint.loss": 2.0}), (1, {"bone.loss": 2.0})]
    assert kept.said == ["joint done", "bone done"]
    assert kept.figures == {
        "joint.accuracy": 40.0,
        "joint.linear.accuracy": 40.0,
        "accuracy": 50.0,  # of the last stream
        "bone.accuracy": 50.0,
        "bone.linear.accuracy": 50.0,
    }
