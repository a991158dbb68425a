"""Exports a finished run: `python -m training.lift.export RUN --format sharegpt|omni3d --output DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from training.entry.command import described, run_command
from training.lift.export.omni3d import export_omni3d
from training.lift.export.sharegpt import export_sharegpt
from training.lift.reader import LiftedDataset


def export(args: argparse.Namespace) -> dict[str, Any]:
    """Exports a run; returns the number of conversations or objects written."""
    data = LiftedDataset(args.run)
    write = export_sharegpt if args.format == "sharegpt" else export_omni3d
    return {"format": args.format, "samples": len(data), "written": write(data, args.output)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = described(__doc__, prog="python -m training.lift.export")
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--format", choices=("sharegpt", "omni3d"), required=True)
    parser.add_argument("--output", required=True, help="folder to write to")
    return run_command(export, parser, arguments, failure=2)


if __name__ == "__main__":
    sys.exit(main())
