from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from asma.data import text
from asma.data.recordings import RecordingError

ODD = [
    b"", b" ", b"\t", b"\n", b"\r", b"\r\n", b",", b"/", b"-", b"+", b".", b"e", b"nan", b"inf",
    b"x", b"(", b"_", b"\x00", b"\x0b", b"\x1c", b"\xff", b"\xc2\xa0", b"7", b"1e400",
]  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One byte of a text replaced, or something put before it."""
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(ODD) + data[at + rng.randrange(2) :]


def lines(rng: random.Random, part: str, end: str) -> bytes:
    """Four lines of six numbers."""
    forms = ["{:.4f}", "{:.7g}", "{!r}", "{:.2e}", "{:+.3f}", "0", "nan", "-Infinity"]
    rows = [[rng.choice(forms).format(rng.uniform(-4, 4)) for _ in range(6)] for _ in range(4)]
    return end.join(part.join(row) for row in rows).encode()


def test_tokens_are_those_of_split_line_by_line() -> None:
    rng = random.Random(0)
    found = 0
    for k in range(2000):
        data = lines(rng, rng.choice([" ", "  ", "\t"]), rng.choice(["\n", "\r\n", " \n"]))
        for _ in range(k % 3):
            data = damaged(data, rng)
        data = data.rstrip()
        tokens = text.tokens(data)
        if tokens is None:
            continue
        found += 1
        first = tokens.first.tolist()
        spans = list(zip(tokens.begin.tolist(), tokens.end.tolist(), strict=True))
        ours = [[data[b:e] for b, e in spans[i:j]] for i, j in zip(first, first[1:], strict=False)]
        assert ours == [line.split() for line in data.split(b"\n")]
    assert found > 1000


@pytest.mark.parametrize(
    "token", ["1,", "1/2", "1_0", "0x19", "nan(1)", "1\x00", "1\x0b2", "1\r2", "nani", "1d5"]
)
def test_bytes_that_no_number_has_are_seen(token: str) -> None:
    assert text.tokens(f"1 {token} 2\n3".encode()) is None


def test_any_tokens_are_converted_and_as_python_does_it() -> None:
    words = [
        "1",
        "-0",
        ".5",
        "5.",
        "1e5",
        "1E-05",
        "007",
        "nan",
        "-INF",
        "infinity",
        "1e-400",
        "1e400",
        "1e39",
        "0.1",
    ]
    tokens = text.tokens(" ".join(words).encode())
    assert tokens is not None
    ours = tokens.floats(np.arange(0, len(words), 2), 2)
    assert ours is not None and ours.shape == (7, 2) and ours.dtype == np.float32
    assert np.array_equal(
        ours.ravel(), text.single(np.array([float(word) for word in words])), equal_nan=True
    )
    assert np.signbit(ours[0, 1])
    whole = tokens.integers(np.array([0, 1, 6]))
    assert whole is not None and whole.tolist() == [1, 0, 7] and whole.dtype == np.int64
    assert tokens.integers(np.array([0, 2])) is None


def test_a_value_is_rounded_to_double_and_then_to_single_precision() -> None:
    # a little more than halfway from 1 to the next float32: rounded once it would be that one
    token = "1.000000059604644775390625000001"
    tokens = text.tokens(token.encode())
    assert tokens is not None
    ours = tokens.floats(np.array([0]), 1)
    assert ours is not None and ours[0, 0] == np.float32(float(token)) == 1


@pytest.mark.parametrize("word", ["-", "1e", "1-2", "1.2.3", "--1", "e5", "+", "naninf"])
def test_what_is_no_number_is_refused_when_it_is_converted(word: str) -> None:
    tokens = text.tokens(f"1 {word} 2".encode())
    assert tokens is not None
    assert tokens.floats(np.array([0]), 3) is None
    assert tokens.floats(np.array([0, 2]), 1) is not None


def test_integers_are_exact_up_to_64_bits() -> None:
    words = [2**53 + 1, 2**63 - 1, -(2**63), 2**63]
    tokens = text.tokens(" ".join(map(str, words)).encode())
    assert tokens is not None
    found = tokens.integers(np.arange(3))
    assert found is not None and found.tolist() == words[:3]
    assert tokens.integers(np.arange(4)) is None


def outcome(path: Path) -> np.ndarray | str:
    try:
        return text.table(path, [6, 12], "things")
    except RecordingError as error:
        return str(error)


@pytest.mark.parametrize("part", [" ", ",", ", ", "\t", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_a_table_is_read_and_refused_alike_at_once_and_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, end: str
) -> None:
    rng = random.Random(part + end)
    path = tmp_path / "x.txt"
    arrays = errors = 0
    for k in range(60):
        data = lines(rng, part, end)
        path.write_bytes(damaged(data, rng) if k % 4 else data)
        fast = outcome(path)
        with monkeypatch.context() as context:
            context.setattr(text, "tokens", lambda _: None)
            slow = outcome(path)
        if isinstance(fast, str) or isinstance(slow, str):
            assert fast == slow
            errors += 1
        else:
            assert (
                np.array_equal(fast, slow, equal_nan=True)
                and fast.dtype == slow.dtype == np.float32
            )
            arrays += 1
    assert arrays > 15 and errors > 8
