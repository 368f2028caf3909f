"""The report as one page that opens without a network: the tables and figures of results.md, inlined."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure

from asma.report import figures, tables
from asma.report.collect import Results


def html(results: Results, drawn: Mapping[str, Figure]) -> str:
    """index.html."""
    template = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    return page.render(
        tables=tables.tables(results),
        note=tables.note(results),
        # Our own drawing, so not to be escaped.
        figures={name: Markup(figures.inline(figure)) for name, figure in drawn.items()},
        published=tables.PUBLISHED,
    )
