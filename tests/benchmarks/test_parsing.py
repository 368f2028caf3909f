from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asma.data import ntu
from benchmarks import parsing


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_readers_find_the_same_positions(tmp_path: Path, end: str) -> None:
    (path,) = parsing.write(
        tmp_path / "raw", 1, lambda seed: parsing.ntu_text(seed, frames=4, bodies=2), end
    )
    assert (b"\r\n" in path.read_bytes()) == (end == "\r\n")
    plain = parsing.plain_ntu(path)
    ours = parsing.ours_ntu(path).reshape(4, 2, 25, 3)
    assert plain.shape == (3, 4, 25, 2) and (plain != 0).all()
    assert np.array_equal(plain, ours.transpose(3, 0, 2, 1))


def test_both_readers_find_the_same_table(tmp_path: Path) -> None:
    (path,) = parsing.write(tmp_path / "raw", 1, lambda seed: parsing.pku_text(seed, frames=6))
    plain, ours = parsing.plain_table(path), parsing.ours_table(path)
    assert plain.shape == (6, 150) and plain.dtype == ours.dtype and np.array_equal(plain, ours)


def test_the_files_are_as_large_as_genuine_ones_and_read_the_fast_way() -> None:
    content = parsing.ntu_text(0, frames=72).encode()
    assert 180_000 < len(content) < 200_000
    assert ntu._whole(content.rstrip()) is not None


def test_links_have_names_of_their_own(tmp_path: Path) -> None:
    paths = parsing.write(tmp_path / "raw", 2, lambda seed: parsing.ntu_text(seed, frames=1))
    folder = parsing.link(tmp_path / "links", paths, 8000)
    assert len(list(folder.iterdir())) == 8000


def test_a_parse_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    paths = parsing.write(tmp_path / "raw", 2, lambda seed: parsing.ntu_text(seed, frames=2))
    result = parsing.peak_memory(parsing.link(tmp_path / "links", paths, 4), 4)
    assert result.unit == "MB" and 30 < result.ours < 1000


def test_a_whole_parse_on_all_cores_is_measured_beside_one_on_one_core(tmp_path: Path) -> None:
    paths = parsing.write(tmp_path / "raw", 2, lambda seed: parsing.ntu_text(seed, frames=2))
    result = parsing.all_cores(parsing.link(tmp_path / "links", paths, 40), 40, cores=2, rounds=1)
    assert result.baseline is not None and result.threads == 2
    assert result.ratio == pytest.approx(result.ours / result.baseline)
    both = [(tmp_path / f"links.{cores}.h5").read_bytes() for cores in (1, 2)]
    assert both[0] == both[1]


def test_a_parse_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with (
        parsing.Parser(tmp_path / "nowhere", 1) as parser,
        pytest.raises(RuntimeError, match="a parse that failed"),
    ):
        parser()
