"""Files → the tidy frame.   runs/**/{metrics.json, logits.npz} → one row a result

A plan lists the runs; this is the only module of the report that knows what they leave and where
(rows.yaml): everything else depends on the frame. Accuracies are per cent, costs are for one clip.
"""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from asma import evaluation

Listed = Sequence[Mapping[str, Any]]  # of a plan: see `expected`


class ReportError(ValueError):
    """A run that is missing or says something else than its place; names file, found, expected."""


class Expected(NamedTuple):
    """One metrics.json that a plan implies: its folder below runs/, what it must say of itself,
    and which columns of its rows follow from its place. Pretrainings have no results and are read
    for their curves, where they are there."""

    folder: str
    says: Mapping[str, Any]
    columns: Mapping[str, Any]

    @property
    def needed(self) -> bool:
        return self.says["stage"] != "pretrain"

    def path(self, runs: Path) -> Path:
        return runs / self.folder / "metrics.json"


class Run(NamedTuple):
    """The run that a figure comes from: its folder below runs/, in short how it was made, and what
    finds it in MLflow."""

    folder: str
    about: Mapping[str, Any]
    search: str = ""


class Results(NamedTuple):
    """The tidy frame, and what is no result, with the columns of rows.yaml; `rows` also `against`
    (see `claims.tested`) and `runs`: the Run that made a row, after an ensemble's its members'."""

    rows: pd.DataFrame
    costs: pd.DataFrame
    device: pd.DataFrame
    curves: pd.DataFrame


@cache
def data(name: str) -> Any:
    """What one of the YAML files beside this one says."""
    return yaml.safe_load((resources.files(__package__) / name).read_text(encoding="utf-8"))


SPEC = data("rows.yaml")
AXES = ("stream", "seed")  # of a line of the ablations
COLUMNS, LINE, NETWORK = SPEC["columns"], SPEC["line"], SPEC["network"]


def expected(listed: Listed) -> list[Expected]:
    """The files of the runs that a plan lists, one a stream where a run has `streams`; `run` is its
    folder, `axes` its stage and what MLflow has as tags of it, `says` what else its files say,
    `columns` what of its rows they do not."""
    found = []
    for one in listed:
        search = " and ".join(f"tags.{key} = '{value}'" for key, value in one["axes"].items())
        folder, columns = one["run"].removeprefix("runs/"), {**one["columns"], "search": search}
        says = {key: value for key, value in one["axes"].items() if key != "transfer"} | one["says"]
        for stream in one["streams"]:
            own = {**says, "stream": stream}
            found.append(Expected(f"{folder}/{stream}", own, columns))
        if not one["streams"]:
            found.append(Expected(folder, says, columns))
    return found


def gone(listed: Listed, runs: Path) -> list[Path]:
    """The files with results that are listed and not there."""
    paths = dict.fromkeys(one.path(runs) for one in expected(listed) if one.needed)
    return [path for path in paths if not path.is_file()]


def collect(
    listed: Listed, runs: Path, remedy: str = "dvc repro", missing: str = "error"
) -> Results:
    """Read every listed run. Raises ReportError naming all that are missing, unless `missing` is
    `leave_out`, or the first that is not as expected."""
    if missing not in ("error", "leave_out"):
        raise ReportError(f"missing: found {missing!r}, expected error or leave_out")
    if (absent := [*map(str, gone(listed, runs))]) and missing == "error":
        shown = "\n  ".join([*absent[:20], f"and {len(absent) - 20} more"][: len(absent)])
        count = f"{len(absent)} files of runs that the plan lists are missing"
        raise ReportError(f"{count}; `{remedy}` makes them:\n  {shown}")
    found: dict[str, list[Any]] = {"rows": [], "costs": [], "device": [], "curves": []}
    for one in (one for one in expected(listed) if one.path(runs).is_file()):
        stage, path = one.says["stage"], one.path(runs)
        content = read_json(path, one.says)
        machine: Any = content.get("machine")
        shared = {**content, **(machine if isinstance(machine, dict) else {}), "run": one.folder}
        for name, keys in SPEC["entries"].get(stage, SPEC["entries"]["results"]).items():
            if not isinstance(content.get(name), list):
                raise ReportError(f"{path}: {name}: found {content.get(name)!r}, expected a list")
            for index, own in enumerate(content[name]):
                where = f"{path}: {name}[{index}]"
                own = {**shared, **_mapping(own, where), **one.columns, "where": where}
                kind = {"efficiency": "costs", "export": "device"}.get(stage, "rows")
                own["network"] = f"{own.get('model')} ({own.get('teacher')})"
                found[kind].append(_mapping(own, where, keys))
        for name, values in content.get("curves", {}).items():
            about = {**shared, **one.says, **one.columns, "curve": name, "values": values}
            found["curves"].append(about)
    rows = _settled(_tidy(found.pop("rows")))
    others = [pd.DataFrame(own).reindex(columns=SPEC[kind]) for kind, own in found.items()]
    return Results(rows, *others)


def ablations(
    listed: Listed, runs: Path, weights: Mapping[str, float], missing: str = "error"
) -> Results:
    """The results of the ablations, with all streams added up by `weights` beside them where all
    were run. Of a row every seed has to be there. Raises ReportError."""
    found, every = collect(listed, runs, "make ablations", missing), expected(listed)
    rows, (streams, seeds) = found.rows, (len({one.says[a] for one in every}) for a in AXES)
    trained = rows.groupby([*LINE, "draw", "stream"], dropna=False).seed.transform("nunique")
    rows, together = rows[trained == seeds], []
    for _, own in rows.groupby(NETWORK, dropna=False, sort=False):
        if len(own) == streams > 1:
            row = {**own.iloc[0], "stage": "ensemble", "stream": f"{streams}s", "run": ""}
            row |= {"params": own.params.sum(), "runs": tuple(itertools.chain(*own.runs))}
            row["accuracy"] = 100 * answers(pd.Series(row), runs, weights).mean()
            together.append(row)
    return found._replace(rows=pd.concat([rows, pd.DataFrame(together)], ignore_index=True))


def answers(row: Any, runs: Path, weights: Mapping[str, float]) -> pd.Series:
    """Whether each test recording was put into its class, by name in order: by the logits of a
    row's run or by those of an ensemble's members, added up. Raises ReportError."""
    parts, truth = {}, pd.Series(dtype=int)
    for run in (run for run in row.runs if run.folder != row.run or row.stage != "ensemble"):
        folder, mode, stream = runs / run.folder, run.about["mode"], run.about["stream"]
        if row.of == "transfer":  # one folder of several streams and encoders
            folder, mode = folder / stream, f"{row.encoder}.{mode.split('_from_')[0]}"
        path = folder / "logits.npz"
        if not path.is_file():
            raise ReportError(f"{path}: not found; `dvc repro` makes it")
        names, labels, logits = evaluation.load_logits(path)
        if mode not in logits:
            known = ", ".join(logits) or "nothing"
            raise ReportError(f"{path}: found {known}, expected logits of {mode}")
        parts[stream], truth = (names, logits[mode]), pd.Series(labels, index=names)
    order, total = next(iter(parts.values()))
    if len(parts) > 1:
        order, total = evaluation.ensemble(parts, weights)
    labels = truth[order].to_numpy()
    return pd.Series(evaluation.answers(total, labels) == labels, index=order).sort_index()


def read(path: Path) -> pd.DataFrame:
    """The rows of a results.json, without the runs they came from."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return _tidy({**row, "where": f"{path}: [{i}]", "runs": ()} for i, row in enumerate(rows))


def players(benchmarks: Iterable[str], runs: Path) -> dict[str, dict[str, Any]]:
    """What the skeleton player shows of those benchmarks that `illustrate` was run for."""
    paths = {name: runs / "illustrate" / name / "player.json" for name in benchmarks}
    return {n: read_json(p, {"benchmark": n}) for n, p in paths.items() if p.is_file()}


def arrays(path: Path) -> dict[str, np.ndarray]:
    """What a figures.npz holds, by name. Raises ReportError where it is not there, or is none."""
    if not path.is_file():
        raise ReportError(f"{path}: not found; `dvc repro` makes it")
    try:
        with path.open("rb") as held, np.load(held, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ReportError(f"{path}: found {error}, expected arrays") from error
    if missing := [key for key in SPEC["arrays"] if key not in found]:
        expected = ", ".join(SPEC["arrays"])
        raise ReportError(f"{path}: found no {', '.join(missing)}, expected all of {expected}")
    return found


def streams(rows: pd.DataFrame) -> list[str]:
    """Columns of a table: each stream, and all together where there are several."""
    single = rows[(rows.stage != "ensemble") & (rows.of != "baseline")].stream.unique().tolist()
    return single if len(single) == 1 else [*single, f"{len(single)}s"]


def titles(rows: pd.DataFrame) -> dict[str, str]:
    """What benchmarks are called: `demo_ntu_xsub (demonstration)` where one is such."""
    shown = rows.groupby("benchmark", sort=False).demonstration.any()
    return {str(name): f"{name}{' (demonstration)' * made}" for name, made in shown.items()}


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """Its rows, whose columns are attributes, with their place as `Index`."""
    return frame.itertuples()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as plain data, None for what is missing."""
    found: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(found)


def run_of(row: Mapping[str, Any]) -> Run:
    """The run that made a row."""
    about = {key: row[key] for key in SPEC["shown"] if row.get(key) not in (None, "")}
    return Run(row["run"] or "", about, row.get("search") or "")


def read_json(path: Path, says: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A file's mapping. Raises ReportError where it is none, or something else than it `says`."""

    def refuse(word: str) -> float:
        raise ReportError(f"{path}: found {word}, expected a finite number")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}:{error.lineno}: found {error.msg}, expected JSON") from error
    for key, value in (says or {}).items():
        if (found := _mapping(content, path).get(key, value)) != value:
            expected = f"expected {value!r} as its folder says"
            raise ReportError(f"{path}: {key}: found {found!r}, {expected}")
    return _mapping(content, path)


def _mapping(content: Any, where: object, keys: Iterable[str] = ()) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ReportError(f"{where}: found {str(content)[:60]!r}, expected a mapping")
    for key in keys:
        if content.get(key) is None:
            raise ReportError(f"{where}: found no {key!r}, expected one")
    return content


def _tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame; whole numbers stay whole where some are missing. Raises ReportError."""
    blank = {"demonstration": False, "against": {}, "run": "", "change": "", "draw": ""}
    filled = [
        {**blank, "of": row.get("stage"), "recipe": row.get("encoder"), "search": ""}
        | {key: value for key, value in row.items() if value is not None}
        for row in rows
    ]
    frame = pd.DataFrame(filled, columns=[*COLUMNS, "runs", "against", "search", "where"])
    for key in (*SPEC["per_cent"], *SPEC["whole"]):
        values, what = pd.to_numeric(frame[key], errors="coerce"), "a percentage"
        good = values.between(0, 100)
        if key in SPEC["whole"]:
            good, what = values % 1 == 0, "a whole number"
        for row in each(frame[~good & frame[key].notna()]):
            raise ReportError(f"{row.where}: {key}: found {getattr(row, key)!r}, expected {what}")
    return frame.astype(dict.fromkeys(SPEC["whole"], "Int64") | {"source": "str"})


def _settled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that the parameters mean, with their runs: a file of several streams may be older,
    an ensemble needs its members, and a transfer's mode says where its encoders come from."""
    moved, together = frame.of == "transfer", frame.stage == "ensemble"
    for where in frame["where"][moved & frame.source.isna()]:
        raise ReportError(f"{where}: found no 'source', expected one")
    named = moved & (frame["mode"] == "transferred")
    frame.loc[named, "mode"] += "_from_" + frame.source[named]
    known = frame.stream[~moved & ~together & (frame.of != "baseline")].unique()
    keys = [frame[key].astype(object).fillna("") for key in NETWORK]
    frame["network"] = list(zip(*keys, strict=True))
    single = ~together & (frame.stream.isin(known) | (frame.of == "baseline"))
    whole = frame.network.isin(frame.network[single])
    frame = frame[single | (together & whole & (frame.stream == f"{len(known)}s"))]
    for _, row in frame[frame.duplicated(["network", "stream"])].iterrows():
        whose = " ".join(filter(None, (*row.network[:5], row.stream)))
        raise ReportError(f"{row['where']}: found {whose} twice, expected it once")
    frame["runs"] = pd.Series([(run_of(row),) for row in records(frame)], frame.index)
    together, members = frame.stage == "ensemble", frame[frame.stage != "ensemble"]
    recipes = members.drop_duplicates("network").set_index("network").recipe
    frame["recipe"] = frame.network.map(recipes).where(together, frame.recipe)
    of_all = frame.network.map(members.groupby("network").runs.sum()).where(together, ())
    frame["runs"] = frame.runs + of_all
    return frame.drop(columns="network").reset_index(drop=True)
