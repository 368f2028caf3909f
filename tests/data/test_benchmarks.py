from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from asma.data import benchmarks
from asma.data.benchmarks import Benchmark, SplitError, divide
from asma.data.sets import Set, Split
from tests.data.conftest import SUBJECTS

SET = Set(format="folder", layout="kinect_v1", bodies=2)
TRAIN, TEST = [0, 1, 3, 4, 6], [2, 5]


def write(toy: Path, split: Split, name: str = "toy_other") -> dict[str, int]:
    path = toy / "benchmarks" / f"{name}.h5"
    return benchmarks.write(
        path, name, SET, split, toy / "clips" / "toy.h5", toy / "motion" / "toy.h5"
    )[0]


def test_who_is_not_in_train_is_in_test() -> None:
    train, test = divide(
        np.array([5, 1, 2, 5, 3]), Split(column="subject", train=[5, 2, 40]), "here"
    )
    assert train.tolist() == [0, 2, 3] and test.tolist() == [1, 4]


def test_a_split_that_names_both_halves_leaves_the_rest_out() -> None:
    values = np.array(["train", "test", "", "train", "other"])
    train, test = divide(values, Split(column="half", train=["train"], test=["test"]), "here")
    assert train.tolist() == [0, 3] and test.tolist() == [1]


def test_a_recording_without_a_word_is_in_neither_half() -> None:
    train, test = divide(np.array(["a", "", "b"]), Split(column="half", train=["a"]), "here")
    assert train.tolist() == [0] and test.tolist() == [2]


def test_numbers_and_words_of_the_same_look_are_the_same() -> None:
    for values, chosen in (
        (np.array([1, 2]), ["1"]),
        (np.array(["1", "2"]), [1]),
        (np.array([1, 2]), ["01"]),
    ):
        train, test = divide(values, Split(column="subject", train=chosen), "here")
        assert train.tolist() == [0] and test.tolist() == [1]


def test_what_a_split_lists_and_no_recording_has_is_told() -> None:
    split = Split(column="subject", train=["01", 2, 30], test=["x", "03"])
    assert benchmarks.absent(np.array([1, 3, 3]), split) == ["2", "30", "x"]
    assert benchmarks.absent(np.array(["1", "2", "x", "3", "30"]), split) == []


def test_classes_that_are_tested_and_never_learnt_are_told(toy: Path) -> None:
    paths = (toy / "clips" / "toy.h5", toy / "motion" / "toy.h5")
    split = Split(column="subject", train=[1, 2])
    out = toy / "benchmarks" / "toy_other.h5"
    assert benchmarks.write(out, "toy_other", SET, split, *paths).unseen == []
    with h5py.File(paths[0], "r+") as file:
        file["labels"][:] = [2, 0, 0, 0, 1, 0, 0]  # subject 3, who tests, has 2 and 1
    assert benchmarks.write(out, "toy_other", SET, split, *paths).unseen == ["b", "c"]


def test_names_of_an_official_list_that_are_not_here_are_told(toy: Path) -> None:
    paths = (toy / "clips" / "toy.h5", toy / "motion" / "toy.h5")
    with h5py.File(paths[0], "r+") as file:
        file.attrs["absent"] = json.dumps({"half": ["0007-L", "0008-R"]})
    out = toy / "benchmarks" / "toy_other.h5"
    for split, names in (
        (Split(column="half", train=["train"], test=["test"]), ["0007-L", "0008-R"]),
        (Split(column="subject", train=[1]), []),
    ):
        assert benchmarks.write(out, "toy_other", SET, split, *paths).unlisted == names


@pytest.mark.parametrize(
    ("split", "complaint"),
    [
        (
            Split(column="subject", train=[9]),
            "here: column 'subject' leaves no recording for train; it holds 1, 2",
        ),
        (
            Split(column="subject", train=[1, 2]),
            "here: column 'subject' leaves no recording for test",
        ),
        (
            Split(column="subject", train=[1], test=[7]),
            "here: column 'subject' leaves no recording for test",
        ),
        (
            Split(column="subject", train=[1, 2], test=[2]),
            r"here: \['2'\] stand in train and in test",
        ),
    ],
)
def test_a_split_with_an_empty_half_or_a_shared_one_is_an_error(
    split: Split, complaint: str
) -> None:
    with pytest.raises(SplitError, match=complaint):
        divide(np.array([1, 2, 1]), split, "here")


def test_an_unknown_column_is_an_error_that_names_the_known(toy: Path) -> None:
    with pytest.raises(
        SplitError,
        match=r"benchmark toy_other: found no column 'setup' .*expected one of half, subject",
    ):
        write(toy, Split(column="setup", train=[1]))
    assert not (toy / "benchmarks" / "toy_other.h5").exists()


def test_counts_are_told(toy: Path) -> None:
    assert write(toy, Split(column="subject", train=[1, 3])) == {"train": 5, "test": 2}
    assert write(toy, Split(column="half", train=["train"], test=["test"])) == {
        "train": 3,
        "test": 2,
    }


def test_plain_h5py_reads_clips_and_scores_through_the_benchmark(
    toy: Path, benchmark_file: Path
) -> None:
    with h5py.File(benchmark_file, "r") as file, h5py.File(toy / "clips" / "toy.h5", "r") as source:
        assert file["train"][:].tolist() == TRAIN and file["test"][:].tolist() == TEST
        np.testing.assert_array_equal(file["clips/clips"][:], source["clips"][:])
        np.testing.assert_array_equal(file["clips/labels"][:], source["labels"][:])
        assert file["motion/bone"].shape == (7, 4)
    with h5py.File(benchmark_file, "r") as file:
        about = dict(file.attrs)
    assert (about["kind"], about["benchmark"], about["layout"]) == (
        "benchmark",
        "toy_xsub",
        "kinect_v1",
    )
    for part in ("clips", "motion"):
        digest = hashlib.sha256((toy / part / "toy.h5").read_bytes()).hexdigest()
        assert about[f"{part}_sha256"] == digest
    assert json.loads(about["split"]) == {"column": "subject", "train": [1, 3], "test": None}


def test_a_benchmark_moves_with_its_folder(toy: Path, benchmark_file: Path, tmp_path: Path) -> None:
    expected = Benchmark(benchmark_file).part("test").clips
    shutil.move(toy, tmp_path / "elsewhere")
    moved = Benchmark(tmp_path / "elsewhere" / "benchmarks" / "toy_xsub.h5")
    np.testing.assert_array_equal(moved.part("test").clips, expected)


def test_clips_and_benchmark_may_lie_in_any_folders(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "far" / "away" / "toy_here.h5"
    split = Split(column="subject", train=[1])
    benchmarks.write(
        path, "toy_here", SET, split, toy / "clips" / "toy.h5", toy / "motion" / "toy.h5"
    )
    assert Benchmark(path).motion("train", "joint").shape == (3, 4)


def test_the_same_parts_give_the_same_bytes_and_other_clips_other_ones(toy: Path) -> None:
    split, path = Split(column="subject", train=[1]), toy / "benchmarks" / "toy_other.h5"
    written = []
    for change in (0, 0, 1):
        with h5py.File(toy / "clips" / "toy.h5", "r+") as file:
            if change:
                file["clips"][0, 0, 0, 0, 0] += 1
        write(toy, split)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_a_benchmark_says_what_its_set_is(benchmark_file: Path) -> None:
    bench = Benchmark(benchmark_file)
    assert (bench.name, bench.budget, bench.demonstration, bench.without) == (
        "toy_xsub",
        "small",
        True,
        ["flip"],
    )
    assert bench.skeleton.name == "kinect_v1" and bench.classes == ["a", "b", "c"]
    assert bench.clip_shape == (3, 4, 20, 2)
    assert bench.counts() == {"n_train": 5, "n_test": 2}


def test_who_performs_is_numbered_from_the_column_of_the_set(benchmark_file: Path) -> None:
    people = Benchmark(benchmark_file).people("train")
    assert people is not None and people.dtype == np.int64
    subjects = np.array(SUBJECTS)[TRAIN]
    assert people.tolist() == [sorted(set(subjects)).index(subject) for subject in subjects]


def test_nobody_says_who_performs_where_there_is_no_such_column(toy: Path) -> None:
    path, set_ = toy / "benchmarks" / "toy_other.h5", replace(SET, person="actor")
    split = Split(column="subject", train=[1])
    sources = [toy / kind / "toy.h5" for kind in ("clips", "motion")]
    benchmarks.write(path, "toy_other", set_, split, *sources)
    assert Benchmark(path).people("train") is None


@pytest.mark.parametrize("block", [1, 2, 3, 2048])
@pytest.mark.parametrize(("which", "index"), [("train", TRAIN), ("test", TEST)])
def test_a_part_holds_its_clips_in_order_whatever_is_read_at_once(
    which: str,
    index: list[int],
    block: int,
    toy: Path,
    benchmark_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmarks, "BLOCK", block)
    bench = Benchmark(benchmark_file)
    part = bench.part(which)
    with h5py.File(toy / "clips" / "toy.h5", "r") as file:
        everything, labels = file["clips"][:], file["labels"][:]
    with h5py.File(toy / "motion" / "toy.h5", "r") as file:
        scores = file["motion"][:]
    assert part.names == [f"r{i}" for i in index]
    found = bench.motion(which, "motion")
    for n, i in enumerate(index):
        np.testing.assert_array_equal(part.clips[n], everything[i])
        np.testing.assert_array_equal(found[n], scores[i])
        assert part.labels[n] == labels[i]


def test_another_kind_of_file_is_an_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["kind"] = "clips"
    with pytest.raises(
        ValueError, match=r"odd\.h5: found a file of kind 'clips', expected a benchmark"
    ):
        Benchmark(tmp_path / "odd.h5")
