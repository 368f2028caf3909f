from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from asma.report import tables
from asma.report.rows import COLUMNS, Results, data, read
from tests.report.grid import collect_table

Write = Callable[[Mapping[str, Any]], Path]


@pytest.fixture
def results(params: dict[str, Any], write: Write) -> Results:
    return collect_table(params, write(params))


def line(table: tables.Table, *words: str) -> dict[str, str]:
    found = [row.cells for row in table.lines if tuple(row.cells[: len(words)]) == words]
    assert len(found) == 1
    return dict(zip(table.header, found[0], strict=True))


def test_the_headline_has_the_shape_of_the_papers_table_1(results: Results) -> None:
    table = tables.methods(results.rows)
    assert table.header == [
        "Method",
        "Figures",
        "demo_ntu_xsub (demonstration) Lin.",
        "demo_ntu_xsub (demonstration) FT.",
        "ntu60_xsub Lin.",
        "ntu60_xsub FT.",
        "Params (M)",
        "MACs (G)",
        "FLOPs (G)",
    ]
    ours = line(table, "3s-ASMa", "this project")
    assert list(ours.values())[2:] == ["40.0", "40.0", "40.0", "40.0", "1.50", "1.00", "2.00"]
    assert [row.cells[0] for row in table.lines if row.by == "this project"] == [
        "3s-ASMa",
        "3s-ASMa-Distill",
        "3s-ASMa without alignment",
        "3s-ASMa without alignment, concatenated",
        "3s-ASMa without alignment, concatenated, as many parameters",
        "3s-lowdeg_highmot",
        "3s-highdeg_lowmot",
        "control: untrained encoder, from scratch",
        "control: ridge on raw coordinates",
    ]
    ridge = line(table, "control: ridge on raw coordinates", "this project")
    assert (ridge["ntu60_xsub Lin."], ridge["ntu60_xsub FT."]) == ("66.0", "–")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("feature_distilled", "3s-ASMa-Distill by features"),
        ("scratch", "control: student from scratch"),
    ],
)
def test_students_that_learnt_otherwise_have_a_line_of_their_own(
    params: dict[str, Any], write: Write, form: str, name: str
) -> None:
    params["distill"]["form"] = form
    table = tables.methods(collect_table(params, write(params)).rows)
    assert list(line(table, name, "this project").values())[2:6] == ["40.0"] * 4
    assert ["3s-ASMa-Distill", "this project"] not in [row.cells[:2] for row in table.lines]


def test_published_figures_stand_beside_ours_where_the_benchmark_is_the_papers(
    results: Results,
) -> None:
    table = tables.methods(results.rows)
    told = line(table, "3s-ASMa", "published")
    assert (told["ntu60_xsub Lin."], told["ntu60_xsub FT."]) == ("87.3", "92.0")
    assert told["demo_ntu_xsub (demonstration) Lin."] == "–"
    assert (told["Params (M)"], told["MACs (G)"], told["FLOPs (G)"]) == ("6.30", "–", "4.50")
    names = [row.cells[0] for row in table.lines]
    assert names[:3] == ["3s-ASMa", "3s-ASMa", "3s-ASMa-Distill"]
    pstl = line(table, "3s-PSTL (Zhou et al., 2023)", "published")
    assert (pstl["ntu60_xsub Lin."], pstl["ntu60_xsub FT."]) == ("79.1", "87.1")


def test_without_a_benchmark_of_the_paper_nothing_published_appears(
    params: dict[str, Any], write: Write
) -> None:
    params["benchmarks"] = ["demo_ntu_xsub"]
    params["transfers"] = {}
    found = collect_table(params, write(params))
    assert all(row.by == "this project" for table in tables.tables(found) for row in table.lines)
    assert "published" not in tables.markdown(found).lower()


def test_the_full_table_has_a_column_for_each_stream_and_all_of_them(results: Results) -> None:
    table = tables.benchmark(results.rows, "ntu60_xsub")
    assert table.header == ["Stage", "Encoder", "Mode", "joint", "bone", "motion", "3s"]
    cells = list(line(table, "probe", "random", "knn_20").values())
    assert cells[3:] == ["10.00 / 20.00", "20.00 / 30.00", "30.00 / 40.00", "40.00 / 50.00"]
    told = list(line(table, "published", "both", "aligned_finetuned").values())
    assert told[3:] == ["84.9", "85.5", "82.9", "92.0"]
    told = list(line(table, "published", "both", "averaged_probed").values())
    assert told[3:] == ["–", "–", "–", "85.9"]
    assert "200 recordings to train, 100 to test, seed 1" in table.caption


def test_single_encoders_stand_above_the_papers_whose_masks_it_does_not_say(
    results: Results,
) -> None:
    table = tables.benchmark(results.rows, "ntu60_xsub")
    told = [row.cells for row in table.lines if row.cells[1] in ("f_phi only", "f_theta only")]
    assert told == [
        ["published", "f_phi only", "linear", "–", "–", "–", "83.8"],
        ["published", "f_theta only", "linear", "–", "–", "–", "84.1"],
    ]


def test_transfers_of_the_paper_stand_beside_the_published_ones_by_their_source(
    params: dict[str, Any], write: Write
) -> None:
    params["transfers"] = {"to_pku2": {"source": "ntu60_xsub", "target": "pku2_xsub"}}
    table = tables.benchmark(collect_table(params, write(params)).rows, "pku2_xsub")
    told = [row.cells for row in table.lines if row.by == "published"]
    assert len(told) == 8
    assert told[-1] == [
        "published",
        "3s-ASMa",
        "transferred_from_ntu60_xsub",
        "–",
        "–",
        "–",
        "77.2",
    ]
    assert told[-2][1] == "3s-PSTL (Zhou et al., 2023, run again by the paper)"
    assert "The paper pretrains on pku1_xsub for pku2_xsub (its Section 4)" in table.caption


def test_where_the_paper_pretrains_elsewhere_the_captions_say_so(
    params: dict[str, Any], write: Write
) -> None:
    assert tables.caption("elsewhere", benchmarks=["ntu60_xsub", "demo_xsub"]) == ""
    told = tables.caption("elsewhere", benchmarks=["ntu60_xsub", "ntu60_xview", "ntu120_xset"])
    where = "ntu60_xsub for ntu60_xview, ntu120_xsub for ntu120_xset"
    assert f"pretrains on {where} (its Section 4)" in told


def test_the_papers_single_encoders_need_no_untrained_one_beside_them(results: Results) -> None:
    table = tables.benchmark(results.rows.query("encoder != 'random'"), "ntu60_xsub")
    order = [(row.cells[0], row.cells[1]) for row in table.lines]
    place = order.index(("published", "f_phi only"))
    assert order[place - 1][0] == "probe" and order[place + 1] == ("published", "f_theta only")
    assert "probe" not in [stage for stage, _ in order[place:]]


def test_fewer_labels_are_said_in_every_caption(
    params: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    runs = write(params)
    assert "Fine-tuning used" not in tables.markdown(collect_table(params, runs))
    for path in (runs / "finetune").glob("*@ntu60_xsub/*/metrics.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "n_labelled": 20}))
    for path in (runs / "finetune").glob("*@demo_ntu_xsub/*/metrics.json"):
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "n_labelled": 200})
        )  # all of them
    found = collect_table(params, runs)
    said = "Fine-tuning used the labels of 20 of 200 recordings of ntu60_xsub."
    assert said in tables.methods(found.rows).caption
    shown = tables.terminal(found.rows)
    assert said in " ".join(shown.split())
    (tmp_path / "results.json").write_text(tables.as_json(found.rows))
    assert tables.terminal(read(tmp_path / "results.json")) == shown
    assert said in tables.benchmark(found.rows, "ntu60_xsub").caption
    assert "Fine-tuning used" not in tables.benchmark(found.rows, "demo_ntu_xsub").caption


def test_a_transfer_stands_in_the_table_of_its_target(results: Results) -> None:
    table = tables.benchmark(results.rows, "demo_pku_xsub")
    cells = list(line(table, "transfer", "both", "transferred_from_ntu60_xsub").values())
    assert cells[3:] == ["10.00 / 20.00", "20.00 / 30.00", "30.00 / 40.00", "40.00 / 50.00"]
    assert "demo_pku_xsub" not in " ".join(tables.methods(results.rows).header)


def test_one_stream_needs_no_ensemble_column(params: dict[str, Any], write: Write) -> None:
    params["streams"] = params["export"]["streams"] = ["bone"]
    found = collect_table(params, write(params)).rows
    assert tables.benchmark(found, "ntu60_xsub").header[3:] == ["bone"]
    assert line(tables.methods(found), "ASMa", "this project")["ntu60_xsub Lin."] == "10.0"


def test_every_network_and_form_is_a_line_with_the_papers_table_2_beside_it(
    results: Results,
) -> None:
    table = tables.device(results)
    names = [row.cells[:4] for row in table.lines if row.cells[0] == "ntu60_xsub"]
    assert names == [
        ["ntu60_xsub", "teacher (finetune)", "eager", "joint"],
        ["ntu60_xsub", "student (finetune)", "eager", "joint"],
        ["ntu60_xsub", "student (finetune)", "onnx_int8", "joint"],
        ["ntu60_xsub", "student (finetune)", "compiled", "joint"],
        ["ntu60_xsub", "3s-ASMa, Raspberry Pi 4B", "published", "3s"],
        ["ntu60_xsub", "3s-ASMa-Distill, Raspberry Pi 4B", "published", "3s"],
    ]
    ours = line(table, "ntu60_xsub", "student (finetune)", "onnx_int8")
    assert list(ours.values())[4:] == [
        "50.00", "97.9", "2.106", "1.231", "2.83", "41.0", "280.0", "13.33", "50.00", "75", "1250",
    ]  # fmt: skip
    gone = line(table, "ntu60_xsub", "student (finetune)", "compiled")
    assert set(list(gone.values())[4:]) == {"–"}
    assert "one at a time on Some Processor, 1 thread;" in table.caption
    assert "student compiled: no C++ compiler." in table.caption
    told = line(table, "ntu60_xsub", "3s-ASMa-Distill, Raspberry Pi 4B")
    figures = [
        told[key] for key in ("Accuracy", "File (MB)", "Process (MB)", "Latency (ms)", "Clips/s")
    ]
    assert figures == ["91.70", "2.22", "173.28", "21.38", "46.52"]
    assert not any(row.by == "published" for row in table.lines if row.cells[0].startswith("demo"))


def test_without_exported_networks_there_is_no_table_of_them(
    params: dict[str, Any], write: Write
) -> None:
    params["export"]["teachers"] = []
    found = collect_table(params, write(params))
    assert "Efficiency on this machine" not in tables.markdown(found)


def test_every_heading_of_a_demonstration_calls_it_one(results: Results) -> None:
    for text in (tables.markdown(results), tables.terminal(results.rows)):
        for name in ("demo_ntu_xsub", "demo_pku_xsub"):
            assert f"{name} (demonstration)" in text
        assert "Demonstration: demo_ntu_xsub, demo_pku_xsub." in text
        assert "ntu60_xsub (demonstration)" not in text


def test_the_csv_and_the_json_hold_one_row_a_result(results: Results) -> None:
    told = list(csv.DictReader(io.StringIO(tables.as_csv(results.rows))))
    assert list(told[0]) == COLUMNS
    assert len(told) == len(results.rows)
    assert {row["n_train"] for row in told} == {"200", "60"}  # whole, though some are not known
    listed = json.loads(tables.as_json(results.rows))
    assert [list(row) for row in listed] == [[*COLUMNS, "against"]] * len(told)
    assert [row["accuracy"] for row in listed] == [float(row["accuracy"]) for row in told]


def test_the_terminal_shows_what_was_learnt_beside_its_controls_and_chance(
    results: Results,
) -> None:
    shown = tables.terminal(results.rows)
    rows = [tuple(re.split(r"\s{2,}", row)) for row in shown.splitlines()]
    assert ("ntu60_xsub", "joint", "bone", "motion", "3s") in rows
    assert ("fine-tuned ASMa", "10.0", "*20.0", "*30.0", "*40.0") in rows
    assert ("control: ridge on raw coordinates", "*66.0", "–", "–", "–") in rows
    assert ("control: chance", "5.0", "5.0", "5.0", "5.0") in rows
    assert ("fine-tuned ASMa from ntu60_xsub", "*10.0", "*20.0", "*30.0", "*40.0") in rows
    assert "Per cent of 100 test recordings, 200 to learn from; one training, seed 1." in shown
    assert "linear" not in shown  # what is not the point stands in the report
    assert max(map(len, shown.splitlines())) < 100


def test_results_json_gives_the_terminal_the_same_text(results: Results, tmp_path: Path) -> None:
    found = results.rows
    tuned = (found["mode"] == "aligned_finetuned") & (found.stream == "3s")
    (place,) = found.index[tuned & (found.benchmark == "ntu60_xsub")]
    told = [{"coordinates.ridge": 0.004} if n == place else {} for n in found.index]
    found["against"] = pd.Series(told)
    (tmp_path / "results.json").write_text(tables.as_json(found))
    shown = tables.terminal(read(tmp_path / "results.json"))
    assert shown == tables.terminal(found)
    assert "worse by 26.0 points (p=0.004)" in shown


def test_the_short_tables_come_first_and_the_best_of_each_column_is_marked(
    results: Results,
) -> None:
    titles = [table.title for table in tables.tables(results)]
    first = ["demo_ntu_xsub (demonstration)", "ntu60_xsub", "demo_pku_xsub (demonstration)"]
    assert titles[:4] == [*first, "All methods"]
    text = tables.markdown(results)
    ridge = next(row for row in text.splitlines() if row.startswith("| control: ridge"))
    assert "**66.0**" in ridge
    tuned = next(row for row in text.splitlines() if row.startswith("| fine-tuned ASMa  "))
    assert tuned.count("**") == 2 * 3  # all but joint, where ridge is ahead
    whole = tables.benchmark(results.rows, "ntu60_xsub")
    assert {row.best for row in whole.lines if row.by == "published"} == {frozenset()}
    assert [row.cells[1] for row in whole.lines if 3 in row.best] == ["coordinates"]


def test_the_same_runs_give_the_same_bytes(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    one, two = collect_table(params, runs), collect_table(params, runs)
    assert tables.markdown(one) == tables.markdown(two)
    for form in (tables.as_csv, tables.as_json):
        assert form(one.rows) == form(two.rows)


@pytest.mark.parametrize(
    ("table", "method", "stream", "benchmark", "expected"),
    [
        ("table_1", "3s-ASMa", None, "pku1_xsub", {"linear": 94.5}),
        ("table_1", "3s-ASMa-Distill", None, "pku2_xsub", {"finetuned": 75.8}),
        ("table_1", "STJD-CL", None, "ntu120_xset", {"finetuned": 86.8}),
        ("table_3", "f_theta only", None, "pku2_xsub", {"linear": 65.1}),
        ("table_8", "ASMa-Distill", "motion", "ntu120_xset", {"linear": 65.9, "finetuned": 73.7}),
        ("table_1", "3s-ASMa", None, "demo_ntu_xsub", {}),
    ],
)
def test_published_figures_are_the_papers(
    table: str, method: str, stream: str | None, benchmark: str, expected: dict[str, float]
) -> None:
    told = tables.paper()
    told = told[(told.table == table) & (told.method == method) & (told.benchmark == benchmark)]
    told = told if stream is None else told[told.stream == stream]
    assert dict(zip(told.judged, told.accuracy, strict=True)) == expected


def test_every_published_figure_is_a_percentage_of_a_benchmark_of_the_paper() -> None:
    known = {"ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset", "pku1_xsub", "pku2_xsub"}
    others = ("source", "pretrained_on", "ablations")
    paper = data("paper.yaml")
    rows = [row for name in paper if name not in others for row in paper[name]["rows"]]
    assert len(rows) == 22 + 2 + 4 + 6 + 8 + 2
    for row in rows:
        assert row["results"].keys() <= known
        for figures in row["results"].values():
            for kind in figures.keys() - {"linear_std", "finetuned_std"}:
                assert kind in ("linear", "finetuned")
                assert 20 < figures[kind] < 100


def test_every_published_ablation_is_a_percentage_of_a_benchmark_of_the_paper() -> None:
    known = {"ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset", "pku1_xsub", "pku2_xsub"}
    told = data("paper.yaml")["ablations"]
    assert {name: len(one["values"]) for name, one in told.items()} == {
        "masks": 5,
        "mask.joints": 4,
        "mask.frames": 5,
        "encoder.backbone": 3,
        "distill.form": 2,
        "distill.temperature": 2,
    }
    for one in told.values():
        for cells in one["values"].values():
            assert cells.keys() <= known
            figures = [
                figure
                for cell in cells.values()
                for figure in (cell.values() if isinstance(cell, dict) else [cell])
            ]
            assert all(40 < figure < 100 for figure in figures)


def test_a_transfer_of_the_paper_stands_beside_ours_of_the_same_source() -> None:
    told = tables.paper().query("table == 'table_6' and method == 'S-JEPA'")
    figures = dict(zip(told["mode"], told.accuracy, strict=True))
    assert figures["transferred_from_ntu120_xsub"] == 74.2
    assert set(told.benchmark) == {"pku2_xsub"} and set(told.encoder) == {"both"}


def test_figures_are_summed_up_by_all_streams_or_the_first_there_is(results: Results) -> None:
    found = tables.summary(results.rows)
    assert found["ntu60_xsub"]["both.aligned_finetuned"] == 40.0
    assert found["ntu60_xsub"]["coordinates.ridge"] == 66.0
    single = tables.summary(results.rows.query("stage != 'ensemble'"))
    assert single["ntu60_xsub"]["both.aligned_finetuned"] == 10.0


def test_lines_are_pivoted_in_their_order_with_published_ones_below_and_the_best_marked() -> None:
    cells = pd.DataFrame(
        [
            (1, False, "b", "x", "5.0 / 9.0", ("run",)),
            (0, True, "a", "x", "99.0", None),
            (0, False, "a", "x", "7.0 / 8.0", ("other",)),
            (0, False, "a", "y", "1.0", ("third",)),
            (0, False, "a", "z", "2.0", None),
        ],
        columns=["line", "published", "name", "column", "text", "runs"],
    )
    found = tables.pivot(cells, ["name"], ["x", "y"], mark=1)
    assert [(one.cells, one.by) for one in found] == [
        (["a", "7.0 / 8.0", "1.0"], "this project"),
        (["a", "99.0", "–"], "published"),
        (["b", "5.0 / 9.0", "–"], "this project"),
    ]
    assert [set(one.best) for one in found] == [{1}, set(), set()]
    assert [one.runs for one in found] == [{1: ("other",), 2: ("third",)}, {}, {1: ("run",)}]


def test_where_no_method_of_the_paper_was_run_its_table_is_empty(
    params: dict[str, Any], write: Write
) -> None:
    found = collect_table(params, write(params))
    others = found.rows.assign(mode="other", benchmark="a_xsub")
    text = tables.markdown(found._replace(rows=others.drop_duplicates(["encoder", "of", "stream"])))
    assert f"## {tables.ALL}\n" in text and "| other" in text
