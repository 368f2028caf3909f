"""The results that belong to the current parameters.   runs/<stage>/<axes>/metrics.json → rows

Only paths that the parameters imply are read, so a run of a stream or an encoder that was dropped since
cannot appear, however long its folder stays behind; and one that is expected and not there is an error,
never a gap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

COLUMNS = (
    "benchmark",
    "stage",
    "mode",
    "encoder",
    "stream",
    "accuracy",
    "top5",
    "chance",
    "n_train",
    "n_test",
    "params",
    "macs",
    "flops",
    "epochs",
    "seed",
    "of",
    "source",
    "demonstration",
)
_NEEDED = ("benchmark", "stage", "mode", "encoder", "stream", "accuracy")
_PER_CENT = ("accuracy", "top5", "chance")
_TOLD = ("mode", "stream", "seed", "epochs", "precision", "n_train", "n_test")
_MEASURED = (
    "params",
    "macs",
    "flops",
    "file_bytes",
    "peak_bytes",
    "import_bytes",
    "latency_ms",
    "latency_p95_ms",
    "clips_per_s",
    "frames_per_s",
    "accuracy",
    "agreement",
    "largest_difference",
)

Row = dict[str, Any]


class ReportError(ValueError):
    """A run that is missing or says something else than its place; names file, found and expected."""


@dataclass(frozen=True)
class Expected:
    """One metrics.json that the parameters imply: its folder below runs/, and what it must say about
    itself."""

    stage: str
    axes: Mapping[str, str]
    says: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Stage, run and stream, `probe/lowdeg_highmot@ntu60_xsub/joint`."""
        own = dict(self.axes)
        benchmark, stream = own.pop("benchmark", ""), own.pop("stream", "")
        recipe = "".join(own.values())
        if self.stage in ("fuse", "distill", "export"):  # named by what their two encoders are
            recipe = f"asma_{recipe}"
        return Path(self.stage, "@".join(filter(None, (recipe, benchmark))), stream)


@dataclass(frozen=True)
class Run:
    """The run that a figure comes from: its folder below runs/, and in short how it was made."""

    folder: str  # probe/lowdeg_highmot@ntu60_xsub/joint
    told: Mapping[str, Any]  # mode, seed, epochs, precision, …
    known: Mapping[str, str] = field(default_factory=dict)  # how MLflow knows it where not by its name: `tags.stage`

    @property
    def name(self) -> str:
        """The name of the DVC stage and of the MLflow run, `probe@lowdeg_highmot-ntu60_xsub`."""
        stage, *run = self.folder.split("/")
        return f"{stage}@{run[0].removeprefix('asma_').replace('@', '-')}" if run else stage

    @property
    def search(self) -> str:
        """What finds it in MLflow: its name, or what else it is known by."""
        return " and ".join(f"{k} = '{v}'" for k, v in self.known.items()) or f'attributes.run_name = "{self.name}"'


@dataclass(frozen=True)
class Results:
    """What was found: rows with the keys of COLUMNS plus `n_labelled`, `precision` and `run`; costs; curves.

    `of` is the stage a row belongs to (an ensemble's: the stage of its members), `source` the benchmark its
    encoders were pretrained on where that is another one, `n_labelled` the number of recordings whose labels it learnt
    from, where it says so, `run` the folder below runs/ that the row was found in. `efficiency` has a list of models
    a benchmark, `device` a row a network and form, with `reason` in place of figures where a form could not be had.
    `curves` has (run, {curve: values by epoch}) for runs that left any.
    """

    rows: list[Row]
    benchmarks: list[str]
    streams: list[str]
    encoders: list[str]
    demonstrations: frozenset[str]
    efficiency: dict[str, list[Row]] = field(default_factory=dict)
    device: list[Row] = field(default_factory=list)
    curves: list[tuple[Expected, dict[str, list[float]]]] = field(default_factory=list)

    @cached_property
    def at_home(self) -> dict[tuple[str, str, str], list[Row]]:
        """The rows that are not transferred, by benchmark, encoder and mode."""
        found: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            if row["of"] != "transfer":
                found.setdefault((row["benchmark"], row["encoder"], row["mode"]), []).append(row)
        return found

    @cached_property
    def _families(self) -> dict[tuple[Any, ...], list[Row]]:
        """The rows that differ in nothing but the stream."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            found.setdefault(_whose(row), []).append(row)
        return found

    def runs(self, row: Row) -> tuple[Run, ...]:
        """The run that made a row, and after an ensemble's those of its members."""
        return tuple(
            Run(one["run"], {key: one[key] for key in _TOLD if one[key] is not None})
            for one in [row, *(member for member in self.members(row) if member is not row)]
        )

    def members(self, row: Row) -> list[Row]:
        """The rows of single streams that an ensemble is made of; a row that is none is its own."""
        if row["stage"] != "ensemble":
            return [row]
        return [one for one in self._families[_whose(row)] if one["stage"] != "ensemble"]

    def title(self, benchmark: str) -> str:
        """The benchmark's name, called a demonstration where it is one."""
        return titled(benchmark, self.demonstrations)


def titled(benchmark: str, demonstrations: frozenset[str]) -> str:
    """`demo_ntu_xsub (demonstration)`: a benchmark as every table and figure names it."""
    return f"{benchmark} (demonstration)" if benchmark in demonstrations else benchmark


def expected(params: Mapping[str, Any]) -> Iterator[Expected]:
    """Every run with results that the table's plan implies, in the order of the pipeline."""
    benchmarks, streams = _words(params, "benchmarks"), _words(params, "streams")
    grids = (
        ("probe", "encoder", _words(params, "encoders")),
        ("finetune", "encoder", _words(params, "encoders")),
        ("fuse", "mode", _words(params, "fuse.modes")),
        ("distill", "teacher", _words(params, "distill.teachers")),
    )
    for stage, axis, words in grids:
        for benchmark in benchmarks:
            for word in words:
                for stream in streams:
                    says = {"stage": stage, "benchmark": benchmark, "stream": stream}
                    if axis == "encoder":
                        says["encoder"] = word
                    yield Expected(stage, {axis: word, "benchmark": benchmark, "stream": stream}, says)
    for benchmark in benchmarks:
        says = {"stage": "baseline", "benchmark": benchmark}
        yield Expected("baseline", {"benchmark": benchmark}, says)
    for name, ends in _transfers(params).items():
        says = {"stage": "transfer", "benchmark": ends["target"]}
        yield Expected("transfer", {"transfer": name}, says)
    yield Expected("ensemble", {}, {"stage": "ensemble"})


def collect(params: Mapping[str, Any], runs: Path) -> Results:
    """Read every expected run. Raises ReportError naming all that are missing, or the first that is not as
    expected."""
    _complain_of_unnamed(params)
    plan = list(expected(params))
    benchmarks, streams = _words(params, "benchmarks"), _words(params, "streams")
    costs = [Expected("efficiency", {"benchmark": b}, {"stage": "efficiency", "benchmark": b}) for b in benchmarks]
    exports = list(_exports(params))
    _complain_of_missing([runs / item.folder / "metrics.json" for item in (*plan, *costs, *exports)])

    transfers = _transfers(params)
    targets = [ends["target"] for ends in transfers.values()]
    known = list(dict.fromkeys([*benchmarks, *targets]))
    demonstrations = _demonstrations(params, known)
    rows: list[Row] = []
    curves = []
    members: set[tuple[Any, ...]] = set()
    seen: set[tuple[Any, ...]] = set()
    for item in plan:
        path = runs / item.folder / "metrics.json"
        content = _read(path, item.says)
        if content.get("curves"):
            curves.append((item, content["curves"]))
        for index, own in enumerate(_list(content, "results", path)):
            row = _row(content, own, f"{path}: results[{index}]")
            row["run"] = item.folder.as_posix()
            row["recipe"] = content.get("recipe", row["encoder"])
            if row["of"] == "transfer":
                _name_source(row, item, transfers, f"{path}: results[{index}]")
            row["demonstration"] = bool(row["demonstration"]) or row["benchmark"] in demonstrations
            # One file over several axes may be older than the parameters. An ensemble needs its members.
            whose = _whose(row)
            if item.stage == "ensemble" and (whose not in members or row["stream"] != f"{len(streams)}s"):
                continue
            if item.stage == "transfer" and row["stream"] not in streams:
                continue
            members.add(whose)
            if (whose, row["stream"]) in seen:
                words = " ".join(filter(None, (*whose, row["stream"])))
                raise ReportError(f"{path}: results[{index}]: found {words} twice, expected it once")
            seen.add((whose, row["stream"]))
            rows.append(row)
    for benchmark, stream, encoder in (
        (b, s, e) for b in benchmarks for s in streams for e in _words(params, "encoders")
    ):
        item = Expected("pretrain", {"encoder": encoder, "benchmark": benchmark, "stream": stream}, {})
        path = runs / item.folder / "metrics.json"
        # Not a result: a benchmark may borrow its encoders from another one.
        if path.is_file() and (content := _read(path, {})).get("curves"):
            curves.append((item, content["curves"]))
    return Results(
        rows=rows,
        benchmarks=known,
        streams=streams,
        encoders=_words(params, "encoders"),
        demonstrations=demonstrations | {row["benchmark"] for row in rows if row["demonstration"]},
        efficiency={item.axes["benchmark"]: _costs(runs / item.folder / "metrics.json", item) for item in costs},
        device=[row for item in exports for row in _device(runs / item.folder / "metrics.json", item)],
        curves=curves,
    )


def read(path: Path) -> Results:
    """The rows of a results.json, without the runs, costs and curves that stand elsewhere."""
    gone = {"run": "", "precision": None}
    rows: list[Row] = [{**gone, **row} for row in json.loads(path.read_text(encoding="utf-8"))]
    single = [row for row in rows if row["stage"] != "ensemble"]
    return Results(
        rows=rows,
        benchmarks=list(dict.fromkeys(row["benchmark"] for row in rows)),
        streams=list(dict.fromkeys(row["stream"] for row in single)),
        encoders=list(dict.fromkeys(row["encoder"] for row in single if row["stage"] == "probe")),
        demonstrations=frozenset(row["benchmark"] for row in rows if row["demonstration"]),
    )


def _row(content: Row, own: Any, where: str) -> Row:
    if not isinstance(own, dict):
        raise ReportError(f"{where}: found {own!r}, expected a mapping")
    keys = (*COLUMNS, "n_labelled", "precision")
    row = {key: own.get(key, content.get(key)) for key in keys}
    row["stage"] = content.get("stage")
    row["of"] = row["of"] or row["stage"]
    for key in _NEEDED:
        if row[key] is None:
            raise ReportError(f"{where}: found no {key!r}, expected one")
    for key in _PER_CENT:
        value = row[key]
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 100):
            raise ReportError(f"{where}: {key}: found {value!r}, expected a percentage")
    return row


def _whose(row: Row) -> tuple[Any, ...]:
    """What the rows of several streams have in common."""
    return tuple(row[key] for key in ("benchmark", "of", "mode", "encoder", "source"))


def _name_source(row: Row, item: Expected, transfers: Mapping[str, Mapping[str, str]], where: str) -> None:
    """Several sources may have one target, so the mode says which: transferred_from_ntu60_xsub."""
    if "transfer" in item.axes:
        row["source"] = transfers[item.axes["transfer"]]["source"]
    elif row["source"] is None:
        sources = {ends["source"] for ends in transfers.values() if ends["target"] == row["benchmark"]}
        if len(sources) > 1:
            raise ReportError(f"{where}: found no 'source', expected one of {sorted(sources)}")
        row["source"] = next(iter(sources), None)
    if row["mode"] == "transferred" and row["source"]:
        row["mode"] = f"transferred_from_{row['source']}"


def _costs(path: Path, item: Expected) -> list[Row]:
    models = _list(_read(path, item.says), "models", path)
    for index, model in enumerate(models):
        for key in ("model", "streams", "params", "macs", "flops"):
            if key not in model:
                raise ReportError(f"{path}: models[{index}]: found no {key!r}, expected one")
        model["run"] = item.folder.as_posix()
    return models


def _exports(params: Mapping[str, Any]) -> Iterator[Expected]:
    """Exported networks. Raises ReportError where they are of students or streams that there are no longer."""
    for axis, known in (("teachers", "distill.teachers"), ("streams", "streams")):
        for word in _words(params, f"export.{axis}"):
            if word not in _words(params, known):
                found = ", ".join(_words(params, known)) or "none"
                raise ReportError(f"params.yaml: export.{axis}: found {word!r}, expected some of {known}: {found}")
    for teacher in _words(params, "export.teachers"):
        for benchmark in _words(params, "benchmarks"):
            for stream in _words(params, "export.streams"):
                axes = {"teacher": teacher, "benchmark": benchmark, "stream": stream}
                yield Expected("export", axes, {"stage": "export", **axes})


def _device(path: Path, item: Expected) -> list[Row]:
    content = _read(path, item.says)
    machine = content.get("machine")
    if not isinstance(machine, dict) or not {"processor", "threads"} <= set(machine):
        raise ReportError(f"{path}: machine: found {machine!r}, expected a mapping with processor and threads")
    rows = []
    for name, needed in (("models", _MEASURED), ("unavailable", ("reason",))):
        for index, own in enumerate(_list(content, name, path)):
            for key in ("model", "form", *needed):
                if key not in own:
                    raise ReportError(f"{path}: {name}[{index}]: found no {key!r}, expected one")
            rows.append({**item.axes, **machine, **own, "run": item.folder.as_posix()})
    return rows


def _read(path: Path, says: Mapping[str, str]) -> Row:
    def refuse(word: str) -> float:
        raise ReportError(f"{path}: found {word}, expected a finite number")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}:{error.lineno}: found {error.msg}, expected JSON") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: found {type(content).__name__}, expected a mapping")
    for key, value in says.items():
        if key in content and content[key] != value:
            raise ReportError(f"{path}: {key}: found {content[key]!r}, expected {value!r} as its folder says")
    return content


def _list(content: Row, key: str, path: Path) -> list[Row]:
    found = content.get(key)
    if not isinstance(found, list):
        raise ReportError(f"{path}: {key}: found {type(found).__name__}, expected a list")
    return found


def _complain_of_missing(paths: list[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        shown = "\n".join(f"  {path}" for path in missing[:20])
        more = f"\n  and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise ReportError(
            f"{len(missing)} of {len(paths)} runs that the parameters ask for are missing; "
            "`dvc repro` makes them:\n"
            f"{shown}{more}"
        )


def _complain_of_unnamed(params: Mapping[str, Any]) -> None:
    """Fusions and transfers rest on encoders that `encoders` must name: an old one's files would pass unnoticed."""
    encoders, fuse = _words(params, "encoders"), params["fuse"]
    needed: dict[str, str] = {}
    if _words(params, "fuse.modes") or _transfers(params):
        needed |= {fuse.get(place): f"fuse.{place}" for place in ("first", "second") if fuse.get(place)}
    if _transfers(params) and (params.get("transfer") or {}).get("scratch"):
        needed["random"] = "transfer.scratch"
    for encoder, whose in needed.items():
        if encoder not in encoders:
            raise ReportError(f"params.yaml: encoders: found {encoders}, expected {encoder!r} among them for {whose}")


def _words(params: Mapping[str, Any], name: str) -> list[str]:
    """The words of one axis: a list, or the keys of a mapping."""
    value: Any = params
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ReportError(f"params.yaml: {name}: not found, expected a list of words")
        value = value[part]
    if not isinstance(value, (list, Mapping)):
        raise ReportError(f"params.yaml: {name}: found {value!r}, expected a list of words")
    return [str(word) for word in value]


def _transfers(params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found = params.get("transfers") or {}
    for name, ends in found.items():
        if not isinstance(ends, Mapping) or not {"source", "target"} <= set(ends):
            raise ReportError(f"params.yaml: transfers.{name}: found {ends!r}, expected a source and a target")
    return dict(found)


def _demonstrations(params: Mapping[str, Any], benchmarks: list[str]) -> frozenset[str]:
    """The benchmarks of sets that are marked as demonstrations."""
    return frozenset(b for b in benchmarks if b in params.get("demonstrations", ()))
