from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from asma.plan import DEFAULT
from budgets import __main__ as budgets

ROOT = Path(__file__).resolve().parents[2]
GRIDS = yaml.safe_load((ROOT / "budgets" / "grid.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("budget", GRIDS)
def test_every_line_of_the_grid_is_a_run_of_its_own(budget: str) -> None:
    seen = list(budgets.trials(budget, GRIDS[budget]))
    assert len({trial.folder for trial in seen}) == len(seen)
    for trial in seen:
        trained, judged = trial.plans
        assert judged.reads["pretrained"] == trained.out == f"{trial.folder}/pretrained"
        assert judged.settings["streams"] == [GRIDS[budget]["stream"]]


@pytest.mark.parametrize("budget", GRIDS)
def test_who_judges_is_of_the_training_part(budget: str) -> None:
    for benchmark in GRIDS[budget]["benchmarks"]:
        dataset = budgets.runs().dataset_of(benchmark)
        known = budgets.runs().project.dataset(dataset)
        own, whole = known.splits[benchmark.removeprefix(f"{dataset}_")], known.splits["xsub"]
        assert known.budget == budget
        assert own.test and not set(own.train) & set(own.test)
        assert {*own.train, *own.test} <= set(whole.train)


def test_a_trial_is_named_by_what_it_stands_on() -> None:
    trial = next(iter(budgets.trials("small", GRIDS["small"])))
    assert trial.line == budgets.UNTRAINED and trial.recipe == "random+seed=1+streams=joint"
    others = [
        replace(trial, line="probe.epochs=3"),
        replace(trial, seed=2),
        replace(trial, stream="bone"),
    ]
    assert len({trial.folder, *(other.folder for other in others)}) == 4


def test_the_page_has_a_row_a_line_and_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "RUNS", tmp_path)
    grid = {
        **GRIDS["small"],
        "benchmarks": ["utd_mhad_validation1"],
        "seeds": [1, 2],
        "finetune": [],
    }
    for trial in budgets.trials("small", grid):
        accuracy = 10.0 * trial.seed + (trial.line == DEFAULT)
        (trial.folder / "pretrained" / "joint").mkdir(parents=True)
        (trial.folder / "joint").mkdir()
        row = {"mode": "linear", "accuracy": accuracy}
        for folder, told in (
            (trial.folder / "joint" / "metrics.json", {"results": [row]}),
            (
                trial.folder / "pretrained" / "joint" / "metrics.json",
                {"curves": {"barlow_twins": [9.0, 7.0]}},
            ),
            (trial.folder / "trial.json", {"seconds": 90, "processor": "a processor"}),
        ):
            folder.write_text(json.dumps(told))
    page = budgets.page({"small": grid})
    assert "| **chosen** " in page and "| 16.0 ± 7.1 | 7.0 ± 0.0 | 2" in page.replace("  ", " ")
    assert "subject 1, 3, 5 and is judged on subject 7" in page and "a processor" in page
    chosen = page.split("Chosen: [")[1].split("]")[0]
    values = yaml.safe_load((ROOT / chosen).read_text(encoding="utf-8"))
    assert values["finetune"]["batch_size"] == 16


def test_a_stage_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gone.json: not found"):
        budgets.stage("split", tmp_path / "gone.json")
