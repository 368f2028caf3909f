"""The paper's figures on our data: what is masked, what the networks respond to, who is taken for whom.

runs/illustrate/<benchmark>/figures.npz → figures. K classes, V joints, T frames; the file says what its rows are.
"""

from __future__ import annotations

import textwrap
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.container import Container
from matplotlib.figure import Figure

from asma.report.collect import ReportError
from asma.report.figures import COLOURS, STYLE

# told apart by the colour-blind, and in grey too; a scale of it is drawn in as many steps
MAP = matplotlib.colormaps["cividis"].resampled(48)
GREY = "#8a8a8a"  # seen on white and on black
SHORTEST = 0.085  # of a figure's bones, in heights of the body: the joints of a hand lie too close to be told apart
NAMED = 5  # pairs of classes below a confusion matrix
STRONGEST = 4  # joints whose names stand beside them
LETTERS = 30  # of a class's name, at most
MARKERS = "os^Dv*PXp"
KEYS = (
    "joints", "parents", "classes", "encoders", "clips", "pose", "degree", "drawn_first", "joints_hidden",
    "frames_hidden", "motion_by_frame", "displacement", "displacement_by_class", "networks", "activation",
    "activation_by_class", "embedding", "embedding_labels", "models", "model_streams", "confusion", "worst_pairs",
    "accuracy",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Illustration:
    """The arrays of one benchmark, by name, and what the benchmark is called."""

    title: str
    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def words(self, key: str) -> list[str]:
        """An array of names as a list."""
        return [str(word) for word in self.arrays[key]]


def read(path: Path, title: str) -> Illustration:
    """The arrays of a figures.npz. Raises ReportError where it is not there, or is something else."""
    if not path.is_file():
        raise ReportError(f"{path}: not found; `dvc repro` makes it")
    try:
        with path.open("rb") as held, np.load(held, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ReportError(f"{path}: found {error}, expected arrays") from error
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise ReportError(f"{path}: found no {', '.join(missing)}, expected all of {', '.join(KEYS)}")
    return Illustration(title, arrays)


def draw(runs: Path, titles: Mapping[str, str]) -> dict[str, Figure]:
    """All figures by file name, of benchmarks by name with their titles. Raises ReportError."""
    found: dict[str, Figure] = {}
    for benchmark, title in titles.items():
        one = read(runs / "illustrate" / benchmark / "figures.npz", title)
        drawn = {
            "masked": masked(one),
            "masked_motion": motion(one),
            "masked_motion_classes": motion_by_class(one),
            "activation": activation(one),
            "activation_classes": activation_by_class(one),
            "embedding": embedding(one),
            "classes": by_class(one),
            "classes_difference": difference(one),
            **{f"confusion_{stream}": confusion(one, row) for stream, row in _fused(one).items()},
        }
        found |= {f"{name}_{benchmark}": figure for name, figure in drawn.items() if figure is not None}
    return found


def flat(pose: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Where joints of a pose (V, 3) are drawn, (V, 2) in heights of the body, seen from the front.

    The joints of a hand lie too close to be told apart: short bones are drawn longer, and where no other branches off
    they go on as the bone before, away from the body. A bone without a direction of its own hangs down.
    """
    seen = pose[:, :2] * (-1, 1)
    seen = seen / (float(np.ptp(seen, axis=0).max()) or 1.0)
    found, ways = np.zeros_like(seen), np.tile([0.0, -1.0], (len(seen), 1))
    children = [[v for v, above in enumerate(parents) if above == joint != v] for joint in range(len(parents))]
    reached = [joint for joint, above in enumerate(parents) if joint == above]
    for joint in reached:  # grows: children after their parents
        for child in children[joint]:
            bone = seen[child] - seen[joint]
            length = float(np.hypot(*bone))
            if length < SHORTEST and len(children[joint]) == 1:
                outwards = np.sign(found[joint][0]) * abs(ways[joint][0])
                ways[child] = outwards, ways[joint][1]
            elif length > 0:
                ways[child] = bone / length
            found[child] = found[joint] + ways[child] * max(length, SHORTEST)
            reached.append(child)
    return found


def skeleton(
    axes: Axes,
    one: Illustration,
    values: np.ndarray,
    spread: tuple[float, float],
    label: str | None = None,
    named: int = 0,
) -> None:
    """The mean pose with values (V,) as the colour and the size of its joints.

    spread: the least and the largest value of the scale; label: what it says, None for no scale; named: so many
    joints, those of the largest values, have their names beside them.
    """
    place, (low, high) = flat(one["pose"], one["parents"]), spread
    bones = np.stack([place, place[one["parents"]]], axis=1)
    axes.add_collection(LineCollection(list(bones), colors=GREY, linewidths=1.5, zorder=1))
    size = 20 + 60 * (values - low) / ((high - low) or 1.0)
    x, y = place.T
    drawn = axes.scatter(
        x, y, size, values, cmap=MAP, vmin=low, vmax=high, edgecolors=GREY, linewidths=1.2, zorder=2, clip_on=False
    )
    for joint in np.argsort(-values)[:named].tolist():
        right = x[joint] >= np.median(x)
        axes.annotate(
            one.words("joints")[joint], place[joint], (9 if right else -9, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.set_axis_off()
    if label is not None:
        _scale(axes, drawn, label, orientation="horizontal", shrink=0.8, pad=0.02, aspect=25)


def masked(one: Illustration) -> Figure | None:
    """How often each joint is hidden by each encoder, on the skeleton and as bars; None without encoders."""
    encoders, joints, hidden = one.words("encoders"), one.words("joints"), 100 * one["joints_hidden"]
    if not encoders:
        return None
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 1.4 + 0.21 * len(joints))
        grid = figure.add_gridspec(len(encoders), 2, width_ratios=(1, 1.25))
        spread = (float(hidden.min()), float(hidden.max()))
        for row, encoder in enumerate(encoders):
            axes = figure.add_subplot(grid[row, 0])
            axes.set_title(f"hidden by {encoder}", fontsize=9)
            last = row == len(encoders) - 1
            skeleton(axes, one, hidden[row], spread, "% of masked views" if last else None)
        axes = figure.add_subplot(grid[:, 1])
        expected = one["drawn_first"] * hidden.sum(axis=1, keepdims=True)
        thick = 0.8 / len(encoders)
        for row, encoder in enumerate(encoders):
            y = np.arange(len(joints)) - 0.4 + thick * (row + 0.5)
            axes.barh(y, hidden[row], height=thick, color=COLOURS[row % len(COLOURS)], label=encoder)
            told = "number hidden × probability to be drawn first" if row == 0 else None
            axes.plot(expected[row], y, "|", color=GREY, markersize=7, markeredgewidth=1.6, label=told)
        _rows(axes, joints)
        axes.set_xlabel("% of masked views in which the joint is hidden")
        _legend(axes)
    return figure


def motion(one: Illustration) -> Figure:
    """How much each joint moves, beside its degree, and how much each frame, beside how often it is hidden."""
    joints, moved, encoders = one.words("joints"), 100 * one["displacement"], one.words("encoders")
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 1.4 + 0.21 * len(joints))
        grid = figure.add_gridspec(3, 2, width_ratios=(1, 1.25), height_ratios=(2.2, 1, 1))
        axes = figure.add_subplot(grid[0, 0])
        skeleton(axes, one, moved, (float(moved.min()), float(moved.max())), "cm a frame")
        axes = figure.add_subplot(grid[1, 0])
        axes.plot(100 * one["motion_by_frame"], color=COLOURS[2])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("motion score × 100", fontsize=8)
        axes = figure.add_subplot(grid[2, 0], sharex=axes)
        for row, encoder in enumerate(encoders):
            axes.plot(100 * one["frames_hidden"][row], "-" if row == 0 else "--", color=COLOURS[row], label=encoder)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("% of clips, hidden", fontsize=8)
        axes.set_xlabel("frame")
        if encoders:
            _legend(axes)
        axes = figure.add_subplot(grid[:, 1])
        for turn, degree in enumerate(np.unique(one["degree"]).tolist()):
            own = np.flatnonzero(one["degree"] == degree)
            axes.barh(own, moved[own], height=0.7, color=COLOURS[turn % len(COLOURS)], label=f"degree {degree}")
        _rows(axes, joints)
        axes.set_xlabel("mean displacement, cm a frame")
        _legend(axes)
    return figure


def activation(one: Illustration) -> Figure | None:
    """How strongly each encoder and the fused model respond to each joint, the largest 1; None without networks."""
    shown = [(name, row) for row, name in enumerate(one.words("networks")) if name != "student"]
    if not shown:
        return None
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 4.4)
        for place, (name, row) in enumerate(shown, start=1):
            axes, values = figure.add_subplot(1, len(shown), place), one["activation"][row]
            axes.set_title("fused" if name == "both" else name, fontsize=9)
            skeleton(axes, one, values, (float(values.min()), float(values.max())), "response, largest = 1", STRONGEST)
    return figure


def motion_by_class(one: Illustration) -> Figure:
    """How much each joint moves in each class: of the classes that the embeddings show."""
    return _by_joint(one, [("mean displacement, cm a frame", 100 * one["displacement_by_class"])])


def activation_by_class(one: Illustration) -> Figure | None:
    """How strongly each encoder and the fused model respond to each joint in the classes that the embeddings show."""
    shown = [(name, row) for row, name in enumerate(one.words("networks")) if name != "student"]
    panels = [("fused" if name == "both" else name, one["activation_by_class"][row]) for name, row in shown]
    return _by_joint(one, panels) if panels else None


def embedding(one: Illustration) -> Figure | None:
    """Test clips of a few classes in two dimensions, a panel a network; None without networks."""
    networks, labels, classes = one.words("networks"), one["embedding_labels"], one.words("classes")
    if not networks:
        return None
    rows = -(-len(networks) // 2)
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 0.9 + 3 * rows)
        for place, name in enumerate(networks):
            axes = figure.add_subplot(rows, 2, place + 1)
            axes.set_title({"both": "fused"}.get(name, name), fontsize=9)
            for turn, label in enumerate(np.unique(labels).tolist()):
                x, y = one["embedding"][place][labels == label].T
                axes.scatter(
                    x,
                    y,
                    color=COLOURS[turn % len(COLOURS)],
                    marker=MARKERS[turn % len(MARKERS)],
                    s=20,
                    linewidths=0,
                    label=_short(classes[label]),
                )
            axes.set(xticks=[], yticks=[])
            axes.spines[["top", "right"]].set_visible(True)
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def by_class(one: Illustration) -> Figure | None:
    """Accuracy of the fused model on each class, of its stream as bars and of all streams as points."""
    rows = _fused(one)
    there = np.flatnonzero(one["clips"] > 0)
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 1.5 + 0.22 * len(there))
        axes, (stream, *others) = figure.add_subplot(), rows
        names = [f"{_short(one.words('classes')[k])} ({one['clips'][k]})" for k in there]
        axes.barh(range(len(there)), one["accuracy"][rows[stream]][there], height=0.7, color=COLOURS[0], label=stream)
        for other in others:
            shown = one["accuracy"][rows[other]][there]
            axes.plot(shown, range(len(there)), "D", color=COLOURS[4], markersize=5, label=other, clip_on=False)
        _rows(axes, names)
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"% of the class's test clips recognised, {one.words('models')[rows[stream]]}")
        _legend(axes)
    return figure


def difference(one: Illustration) -> Figure | None:
    """By how much the second encoder is ahead of the first in each class; None unless there are two."""
    encoders, models = one.words("encoders"), one.words("models")
    rows = [next((i for i, model in enumerate(models) if model.split()[0] == encoder), None) for encoder in encoders]
    if len(rows) != 2 or None in rows:
        return None
    first, second = encoders
    ahead = one["accuracy"][rows[1]] - one["accuracy"][rows[0]]
    there = np.flatnonzero(one["clips"] > 0)
    there = there[np.argsort(-ahead[there], kind="stable")]
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, 7, 1.5 + 0.22 * len(there))
        axes = figure.add_subplot()
        for colour, encoder, own in ((COLOURS[0], second, ahead > 0), (COLOURS[4], first, ahead < 0)):
            places = np.flatnonzero(own[there])
            axes.barh(places, ahead[there][places], height=0.7, color=colour, label=f"{encoder} is ahead")
        axes.axvline(0, color=GREY, linewidth=0.8)
        _rows(axes, [_short(one.words("classes")[k]) for k in there])
        kind = models[int(rows[0] or 0)].split()[-1]
        axes.set_xlabel(f"difference in accuracy by class, {kind} probe, percentage points")
        _legend(axes)
    return figure


def confusion(one: Illustration, row: int) -> Figure:
    """Who is taken for whom by one model, in per cent of the true class; below it the pairs confused most."""
    found, names = one["confusion"][row], [_short(name) for name in one.words("classes")]
    there = np.flatnonzero(found.sum(axis=1) + found.sum(axis=0))
    matrix, K = found[np.ix_(there, there)], len(there)
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    true, taken = np.nonzero(share >= 0.5)
    pairs = [(a, b) for a, b in one["worst_pairs"][row][:NAMED].tolist() if a >= 0]
    told = [f"{names[a]} taken for {names[b]}, {found[a, b]} of {found[a].sum()}" for a, b in pairs]
    with matplotlib.rc_context(STYLE):
        side = min(max(4.0, 1.8 + 0.2 * K), 16)
        figure = _figure(one, side + 1.6, side + 0.5 + 0.17 * (len(told) + 1))
        axes = figure.add_subplot()
        # only the cells that hold something: a drawing of all of 120 classes would be a megabyte
        corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        cells = np.stack([taken, true], axis=1)[:, None] + corners
        drawn = PolyCollection(list(cells), array=share[true, taken], cmap=MAP, edgecolors="none")
        drawn.set_clim(0, 100)
        axes.add_collection(drawn)
        if K <= 20:
            for a, b in zip(true.tolist(), taken.tolist(), strict=True):
                ink = "#ffffff" if share[a, b] < 55 else "#1c1c1c"
                axes.text(b, a, str(matrix[a, b]), ha="center", va="center", fontsize=8, color=ink)
        size = float(np.clip(60 * (side - 1.8) / K, 3.5, 8))
        axes.set_xticks(range(K), [names[k] for k in there], rotation=90, fontsize=size)
        axes.set_yticks(range(K), [names[k] for k in there], fontsize=size)
        axes.set(xlim=(-0.5, K - 0.5), ylim=(K - 0.5, -0.5), xlabel="taken for", ylabel="true class")
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(True)
        axes.set_title(f"{one.words('models')[row]}, {one.words('model_streams')[row]}", fontsize=9)
        _scale(axes, drawn, "% of the true class", shrink=0.7, aspect=30)
        text = "Confused most: " + "; ".join(told) if told else "No clip is taken for another class."
        figure.supxlabel(textwrap.fill(text, int(15 * (side + 1.6))), fontsize=8, ha="left", x=0.01)
    return figure


def _by_joint(one: Illustration, panels: list[tuple[str, np.ndarray]]) -> Figure:
    """Values (K, V) as colours, joints above each other, a panel a title and a column a class that has values."""
    classes, joints = np.unique(one["embedding_labels"]).tolist(), one.words("joints")
    with matplotlib.rc_context(STYLE):
        figure = _figure(one, max(4.5, 2.2 + 1.9 * len(panels)), 2.6 + 0.17 * len(joints))
        for place, (title, values) in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            drawn = axes.pcolormesh(values[classes].T, cmap=MAP)
            axes.set_title(title, fontsize=9)
            axes.set_xticks(np.arange(len(classes)) + 0.5, [_short(one.words("classes")[k]) for k in classes])
            axes.set_yticks(np.arange(len(joints)) + 0.5, joints if place == 1 else [])
            axes.tick_params(axis="x", labelsize=7, rotation=90, length=0)
            axes.tick_params(axis="y", labelsize=8, length=0)
            axes.invert_yaxis()
            _scale(axes, drawn, "", orientation="horizontal", pad=0.02, aspect=25)
    return figure


def _fused(one: Illustration) -> dict[str, int]:
    """Rows of the fused model by stream, its own stream first."""
    rows = enumerate(zip(one.words("models"), one.words("model_streams"), strict=True))
    return {stream: row for row, (model, stream) in rows if model.split()[0] == "both"}


def _figure(one: Illustration, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(one.title, x=0.01, ha="left")
    return figure


def _rows(axes: Axes, names: list[str]) -> None:
    """A name at each row of horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)


def _legend(axes: Axes) -> None:
    """Above the drawing, bars before marks."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda place: not isinstance(handles[place], Container))
    axes.legend(
        [handles[k] for k in order], [labels[k] for k in order],
        frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2,
    )  # fmt: skip


def _scale(axes: Axes, drawn: ScalarMappable, label: str, **how: Any) -> None:
    """A scale of colours beside the drawing, of few, drawn steps: an image would be a file of its own."""
    assert isinstance(axes.figure, Figure)
    bar = axes.figure.colorbar(drawn, ax=axes, **how)
    bar.set_label(label)
    bar.ax.tick_params(labelsize=8)
    if bar.solids is not None:
        bar.solids.set_rasterized(False)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1].rstrip() + "…"
