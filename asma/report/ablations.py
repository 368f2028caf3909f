"""What the ablations found.   runs/…/<stage>/<recipe>@<benchmark>/<stream>/metrics.json, logits.npz → outcomes

Only what recipes/ablations.yaml lists is read, over all its seeds; a run that is listed and not there is an error,
or where one wants to see how far a long grid has got, leaves the rows out that need it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asma import evaluation
from asma.plan import DEFAULT
from asma.report.collect import ReportError, Run, titled

T = TypeVar("T")
DRAW = "finetune.draw="
MISSING = ("error", "leave_out")
# What a line of each list may change: the sections and keys that the stages read which are run again for it. Anything
# else would be trained for hours to come out as the default. `finetune` repeats lines of `pretrain`.
READ = {
    "pretrain": ("augment.", "mask.", "encoder.", "pretrain.", "run."),
    "labels": ("finetune.",),
    "fuse": ("fuse.alignment.", "fuse.fit.pretrain.", "probe."),
    "distill": ("distill.",),
}
# Beside what changes its pretraining, a line of `pretrain` may change how the encoders are judged then.
JUDGED = ("probe.", "fuse.alignment.", "fuse.fit.", "finetune.")
OF_VIEWS = "mask.score=view"  # with it, pretraining measures motion itself, by the section `motion`
_LISTS = ("benchmarks", "streams", "seeds", "masks", "pairs", "pretrain", "finetune", "labels", "fuse", "distill")


@dataclass(frozen=True)
class Ablation:
    """One line of the grid, for every benchmark, stream and seed: a stage and what was varied.

    `pretrained` is what was changed when its encoders were pretrained, `change` what was changed in the stage itself;
    who: the encoder, the pair, or whose student.
    """

    stage: str
    who: tuple[str, ...]
    pretrained: str | None = DEFAULT
    change: str | None = DEFAULT

    @property
    def folder(self) -> Path:
        """The line in words, as errors name it: `fuse/pretrain/lowdeg_highmot/highdeg_lowmot/default`."""
        return Path(self.stage, *self.who, *(word for word in (self.pretrained, self.change) if word is not None))

    @property
    def recipe(self) -> str:
        """The recipe of this line: what it is laid over, and its changes."""
        base = f"asma_{self.who[0]}" if self.stage in ("fuse", "distill") else self.who[0]
        pair = zip(("first", "second"), self.who[1:], strict=False) if self.stage == "fuse" else ()
        own = [f"fuse.{place}={encoder}" for place, encoder in pair]
        return "+".join([base, *own, *(f"{key}={value}" for key, value in self.changes.items())])

    @property
    def changes(self) -> dict[str, str]:
        """What differs from params.yaml, by key."""
        words = [w for part in (self.pretrained, self.change) for w in (part or DEFAULT).split("+") if w != DEFAULT]
        return {key: value for key, _, value in (word.partition("=") for word in words)}


def key(ablation: Ablation, benchmark: str, seed: int) -> str:
    """What a run of a line is called where its folder is looked up."""
    return f"{ablation.folder.as_posix()} {benchmark} {seed}"


def over_draws(values: Mapping[str, float]) -> dict[str, float]:
    """Values by seed and draw of the labels (`2, draw 5`) → their means by seed.

    Draws of one seed fine-tune one pretrained encoder and are no trainings of their own.
    """
    by_seed: dict[str, list[float]] = {}
    for run, value in values.items():
        by_seed.setdefault(run.partition(",")[0], []).append(value)
    return {seed: float(np.mean(of_seed)) for seed, of_seed in by_seed.items()}


@dataclass(frozen=True)
class Row:
    """What one line of the grid came to in one mode, benchmark and stream (`3s`: all together), over the seeds."""

    ablation: Ablation
    mode: str
    benchmark: str
    stream: str
    accuracy: dict[str, float]  # per cent, by seed, and by draw of the labels where there are several
    right: dict[str, np.ndarray]  # (n_test,) bool, in the order of the recordings' names
    names: tuple[str, ...]
    params: int
    demonstration: bool
    runs: tuple[Run, ...] = ()

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds, per cent."""
        return float(np.mean(list(over_draws(self.accuracy).values())))

    @property
    def deviation(self) -> float | None:
        """Standard deviation (n − 1) over the seeds, of a single one over its draws of the labels, per cent, if any."""
        by_seed = over_draws(self.accuracy)
        values = list((by_seed if len(by_seed) > 1 else self.accuracy).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def spread(self) -> str:
        """`39.3 ± 14.1`, mean and deviation as they stand in a table."""
        digits = 1 if self.deviation is None or self.deviation >= 1 else 2
        return f"{self.mean:.{digits}f}" + (f" ± {self.deviation:.{digits}f}" if self.deviation is not None else "")


@dataclass(frozen=True)
class Found:
    """All rows of the grid; `first` and `second` are the two encoders of `fuse`."""

    rows: list[Row]
    benchmarks: list[str]
    streams: list[str]
    seeds: list[int]
    first: str
    second: str
    demonstrations: frozenset[str] = field(default_factory=frozenset)
    missing: int = 0  # runs of the grid that are not there, their rows left out

    @property
    def stream(self) -> str:
        """The stream whose figures stand in the tables: all together where there are several."""
        return f"{len(self.streams)}s" if len(self.streams) > 1 else self.streams[0]

    def title(self, benchmark: str) -> str:
        """The benchmark's name, called a demonstration where it is one."""
        return titled(benchmark, self.demonstrations)

    def get(self, ablation: Ablation, mode: str, benchmark: str, stream: str | None = None) -> Row | None:
        """One row; None where the grid does not have it."""
        wanted = (ablation, mode, benchmark, stream or self.stream)
        return next((r for r in self.rows if (r.ablation, r.mode, r.benchmark, r.stream) == wanted), None)


def grid(params: Mapping[str, Any]) -> list[Ablation]:
    """Every line of the grid. Raises ReportError on a list that is not there."""
    how = _section(params)
    both = (params["fuse"]["first"], params["fuse"]["second"])
    lines = [Ablation("probe", (encoder,), change=None) for encoder in how["masks"]]
    lines += [Ablation("probe", (encoder,), changed, None) for changed in how["pretrain"] for encoder in both]
    lines += [Ablation("finetune", (encoder,)) for encoder in ("random", *both)]
    lines += [Ablation("finetune", (encoder,), changed) for changed in how["finetune"] for encoder in both]
    lines += [Ablation("finetune", (e,), DEFAULT, change) for change in how["labels"] for e in ("random", both[0])]
    lines += [Ablation("fuse", ("pretrain", pair["first"], pair["second"])) for pair in how["pairs"]]
    lines += [Ablation("fuse", ("pretrain", *both), changed) for changed in how["pretrain"]]
    lines += [Ablation("fuse", ("pretrain", *both), DEFAULT, change) for change in how["fuse"]]
    lines += [Ablation("fuse", ("finetune", *both), changed) for changed in (DEFAULT, *how["finetune"])]
    teachers = params["distill"]["teachers"]
    lines += [Ablation("distill", (teacher,), None) for teacher in teachers]
    lines += [Ablation("distill", (teacher,), None, change) for change in how["distill"] for teacher in teachers]
    return list(dict.fromkeys(lines))


def collect(params: Mapping[str, Any], folders: Mapping[str, str], missing: str = "error") -> Found:
    """Read every run of the grid. Raises ReportError naming all that are missing, unless told to leave them out.

    `leave_out` keeps the rows all of whose seeds are there, and an ensemble where all its streams are.
    """
    if missing not in MISSING:
        raise ReportError(f"missing: found {missing!r}, expected {' or '.join(MISSING)}")
    how, weights = _section(params), {str(k): float(v) for k, v in params["ensemble"]["weights"].items()}
    streams, seeds = [str(s) for s in how["streams"]], [int(s) for s in how["seeds"]]
    lines, benchmarks = grid(params), [str(b) for b in how["benchmarks"]]
    absent: list[Path] = []
    there: dict[tuple[Ablation, str], list[str]] = {}  # streams with all seeds
    for line, stream in itertools.product(itertools.product(lines, benchmarks), streams):
        places = [Path(folders[key(*line, seed)], stream) for seed in seeds]
        gone = [place for place in places if not (place / "metrics.json").is_file()]
        absent += gone
        if not gone:
            there.setdefault(line, []).append(stream)
    if absent and missing == "error":
        shown = "\n".join(f"  {folder}" for folder in absent[:20])
        total = len(lines) * len(benchmarks) * len(streams) * len(seeds)
        raise ReportError(f"{len(absent)} of {total} ablations are missing; `make ablations` makes them:\n{shown}")
    rows = _over_draws(
        [
            row
            for (ablation, benchmark), found in there.items()
            for row in _rows(ablation, benchmark, found, streams, seeds, folders, weights)
        ]
    )
    demonstrations = frozenset(row.benchmark for row in rows if row.demonstration)
    both = (params["fuse"]["first"], params["fuse"]["second"])
    return Found(rows, benchmarks, streams, seeds, *both, demonstrations, len(absent))


def losses(params: Mapping[str, Any], folders: Mapping[str, str]) -> dict[tuple[str, str, str], list[float | None]]:
    """The loss that each pretraining ended with: by encoder, benchmark and stream, one a seed, None where not run."""
    how = _section(params)
    found: dict[tuple[str, str, str], list[float | None]] = {}
    for axes in itertools.product(how["masks"], how["benchmarks"], how["streams"]):
        encoder, benchmark, stream = map(str, axes)
        line = Ablation("pretrain", (encoder,), change=None)
        places = [folders[key(line, benchmark, seed)] for seed in how["seeds"]]
        curves = [_curve(Path(place, stream, "metrics.json")) for place in places]
        if any(curves):
            found[encoder, benchmark, stream] = [curve[-1] if curve else None for curve in curves]
    return found


def _curve(path: Path) -> list[float]:
    """The loss by epoch of one pretraining; of an untrained encoder and of one that was not run it is empty."""
    curves = _json(path).get("curves", {}) if path.is_file() else {}
    return next(iter(curves.values()), [])


def _over_draws(rows: list[Row]) -> list[Row]:
    """Rows that differ only in which labels were drawn are one row."""
    merged: dict[tuple[Ablation, str, str, str], Row] = {}
    for row in rows:
        words = (row.ablation.change or "").split("+")
        draw = next((word.partition("=")[2] for word in words if word.startswith(DRAW)), None)
        if draw is None:
            merged[row.ablation, row.mode, row.benchmark, row.stream] = row
            continue
        line = replace(row.ablation, change="+".join(word for word in words if not word.startswith(DRAW)))
        key = (line, row.mode, row.benchmark, row.stream)
        known = merged.get(key)
        merged[key] = replace(
            row,
            ablation=line,
            accuracy={**(known.accuracy if known else {}), **_labelled(row.accuracy, draw)},
            right={**(known.right if known else {}), **_labelled(row.right, draw)},
            runs=(*(known.runs if known else ()), *row.runs),
        )
    return list(merged.values())


def _labelled(by_seed: dict[str, T], draw: str) -> dict[str, T]:
    return {f"{seed}, draw {draw}": value for seed, value in by_seed.items()}


def _rows(
    ablation: Ablation,
    benchmark: str,
    streams: list[str],
    every: list[str],
    seeds: list[int],
    folders: Mapping[str, str],
    weights: Mapping[str, float],
) -> Iterator[Row]:
    """The rows of one line on one benchmark: a mode and stream each, and the ensemble where `every` stream is there."""
    of_seed = {seed: Path(folders[key(ablation, benchmark, seed)]) for seed in seeds}
    folder = of_seed[seeds[0]]
    told = {stream: _read(folder / stream) for stream in streams}
    logits = {(s, n): evaluation.load_logits(of_seed[n] / s / "logits.npz") for s in streams for n in seeds}
    for mode in logits[streams[0], seeds[0]][2]:
        of_stream: dict[str, dict[int, tuple[tuple[str, ...], np.ndarray]]] = {}
        for seed in seeds:
            parts = {stream: logits[stream, seed] for stream in streams}
            for stream, (names, labels, by_mode) in parts.items():
                of_stream.setdefault(stream, {})[seed] = right(names, by_mode[mode], names, labels)
            if len(streams) == len(every) > 1:
                names, added = evaluation.ensemble({s: (p[0], p[2][mode]) for s, p in parts.items()}, weights)
                all_names, labels, _ = parts[streams[0]]
                of_stream.setdefault(f"{len(streams)}s", {})[seed] = right(names, added, all_names, labels)
        costs = {stream: next(r["params"] for r in told[stream]["results"] if r["mode"] == mode) for stream in streams}
        for stream, by_seed in of_stream.items():
            first = next(iter(by_seed.values()))[0]
            if any(names != first for names, _ in by_seed.values()):
                raise ReportError(f"{folder}: found other test recordings with another seed, expected the same")
            yield Row(
                ablation,
                mode,
                benchmark,
                stream,
                {str(seed): float(100 * right.sum() / len(right)) for seed, (_, right) in by_seed.items()},
                {str(seed): right for seed, (_, right) in by_seed.items()},
                first,
                costs.get(stream, sum(costs.values())),
                bool(told[streams[0]]["demonstration"]),
                tuple(
                    _run(ablation, mode, of_seed[seed] / one, seed)
                    for seed in seeds
                    for one in ([stream] if stream in streams else streams)
                ),
            )


def _run(ablation: Ablation, mode: str, folder: Path, seed: int) -> Run:
    recipe, _, benchmark = folder.parent.name.partition("@")
    tags = {"stage": ablation.stage, "recipe": recipe, "benchmark": benchmark}
    known = {f"tags.{name}": value for name, value in tags.items()}
    told = {"mode": mode, "seed": seed, **ablation.changes}
    return Run(folder.as_posix().removeprefix("runs/"), told, known)


def right(
    names: list[str], logits: np.ndarray, all_names: list[str], labels: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names in order and whether each recording was put into its class, of logits (n, K) in the order of `names`."""
    truth = dict(zip(all_names, labels.tolist(), strict=True))
    order = np.argsort(names)
    own = np.array([truth[names[i]] for i in order])
    return tuple(names[i] for i in order), evaluation.answers(logits[order], own) == own


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}:{error.lineno}: found {error.msg}, expected JSON") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: found {type(content).__name__}, expected a mapping")
    return content


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    content = _json(path)
    if not isinstance(content.get("results"), list):
        raise ReportError(f"{path}: results: found none, expected a list")
    return content


def _section(params: Mapping[str, Any]) -> dict[str, list[Any]]:
    how = params.get("ablations") or {}
    for name in _LISTS:
        if not isinstance(how.get(name), list):
            raise ReportError(f"recipes/ablations.yaml: {name}: found {how.get(name)!r}, expected a list")
    for place, pair in enumerate(how["pairs"]):
        if not isinstance(pair, Mapping) or set(pair) != {"first", "second"}:
            raise ReportError(f"recipes/ablations.yaml: pairs[{place}]: found {pair!r}, expected first and second")
        for encoder in pair.values():
            if encoder not in how["masks"]:
                raise ReportError(f"recipes/ablations.yaml: masks: found no {encoder!r}, which a pair needs")
    of_views = params["mask"].get("score") == OF_VIEWS.partition("=")[2]
    for name, keys in READ.items():
        for line in how[name]:
            words = str(line).split("+")
            also = ("motion.",) if name == "pretrain" and (of_views or OF_VIEWS in words) else ()
            judged = JUDGED if name == "pretrain" and any(word.startswith((*keys, *also)) for word in words) else ()
            for word in words:
                if not word.startswith((*keys, *also, *judged)):
                    shown = ", ".join(f"{key}…" if key.endswith(".") else key for key in (*keys, *also))
                    where = f"recipes/ablations.yaml: {name}"
                    raise ReportError(f"{where}: found {word!r}, which changes nothing there; expected {shown}")
    for changed in how["finetune"]:
        if changed not in how["pretrain"]:
            raise ReportError(f"recipes/ablations.yaml: pretrain: found no {changed!r}, which `finetune` needs")
    for encoder in ("random", params["fuse"]["first"], params["fuse"]["second"]):
        if encoder not in how["masks"]:
            raise ReportError(f"recipes/ablations.yaml: masks: found no {encoder!r}, which `finetune` needs")
    return how


def chosen(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows whose ablation, or who themselves, have these values."""
    return [
        row
        for row in rows
        if all(getattr(row.ablation if hasattr(row.ablation, k) else row, k) == v for k, v in wanted.items())
    ]
