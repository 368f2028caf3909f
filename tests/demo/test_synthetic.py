"""The embedded demonstration: genuine files, seeded, neither trivial nor impossible."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.linear_model import RidgeClassifier

from asma import skeleton
from asma.data import clips, ntu, parse, pku
from asma.data.recordings import Recording
from asma.data.survey import Source
from demo.kinematics import ACTIONS
from demo.synthetic import NTU_ACTIONS, PKU_ACTIONS, SUBJECTS, Synthesize, write_ntu, write_pku

ROOT = Path(__file__).resolve().parents[2]

TINY = Synthesize(subjects=3, replications=1, videos=6)
XSUB = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
REAL = re.compile(r"-?\d+\.\d+")


@dataclass
class File:
    """What a .skeleton file says, read by the letter of the grammar."""

    ids: list[list[int]]  # tracking ids of each frame, in listing order
    numbers: np.ndarray  # (bodies of all frames, 25, 12)


def read_strictly(path: Path) -> File:
    lines = path.read_text(encoding="ascii").split("\n")
    assert lines.pop() == "", "the last line ends"
    rows = iter(lines)
    ids: list[list[int]] = []
    numbers: list[list[list[float]]] = []
    for _ in range(int(next(rows))):
        ids.append([])
        for _ in range(int(next(rows))):
            head = next(rows).split(" ")
            assert len(head) == 10
            assert all(re.fullmatch(r"\d+", head[k]) for k in (0, 1, 2, 3, 4, 5, 6, 9))
            assert REAL.fullmatch(head[7]) and REAL.fullmatch(head[8])
            ids[-1].append(int(head[0]))
            assert next(rows) == "25"
            joints = [next(rows).split(" ") for _ in range(25)]
            assert all(len(joint) == 12 for joint in joints)
            assert all(REAL.fullmatch(number) for joint in joints for number in joint[:11])
            assert all(joint[11] in ("1", "2") for joint in joints)
            numbers.append([[float(number) for number in joint] for joint in joints])
        assert len(set(ids[-1])) == len(ids[-1])
    assert next(rows, None) is None, "nothing follows the last frame"
    return File(ids, np.array(numbers))


@pytest.fixture(scope="module")
def ntu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "demo_ntu"
    write_ntu(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def pku_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "demo_pku"
    write_pku(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def ntu_files(ntu_folder: Path) -> dict[str, File]:
    return {path.stem: read_strictly(path) for path in sorted(ntu_folder.glob("*.skeleton"))}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_there_are_ten_actions_or_more_and_two_or_more_of_two_people() -> None:
    assert len(set(NTU_ACTIONS)) == len(NTU_ACTIONS) >= 10
    assert sum(ACTIONS[name].people == 2 for name in NTU_ACTIONS) >= 2
    shared = set(NTU_ACTIONS) & set(PKU_ACTIONS)
    assert len(set(PKU_ACTIONS)) == len(PKU_ACTIONS) == 8 and 2 <= len(shared) < 8


def test_every_ntu_file_obeys_the_grammar_and_is_as_long_as_told(
    ntu_files: dict[str, File],
) -> None:
    assert len(ntu_files) == 12 * 3
    lengths = [len(file.ids) for file in ntu_files.values()]
    assert min(lengths) >= TINY.shortest and max(lengths) <= TINY.longest


def test_ntu_names_cover_subjects_cameras_setups_and_actions(ntu_files: dict[str, File]) -> None:
    matches = [
        re.fullmatch(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", name) for name in ntu_files
    ]
    fields = [[int(part) for part in match.groups()] for match in matches if match]
    assert len(fields) == len(ntu_files)
    setups, cameras, subjects, replications, actions = (
        set(column) for column in zip(*fields, strict=True)
    )
    assert len(setups) >= 2 and cameras == {1, 2, 3} and replications == {1}
    assert subjects == set(SUBJECTS[:3]) and actions == set(range(1, 13))


@pytest.mark.parametrize("count", [3, 4, 12, 30])
def test_the_public_subject_list_divides_subjects_two_to_one(count: int) -> None:
    assert len(set(SUBJECTS)) == len(SUBJECTS)
    train = sum(number in XSUB for number in SUBJECTS[:count])
    assert 0.6 <= train / count <= 0.75


def test_tracking_ids_cannot_be_told_apart_as_doubles(ntu_files: dict[str, File]) -> None:
    pairs = 0
    for file in ntu_files.values():
        ids = sorted({number for frame in file.ids for number in frame})
        assert ids[0] > 2**53
        pairs += len(ids) > len({float(number) for number in ids})
    assert pairs >= 9


def test_people_are_in_front_of_the_camera_and_their_pixels_agree(
    ntu_files: dict[str, File],
) -> None:
    for file in ntu_files.values():
        joints = file.numbers
        assert (joints[..., 2] > 0.5).all()
        people = joints[joints[:, 0, 2] < 4.1]
        assert (
            (np.abs(people[..., 0]) < 3).all()
            and (people[..., 3] > 0).all()
            and (people[..., 3] < 512).all()
        )
        x, z, column = joints[..., 0], joints[..., 2], joints[..., 3]
        np.testing.assert_allclose(column, 256 + 365 * x / z, atol=0.2)
        norm = np.linalg.norm(joints[..., 7:11], axis=-1)
        assert (np.isclose(norm, 1, atol=1e-3) | (norm == 0)).all()


def test_actions_of_two_show_two_bodies_and_others_one(ntu_files: dict[str, File]) -> None:
    for name, file in ntu_files.items():
        usual = Counter(len(frame) for frame in file.ids).most_common(1)[0][0]
        assert usual == ACTIONS[NTU_ACTIONS[int(name[-3:]) - 1]].people, name


def test_sensor_faults_occur_as_often_as_told(tmp_path: Path) -> None:
    faults = replace(TINY, subjects=2, dropout=0.5, phantom=1.0, reorder=1.0)
    counts = write_ntu(tmp_path / "faulty", faults)
    assert counts["phantoms"] == counts["recordings"] == 24 and counts["frames_without_body"] > 0
    files = {
        path.stem: read_strictly(path) for path in sorted((tmp_path / "faulty").glob("*.skeleton"))
    }
    lost = turned = 0
    for name, file in files.items():
        seen = Counter(number for frame in file.ids for number in frame)
        assert min(seen.values()) < 10, f"{name}: a phantom is short"
        lost += ACTIONS[NTU_ACTIONS[int(name[-3:]) - 1]].people == 2 and seen.most_common(2)[1][
            1
        ] < len(file.ids)
        turned += len({tuple(frame) for frame in file.ids if len(frame) == 2}) > 1
    assert lost >= 3 and turned >= 3

    clean = write_ntu(tmp_path / "clean", replace(faults, dropout=0.0, phantom=0.0, reorder=0.0))
    assert clean["phantoms"] == clean["frames_without_body"] == 0


def test_default_faults_occur_in_the_default_set(ntu_files: dict[str, File]) -> None:
    assert any(not frame for file in ntu_files.values() for frame in file.ids)
    phantoms = 0
    for name, file in ntu_files.items():
        people = ACTIONS[NTU_ACTIONS[int(name[-3:]) - 1]].people
        phantoms += len({number for frame in file.ids for number in frame}) > people
    assert 1 <= phantoms < len(ntu_files) / 3


def test_without_noise_bones_keep_their_length_in_the_file(tmp_path: Path) -> None:
    still = replace(TINY, subjects=1, noise=0.0, dropout=0.0, phantom=0.0, reorder=0.0)
    write_ntu(tmp_path / "clean", still)
    for path in sorted((tmp_path / "clean").glob("*.skeleton")):
        file = read_strictly(path)
        ids = np.array([number for frame in file.ids for number in frame])
        for person in set(ids.tolist()):
            xyz = file.numbers[ids == person][..., :3]
            for a, b in skeleton.load("kinect_v2").edges:
                length = np.linalg.norm(xyz[:, a] - xyz[:, b], axis=-1)
                assert np.ptp(length) < 5e-4, "no more than the rounding of the file"


def test_noise_is_worst_at_the_ends_of_limbs(ntu_files: dict[str, File]) -> None:
    jitter = np.zeros(25)
    for name, file in ntu_files.items():
        if ACTIONS[NTU_ACTIONS[int(name[-3:]) - 1]].people == 1 and {
            len(frame) for frame in file.ids
        } == {1}:
            jitter += np.abs(np.diff(file.numbers[..., :3], n=3, axis=0)).mean((0, 2))
    assert jitter[[7, 11, 15, 19]].min() > 1.5 * jitter[[0, 1, 20]].max()


def test_pku_videos_hold_150_numbers_a_line_and_labels_within(pku_folder: Path) -> None:
    stems = {path.stem for path in (pku_folder / "skeleton").glob("*.txt")}
    assert len(stems) == 6 and all(re.fullmatch(r"\d{4}-[LMR]", stem) for stem in stems)
    assert stems == {path.stem for path in (pku_folder / "label").glob("*.txt")}
    alone = together = 0
    for stem in sorted(stems):
        lines = (pku_folder / "skeleton" / f"{stem}.txt").read_text().splitlines()
        assert all(len(line.split(" ")) == 150 for line in lines)
        frames = np.array([line.split(" ") for line in lines], float).reshape(-1, 2, 25, 3)
        absent = (frames == 0).all((2, 3))
        assert (absent | (frames != 0).any(-1).all(-1)).all(), "a body is whole or absent"
        alone, together = alone + absent[:, 1].sum(), together + (~absent[:, 1]).sum()
        rows = [
            [int(v) for v in row.split(",")]
            for row in (pku_folder / "label" / f"{stem}.txt").read_text().split()
        ]
        assert sorted(row[0] for row in rows) == list(range(1, 9))
        for _, first, last, confidence in rows:
            assert 1 <= first < last <= len(lines) and last - first >= 20 and confidence in (1, 2)
        starts = [row[1] for row in rows]
        assert starts == sorted(starts)
    assert alone > together > 0


def test_pku_splits_name_every_video_once_under_the_misspelt_header(pku_folder: Path) -> None:
    stems = {path.stem for path in (pku_folder / "skeleton").glob("*.txt")}
    for name in ("cross-subject", "cross-view"):
        lines = (pku_folder / "split" / f"{name}.txt").read_text().splitlines()
        assert (
            lines[0] == "Training videos:" and lines[2] == "Validataion videos:" and len(lines) == 4
        )
        train, test = (
            {stem for stem in line.replace(" ", "").split(",") if stem}
            for line in (lines[1], lines[3])
        )
        assert train | test == stems and not train & test and len(train) == 2 * len(test)


def test_folders_say_what_they_are_and_name_their_classes(
    ntu_folder: Path, pku_folder: Path
) -> None:
    for folder, names in ((ntu_folder, NTU_ACTIONS), (pku_folder, PKU_ACTIONS)):
        assert (folder / "classes.txt").read_text().splitlines() == names
        readme = (folder / "README.txt").read_text()
        assert "demonstration" in readme and "no measurement of people" in readme


def test_same_seed_same_bytes_and_other_seed_other_bytes(
    ntu_folder: Path, pku_folder: Path, tmp_path: Path
) -> None:
    for write, first in ((write_ntu, ntu_folder), (write_pku, pku_folder)):
        write(tmp_path / "again" / first.name, TINY)
        assert _bytes(tmp_path / "again" / first.name) == _bytes(first)
        write(tmp_path / "other" / first.name, replace(TINY, seed=2))
        before, after = _bytes(first), _bytes(tmp_path / "other" / first.name)
        assert before.keys() == after.keys()
        recordings = [n for n in before if n.endswith(".skeleton") or n.startswith("skeleton")]
        assert recordings and all(before[name] != after[name] for name in recordings)


def test_more_subjects_leave_the_others_as_they_were(ntu_folder: Path, tmp_path: Path) -> None:
    write_ntu(tmp_path / "more", replace(TINY, subjects=4))
    before, after = _bytes(ntu_folder), _bytes(tmp_path / "more")
    assert len(after) == len(before) + 12
    assert {name: after[name] for name in before} == before


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write_ntu(tmp_path / "demo", replace(TINY, subjects=2))
    write_ntu(tmp_path / "demo", replace(TINY, subjects=1))
    assert len(list((tmp_path / "demo").glob("*.skeleton"))) == 12


def test_a_folder_of_other_files_is_never_emptied(tmp_path: Path) -> None:
    mine = tmp_path / "S001C001P001R001A001.skeleton"
    mine.write_text("0\n")
    for write in (write_ntu, write_pku):
        with pytest.raises(ValueError, match="no demonstration, expected an empty folder"):
            write(tmp_path, TINY)
    assert mine.read_text() == "0\n"


@pytest.mark.parametrize(
    ("field", "value"), [("subjects", 31), ("views", 0), ("noise", -1.0), ("shortest", 80)]
)
def test_values_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"synthesize\.{field}: found {value}, expected"):
        Synthesize(**{field: value})  # type: ignore[arg-type]  # a wrong value is the point


def _clips(recordings: list[Recording]) -> tuple[np.ndarray, np.ndarray]:
    bones = skeleton.load("kinect_v2")
    made = [clips.frame50(recording, bones, 2, clips.Prepare()) for recording in recordings]
    return np.stack([clip.ravel() for clip in made if clip is not None]), np.array(
        [r.label for r in recordings]
    )


def _ridge(recordings: list[Recording], train: np.ndarray) -> float:
    """Share of test recordings that a ridge classifier on raw frame50 coordinates gets right."""
    x, y = _clips(recordings)
    assert len(x) == len(y), "no recording of the demonstration is empty"
    assert 0.6 < train.mean() < 0.75
    return float(
        (RidgeClassifier(alpha=1.0).fit(x[train], y[train]).predict(x[~train]) == y[~train]).mean()
    )


@pytest.mark.slow
def test_ridge_on_ntu_coordinates_is_neither_trivial_nor_impossible(tmp_path: Path) -> None:
    counts = write_ntu(tmp_path / "demo", Synthesize())
    assert counts["recordings"] == 288 and counts["bytes"] < 42e6
    survey = ntu.survey(tmp_path / "demo", Source(joints=25, class_count=len(NTU_ACTIONS)))
    assert not survey.errors
    recordings = [recording for job in survey.jobs for recording in ntu.read(job).recordings]
    assert (
        0.4
        < _ridge(recordings, np.array([r.columns["subject"] in XSUB for r in recordings]))
        < 0.85
    )
    cameras = np.array([r.columns["camera"] != 1 for r in recordings])
    assert 0.4 < _ridge(recordings, cameras) < 0.85


@pytest.mark.slow
def test_ridge_on_pku_coordinates_is_neither_trivial_nor_impossible(tmp_path: Path) -> None:
    counts = write_pku(tmp_path / "demo", Synthesize())
    assert 160 <= counts["instances"] <= 200 and counts["bytes"] < 20e6
    survey = pku.survey(tmp_path / "demo", Source(joints=25, class_count=len(PKU_ACTIONS)))
    assert not survey.errors
    recordings = [recording for job in survey.jobs for recording in pku.read(job).recordings]
    assert len(recordings) == counts["instances"]
    assert (
        0.4
        < _ridge(recordings, np.array([r.columns["cross_subject"] == "train" for r in recordings]))
        < 0.85
    )


def test_the_demonstrations_classes_are_listed_by_the_names_they_are_written_under() -> None:
    # The parser reads lists; the generator needs none of the parser.
    for name, actions in (("demo_ntu", NTU_ACTIONS), ("demo_pku", PKU_ACTIONS)):
        known = yaml.safe_load((ROOT / "datasets" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert parse.class_list(known["classes"], known.get("class_count")) == actions
