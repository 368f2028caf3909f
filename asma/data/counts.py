"""How many recordings the literature counts, to be printed beside what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LISTS = Path(__file__).parent / "lists"


def published_counts() -> dict[str, dict[str, Any]]:
    """Dataset → total, unfiltered, and each split."""
    return yaml.safe_load((LISTS / "published_counts.yaml").read_text(encoding="utf-8"))["counts"]
