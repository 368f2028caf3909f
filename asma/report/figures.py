"""Rows to figures: results a benchmark as bars, learning curves and costs of deployment where a run left any."""

from __future__ import annotations

import io
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from asma.report import headline, tables
from asma.report.collect import Results

COLOURS = (
    "#4477aa",
    "#cc6677",
    "#228833",
    "#aa3377",
    "#bb8800",
    "#44aaaa",
)  # told apart by the colour-blind
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "asma",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def bars(results: Results, benchmark: str) -> Figure:
    """Accuracy of every encoder and mode on a benchmark; the published value as a line across its bar,
    chance as one across all."""
    stream = tables.last_stream(results)
    rows = [
        row
        for row in results.rows
        if row["benchmark"] == benchmark and (row["stream"] == stream or row["of"] == "baseline")
    ]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.9 + 0.24 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        stages = list(dict.fromkeys(row["of"] for row in results.rows))
        rows.sort(key=lambda row: stages.index(row["of"]))
        label: str | None = "published"
        for place, row in enumerate(rows):
            colour = COLOURS[stages.index(row["of"]) % len(COLOURS)]
            axes.barh(place, row["accuracy"], color=colour, height=0.7)
            axes.text(row["accuracy"] + 0.8, place, f"{row['accuracy']:.1f}", va="center", fontsize=8)
            told = tables.published_cell(benchmark, (row["encoder"], row["mode"]), stream)
            if told is not None and row["of"] != "transfer":
                axes.plot([told] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2, label=label)
                label = None
        axes.set_yticks(range(len(rows)), [f"{row['encoder']}  {row['mode']}" for row in rows])
        axes.invert_yaxis()
        if (least := headline.chance(results, benchmark)) is not None:
            axes.axvline(least, color="black", linestyle="--", linewidth=1, label="chance")
        if label is None or least is not None:
            axes.legend(frameon=False, fontsize=8, loc="upper right")
        axes.set_xlim(0, 105)
        axes.set_xlabel(f"top-1 accuracy, %, stream {stream}")
        axes.set_title(results.title(benchmark), loc="left")
    return figure


def curves(results: Results, benchmark: str) -> Figure | None:
    """What the runs on a benchmark tell by epoch, a panel a stage and curve; None where no run tells
    anything."""
    panels: dict[tuple[str, str], list[tuple[str, list[float]]]] = defaultdict(list)
    for run, told in results.curves:
        if run.axes.get("benchmark") == benchmark:
            label = " ".join(value for axis, value in run.axes.items() if axis != "benchmark")
            for name, values in told.items():
                panels[run.stage, name].append((label, values))
    if not panels:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
        figure.suptitle(results.title(benchmark), x=0.01, ha="left")
        for place, ((stage, name), lines) in enumerate(sorted(panels.items()), start=1):
            axes = figure.add_subplot(len(panels), 1, place)
            for index, (label, values) in enumerate(lines):
                colour = COLOURS[index % len(COLOURS)]
                axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.2, label=label)
            axes.set_xlabel("epoch")
            axes.set_ylabel(name)
            axes.set_title(stage, loc="left")
            axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


_MARKERS = {"eager": "o", "compact": "v", "compiled": "s", "onnx_fp32": "D", "onnx_int8": "^"}


def device(results: Results, benchmark: str) -> Figure | None:
    """Accuracy of every network and form against its latency and its size; None where nothing was measured."""
    rows = [row for row in results.device if row["benchmark"] == benchmark and "reason" not in row]
    if not rows:
        return None
    names = list(dict.fromkeys(f"{tables.network_name(row)}, {row['stream']}" for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        figure.suptitle(results.title(benchmark), x=0.01, ha="left")
        panels: Any = figure.subplots(1, 2, sharey=True)
        for row in rows:
            name = f"{tables.network_name(row)}, {row['stream']}"
            colour = COLOURS[names.index(name) % len(COLOURS)]
            for axes, across in zip(panels, (row["latency_ms"], row["file_bytes"] / 1e6), strict=True):
                style: Any = {"marker": _MARKERS.get(row["form"], "P"), "facecolors": "none", "edgecolors": colour}
                axes.scatter(across, row["accuracy"], s=45, linewidths=1.6, label=f"{name}: {row['form']}", **style)
        for axes, what in zip(panels, ("median latency of a clip, ms", "file, MB"), strict=True):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}")
            axes.margins(0.12)
            axes.set_xlabel(what)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("top-1 accuracy, %")
        panels[0].set_title(f"{rows[0]['processor']}, threads: {rows[0]['threads']}", loc="left", fontsize=7)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=7, frameon=False, loc="outside right upper")
    return figure


def draw(results: Results) -> dict[str, Figure]:
    """All figures by file name, without its ending."""
    found: dict[str, Figure] = {}
    for benchmark in results.benchmarks:
        found[f"results_{benchmark}"] = bars(results, benchmark)
        learned = curves(results, benchmark)
        if learned is not None:
            found[f"curves_{benchmark}"] = learned
        measured = device(results, benchmark)
        if measured is not None:
            found[f"export_{benchmark}"] = measured
    return found


def save(figure: Figure, folder: Path, name: str) -> None:
    """`<name>.png` and `<name>.svg`, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def inline(figure: Figure, label: str = "") -> str:
    """The figure as an <svg> element that takes the text colour and the background of the page around it.

    label: what those hear who do not see it.
    """
    out = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    # Black text is written without a colour, black lines with one.
    svg = svg[svg.index("<svg") :].replace(
        "<svg ", f'<svg role="img" aria-label="{escape(label)}" fill="currentColor" ', 1
    )
    return svg.replace("#000000", "currentColor")
