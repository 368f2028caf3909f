"""A typed `main` becomes a command: each argument is an option of the same name."""

from __future__ import annotations

import argparse
import gc
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

from asma import params


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's options, converted by its annotations (str, int, float, Path).

    Every command also takes `--change`, other values than params.yaml has: see `params.change`.

    An expected failure (bad data, bad parameters) ends with its message and exit status 1, any other with
    its traceback.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    hints = typing.get_type_hints(main)
    for name, parameter in inspect.signature(main).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=hints[name],
            required=required,
            default=None if required else parameter.default,
        )
    parser.add_argument(
        "--change", default=params.DEFAULT, help="values other than in params.yaml: mask.joints=7+seed=2"
    )
    arguments: dict[str, Any] = vars(parser.parse_args())
    gc.freeze()  # what was imported stays
    gc.enable()
    try:
        params.change(arguments.pop("change"))
        main(**arguments)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    gc.freeze()  # nor need they be taken apart one by one at the end
