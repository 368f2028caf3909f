from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from asma import params
from budgets import __main__ as budgets

ROOT = Path(__file__).resolve().parents[2]
GRIDS = yaml.safe_load((ROOT / "budgets" / "grid.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    yield
    params.change(params.DEFAULT)


@pytest.mark.parametrize("budget", GRIDS)
def test_every_line_of_the_grid_changes_values_that_there_are(budget: str) -> None:
    seen = list(budgets.trials(budget, GRIDS[budget]))
    assert len({trial.folder for trial in seen}) == len(seen)
    for trial in seen:
        params.change(trial.change)
        for section in ("augment", "pretrain", "finetune", "encoder", "run"):
            params.section(section, budget)


@pytest.mark.parametrize("budget", GRIDS)
def test_who_judges_is_of_the_training_part(budget: str) -> None:
    sets = params.read()["sets"]
    for benchmark in GRIDS[budget]["benchmarks"]:
        dataset, split = params.dataset_of(benchmark, list(sets))
        own, whole = sets[dataset]["splits"][split], sets[dataset]["splits"]["xsub"]
        assert sets[dataset]["budget"] == budget
        assert not set(own["train"]) & set(own["test"])
        assert {*own["train"], *own["test"]} <= set(whole["train"])


def test_a_trial_is_named_by_what_it_stands_on(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = next(iter(budgets.trials("small", GRIDS["small"])))
    assert trial.line == budgets.UNTRAINED and trial.encoder == "random" and trial.change == "seed=1"
    before = trial.folder
    params.change("finetune.epochs=3")
    assert trial.folder != before


def test_the_page_has_a_row_a_line_and_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUNS", tmp_path)
    grid = {**GRIDS["small"], "benchmarks": ["utd_mhad_validation1"], "seeds": [1, 2], "finetune": []}
    curves = {"barlow_twins": [9.0, 7.0], "barlow_twins_spatial": [5.0, 4.0]}
    for trial in budgets.trials("small", grid):
        accuracy = 10.0 * trial.seed + (trial.line == params.DEFAULT)
        (trial.folder / "pretrained").mkdir(parents=True)
        row = {"mode": "linear", "accuracy": accuracy}
        for folder, told in (
            (trial.folder / "metrics.json", {"results": [row]}),
            (trial.folder / "pretrained" / "metrics.json", {"curves": curves}),
            (trial.folder / "trial.json", {"seconds": 90, "processor": "a processor"}),
        ):
            folder.write_text(json.dumps(told))
    page = budgets.page({"small": grid})
    assert "| **chosen** " in page and "| 16.0 ± 7.1 | 7.0 ± 0.0 | 2" in page.replace("  ", " ")
    assert "subject 1, 3, 5 and is judged on subject 7" in page and "a processor" in page
    assert yaml.safe_load(page.split("```yaml")[1].split("```")[0])["finetune"]["batch_size"] == 16


def test_a_stage_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="found no 'nobody'"):
        budgets.stage("split", "--benchmark", "demo_ntu_nobody", "--clips", "a", "--motion", "b", "--out", "c")
