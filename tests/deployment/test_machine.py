from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asma.deployment import machine

ROOT = Path(__file__).resolve().parents[2]


def test_the_processor_has_a_name() -> None:
    assert machine.processor().strip() == machine.processor() != ""


@pytest.mark.slow
def test_the_peak_holds_what_was_given_back_and_nothing_of_who_started_the_process() -> None:
    mine = np.ones(50_000_000)  # 400 MB, written to
    code = "from asma.deployment import machine; a = machine.peak_memory(); "
    code += "b = bytearray(b'x' * 80_000_000); del b; print(a, machine.peak_memory())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    before, after = map(int, told.stdout.split())
    assert mine.nbytes < machine.peak_memory()
    assert 1_000_000 < before < 100_000_000
    assert 70_000_000 < after - before < 200_000_000
