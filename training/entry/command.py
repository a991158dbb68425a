"""Runs a command: its result is one JSON line on stdout, its error one sentence on stderr."""

from __future__ import annotations

import argparse
import errno
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
        print(f"error: {sentence(error)}", file=sys.stderr)
        return failure
    if result is not None:
        print(json.dumps(result))
    return 0


def sentence(error: Exception) -> str:
    """What a command says of an error: what a full disk needs, or the error's own text."""
    if not is_disk_full(error):
        return str(error)
    return f"the disk is full ({error}): free some space and run again; files that were finished are kept"


def is_disk_full(error: Exception) -> bool:
    """Whether a file could not be written because the disk, the quota or the file size limit is exhausted."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
