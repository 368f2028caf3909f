from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from asma.report import figures, rows, statistics, tables
from asma.report.rows import Expected, ReportError
from asma.report.tables import Table
from tests.report.grid import N, collect, lay, lines, pair, params, share, tables_of


def right(one: Expected, mode: str) -> np.ndarray:
    """20 of 40; one more for each seed, two for a changed one, four for `standardised`."""
    changed = 2 * bool(one.columns["change"] or one.columns["draw"])
    return share(20 + one.says["seed"] + changed + 4 * (mode == "standardised"))


def by_seed(one: Expected, mode: str) -> np.ndarray:
    return share(10 * one.says["seed"])


def named(made: dict[str, Table]) -> dict[str, Table]:
    """The tables by their titles without the benchmark."""
    return {t.title.split(" (the paper")[0].split(":")[0]: t for t in made.values()}


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Table]:
    return tables_of(params(), lay(tmp_path, params(), right))


def line(rows: pd.DataFrame, encoder: str, mode: str, stream: str = "joint") -> Any:
    """One line of the grid over its seeds, unchanged."""
    chosen = (rows.encoder == encoder) & (rows["mode"] == mode) & (rows.stream == stream)
    (one,) = statistics.lines(rows[chosen & (rows.change == "")]).itertuples()
    return one


def test_a_row_has_the_accuracy_of_every_seed_its_mean_and_deviation(tmp_path: Path) -> None:
    runs = lay(tmp_path, params(), by_seed)
    one = line(collect(params(), runs), "lowdeg_highmot", "linear")
    assert one.accuracy.to_dict() == {(1, ""): 25.0, (2, ""): 50.0, (3, ""): 75.0}
    assert (one.mean, one.deviation) == (50.0, 25.0)
    answers = rows.answers(next(collect(params(), runs).itertuples()), runs, {})
    assert answers.index.tolist() == [f"r{i:02d}" for i in range(N)]
    assert answers.tolist() == share(10).tolist()
    assert rows.titles(collect(params(), runs)) == {"demo_xsub": "demo_xsub (demonstration)"}


def test_several_streams_are_also_added_up(tmp_path: Path) -> None:
    # joint and motion are right about different halves, bone about all:
    # 0.6 + 0.6 against 0.4, 0.6 + 0.4 against 0.6
    rights = {"joint": share(20), "bone": share(N), "motion": ~share(20)}
    content = params(streams=["joint", "bone", "motion"])
    found = collect(content, lay(tmp_path, content, lambda one, mode: rights[one.says["stream"]]))
    own = [
        line(found, "lowdeg_highmot + highdeg_lowmot", "aligned_probed", stream)
        for stream in ("joint", "bone", "motion", "3s")
    ]
    assert [one.mean for one in own] == [50.0, 100.0, 50.0, 100.0]
    assert [one.params for one in own] == [100, 100, 100, 300]
    assert [run.about["stream"] for run in own[-1].runs] == ["joint", "bone", "motion"] * 3
    assert rows.streams(found)[-1] == "3s"


def test_all_missing_runs_are_named_at_once(tmp_path: Path) -> None:
    runs = lay(tmp_path, params(), by_seed)
    pair = "fuse.first=lowdeg_highmot+fuse.second=highdeg_lowmot"
    run = "ablations/fuse/asma_pretrain+{}+seed={}@demo_xsub/joint/metrics.json"
    gone = [runs / run.format(pair, seed) for seed in (1, 3)]
    for path in gone:
        path.unlink()
    told = r"2 files .* are missing; `make ablations` makes them"
    with pytest.raises(ReportError, match=told) as caught:
        collect(params(), runs)
    assert str(caught.value).endswith(f"\n  {gone[0]}\n  {gone[1]}")
    assert rows.gone(lines(params()), runs) == gone


def test_rows_that_miss_a_run_can_be_left_out(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone"])
    runs = lay(tmp_path, content, by_seed)
    (runs / "ablations/probe/lowdeg_highmot+seed=2@demo_xsub/bone/metrics.json").unlink()
    found = collect(content, runs, "leave_out")
    plain = found[(found["mode"] == "linear") & (found.change == "")]
    assert set(plain.stream[plain.encoder == "lowdeg_highmot"]) == {"joint"}
    assert set(plain.stream[plain.encoder == "highdeg_lowmot"]) == {"joint", "bone", "2s"}
    with pytest.raises(ReportError, match="missing: found 'skip', expected error or leave_out"):
        collect(content, runs, "skip")


def test_how_far_pretraining_got_is_the_last_loss_of_each_seed(tmp_path: Path) -> None:
    content = params()
    runs = lay(tmp_path, content, right)
    for encoder, curves in (
        ("lowdeg_highmot", {1: [8.0, 1200.6], 2: [9.0, 700.4]}),
        ("highdeg_lowmot", {1: [], 2: []}),
    ):
        for seed, curve in curves.items():
            folder = runs / f"ablations/pretrain/{encoder}+seed={seed}@demo_xsub/joint"
            folder.mkdir(parents=True)
            told = {"curves": {"barlow_twins": curve} if curve else {}}
            (folder / "metrics.json").write_text(json.dumps(told))
    tuned = runs / "ablations/finetune/lowdeg_highmot+seed=1@demo_xsub/joint/metrics.json"
    tuned.write_text(json.dumps({**json.loads(tuned.read_text()), "curves": {"loss": [1.0]}}))
    found = rows.ablations(lines(content), runs, content["ensemble"]["weights"])
    table = tables.pretraining(found.curves, found.rows)
    assert table.header == ["Benchmark", "Encoder", "Stream", "seed 1", "seed 2"]
    cells = ["demo_xsub (demonstration)", "lowdeg_highmot", "joint", "1201", "700"]
    assert [line.cells for line in table.lines] == [cells]


def test_a_run_is_found_in_mlflow_by_its_recipe(tmp_path: Path) -> None:
    found = collect(params(), lay(tmp_path, params(), by_seed))
    fused = found[found.of == "fuse"]
    searches = {run.search for runs in fused.runs for run in runs}
    assert len(searches) == 3 * len(statistics.lines(fused[fused["mode"] == "aligned_probed"])) + 3
    recipe = "asma_pretrain+fuse.first=lowdeg_highmot+fuse.second=lowdeg_highmot_2+seed=1"
    wanted = f"tags.stage = 'fuse' and tags.recipe = '{recipe}' and tags.benchmark = 'demo_xsub'"
    assert wanted in searches


def test_two_lines_of_one_run_are_a_row_each(tmp_path: Path) -> None:
    content = params(pretrain=["mask.joints=9"])
    runs, listed = lay(tmp_path, content, right), lines(content)
    for one in listed:
        for key in ("run", "recipe"):
            where = one if key == "run" else one["axes"]
            where[key] = where[key].replace("+mask.joints=9", "")
    found = rows.ablations(listed, runs, content["ensemble"]["weights"]).rows
    own = found[(found.encoder == "lowdeg_highmot") & (found["mode"] == "linear")]
    assert len(own) == 6 and own.run.nunique() == 3
    defaults = {"demo_xsub": content["defaults"]}
    table = named(tables.ablations(found, pair(content), defaults))["Number of masked joints"]
    assert [line.cells[0] for line in table.lines] == ["9 (default)"]


def test_a_table_for_each_thing_varied(found: dict[str, Table]) -> None:
    assert list(named(found)) == [
        "Seeds",
        "Masks, one encoder",
        "Pairs of encoders",
        "Number of masked joints",
        "Share of the labels",
        "Tokens of the feature alignment",
        "Temperature of distillation",
    ]


def test_the_own_value_stands_among_the_varied_ones_in_order(found: dict[str, Table]) -> None:
    table = named(found)["Number of masked joints"]
    assert [line.cells[0] for line in table.lines] == ["7", "9 (default)", "10"]
    column = table.header.index("lowdeg_highmot linear")
    assert [line.cells[column] for line in table.lines] == [
        "60.0 ± 2.5",
        "55.0 ± 2.5",
        "60.0 ± 2.5",
    ]
    assert table.lines[0].cells[table.header.index("highdeg_lowmot standardised")] == "70.0 ± 2.5"
    assert table.lines[0].cells[table.header.index("aligned_probed")] == "60.0 ± 2.5"


def test_the_own_value_is_that_of_the_benchmark(tmp_path: Path) -> None:
    content = params(pretrain=["mask.joints=7"], fuse=["fuse.alignment.shared_output=false"])
    content["defaults"] |= {"mask.joints": 8, "fuse.alignment.shared_output": True}
    made = named(tables_of(content, lay(tmp_path, content, right)))
    assert [line.cells[0] for line in made["Number of masked joints"].lines] == ["7", "8 (default)"]
    output = made["One output layer of the feature alignment, or two"]
    assert {line.cells[0] for line in output.lines} == {"true (default)", "false"}


def test_words_stand_in_the_order_of_the_list(found: dict[str, Table]) -> None:
    masks = [line.cells[0] for line in named(found)["Masks, one encoder"].lines]
    assert masks == params()["ablations"]["masks"]
    assert [line.cells[0] for line in named(found)["Tokens of the feature alignment"].lines] == [
        "time (default)",
        "pooled",
    ]


def test_draws_of_labels_are_lines_of_their_share(tmp_path: Path) -> None:
    content = params(
        labels=["finetune.labels=0.1+finetune.draw=1", "finetune.labels=0.1+finetune.draw=2"]
    )
    table = named(tables_of(content, lay(tmp_path, content, right)))["Share of the labels"]
    # the draws of one share and encoder are one line: their mean over draws and seeds
    assert [line.cells[0] for line in table.lines] == ["0.1", "1.0 (default)"]


def test_draws_of_labels_are_averaged_within_their_seed(tmp_path: Path) -> None:
    def drawn(seeds: list[int]) -> Any:
        labels = [f"finetune.labels=0.1+finetune.draw={n}" for n in (1, 2)]
        content = params(seeds=seeds, labels=labels)

        def right(one: Expected, mode: str) -> np.ndarray:
            return share(10 * one.says["seed"] + 4 * (one.columns["draw"] == "2"))

        runs = lay(tmp_path / str(len(seeds)), content, right)
        table = named(tables_of(content, runs))["Share of the labels"]
        how = "averaged within a seed" if len(seeds) > 1 else "which the deviation is over"
        assert table.caption.endswith(f" 2 draws of the labels, {how}.")
        lines = statistics.lines(collect(content, runs))
        return next(lines[lines.change == "finetune.labels=0.1"].itertuples())

    several, single = drawn([1, 2, 3]), drawn([1])
    assert (several.mean, several.deviation) == (55.0, 25.0)
    assert single.mean == 30.0 and single.deviation == pytest.approx(np.std([25.0, 35.0], ddof=1))


def test_the_published_figures_stand_below_ours_on_the_papers_benchmarks(tmp_path: Path) -> None:
    content = params(benchmarks=["ntu60_xsub"])
    masks = named(tables_of(content, lay(tmp_path, content, right)))["Masks, one encoder"]
    lines = {line.cells[0]: line.cells for line in masks.lines}
    assert lines["lowdeg_highmot, published"][masks.header.index("linear")] == "75.84"
    assert lines["lowdeg_highmot, published"][masks.header.index("standardised")] == "–"
    assert "random, published" not in lines


def of_the_paper(tmp_path: Path, **changed: list[str]) -> dict[str, Table]:
    """Three streams of one of the paper's benchmarks."""
    content = params(benchmarks=["ntu60_xview"], streams=["joint", "motion", "bone"], **changed)
    content["distill"] = {"teachers": ["pretrain", "finetune"]}
    content["defaults"] |= {
        "encoder.backbone": "stgcn",
        "distill.form": "logits",
        "distill.temperature": 9.0,
    }
    return named(tables_of(content, lay(tmp_path, content, right)))


def cells(table: Table, name: str, column: str) -> str:
    place = table.header.index(column)
    return next(line.cells[place] for line in table.lines if line.cells[0] == name)


def test_a_published_figure_stands_beside_the_encoder_the_mode_and_the_stream_it_is_of(
    tmp_path: Path,
) -> None:
    gin = ["encoder.backbone=gin"]
    made = of_the_paper(tmp_path, pretrain=gin, finetune=gin)
    backbones = made["Backbones"]
    assert "stream joint" in backbones.caption
    own = {c: cells(backbones, "gin, published", c) for c in backbones.header[1:]}
    assert own["lowdeg_highmot linear"] == "81.34" and own["lowdeg_highmot finetuned"] == "91.05"
    others = ("highdeg_lowmot linear", "highdeg_lowmot finetuned", "aligned_probed")
    assert {own[column] for column in others} == {"–"}
    default = "stgcn (default), published"
    assert cells(backbones, default, "lowdeg_highmot finetuned") == "91.53"
    assert "stream joint" in made["Masks, one encoder"].caption
    assert "stream 3s" in made["Pairs of encoders"].caption


def test_students_stand_beside_the_published_ones_of_the_fine_tuned_teacher(tmp_path: Path) -> None:
    temperatures = ["distill.temperature=4.0", "distill.temperature=9.0", "distill.temperature=12"]
    made = of_the_paper(tmp_path, distill=["distill.form=features", *temperatures])
    forms = made["What is distilled"]
    assert "stream bone" in forms.caption
    assert forms.header[1:] == ["student of pretrain", "student of finetune"]
    names = ("features", "logits (default)")
    told = {name: cells(forms, f"{name}, published", "student of finetune") for name in names}
    assert told == {"features": "89.0", "logits (default)": "90.75"}
    assert cells(forms, "features, published", "student of pretrain") == "–"
    lines = [line.cells[0] for line in made["Temperature of distillation"].lines]
    assert lines == ["4.0", "9.0 (default)", "9.0 (default), published", "12"]


def test_the_seeds_of_all_streams_stand_beside_the_published_mean_and_deviation(
    tmp_path: Path,
) -> None:
    made = of_the_paper(tmp_path)
    told = [line.cells for line in made["Seeds"].lines if line.by == "published"]
    assert told == [
        [
            "lowdeg_highmot + highdeg_lowmot, published",
            "aligned_probed",
            "92.00 ± 0.10",
            "–",
            "–",
            "–",
        ],
        [
            "lowdeg_highmot + highdeg_lowmot, published",
            "aligned_finetuned",
            "96.75 ± 0.16",
            "–",
            "–",
            "–",
        ],
    ]


def test_every_number_of_a_seed_is_in_the_json(tmp_path: Path) -> None:
    found = collect(params(), lay(tmp_path, params(), right))
    listed = json.loads(tables.as_json(found))
    assert len(listed) == len(found)
    change = "fuse.alignment.tokens=pooled"
    own = [r for r in listed if r["change"] == change and r["mode"] == "aligned_probed"]
    assert [(r["seed"], r["accuracy"]) for r in own] == [(1, 57.5), (2, 60.0), (3, 62.5)]
    assert {r["demonstration"] for r in own} == {True}


def test_the_text_says_where_it_is_from_and_that_it_is_a_demonstration(
    found: dict[str, Table],
) -> None:
    about = {"title": "Ablations", "note": "Demonstration.", "origin": "Made by `make ablations`."}
    text = tables.text("tables.md.j2", **about, tables=found.values())
    assert text.startswith("# Ablations\n\n**Demonstration.**\n\nMade by `make ablations`.\n\n## ")
    assert text.count("(demonstration)") == 7


def test_numbers_are_drawn_as_lines_and_words_as_bars(found: dict[str, Table]) -> None:
    temperature = figures.ablation(found["distill.temperature_demo_xsub"]).axes[0]
    data_line = temperature.containers[0][0]
    assert data_line.get_xdata().tolist() == [4.0, 8.0]
    assert data_line.get_ydata().tolist() == [60.0, 55.0]
    bars = figures.ablation(found["fuse.alignment.tokens_demo_xsub"]).axes[0].containers
    patches = [patch for container in bars for patch in getattr(container, "patches", [])]
    assert any(patch.get_width() == 60.0 for patch in patches)
