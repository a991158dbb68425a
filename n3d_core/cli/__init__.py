"""The command `n3d`: everything that works without ROS.

Each subcommand is a module with a `DESCRIPTION`, `add_arguments(parser)` and `run(args) -> int`; only the one in use
is imported, so that `n3d --help` is fast. Results go to stdout, progress and errors to stderr.

Exit codes: 0 success; 1 error with a message; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

from n3d_core import __version__
from n3d_core.errors import N3DError

# name: (module, one line of help)
COMMANDS = {
    "ground": ("n3d_core.cli.ground", "find objects by description, as 3D boxes in metres"),
    "ask": ("n3d_core.cli.ask", "answer a spatial question and check the answer against geometry"),
    "import": ("n3d_core.cli.import_", "convert a public recording or a bag to a frame folder or a tour"),
    "annotate": ("n3d_core.cli.annotate", "write detections, markers and answers into a copy of a bag"),
    "mcp": ("n3d_core.cli.mcp", "serve an agent: look, find, ask, where_is and more (Model Context Protocol)"),
    "doctor": ("n3d_core.cli.doctor", "check what this machine can run, and how to fix what is missing"),
    "download": ("n3d_core.cli.download", "download a published checkpoint and verify it"),
    "compile": ("n3d_core.cli.compile", "build engines ahead of time"),
    "bench": ("n3d_core.cli.bench", "measure this machine"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    Raises:
        SystemExit: from argparse, for `--help` (0) and wrong usage (2).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # our own errors say what went wrong
    if sys.stderr is None:  # closed: print would write to stdout instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        say("n3d: standard output is closed, so results cannot be written")
        return 1
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except N3DError as error:
        say(f"n3d: {error}")
        return 1
    except KeyboardInterrupt:
        say("n3d: interrupted")
        return 130
    except BrokenPipeError:  # the reader of stdout is gone
        _discard(sys.stdout)
        return 1
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _discard(sys.stdout)
            say(f"n3d: cannot write the result: {error.strerror}")
        elif error.filename is not None:
            say(f"n3d: {str(error.filename)[:80]}: {error.strerror}")
        else:
            raise
        return 1


def say(line: str) -> None:
    """Prints a line to stderr; ignores a closed or full stderr, which must not cost the result."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: IO[str]) -> None:
    """Drops what stdout or stderr still holds: Python would fail again when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments: list[str]) -> int:
    chosen = arguments[0] if arguments else ""
    parser = argparse.ArgumentParser(prog="n3d", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"n3d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    module: Any = None
    for name, (path, summary) in COMMANDS.items():
        if name == chosen:
            module = importlib.import_module(path)
            raw = argparse.RawDescriptionHelpFormatter
            module.add_arguments(
                commands.add_parser(name, help=summary, description=module.DESCRIPTION, formatter_class=raw)
            )
        else:
            commands.add_parser(name, help=summary, add_help=False)
    args = parser.parse_args(arguments)
    return int(module.run(args))


_DESCRIPTION = "3D grounding and audited spatial answers from RGB-D. See `n3d COMMAND --help` for a command's options."
