from __future__ import annotations

from benchmarks import growth


def test_the_table_of_made_up_runs_can_be_timed() -> None:
    (few, first), (many, second) = growth.tabling(1, 1), growth.tabling(3, 1)
    assert many - few == 2 * 2 * 3  # probe and finetune of two more encoders in three streams
    assert min(first, second) > 0
