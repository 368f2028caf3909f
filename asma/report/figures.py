"""Rows to figures: results, learning curves, costs, ablations; and the paper's figures on our data:
what is masked, what networks respond to, who is taken for whom. K classes, V joints, T frames.

Their look is figures.mplstyle, for as long as the process lives.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from asma.report import claims
from asma.report.rows import Results, arrays, each, streams, titles
from asma.report.tables import NONE, OURS, Table, beside

matplotlib.style.use(str(resources.files(__package__) / "figures.mplstyle"))
COLOURS = [f"C{n}" for n in range(6)]  # of the style, in turn
FORMS = {"eager": "o", "compact": "v", "compiled": "s", "onnx_fp32": "D", "onnx_int8": "^"}
# Seen in grey too; a scale of it is drawn in as many steps.
MAP = matplotlib.colormaps["cividis"].resampled(48)
GREY = "#8a8a8a"  # seen on white and on black
NAMED, LETTERS = 5, 30  # pairs below a confusion matrix; of a class's name, at most
MARKERS = "os^Dv*PXp"
AT_RIGHT: Any = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "fontsize": 7}  # a legend


def canvas(title: str, width: float, height: float) -> Figure:
    """A figure of so many inches with its title on the left."""
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bars(
    axes: Axes, names: list[str], series: Any, label: str, split: bool = True, errors: Any = None
) -> None:
    """Horizontal bars, a name at each row and the first on top: of each series (rows,) by name one
    beside the other, or where not split all in one place. A row without a value has no bar."""
    thick = 0.8 / len(series) if split else 0.7
    for place, (name, values) in enumerate(series.items()):
        there = np.flatnonzero(np.isfinite(values))
        shift = (place - (len(series) - 1) / 2) * thick * split
        spread = np.asarray(errors[name])[there] if errors else None
        axes.barh(there + shift, np.asarray(values)[there], thick, xerr=spread, label=name)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel(label)


def legend(axes: Axes) -> None:
    """Above the drawing, bars before marks."""
    found = list(zip(*axes.get_legend_handles_labels(), strict=True))
    found.sort(key=lambda one: not isinstance(one[0], Container))
    handles, labels = [one[0] for one in found], [one[1] for one in found]
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def accuracies(every: pd.DataFrame, benchmark: str) -> Figure:
    """Accuracy of every encoder and mode as bars, what is published as lines across, and chance."""
    stream, stages = streams(every)[-1], every.of.unique().tolist()
    own = (every.stream == stream) | (every.of == "baseline")
    rows = every[(every.benchmark == benchmark) & own]
    rows = rows.sort_values("of", kind="stable", key=lambda of: of.map(stages.index))
    rows = rows.reset_index(drop=True)
    figure = canvas(titles(every)[benchmark], 7, 1.1 + 0.24 * len(rows))
    axes, names = figure.add_subplot(), (rows.encoder + "  " + rows["mode"]).tolist()
    series = {f"_{stage}": rows.accuracy.where(rows.of == stage) for stage in stages}
    bars(axes, names, series, f"top-1 accuracy, %, stream {stream}", False)
    for place, value in enumerate(rows.accuracy):
        axes.text(value + 0.8, place, f"{value:.1f}", va="center", fontsize=8)
    theirs = beside(rows[rows.of != "transfer"].assign(place=rows.index))
    theirs = theirs[theirs.stream == stream]
    low, high = theirs.place - 0.45, theirs.place + 0.45
    if not theirs.empty:
        axes.vlines(theirs.accuracy, low, high, color="black", linewidth=2, label="published")
    if (least := claims.chance(every, benchmark)) is not None:
        axes.axvline(least, color="black", linestyle="--", linewidth=1, label="chance")
    legend(axes)
    axes.set_xlim(0, 105)
    return figure


def curves(rows: pd.DataFrame, title: str) -> Figure:
    """What runs on one benchmark tell by epoch, a panel a stage and curve."""
    panels = rows.groupby(["stage", "curve"])
    figure = canvas(title, 7, 2.6 * len(panels))
    for place, ((stage, name), lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(len(panels), 1, place)
        for line in lines.to_dict("records"):
            label, values = f"{line['recipe']} {line['stream']}", line["values"]
            axes.plot(range(1, len(values) + 1), values, linewidth=1.2, label=label)
        axes.set(xlabel="epoch", ylabel=name, title=stage)
        axes.legend(**AT_RIGHT)
    return figure


def device(rows: pd.DataFrame, title: str) -> Figure:
    """Accuracy of every network and form on one benchmark against its latency and its size."""
    figure = canvas(title, 7.5, 3.2)
    panels: Any = figure.subplots(1, 2, sharey=True)
    colours = dict(zip((rows.network + ", " + rows.stream).unique(), itertools.cycle(COLOURS)))
    for row in each(rows):
        name = f"{row.network}, {row.stream}"
        style: Any = {"marker": FORMS.get(row.form, "P"), "edgecolors": colours[name]}
        style |= {"facecolors": "none", "linewidths": 1.6, "label": f"{name}: {row.form}"}
        for axes, across in zip(panels, (row.latency_ms, row.file_bytes / 1e6), strict=True):
            axes.scatter(across, row.accuracy, s=45, **style)
    for axes, what in zip(panels, ("median latency of a clip, ms", "file, MB"), strict=True):
        axes.set(xscale="log", xlabel=what)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(0.12)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("top-1 accuracy, %")
    machine = f"{rows.processor.iloc[0]}, threads: {rows.threads.iloc[0]}"
    panels[0].set_title(machine, loc="left", fontsize=7)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=7, loc="outside right upper")
    return figure


def ablation(table: Table) -> Figure:
    """A table of the ablations as a figure: lines over a number, bars over words."""
    lines = [line.cells for line in table.lines if line.by == OURS]
    cells = pd.DataFrame(lines, columns=table.header).replace(NONE, "nan")
    values = cells.pop(table.header[0]).str.removesuffix(" (default)")
    means = cells.replace(" ± .*", "", regex=True).astype(float)
    spreads = cells.replace({"^[^±]*$": "0", ".* ± ": ""}, regex=True).astype(float)
    numbers = pd.to_numeric(values, errors="coerce")
    words = numbers.isna().any()
    figure = canvas(table.title, 7, 0.9 + 0.2 * cells.size if words else 3.2)
    axes = figure.add_subplot()
    if words:
        bars(axes, values.tolist(), dict(means), "top-1 accuracy, %", errors=dict(spreads))
    for column, marker in zip(() if words else means, itertools.cycle("os^Dvx")):
        there = means[column].notna()
        x, y, error = numbers[there], means[column][there], spreads[column][there]
        axes.errorbar(x, y, error, marker=marker, capsize=2, label=column)
        axes.set(xlabel=table.header[0], ylabel="top-1 accuracy, %")
    axes.legend(**AT_RIGHT)
    return figure


def draw(results: Results) -> dict[str, Figure]:
    """All figures of results by file name, without its ending."""
    made = {}
    for name, title in titles(results.rows).items():
        learnt = results.curves[results.curves.benchmark == name]
        costs = results.device[results.device.benchmark == name].dropna(subset="accuracy")
        made[f"results_{name}"] = accuracies(results.rows, name)
        made |= {f"curves_{name}": curves(learnt, title)} if len(learnt) else {}
        made |= {f"export_{name}": device(costs, title)} if len(costs) else {}
    return made


def save(figure: Figure, folder: Path, name: str) -> None:
    """`<name>.png` and `<name>.svg`, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def inline(figure: Figure, label: str = "") -> str:
    """The figure as an <svg> element in the colours of its page; label: what is read out of it."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    # Black text is written without a colour, black lines with one.
    said = f'<svg role="img" aria-label="{escape(label)}" fill="currentColor" '
    return svg[svg.index("<svg") :].replace("<svg ", said, 1).replace("#000000", "currentColor")


def illustration(title: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """The arrays of one benchmark by name, names of things as lists, its `title`; `short` names of
    classes; rows of networks whose responses are shown, all but the student's, by name; of the
    `fused` model by stream, its own first; of single encoders, `alone`."""
    lists = {key: value.tolist() for key, value in arrays.items() if value.dtype.kind == "U"}
    one = SimpleNamespace(**{**arrays, **lists, "title": title})
    one.short = [n if len(n) <= LETTERS else n[: LETTERS - 1].rstrip() + "…" for n in one.classes]
    one.networks = ["fused" if name == "both" else name for name in one.networks]
    one.responses = {name: row for row, name in enumerate(one.networks) if name != "student"}
    models = [model.split()[0] for model in one.models]
    one.fused = {one.model_streams[row]: row for row, name in enumerate(models) if name == "both"}
    one.alone = {name: models.index(name) for name in one.encoders if name in models}
    return one


def illustrations(runs: Path, names: Mapping[str, str]) -> dict[str, Figure]:
    """What is there to see of benchmarks, by file name; names: their titles. Raises ReportError."""
    found = {}
    for benchmark, title in names.items():
        one = illustration(title, arrays(runs / "illustrate" / benchmark / "figures.npz"))
        kinds = {masked: one.encoders, masked_motion: True, masked_motion_classes: True}
        kinds |= {activation: one.responses, activation_classes: one.responses}
        kinds |= {
            embedding: one.networks,
            classes: one.fused,
            classes_difference: len(one.alone) == 2,
        }
        for make in (make for make, there in kinds.items() if there):
            found[f"{make.__name__}_{benchmark}"] = make(one)
        for stream, row in one.fused.items():
            found[f"confusion_{stream}_{benchmark}"] = confusion(one, row)
    return found


def skeleton(
    axes: Axes, one: Any, values: np.ndarray, label: str, spread: Any = None, named: int = 0
) -> None:
    """The mean pose with values (V,) as the colour and the size of its joints.

    label: what the scale says, empty for no scale; spread: its least and largest value, else those
    of the values; named: so many joints, the largest, have their names beside them.
    """
    place = one.place
    low, high = spread or (values.min(), values.max())
    bones = np.stack([place, place[one.parents]], axis=1)
    axes.add_collection(LineCollection(list(bones), colors=GREY, linewidths=1.5, zorder=1))
    size = 20 + 60 * (values - low) / ((high - low) or 1.0)
    style: Any = {"edgecolors": GREY, "linewidths": 1.2, "zorder": 2, "clip_on": False}
    x, y = place.T
    drawn = axes.scatter(x, y, size, values, cmap=MAP, vmin=low, vmax=high, **style)
    for joint in np.argsort(-values)[:named].tolist():
        side, way = ("left", 9) if place[joint, 0] >= np.median(place[:, 0]) else ("right", -9)
        beside: Any = {"textcoords": "offset points", "xytext": (way, 0), "fontsize": 8}
        axes.annotate(one.joints[joint], place[joint], ha=side, va="center", **beside)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.set_axis_off()
    if label:
        _scale(axes, drawn, label, orientation="horizontal", shrink=0.8, pad=0.02, aspect=25)


def masked(one: Any) -> Figure:
    """How often each joint is hidden by each encoder, on the skeleton and as bars."""
    hidden = 100 * one.joints_hidden
    figure = canvas(one.title, 7, 1.4 + 0.21 * len(one.joints))
    grid = figure.add_gridspec(len(one.encoders), 2, width_ratios=(1, 1.25))
    for row, encoder in enumerate(one.encoders):
        axes = figure.add_subplot(grid[row, 0], title=f"hidden by {encoder}")
        label = "% of masked views" if encoder == one.encoders[-1] else ""
        skeleton(axes, one, hidden[row], label, (hidden.min(), hidden.max()))
    axes = figure.add_subplot(grid[:, 1])
    series = dict(zip(one.encoders, hidden, strict=True))
    bars(axes, one.joints, series, "% of masked views in which the joint is hidden")
    expected = one.drawn_first * hidden.sum(axis=1, keepdims=True)
    label = "number hidden × probability to be drawn first"
    for bar, likely in zip(axes.containers, expected, strict=True):
        y = [patch.get_y() + patch.get_height() / 2 for patch in bar]
        axes.plot(likely, y, "|", color=GREY, markersize=7, markeredgewidth=1.6, label=label)
        label = f"_{label}"
    legend(axes)
    return figure


def masked_motion(one: Any) -> Figure:
    """How much each joint moves, by its degree, and each frame, and how often it is hidden."""
    moved = 100 * one.displacement
    figure = canvas(one.title, 7, 1.4 + 0.21 * len(one.joints))
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1.25), height_ratios=(2.2, 1, 1))
    skeleton(figure.add_subplot(grid[0, 0]), one, moved, "cm a frame")
    above = figure.add_subplot(grid[1, 0], ylabel="motion score × 100")
    above.plot(100 * one.motion_by_frame, color=COLOURS[2])
    below = figure.add_subplot(
        grid[2, 0], sharex=above, xlabel="frame", ylabel="% of clips, hidden"
    )
    for encoder, hidden, line in zip(one.encoders, one.frames_hidden, ("-", "--"), strict=False):
        below.plot(100 * hidden, line, label=encoder)
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.yaxis.label.set_fontsize(8)
    if one.encoders:
        legend(below)
    axes = figure.add_subplot(grid[:, 1])
    degrees = np.unique(one.degree).tolist()
    series = {f"degree {n}": np.where(one.degree == n, moved, np.nan) for n in degrees}
    bars(axes, one.joints, series, "mean displacement, cm a frame", split=False)
    legend(axes)
    return figure


def activation(one: Any) -> Figure:
    """How strongly each encoder and the fused model respond to each joint, the largest 1."""
    figure = canvas(one.title, 7, 4.4)
    for place, (name, row) in enumerate(one.responses.items(), start=1):
        axes = figure.add_subplot(1, len(one.responses), place, title=name)
        skeleton(axes, one, one.activation[row], "response, largest = 1", named=4)
    return figure


def masked_motion_classes(one: Any) -> Figure:
    """How much each joint moves in each class: of the classes that the embeddings show."""
    return _by_joint(one, {"mean displacement, cm a frame": 100 * one.displacement_by_class})


def activation_classes(one: Any) -> Figure:
    """How strongly each network responds to each joint in those classes."""
    return _by_joint(one, {k: one.activation_by_class[row] for k, row in one.responses.items()})


def embedding(one: Any) -> Figure:
    """Test clips of a few classes in two dimensions, a panel a network."""
    rows, labels = -(-len(one.networks) // 2), np.unique(one.embedding_labels).tolist()
    figure = canvas(one.title, 7, 0.9 + 3 * rows)
    for place, (name, points) in enumerate(zip(one.networks, one.embedding, strict=True), start=1):
        axes = figure.add_subplot(rows, 2, place, title=name, xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(True)
        for label, marker, colour in zip(labels, MARKERS, itertools.cycle(COLOURS)):
            x, y = points[one.embedding_labels == label].T
            style: Any = {"color": colour, "marker": marker, "label": one.short[label]}
            axes.scatter(x, y, s=20, linewidths=0, **style)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def classes(one: Any) -> Figure:
    """Accuracy of the fused model on each class: of its stream bars, of all streams points."""
    there, ((stream, own), *others) = np.flatnonzero(one.clips > 0), one.fused.items()
    label = f"% of the class's test clips recognised, {one.models[own]}"
    figure = canvas(one.title, 7, 1.5 + 0.22 * len(there))
    axes = figure.add_subplot()
    names = [f"{one.short[k]} ({one.clips[k]})" for k in there]
    bars(axes, names, {stream: one.accuracy[own][there]}, label, split=False)
    for other, row in others:
        style: Any = {"color": COLOURS[4], "markersize": 5, "clip_on": False, "label": other}
        axes.plot(one.accuracy[row][there], range(len(there)), "D", **style)
    axes.set_xlim(0, 100)
    legend(axes)
    return figure


def classes_difference(one: Any) -> Figure:
    """By how much the second encoder is ahead of the first in each class."""
    (first, a), (second, b) = one.alone.items()
    there = np.flatnonzero(one.clips > 0)
    ahead = one.accuracy[b][there] - one.accuracy[a][there]
    order = np.argsort(-ahead, kind="stable")
    there, ahead = there[order], ahead[order]
    series = {
        f"{second} is ahead": np.where(ahead > 0, ahead, np.nan),
        f"{first} is ahead": np.where(ahead < 0, ahead, np.nan),
    }
    kind = one.models[a].split()[-1]
    label = f"difference in accuracy by class, {kind} probe, percentage points"
    figure = canvas(one.title, 7, 1.5 + 0.22 * len(there))
    axes = figure.add_subplot()
    bars(axes, [one.short[k] for k in there], series, label, split=False)
    axes.axvline(0, color=GREY, linewidth=0.8)
    legend(axes)
    return figure


def confusion(one: Any, row: int) -> Figure:
    """Who is taken for whom by one model, in per cent of the true class, and the worst pairs."""
    found = one.confusion[row]
    there = np.flatnonzero(found.sum(axis=1) + found.sum(axis=0))
    matrix, K, names = found[np.ix_(there, there)], len(there), [one.short[k] for k in there]
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    pairs = [(a, b) for a, b in one.worst_pairs[row][:NAMED].tolist() if a >= 0]
    told = [
        f"{one.short[a]} taken for {one.short[b]}, {found[a, b]} of {found[a].sum()}"
        for a, b in pairs
    ]
    side = min(max(4.0, 1.8 + 0.2 * K), 16)
    figure = canvas(one.title, side + 1.6, side + 0.5 + 0.17 * (len(told) + 1))
    axes = figure.add_subplot(title=f"{one.models[row]}, {one.model_streams[row]}")
    # Only the cells that hold something: a drawing of all of 120 classes would be a megabyte.
    true, taken = np.nonzero(share >= 0.5)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    cells = np.stack([taken, true], axis=1)[:, None] + corners
    drawn = PolyCollection(list(cells), array=share[true, taken], cmap=MAP, edgecolors="none")
    drawn.set_clim(0, 100)
    axes.add_collection(drawn)
    for a, b in zip(true.tolist(), taken.tolist(), strict=True) if K <= 20 else ():
        ink = "#ffffff" if share[a, b] < 55 else "#1c1c1c"
        axes.text(b, a, str(matrix[a, b]), ha="center", va="center", fontsize=8, color=ink)
    size = float(np.clip(60 * (side - 1.8) / K, 3.5, 8))
    axes.set_xticks(range(K), names, rotation=90, fontsize=size)
    axes.set_yticks(range(K), names, fontsize=size)
    axes.set(xlim=(-0.5, K - 0.5), ylim=(K - 0.5, -0.5), xlabel="taken for", ylabel="true class")
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(True)
    _scale(axes, drawn, "% of the true class", shrink=0.7, aspect=30)
    said = f"Confused most: {'; '.join(told)}" if told else "No clip is taken for another class."
    figure.supxlabel(textwrap.fill(said, int(15 * (side + 1.6))), fontsize=8, ha="left", x=0.01)
    return figure


def _by_joint(one: Any, panels: Mapping[str, np.ndarray]) -> Figure:
    """Values (K, V) as colours, a row a joint and a column a class that the embeddings show."""
    shown = np.unique(one.embedding_labels).tolist()
    figure = canvas(one.title, max(4.5, 2.2 + 1.9 * len(panels)), 2.6 + 0.17 * len(one.joints))
    for place, (title, values) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place, title=title)
        drawn = axes.pcolormesh(values[shown].T, cmap=MAP)
        axes.set_xticks(np.arange(len(shown)) + 0.5, [one.short[k] for k in shown])
        axes.set_yticks(np.arange(len(one.joints)) + 0.5, one.joints if place == 1 else [])
        axes.tick_params(axis="x", labelsize=7, rotation=90, length=0)
        axes.tick_params(axis="y", labelsize=8, length=0)
        axes.invert_yaxis()
        _scale(axes, drawn, "", orientation="horizontal", pad=0.02, aspect=25)
    return figure


def _scale(axes: Axes, drawn: ScalarMappable, label: str, **place: Any) -> None:
    """A scale of colours beside the drawing, of drawn steps: an image would be its own file."""
    assert isinstance(axes.figure, Figure)
    bar = axes.figure.colorbar(drawn, ax=axes, label=label, **place)
    bar.ax.tick_params(labelsize=8)
    if bar.solids is not None:
        bar.solids.set_rasterized(False)
