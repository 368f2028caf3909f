"""The whole pipeline at a tiny scale, through `dvc repro` itself, in a repository of its own.

It is made once (`built`, some minutes); a test that changes something gets a copy of it
(`project`).
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = "benchmark,recipe,run,stage,mode,encoder,stream,accuracy,top5,chance,n_train,n_test"
COLUMNS += ",params,macs,flops,epochs,seed,of,source,demonstration,n_labelled,precision,change,draw"
BENCHMARK, TARGET = "demo_ntu_xsub", "demo_pku_xsub"
ENCODERS = ("lowdeg_highmot", "highdeg_lowmot", "random")
STREAMS = ("joint", "bone")
JUDGING = ("pretrain", "probe", "finetune")  # the stages of one encoder
JUDGED = ("linear", "standardised", "knn_1", "knn_20")  # a frozen encoder
KINDS = ("pretrain", "finetune")  # where the encoders of a fusion and of a teacher come from
HEADS = ("aligned", "averaged", "concatenated", "concatenated_wide")
TRANSFER = f"transfer@{BENCHMARK}_to_{TARGET}"
EXPORT = f"export@finetune-{BENCHMARK}"

# What makes the demonstration tiny: three subjects, two of them to train on, short clips, and an
# epoch or two.
TINY: dict[str, dict[str, Any]] = {
    "synthesize": {
        "subjects": 3,
        "replications": 1,
        "videos": 6,
        "instances": 8,
        "shortest": 20,
        "longest": 24,
    },
    "prepare": {"frames": 20},
    "run": {"threads": 1},
    "pretrain": {"epochs": 2, "batch_size": 12, "warmup_epochs": 0},
    "probe": {"epochs": 2},
    "finetune": {"epochs": 1, "batch_size": 12},
    "fuse": {"fit": {"pretrain": {"epochs": 2}, "finetune": {"epochs": 2}}},
    "distill": {"epochs": 1, "batch_size": 12},
    # compiling takes half a minute
    "export": {"forms": ["eager", "onnx_fp32", "onnx_int8"], "repeats": 3},
}


def merge(section: dict[str, Any], values: dict[str, Any]) -> None:
    """Put values into a section, however deep they stand."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(section.get(key), dict):
            merge(section[key], value)
        else:
            section[key] = value


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    text: str

    @property
    def ran(self) -> list[str]:
        """Stages that DVC ran, in order."""
        return re.findall(r"Running stage '([^']+)'", self.text)


@dataclass(frozen=True)
class Project:
    """A repository with the pipeline in it."""

    path: Path

    def environment(self) -> dict[str, str]:
        foreign = ("DVC_", "MLFLOW_", "GIT_", "PYTEST_", "COV_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return {
            **kept,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def say(self, *command: str) -> Said:
        """Run a command, whatever comes of it."""
        process = self.start(*command)
        text, _ = process.communicate()
        return Said(process.returncode, text)

    def do(self, *command: str) -> Said:
        """Run a command that has to succeed."""
        said = self.say(*command)
        assert said.status == 0, said.text[-3000:]
        return said

    def dvc(self, *arguments: str) -> Said:
        return self.do(sys.executable, "-m", "dvc", *arguments)

    def stage(
        self, name: str, run: str, out: str | None = None, **changes: object
    ) -> tuple[str, ...]:
        """The command of a stage; with `out` by a plan like that of the run, but for the folder it
        writes and `changes` of what it reads and of its settings by dotted names.
        """
        file = self.path / "plan" / name / f"{run}.json"
        if out is not None:
            told = json.loads(file.read_text(encoding="utf-8"))
            told["out"] = out
            for key, value in changes.items():
                part, *inside = key.split("__")
                place = told["reads"] if part == "reads" else told["settings"][part]
                place[inside[0]] = value
            file = self.path / "again" / name / f"{run}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(told), encoding="utf-8")
        return (sys.executable, "-m", f"stages.{name}", file.relative_to(self.path).as_posix())

    def pretrain(self, out: str, **changes: object) -> tuple[str, ...]:
        return self.stage("pretrain", f"lowdeg_highmot@{BENCHMARK}", out, **changes)

    def commit(self) -> None:
        self.do("git", "add", "--all")
        self.do("git", "commit", "--quiet", "--message", "as it is")

    def change(self, **sections: Any) -> None:
        """Change params.yaml: values of a section, for every budget; or all of it."""
        self.change_file("params.yaml", **sections)

    def change_file(self, name: str, **sections: Any) -> None:
        """Change another YAML file in the same way."""
        with modify_yaml(self.path / name) as content:
            for name, values in sections.items():
                if values and isinstance(values, dict):
                    merge(content[name], values)
                else:
                    content[name] = values

    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.path}/mlflow.db")

    def logged(self) -> list[Run]:
        """Every run of a stage, of every experiment in the store at the root."""
        client = self.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, max_results=1000)
        return [run for run in found if "reproduction" not in run.data.tags]

    def table(self) -> list[dict[str, str]]:
        with open(self.path / "report" / "results.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    """The content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make(path: Path) -> None:
    """A repository with what git knows or would know of this one, and tiny parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (
            name == "dvc.lock"
            or name.startswith(("report/", "tests/"))
            or not (ROOT / name).is_file()
        ):
            continue
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path / name)
    project = Project(path)
    project.change(streams=list(STREAMS), **TINY)
    project.change_file("recipes/asma.yaml", pretrain={"projector": 32})
    project.do("git", "init", "--quiet")
    project.do("git", "config", "user.name", "Somebody")
    project.do("git", "config", "user.email", "somebody@example.org")
    project.commit()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Said]:
    """The pipeline, run once for all processes that share these tests, and what it said."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    project, told = Project(shared / "pipeline" / "project"), shared / "pipeline.json"
    with open(shared / "pipeline.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            make(project.path)
            said = project.say(sys.executable, "-m", "asma.repro")
            if said.status == 0:
                project.commit()
            told.write_text(json.dumps(vars(said)))
    said = Said(**json.loads(told.read_text()))
    assert said.status == 0, said.text[-3000:]
    return project, said


@pytest.fixture
def project(built: tuple[Project, Said], tmp_path: Path) -> Iterator[Project]:
    """A copy of the finished project to change; taken away afterwards."""
    copy = Project(tmp_path / "project")
    shutil.copytree(built[0].path, copy.path, symlinks=True)
    yield copy
    shutil.rmtree(copy.path)


def matrix(stage: str, words: tuple[str, ...]) -> list[str]:
    return [f"{stage}@{word}-{BENCHMARK}" for word in words]


def every_stage() -> list[str]:
    sets = ("demo_ntu", "demo_pku")
    return [
        "plan",
        "synthesize",
        *(f"{stage}@{name}" for stage in ("parse", "prepare", "motion") for name in sets),
        *(f"split@{benchmark}" for benchmark in (BENCHMARK, TARGET)),
        *(name for stage in ("pretrain", "probe", "finetune") for name in matrix(stage, ENCODERS)),
        *(name for stage in ("fuse", "distill") for name in matrix(stage, KINDS)),
        TRANSFER,
        f"baseline@{BENCHMARK}",
        f"efficiency@{BENCHMARK}",
        f"illustrate@{BENCHMARK}",
        EXPORT,
        "ensemble",
        "table",
    ]


def every_row() -> list[tuple[str, str, str, str, str]]:
    """benchmark, stage, mode, encoder and stream of each row that the parameters imply."""
    rows = []
    first, second, random = ENCODERS
    for stream in (*STREAMS, "2s"):
        found = [
            *(("probe", mode, encoder) for encoder in ENCODERS for mode in JUDGED),
            *(("finetune", "finetuned", encoder) for encoder in (first, second)),
            ("finetune", "scratch", random),
            *(("fuse", f"{head}_{of}", "both") for of in ("probed", "finetuned") for head in HEADS),
            *(("distill", f"distilled_{of}", "student") for of in ("probed", "finetuned")),
        ]
        moved = [
            *(
                ("transfer", f"transferred_from_{BENCHMARK}", encoder)
                for encoder in (first, second, "both")
            ),
            ("transfer", "scratch", random),
        ]
        for benchmark, results in ((BENCHMARK, found), (TARGET, moved)):
            for stage, mode, encoder in results:
                rows.append(
                    (benchmark, "ensemble" if stream == "2s" else stage, mode, encoder, stream)
                )
    return [*rows, (BENCHMARK, "baseline", "ridge", "coordinates", "joint")]


def test_every_stage_runs_once(built: tuple[Project, Said]) -> None:
    assert Counter(built[1].ran) == Counter(every_stage())


def test_the_lock_is_short_and_names_no_code(built: tuple[Project, Said]) -> None:
    lines = (built[0].path / "dvc.lock").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 5970 / 5  # of as many stages for each stream, with their code
    code = [line for line in lines if re.search(r"path: (asma|stages)/", line)]
    assert code == []


def test_nothing_is_changed_in_a_fresh_clone_with_the_same_cache(
    built: tuple[Project, Said], tmp_path: Path
) -> None:
    clone = Project(tmp_path / "clone")
    built[0].do("git", "clone", "--quiet", str(built[0].path), str(clone.path))
    clone.dvc("config", "--local", "cache.dir", str(built[0].path / ".dvc" / "cache"))
    clone.dvc("checkout")
    assert "up to date" in clone.dvc("status").text


def test_the_table_is_printed_with_where_it_lies_and_what_to_do_next(
    built: tuple[Project, Said],
) -> None:
    said = built[1].text
    table = said[said.index("Running stage 'table'") :]
    assert re.search(rf"{BENCHMARK} \(demonstration\) +joint +bone +2s", table)
    for word in (
        "frozen ASMa",
        "student of fine-tuned ASMa",
        "ridge on raw coordinates",
        "training from scratch",
    ):
        assert re.search(rf"{word} +\*?\d+\.\d", table)
    assert re.search(r"control: chance +8\.3", table)
    assert re.search(r"Fine-tuned ASMa [\d.]+ against ridge on raw coordinates [\d.]+: \w+", table)
    assert "The report lies in report/" in table
    assert "Four things to try next" in table


def test_the_results_have_the_rows_that_the_parameters_imply_and_no_others(
    built: tuple[Project, Said],
) -> None:
    project = built[0]
    text = (project.path / "report" / "results.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == COLUMNS
    rows = project.table()
    found = [
        (row["benchmark"], row["stage"], row["mode"], row["encoder"], row["stream"]) for row in rows
    ]
    assert Counter(found) == Counter(every_row())
    as_json = json.loads((project.path / "report" / "results.json").read_text(encoding="utf-8"))
    rows_of_json = as_json if isinstance(as_json, list) else as_json["results"]
    assert [
        (r["benchmark"], r["stage"], r["mode"], r["encoder"], r["stream"]) for r in rows_of_json
    ] == found


def test_every_row_is_complete_and_within_reason(built: tuple[Project, Said]) -> None:
    for row in built[0].table():
        assert 0 <= float(row["accuracy"]) <= float(row["top5"]) <= 100
        assert (int(row["n_train"]), int(row["n_test"])) == {BENCHMARK: (24, 12), TARGET: (32, 16)}[
            row["benchmark"]
        ]
        assert int(row["flops"]) == 2 * int(row["macs"]) > 0
        assert row["seed"] == "1"
        epochs = {
            "linear": 2,
            "standardised": 2,
            "finetuned": 1,
            "aligned_probed": 2,
            "knn_20": 0,
            "ridge": 0,
        }
        assert int(row["epochs"]) == epochs.get(row["mode"], int(row["epochs"]))
    params = {(row["mode"], row["stream"]): int(row["params"]) for row in built[0].table()}
    assert params["knn_1", "joint"] == 821_380
    assert params["linear", "joint"] == 821_380 + 256 * 12 + 12
    assert params["linear", "2s"] == 2 * params["linear", "joint"]


def test_every_run_leaves_its_files(built: tuple[Project, Said]) -> None:
    runs = built[0].path / "runs"
    kept = {
        "pretrain": {"weights.safetensors", "curves.csv"},
        "probe": {"logits.npz", "confusion.csv"},
        "finetune": {"weights.safetensors", "logits.npz", "confusion.csv", "curves.csv"},
        "fuse": {"weights.safetensors", "train_logits.npz", "logits.npz", "confusion.csv"},
        "distill": {"weights.safetensors", "logits.npz", "confusion.csv", "curves.csv"},
    }
    for stage, files in kept.items():
        systems = [f"asma_{kind}" for kind in KINDS]
        for word in ENCODERS if stage in ("pretrain", "probe", "finetune") else systems:
            for stream in STREAMS:
                folder = runs / stage / f"{word}@{BENCHMARK}" / stream
                assert {path.name for path in folder.iterdir()} == {*files, "metrics.json"}, folder
    illustrated = runs / "illustrate" / BENCHMARK
    assert {path.name for path in illustrated.iterdir()} == {
        "player.json",
        "figures.npz",
        "metrics.json",
    }
    models = runs / "export" / f"asma_finetune@{BENCHMARK}" / "joint" / "models"
    assert {path.name for path in models.iterdir()} == {
        f"{network}.{ending}"
        for network in ("teacher", "student")
        for ending in ("onnx", "int8.onnx")
    }
    for path in runs.rglob("metrics.json"):
        stage = path.relative_to(runs).parts[0]
        told = json.loads(path.read_text(encoding="utf-8"))
        assert told.get("stage", stage) == stage
        if stage == "export":  # the only one that measures the machine
            continue
        assert not any("second" in key or "time" in key for key in told), (
            f"{path} would change with the clock"
        )


def test_the_networks_are_exported_and_every_form_is_measured_and_shown(
    built: tuple[Project, Said],
) -> None:
    path = built[0].path
    told = json.loads(
        (
            path / "runs" / "export" / f"asma_finetune@{BENCHMARK}" / "joint" / "metrics.json"
        ).read_text()
    )
    forms = ("eager", "onnx_fp32", "onnx_int8")
    assert [(row["model"], row["form"]) for row in told["models"]] == [
        (model, form) for model in ("teacher", "student") for form in forms
    ]
    assert told["unavailable"] == []
    params = {
        (row["encoder"], row["mode"]): int(row["params"])
        for row in built[0].table()
        if row["stream"] == "joint"
    }
    assert {row["model"]: row["params"] for row in told["models"]} == {
        "teacher": params["both", "aligned_finetuned"],
        "student": params["student", "distilled_finetuned"],
    }
    report = (path / "report" / "results.md").read_text(encoding="utf-8")
    assert (
        "## Efficiency on this machine" in report
        and "| student (finetune) | onnx_int8 | joint " in report
    )
    assert (path / "report" / "figures" / f"export_{BENCHMARK}.svg").is_file()


def test_nothing_is_left_to_resume_and_git_has_nothing_to_say(built: tuple[Project, Said]) -> None:
    project = built[0]
    assert not list((project.path / ".resume").rglob("*.safetensors"))
    assert project.do("git", "status", "--porcelain").text == ""
    assert {"dvc.lock", "report/results.md", "report/results.csv", "report/results.json"} <= set(
        project.do("git", "ls-files").text.splitlines()
    )


def test_mlflow_has_one_finished_run_of_every_stage(built: tuple[Project, Said]) -> None:
    project = built[0]
    runs = project.logged()
    # all but `plan`
    assert Counter(run.info.run_name for run in runs) == Counter(every_stage()[1:])
    revision = project.do("git", "rev-parse", "HEAD~1").text.strip()
    for run in runs:
        name, tags = run.info.run_name, run.data.tags
        assert run.info.status == "FINISHED"
        assert tags["dvc.stage"] == name
        assert tags["stage"] == name.split("@")[0]
        assert tags["revision"] == revision
        assert run.data.metrics["duration_s"] > 0
        if name.startswith(("pretrain", "probe", "finetune")):
            assert f"{tags['recipe']}-{tags['benchmark']}" == name.split("@")[1]


def test_mlflow_has_parameters_curves_and_models(built: tuple[Project, Said]) -> None:
    project = built[0]
    client, runs = project.client(), {run.info.run_name: run for run in project.logged()}
    pretrained = runs[f"pretrain@lowdeg_highmot-{BENCHMARK}"]
    assert pretrained.data.params["mask.joints"] == str(
        yaml.safe_load((ROOT / "params.yaml").read_text())["mask"]["joints"]
    )
    assert pretrained.data.params["pretrain.projector"] == "32"
    for name, curve, epochs in (
        (f"pretrain@lowdeg_highmot-{BENCHMARK}", "joint.barlow_twins", 2),
        (f"probe@random-{BENCHMARK}", "bone.linear", 2),
        (f"finetune@random-{BENCHMARK}", "bone.finetune", 1),
        (f"fuse@finetune-{BENCHMARK}", "joint.aligned", 2),
        (f"distill@pretrain-{BENCHMARK}", "joint.distillation", 1),
        (TRANSFER, "joint.random", 1),
    ):
        for of in (curve, f"{curve}_samples_per_second"):
            points = client.get_metric_history(runs[name].info.run_id, of)
            assert [point.step for point in points] == list(range(epochs)), (name, of)
    accuracy = next(
        float(row["accuracy"]) for row in project.table()
        if (row["mode"], row["encoder"], row["stream"]) == ("linear", "random", "bone")
    )  # fmt: skip
    assert runs[f"probe@random-{BENCHMARK}"].data.metrics["bone.linear.accuracy"] == pytest.approx(
        accuracy, abs=0.01
    )
    versions = client.search_model_versions("name='student'")
    assert [version.run_id for version in versions] == [
        runs[f"export@finetune-{BENCHMARK}"].info.run_id
    ]


def test_a_second_repro_runs_nothing_and_changes_nothing(project: Project) -> None:
    before = (
        digests(project.path / "runs")
        | digests(project.path / "data")
        | digests(project.path / "report")
    )
    said = project.do(sys.executable, "-m", "asma.repro")
    assert said.ran == []
    assert (
        digests(project.path / "runs")
        | digests(project.path / "data")
        | digests(project.path / "report")
        == before
    )
    assert project.do("git", "status", "--porcelain").text == ""
    assert "frozen ASMa" in said.text
    assert len(project.logged()) == len(every_stage()[1:])


def test_a_stage_run_again_by_hand_gives_the_same_bytes(project: Project) -> None:
    run = f"lowdeg_highmot@{BENCHMARK}"
    before = {
        stage: digests(project.path / "runs" / stage / run) for stage in ("pretrain", "finetune")
    }
    for stage, digest in before.items():
        shutil.rmtree(project.path / "runs" / stage / run)
        project.do(*project.stage(stage, run))
        assert digests(project.path / "runs" / stage / run) == digest
        assert "joint/weights.safetensors" in digest and "bone/weights.safetensors" in digest
    project.do(*project.stage("illustrate", BENCHMARK, "again/illustrate"))
    assert digests(project.path / "again/illustrate") == digests(
        project.path / "runs/illustrate" / BENCHMARK
    ) | {f"{BENCHMARK}.json": digests(project.path / "again/illustrate")[f"{BENCHMARK}.json"]}


# A machine without MLflow and DVC: no finder finds them, nor what comes with them.
BARE = """
import sys

GONE = {
    "mlflow", "dvc", "omegaconf", "ruamel", "pandas", "sklearn", "scipy", "matplotlib", "psutil"
}

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in GONE else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import runpy
stage, plan = sys.argv[1:]
sys.argv = [stage, plan]
runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
"""


def test_networks_are_trained_from_their_plan_where_mlflow_and_dvc_are_not_installed(
    project: Project,
) -> None:
    store = (project.path / "mlflow.db").read_bytes()
    for stage, run in (
        ("pretrain", f"lowdeg_highmot@{BENCHMARK}"),
        ("probe", f"lowdeg_highmot@{BENCHMARK}"),
        ("finetune", f"lowdeg_highmot@{BENCHMARK}"),
        ("fuse", f"asma_finetune@{BENCHMARK}"),
        ("distill", f"asma_finetune@{BENCHMARK}"),
    ):
        folder = project.path / "runs" / stage / run
        before = digests(folder)
        shutil.rmtree(folder)
        project.do(sys.executable, "-c", BARE, stage, f"plan/{stage}/{run}.json")
        assert digests(folder) == before
    assert (project.path / "mlflow.db").read_bytes() == store


def test_half_of_the_labels_are_half_of_every_class_and_the_test_stays(project: Project) -> None:
    run = f"random@{BENCHMARK}"
    project.do(*project.stage("finetune", run, "half", finetune__labels=0.5))
    folders = [project.path / folder / "joint" for folder in ("half", f"runs/finetune/{run}")]
    half, whole = (
        json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders
    )
    assert (half["n_labelled"], half["n_train"], half["n_test"]) == (12, 24, 12)
    assert (whole["n_labelled"], whole["n_train"], whole["n_test"]) == (24, 24, 12)
    assert half["results"][0]["mode"] == "scratch"
    fewer, all_of_them = (load_file(folder / "weights.safetensors") for folder in folders)
    assert any((fewer[name] != all_of_them[name]).any() for name in fewer)


def test_data_built_again_are_the_same_bytes(project: Project) -> None:
    before = digests(project.path / "data")
    runs = [
        ("synthesize", "all"),
        ("parse", "demo_ntu"),
        ("prepare", "demo_ntu"),
        ("motion", "demo_ntu"),
        ("split", BENCHMARK),
    ]
    for stage, run in runs:
        project.do(*project.stage(stage, run))
    assert digests(project.path / "data") == before


def test_an_edit_reruns_what_it_concerns(project: Project) -> None:
    def after(name: str, before: str, now: str) -> list[str]:
        path = project.path / name
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, now, 1), encoding="utf-8")
        return project.dvc("repro").ran

    # a docstring of a module that pretraining alone imports, and a method that nobody uses
    (project.path / "asma/methods/toy.py").write_text("from asma.methods.base import Method\n")
    assert after(
        "asma/methods/asma.py", "ASMa pretraining of one encoder", "Pretraining of an encoder"
    ) == ["plan"]
    # a data set that is judged on nowhere but by transfer: it comes out as it was
    said = after("datasets/demo_pku.yaml", "person: video", "person: subject")
    assert said == ["plan", "parse@demo_pku", "prepare@demo_pku", f"split@{TARGET}", TRANSFER]
    # the report
    assert after("asma/report/page.css", "body", "/* all of it */ body") == ["plan", "table"]
    # a backbone that the table does not have: only what folds networks of all kinds
    said = after(
        "asma/backbones/gin.py", "super().__init__()", "super(Isomorphism, self).__init__()"
    )
    assert said == ["plan", EXPORT, "table"]
    # the control's own file: it comes out as it was, so nothing that stands on it is run
    said = after("asma/methods/untrained.py", "PASSES = 3", "PASSES = 2 + 1")
    assert said == ["plan", f"pretrain@random-{BENCHMARK}"]


def test_the_ablations_share_what_the_table_has_and_leave_no_trace(project: Project) -> None:
    lines = {
        "masks": list(ENCODERS),
        "pairs": [],
        "pretrain": ["encoder.backbone=gin"],
        "finetune": [],
    }
    lines |= {
        "labels": [],
        "fuse": ["fuse.alignment.tokens=pooled"],
        "distill": ["distill.temperature=8.0"],
    }
    project.change_file("recipes/ablations.yaml", **lines)
    project.commit()
    said = project.do(sys.executable, "-m", "asma.repro", "ablations")
    first, second = (f"{encoder}+encoder.backbone=gin-{BENCHMARK}" for encoder in ENCODERS[:2])
    assert Counter(said.ran) == Counter([
        "plan",
        *(f"{stage}_lines@{name}" for stage in ("pretrain", "probe") for name in (first, second)),
        f"fuse_lines@asma_pretrain+encoder.backbone=gin-{BENCHMARK}",
        f"fuse_lines@asma_pretrain+fuse.alignment.tokens=pooled-{BENCHMARK}",
        "ablations@all",
    ])  # fmt: skip
    assert "The ablations lie in report/ablations.html" in said.text
    tables = (project.path / "report/ablations/tables.md").read_text(encoding="utf-8")
    assert re.search(r"\| gin +\| +[\d.]+", tables) and re.search(
        r"\| stgcn \(default\) +\| +[\d.]+", tables
    )
    assert project.do("git", "status", "--porcelain").text == ""
    said = project.do(sys.executable, "-m", "asma.repro", "ablations")
    assert said.ran == ["ablations@all"]  # its tables are in git, not in the cache
    assert project.dvc("repro").ran == ["plan"]  # which knew of other lines when it was run last


def test_an_experiment_reruns_what_it_changes_and_no_row_goes_stale(project: Project) -> None:
    # The pretrainings and what depends on them. The untrained control depends on the section
    # `mask` like every pretraining, but comes out as it was, so that what is judged on it stays.
    before = len(project.logged())
    said = project.dvc("exp", "run", "--name", "fewer", "--set-param", "mask.joints=8")
    expected = [
        "plan",
        *matrix("pretrain", ENCODERS),
        *matrix("probe", ENCODERS[:2]),
        *matrix("finetune", ENCODERS[:2]),
        *matrix("fuse", KINDS),
        *matrix("distill", KINDS),
        TRANSFER,
        f"illustrate@{BENCHMARK}",
        EXPORT,
        "ensemble",
        "table",
    ]
    assert Counter(said.ran) == Counter(expected)
    new = [run for run in project.logged() if run.data.tags.get("dvc.exp_name") == "fewer"]
    assert Counter(run.info.run_name for run in new) == Counter(expected[1:])
    assert len(project.logged()) == before + len(new)
    masked = next(run for run in new if run.data.tags["stage"] == "pretrain")
    assert masked.data.params["mask.joints"] == "8"
    shown = project.dvc("exp", "show", "--only-changed", "--md")
    assert re.search(r"\| *(params\.yaml:)?mask\.joints *\|", shown.text)
    # params.yaml differs from what is committed in this one line
    changed = project.do("git", "diff", "--unified=0", "params.yaml").text
    assert re.findall(r"^[+-] +(\w.*)$", changed, re.MULTILINE) == ["joints: 9", "joints: 8"]


def test_an_experiment_with_a_recipe_reruns_its_runs(project: Project) -> None:
    said = project.dvc("exp", "run", "--set-param", "recipes/random.yaml:+probe.epochs=3")
    expected = ["plan", f"probe@random-{BENCHMARK}", f"illustrate@{BENCHMARK}", "ensemble", "table"]
    assert Counter(said.ran) == Counter(expected)
    shown = project.dvc("exp", "show", "--only-changed", "--md")
    assert "recipes/random.yaml:probe.epochs" in shown.text


def test_a_stream_that_is_no_longer_named_leaves_the_table(project: Project) -> None:
    project.change(streams=["joint"])
    project.dvc("repro")
    kept = [row for row in every_row() if row[4] == "joint"]
    found = [
        (r["benchmark"], r["stage"], r["mode"], r["encoder"], r["stream"]) for r in project.table()
    ]
    assert Counter(found) == Counter(kept)


def test_a_system_becomes_a_row_by_its_word(project: Project) -> None:
    systems = ("pstl", "skeletonclr")
    project.change(streams=["joint"])
    project.dvc("repro")
    project.change(encoders=[*ENCODERS, *systems])
    said = project.dvc("repro")
    own = [*(name for stage in JUDGING for name in matrix(stage, systems))]
    assert Counter(said.ran) == Counter(
        ["plan", *own, f"illustrate@{BENCHMARK}", "ensemble", "table"]
    )
    rows = [row for row in project.table() if row["recipe"] in systems]
    assert {row["encoder"] for row in rows} == {"PSTL", "SkeletonCLR"}
    assert {row["mode"] for row in rows} == {*JUDGED, "finetuned"}
    curves = project.path / f"runs/pretrain/pstl@{BENCHMARK}/joint/curves.csv"
    assert "barlow_twins_temporal" in curves.read_text(encoding="utf-8")


def test_an_encoder_that_is_no_longer_named_leaves_the_table(project: Project) -> None:
    project.change(encoders=list(ENCODERS[:2]), transfers={})
    said = project.dvc("repro")
    assert Counter(said.ran) == Counter(["plan", f"illustrate@{BENCHMARK}", "ensemble", "table"])
    found = [
        (r["benchmark"], r["stage"], r["mode"], r["encoder"], r["stream"]) for r in project.table()
    ]
    assert Counter(found) == Counter(
        row for row in every_row() if row[0] == BENCHMARK and row[3] != "random"
    )


def test_an_experiment_in_a_folder_of_its_own_logs_to_the_one_store(project: Project) -> None:
    before = digests(project.path / "runs")
    said = project.dvc("exp", "run", "--temp", "--name", "apart", "--set-param", "baseline.alpha=2")
    assert Counter(said.ran) == Counter(["plan", f"baseline@{BENCHMARK}", "table"])
    new = [run for run in project.logged() if run.data.tags.get("dvc.exp_name") == "apart"]
    assert Counter(run.info.run_name for run in new) == Counter(said.ran[1:])
    assert {run.info.status for run in new} == {"FINISHED"}
    ridge = next(run for run in new if run.data.tags["stage"] == "baseline")
    assert ridge.data.params["alpha"] == "2.0"
    report = next(run for run in new if run.data.tags["stage"] == "table")
    assert (Path(report.info.artifact_uri.removeprefix("file://")) / "results.md").is_file()
    assert digests(project.path / "runs") == before
    assert project.do("git", "status", "--porcelain").text == ""


def kill_after_an_epoch(project: Project, *command: str) -> str:
    """Start a stage and kill it, without a chance to tidy up, as soon as it has left a checkpoint;
    what it said.
    """
    checkpoint = (
        project.path
        / ".resume/pretrain"
        / f"lowdeg_highmot@{BENCHMARK}"
        / "joint/encoder.safetensors"
    )
    checkpoint.unlink(missing_ok=True)
    process = project.start(*command)
    until = time.monotonic() + 120
    while not checkpoint.is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "no checkpoint in two minutes"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    text, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert checkpoint.is_file()
    return text


def test_a_killed_stage_goes_on_where_it_was_and_ends_the_same(project: Project) -> None:
    assert "going on" not in project.do(*project.pretrain("whole", pretrain__epochs=6)).text
    whole = digests(project.path / "whole")
    kill_after_an_epoch(project, *project.pretrain("killed", pretrain__epochs=6))
    assert not (project.path / "killed").exists()
    said = project.do(*project.pretrain("killed", pretrain__epochs=6)).text
    epoch = int(re.findall(r"going on with epoch (\d+)", said)[0])
    assert 1 <= epoch < 6
    for name, digest in whole.items():
        if not name.endswith("metrics.json"):  # which say in which folder they lie
            assert digests(project.path / "killed")[name] == digest, name
    assert not list((project.path / ".resume").rglob("*.safetensors"))


def test_a_killed_stage_starts_anew_with_other_parameters(project: Project) -> None:
    kill_after_an_epoch(project, *project.pretrain("first", pretrain__epochs=6))
    project.change(pretrain={"epochs": 2}, seed=2)
    project.do(sys.executable, "-m", "stages.plan")
    said = project.do(*project.pretrain("second")).text
    assert "of other parameters, data or code; starting anew" in said
    second = digests(project.path / "second")
    fresh = project.do(*project.pretrain("second")).text
    assert "starting anew" not in fresh
    assert digests(project.path / "second") == second
    first = load_file(
        project.path / f"runs/pretrain/lowdeg_highmot@{BENCHMARK}/joint/weights.safetensors"
    )
    weights = load_file(project.path / "second/joint/weights.safetensors")
    assert any((first[name] != weights[name]).any() for name in first)


def test_bad_raw_files_stop_the_parse_by_name_or_are_left_out_when_told(project: Project) -> None:
    raw = project.path / "data/raw/demo_ntu"
    short, wrong = sorted(raw.glob("*.skeleton"))[3:5]
    lines = short.read_text().splitlines(keepends=True)
    short.write_text("".join(lines[:100]))
    lines = wrong.read_text().splitlines(keepends=True)
    lines[4] = lines[4].replace(" ", " x", 1)
    wrong.write_text("".join(lines))
    recordings = {"reads__recordings": "again/recordings.h5"}
    said = project.say(*project.stage("parse", "demo_ntu", "again", **recordings))
    assert said.status == 1
    assert "found 2 bad files" in said.text
    assert re.search(rf"{short.name}, line \d+: found .*; expected ", said.text)
    assert re.search(rf"{wrong.name}, line 5: found .*; expected ", said.text)
    assert "Traceback" not in said.text
    assert not (project.path / "again/recordings.h5").exists()

    said = project.do(
        *project.stage("parse", "demo_ntu", "again", **recordings, parse__on_error="skip")
    )
    metrics = json.loads((project.path / "again/metrics.json").read_text())
    assert (metrics["recordings"], metrics["bad"]) == (34, 2)
    assert [
        path.name in line
        for path, line in zip((short, wrong), metrics["names"]["bad"], strict=True)
    ] == [
        True,
        True,
    ]
