"""A stage's `main` becomes a command: `python -m stages.<stage> <plan file>`."""

from __future__ import annotations

import argparse
import gc
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asma import plan


def run(main: Callable[..., Any]) -> None:
    """Call `main` with the plan that the command line names, or with nothing if it takes nothing.

    An expected failure (bad data, bad parameters) ends with its message and exit status 1, any
    other with its traceback.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    if inspect.signature(main).parameters:
        parser.add_argument("plan", type=Path, help="the run's plan file, plan/<stage>/<run>.json")
    given = parser.parse_args()
    gc.freeze()  # what was imported stays
    gc.enable()
    try:
        if "plan" not in given:
            main()
            return
        told = plan.read(given.plan)
        for note in told.notes:
            print(note, flush=True)
        main(told)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    gc.freeze()  # nor need they be taken apart one by one at the end
