from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asma.report import ablation_tables, ablations
from asma.report.ablations import Ablation
from asma.report.collect import ReportError
from tests.report.grid import N, lay, params, share


def by_seed(ablation: Ablation, mode: str, stream: str, seed: int) -> np.ndarray:
    return share(10 * seed)


def test_a_row_has_the_accuracy_of_every_seed_its_mean_and_deviation(tmp_path: Path) -> None:
    found = ablations.collect(params(), lay(tmp_path, params(), by_seed))
    row = found.get(Ablation("probe", ("lowdeg_highmot",), change=None), "linear", "demo_xsub")
    assert row is not None
    assert row.accuracy == {"1": 25.0, "2": 50.0, "3": 75.0}
    assert (row.mean, row.deviation) == (50.0, 25.0)
    assert row.names == tuple(f"r{i:02d}" for i in range(N))
    assert row.right["1"].tolist() == share(10).tolist()
    assert found.demonstrations == {"demo_xsub"}


def test_a_row_of_one_seed_has_no_deviation(tmp_path: Path) -> None:
    content = params(seeds=[2])
    found = ablations.collect(content, lay(tmp_path, content, by_seed))
    assert {row.deviation for row in found.rows} == {None}


def test_several_streams_are_also_added_up(tmp_path: Path) -> None:
    # joint and motion are right about different halves, bone about all: 0.6 + 0.6 against 0.4, 0.6 + 0.4 against 0.6
    rights = {"joint": share(20), "bone": share(N), "motion": ~share(20)}
    content = params(streams=["joint", "bone", "motion"])
    found = ablations.collect(content, lay(tmp_path, content, lambda a, mode, stream, seed: rights[stream]))
    line = Ablation("fuse", ("pretrain", "lowdeg_highmot", "highdeg_lowmot"))
    rows = [found.get(line, "aligned_probed", "demo_xsub", s) for s in ("joint", "bone", "motion", "3s")]
    assert [row.mean for row in rows if row] == [50.0, 100.0, 50.0, 100.0]
    assert [row.params for row in rows if row] == [100, 100, 100, 300]
    assert found.stream == "3s"


def test_all_missing_runs_are_named_at_once(tmp_path: Path) -> None:
    folders = lay(tmp_path, params(), by_seed)
    line = Ablation("fuse", ("pretrain", "lowdeg_highmot", "highdeg_lowmot"))
    gone = [Path(folders[ablations.key(line, "demo_xsub", seed)], "joint") for seed in (1, 3)]
    for folder in gone:
        (folder / "metrics.json").unlink()
    with pytest.raises(ReportError, match=r"2 of \d+ ablations are missing") as caught:
        ablations.collect(params(), folders)
    assert all(f"  {folder}" in str(caught.value) for folder in gone)


def test_a_run_is_found_in_mlflow_by_its_recipe(tmp_path: Path) -> None:
    found = ablations.collect(params(), lay(tmp_path, params(), by_seed))
    searches = {run.search for row in found.rows if row.ablation.stage == "fuse" for run in row.runs}
    lines = {row.ablation for row in found.rows if row.ablation.stage == "fuse"}
    assert len(searches) == 3 * len(lines)
    recipe = "asma_pretrain+fuse.first=lowdeg_highmot+fuse.second=lowdeg_highmot_2+seed=1"
    assert f"tags.stage = 'fuse' and tags.recipe = '{recipe}' and tags.benchmark = 'demo_xsub'" in searches


def test_rows_that_miss_a_run_can_be_left_out(tmp_path: Path) -> None:
    content = params(streams=["joint", "bone"])
    runs = lay(tmp_path, content, by_seed)
    line = Ablation("probe", ("lowdeg_highmot",), change=None)
    Path(runs[ablations.key(line, "demo_xsub", 2)], "bone", "metrics.json").unlink()
    found = ablations.collect(content, runs, "leave_out")
    rows = {row.stream for row in found.rows if row.ablation == line}
    whole = {row.stream for row in found.rows if row.ablation.who == ("highdeg_lowmot",)}
    assert (rows, whole, found.missing) == ({"joint"}, {"joint", "bone", "2s"}, 1)
    assert "runs still missing, with the rows that need them: 1." in ablation_tables.made_by(found, content)
    with pytest.raises(ReportError, match="missing: found 'skip', expected error or leave_out"):
        ablations.collect(content, runs, "skip")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": [{"first": "lowdeg_highmot"}]}, r"ablations.yaml: pairs\[0\]: found .* expected first and second"),
        (
            {"pairs": [{"first": "lowdeg_highmot", "second": "lowdeg_lowmot"}]},
            "ablations.yaml: masks: found no 'lowdeg_lowmot', which a pair needs",
        ),
        ({"finetune": ["encoder.width=32"]}, "ablations.yaml: pretrain: found no 'encoder.width=32'"),
        ({"masks": ["lowdeg_highmot", "highdeg_lowmot", "lowdeg_highmot_2"]}, "found no 'random'"),
        ({"labels": None}, "ablations.yaml: labels: found None, expected a list"),
    ],
)
def test_lists_that_do_not_fit_each_other_are_an_error(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        ablations.grid(params(**changed))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pretrain", "motion.measure=squared"),
        ("pretrain", "prepare.frames=64"),
        ("pretrain", "probe.epochs=3"),
        ("pretrain", "mask.joints=7+distill.layers=3"),
        ("fuse", "fuse.fit.finetune.epochs=3"),
        ("pretrain", "seed=4"),
        ("labels", "mask.joints=7"),
        ("fuse", "fuse.first=random"),
        ("distill", "encoder.width=32"),
    ],
)
def test_a_line_that_would_change_nothing_is_refused_before_it_is_run(name: str, line: str) -> None:
    word = line.split("+")[-1]
    with pytest.raises(
        ReportError, match=rf"ablations\.yaml: {name}: found '{word}', which changes nothing there; expected"
    ):
        ablations.grid(params(**{name: [line]}))


def test_motion_may_be_varied_where_views_measure_it_themselves() -> None:
    ablations.grid(params(pretrain=["mask.score=view+motion.measure=squared"]))
    ablations.grid(params(pretrain=["mask.joints=7+probe.epochs=3+finetune.epochs=2"]))
    content = params(pretrain=["motion.measure=squared"])
    content["mask"]["score"] = "view"
    ablations.grid(content)


def test_the_loss_each_pretraining_ended_with_is_read(tmp_path: Path) -> None:
    content = params(seeds=[1, 2])
    folders = {}
    for encoder, seed in itertools.product(content["ablations"]["masks"], (1, 2)):
        line = Ablation("pretrain", (encoder,), change=None)
        folders[ablations.key(line, "demo_xsub", seed)] = str(tmp_path / f"{encoder}+seed={seed}")
    for encoder, curve in (("lowdeg_highmot", [9.0, 7.5]), ("highdeg_lowmot", [])):
        folder = tmp_path / f"{encoder}+seed=2" / "joint"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"curves": {"barlow_twins": curve} if curve else {}}))
    assert ablations.losses(content, folders) == {("lowdeg_highmot", "demo_xsub", "joint"): [None, 7.5]}


def test_what_was_changed_is_told_by_key() -> None:
    line = Ablation("finetune", ("random",), "mask.joints=7", "finetune.labels=0.1+finetune.draw=2")
    assert line.changes == {"mask.joints": "7", "finetune.labels": "0.1", "finetune.draw": "2"}
    assert Ablation("distill", ("pretrain",), None).changes == {}
