from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asma.report import ablation_tables, ablations
from asma.report.ablations import Ablation, Found, Row
from asma.report.tables import Table
from tests.report.grid import lay, params, share


def right(ablation: Ablation, mode: str, stream: str, seed: int) -> np.ndarray:
    """20 of 40; one more for each seed, two for a changed one, four for `standardised`."""
    return share(20 + seed + 2 * bool(ablation.changes) + 4 * (mode == "standardised"))


@pytest.fixture
def found(tmp_path: Path) -> Found:
    return ablations.collect(params(), lay(tmp_path, params(), right))


def named(found: Found) -> dict[str, Table]:
    return {
        table.title.split(" (the paper")[0].split(":")[0]: table
        for table in ablation_tables.all_tables(found, params())
    }


def test_a_table_for_each_thing_varied(found: Found) -> None:
    assert list(named(found)) == [
        "Seeds",
        "Masks, one encoder",
        "Pairs of encoders",
        "Number of masked joints",
        "Share of the labels",
        "Tokens of the feature alignment",
        "Temperature of distillation",
    ]


def test_the_own_value_stands_among_the_varied_ones_in_order(found: Found) -> None:
    table = named(found)["Number of masked joints"]
    assert [line.cells[0] for line in table.lines] == ["7", "9 (default)", "10"]
    column = table.header.index("lowdeg_highmot linear")
    assert [line.cells[column] for line in table.lines] == ["60.0 ± 2.5", "55.0 ± 2.5", "60.0 ± 2.5"]
    assert table.lines[0].cells[table.header.index("highdeg_lowmot standardised")] == "70.0 ± 2.5"
    assert table.lines[0].cells[table.header.index("aligned_probed")] == "60.0 ± 2.5"


def test_the_own_value_is_that_of_the_benchmarks_budget(tmp_path: Path) -> None:
    content = params(pretrain=["mask.joints=7"])
    content["values"] = {"demo_xsub": {**content["values"]["demo_xsub"], "mask": {"joints": 8}}}
    found = ablations.collect(content, lay(tmp_path, content, right))
    tables = ablation_tables.all_tables(found, content)
    table = next(t for t in tables if t.title.startswith("Number of masked joints"))
    assert [line.cells[0] for line in table.lines] == ["7", "8 (default)"]


def test_words_stand_in_the_order_of_the_list(found: Found) -> None:
    assert [line.cells[0] for line in named(found)["Masks, one encoder"].lines] == params()["ablations"]["masks"]
    assert [line.cells[0] for line in named(found)["Tokens of the feature alignment"].lines] == [
        "time (default)",
        "pooled",
    ]


def test_draws_of_labels_are_lines_of_their_share(tmp_path: Path) -> None:
    content = params(labels=["finetune.labels=0.1+finetune.draw=1", "finetune.labels=0.1+finetune.draw=2"])
    found = ablations.collect(content, lay(tmp_path, content, right))
    table = next(t for t in ablation_tables.all_tables(found, content) if t.title.startswith("Share"))
    # the draws of one share and encoder are one line: their mean over draws and seeds
    assert [line.cells[0] for line in table.lines] == ["0.1", "1.0 (default)"]


def test_draws_of_labels_are_averaged_within_their_seed(tmp_path: Path) -> None:
    def drawn(seeds: list[int]) -> Row:
        content = params(seeds=seeds, labels=[f"finetune.labels=0.1+finetune.draw={n}" for n in (1, 2)])
        runs = lay(
            tmp_path / str(len(seeds)),
            content,
            lambda line, mode, stream, seed: share(10 * seed + 4 * ("draw=2" in str(line.change))),
        )
        found = ablations.collect(content, runs)
        table = named(found)["Share of the labels"]
        assert f"2 draws of the labels, {'averaged' if len(seeds) > 1 else 'which the deviation'}" in table.caption
        return next(row for row in found.rows if row.ablation.changes == {"finetune.labels": "0.1"})

    several, single = drawn([1, 2, 3]), drawn([1])
    assert (several.mean, several.deviation) == (55.0, 25.0)
    assert single.mean == 30.0 and single.deviation == pytest.approx(np.std([25.0, 35.0], ddof=1))


def test_the_published_figures_stand_below_ours_on_the_papers_benchmarks(tmp_path: Path) -> None:
    content = params(benchmarks=["ntu60_xsub"])
    found = ablations.collect(content, lay(tmp_path, content, right))
    masks = next(t for t in ablation_tables.all_tables(found, content) if t.title.startswith("Masks"))
    lines = {line.cells[0]: line.cells for line in masks.lines}
    assert lines["lowdeg_highmot, published"][masks.header.index("linear")] == "75.84"
    assert lines["lowdeg_highmot, published"][masks.header.index("standardised")] == "–"
    assert "random, published" not in lines


def of_the_paper(tmp_path: Path, **changed: list[str]) -> tuple[Found, dict[str, Table]]:
    """Three streams of one of the paper's benchmarks."""
    content = params(benchmarks=["ntu60_xview"], streams=["joint", "motion", "bone"], **changed)
    values = content["values"]["ntu60_xview"]
    content["encoder"] = values["encoder"] = {"backbone": "stgcn"}
    content["distill"] |= {"teachers": ["pretrain", "finetune"], "form": "logits"}
    content["distill"]["temperatures"]["ntu60_xview"] = 9.0
    found = ablations.collect(content, lay(tmp_path, content, right))
    made = ablation_tables.all_tables(found, content)
    return found, {table.title.split(" (the paper")[0].split(":")[0]: table for table in made}


def cells(table: Table, name: str, column: str) -> str:
    return next(line.cells[table.header.index(column)] for line in table.lines if line.cells[0] == name)


def test_a_published_figure_stands_beside_the_encoder_the_mode_and_the_stream_it_is_of(tmp_path: Path) -> None:
    _, made = of_the_paper(tmp_path, pretrain=["encoder.backbone=gin"], finetune=["encoder.backbone=gin"])
    backbones = made["Backbones"]
    assert "stream joint" in backbones.caption
    own = {c: cells(backbones, "gin, published", c) for c in backbones.header[1:]}
    assert own["lowdeg_highmot linear"] == "81.34" and own["lowdeg_highmot finetuned"] == "91.05"
    assert {own["highdeg_lowmot linear"], own["highdeg_lowmot finetuned"], own["aligned_probed"]} == {"–"}
    assert cells(backbones, "stgcn (default), published", "lowdeg_highmot finetuned") == "91.53"
    assert "stream joint" in made["Masks, one encoder"].caption
    assert "stream 3s" in made["Pairs of encoders"].caption


def test_students_stand_beside_the_published_ones_of_the_fine_tuned_teacher(tmp_path: Path) -> None:
    temperatures = ["distill.temperature=4.0", "distill.temperature=9.0", "distill.temperature=12"]
    _, made = of_the_paper(tmp_path, distill=["distill.form=features", *temperatures])
    forms = made["What is distilled"]
    assert "stream bone" in forms.caption and forms.header[1:] == ["student of pretrain", "student of finetune"]
    told = {
        name: cells(forms, f"{name}, published", "student of finetune") for name in ("features", "logits (default)")
    }
    assert told == {"features": "89.0", "logits (default)": "90.75"}
    assert cells(forms, "features, published", "student of pretrain") == "–"
    lines = [line.cells[0] for line in made["Temperature of distillation"].lines]
    assert lines == ["4.0", "9.0 (default)", "9.0 (default), published", "12"]


def test_the_seeds_of_all_streams_stand_beside_the_published_mean_and_deviation(tmp_path: Path) -> None:
    _, made = of_the_paper(tmp_path)
    told = [line.cells for line in made["Seeds"].lines if line.by == "published"]
    assert told == [
        ["lowdeg_highmot + highdeg_lowmot, published", "aligned_probed", "92.00 ± 0.10", "–", "–", "–"],
        ["lowdeg_highmot + highdeg_lowmot, published", "aligned_finetuned", "96.75 ± 0.16", "–", "–", "–"],
    ]


def test_every_number_of_a_seed_is_in_the_json(found: Found) -> None:
    rows = json.loads(ablation_tables.as_json(found))
    assert len(rows) == len(found.rows)
    one = next(r for r in rows if r["stage"] == "fuse" and r["changes"] == {"fuse.alignment.tokens": "pooled"})
    assert one["accuracy"] == {"1": 57.5, "2": 60.0, "3": 62.5}
    assert (one["mean"], one["demonstration"]) == (60.0, True)


def test_the_text_says_how_long_was_trained_and_that_it_is_a_demonstration(found: Found) -> None:
    how = ablation_tables.made_by(found, params())
    text = ablation_tables.markdown("Ablations", ablation_tables.all_tables(found, params()), "Demonstration.", how)
    assert "demo_xsub by the budget `paper`" in text
    assert "seeds: 1, 2, 3" in text
    assert "**Demonstration.**" in text
    assert text.count("(demonstration)") == 7


def test_numbers_are_drawn_as_lines_and_words_as_bars(found: Found) -> None:
    drawn = ablation_tables.figures(found, params())
    assert set(drawn) == {
        f"ablation_{key}_demo_xsub"
        for key in (
            "masks",
            "pairs",
            "mask.joints",
            "finetune.labels",
            "fuse.alignment.tokens",
            "distill.temperature",
        )
    }
    temperature = drawn["ablation_distill.temperature_demo_xsub"].axes[0]
    data_line = temperature.containers[0][0]
    assert data_line.get_xdata().tolist() == [4.0, 8.0]
    assert data_line.get_ydata().tolist() == [60.0, 55.0]
    bars = drawn["ablation_fuse.alignment.tokens_demo_xsub"].axes[0].containers
    assert any(patch.get_width() == 60.0 for container in bars for patch in getattr(container, "patches", []))
