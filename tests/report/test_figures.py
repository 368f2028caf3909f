from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from asma import illustration, skeleton
from asma.report import figures
from asma.report.figures import illustration as illustrated

LAYOUTS = sorted(path.stem for path in skeleton.LAYOUTS.glob("*.yaml"))
KINDS = {
    "masked", "masked_motion", "masked_motion_classes", "activation", "activation_classes",
    "embedding", "classes", "classes_difference", "confusion_joint", "confusion_3s",
}  # fmt: skip
Arrays = Callable[..., dict[str, np.ndarray]]
TITLE = "toy_xsub (demonstration)"


def leave(runs: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    path = runs / "illustrate" / "toy_xsub" / "figures.npz"
    illustration.save(path, arrays)
    return path


def drawn(runs: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Figures by kind, without the benchmark's name."""
    leave(runs, arrays)
    found = figures.illustrations(runs, {"toy_xsub": TITLE})
    assert all(name.endswith("_toy_xsub") for name in found)
    return {name.removesuffix("_toy_xsub"): figure for name, figure in found.items()}


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Place and length of horizontal bars."""
    found = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    return [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in found]


def words(figure: Figure) -> str:
    """All text of a figure as it is written into a page."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", figures.inline(figure)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_figure_is_drawn_for_every_layout_without_an_image_in_it(
    layout: str, arrays: Arrays, tmp_path: Path
) -> None:
    found = drawn(tmp_path, arrays(layout))
    assert set(found) == KINDS
    for name, figure in found.items():
        text = figures.inline(figure)
        assert "toy_xsub (demonstration)" in text, name
        assert "<image" not in text and not re.findall(r"""(?:src|href)=["'](?!#)""", text), name
        if name in ("masked", "masked_motion"):
            assert all(joint in text for joint in skeleton.load(layout).joints)


def test_the_same_arrays_give_the_same_bytes(arrays: Arrays, tmp_path: Path) -> None:
    for place in ("one", "two"):
        found = drawn(tmp_path / "runs", arrays("kinect_v1"))
        for name in ("masked", "confusion_joint"):
            figures.save(found[name], tmp_path / place, name)
    files = [path.name for path in (tmp_path / "one").iterdir()]
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"encoders": ("lowdeg_highmot",)}, {"classes_difference"}),
        ({"encoders": ()}, {"classes_difference", "masked"}),
        ({"fused": False}, {"classes", "confusion_joint", "confusion_3s"}),
        ({"encoders": (), "fused": False}, KINDS - {"masked_motion", "masked_motion_classes"}),
        ({"classes": 1}, set()),
    ],
)
def test_what_is_not_there_has_no_figure(
    changes: dict[str, Any], gone: set[str], arrays: Arrays, tmp_path: Path
) -> None:
    found = drawn(tmp_path, arrays(**changes))
    assert set(found) == KINDS - gone
    for figure in found.values():
        figures.inline(figure)


def test_joints_are_coloured_by_their_share(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    figure = figures.masked(one)
    clouds = [
        part
        for axes in figure.axes
        for part in axes.collections
        if isinstance(part, PathCollection)
    ]
    assert len(clouds) == 2
    for cloud, share in zip(clouds, one.joints_hidden, strict=True):
        np.testing.assert_allclose(np.asarray(cloud.get_array()), 100 * share)
    text = words(figure)
    assert "hidden by lowdeg_highmot" in text and "hidden by highdeg_lowmot" in text


def test_the_marks_are_where_the_probabilities_put_them(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    figure = figures.masked(one)
    marks = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "|"]
    for row, line in enumerate(marks):
        number = one.joints_hidden[row].sum()
        np.testing.assert_allclose(
            np.asarray(line.get_xdata()), 100 * number * one.drawn_first[row]
        )
    assert len(marks) == 2


def test_the_worst_pair_is_named_below_the_confusions(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    assert "Confused most: class &lt;0&gt; taken for class &lt;3&gt;, 5 of 8" in words(
        figures.confusion(one, 2)
    )
    assert "class &lt;0&gt; taken for class &lt;3&gt;, 1 of 8" in words(figures.confusion(one, 3))
    assert "No clip is taken for another class." in words(figures.confusion(one, 0))
    assert "both aligned_finetuned, 3s" in words(figures.confusion(one, 3))


def test_classes_that_nobody_has_are_left_out_of_the_confusions(arrays: Arrays) -> None:
    axes = figures.confusion(illustrated(TITLE, arrays()), 2).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "class <0>",
        "class <2>",
        "class <3>",
    ]
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {
        ((0, 0), "3"), ((2, 0), "5"), ((1, 1), "8"), ((2, 2), "8")
    }  # fmt: skip


def test_bars_are_the_accuracies_of_the_classes_that_have_clips(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    figure = figures.classes(one)
    axes = figure.axes[0]
    assert [length for _, length in bars(axes)] == [37.5, 100, 100]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [87.5, 100, 100]
    assert [tick.get_text() for tick in axes.get_yticklabels()][0] == "class <0> (8)"


def test_the_difference_is_the_second_encoders_lead_in_order(arrays: Arrays) -> None:
    held = arrays()
    held["accuracy"][:2] = [[50, np.nan, 25, 60], [40, np.nan, 75, 60]]
    figure = figures.classes_difference(illustrated(TITLE, held))
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "class <2>",
        "class <3>",
        "class <0>",
    ]
    assert bars(axes) == [(0, 50), (2, -10)]


def test_a_panel_a_network_with_every_clip_once(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    figure = figures.embedding(one)
    assert [axes.get_title() for axes in figure.axes] == [
        "lowdeg_highmot",
        "highdeg_lowmot",
        "fused",
        "student",
    ]
    for axes, expected in zip(figure.axes, one.embedding, strict=True):
        points = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections])
        assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, expected.tolist()))


def test_the_responses_of_the_student_are_not_shown_but_those_of_the_fused_model_are(
    arrays: Arrays,
) -> None:
    figure = figures.activation(illustrated(TITLE, arrays()))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["lowdeg_highmot", "highdeg_lowmot", "fused"]


def test_by_class_a_column_is_a_class_and_a_row_a_joint(arrays: Arrays) -> None:
    one = illustrated(TITLE, arrays())
    figure = figures.activation_classes(one)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["lowdeg_highmot", "highdeg_lowmot", "fused"]
    for axes, values in zip(panels, one.activation_by_class, strict=False):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [
            "class <0>",
            "class <2>",
            "class <3>",
        ]
        cells = np.asarray(axes.collections[0].get_array())
        np.testing.assert_allclose(cells.reshape(25, 3), values[[0, 2, 3]].T)
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == one.joints


@pytest.mark.parametrize("classes", [12, 60, 120])
def test_many_classes_stay_one_page_and_not_too_large(classes: int, arrays: Arrays) -> None:
    held = arrays(classes=classes)
    held["classes"] = np.array(
        [f"a class with a name that is far too long for a figure {k}" for k in range(classes)]
    )
    figure = figures.confusion(illustrated(TITLE, held), 2)
    assert max(figure.get_size_inches()) < 20
    text = figures.inline(figure)
    assert len(text) < 500_000
    assert "a class with a name that is f…" in text
