"""A report as one page that opens without a network: tables, figures, a skeleton player, claims; all inlined.

page.html is the page, page.css its look, page.js what tables and figures do, player.js the skeleton player.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from asma.report import figures, headline, tables
from asma.report.collect import Results, Run
from asma.report.tables import Table

# Where `make ui` serves MLflow; the first experiment of a fresh store has number 1 (0 is MLflow's own).
MLFLOW = "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&searchFilter="
MANY = 4  # figures of one group that are open from the start
VERDICTS = {"holds": "✓", "does not hold": "✗", "cannot be told": "?", "was not run": "–"}

INTRODUCTION = """\
ASMa learns from skeleton recordings without labels, by two encoders that differ in what is hidden from them: \
`lowdeg_highmot` does not see joints of low degree and frames of high motion, `highdeg_lowmot` the opposite. Here is \
what came of it in this repository, beside its controls, which are what it has to beat, and where the benchmark is \
the paper's beside the published figures."""


class Claim(NamedTuple):
    """A claim that was put to the test: its words, one of VERDICTS, and what was found in a sentence."""

    claim: str
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Opening:
    """What the page begins with: one sentence, and a bar each for methods and controls, beside chance, per cent."""

    sentence: str
    title: str
    bars: list[tuple[str, bool, float]]  # name, whether it is a control, accuracy
    chance: float | None


@dataclass(frozen=True)
class Group:
    """Figures of one kind: those whose names begin with `prefix`."""

    prefix: str
    heading: str
    caption: str
    drawings: list[Drawing] = field(default_factory=list)


@dataclass(frozen=True)
class Drawing:
    """One figure on the page."""

    name: str
    title: str
    svg: Markup


GROUPS = (
    ("results", "Accuracy", "Top-1 accuracy of every encoder and way of judging it; a line across a bar is published."),
    ("ablation", "Ablations", "What changes when one choice of the method does."),
    ("masked", "What is masked", "How often each joint is hidden from each encoder, and which frames."),
    ("activation", "Where the encoders look", "How strongly each joint excites each of them; the strongest are named."),
    ("embedding", "Embeddings", "Embeddings of the test recordings in two dimensions, one mark a class."),
    ("classes", "Accuracy by class", "The share of each class's test recordings that is recognised."),
    ("confusion", "Confusion", "True class against predicted class, with the pairs that are confused most."),
    ("export", "Cost", "Accuracy against what a network costs to keep and to run."),
    ("curves", "Learning curves", "What training tells by epoch."),
)
MORE = ("", "More figures", "")


def html(results: Results, drawn: Mapping[str, Figure], players: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """index.html: all results. players: by benchmark, as `players.read` gives them."""
    return render(
        "ASMa: results",
        opening=_opening(results),
        text=INTRODUCTION,
        note=tables.note(results),
        of=tables.tables(results),
        drawn=drawn,
        players={benchmark: _named(player) for benchmark, player in (players or {}).items()},
        titles={benchmark: results.title(benchmark) for benchmark in results.benchmarks},
        first=max(1, sum(tables.in_short(results, benchmark) is not None for benchmark in results.benchmarks)),
    )


def _named(player: Mapping[str, Any]) -> dict[str, Any]:
    """A player whose models are called as the tables call them."""
    shown = json.loads(json.dumps(player))
    for told in (told for one in shown["recordings"] for told in one.get("predictions", [])):
        told["model"] = headline.LEARNT.get(tuple(told["model"].split()), told["model"])
    return shown


def _opening(results: Results) -> Opening | None:
    """Of the first benchmark that has a method."""
    for benchmark in results.benchmarks:
        if said := headline.sentence(results, benchmark):
            stream = tables.last_stream(results)
            bars = [
                (
                    one.name if one.row["stream"] == stream else f"{one.name} ({one.row['stream']} only)",
                    one.control,
                    one.row["accuracy"],
                )
                for one in headline.entries(results, benchmark)
            ]
            return Opening(said, results.title(benchmark), bars, headline.chance(results, benchmark))
    return None


def render(
    title: str,
    *,
    opening: Opening | None = None,
    text: str = "",
    note: str | None = None,
    of: Sequence[Table] = (),
    drawn: Mapping[str, Figure] | None = None,
    players: Mapping[str, Mapping[str, Any]] | None = None,
    claims: Sequence[Claim] = (),
    titles: Mapping[str, str] | None = None,
    first: int = 1,
) -> str:
    """A page of these tables, figures (by file name), players (by benchmark) and claims, each of which may be empty.

    A figure's name is `<group>_<what>_<benchmark>`, with or without the second; `titles` says how benchmarks are
    called; so many tables as `first` stand before the players. `note` stands out at the top. Raises ValueError on a
    claim whose verdict is none of VERDICTS.
    """
    for claim in claims:
        if claim.verdict not in VERDICTS:
            raise ValueError(f"{claim.claim}: found {claim.verdict!r}, expected one of {', '.join(VERDICTS)}")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    page.policies["json.dumps_kwargs"] = {}  # keys in the order given
    page.filters["code"] = _code
    only = list((titles or {}).values())
    runs, numbers = _runs(of)
    return page.from_string(_own("page.html")).render(
        title=title,
        opening=opening,
        first=first,
        text=text,
        note=note,
        known=f": {only[0]}" if len(only) == 1 else "",  # the contents need not repeat the only benchmark
        tables=of,
        runs=runs,
        numbers=numbers,
        groups=_groups(drawn or {}, titles or {}),
        players=dict(players or {}),
        claims=claims,
        verdicts=VERDICTS,
        many=MANY,
        none_=tables.NONE,
        published=tables.PUBLISHED,
        style=Markup(_own("page.css")),
        script=Markup(_own("page.js")),
        player=Markup(_own("player.js")),
    )


def _code(text: Markup) -> Markup:
    """What stands between backticks as code; the rest was escaped before."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(text)))


def _own(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _runs(of: Sequence[Table]) -> tuple[list[list[dict[str, Any]]], dict[tuple[int, int, int], int]]:
    """What is shown of the runs of a figure, each list of runs once; and its number by table, line and cell."""
    shown: dict[tuple[str, ...], tuple[int, list[dict[str, Any]]]] = {}
    numbers, number = {}, count()
    for place, table in enumerate(of):
        for row, line in enumerate(table.lines):
            for cell, runs in line.runs.items():
                key = tuple(map(repr, runs))
                if key not in shown:
                    shown[key] = next(number), [_shown(run) for run in runs]
                numbers[place, row, cell] = shown[key][0]
    return [runs for _, runs in shown.values()], numbers


def _shown(run: Run) -> dict[str, Any]:
    return {
        "path": f"runs/{run.folder}/metrics.json",
        "told": [[key, str(value)] for key, value in run.told.items()],
        "filter": run.search,
        "mlflow": MLFLOW + quote(run.search),
    }


def _groups(drawn: Mapping[str, Figure], titles: Mapping[str, str]) -> list[Group]:
    """The figures under their headings, in the order of GROUPS; what has no group comes last."""
    groups = {prefix: Group(prefix, heading, caption) for prefix, heading, caption in (*GROUPS, MORE)}
    for name, figure in drawn.items():
        prefix, _, rest = name.partition("_")
        group = groups.get(prefix, groups[""])
        # Our own drawing, so not to be escaped.
        title = _titled(rest if group.prefix and rest else name, titles)
        label = f"{group.heading}: {title}"
        group.drawings.append(Drawing(name, title, Markup(figures.inline(figure, label))))
    return [group for group in groups.values() if group.drawings]


def _titled(words: str, titles: Mapping[str, str]) -> str:
    """`joint_demo_ntu_xsub` → demo_ntu_xsub (demonstration): joint."""
    for benchmark in sorted(titles, key=len, reverse=True):
        if words.endswith(benchmark):
            what = words.removesuffix(benchmark).strip("_").replace("_", " ")
            return f"{titles[benchmark]}: {what}" if what else titles[benchmark]
    return words
