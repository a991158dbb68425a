"""Runs a command: its result is one JSON line on stdout, its error one sentence on stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from n3d_core.errors import N3DError


def described(text: str | None, **settings: Any) -> argparse.ArgumentParser:
    """A parser whose help shows the module's docstring as it is written."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter, **settings
    )  # fmt: skip


def run_command(
    work: Callable[[argparse.Namespace], Any],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None = None,
    failure: int = 1,
) -> int:
    """The exit status of a command.

    Args:
        work: does it, and returns what is printed as JSON, or None.
        arguments: of the command line; None takes the program's own.
        failure: exit status after an error.
    """
    args = parser.parse_intermixed_args(arguments)
    try:
        result = work(args)
    except (N3DError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return failure
    if result is not None:
        print(json.dumps(result))
    return 0
