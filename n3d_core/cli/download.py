"""`n3d download NAME`: the only command that uses the network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from n3d_core.models import PUBLISHED, download, local_folder


def add_parser(subparsers: Any) -> None:
    """Adds `n3d download`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "download",
        help="download a published checkpoint and verify it",
        description="Downloads a published checkpoint and verifies every file. Interrupted downloads are resumed.",
        epilog=_known(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="a published name, or owner/repository; without it, lists the names")
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder (default: where --model finds it by name)")
    parser.add_argument("--revision", default="main", help="branch, tag or commit (main)")


def run(args: argparse.Namespace) -> int:
    """Downloads one checkpoint, or lists the published ones."""
    if args.name is None:
        print(_known())
        return 0
    folder = download(args.name, args.to, args.revision, log=lambda line: print(line, file=sys.stderr, flush=True))
    print(folder)
    return 0


def _known() -> str:
    lines = ["published checkpoints:"]
    for name, one in PUBLISHED.items():
        here = "  [downloaded]" if local_folder(name).is_dir() else ""
        lines.append(f"  {name}{here}\n      {one.what}\n      {one.repository}; licence: {one.licence}")
    return "\n".join(lines)
