"""The ablations as tables and figures: one for each thing varied, a line a value, mean and deviation over the seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import yaml
from matplotlib.figure import Figure

from asma.report import claims, tables
from asma.report.ablations import Ablation, Found, Row, chosen
from asma.report.figures import COLOURS, STYLE
from asma.report.tables import NONE, PUBLISHED, Line, Table

# What a key's table is called; any other is called by its key.
TITLES = {
    "mask.joints": "Number of masked joints (the paper's Table 7)",
    "mask.frames": "Number of masked frames (the paper's Table 7)",
    "mask.low_degree": "Weights of the low-degree choice",
    "mask.operation": "Removing against zeroing",
    "encoder.backbone": "Backbones (the paper's Table 4)",
    "encoder.width": "Width of the encoder",
    "fuse.alignment.tokens": "Tokens of the feature alignment",
    "fuse.alignment.shared_output": "One output layer of the feature alignment, or two",
    "run.precision": "Precision",
    "distill.temperature": "Temperature of distillation (the paper's Figure 4)",
    "distill.layers": "Depth of the student (the paper's Figure 4)",
    "distill.form": "What is distilled (the paper's Table 11)",
    "finetune.labels": "Share of the labels",
}


def published(varied: str, value: str, row: Row) -> float | None:
    """The paper's figure beside a row in which `varied` has this value, if it gives one."""
    told = tables.paper()["ablations"].get(varied)
    if told is None or told["stream"] != row.stream or row.mode not in told["modes"]:
        return None
    if told.get("encoder", row.ablation.who[0]) != row.ablation.who[0]:
        return None
    cell = {str(key): cells for key, cells in told["values"].items()}.get(value, {}).get(row.benchmark)
    return cell.get(row.mode) if isinstance(cell, dict) else cell


def shown(varied: str, rows: Sequence[Row], benchmark: str, found: Found) -> list[Row]:
    """The rows of one stream: the one that the paper has figures of for this benchmark, if it was run, or else that of
    the other tables."""
    told = tables.paper()["ablations"].get(varied, {"stream": None, "values": {}})
    there = any(benchmark in cells for cells in told["values"].values())
    theirs = [row for row in rows if there and row.stream == told["stream"]]
    return theirs or [row for row in rows if row.stream == found.stream]


def all_tables(found: Found, params: Mapping[str, Any]) -> list[Table]:
    """Every table, benchmark by benchmark."""
    made = []
    for benchmark in found.benchmarks:
        rows, name = [r for r in found.rows if r.benchmark == benchmark], found.title(benchmark)
        made += [
            seeds(rows, name, found),
            masks(rows, name, benchmark, found),
            pairs(rows, name, found),
            *(varied(key, rows, name, benchmark, found, params) for key in _keys(rows)),
        ]
    return [table for table in made if table.lines]


def seeds(rows: Sequence[Row], name: str, found: Found) -> Table:
    """The rows of the results table over the seeds (Table 12)."""
    lines = []
    for row in (r for r in shown("", rows, "", found) if not r.ablation.changes and _is_ours(r.ablation, found)):
        whose = _whose(row.ablation)
        lines.append(Line([whose, row.mode, row.spread, *_by_seed(row, found)], runs={2: row.runs}))
        kind = {"aligned_probed": "linear", "aligned_finetuned": "finetuned"}.get(row.mode, "")
        told = tables.published("table_12", f"{row.stream}-ASMa", row.benchmark)
        if kind in told:
            spread = f"{told[kind]:.2f} ± {told[f'{kind}_std']:.2f}"
            lines.append(Line([f"{whose}, published", row.mode, spread, *[NONE] * len(found.seeds)], PUBLISHED))
    header = ["Encoders", "Mode", "mean ± deviation", *(f"seed {seed}" for seed in found.seeds)]
    return Table(f"Seeds (the paper's Table 12): {name}", _caption(found, found.stream), header, 2, lines)


def masks(rows: Sequence[Row], name: str, benchmark: str, found: Found) -> Table:
    """One frozen encoder by what it hides (Table 9, Figure 3)."""
    wanted = [r for r in chosen(rows, stage="probe") if not r.ablation.changes]
    told = [(r.ablation.who[0], r) for r in shown("masks", wanted, benchmark, found)]
    return _by_value(f"Masks, one encoder (the paper's Table 9): {name}", "masks", "Encoder", told, found)


def pairs(rows: Sequence[Row], name: str, found: Found) -> Table:
    """Two frozen encoders, by what they hide (Figure 3)."""
    wanted = [r for r in chosen(rows, stage="fuse") if not r.ablation.changes and r.ablation.who[0] == "pretrain"]
    told = [(_whose(r.ablation), r) for r in shown("pairs", wanted, "", found)]
    return _by_value(f"Pairs of encoders (the paper's Figure 3): {name}", "pairs", "Encoders", told, found)


def varied(key: str, rows: Sequence[Row], name: str, benchmark: str, found: Found, params: Mapping[str, Any]) -> Table:
    """One key of params.yaml: a line a value, params.yaml's own among them."""
    own = str(_own(params, benchmark, key))
    like = {(r.ablation.stage, r.ablation.who) for r in rows if next(iter(r.ablation.changes), None) == key}
    all_of_it = [r for r in rows if (r.ablation.stage, r.ablation.who) in like]
    kept = shown(key, [r for r in all_of_it if next(iter(r.ablation.changes), key) == key], benchmark, found)
    plain = [r for r in kept if not r.ablation.changes]
    # a value may be one benchmark's own and not another's: where it is, that is the line of the default once more
    changed = [r for r in kept if r.ablation.changes and not _same(_value(r), own)]
    told = [(f"{own} (default)", r) for r in plain] + [(_value(r), r) for r in changed]
    title = f"{TITLES.get(key, key)}: {name}"
    table = _by_value(title, key, key, told, found, several=len({r.ablation.who for r in kept}) > 1)
    draws = max((len(r.accuracy) for r in changed), default=0) // len(found.seeds)
    if draws < 2:
        return table
    over = "averaged within a seed" if len(found.seeds) > 1 else "which the deviation is over"
    return replace(table, caption=f"{table.caption} {draws} draws of the labels, {over}.")


def _by_value(
    title: str,
    what: str,
    first: str,
    told: Sequence[tuple[str, Row]],
    found: Found,
    several: bool = False,
) -> Table:
    """A line a value, a column a mode (and encoder, where there are several)."""
    cells: dict[str, dict[str, Row]] = {}
    for value, row in told:
        column = f"{_whose(row.ablation)} {row.mode}" if several and row.ablation.stage != "fuse" else row.mode
        if row.ablation.stage == "distill":  # the mode says the form, which may be what is varied
            column = f"student of {row.ablation.who[0]}"
        cells.setdefault(value, {})[column] = row
    columns = list(dict.fromkeys(column for by_column in cells.values() for column in by_column))
    lines = []
    for value in sorted(cells, key=_order):
        of_value = [cells[value].get(column) for column in columns]
        runs = {place: row.runs for place, row in enumerate(of_value, start=1) if row}
        lines.append(Line([value, *(row.spread if row else NONE for row in of_value)], runs=runs))
        own = value.removesuffix(" (default)")
        paper = [published(what, own, row) if row else None for row in of_value]
        if any(cell is not None for cell in paper):
            lines.append(Line([f"{value}, published", *(tables.printed(c) for c in paper)], PUBLISHED))
    stream = told[0][1].stream if told else found.stream
    return Table(title, _caption(found, stream), [first, *columns], 1, lines)


def as_json(found: Found) -> str:
    """ablations.json: a list of rows, accuracy by seed."""
    rows = [
        {
            "benchmark": r.benchmark,
            "demonstration": r.demonstration,
            "stage": r.ablation.stage,
            "encoders": list(r.ablation.who),
            "changes": r.ablation.changes,
            "mode": r.mode,
            "stream": r.stream,
            "accuracy": r.accuracy,
            "mean": r.mean,
            "deviation": r.deviation,
            "params": r.params,
        }
        for r in found.rows
    ]
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def made_by(found: Found, params: Mapping[str, Any]) -> str:
    """How long what was trained, and the command, in a sentence or two."""
    sentences = []
    for benchmark in found.benchmarks:
        budget = _budget(params, benchmark)
        trained = ("pretrain", "probe", "finetune", "distill")
        epochs = {name: params["values"][benchmark][name]["epochs"] for name in trained}
        told = ", ".join(f"{name} {value}" for name, value in epochs.items())
        sentences.append(f"{benchmark} by the budget `{budget}` (epochs: {told}).")
    seeds = ", ".join(map(str, found.seeds))
    sentences.append(
        f"Streams: {', '.join(found.streams)}; seeds: {seeds}. Every row of a benchmark by the same budget."
    )
    sentences.append("Made by `make ablations` from recipes/ablations.yaml.")
    if found.missing:
        sentences.append(f"As far as it has got: runs still missing, with the rows that need them: {found.missing}.")
    return " ".join(sentences)


def parameters(found: Found, params: Mapping[str, Any]) -> str:
    """What of params.yaml the grid came from, as YAML: the section `ablations`, and the budgets of its benchmarks."""
    names = {_budget(params, benchmark) for benchmark in found.benchmarks}
    told = {"ablations": params["ablations"], "budgets": {n: params["budgets"][n] for n in sorted(names)}}
    return yaml.safe_dump(told, sort_keys=False, width=120)


def markdown(title: str, parts: Sequence[Table], said: str | None, how: str) -> str:
    """Tables below a title."""
    text = [f"# {title}", *([f"**{said}**"] if said else []), how]
    for table in parts:
        text += [f"## {table.title}", tables.pipe(table), table.caption]
    return "\n\n".join(text) + "\n"


def pretraining(found: Found, ended: Mapping[tuple[str, str, str], Sequence[float | None]]) -> Table:
    """How far the pretraining of each encoder got (`ablations.losses`): a line an encoder, benchmark and stream."""
    lines = [
        Line([found.title(benchmark), encoder, stream, *(NONE if loss is None else f"{loss:.0f}" for loss in by_seed)])
        for (encoder, benchmark, stream), by_seed in sorted(ended.items(), key=lambda item: item[0][1])
    ]
    caption = (
        "Loss of the last epoch of each pretraining. It stands still for some epochs before it falls; an encoder that "
        "was still there at the end has learnt little."
    )
    header = ["Benchmark", "Encoder", "Stream", *(f"seed {seed}" for seed in found.seeds)]
    return Table("How far pretraining got", caption, header, 3, lines)


def claims_markdown(tested: Sequence[claims.Tested], said: str | None, how: str, values: str, far: Table) -> str:
    """claims.md: a section a claim, a table and a sentence a benchmark.

    how: the command that made the runs; values: the parameters it ran with, as YAML; far: what `pretraining` gives.
    """
    text = ["# The paper's claims, put to the test", *([f"**{said}**"] if said else []), how]
    for claim in dict.fromkeys(one.claim for one in tested):
        text.append(f"## {claim.text}")
        for one in (t for t in tested if t.claim == claim):
            text.append(f"**{one.benchmark}: {one.verdict}.**")
            if one.comparisons and one.missing:
                text.append(f"Not run: {'; '.join(one.missing)}.")
            if one.comparisons:
                made = claims.table(one, one.benchmark)
                text += [tables.pipe(made), made.caption]
    text += [f"## {far.title}", tables.pipe(far), far.caption]
    text += ["## The parameters of these runs", "All others are those of params.yaml.", f"```yaml\n{values}```"]
    return "\n\n".join(text) + "\n"


def figures(found: Found, params: Mapping[str, Any]) -> dict[str, Figure]:
    """A figure a benchmark and thing varied: lines over a number, bars over words."""
    made = {}
    for benchmark in found.benchmarks:
        rows, name = [r for r in found.rows if r.benchmark == benchmark], found.title(benchmark)
        parts = {"masks": masks(rows, name, benchmark, found), "pairs": pairs(rows, name, found)}
        parts |= {key: varied(key, rows, name, benchmark, found, params) for key in _keys(rows)}
        for key, table in parts.items():
            if table.lines:
                made[f"ablation_{key}_{benchmark}"] = draw(table)
    return made


def draw(table: Table) -> Figure:
    """One of the tables above as a figure."""
    lines = [line for line in table.lines if line.by != PUBLISHED]
    values = [line.cells[0].removesuffix(" (default)") for line in lines]
    series = {
        column: [_parsed(line.cells[place]) for line in lines] for place, column in enumerate(table.header[1:], start=1)
    }
    with matplotlib.rc_context(STYLE):
        numeric = all(_number(value) is not None for value in values)
        figure = Figure(figsize=(7, 3.2 if numeric else 0.9 + 0.2 * len(values) * len(series)), layout="constrained")
        axes = figure.add_subplot()
        for index, (column, cells) in enumerate(series.items()):
            colour, shift = COLOURS[index % len(COLOURS)], (index - (len(series) - 1) / 2) * 0.8 / len(series)
            there = [(i, *cell) for i, cell in enumerate(cells) if cell is not None]
            means, spreads = [mean for _, mean, _ in there], [spread for *_, spread in there]
            if numeric:
                places: Sequence[float] = [float(values[i]) for i, *_ in there]
                axes.errorbar(places, means, spreads, color=colour, marker="os^Dvx"[index % 6], capsize=2, label=column)
            else:
                axes.barh(
                    [i + shift for i, *_ in there], means, 0.8 / len(series), xerr=spreads, color=colour, label=column
                )
        if numeric:
            axes.set_xlabel(table.header[0])
            axes.set_ylabel("top-1 accuracy, %")
        else:
            axes.set_yticks(range(len(values)), values)
            axes.invert_yaxis()
            axes.set_xlabel("top-1 accuracy, %")
        axes.set_title(table.title, loc="left", fontsize=9)
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _keys(rows: Sequence[Row]) -> Iterator[str]:
    """What the rows vary, a key once; of a change of several keys the first."""
    yield from dict.fromkeys(next(iter(row.ablation.changes)) for row in rows if row.ablation.changes)


def _value(row: Row) -> str:
    """What the first key was changed to, and what was changed with it."""
    first, *others = row.ablation.changes.items()
    return first[1] + "".join(f", {other} {value}" for other, value in others)


def _own(params: Mapping[str, Any], benchmark: str, key: str) -> Any:
    """The value that a benchmark's budget gives a key, `auto` for run.precision of a small set."""
    section, *inside = key.split(".")
    value: Any = params["values"][benchmark][section]
    for part in inside:
        before, value = value, value[part]
    if value == "by_benchmark":
        named = before[f"{inside[-1]}s"]
        value = named.get(benchmark, named["default"])
    return value


def _budget(params: Mapping[str, Any], benchmark: str) -> str:
    return str(params["budget_of"][benchmark])


def _whose(ablation: Ablation) -> str:
    who = ablation.who[1:] if ablation.stage == "fuse" else ablation.who
    return {"distill": "student"}.get(ablation.stage) or " + ".join(who)


def _is_ours(ablation: Ablation, found: Found) -> bool:
    """Whether the line is about the encoders of `fuse` and the control, not about other masks."""
    ours = {found.first, found.second, "random", "pretrain", "finetune"}
    return set(ablation.who) <= ours


def _by_seed(row: Row, found: Found) -> list[str]:
    return [f"{row.accuracy[str(seed)]:.1f}" for seed in found.seeds]


def _parsed(cell: str) -> tuple[float, float] | None:
    mean, _, spread = cell.partition(" ± ")
    return None if cell == NONE else (float(mean), float(spread or 0))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _same(value: str, other: str) -> bool:
    """Whether two values as they stand in params.yaml are one: 8 and 8.0 are."""
    number = _number(value)
    return value == other or (number is not None and number == _number(other))


def _order(value: str) -> tuple[float, str]:
    """Numbers by size before words as they stand."""
    number = _number(value.removesuffix(" (default)"))
    return (number, "") if number is not None else (float("inf"), "")


def _caption(found: Found, stream: str) -> str:
    n = len(found.seeds)
    spread = f"mean ± standard deviation over {n} seeds" if n > 1 else f"seed {found.seeds[0]}"
    return f"Top-1 accuracy in per cent, stream {stream}, {spread}."
