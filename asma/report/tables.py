"""Rows to tables: results.md in the shape of the paper's Table 1, results.csv and .json, a short form for
the terminal."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any, Protocol

import yaml
from tabulate import tabulate

from asma.report import headline as short
from asma.report.collect import COLUMNS, Results, Row, Run

NONE = "–"
OURS, PUBLISHED = "this project", "published"
CONTROL = "control: "
WIDTH = 96  # of the terminal's sentences
HOW = (
    "Frozen: encoders as pretraining without labels left them, only a classifier learns on them; of single ones, the "
    "untrained too, on standardised features. Without alignment: a plain head as large. Chance: always the commonest "
    "class. "
    "Verdicts are of the last column. Undecided: it may be luck; p, of a sign-flip test over the test recordings and "
    "corrected for all that is asked of them, is not below 0.05. Another training may say otherwise."
)
BOLD = " Marked: the best of its column here."

_COSTS = {"params": 1e6, "macs": 1e9, "flops": 1e9}  # units of the headline table

Mode = tuple[str, str]  # encoder, mode


@dataclass(frozen=True)
class Method:
    """A line of the headline table: whose linear and fine-tuned figures stand in it, and its name in the
    paper's."""

    name: str
    linear: Mode | None
    finetuned: Mode | None
    published: str | None = None


@dataclass(frozen=True)
class Line:
    """One line of a table; `by` says whose figures they are, `runs` which runs made the cell of that number, `best`
    which cells are the best of their columns."""

    cells: list[str]
    by: str = OURS
    runs: Mapping[int, Sequence[Run]] = field(default_factory=dict)
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """A table before it is Markdown or HTML; the first `words` columns are text, the others numbers; `points` are
    sentences below it."""

    title: str
    caption: str
    header: list[str]
    words: int
    lines: list[Line] = field(default_factory=list)
    points: list[str] = field(default_factory=list)


@cache
def paper() -> dict[str, Any]:
    """The published figures, paper.yaml."""
    return yaml.safe_load((resources.files(__package__) / "paper.yaml").read_text(encoding="utf-8"))


def published(table: str, method: str, benchmark: str, stream: str | None = None) -> dict[str, float]:
    """`linear` and `finetuned` of a method on a benchmark in one of the paper's tables, as far as it gives
    them."""
    for row in paper()[table]["rows"]:
        if row["method"] == method and row.get("stream") == stream:
            return row["results"].get(benchmark, {})
    return {}


def methods(results: Results) -> list[Method]:
    """The lines of the headline table: the method, its student, what is left out of it in turn, the
    controls."""
    single = [Method(name, (name, "linear"), (name, "finetuned")) for name in results.encoders if name != "random"]
    return [
        Method("ASMa", ("both", "aligned_probed"), ("both", "aligned_finetuned"), "3s-ASMa"),
        Method(
            "ASMa-Distill",
            ("student", "distilled_probed"),
            ("student", "distilled_finetuned"),
            "3s-ASMa-Distill",
        ),
        Method(
            "ASMa-Distill by features",
            ("student", "feature_distilled_probed"),
            ("student", "feature_distilled_finetuned"),
        ),
        *(
            Method(f"ASMa without alignment{how}", ("both", f"{head}_probed"), ("both", f"{head}_finetuned"))
            for head, how in (
                ("averaged", ""),
                ("concatenated", ", concatenated"),
                ("concatenated_wide", ", concatenated, as many parameters"),
            )
        ),
        *single,
        Method("control: untrained encoder, from scratch", ("random", "linear"), ("random", "scratch")),
        Method("control: student from scratch", ("student", "scratch_probed"), ("student", "scratch_finetuned")),
        Method("control: ridge on raw coordinates", ("coordinates", "ridge"), None),
    ]


def last_stream(results: Results) -> str:
    """The column that stands for all streams: `3s`, or the stream itself where there is only one."""
    return f"{len(results.streams)}s" if len(results.streams) > 1 else results.streams[0]


def find(results: Results, benchmark: str, mode: Mode | None, stream: str) -> Row | None:
    """The row of one encoder and mode at home (not transferred), of the ridge classifier in its only
    stream."""
    for row in results.at_home.get((benchmark, *mode), []) if mode else []:
        if row["stream"] == stream or row["of"] == "baseline":
            return row
    return None


def _marked(lines: Sequence[Line], columns: Sequence[int]) -> list[Line]:
    """The lines with the best of this project's figures of each column marked, all of them where several are."""
    best: dict[int, set[int]] = {}
    for column in columns:
        told = {n: line.cells[column].split(" / ")[0] for n, line in enumerate(lines) if line.by == OURS}
        values = {n: float(cell) for n, cell in told.items() if cell != NONE}
        for n in (n for n, value in values.items() if value == max(values.values())):
            best.setdefault(n, set()).add(column)
    return [replace(line, best=frozenset(best.get(n, ()))) for n, line in enumerate(lines)]


def in_short(results: Results, benchmark: str) -> Table | None:
    """What was learnt against what: the methods and their controls, a column a stream; the verdicts below it. None
    where there is no method."""
    found = short.entries(results, benchmark)
    if not found:
        return None
    streams = [stream for stream in _streams(results) if any(stream in entry.rows for entry in found)]
    lines = []
    for entry in found:
        shown = [entry.rows.get(stream) for stream in streams]
        cells = [_number(row["accuracy"] if row else None, 1) for row in shown]
        lines.append(Line([CONTROL * entry.control + entry.name, *cells], runs=_runs(results, shown, 1)))
    lines = _marked(lines, range(1, 1 + len(streams)))
    if (least := short.chance(results, benchmark)) is not None:
        lines.append(Line([f"{CONTROL}chance", *[_number(least, 1)] * len(streams)]))
    row, points = found[0].row, [verdict.sentence for verdict in short.verdicts(results, benchmark)]
    sizes = f"Per cent of {row['n_test']} test recordings, {row['n_train']} to learn from"
    caption = f"{sizes}; one training, seed {row['seed']}."
    caption += semi_supervised([row for row in results.rows if row["benchmark"] == benchmark])
    return Table(results.title(benchmark), caption, ["Method", *streams], 1, lines, points)


def _streams(results: Results) -> list[str]:
    """Columns of a table: each stream, and all together where there are several."""
    return list(dict.fromkeys([*results.streams, last_stream(results)]))


def headline(results: Results) -> Table:
    """The paper's Table 1 for the benchmarks at hand, its figures beside ours where the benchmark is the
    paper's."""
    columns = [b for b in results.benchmarks if any(r["benchmark"] == b and r["of"] == "probe" for r in results.rows)]
    stream, prefix = last_stream(results), f"{len(results.streams)}s-" if len(results.streams) > 1 else ""
    header = ["Method", "Figures"]
    for benchmark in columns:
        header += [f"{results.title(benchmark)} Lin.", f"{results.title(benchmark)} FT."]
    header += ["Params (M)", "MACs (G)", "FLOPs (G)"]
    lines = []
    for method in methods(results):
        found = [
            find(results, benchmark, mode, stream)
            for benchmark in columns
            for mode in (method.linear, method.finetuned)
        ]
        costs = next((row for row in reversed(found[:2]) if row), None)
        cost = [_scaled(costs[key] if costs else None, unit) for key, unit in _COSTS.items()]
        name = method.name if method.name.startswith("control") else prefix + method.name
        if any(found):
            cells = [name, OURS, *(_number(row["accuracy"] if row else None, 1) for row in found), *cost]
            lines.append(Line(cells, runs=_runs(results, found + [costs] * len(cost), 2)))
        if method.published:
            lines += _published_lines(columns, lambda row, m=method: row["method"] == m.published)
    lines += _published_lines(columns, lambda row: row["kind"] == "self-supervised")
    lines += _published_lines(columns, lambda row: row["kind"] == "supervised")
    caption = (
        f"Top-1 accuracy in per cent, stream {stream}, after the last epoch. Lin.: frozen encoders; "
        "FT.: fine-tuned. "
        "A student's Lin. is that of the probed teacher's student. Params, MACs and FLOPs are those of the "
        f"FT. network on {columns[0] if columns else 'the first benchmark'}, for one clip; 1 MAC is 2 FLOPs."
    )
    caption += semi_supervised([row for row in results.rows if row["benchmark"] in columns])
    if any(line.by == PUBLISHED for line in lines):
        caption += (
            " Published figures are as printed, some of them under FLOPs count what is a MAC here "
            f"({paper()['source']['title']}, arXiv {paper()['source']['arxiv']}, Table 1).{elsewhere(columns)}"
        )
    return Table("All methods", caption + BOLD, header, 2, _marked(lines, range(2, 2 + 2 * len(columns))))


def semi_supervised(rows: Sequence[Row]) -> str:
    """A sentence for a caption where fine-tuning did not use all labels, else nothing."""
    told = {(row["benchmark"], row.get("n_labelled"), row["n_train"]) for row in rows}
    fewer = [f"{n} of {of} recordings of {whose}" for whose, n, of in sorted(told, key=str) if n not in (None, of)]
    return f" Fine-tuning used the labels of {', '.join(fewer)}." if fewer else ""


def _runs(results: Results, shown: Sequence[Row | None], first: int) -> dict[int, Sequence[Run]]:
    """The runs of the cells from number `first` on, which show these rows."""
    return {place: results.runs(row) for place, row in enumerate(shown, start=first) if row}


def _published_lines(columns: Sequence[str], wanted: Any) -> Iterator[Line]:
    for row in paper()["table_1"]["rows"]:
        cells = [row["results"].get(b, {}).get(kind) for b in columns for kind in ("linear", "finetuned")]
        if wanted(row) and any(cells):
            name = _named(row)
            cost = [_number(row.get("params"), 2), NONE, _number(row.get("flops"), 2)]
            yield Line([name, PUBLISHED, *(_number(cell, 1) for cell in cells), *cost], PUBLISHED)


def _named(row: Mapping[str, Any]) -> str:
    """A published method and its authors."""
    return f"{row['method']} ({row['authors']})" if "authors" in row else str(row["method"])


def elsewhere(benchmarks: Sequence[str]) -> str:
    """A sentence for a caption where the paper's encoders were pretrained on another benchmark, else nothing."""
    told = paper()["pretrained_on"]
    found = [f"{told[benchmark]} for {benchmark}" for benchmark in benchmarks if benchmark in told]
    if not found:
        return ""
    return (
        f" The paper pretrains on {', '.join(found)} (its Section 4), this project every benchmark's encoders on its"
        " own training recordings, so these published figures are of another pretraining."
    )


def of_benchmark(results: Results, benchmark: str) -> Table:
    """Every result on one benchmark: stage × encoder × mode, a column a stream."""
    streams = _streams(results)
    own = [row for row in results.rows if row["benchmark"] == benchmark]
    found: dict[tuple[str, str, str, str | None], dict[str, Row]] = {}
    for row in own:
        found.setdefault((row["of"], row["encoder"], row["mode"], row["source"]), {})[row["stream"]] = row
    several = len({source for *_, source in found if source}) > 1
    lines = []
    for (stage, encoder, mode, source), by_stream in found.items():
        shown = [by_stream.get(stream) for stream in streams]
        cells = [f"{_number(row['accuracy'], 2)} / {_number(row['top5'], 2)}" if row else NONE for row in shown]
        name = f"{mode} (beside {source})" if several and source and source not in mode else mode
        lines.append(Line([stage, encoder, name, *cells], runs=_runs(results, shown, 3)))
        for method, told in _published_beside(benchmark, stage, (encoder, mode), source, streams):
            lines.append(Line([PUBLISHED, method, mode, *map(printed, told)], PUBLISHED))
    if "3s" in streams and any(line.cells[0] == "probe" for line in lines):  # after all single encoders
        after = max(place for place, line in enumerate(lines, start=1) if line.cells[0] == "probe")
        lines[after:after] = [
            Line([PUBLISHED, method, "linear", *[NONE] * (len(streams) - 1), printed(figures["linear"])], PUBLISHED)
            for method in ("f_phi only", "f_theta only")
            if (figures := published("table_3", method, benchmark))
        ]
    first = own[0] if own else {}
    sizes = {key: next((row[key] for row in own if row[key] is not None), NONE) for key in ("n_train", "n_test")}
    caption = (
        f"Top-1 / top-5 accuracy in per cent, after the last epoch; {sizes['n_train']} recordings to train, "
        f"{sizes['n_test']} to test, seed {first.get('seed', NONE)}."
    )
    caption += semi_supervised(own) + BOLD
    if any(line.by == PUBLISHED for line in lines):
        caption += f" Published: arXiv {paper()['source']['arxiv']}, Tables 1, 3, 6 and 8.{elsewhere([benchmark])}"
    header = ["Stage", "Encoder", "Mode", *streams]
    return Table(f"{results.title(benchmark)}: all results", caption, header, 3, _marked(lines, range(3, len(header))))


def _published_beside(
    benchmark: str, stage: str, mode: Mode, source: str | None, streams: Sequence[str]
) -> Iterator[tuple[str, list[float | None]]]:
    """Whose published figures stand below one of our lines of `of_benchmark`, and which, a stream each."""
    encoder, how = mode
    if stage == "transfer":
        if encoder == "both" and benchmark == "pku2_xsub" and source and streams[-1] == "3s":
            for row in paper()["table_6"]["rows"]:
                if source in row["results"]:
                    yield _named(row), [*[None] * (len(streams) - 1), row["results"][source]["finetuned"]]
        return
    if any(told := [published_cell(benchmark, mode, stream) for stream in streams]):
        yield encoder, told


def published_cell(benchmark: str, mode: Mode, stream: str) -> float | None:
    """The paper's figure for one cell of `of_benchmark`, if it gives one."""
    method, kind = {
        ("both", "aligned_probed"): ("ASMa", "linear"),
        ("both", "aligned_finetuned"): ("ASMa", "finetuned"),
        ("student", "distilled_probed"): ("ASMa-Distill", "linear"),
        ("student", "distilled_finetuned"): ("ASMa-Distill", "finetuned"),
        ("both", "averaged_probed"): ("both, without alignment", "linear"),
    }.get(mode, ("", ""))
    if stream != "3s":
        return published("table_8", method, benchmark, stream).get(kind)
    if method.startswith("both"):
        return published("table_3", method, benchmark).get(kind)
    return published("table_1", f"3s-{method}", benchmark).get(kind)


def efficiency(results: Results) -> Table:
    """Parameters, multiply-accumulates and operations of every model, for one clip."""
    lines = [
        Line(
            [
                results.title(benchmark),
                str(model["model"]),
                str(model["streams"]),
                f"{model['params']:,}",
                *(_scaled(model[key], 1e9, 3) for key in ("macs", "flops")),
            ],
            runs=dict.fromkeys(
                range(2, 6), [Run(model["run"], {"model": model["model"], "streams": model["streams"]})]
            ),
        )
        for benchmark, models in results.efficiency.items()
        for model in models
    ]
    caption = "For one clip. 1 MAC is 2 FLOPs; which of both a paper means by FLOPs differs."
    return Table("Efficiency", caption, ["Benchmark", "Model", "Streams", "Params", "MACs (G)", "FLOPs (G)"], 2, lines)


def on_device(results: Results) -> Table:
    """The paper's Table 2 for the machine at hand, its figures beside ours where the benchmark is the paper's."""
    header = ["Benchmark", "Network", "Form", "Stream", "Accuracy", "Same answer", "Params (M)", "MACs (G)"]
    header += [
        "File (MB)",
        "Memory (MB)",
        "Process (MB)",
        "Latency (ms)",
        "p95 (ms)",
        "Clips/s",
        "Frames/s",
    ]
    lines = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in results.device):
        for row in (row for row in results.device if row["benchmark"] == benchmark):
            cells = [results.title(benchmark), *_device_cells(row)]
            told: dict[str, Any] = {key: row[key] for key in ("processor", "threads", "torch") if key in row}
            runs = {place: [Run(row["run"], told)] for place in range(4, len(cells)) if cells[place] != NONE}
            lines.append(Line(cells, runs=runs))
        for row in paper()["table_2"]["rows"]:
            if benchmark in row["results"]:
                lines.append(Line([results.title(benchmark), *_published_device_cells(row, benchmark)], PUBLISHED))
    machines = " and ".join(dict.fromkeys(map(_machine, results.device)))
    caption = (
        f"One network of one stream, answering the test clips one at a time on {machines}; what differs from run to "
        "run is what that took when the table was made. Same answer: share of the test clips put into the same class "
        "as by the network in torch. Memory: the most that a fresh process held which loads the form and answers one "
        "clip, beyond that of its imports; Process: all of it. Latency: median and 95th percentile; clips/s and "
        "frames/s follow from the median. A form in torch has the size of its weights file."
    )
    for row in results.device:
        if "reason" in row:
            caption += f" Not available here, {row['model']} {row['form']}: {row['reason'].rstrip('.')}."
    if any(line.by == PUBLISHED for line in lines):
        caption += (
            f" Published figures ({paper()['source']['title']}, Table 2) are of three streams; what their memory "
            "counts is not said; their frames per second are one over their latency and so stand under clips."
        )
    return Table("Efficiency on this machine", caption, header, 4, lines)


def network_name(row: Row) -> str:
    """`student (finetune)`: which network, and where the teacher's encoders come from."""
    return f"{row['model']} ({row['teacher']})"


def _machine(row: Row) -> str:
    return f"{row['processor']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def _device_cells(row: Row) -> list[str]:
    words = [network_name(row), str(row["form"]), str(row["stream"])]
    if "reason" in row:
        return [*words, *[NONE] * 11]
    return [
        *words,
        _number(row["accuracy"], 2),
        _number(row["agreement"], 1),
        _scaled(row["params"], 1e6, 3),
        _scaled(row["macs"], 1e9, 3),
        _scaled(row["file_bytes"], 1e6),
        *(_scaled(value, 1e6, 1) for value in (row["peak_bytes"], row["peak_bytes"] + row["import_bytes"])),
        *(_number(row[key], 2) for key in ("latency_ms", "latency_p95_ms")),
        *(_number(row[key], 0) for key in ("clips_per_s", "frames_per_s")),
    ]


def _published_device_cells(row: Row, benchmark: str) -> list[str]:
    told = [row["results"][benchmark]["finetuned"], None, row["params"], None, row["size_mb"], None]
    told += [row["memory_mb"], row["latency_ms"], None, row["fps"], None]
    return [f"{row['method']}, {row['machine']}", PUBLISHED, "3s", *(_number(value, 2) for value in told)]


def tables(results: Results) -> list[Table]:
    """All of them, in the order of the report: first what matters, of each benchmark."""
    shortly = [in_short(results, benchmark) for benchmark in results.benchmarks]
    parts = [table for table in shortly if table]
    if parts:
        parts[-1] = replace(parts[-1], caption=f"{parts[-1].caption} {HOW}{BOLD}")
    parts.append(headline(results))
    parts += [of_benchmark(results, benchmark) for benchmark in results.benchmarks]
    if results.efficiency:
        parts.append(efficiency(results))
    return [*parts, on_device(results)] if results.device else parts


class Shown(Protocol):
    """What is in a table: the results or the ablations."""

    @property
    def benchmarks(self) -> list[str]:
        """All of them."""

    @property
    def demonstrations(self) -> frozenset[str]:
        """Those among them."""


def note(results: Shown) -> str | None:
    """What a reader has to know about demonstrations, if there are any."""
    named = [benchmark for benchmark in results.benchmarks if benchmark in results.demonstrations]
    if not named:
        return None
    return (
        f"Demonstration: {', '.join(named)}. The recordings are synthetic and the training is short; "
        "the figures show that the pipeline works and say nothing about the method."
    )


def pipe(table: Table) -> str:
    """A table in Markdown, without its title and caption."""
    align = ["left" if i < table.words else "right" for i in range(len(table.header))]
    cells = [
        [f"**{text}**" if n in line.best else text for n, text in enumerate(map(_escaped, line.cells))]
        for line in table.lines
    ]
    return tabulate(cells, table.header, tablefmt="pipe", colalign=align if cells else None, disable_numparse=True)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def markdown(results: Results) -> str:
    """results.md."""
    parts = ["# Results"]
    if said := note(results):
        parts.append(f"**{said}**")
    for table in tables(results):
        points = "\n".join(f"- {point}" for point in table.points)
        parts += filter(None, [f"## {table.title}", pipe(table), table.caption, points])
    return "\n\n".join(parts) + "\n"


def terminal(results: Results) -> str:
    """What was learnt, how good, against what: `in_short` of each benchmark. `collect.read` of a results.json gives
    the same text as the results it was written from."""
    shortly = [table for benchmark in results.benchmarks if (table := in_short(results, benchmark))]
    parts = []
    for table in shortly:
        cells = [["*" * (n in line.best) + text for n, text in enumerate(line.cells)] for line in table.lines]
        align = ("left", *["right"] * (len(table.header) - 1))
        header = [table.title, *table.header[1:]]
        parts.append(tabulate(cells, header, tablefmt="simple", colalign=align, disable_numparse=True))
        points = [textwrap.fill(f"- {point}", WIDTH, subsequent_indent="  ") for point in table.points]
        caption = textwrap.fill(f"{table.caption} *: best of its column.", WIDTH)
        parts.append("\n".join([caption, *points]))
    last = [HOW if shortly else None, note(results)]
    return "\n\n".join([*parts, *(textwrap.fill(said, WIDTH) for said in last if said)])


def as_csv(results: Results) -> str:
    """results.csv: one row a result, the keys of COLUMNS."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(results.rows)
    return out.getvalue()


def as_json(results: Results) -> str:
    """results.json: a list of the same rows, with how many labels a row learnt from and `against` where it stands
    against controls, as far as there are any."""
    rows: list[Mapping[str, Any]] = [
        {key: row[key] for key in COLUMNS}
        | {key: row[key] for key in ("n_labelled", "against") if row.get(key) is not None}
        for row in results.rows
    ]
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def printed(value: float | None) -> str:
    """A published figure with the digits it was printed with, one or two."""
    text = _number(value, 2)
    return text[:-1] if text.endswith("0") else text


def _scaled(value: float | None, unit: float, digits: int = 2) -> str:
    return NONE if value is None else f"{value / unit:.{digits}f}"


def summary(results: Results) -> dict[str, dict[str, float]]:
    """Accuracy by benchmark and `<encoder>.<mode>`, of all streams together where there is an ensemble, else of the
    first stream that has the row: few enough figures for the columns of `dvc exp show`."""
    ensemble = f"{len(results.streams)}s"
    order = {stream: i for i, stream in enumerate([ensemble, *results.streams])}
    found: dict[str, dict[str, float]] = {}
    for row in sorted(results.rows, key=lambda row: order.get(row["stream"], len(order))):
        found.setdefault(row["benchmark"], {}).setdefault(f"{row['encoder']}.{row['mode']}", row["accuracy"])
    return found
