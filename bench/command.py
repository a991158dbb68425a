"""Runs a benchmark: a table for people, and last its figures as one JSON line on stdout."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from n3d_core.cli.tables import figure_table, json_line
from n3d_core.errors import N3DError


def bench_parser(text: str | None) -> argparse.ArgumentParser:
    """A parser with `--json`, whose help shows the module's docstring as it is written."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line on stdout, the table on stderr")
    return parser


def run_bench(
    measure: Callable[[argparse.Namespace], Any],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None = None,
    table: Callable[[Any], str] = figure_table,
    status: Callable[[Any], int] = lambda figures: 0,
) -> int:
    """The exit status of a benchmark; 1 with one sentence on stderr if an option is invalid or a step fails.

    Args:
        measure: returns the figures from the options.
        arguments: of the command line; None takes the program's own.
        table: the figures as text; progress is logged on stderr.
        status: exit status for the figures, other than 0 where a target is missed.
    """
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        figures = measure(options)
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if text := table(figures):
        print(text, file=sys.stderr if options.json else sys.stdout)
    print(json_line(figures))
    return status(figures)
