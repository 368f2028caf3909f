"""The tidy frame → tables: of results in the shape of the paper's, of ablations one a thing varied.

Which rows stand where under which name is data, tables.yaml; what the paper printed, paper.yaml.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from tabulate import tabulate

from asma.report import claims, statistics
from asma.report.rows import COLUMNS, Results, Run, data, each, records, run_of, streams, titles

NONE = "–"
OURS, PUBLISHED = "this project", "published"
ALL, CONTROL = "All methods", "control: "
DEFAULT = " (default)"  # value of an ablation
BY_ENCODER = ("masks", "pairs")  # tables whose values are encoders
TEACHERS = {"probed": "pretrain", "finetuned": "finetune"}  # of students, by how they are called
JUDGED = {"linear": "Lin.", "finetuned": "FT."}


class Line(NamedTuple):
    """One line of a table; `by` says whose figures they are, `runs` which runs made the cell of
    that number, `best` which cells are the best of their columns."""

    cells: list[str]
    by: str = OURS
    runs: Mapping[int, Sequence[Run]] = {}
    best: frozenset[int] = frozenset()


class Table(NamedTuple):
    """A table before it is Markdown or HTML; the first `words` columns are text, the others
    numbers; `points` are sentences below it."""

    title: str
    caption: str
    header: list[str]
    words: int
    lines: Sequence[Line] = ()
    points: Sequence[str] = ()


def pivot(
    cells: pd.DataFrame, index: Sequence[str], columns: Sequence[str], mark: int = 0
) -> list[Line]:
    """Cells as lines: `text` and `runs` by `column`, of the same `line`, `published` and index.

    Lines stand by their number, published ones below ours; of two cells in one place the last one
    stays. In so many of the first columns as `mark` the best of ours are marked.
    """
    cells = cells[cells.column.isin(columns)].sort_values(["line", "published"], kind="stable")
    if cells.empty:
        return []
    value = cells.text.str.partition(" / ")[0].where(~cells.published & (cells.text != NONE))
    value = value.where(cells.column.isin(columns[:mark])).astype(float)
    cells = cells.assign(best=value == value.groupby(cells.column).transform("max"))
    lines, place = [], {column: n for n, column in enumerate(columns, len(index))}
    keys = ["line", "published", *index]
    for (_, published, *words), own in cells.groupby(keys, sort=False, dropna=False):
        there = {place[cell.column]: cell for cell in each(own)}
        texts = [there[n].text if n in there else NONE for n in place.values()]
        runs = {n: cell.runs for n, cell in there.items() if cell.runs and not published}
        best = frozenset(n for n, cell in there.items() if cell.best)
        by = PUBLISHED if published else OURS
        lines.append(Line([*map(str, words), *texts], by, runs, best))
    return lines


@cache
def paper() -> pd.DataFrame:
    """What the paper printed of methods, a row a figure: `accuracy` of a `method` by `table`,
    `benchmark`, `stream` and `judged`, with its `std`, the `encoder` and `mode` of ours that it
    stands beside, if any, under which `label`, and what else paper.yaml says of the method."""
    found = []
    for table, content in data("paper.yaml").items():
        for row in content.get("rows", ()):
            name = f"{row['method']} ({row['authors']})" if "authors" in row else row["method"]
            about = {"table": table, "stream": "3s", **row, "name": name}
            beside = row.get("beside", content.get("beside", {}))
            label = name if "target" in content else beside.get("encoder", name)
            for place, figures in row["results"].items():
                where = {"benchmark": content.get("target", place), "label": label}
                for judged in (judged for judged in JUDGED if judged in figures):
                    mode = (beside.get(judged) or "").format(place=place) or None
                    value = {"accuracy": figures[judged], "std": figures.get(f"{judged}_std")}
                    ours = {"encoder": beside.get("encoder"), "mode": mode, "judged": judged}
                    found.append({**about, **where, **value, **ours})
    return pd.DataFrame(found).drop(columns=["results", "beside"])


def published(rows: pd.DataFrame, **more: Any) -> pd.DataFrame:
    """Published rows as cells of a table, with the digits they were printed with."""
    text = [printed(value) for value in rows.accuracy]
    return rows.assign(text=text, published=True, runs=None, **more)


def printed(value: float) -> str:
    """A published figure with the digits it was printed with, one or two."""
    text = f"{value:.2f}"
    return text[:-1] if text.endswith("0") else text


def number(value: Any, form: str, unit: float = 1) -> str:
    """A figure as it stands in a cell."""
    return NONE if pd.isna(value) else format(value / unit, form)


def caption(name: str, /, **words: Any) -> str:
    """A paragraph of tables.yaml, filled in."""
    text: str = data("tables.yaml")["captions"][name]
    return " ".join(TEMPLATES.from_string(text).render(data("paper.yaml") | words).split())


def short(rows: pd.DataFrame, benchmark: str) -> Table | None:
    """What was learnt against what: the methods and their controls, a column a stream; the
    verdicts below it. None where there is no method."""
    found, least = claims.entries(rows, benchmark), claims.chance(rows, benchmark)
    if found.empty:
        return None
    names = [CONTROL * row.control + row.name for row in each(found)]
    text = [number(value, ".1f") for value in found.accuracy]
    cells = found.assign(name=names, text=text, column=found.stream, published=False)
    cells["line"] = cells.groupby("name", sort=False).ngroup()
    columns = [stream for stream in streams(rows) if stream in set(found.stream)]
    lines = pivot(cells, ["name"], columns, len(columns))
    if least is not None:
        lines.append(Line([f"{CONTROL}chance", *[number(least, ".1f")] * len(columns)]))
    first = records(claims.last(rows, benchmark))[0]
    said = caption("short", **first, labels=labels(rows, [benchmark]))
    points = [caption("verdict", **one) for one in claims.verdicts(rows, benchmark)]
    return Table(titles(rows)[benchmark], said, ["Method", *columns], 1, lines, points)


def methods(rows: pd.DataFrame) -> Table:
    """The paper's Table 1 for the benchmarks at hand, its figures beside ours where the benchmark
    is the paper's: the method, its student, what is left out of it in turn, the controls."""
    costs, names, known = data("tables.yaml")["costs"], titles(rows), streams(rows)
    judged = rows.benchmark[rows.of == "probe"].unique().tolist()
    encoders = [name for name in rows.encoder[rows.of == "probe"].unique() if name != "random"]
    wanted = pd.DataFrame(data("tables.yaml")["methods"])
    wanted["encoder"] = [encoders if one == "each" else one for one in wanted.encoder]
    wanted = wanted.explode("encoder", ignore_index=True).reset_index(names="line")
    prefix = f"{known[-1]}-" if len(known) > 1 else ""
    wanted["name"] = [row.name.format(encoder=row.encoder, s=prefix) for row in each(wanted)]
    home = claims.where(rows[(rows.stream == known[-1]) | (rows.of == "baseline")])
    home = home[home.benchmark.isin(judged)].assign(by=OURS, published=False)
    home["text"] = [number(value, ".1f") for value in home.accuracy]
    ours = wanted.melt(["line", "name", "encoder"], [*JUDGED], "judged", "mode")
    ours = ours.merge(home, on=["encoder", "mode"])
    theirs = paper()[(paper().table == "table_1") & paper().benchmark.isin(judged)]
    ends = theirs.kind.map({"self-supervised": len(wanted), "supervised": len(wanted) + 1})
    line = theirs.method.map(wanted.dropna().set_index("beside").line).fillna(ends)
    theirs = published(theirs, line=line, by=PUBLISHED)
    parts = [
        part.assign(column=part.benchmark.map(names) + " " + part.judged.map(JUDGED))
        for part in (ours, theirs)
    ]
    last = ours[ours.benchmark == next(iter(judged), "")].drop_duplicates("line", keep="last")
    for name, column in costs.items():
        for part in (last, theirs):
            text = [figure(row, column) for row in records(part)]
            parts.append(part.assign(column=name, text=text))
    columns = [f"{names[name]} {mark}" for name in judged for mark in JUDGED.values()]
    lines = pivot(pd.concat(parts), ["name", "by"], [*columns, *costs], len(columns))
    about: Any = {"stream": known[-1], "benchmarks": judged, "labels": labels(rows, judged)}
    about |= {"published": len(theirs), "elsewhere": caption("elsewhere", benchmarks=judged)}
    header = ["Method", "Figures", *columns, *costs]
    return Table(ALL, caption("methods", **about), header, 2, lines)


def benchmark(rows: pd.DataFrame, name: str) -> Table:
    """Every result on one benchmark: stage × encoder × mode, a column a stream."""
    own, columns = rows[rows.benchmark == name].copy(), streams(rows)
    whose = own.groupby(["of", "encoder", "mode", "source"], sort=False, dropna=False)
    own["line"] = whose.ngroup()
    theirs = published(beside(own.drop_duplicates("line")), stage=PUBLISHED)
    # The paper does not say which of its single encoders hides what: they stand below all of ours.
    probed, alone = own.line[own.of == "probe"].max(), paper()[paper().benchmark == name]
    alone = published(alone.dropna(subset="single"), stage=PUBLISHED, mode="linear", line=probed)
    both = zip(own.accuracy, own.top5, strict=True)
    text = [f"{number(a, '.2f')} / {number(b, '.2f')}" for a, b in both]
    if own.source.nunique() > 1:
        for row in each(own[own.source.notna()]):
            more = f" (beside {row.source})" if row.source not in row.mode else ""
            own.loc[row.Index, "mode"] = row.mode + more
    ours = own.assign(stage=own.of, label=own.encoder, text=text, published=False)
    cells = pd.concat([ours, theirs, alone.dropna(subset="line")])
    cells, index = cells.assign(column=cells.stream), ["stage", "label", "mode"]
    lines = pivot(cells, index, columns, len(columns))
    about = dict(own[["n_train", "n_test", "seed"]].bfill().iloc[0])
    about |= {"labels": labels(rows, [name]), "elsewhere": caption("elsewhere", benchmarks=[name])}
    said = caption("benchmark", **about, published=any(line.by == PUBLISHED for line in lines))
    header = ["Stage", "Encoder", "Mode", *columns]
    return Table(f"{titles(rows)[name]}: all results", said, header, 3, lines)


def beside(rows: pd.DataFrame) -> pd.DataFrame:
    """What the paper printed on the same benchmarks of the same encoders and modes, with the rest
    of our rows; Table 12 has other figures of the same methods."""
    theirs, keys = paper()[paper().table != "table_12"], ["benchmark", "encoder", "mode"]
    return rows[[*keys, *(key for key in rows if key not in theirs)]].merge(theirs, on=keys)


def efficiency(results: Results) -> Table:
    """Parameters, multiply-accumulates and operations of every model, for one clip."""
    rows = results.costs.assign(title=results.costs.benchmark.map(titles(results.rows)), by=OURS)
    header, lines = flat(rows, {"Benchmark": "title", "Model": "model"}, "efficiency")
    return Table("Efficiency", caption("efficiency"), header, 2, lines)


def device(results: Results) -> Table:
    """The paper's Table 2 for the machine at hand, its figures beside ours of its benchmarks."""
    ours, names = results.device.assign(by=OURS), titles(results.rows)
    ours["process_bytes"] = ours.peak_bytes + ours.import_bytes
    order = ours.benchmark.unique().tolist()
    theirs = paper()[(paper().table == "table_2") & paper().benchmark.isin(order)]
    theirs = theirs.assign(network=theirs.name + ", " + theirs.machine, form=PUBLISHED)
    rows = pd.concat([ours, theirs.assign(by=PUBLISHED)])
    rows = rows.sort_values("benchmark", key=lambda name: name.map(order.index), kind="stable")
    words = {"Benchmark": "title", "Network": "network", "Form": "form", "Stream": "stream"}
    header, lines = flat(rows.assign(title=rows.benchmark.map(names)), words, "device")
    threads = [f", {n} thread{'s' if n > 1 else ''}" for n in ours.threads]
    machines = (ours.processor + threads).unique()
    said = caption("device", machines=machines, rows=records(ours), published=len(theirs))
    return Table("Efficiency on this machine", said, header, len(words), lines)


def flat(rows: pd.DataFrame, words: Mapping[str, str], key: str) -> tuple[list[str], list[Line]]:
    """A header and a line a row: its words, then its figures by those columns of tables.yaml."""
    spec, lines = data("tables.yaml")[key], []
    for row in records(rows):
        cells = [str(row[word]) for word in words.values()]
        cells += [figure(row, column) for column in spec.values()]
        figures = range(len(words), len(cells))
        places = [n for n in figures if cells[n] != NONE and row["by"] == OURS]
        lines.append(Line(cells, row["by"], dict.fromkeys(places, (run_of(row),))))
    return [*words, *spec], lines


def figure(row: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """A row's figure in a column of tables.yaml; a published one is in the unit of the table."""
    if row["by"] == PUBLISHED:
        return number(row.get(column.get("paper", column["key"])), ".2f")
    return number(row.get(column["key"]), column["form"], column.get("unit", 1))


def tables(results: Results) -> list[Table]:
    """All of them, in the order of the report: first what matters, of each benchmark."""
    rows, names = results.rows, results.rows.benchmark.unique()
    parts = [table for name in names if (table := short(rows, name))]
    if parts:
        said = (parts[-1].caption, caption("how"), caption("best"))
        parts[-1] = parts[-1]._replace(caption=" ".join(said))
    parts += [methods(rows), *(benchmark(rows, name) for name in names)]
    found = ((results.costs, efficiency), (results.device, device))
    return parts + [table(results) for frame, table in found if not frame.empty]


def ablations(
    rows: pd.DataFrame, pair: Sequence[str], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Table]:
    """Every table by what varies and benchmark, `mask.joints_ntu60_xsub`.

    pair: the two encoders that are fused; defaults: values without a change, by benchmark and key.
    """
    made: dict[str, Table] = {}
    for benchmark, those in rows.groupby("benchmark", sort=False):
        lines, stream = statistics.lines(those), streams(rows)[-1]
        lines["teacher"] = lines["mode"].str.rpartition("_")[2].map(TEACHERS).fillna("")
        plain = lines[lines.change == ""]
        pairs = plain[(plain.of == "fuse") & (plain.teacher == "pretrain")]
        made[f"seeds_{benchmark}"] = seeds(plain[plain.stream == stream], " + ".join(pair))
        made[f"masks_{benchmark}"] = by_value("masks", plain[plain.of == "probe"], stream)
        made[f"pairs_{benchmark}"] = by_value("pairs", pairs, stream)
        for key in lines.key[lines.key != ""].unique():
            own = defaults[str(benchmark)][key]
            own = str(own).lower() if isinstance(own, bool) else str(own)
            made[f"{key}_{benchmark}"] = varied(key, lines, own, stream)
    return {name: table for name, table in made.items() if table.lines}


def seeds(rows: pd.DataFrame, pair: str) -> Table:
    """The rows of the results table over the seeds (Table 12)."""
    rows = rows[rows.encoder.isin([*pair.split(" + "), "random", pair, "student"])]
    rows = rows.assign(published=False, line=range(len(rows)), column="mean ± deviation")
    keys = ["benchmark", "mode", "stream"]
    told = paper()[paper().table == "table_12"][[*keys, "accuracy", "std"]]
    told = rows.loc[rows.encoder == pair, [*keys, "line", "column"]].merge(told, on=keys)
    told["text"] = [f"{row.accuracy:.2f} ± {row.std:.2f}" for row in each(told)]
    parts = [rows, told.assign(encoder=pair + ", published", published=True, runs=None)]
    for seed in _seeds(rows):
        text = [f"{accuracy[seed].mean():.1f}" for accuracy in rows.accuracy]
        parts.append(rows.assign(column=f"seed {seed}", text=text, runs=None))
    columns = ["mean ± deviation", *(f"seed {seed}" for seed in _seeds(rows))]
    lines = pivot(pd.concat(parts), ["encoder", "mode"], columns)
    return _table("seeds", rows, lines, ["Mode", *columns], 2)


def varied(key: str, rows: pd.DataFrame, own: str, stream: str) -> Table:
    """One key of params.yaml: a line a value, the one without a change among them."""
    like = rows[["of", "encoder", "teacher"]].apply(tuple, axis=1)
    rows = rows[like.isin(like[rows.key == key]) & rows.key.isin([key, ""])]
    # A value may be one benchmark's own and not another's: there it is the default once more.
    same = rows["value"].map(_number) == _number(own)
    rows = rows[(rows.change == "") | ~same].replace({"value": {"": own + DEFAULT}})
    return by_value(key, rows, stream)


def by_value(what: str, rows: pd.DataFrame, stream: str) -> Table:
    """A line a value, a column a mode (and encoder, where there are several); in the stream that
    the paper has figures of for this benchmark, if it was run, or else in that of the tables."""
    told = data("paper.yaml")["ablations"].get(what, {"stream": stream, "values": {}})
    there = any(set(rows.benchmark) & set(cells) for cells in told["values"].values())
    shown = rows[(rows.stream == told["stream"]) & there]
    shown = rows[rows.stream == stream] if shown.empty else shown
    alone = (shown.of == "fuse") | (shown.encoder.nunique() < 2) | (what in BY_ENCODER)
    column = shown["mode"].where(alone, shown.encoder + " " + shown["mode"])
    # The mode of a student says the form, which may be what is varied.
    column = column.where(shown.of != "distill", "student of " + shown.teacher)
    value = shown.encoder if what in BY_ENCODER else shown["value"]
    order = sorted(value.unique(), key=lambda one: _number(one, float("inf")))
    cells = shown.assign(column=column, value=value, published=False, line=value.map(order.index))
    beside = cells.assign(
        text=pd.Series([_published(told, row) for row in each(cells)], cells.index)
    )
    beside = beside.assign(published=True, value=value + ", published").dropna(subset="text")
    lines = pivot(pd.concat([cells, beside]), ["value"], columns := column.unique().tolist())
    return _table(what, shown, lines, columns, 1)


def pretraining(curves: pd.DataFrame, rows: pd.DataFrame) -> Table:
    """How far the pretraining of each encoder got, by the curves of `rows.collect`: a line an
    encoder, benchmark and stream."""
    cells = curves[curves.stage == "pretrain"].assign(published=False, runs=None)
    cells["column"] = "seed " + cells.seed.astype(str)
    cells["text"] = [f"{values[-1]:.0f}" for values in cells["values"]]
    cells = cells.assign(line=cells.benchmark.rank(), name=cells.benchmark.map(titles(rows)))
    columns = sorted(cells.column.unique())
    lines = pivot(cells, ["name", "encoder", "stream"], columns)
    header = ["Benchmark", "Encoder", "Stream", *columns]
    return Table("How far pretraining got", caption("pretraining"), header, 3, lines)


def claim(tested: claims.Tested, title: str) -> Table:
    """The comparisons of a claim on one benchmark."""
    lines = []
    for what, this, that, c in tested.comparisons:
        stream = ", ".join(dict.fromkeys((this.stream, that.stream)))
        cells = [
            what,
            stream,
            this.text,
            that.text,
            statistics.points(c.difference),
            claims.interval(c) or NONE,
        ]
        for p in (c.p_seeds, c.p_recordings):
            cells.append(NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}")
        lines.append(Line(cells, runs={2: this.runs, 3: that.runs}))
    said = caption("claims", seeds={c.seeds for *_, c in tested.comparisons})
    header = ["Comparison", "Stream", "This", "That", "Difference", "95 %"]
    return Table(title, said, [*header, "p seeds", "p recordings"], 2, lines)


def _table(
    what: str, rows: pd.DataFrame, lines: list[Line], columns: Sequence[str], words: int
) -> Table:
    """A table of these lines, which are of the rows of one benchmark and stream."""
    title, header = data("tables.yaml")["ablations"].get(what, (what, what))
    seeds, stream = _seeds(rows), ", ".join(rows.stream.unique())
    draws = max(map(len, rows.accuracy), default=0) // max(1, len(seeds))
    said = caption("ablation", stream=stream, seeds=seeds, draws=draws)
    name = ", ".join(titles(rows).values())
    return Table(f"{title}: {name}", said, [header, *columns], words, lines)


def _seeds(rows: pd.DataFrame) -> list[int]:
    """All seeds of `statistics.lines`."""
    return sorted({seed for accuracy in rows.accuracy for seed, _ in accuracy.index})


def _published(told: Mapping[str, Any], row: Any) -> str | None:
    """The paper's figure beside a row of this value, if it gives one."""
    fits = told["stream"] == row.stream and row.mode in told.get("modes", ())
    fits = fits and told.get("encoder", row.encoder) == row.encoder
    values = {str(value): cells for value, cells in told["values"].items()}
    cell = values.get(row.value.removesuffix(DEFAULT), {}).get(row.benchmark)
    cell = cell.get(row.mode) if isinstance(cell, dict) else cell
    return printed(cell) if fits and cell is not None else None


def _number(text: str, otherwise: Any = None) -> Any:
    """A value as a number where it is one, for 8 and 8.0 are the same; else itself, or that."""
    try:
        return float(text.removesuffix(DEFAULT))
    except ValueError:
        return text if otherwise is None else otherwise


def labels(rows: pd.DataFrame, benchmarks: Sequence[str]) -> str:
    """A sentence for a caption where fine-tuning did not use all labels, else nothing."""
    fewer = rows[rows.benchmark.isin(benchmarks) & (rows.n_labelled != rows.n_train).fillna(False)]
    told = sorted(set(zip(fewer.benchmark, fewer.n_labelled, fewer.n_train, strict=True)))
    return caption("labels", fewer=[f"{n} of {of} recordings of {whose}" for whose, n, of in told])


def note(rows: pd.DataFrame) -> str | None:
    """What a reader has to know about demonstrations, if there are any."""
    named = rows.benchmark[rows.demonstration].unique()
    return caption("demonstration", named=named) if len(named) else None


def plain(table: Table, form: str) -> str:
    """A table as text, in Markdown (`pipe`) or under its title (`simple`), the best marked."""
    before, after = {"pipe": ("**", "**"), "simple": ("*", "")}[form]
    cells = [
        [f"{before}{c}{after}" if n in line.best else c for n, c in enumerate(line.cells)]
        for line in table.lines
    ]
    header = [table.title, *table.header[1:]]
    if form == "pipe":
        header, cells = table.header, [[c.replace("|", "\\|") for c in line] for line in cells]
    align: Any = ["left"] * table.words + ["right"] * (len(header) - table.words)
    options: Any = {"colalign": align if cells else None, "disable_numparse": True}
    return tabulate(cells, header, tablefmt=form, **options)


OPTIONS: Any = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
OPTIONS |= {"autoescape": lambda name: str(name).endswith(".html"), "undefined": StrictUndefined}
TEMPLATES = Environment(loader=PackageLoader(__package__, ""), **OPTIONS)
TEMPLATES.policies["json.dumps_kwargs"] = {}  # keys in the order given
TEMPLATES.filters |= {
    "plain": plain,
    "yaml": lambda content: yaml.safe_dump(content, sort_keys=False, width=120),
    "fill": lambda said: textwrap.fill(said, 96, subsequent_indent="  " * said.startswith("-")),
    "code": lambda said: Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(said)))),
}


def text(template: str, **parts: Any) -> str:
    """One of the files beside this one, filled in."""
    return TEMPLATES.get_template(template).render(parts)


def markdown(results: Results) -> str:
    """results.md."""
    return text("tables.md.j2", title="Results", note=note(results.rows), tables=tables(results))


def terminal(rows: pd.DataFrame) -> str:
    """What was learnt, how good, against what; the same from the rows of a results.json."""
    shown = [table for name in rows.benchmark.unique() if (table := short(rows, name))]
    last = [caption("how") if shown else "", note(rows)]
    return text("terminal.txt.j2", tables=shown, last=last).strip()


def as_csv(rows: pd.DataFrame) -> str:
    """results.csv: one row a result, the keys of COLUMNS."""
    return str(rows.to_csv(columns=COLUMNS, index=False, lineterminator="\n"))


def as_json(rows: pd.DataFrame) -> str:
    """results.json: a list of the same rows, each with its p `against` its controls."""
    return json.dumps(records(rows[[*COLUMNS, "against"]]), indent=1, allow_nan=False) + "\n"


def summary(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Accuracy by benchmark and `<encoder>.<mode>`, of all streams together or of the first that
    has it: few enough figures for the columns of `dvc exp show`."""
    order = [streams(rows)[-1], *rows.stream]
    rows = rows.assign(key=rows.encoder + "." + rows["mode"])
    rows = rows.sort_values("stream", key=lambda name: name.map(order.index), kind="stable")
    rows = rows.drop_duplicates(["benchmark", "key"])
    accuracies: Any = rows.set_index("key").groupby("benchmark").accuracy
    return {name: own.to_dict() for name, own in accuracies}
