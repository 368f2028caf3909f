"""Numbers out of text files, in C: where the tokens of a text lie, and those that are wanted as
one array.

The readers know the grammar of their files; with the offsets from here it is arithmetic on arrays,
and only what is kept is converted. Arrow does that where the text lies, in less than half the time
of np.fromstring. Whatever these functions refuse, a reader walks line by line to say where and
why.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asma.data.recordings import RecordingError

WORDS = re.compile(rb"(?:nan|inf(?:inity)?)*", re.IGNORECASE)

# The GNU allocator returns freed memory to the system, page by page to be asked for again with the
# next file, unless a block this large was freed before: from then on it keeps as much. A third of
# the time of a PKU-MMD file.
np.empty(2**24, np.uint8)


def load(path: Path, expected: str = "a recording") -> bytes:
    """The bytes of a text file, line ends as they are, with nothing blank after the last line.

    Raises RecordingError if the file cannot be read or says nothing; `expected` is what it should
    say.
    """
    data = _read(path)
    if not data:
        raise RecordingError(path, 1, "an empty file", expected)
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().rstrip()
    except OSError as error:
        raise RecordingError(path, None, error.strerror or str(error), "a readable file") from None


def words(path: Path) -> str:
    """A text file of people's words: UTF-8, with or without its mark, with nothing blank after the
    last line.

    Raises RecordingError if the file cannot be read, or naming the line that is something else.
    """
    data = _read(path).removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecordingError(
            path, line, f"the byte 0x{data[error.start]:02x}", "text in UTF-8"
        ) from None


@dataclass(frozen=True, eq=False)
class Tokens:
    """The blank-separated tokens of a text.

    Token i is data[begin[i]:end[i]]; `begin` and `end` are byte offsets (tokens,) int64. The
    tokens of line k, counted from 0, are first[k]:first[k + 1]; `first` is (lines + 1,) int64.
    """

    data: bytes
    begin: np.ndarray
    end: np.ndarray
    first: np.ndarray

    def floats(self, at: np.ndarray, width: int) -> np.ndarray | None:
        """The `width` tokens from each of `at` (n,) on as float32 (n, width), None if one is no
        number; `at` rises.

        They go through float64 as Python's float does, so that each value is that of float(token)
        rounded once more, to the last bit. `nan` and `inf` are numbers in any case.
        """
        values = self._cast(at, width, pa.float64(), np.float64)
        return None if values is None else single(values)

    def integers(self, at: np.ndarray) -> np.ndarray | None:
        """The tokens `at` (n,) as int64 (n,), exact; None if one is no integer that fits 64 bits;
        `at` rises.
        """
        values = self._cast(at, 1, pa.int64(), np.int64)
        return None if values is None else values[:, 0]

    def _cast(
        self, at: np.ndarray, width: int, kind: pa.DataType, dtype: type
    ) -> np.ndarray | None:
        # An array of strings is a buffer and rising offsets. Every second string here is what
        # stands between two tokens; it is declared missing (its bit is 0), and so the text is read
        # where it lies, without a copy.
        count = len(at) * width
        offsets = np.empty(2 * count + 1, np.int64)
        offsets[-1] = len(self.data)
        which = (at[:, None] + np.arange(width)).ravel()
        offsets[:-1:2], offsets[1::2] = self.begin[which], self.end[which]
        there = b"\x55" * (count // 4 + 1)
        buffers = [pa.py_buffer(part) for part in (offsets, self.data, there)]
        try:
            values = pc.cast(pa.LargeStringArray.from_buffers(2 * count, *buffers), kind)
        except pa.ArrowInvalid:
            return None
        return np.frombuffer(values.buffers()[1], dtype, 2 * count).reshape(len(at), width, 2)[
            ..., 0
        ]


def tokens(data: bytes) -> Tokens | None:
    """Find the tokens of a text; None if it holds bytes that no number has.

    Only places are found here: a token may still be no number, `1-2` or `e`, until it is converted.
    """
    text = np.frombuffer(data, np.uint8)
    # One comparison sets all digits and + , - . / aside (bytes 43 to 57); what remains is looked
    # at byte by byte.
    at = np.flatnonzero(text - np.uint8(43) > 57 - 43)
    kinds = text[at]
    if (
        b"," in data
        or b"/" in data
        or not WORDS.fullmatch(kinds.tobytes().translate(None, b"eE \t\r\n"))
    ):
        return None
    blank = kinds <= 32
    cr = np.zeros(0, bool)
    if b"\r" in data:  # no blank of its own: a token before CR LF is cut by one byte below
        cr = text[at[kinds == 10] - 1] == 13
        if np.count_nonzero(cr) != np.count_nonzero(kinds == 13):
            return None
        blank &= kinds != 13
    if not blank.all():
        at, kinds = at[blank], kinds[blank]
    bounds = np.concatenate(([-1], at, [len(data)]))
    first = np.concatenate(([0], np.flatnonzero(kinds == 10) + 1, [len(at) + 1]))
    begin, end = bounds[:-1] + 1, bounds[1:]
    if len(cr):
        end[first[1:-1] - 1] -= cr
    empty = begin == end
    if empty.any():  # two blanks side by side
        real = np.flatnonzero(~empty)
        begin, end, first = begin[real], end[real], np.searchsorted(real, first)
    return Tokens(data, begin, end, first)


def single(values: np.ndarray | list[list[float]]) -> np.ndarray:
    """Values as float32; what is beyond its range is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(np.float32)


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
    """A text with the same count of numbers, one of `widths`, on every line: float32 (lines,
    width).

    Numbers are parted by blanks or by commas. `what` says in an error what a line holds, as in "2
    bodies x 25 joints x 3". Raises RecordingError for a line of another width, a token that is no
    number, an empty cell or an empty line.
    """
    data = load(path)
    commas = b"," in data
    found = tokens(data.replace(b",", b" ") if commas else data)
    if found is not None:
        counts = np.diff(found.first)
        width = int(counts[0])
        parted = not commas or (data.count(b",") == len(counts) * (width - 1) and not _hollow(data))
        if width in widths and (counts == width).all() and parted:
            values = found.floats(found.first[:-1], width)
            if values is not None:
                return values
    unit = "cell" if commas else "number"
    expected = " or ".join(str(w) for w in widths) + f" {unit}s ({what})"
    rows: list[list[float]] = []
    for at, line in enumerate(data.split(b"\n"), start=1):
        cells = [cell.strip() for cell in line.split(b",")] if commas else line.split()
        if other := next((mark for mark in (b";", b"|") if mark in line), None):
            numbers = f"numbers parted by {show(other)}"
            raise RecordingError(path, at, numbers, f"{expected}, parted by commas or by blanks")
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
    return single(rows)


def _hollow(data: bytes) -> bool:
    """Whether a comma stands beside nothing: an empty cell, which blanks in place of commas would
    hide.
    """
    tight = data.translate(None, b" \t\r")
    return (
        any(pair in tight for pair in (b",,", b",\n", b"\n,"))
        or tight[:1] == b","
        or tight[-1:] == b","
    )
