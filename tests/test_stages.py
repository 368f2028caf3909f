"""The pipeline as it is written: names, dependencies, parameters, style. Nothing is run."""

from __future__ import annotations

import ast
import gc
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

import stages
from asma.imports import Code

ROOT = Path(__file__).resolve().parents[1]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = sorted(name for name in PIPELINE if not name.endswith("_lines"))
LINES = sorted(name for name in PIPELINE if name.endswith("_lines"))

# Stages without a section of their own in params.yaml, and where the rest of what they leave lies.
SECTIONLESS = {"plan", "split", "efficiency", "table", "ablations"}
ELSEWHERE = {
    "plan": {"plan"},
    "synthesize": {"data/raw"},
    "parse": {"data/recordings"},
    "prepare": {"data/clips"},
    "motion": {"data/motion"},
    "split": {"data/benchmarks"},
    "table": {"report"},
    "ablations": {"report"},
}
# What a room may import, from the bottom up: a room may name only rooms above it in this list.
ROOMS = {
    "skeleton": "",
    "progress": "",
    "plan": "",
    "ablations": "plan",
    "imports": "",
    "cli": "plan",
    "streamed": "",
    "record": "",
    "mlflow_store": "",
    "registry": "mlflow_store",
    "tracking": "record mlflow_store",
    "losses": "",
    "evaluation": "",
    "efficiency": "",
    "report": "plan evaluation",
    "streams": "skeleton",
    "augment": "skeleton",
    "masking": "skeleton",
    "motion": "skeleton",
    "training": "progress",
    "data": "skeleton streams progress",
    "backbones": "skeleton",
    "views": "skeleton streams augment masking motion",
    "fusion": "skeleton backbones losses training",
    "distillation": "skeleton backbones losses training",
    "networks": "skeleton training backbones fusion distillation",
    "deployment": (
        "skeleton data training evaluation efficiency networks backbones fusion distillation"
    ),
    "methods": "skeleton streams backbones losses views training",
    "params": "plan data",
    "grid": "plan params imports data backbones methods",
    "contents": "ablations grid plan",
    "protocols": "skeleton augment backbones losses fusion distillation training evaluation",
    "results": "record streamed backbones data efficiency evaluation",
    "illustration": (
        "skeleton masking data networks backbones fusion distillation training evaluation"
    ),
    "repro": "contents report",
}


def code(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def modules() -> list[str]:
    """All code of the package, the demonstration and the stages."""
    files = (path for top in ("asma", "demo", "stages") for path in (ROOT / top).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def imported(path: str) -> set[str]:
    """Files of this project that a file imports, with the packages on the way; by no code of the
    package.
    """
    names: set[str] = set()
    for node in ast.walk(code(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = set()
    for name in names:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            place = "/".join(parts[:depth])
            found |= {
                file for file in (f"{place}.py", f"{place}/__init__.py") if (ROOT / file).is_file()
            }
    return found


def definition(stage: str) -> dict[str, Any]:
    return PIPELINE[stage].get("do", PIPELINE[stage])


def outs(stage: str, *kinds: str) -> list[str]:
    """What a stage leaves: its outs, metrics and plots, or what is under one of these keys."""
    own = definition(stage)
    every = [out for kind in kinds or ("outs", "metrics", "plots") for out in own.get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in every]


def flow(text: str) -> Iterator[int]:
    """Lines on which a list or a mapping that is not empty stands in brackets."""
    tokens = list(yaml.scan(text))
    for token, following in zip(tokens, tokens[1:], strict=False):
        if isinstance(
            token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
        ) and not isinstance(following, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)):
            yield token.start_mark.line + 1


def test_the_check_of_style_finds_brackets() -> None:
    assert list(flow("a:\n  - b\nc: [1, 2]\nd: {}\ne: []\nf: {g: 1}\nh: x[1]\n")) == [3, 6]


@pytest.mark.parametrize(
    "file",
    [
        "params.yaml",
        *(
            p.relative_to(ROOT).as_posix()
            for d in ("recipes", "budgets")
            for p in (ROOT / d).glob("*.yaml")
        ),
    ],
)
def test_lists_and_mappings_are_in_block_style(file: str) -> None:
    # DVC writes these; in recipes/lines.yaml, which it does not, there are empty ones alone
    assert list(flow((ROOT / file).read_text(encoding="utf-8"))) == []


def test_an_override_by_dvc_changes_its_line_and_no_other(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "params.yaml"
    copy.write_text(before, encoding="utf-8")
    apply_overrides(copy, ["mask.joints=3"])
    assert PARAMS["mask"]["joints"] != 3
    after = copy.read_text(encoding="utf-8").splitlines()
    changed = [(a, b) for a, b in zip(before.splitlines(), after, strict=True) if a != b]
    assert changed == [(f"  joints: {PARAMS['mask']['joints']}", "  joints: 3")]


@pytest.mark.parametrize(
    "name", ["fuse.modes", "distill.teachers", "export.teachers", "export.streams", "transfers"]
)
def test_an_axis_that_dvc_empties_leaves_a_file_that_can_be_read(tmp_path: Path, name: str) -> None:
    # ruamel loses its way where a comment stands on the line of the key
    copy = tmp_path / "params.yaml"
    copy.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    gone = [f"~{name}.{key}" for key in PARAMS[name]] if name == "transfers" else [f"{name}=[]"]
    apply_overrides(copy, gone)
    content = yaml.safe_load(copy.read_text(encoding="utf-8"))
    for part in name.split("."):
        content = content[part]
    assert not content


def test_every_script_is_a_stage_and_every_stage_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert scripts == {*STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_its_script_its_section_and_its_folder_have_one_name(stage: str) -> None:
    own = definition(stage)
    file = "" if stage == "plan" else rf" plan/{stage}/\S+\.json"
    assert re.fullmatch(rf"python -m stages\.{stage}{file}", own["cmd"])
    assert (stage in PARAMS) == (stage not in SECTIONLESS)
    for out in outs(stage):
        assert any(
            f"{out}/".startswith(f"{folder}/")
            for folder in {f"runs/{stage}", *ELSEWHERE.get(stage, set())}
        ), out
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert re.findall(r"tracking\.run\(\s*\"(\w+)\"", text) == ([stage] if stage != "plan" else [])


def test_nobody_but_its_own_stage_writes_an_output() -> None:
    every = [out for stage in STAGES for out in outs(stage)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("stage", sorted({*STAGES, *LINES} - {"plan"}))
def test_a_stage_depends_on_its_plan_first_and_on_no_code(stage: str) -> None:
    deps = definition(stage)["deps"]
    assert deps[0] == definition(stage)["cmd"].split()[-1]
    assert not [
        dep for dep in deps if dep.startswith(("asma", "stages", "params", "recipes", "datasets"))
    ]
    assert "params" not in definition(stage)


@pytest.mark.parametrize("group", LINES)
def test_a_group_of_lines_is_its_stage_on_other_runs(group: str) -> None:
    stage = group.removesuffix("_lines")
    own, like = definition(group), definition(stage)
    assert len(own["deps"]) == len(like["deps"])
    assert own["outs"] == [f"runs/ablations/{stage}/${{item.run}}"]
    assert own["cmd"] == f"python -m stages.{stage} plan/{stage}/${{item.run}}.json"


def test_no_line_is_asked_for_but_by_the_ablations() -> None:
    asked = yaml.safe_load((ROOT / "recipes" / "lines.yaml").read_text(encoding="utf-8"))["lines"]
    assert asked == dict.fromkeys(
        [*(name.removesuffix("_lines") for name in LINES), "ablations"], {}
    )


def test_every_recipe_of_the_table_is_shown_by_experiments() -> None:
    shown = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["params"]
    files = {path.name for path in (ROOT / "recipes").glob("*.yaml")} - {
        "ablations.yaml",
        "lines.yaml",
    }
    assert set(shown) == {"params.yaml", *(f"recipes/{name}" for name in files)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_fits_on_a_screen(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
    summary = str(ast.get_docstring(ast.parse(text))).splitlines()[0]
    assert re.search(r"\S → \S", summary), f"no arrow: {summary}"


def test_the_rooms_stand_in_order() -> None:
    above: set[str] = set()
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= above, room
        above.add(room)
    found = {
        path.stem
        for path in (ROOT / "asma").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert found - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.count("/") > 1 or "__init__" not in path]
)
def test_imports_run_downwards(path: str) -> None:
    top, room = path.removesuffix(".py").split("/")[:2]
    used = {f.removesuffix(".py").split("/")[1] for f in imported(path)} - {"__init__"}
    if path == "stages/plan.py":
        assert used == {"cli", "contents", "grid", "imports", "params", "plan"}
    elif path in ("stages/table.py", "stages/ablations.py"):
        assert used - {"record"} == {"cli", "plan", "tracking", "report"}
    elif top == "stages":
        assert not any(f.startswith("stages/") for f in imported(path)), "a stage imports another"
        assert not used & {"report", "repro"}
    elif top == "demo":
        assert used <= {"data", "synthetic", "kinematics"}
    elif path == "asma/repro.py":
        assert used == {"contents", "plan", "report"}  # stages/plan knows all the runs
    else:
        assert used - {room} <= set(ROOMS[room].split()), f"{path} imports {used}"


def libraries(path: str, *, at_once: bool = False) -> set[str]:
    """Top names of the modules that a file imports; with `at_once` only those it imports when it
    is imported.
    """

    def nodes(tree: ast.AST) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(tree):
            lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            if not (at_once and (lazy or typing)):
                yield node
                yield from nodes(node)

    found = set()
    for node in nodes(code(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


def test_the_report_knows_neither_models_nor_mlflow() -> None:
    # but which answers are right, of logits that lie there
    for path in set(Code(ROOT).closure("stages/table.py")) - {"asma/evaluation.py"}:
        assert not libraries(path) & {"torch", "mlflow", "safetensors"}, path


def test_only_what_tracks_knows_mlflow_and_only_when_it_is_needed() -> None:
    known = [path for path in modules() if "mlflow" in libraries(path)]
    assert known == ["asma/mlflow_store.py", "asma/registry.py", "asma/tracking.py"]
    for path in known:
        assert "mlflow" not in libraries(path, at_once=True)
    for path in ("asma/record.py", "asma/mlflow_store.py", "asma/tracking.py"):
        others = libraries(path, at_once=True) - sys.stdlib_module_names
        assert others <= {"__future__", "asma"}, "a stage that mirrors nothing needs nothing for it"


@pytest.mark.parametrize(("first", "off"), [("-m", True), ("pytest", False), ("table.py", False)])
def test_garbage_is_not_looked_for_while_the_command_of_a_stage_loads(
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    off: bool,
) -> None:
    monkeypatch.setattr("sys.argv", [first])
    importlib.reload(stages)
    assert gc.isenabled() == (not off)
    gc.enable()


def test_readers_do_without_torch() -> None:
    for path in modules():
        if path.startswith("asma/data/") and path != "asma/data/batches.py":
            assert not libraries(path) & {"torch", "sklearn", "matplotlib"}, path


def dotted(node: ast.expr) -> str | None:
    """`params.read` of the syntax tree of params.read."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def test_nothing_is_unpickled() -> None:
    # but for what the processes of one parse tell each other in memory, as any pool of processes
    # does
    for path in set(modules()) - {"asma/data/parse.py"}:
        for node in ast.walk(code(path)):
            if isinstance(node, ast.Call):
                assert dotted(node.func) not in (
                    "torch.load",
                    "pickle.load",
                    "pickle.loads",
                    "joblib.load",
                ), path
                assert not any(
                    keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                    for keyword in node.keywords
                ), path
