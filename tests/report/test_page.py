from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from matplotlib.figure import Figure

from asma import plan
from asma.plan import Plan
from asma.report import claims, figures, page, rows, tables
from asma.report.rows import Results, read
from asma.report.tables import Line, Table
from tests.report.grid import collect_table
from tests.report.grid import table as listed

Write = Callable[[Mapping[str, Any]], Path]
Illustrate = Callable[..., dict[str, Any]]


@pytest.fixture
def results(params: dict[str, Any], write: Write) -> Results:
    found = collect_table(params, write(params))
    found.rows["mode"] = found.rows["mode"].str.replace("knn", "knn<b>")  # a name is text
    return found


def test_the_page_needs_no_network_and_escapes_names(results: Results) -> None:
    text = page.html(results, figures.draw(results))
    assert "knn<b>" not in text
    text = re.sub(r"(?s)<template.*?</template>", "", text)  # links to follow, nothing to load
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*["']|@import""", text)
    assert not re.findall(r"url\((?!#)[^)]*\)", text)
    assert "knn&lt;b&gt;" in text
    HTMLParser().feed(text)


def test_the_page_holds_every_table_and_figure(results: Results) -> None:
    text = page.html(results, figures.draw(results))
    assert text.count("<table") == 3 + 1 + 3 + 2
    assert text.count("<svg") == 3 + 2
    assert "prefers-color-scheme: dark" in text
    assert "#000000" not in text  # the drawing's ink is the page's


def test_every_figure_of_ours_has_a_run_and_no_published_one_has(results: Results) -> None:
    text = page.html(results, {})
    shown = re.findall(r'<template id="runs-\d+">(.*?)</template>', text, re.DOTALL)
    rows = re.findall(
        r"<tr( class=\"published\")?>(.*?)</tr>", text.partition("<tbody>")[2], re.DOTALL
    )
    assert {bool(published) for published, _ in rows} == {True, False}
    for published, row in rows:
        cells = re.findall(r"<td>(.*?)</td>", row)  # figures: words have a class
        for cell in cells:
            assert ("<button" in cell) == (not published and cell != "–"), row
    paths = [re.findall(r'href="\.\./(.*?)"', runs) for runs in shown]
    assert ["runs/probe/random@ntu60_xsub/bone/metrics.json"] in paths
    assert ["runs/efficiency/ntu60_xsub/metrics.json"] in paths
    streams = [
        f"runs/probe/random@ntu60_xsub/{stream}/metrics.json"
        for stream in ("joint", "bone", "motion")
    ]
    assert ["runs/ensemble/metrics.json", *streams] in paths
    assert ["runs/ensemble/metrics.json", *["runs/transfer/to_demo/metrics.json"] * 3] in paths
    own = (runs for runs in shown if "random@ntu60_xsub/bone" in runs and "together" not in runs)
    (bone,) = (runs for runs in own if "linear" in runs)
    wanted = {"stage": "probe", "recipe": "random", "benchmark": "ntu60_xsub"}
    search = " and ".join(f"tags.{key} = '{value}'" for key, value in wanted.items())
    assert f"<code>{search.replace(chr(39), '&#39;')}</code>" in bone
    query = quote(search)
    assert f'&amp;searchFilter={query}">MLflow</a>' in bone
    assert "<dt>seed</dt><dd>1</dd>" in bone and "<dt>epochs</dt><dd>3</dd>" in bone


def test_the_page_begins_with_a_sentence_and_a_bar_for_each_method_and_control(
    results: Results,
) -> None:
    text = page.html(results, {})
    opening = text.partition("<h1>")[2].partition("</header>")[0]
    first = "Fine-tuned ASMa recognises the action in 40.0&nbsp;% of 100 test recordings"
    against = "training from scratch (40.0&nbsp;%) and fine-tuned ASMa without alignment"
    assert f"{first}, where chance is 5.0&nbsp;%: undecided against {against}" in opening
    assert "demo_ntu_xsub (demonstration)" in opening
    bars = re.findall(r"<li( class=\"control\")?><span>(.*?)</span>.*?--share: ([\d.]+)", opening)
    assert [(name, bool(control), float(share)) for control, name, share in bars] == [
        (row.name + " (joint only)" * (row.mode == "ridge"), row.control, row.accuracy)
        for row in rows.each(claims.last(results.rows, "demo_ntu_xsub"))
    ]
    assert "--chance: 5.0" in opening
    assert 'class="opening"' not in page.render("Empty")


def test_models_have_the_same_names_in_the_player_as_in_the_tables(
    results: Results, illustrate: Illustrate
) -> None:
    player = illustrate("ntu60_xsub")
    player["recordings"][0]["predictions"][0]["model"] = "both aligned_finetuned"
    text = page.html(results, {}, {"ntu60_xsub": player})
    assert re.findall(r"<h4>(.*?) · joint</h4>", text) == ["fine-tuned ASMa", "aligned_probed"]


def test_figures_stand_under_the_headings_of_their_names(results: Results) -> None:
    drawn = {
        name: Figure()
        for name in (
            "strange",
            "curves_ntu60_xsub",
            "results_demo_ntu_xsub",
            "confusion_joint_ntu60_xsub",
        )
    }
    text = page.html(results, drawn)
    assert re.findall(r'<section id="figures-(\w+)">', text) == [
        "results",
        "confusion",
        "curves",
        "more",
    ]
    assert re.findall(r"<summary>(.*?)</summary>", text) == [
        "demo_ntu_xsub (demonstration)",
        "ntu60_xsub: joint",
        "ntu60_xsub",
        "strange",
    ]
    assert text.count("<details open>") == 4
    many = page.html(results, {f"confusion_{index}": Figure() for index in range(9)})
    assert (many.count("<details open>"), many.count("<details>")) == (1, 8)


def test_a_page_can_be_made_of_anything_or_nothing() -> None:
    table = Table(
        "Pairs", "One run each.", ["Pair", "3s"], 1, [Line(["low", "1.0"]), Line(["high", "–"])]
    )
    claim = claims.Tested("two", "Two encoders beat <one>", "Table 3", "a_xsub", (), ["It all."])
    names = {"a_xsub": "a_xsub (demonstration)"}
    text = page.render("Ablations", [table], names=names, text="What matters.", claims=[claim])
    for words in (
        "<title>Ablations</title>",
        "What matters.",
        "a_xsub (demonstration): Two encoders beat &lt;one&gt;",
        "– was not run".replace("– ", "–</span> "),
    ):
        assert words in text
    assert "<code>make a</code> &lt;b&gt;" in page.render("A", text="`make a` <b>")
    assert "player" not in re.sub(r"(?s)<style>.*?</style>", "", text).replace('id="players"', "")
    assert "<h1>Empty</h1>" in page.render("Empty")


def test_the_contents_name_a_benchmark_only_where_there_are_several() -> None:
    of = [Table("Pairs: a_xsub", "One run each.", ["Pair", "3s"], 1, [Line(["low", "1.0"])])]
    names = {"a_xsub": "a_xsub", "b_xsub": "b_xsub"}
    assert ">Pairs</a>" in page.render("A", of=of, names={"a_xsub": "a_xsub"})
    assert ">Pairs: a_xsub</a>" in page.render("A", of=of, names=names)


def test_the_same_results_give_the_same_page(results: Results, illustrate: Illustrate) -> None:
    players = {name: illustrate(name) for name in ("ntu60_xsub", "demo_ntu_xsub")}
    drawn = {"bars": figures.accuracies(results.rows, "ntu60_xsub")}
    one, two = (page.html(results, drawn, players) for _ in range(2))
    assert one == two
    shown = json.loads(re.findall(r'id="players">(.*?)</script>', one)[0])
    assert (list(shown), shown) == (["ntu60_xsub", "demo_ntu_xsub"], players)


def test_every_figure_of_a_demonstration_calls_it_one(results: Results, tmp_path: Path) -> None:
    for name, figure in figures.draw(results).items():
        figures.save(figure, tmp_path, name)
        shown = (tmp_path / f"{name}.svg").read_text()
        assert ("(demonstration)" in shown) == ("demo" in name)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_the_cost_of_every_form_is_a_point_in_both_panels(results: Results) -> None:
    found = figures.draw(results)
    assert "export_demo_pku_xsub" not in found
    drawn, size = found["export_ntu60_xsub"], [8.48732, 4.24366, 2.829106]
    for axes, across in zip(drawn.axes, ([40, 20, 40 / 3], size), strict=True):
        points = [np.asarray(dots.get_offsets())[0].tolist() for dots in axes.collections]
        assert points == [[pytest.approx(x), 50.0] for x in across]
    labels = [dots.get_label() for dots in drawn.axes[0].collections]
    assert labels == [
        "teacher (finetune), joint: eager",
        "student (finetune), joint: eager",
        "student (finetune), joint: onnx_int8",
    ]


def test_the_same_results_give_the_same_drawing(results: Results, tmp_path: Path) -> None:
    for place in ("one", "two"):
        figures.save(figures.accuracies(results.rows, "ntu60_xsub"), tmp_path / place, "bars")
    for ending in ("png", "svg"):
        one, two = ((tmp_path / place / f"bars.{ending}").read_bytes() for place in ("one", "two"))
        assert one == two


def test_a_curve_has_a_point_for_each_epoch(params: dict[str, Any], write: Write) -> None:
    runs = write(params)
    assert not any(name.startswith("curves") for name in figures.draw(collect_table(params, runs)))
    path = runs / "pretrain/random@ntu60_xsub/bone/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"stage": "pretrain", "curves": {"loss": [3.0, 2.0, 1.5]}}))
    found = figures.draw(collect_table(params, runs))
    (drawn_line,) = found["curves_ntu60_xsub"].axes[0].lines
    assert np.asarray(drawn_line.get_xydata()).tolist() == [[1, 3], [2, 2], [3, 1.5]]
    assert drawn_line.get_label() == "random bone"
    assert "curves_demo_ntu_xsub" not in found


@pytest.mark.slow
def test_the_stage_writes_the_report_prints_the_table_and_names_what_is_missing(
    params: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    runs = write(params)
    told = {"rows": listed(params), "benchmarks": params["benchmarks"]}
    planned = Plan("table", {}, "", {}, "report", {**told, "ensemble": params["ensemble"]})
    plan.write(planned, tmp_path / "plan/table/all.json")
    root = Path(__file__).resolve().parents[2]

    def table() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stages.table", "plan/table/all.json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root), "DVC_ROOT": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = table()
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo_ntu_xsub (demonstration)" in done.stdout
    assert "All 186 results: report/results.md, report/index.html" in done.stdout
    kept = {
        path.name: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()
    }
    assert {"results.md", "results.csv", "results.json", "index.html"} < kept.keys()
    for kind in ("results", "masked", "confusion_3s"):
        assert {
            f"{kind}_{name}.{end}" for name in params["benchmarks"] for end in ("png", "svg")
        } < kept.keys()
    assert 'id="masked_motion_demo_ntu_xsub"' in kept["index.html"].decode()
    assert tables.terminal(read(tmp_path / "report" / "results.json")) in done.stdout
    assert "better by" in done.stdout or "worse by" in done.stdout

    table()
    assert kept == {
        path.name: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()
    }

    for gone in ("illustrate/ntu60_xsub/figures.npz", "baseline/ntu60_xsub/metrics.json"):
        (runs / gone).unlink()
        done = table()
        assert done.returncode == 1
        assert f"runs/{gone}" in done.stderr
        assert "dvc repro" in done.stderr
        assert "Traceback" not in done.stderr
