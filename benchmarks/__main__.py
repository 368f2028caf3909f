"""All topics: prints the table, writes results.json.   python -m benchmarks [--full] [topic ...]"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from tabulate import tabulate

from asma.deployment.machine import processor
from benchmarks.measure import Result

TOPICS = ("parsing", "views", "loss", "pretraining", "epochs", "inference", "startup", "growth")
HERE = Path(__file__).parent


def machine() -> str:
    """The processor, its cores, the versions: what the figures hold for."""
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{processor()}, {torch.get_num_threads()} threads{device}, {versions}"


def number(value: float | None) -> str:
    """Three significant figures, thousands unabbreviated."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    rows = []
    for r in results:
        ratio = "–" if r.ratio is None else f"{r.ratio:.1f} [{r.ratio_low:.1f}–{r.ratio_high:.1f}]"
        share = "–" if r.share_of_limit is None else f"{r.share_of_limit:.0%} of {number(r.limit)}"
        rows.append(
            [
                r.topic,
                r.case,
                r.dtype,
                r.threads,
                number(r.ours),
                number(r.baseline),
                r.unit,
                ratio,
                share,
            ]
        )
    heads = [
        "topic",
        "case",
        "dtype",
        "threads",
        "ours",
        "baseline",
        "unit",
        "ratio [low–high]",
        "share of the limit",
    ]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Run the topics and write what they found; a topic that is not run keeps its lines of the
    last time.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "topics",
        nargs="*",
        metavar="topic",
        help=f"any of {', '.join(TOPICS)}; all if none is given",
    )
    parser.add_argument(
        "--full", action="store_true", help="every case, more rounds; about an hour"
    )
    given = parser.parse_args()
    unknown = set(given.topics) - set(TOPICS)
    if unknown:
        parser.error(f"found {', '.join(sorted(unknown))}; expected any of {', '.join(TOPICS)}")
    chosen = given.topics or TOPICS
    print(machine(), flush=True)
    for topic in TOPICS:
        if topic in chosen:
            print(f"{topic} ...", flush=True)
            found = importlib.import_module(f"benchmarks.{topic}").run(given.full)
            print(table(found) + "\n", flush=True)
            keep(topic, found, HERE)
    print(f"written to {HERE / 'results.json'} and results.md beside it")


def keep(topic: str, found: list[Result], folder: Path) -> None:
    """Put a topic's results in the place of its earlier ones, at once: a later topic may be
    interrupted.
    """
    path = folder / "results.json"
    kept = (
        [Result(**line) for line in json.loads(path.read_text(encoding="utf-8"))]
        if path.is_file()
        else []
    )
    results = sorted(
        [*(r for r in kept if r.topic != topic), *found], key=lambda r: TOPICS.index(r.topic)
    )
    path.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(
        "\n".join([machine(), "", table(results), ""]), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
