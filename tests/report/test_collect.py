from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asma.report.collect import COLUMNS, ReportError, collect

Write = Callable[[Mapping[str, Any]], Path]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_every_result_of_the_parameters_is_one_row(params: dict[str, Any], write: Write) -> None:
    results = collect(params, write(params))
    # Modes a benchmark: 3 encoders x (linear, knn_1, knn_20) + 3 fine-tuned or from scratch + 8 fused + 2 students.
    modes = 9 + 3 + 8 + 2
    assert len(results.rows) == 2 * (modes * 4 + 1) + 2 * 4
    assert all(set(COLUMNS) <= set(row) for row in results.rows)
    assert {row["stream"]: row["accuracy"] for row in results.rows if row["encoder"] == "both"} == {
        "joint": 10.0,
        "bone": 20.0,
        "motion": 30.0,
        "3s": 40.0,
    }
    first = results.rows[0]
    assert [first[key] for key in COLUMNS] == [
        "demo_ntu_xsub",
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
    ]
    assert (first["run"], first["recipe"]) == ("probe/lowdeg_highmot@demo_ntu_xsub/joint", "lowdeg_highmot")


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
    before = collect(params, runs)
    params[axis] = rest
    rows = collect(params, runs).rows
    assert 0 < len(rows) < len(before.rows)
    for key, values in gone.items():
        assert not values & {row[key] for row in rows}


def test_a_mode_that_was_dropped_does_not_appear(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    params["fuse"]["modes"] = ["pretrain"]
    fused = {row["mode"] for row in collect(params, runs).rows if row["encoder"] == "both"}
    heads = {f"{head}_probed" for head in ("aligned", "averaged", "concatenated", "concatenated_wide")}
    assert fused == {*heads, "transferred_from_ntu60_xsub"}


def test_missing_runs_are_all_named_with_what_makes_them(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    gone = [
        runs / "probe" / "random@ntu60_xsub" / "bone" / "metrics.json",
        runs / "transfer" / "to_demo" / "metrics.json",
        runs / "efficiency" / "demo_ntu_xsub" / "metrics.json",
        runs / "export" / "asma_finetune@demo_ntu_xsub" / "joint" / "metrics.json",
    ]
    for path in gone:
        path.unlink()
    with pytest.raises(ReportError, match="4 of .* runs .* are missing; `dvc repro` makes them") as caught:
        collect(params, runs)
    for path in gone:
        assert str(path) in str(caught.value)


def test_a_run_in_the_wrong_folder_is_an_error(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "probe" / "random@ntu60_xsub" / "bone" / "metrics.json"
    change(path, stream="joint")
    with pytest.raises(ReportError, match="stream: found 'joint', expected 'bone'") as caught:
        collect(params, runs)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"metrics\.json:1: found .*, expected JSON"),
        ('{"results": [{"mode": "linear", "accuracy": NaN}]}', "found NaN, expected a finite number"),
        ('{"results": [{"mode": "linear"}]}', r"results\[0\]: found no 'benchmark'"),
        ("[]", "found list, expected a mapping"),
        ("{}", "results: found NoneType, expected a list"),
    ],
)
def test_a_bad_file_is_named_with_what_was_found(
    params: dict[str, Any], write: Write, content: str, message: str
) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    path.write_text(content)
    with pytest.raises(ReportError, match=message) as caught:
        collect(params, runs)
    assert str(path) in str(caught.value)


def test_a_share_is_not_taken_for_a_percentage_beyond_the_scale(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    change(path, results=[{"mode": "ridge", "accuracy": 6234}])
    with pytest.raises(ReportError, match="accuracy: found 6234, expected a percentage"):
        collect(params, runs)


def test_a_result_that_stands_twice_is_an_error(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "baseline" / "ntu60_xsub" / "metrics.json"
    results = json.loads(path.read_text())["results"]
    change(path, results=results * 2)
    with pytest.raises(ReportError, match=r"results\[1\]: found .*ridge.* twice, expected it once"):
        collect(params, runs)


def test_two_transfers_to_one_target_stay_apart(params: dict[str, Any], write: Write) -> None:
    params["transfers"]["again"] = {"source": "demo_ntu_xsub", "target": "demo_pku_xsub"}
    runs = write(params)
    with pytest.raises(ReportError, match=r"found no 'source', expected one of \['demo_ntu_xsub', 'ntu60_xsub'\]"):
        collect(params, runs)
    ensembles = json.loads((runs / "ensemble" / "metrics.json").read_text())["results"]
    named = [row for row in ensembles if row["of"] != "transfer"]
    for source in ("ntu60_xsub", "demo_ntu_xsub"):
        own = [row for row in ensembles if row["of"] == "transfer"][:2]
        named += [{**row, "source": source} for row in own]
    change(runs / "ensemble" / "metrics.json", results=named)
    modes = [row["mode"] for row in collect(params, runs).rows if row["encoder"] == "both" and row["source"]]
    assert modes.count("transferred_from_ntu60_xsub") == 4
    assert modes.count("transferred_from_demo_ntu_xsub") == 4


def test_demonstrations_are_known_by_their_set(params: dict[str, Any], write: Write) -> None:
    results = collect(params, write(params))
    assert results.demonstrations == {"demo_ntu_xsub", "demo_pku_xsub"}
    assert {row["benchmark"] for row in results.rows if row["demonstration"]} == results.demonstrations
    assert results.title("ntu60_xsub") == "ntu60_xsub"
    assert results.title("demo_ntu_xsub") == "demo_ntu_xsub (demonstration)"


def test_a_missing_axis_is_named(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    del params["fuse"]["modes"]
    with pytest.raises(ReportError, match=r"params.yaml: fuse.modes: not found"):
        collect(params, runs)


def test_curves_are_found_where_a_run_left_some(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    path = runs / "finetune" / "random@ntu60_xsub" / "bone" / "metrics.json"
    change(path, curves={"loss": [3.0, 2.0]})
    pretrained = runs / "pretrain" / "lowdeg_highmot@ntu60_xsub" / "joint" / "metrics.json"
    pretrained.parent.mkdir(parents=True)
    pretrained.write_text('{"stage": "pretrain", "results": [], "curves": {"loss": [9.0, 8.0, 7.0]}}')
    found = {(run.stage, run.axes["stream"]): told for run, told in collect(params, runs).curves}
    assert found == {
        ("finetune", "bone"): {"loss": [3.0, 2.0]},
        ("pretrain", "joint"): {"loss": [9.0, 8.0, 7.0]},
    }


def test_a_fusion_of_an_encoder_that_is_not_named_any_more_is_an_error(params: dict[str, Any], write: Write) -> None:
    runs = write(params)  # whose files of highdeg_lowmot stay behind
    params["fuse"] |= {"first": "lowdeg_highmot", "second": "highdeg_lowmot"}
    collect(params, runs)
    params["encoders"] = ["lowdeg_highmot", "random"]
    with pytest.raises(ReportError, match="expected 'highdeg_lowmot' among them for fuse.second"):
        collect(params, runs)
    params["fuse"]["modes"], params["distill"]["teachers"], params["transfers"] = [], [], {}
    params["export"]["teachers"] = []
    collect(params, runs)


def test_every_form_of_an_exported_network_is_found_with_its_machine(params: dict[str, Any], write: Write) -> None:
    params["benchmarks"] = ["ntu60_xsub"]
    found = collect(params, write(params)).device
    assert [(row["model"], row["form"]) for row in found] == [
        ("teacher", "eager"),
        ("student", "eager"),
        ("student", "onnx_int8"),
        ("student", "compiled"),
    ]
    for row in found:
        assert (row["benchmark"], row["teacher"], row["stream"]) == ("ntu60_xsub", "finetune", "joint")
        assert (row["processor"], row["threads"]) == ("Some Processor", 1)
    assert found[3]["reason"] == "no C++ compiler"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"machine": "here"}, "machine: found 'here', expected a mapping with processor and threads"),
        ({"models": [{"model": "student", "form": "eager"}]}, r"models\[0\]: found no 'params', expected one"),
        ({"unavailable": [{"model": "a", "form": "b"}]}, r"unavailable\[0\]: found no 'reason', expected one"),
        ({"stream": "bone"}, "stream: found 'bone', expected 'joint' as its folder says"),
    ],
)
def test_a_bad_file_of_an_export_is_named(
    params: dict[str, Any], write: Write, values: dict[str, Any], message: str
) -> None:
    runs = write(params)
    path = runs / "export" / "asma_finetune@ntu60_xsub" / "joint" / "metrics.json"
    change(path, **values)
    with pytest.raises(ReportError, match=message) as caught:
        collect(params, runs)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("axis", "known"), [("teachers", "distill.teachers"), ("streams", "streams")])
def test_an_export_of_what_there_is_no_longer_is_an_error(
    params: dict[str, Any], write: Write, axis: str, known: str
) -> None:
    runs = write(params)
    params["export"][axis] = ["gone"]
    with pytest.raises(ReportError, match=rf"params.yaml: export.{axis}: found 'gone', expected some of {known}: "):
        collect(params, runs)
