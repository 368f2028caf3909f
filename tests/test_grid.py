"""Which runs there are, what their plans hold, and which of them an edit changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from asma import contents, methods
from asma.grid import Grid, check
from asma.imports import Code
from asma.params import ParamsError, Project
from stages import plan as planning

ROOT = Path(__file__).resolve().parents[1]
BENCHMARK = "demo_ntu_xsub"
FEW = {  # a line of each kind
    "masks": ["random", "lowdeg_highmot", "highdeg_lowmot", "lowdeg_lowmot", "lowdeg_highmot_2"],
    "pairs": [
        {"first": "lowdeg_highmot", "second": "highdeg_lowmot"},
        {"first": "lowdeg_highmot", "second": "lowdeg_highmot_2"},
    ],
    "pretrain": ["encoder.backbone=gin", "mask.joints=9", "mask.joints=7"],
    "finetune": ["encoder.backbone=gin"],
    "labels": ["finetune.labels=0.1+finetune.draw=1"],
    "fuse": ["fuse.alignment.tokens=pooled"],
    "distill": ["distill.temperature=8.0", "distill.layers=2"],
}


def change(file: Path, **values: Any) -> None:
    yaml = YAML()
    content = yaml.load(file.read_text(encoding="utf-8"))
    for key, value in values.items():
        *parents, last = key.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(content, out)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what plans are made of, with few ablations."""
    for name in ("asma", "demo", "stages", "recipes", "datasets", "budgets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    change(tmp_path / "recipes" / "ablations.yaml", seeds=[1, 2], **FEW)
    return tmp_path


def grid(root: Path) -> Grid:
    settings = planning.project(ROOT).classes
    return Grid(Project(root), settings, Code(root))


def plans(root: Path) -> dict[str, dict[str, Any]]:
    """The content of every plan file, by its name."""
    return {f"{run.stage}/{run.name}": asdict(run) for run in planning.runs(grid(root))}


def edited(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def after(root: Path, edit: Callable[[], object]) -> set[str]:
    """The plans that an edit changes, adds or takes away."""
    before = plans(root)
    edit()
    now = plans(root)
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def test_the_runs_of_the_table_are_those_that_params_names(root: Path) -> None:
    runs = [f"{run.stage}/{run.name}" for run in grid(root).rows()]
    sets, encoders = ("demo_ntu", "demo_pku"), ("lowdeg_highmot", "highdeg_lowmot", "random")
    systems = ("asma_pretrain", "asma_finetune")
    assert sorted(runs) == sorted([
        "synthesize/all",
        *(f"{stage}/{name}" for stage in ("parse", "prepare", "motion") for name in sets),
        "split/demo_ntu_xsub", "split/demo_pku_xsub",
        *(
            f"{stage}/{name}@{BENCHMARK}"
            for stage in ("pretrain", "probe", "finetune") for name in encoders
        ),
        *(f"{stage}/{name}@{BENCHMARK}" for stage in ("fuse", "distill") for name in systems),
        f"export/asma_finetune@{BENCHMARK}", "transfer/demo_ntu_xsub_to_demo_pku_xsub",
        *(f"{stage}/{BENCHMARK}" for stage in ("baseline", "efficiency", "illustrate")),
    ])  # fmt: skip


def test_a_line_that_equals_a_row_is_that_row_and_lines_share_what_they_have_in_common(
    root: Path,
) -> None:
    lines = {f"{run.stage}/{run.recipe}": run for run in contents.lines(grid(root))}
    table = {f"{stage}/{recipe}" for stage, recipe, _ in grid(root).table}
    assert not lines.keys() & table
    assert not any(
        "mask.joints=9" in name or "temperature=8" in name or "draw=1" in name for name in lines
    )
    assert not any("seed=1" in name for name in lines)
    fused = lines["fuse/asma_pretrain+fuse.second=lowdeg_highmot_2"]
    assert fused.reads["first"] == f"runs/pretrain/lowdeg_highmot@{BENCHMARK}"  # the table's
    assert fused.reads["second"] == f"runs/ablations/pretrain/lowdeg_highmot_2@{BENCHMARK}"
    assert (
        fused.out == f"runs/ablations/fuse/asma_pretrain+fuse.second=lowdeg_highmot_2@{BENCHMARK}"
    )
    # what changes the judging alone stands on the table's encoders
    few = lines["finetune/random+finetune.labels=0.1"]
    assert few.reads["pretrained"] == f"runs/pretrain/random@{BENCHMARK}"
    student = lines["distill/asma_finetune+distill.layers=2+seed=2"]
    assert student.reads["fused"] == f"runs/ablations/fuse/asma_finetune+seed=2@{BENCHMARK}"
    assert (
        lines["fuse/asma_finetune+seed=2"]
        .reads["first"]
        .endswith(f"finetune/lowdeg_highmot+seed=2@{BENCHMARK}")
    )


def test_lines_come_after_what_they_read(root: Path) -> None:
    made = {run.out for run in grid(root).rows()}
    for run in contents.lines(grid(root)):
        assert all(path in made or path.startswith("data/") for path in run.reads.values()), (
            run.name
        )
        made.add(run.out)


def test_a_line_changes_what_it_says_and_nothing_else(root: Path) -> None:
    runs = plans(root)
    own = runs[f"pretrain/lowdeg_highmot@{BENCHMARK}"]["settings"]
    line = runs[f"pretrain/lowdeg_highmot+mask.joints=7@{BENCHMARK}"]["settings"]
    assert line == {**own, "mask": {**own["mask"], "joints": 7}}
    second = runs[f"pretrain/lowdeg_highmot_2+seed=2@{BENCHMARK}"]["settings"]
    assert second == {**own, "seed": 2, "mask": {**own["mask"], "strategy": "lowdeg_highmot_2"}}


def test_streams_of_the_ablations_that_are_not_the_tables_are_runs_of_their_own(root: Path) -> None:
    change(root / "params.yaml", streams=["joint", "bone"])
    change(root / "recipes" / "ablations.yaml", streams=["joint"])
    runs = {f"{run.stage}/{run.recipe}": run for run in contents.lines(grid(root))}
    assert runs["pretrain/lowdeg_highmot+streams=joint"].settings["streams"] == ["joint"]


def test_the_plan_of_a_run_has_its_own_method_backbone_and_layout(root: Path) -> None:
    runs = plans(root)
    code = {name: set(run["code"]) for name, run in runs.items()}
    trained, untrained = (
        code[f"pretrain/{name}@{BENCHMARK}"] for name in ("lowdeg_highmot", "random")
    )
    assert trained - untrained == {"asma/methods/asma.py", "asma/losses.py"}
    assert untrained - trained == {"asma/methods/untrained.py"}
    gin = code[f"probe/lowdeg_highmot+encoder.backbone=gin@{BENCHMARK}"]
    assert "asma/backbones/gin.py" in gin and "asma/backbones/stgcn.py" not in gin
    assert {"asma/layouts/kinect_v2.yaml"} == {f for f in trained if f.startswith("asma/layouts")}
    assert not {file for files in code.values() for file in files} & {
        "asma/plan.py",
        "asma/tracking.py",
    }
    assert not any(file.startswith("asma/report/") for name, files in code.items() for file in files
                   if not name.startswith(("table/", "ablations/")))  # fmt: skip


def test_a_method_that_is_not_there_is_named_by_its_file(root: Path) -> None:
    change(root / "recipes" / "random.yaml", pretrain__method="moco")
    said = r"^recipes/random\.yaml: pretrain\.method: found 'moco', expected one of asma"
    with pytest.raises(ParamsError, match=said):
        list(planning.runs(grid(root)))


@pytest.mark.parametrize("name", ["threads", "device", "compile", "deterministic"])
def test_what_changes_no_result_changes_no_plan(root: Path, name: str) -> None:
    value = {"threads": 3, "device": "cpu", "compile": "off", "deterministic": False}[name]
    assert after(root, lambda: change(root / "params.yaml", **{f"run__{name}": value})) == set()


def test_an_edit_of_a_method_changes_its_own_pretrainings(root: Path) -> None:
    def edit() -> None:
        edited(root / "asma/methods/asma.py", '"spatial": losses', '"spatial": 2 * losses')

    changed = after(root, edit)
    expected = {
        n for n, run in plans(root).items() if n.startswith("pretrain/") and run["like"] != "random"
    }
    assert changed == expected and f"pretrain/lowdeg_highmot@{BENCHMARK}" in changed
    assert after(
        root, lambda: edited(root / "asma/methods/untrained.py", "PASSES = 3", "PASSES = 4")
    ) == {
        n for n, run in plans(root).items() if n.startswith("pretrain/") and run["like"] == "random"
    }


def test_an_edit_of_a_backbone_changes_the_runs_that_have_it(root: Path) -> None:
    gin = {name for name in plans(root) if "encoder.backbone=gin" in name}
    assert {name.partition("/")[0] for name in gin} == {"pretrain", "probe", "finetune", "fuse"}
    before, after_it = "super().__init__()", "super(Isomorphism, self).__init__()"
    changed = after(root, lambda: edited(root / "asma/backbones/gin.py", before, after_it))
    # what folds networks for a device knows the operators of all of them
    assert changed == {*gin, f"export/asma_finetune@{BENCHMARK}"}


def test_an_edit_of_the_report_changes_the_table_and_the_ablations_alone(root: Path) -> None:
    changed = after(root, lambda: (root / "asma/report/page.css").write_text("body {}"))
    assert changed == {"table/all", "ablations/all"}


def test_an_edit_of_a_data_set_changes_its_own_runs(root: Path) -> None:
    changed = after(root, lambda: change(root / "datasets" / "demo_pku.yaml", person="subject"))
    assert changed == {
        "parse/demo_pku",
        "prepare/demo_pku",
        "motion/demo_pku",
        "split/demo_pku_xsub",
    } - {
        "motion/demo_pku"  # which reads nothing of the set
    }
    split = after(
        root, lambda: change(root / "datasets" / "demo_ntu.yaml", splits__xsub__train=[1, 2])
    )
    assert split == {"split/demo_ntu_xsub"}
    assert after(root, lambda: change(root / "datasets" / "pku1.yaml", bodies=1)) == set()


def test_an_edit_of_a_docstring_or_a_comment_changes_nothing(root: Path) -> None:
    def edit() -> None:
        edited(
            root / "asma/methods/asma.py",
            '"""L1 and L2 of Eq. 8',
            '"""Both losses, L1 and L2 of Eq. 8',
        )
        edited(
            root / "asma/protocols/finetuned.py", "from __future__", "# a comment\nfrom __future__"
        )

    assert after(root, edit) == set()


def test_a_new_method_changes_nothing_until_a_recipe_uses_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = methods.find

    def add() -> None:
        toy = "from asma.methods.untrained import Untrained\n\n\nclass Toy(Untrained):\n    pass\n"
        (root / "asma/methods/toy.py").write_text(toy)
        word = '"untrained": "asma.methods.untrained:Untrained",'
        edited(root / "asma/methods/__init__.py", word, f'{word}\n    "toy": "tests.toy:Toy",')
        (root / "recipes/toy.yaml").write_text("name: Toy\npretrain: {method: toy}\n")
        monkeypatch.setitem(methods.METHODS, "toy", "asma.methods.toy:Toy")
        monkeypatch.setattr(
            methods, "find", lambda name: find("untrained" if name == "toy" else name)
        )

    assert after(root, add) == set()
    encoders = ["lowdeg_highmot", "highdeg_lowmot", "random", "toy"]
    changed = after(root, lambda: change(root / "params.yaml", encoders=encoders))
    own = {f"{stage}/toy@{BENCHMARK}" for stage in ("pretrain", "probe", "finetune")}
    assert changed == {*own, "table/all", f"illustrate/{BENCHMARK}"}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("mask__joints", 8, {"pretrain", "illustrate", "ablations"}),
        ("finetune__labels", 0.5, {"finetune", "fuse", "transfer", "ablations"}),
        ("baseline__alpha", 2.0, {"baseline"}),
        ("probe__epochs", 3, {"probe", "fuse", "ablations"}),
    ],
)
def test_a_value_changes_the_stages_that_read_it(
    root: Path, key: str, value: Any, stages: set[str]
) -> None:
    # the ablations say the values they vary and the epochs; a line named by this key has another
    # name now
    changed = after(root, lambda: change(root / "params.yaml", **{key: value}))
    word = key.replace("__", ".")
    assert {name.partition("/")[0] for name in changed if word not in name} == stages


def test_a_recipe_is_changed_alone(root: Path) -> None:
    file = root / "recipes" / "random.yaml"
    changed = after(root, lambda: change(file, probe={"epochs": 7}))
    assert {name for name in changed if not name.startswith("ablations/")} == {
        name for name in plans(root) if name.startswith("probe/random")
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"benchmarks": ["demo_ntu_xsb"]},
            "benchmarks: found 'demo_ntu_xsb', expected 'demo_ntu_xsub'",
        ),
        ({"splits__demo_ntu_xsub": "demo"}, "splits.demo_ntu_xsub: found 'demo', expected"),
        (
            {"encoders": ["lowdeg_highmot", "random"]},
            "encoders: found .*, expected 'highdeg_lowmot' among them",
        ),
        (
            {"encoders": ["lowdeg_highmot", "highdeg_lowmot", "randm"]},
            "recipe 'randm': expected 'random'",
        ),
        ({"distill__teachers": ["frozen"]}, r"distill\.teachers: found 'frozen', expected"),
        ({"export__teachers": ["frozen"]}, r"export\.teachers: found 'frozen', expected"),
        ({"export__streams": ["bone"]}, r"export\.streams: found 'bone', expected joint"),
        ({"seed": -1}, "seed: found -1, expected an integer of 0 or more"),
        (
            {"transfers": {"x": {"source": "demo_ntu_xsub"}}},
            r"transfers\.x: found .*, expected a source and a target",
        ),
        ({"encoder__backbone": "stgn"}, r"encoder\.backbone: found 'stgn', expected one of stgcn"),
        ({"mask__jointz": 3}, r"params\.yaml: mask: unknown key 'jointz'; expected 'joints'"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_runs(
    root: Path, values: dict[str, Any], said: str
) -> None:
    change(root / "params.yaml", **values)
    with pytest.raises(ParamsError, match=said):
        made = grid(root)
        check(made)
        list(planning.runs(made))
