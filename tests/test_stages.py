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

ROOT = Path(__file__).resolve().parents[1]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ABLATIONS: dict[str, Any] = yaml.safe_load((ROOT / "ablations" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = sorted(PIPELINE)

# Change no result: an edit of how options are read or what is reported reruns nothing.
LEAVES = {
    "asma/__init__.py",
    "asma/params.py",
    "asma/cli.py",
    "asma/mlflow_store.py",
    "asma/record.py",
    "asma/registry.py",
    "asma/tracking.py",
    "asma/progress.py",
    "stages/__init__.py",
}
# Data files that code reads, by the module that reads them.
DATA = {
    "asma/skeleton.py": {"asma/layouts"},
    "asma/data/counts.py": {"asma/data/lists"},
    "asma/data/parse.py": {"asma/data/lists"},
    "asma/report/page.py": {f"asma/report/{name}" for name in ("page.html", "page.css", "page.js", "player.js")},
    "asma/report/tables.py": {"asma/report/paper.yaml"},
}
# Stages without a section of their own in params.yaml, and where the rest of what they leave lies.
SECTIONLESS = {"split", "efficiency", "table"}
ELSEWHERE = {
    "synthesize": {"data/raw"},
    "parse": {"data/recordings"},
    "prepare": {"data/clips"},
    "motion": {"data/motion"},
    "split": {"data/benchmarks"},
    "table": {"report"},
}
# What a room may import, from the bottom up: a room may name only rooms above it in this list.
ROOMS = {
    "skeleton": "",
    "progress": "",
    "params": "",
    "cli": "params",
    "record": "",
    "mlflow_store": "",
    "registry": "mlflow_store",
    "tracking": "params record mlflow_store",
    "losses": "",
    "evaluation": "",
    "efficiency": "",
    "report": "params evaluation",
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
    "deployment": "skeleton data training evaluation efficiency networks backbones fusion distillation",
    "methods": "skeleton streams backbones losses views training",
    "protocols": "skeleton augment backbones losses fusion distillation training evaluation",
    "results": "record backbones data efficiency evaluation",
    "illustration": "skeleton masking data networks backbones fusion distillation training evaluation",
    "repro": "params report",
}


def code(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def modules() -> list[str]:
    """All code of the package and the stages."""
    return sorted(str(p.relative_to(ROOT).as_posix()) for top in ("asma", "stages") for p in (ROOT / top).rglob("*.py"))


def imported(path: str) -> set[str]:
    """Files of this project that a file imports, with the packages on the way."""
    names: set[str] = set()
    for node in ast.walk(code(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # a row of a table, whose module is imported when it is asked for
            names |= set(re.findall(r"^(asma\.[\w.]+):\w+$", node.value))
    found = set()
    for name in names:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            place = "/".join(parts[:depth])
            found |= {file for file in (f"{place}.py", f"{place}/__init__.py") if (ROOT / file).is_file()}
    return found


def closure(path: str) -> set[str]:
    """Files of this project that a file needs, itself included."""
    needed, todo = {path}, [path]
    while todo:
        new = imported(todo.pop()) - needed
        needed |= new
        todo += new
    return needed


def definition(stage: str) -> dict[str, Any]:
    if stage not in PIPELINE:
        return dict(ABLATIONS[stage])
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
        if isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)) and not isinstance(
            following, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
        ):
            yield token.start_mark.line + 1


def test_the_check_of_style_finds_brackets() -> None:
    assert list(flow("a:\n  - b\nc: [1, 2]\nd: {}\ne: []\nf: {g: 1}\nh: x[1]\n")) == [3, 6]


@pytest.mark.parametrize("file", ["dvc.yaml", "params.yaml"])
def test_lists_and_mappings_are_in_block_style(file: str) -> None:
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


@pytest.mark.parametrize("name", ["fuse.modes", "distill.teachers", "export.teachers", "export.streams", "transfers"])
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
    assert scripts == {*STAGES, "ablations"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_its_script_its_section_and_its_folder_have_one_name(stage: str) -> None:
    own = definition(stage)
    assert re.match(rf"python -m stages\.{stage} ", own["cmd"])
    assert (stage in PARAMS) == (stage not in SECTIONLESS)
    for out in outs(stage):
        assert any(out.startswith(f"{folder}/") for folder in {f"runs/{stage}", *ELSEWHERE.get(stage, set())}), out
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert re.findall(r"tracking\.run\(\s*\"(\w+)\"", text) == [stage]


@pytest.mark.parametrize("stage", [stage for stage in STAGES if "matrix" in PIPELINE[stage]])
def test_the_path_of_a_run_is_its_axes_in_order(stage: str) -> None:
    if stage in ELSEWHERE:
        return
    axes = "/".join(f"${{item.{axis}}}" for axis in PIPELINE[stage]["matrix"])
    for out in outs(stage):
        assert re.fullmatch(rf"runs/{stage}/{re.escape(axes)}/[\w.]+", out)


def test_nobody_but_its_own_stage_writes_an_output() -> None:
    every = [out for stage in STAGES for out in outs(stage)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_shows_the_accuracy_the_confusion_and_the_curves_of_every_run(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    judged = re.search(r"results\.(leave|write|accuracy)\(", text) or stage == "table"
    expected = {
        "metrics": {"metrics.json"} if judged else set(),
        "plots": {
            *(["curves.csv"] if "curves" in text else []),
            *(["confusion.csv"] if "results.leave(" in text else []),
        },
    }
    for kind, names in expected.items():
        assert {Path(out).name for out in outs(stage, kind)} == names
        assert not {Path(out).name for out in outs(stage, "outs")} & names
    for plot in definition(stage).get("plots", []):
        for path, how in plot.items():
            assert (
                how
                == {
                    "curves.csv": {"x": "epoch", "y": "loss"},
                    "confusion.csv": {"template": "confusion", "x": "actual", "y": "predicted"},
                }[Path(path).name]
            )


def of_the_project(deps: list[str]) -> list[str]:
    return [dep for dep in deps if dep.startswith(("asma/", "stages/"))]


@pytest.mark.parametrize("stage", [*STAGES, "ablations"])
def test_a_stage_depends_on_the_code_it_imports_and_on_no_other(stage: str) -> None:
    needed = closure(f"stages/{stage}.py")
    expected = {path for path in needed if path not in LEAVES and (ROOT / path).stat().st_size}
    for path in needed:
        expected |= DATA.get(path, set())
    assert sorted(of_the_project(definition(stage).get("deps", []))) == sorted(expected)


@pytest.mark.parametrize("group", [name for name in ABLATIONS if name != "ablations"])
def test_a_group_of_ablations_is_its_stage_under_other_axes(group: str) -> None:
    own = ABLATIONS[group]
    stage = re.match(r"python -m stages\.(\w+) ", own["cmd"])
    assert stage and group.startswith(stage[1])
    like = definition(stage[1])
    assert of_the_project(own["deps"]) == of_the_project(like["deps"])
    assert own["params"] == [key for key in like["params"] if key != "seed"]
    assert [Path(out).name for out in own["outs"]] == [Path(out).name for out in outs(stage[1])]
    assert not own.keys() & {"metrics", "plots"}, "hundreds: DVC is to show the pipeline"
    assert len(own["deps"]) == len(like["deps"])
    for out in own["outs"]:
        assert out.startswith(f"runs/ablations/{stage[1]}/")
        assert f" --out {out.rpartition('/')[0]} " in own["cmd"]
    for axis in own["matrix"]:
        # an axis that stood in no path would have two stages write one file
        assert all(f"${{item.{axis}" in out for out in own["outs"]), axis
    words = [axis for axis in ("pretrained", "change") if axis in own["matrix"]]
    assert own["cmd"].endswith("--change " + "".join(f"${{item.{word}}}+" for word in words) + "seed=${item.seed}")


def test_every_data_file_of_the_package_is_somebodys() -> None:
    known = set().union(*DATA.values())
    for path in (ROOT / "asma").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in name:
            assert any(name == entry or name.startswith(f"{entry}/") for entry in known), name


def test_who_names_a_data_file_is_known_to_read_it() -> None:
    for path in modules():
        words = {
            node.value
            for node in ast.walk(code(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
        }
        for entry in set().union(*DATA.values()):
            name = entry.rpartition("/")[2]
            if any(word == name or f"{name}/" in word for word in words):
                assert entry in DATA.get(path, set()), f"{path} names {entry}"


# What functions that get the whole of params.yaml read of it.
READ_BY = {
    "results.stream_groups": {"encoders", "benchmarks", "streams", "fuse.modes", "distill.teachers", "transfers"},
    "collect": {
        "encoders",
        "benchmarks",
        "streams",
        "fuse.modes",
        "distill.teachers",
        "export.teachers",
        "export.streams",
        "transfers",
        "sets",
    },
}
# How a section that a script loads is listed, where that is not by its name: what changes no result is left out.
LISTED = {"run": {"run.precision", "run.budgets"}, "parse": {"parse.on_error"}}


def dotted(node: ast.expr) -> str | None:
    """`params.read` of the syntax tree of params.read."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def is_read(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) == "params.read"


def sections(stage: str) -> set[str]:
    """What a script reads of the parameters: sections it loads and keys it looks up, the widest of each."""
    tree = code(f"stages/{stage}.py")
    whole: set[str | None] = set()  # names that stand for all of params.yaml
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = (
                zip(target.elts, value.elts, strict=True)
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                else [(target, value)]
            )
            whole |= {dotted(name) for name, given in pairs if is_read(given)}

    def all_of_it(node: ast.expr) -> bool:
        return is_read(node) or (isinstance(node, ast.Name) and node.id in whole)

    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called == "params.load":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found |= LISTED.get(str(first.value), {str(first.value)})
                else:
                    assert ast.unparse(first) == "f'sets.{dataset}'"
                    arguments = {a.arg for n in tree.body if isinstance(n, ast.FunctionDef) for a in n.args.args}
                    found.add("sets.${item}" if "dataset" in arguments else "sets")
            elif called == "params.seed":
                found.add("seed")
            elif any(all_of_it(argument) for argument in node.args):
                found |= READ_BY[str(called)]
        elif isinstance(node, ast.Subscript):
            keys: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
                keys.insert(0, str(inner.slice.value))
                inner = inner.value
            if all_of_it(inner):
                found.add(".".join(keys))
    return {key for key in found if not any(key.startswith(f"{other}.") for other in found)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_parameters_it_reads_and_no_others(stage: str) -> None:
    listed = definition(stage)["params"]
    assert sorted(listed) == sorted(sections(stage))


def test_the_functions_that_get_all_parameters_read_what_is_said_of_them() -> None:
    for name, path in (("results.stream_groups", "asma/results.py"), ("collect", "asma/report/collect.py")):
        text = (ROOT / path).read_text(encoding="utf-8")
        for key in READ_BY[name]:
            spelt = "".join(rf'\["{part}"\]' for part in key.split("."))
            assert re.search(rf'content{spelt}|params, "{re.escape(key)}"\)|params\.get\("{key}"\)', text), key


def test_every_parameter_has_a_reader() -> None:
    listed = {key for stage in (*STAGES, "ablations") for key in definition(stage)["params"]}
    axes = {
        word.strip("${}")
        for stage in STAGES
        for word in [PIPELINE[stage].get("foreach"), *PIPELINE[stage].get("matrix", {}).values()]
        if word
    }
    for section in PARAMS:
        assert any(key == section or key.startswith(f"{section}.") for key in listed | axes), section


@pytest.mark.parametrize("stage", [*STAGES, "ablations"])
def test_a_stage_fits_on_a_screen(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 75
    summary = str(ast.get_docstring(ast.parse(text))).splitlines()[0]
    assert re.search(r"\S → \S", summary), f"no arrow: {summary}"


def test_the_rooms_stand_in_order() -> None:
    above: set[str] = set()
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= above, room
        above.add(room)
    found = {
        path.stem for path in (ROOT / "asma").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert found - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", [path for path in modules() if path not in ("asma/__init__.py", "stages/__init__.py")])
def test_imports_run_downwards(path: str) -> None:
    top, room = path.removesuffix(".py").split("/")[:2]
    used = {f.removesuffix(".py").split("/")[1] for f in imported(path) if f not in LEAVES}
    used |= {Path(f).stem for f in imported(path) & LEAVES} - {"__init__"}
    if path in ("stages/table.py", "stages/ablations.py"):
        assert used - {"record"} == {"cli", "params", "tracking", "report"}
    elif top == "stages":
        assert not any(f.startswith("stages/") for f in imported(path)), "a stage imports another"
        assert not used & {"report", "repro"}
    else:
        assert used - {room} <= set(ROOMS[room].split()), f"{path} imports {used}"


def libraries(path: str, *, at_once: bool = False) -> set[str]:
    """Top names of the modules that a file imports; with `at_once` only those it imports when it is imported."""

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
    for path in closure("stages/table.py") - LEAVES - {"asma/evaluation.py"}:
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


def test_nothing_is_unpickled() -> None:
    # but for what the processes of one parse tell each other in memory, as any pool of processes does
    for path in set(modules()) - {"asma/data/parse.py"}:
        for node in ast.walk(code(path)):
            if isinstance(node, ast.Call):
                assert dotted(node.func) not in ("torch.load", "pickle.load", "pickle.loads", "joblib.load"), path
                assert not any(
                    keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False" for keyword in node.keywords
                ), path
