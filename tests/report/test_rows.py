from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from asma import illustration
from asma.report import rows
from asma.report.rows import COLUMNS, ReportError
from tests.report.grid import collect_table

Write = Callable[[Mapping[str, Any]], Path]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_every_result_of_the_parameters_is_one_row(params: dict[str, Any], write: Write) -> None:
    results = collect_table(params, write(params))
    # Modes a benchmark: 3 encoders x (linear, knn_1, knn_20), 3 fine-tuned or from scratch,
    # 8 fused, 2 students.
    modes = 9 + 3 + 8 + 2
    assert len(results.rows) == 2 * (modes * 4 + 1) + 2 * 4
    both = results.rows[results.rows.encoder == "both"]
    found = dict(zip(both.stream, both.accuracy, strict=True))
    assert found == {"joint": 10.0, "bone": 20.0, "motion": 30.0, "3s": 40.0}
    first = rows.records(results.rows)[0]
    assert [first[key] for key in COLUMNS] == [
        "demo_ntu_xsub",
        "lowdeg_highmot",
        "probe/lowdeg_highmot@demo_ntu_xsub/joint",
        "probe",
        "linear",
        "lowdeg_highmot",
        "joint",
        10.0,
        20.0,
        5.0,
        200,
        100,
        1_500_000,
        1_000_000_000,
        2_000_000_000,
        3,
        1,
        "probe",
        None,
        True,
        None,
        None,
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("axis", "rest", "gone"),
    [
        ("streams", ["joint"], {"stream": {"bone", "motion", "3s"}}),
        ("encoders", ["lowdeg_highmot", "random"], {"encoder": {"highdeg_lowmot"}}),
        ("benchmarks", ["ntu60_xsub"], {"benchmark": {"demo_ntu_xsub"}}),
        ("transfers", {}, {"benchmark": {"demo_pku_xsub"}, "of": {"transfer"}}),
    ],
)
def test_after_an_axis_shrinks_no_stale_row_appears(
    params: dict[str, Any], write: Write, axis: str, rest: Any, gone: dict[str, set[str]]
) -> None:
    runs = write(params)
    before = collect_table(params, runs)
    params[axis] = rest
    left = collect_table(params, runs).rows
    assert 0 < len(left) < len(before.rows)
    for key, values in gone.items():
        assert not values & set(left[key])


def test_a_mode_that_was_dropped_does_not_appear(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    params["fuse"]["modes"] = ["pretrain"]
    found = collect_table(params, runs).rows
    fused = set(found["mode"][found.encoder == "both"])
    heads = {
        f"{head}_probed" for head in ("aligned", "averaged", "concatenated", "concatenated_wide")
    }
    assert fused == {*heads, "transferred_from_ntu60_xsub"}


def test_missing_runs_are_all_named_with_what_makes_them(
    params: dict[str, Any], write: Write
) -> None:
    runs = write(params)
    gone = [
        runs / "probe" / "random@ntu60_xsub" / "bone" / "metrics.json",
        runs / "transfer" / "to_demo" / "metrics.json",
        runs / "efficiency" / "demo_ntu_xsub" / "metrics.json",
        runs / "export/asma_finetune@demo_ntu_xsub/joint" / "metrics.json",
    ]
    for path in gone:
        path.unlink()
    with pytest.raises(
        ReportError, match="4 files of runs .* are missing; `dvc repro` makes them"
    ) as caught:
        collect_table(params, runs)
    for path in gone:
        assert str(path) in str(caught.value)


def test_a_run_in_the_wrong_folder_is_an_error(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "probe" / "random@ntu60_xsub" / "bone" / "metrics.json"
    change(path, stream="joint")
    with pytest.raises(ReportError, match="stream: found 'joint', expected 'bone'") as caught:
        collect_table(params, runs)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"metrics\.json:1: found .*, expected JSON"),
        (
            '{"results": [{"mode": "linear", "accuracy": NaN}]}',
            "found NaN, expected a finite number",
        ),
        ('{"results": [{"mode": "linear"}]}', r"results\[0\]: found no 'benchmark'"),
        ("[]", r"found '\[\]', expected a mapping"),
        ("{}", "results: found None, expected a list"),
    ],
)
def test_a_bad_file_is_named_with_what_was_found(
    params: dict[str, Any], write: Write, content: str, message: str
) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    path.write_text(content)
    with pytest.raises(ReportError, match=message) as caught:
        collect_table(params, runs)
    assert str(path) in str(caught.value)


def test_a_share_is_not_taken_for_a_percentage_beyond_the_scale(
    params: dict[str, Any], write: Write
) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    change(path, results=[{"mode": "ridge", "accuracy": 6234}])
    with pytest.raises(ReportError, match=r"accuracy: found 6234\.0, expected a percentage"):
        collect_table(params, runs)


def test_a_result_that_stands_twice_is_an_error(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    results = json.loads(path.read_text())["results"]
    change(path, results=results * 2)
    with pytest.raises(ReportError, match=r"results\[1\]: found .*ridge.* twice, expected it once"):
        collect_table(params, runs)


def test_two_transfers_to_one_target_stay_apart(params: dict[str, Any], write: Write) -> None:
    params["transfers"]["again"] = {"source": "demo_ntu_xsub", "target": "demo_pku_xsub"}
    runs = write(params)
    found = collect_table(params, runs).rows
    modes = found["mode"][(found.encoder == "both") & found.source.notna()].tolist()
    assert modes.count("transferred_from_ntu60_xsub") == 4
    assert modes.count("transferred_from_demo_ntu_xsub") == 4
    path = runs / "ensemble" / "metrics.json"
    ensembles = json.loads(path.read_text())["results"]
    change(path, results=[{key: row[key] for key in row if key != "source"} for row in ensembles])
    with pytest.raises(ReportError, match=r"results\[\d+\]: found no 'source', expected one"):
        collect_table(params, runs)


def test_demonstrations_are_called_so(params: dict[str, Any], write: Write) -> None:
    assert rows.titles(collect_table(params, write(params)).rows) == {
        "demo_ntu_xsub": "demo_ntu_xsub (demonstration)",
        "ntu60_xsub": "ntu60_xsub",
        "demo_pku_xsub": "demo_pku_xsub (demonstration)",
    }


def test_curves_are_found_where_a_run_left_some(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "finetune" / "random@ntu60_xsub" / "bone" / "metrics.json"
    change(path, curves={"loss": [3.0, 2.0]})
    pretrained = runs / "pretrain" / "lowdeg_highmot@ntu60_xsub" / "joint" / "metrics.json"
    pretrained.parent.mkdir(parents=True)
    content = {"stage": "pretrain", "results": [], "curves": {"loss": [9.0, 8.0, 7.0]}}
    pretrained.write_text(json.dumps(content))
    found = collect_table(params, runs).curves[["stage", "stream", "curve", "values"]]
    assert sorted(map(tuple, found.to_numpy().tolist())) == [
        ("finetune", "bone", "loss", [3.0, 2.0]),
        ("pretrain", "joint", "loss", [9.0, 8.0, 7.0]),
    ]


def test_every_form_of_an_exported_network_is_found_with_its_machine(
    params: dict[str, Any], write: Write
) -> None:
    params["benchmarks"] = ["ntu60_xsub"]
    found = rows.records(collect_table(params, write(params)).device)
    assert [(row["model"], row["form"]) for row in found] == [
        ("teacher", "eager"),
        ("student", "eager"),
        ("student", "onnx_int8"),
        ("student", "compiled"),
    ]
    for row in found:
        place = (row["benchmark"], row["teacher"], row["stream"])
        assert place == ("ntu60_xsub", "finetune", "joint")
        assert (row["processor"], row["threads"]) == ("Some Processor", 1)
    assert found[3]["reason"] == "no C++ compiler"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"machine": "here"}, r"models\[0\]: found no 'processor', expected one"),
        (
            {"models": [{"model": "student", "form": "eager"}]},
            r"models\[0\]: found no 'params', expected one",
        ),
        (
            {"unavailable": [{"model": "a", "form": "b"}]},
            r"unavailable\[0\]: found no 'reason', expected one",
        ),
        ({"stream": "bone"}, "stream: found 'bone', expected 'joint' as its folder says"),
    ],
)
def test_a_bad_file_of_an_export_is_named(
    params: dict[str, Any], write: Write, values: dict[str, Any], message: str
) -> None:
    runs = write(params)
    path = runs / "export/asma_finetune@ntu60_xsub/joint" / "metrics.json"
    change(path, **values)
    with pytest.raises(ReportError, match=message) as caught:
        collect_table(params, runs)
    assert str(path) in str(caught.value)


def test_a_figure_has_the_run_that_made_it_and_an_ensemble_its_members(
    params: dict[str, Any], write: Write
) -> None:
    found = collect_table(params, write(params)).rows
    chosen = (found.benchmark == "ntu60_xsub") & (found.encoder == "random")
    by_stream = found[chosen & (found["mode"] == "linear")].set_index("stream").runs
    folders = {stream: [run.folder for run in runs] for stream, runs in by_stream.items()}
    joint = "probe/random@ntu60_xsub/joint"
    assert folders["joint"] == [joint]
    assert folders["3s"] == [
        "ensemble",
        joint,
        joint.replace("joint", "bone"),
        joint[:-5] + "motion",
    ]
    assert by_stream["joint"][0].about == {
        "mode": "linear", "stream": "joint", "seed": 1, "epochs": 3, "n_train": 200, "n_test": 100
    }  # fmt: skip


def test_what_is_written_as_json_is_read_as_the_same_rows(
    params: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    found = collect_table(params, write(params)).rows
    (tmp_path / "results.json").write_text(json.dumps(rows.records(found[COLUMNS])))
    again = rows.read(tmp_path / "results.json")
    pd.testing.assert_frame_equal(again[COLUMNS], found[COLUMNS])


def test_rows_of_before_there_were_recipes_are_read_all_the_same(tmp_path: Path) -> None:
    old = {"benchmark": "a_xsub", "stage": "probe", "mode": "linear", "encoder": "random"}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**old, "stream": "joint", "accuracy": 50.0}]))
    (row,) = rows.records(rows.read(path))
    assert (row["recipe"], row["of"], row["change"], row["n_train"]) == (
        "random",
        "probe",
        "",
        None,
    )


def test_players_are_those_of_the_benchmarks_in_their_order(
    tmp_path: Path, illustrate: Callable[..., dict[str, Any]]
) -> None:
    for name in ("a_xsub", "b_xsub", "old_xsub"):
        path = tmp_path / "illustrate" / name / "player.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(illustrate(name, frames=4, recordings=1)))
    found = rows.players(["b_xsub", "not_illustrated", "a_xsub"], tmp_path)
    assert list(found) == ["b_xsub", "a_xsub"]
    (tmp_path / "illustrate" / "a_xsub").rename(tmp_path / "illustrate" / "c_xsub")
    with pytest.raises(ReportError, match="found 'a_xsub', expected 'c_xsub' as its folder says"):
        rows.players(["c_xsub"], tmp_path)


def test_a_file_that_is_missing_or_something_else_is_named(
    arrays: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "figures.npz"
    with pytest.raises(ReportError, match=r"figures\.npz: not found; `dvc repro` makes it"):
        rows.arrays(path)
    held = arrays()
    del held["place"], held["clips"]
    illustration.save(path, held)
    missing = r"figures\.npz: found no clips, place, expected all of joints, parents"
    with pytest.raises(ReportError, match=missing):
        rows.arrays(path)
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ReportError, match=r"figures\.npz: found .*, expected arrays"):
        rows.arrays(path)
    np.savez_compressed(path, pose=np.array([{"a": "pickle"}]))
    with pytest.raises(ReportError, match=r"figures\.npz: found .*allow_pickle.*, expected arrays"):
        rows.arrays(path)
