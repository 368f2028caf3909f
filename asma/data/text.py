"""Numbers out of text files, in C: where the tokens of a text lie, and all of them as one array.

The readers know the grammar of their files; with the token offsets from here it is arithmetic on arrays.
Whatever these functions refuse, a reader walks line by line to say where and why.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from asma.data.recordings import RecordingError


def load(path: Path) -> bytes:
    """The bytes of a text file with LF line ends and nothing blank after the last line.

    Raises RecordingError if the file cannot be read or says nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(path, None, error.strerror or str(error), "a readable file") from None
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    data = data.rstrip()
    if not data:
        raise RecordingError(path, 1, "an empty file", "a recording")
    return data


def tokens(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where the blank-separated tokens of a text begin.

    Returns `starts` (tokens,), byte offsets, and `first` (lines + 1,): the tokens of line i, counted from 0,
    are first[i]:first[i + 1].
    """
    text = np.frombuffer(data, np.uint8)
    blank = text <= 32
    begins = np.empty_like(blank)
    begins[0] = not blank[0]
    np.greater(blank[:-1], blank[1:], out=begins[1:])
    starts = np.flatnonzero(begins)
    ends = np.flatnonzero(text == 10)
    first = np.empty(len(ends) + 2, np.int64)
    first[0], first[-1] = 0, len(starts)
    first[1:-1] = np.searchsorted(starts, ends)
    return starts, first


def cut(data: bytes, begin: np.ndarray, end: np.ndarray) -> bytes:
    """The spans begin[i]:end[i] of a text, one after another, filled up with blanks to the same width."""
    if not len(begin):
        return b""
    width = int((end - begin).max())
    padded = np.frombuffer(data + b" " * width, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[begin]
    windows[np.arange(width) >= (end - begin)[:, None]] = 32
    return windows.tobytes()


def floats(data: bytes, count: int) -> np.ndarray | None:
    """All numbers of a text as float32 (count,), or None where they are not exactly `count` numbers.

    `nan` and `inf` are numbers in any case.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy's word for "a token was no number"
        try:
            values = np.fromstring(data, np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    return values if len(values) == count else None


def number(token: bytes) -> float | None:
    """One token as a number, None if it is none. Python's own `1_000` counts as none."""
    try:
        return None if b"_" in token else float(token)
    except ValueError:
        return None


def integer(token: bytes) -> int | None:
    """One token as an integer that fits 64 bits, None if it is none."""
    try:
        value = int(token)
    except ValueError:
        return None
    return value if b"_" not in token and -(2**63) <= value < 2**63 else None


def show(token: bytes) -> str:
    """A token as an error message quotes it: printable and short."""
    return repr(token[:40].decode("utf-8", "replace")) + ("…" if len(token) > 40 else "")


def plural(count: int, noun: str) -> str:
    """A count and its noun: `1 line`, `2 lines`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(path: Path, widths: list[int], what: str) -> np.ndarray:
    """A text with the same count of numbers, one of `widths`, on every line: float32 (lines, width).

    Numbers are parted by blanks or by commas. `what` says in an error what a line holds, as in
    "2 bodies x 25 joints x 3". Raises RecordingError for a line of another width, a token that is no number,
    an empty cell or an empty line.
    """
    data = load(path)
    commas = b"," in data
    plain = data.replace(b",", b" ") if commas else data
    _, first = tokens(plain)
    counts = np.diff(first)
    width = int(counts[0])
    parted = not commas or (data.count(b",") == len(counts) * (width - 1) and not _hollow(data))
    if width in widths and (counts == width).all() and parted:
        values = floats(plain, len(counts) * width)
        if values is not None:
            return values.reshape(len(counts), width)
    unit = "cell" if commas else "number"
    expected = " or ".join(str(w) for w in widths) + f" {unit}s ({what})"
    rows: list[list[float]] = []
    for at, line in enumerate(data.split(b"\n"), start=1):
        cells = [cell.strip() for cell in line.split(b",")] if commas else line.split()
        if len(cells) not in widths:
            raise RecordingError(path, at, plural(len(cells), unit), expected)
        if rows and len(cells) != len(rows[0]):
            raise RecordingError(path, at, plural(len(cells), unit), f"{len(rows[0])} as before")
        rows.append([])
        for place, cell in enumerate(cells, start=1):
            value = number(cell)
            if value is None:
                raise RecordingError(path, at, f"{show(cell)} as number {place}", "a number")
            rows[-1].append(value)
    return np.array(rows, np.float32)


def _hollow(data: bytes) -> bool:
    """Whether a comma stands beside nothing: an empty cell, which blanks in place of commas would hide."""
    tight = data.translate(None, b" \t")
    return any(pair in tight for pair in (b",,", b",\n", b"\n,")) or tight[:1] == b"," or tight[-1:] == b","
