"""`n3d download NAME`: the only command that uses the network."""

from __future__ import annotations

import argparse
from pathlib import Path

from n3d_core.cli import say
from n3d_core.errors import ConfigError
from n3d_core.models import PUBLISHED, download, local_folder

DESCRIPTION = "Downloads a published checkpoint and verifies every file. Interrupted downloads are resumed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = _known()
    parser.add_argument("name", nargs="?", help="a published name, or owner/repository; without it, lists the names")
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder (default: where --model finds it by name)")
    parser.add_argument("--revision", help="branch, tag or commit (main)")


def run(args: argparse.Namespace) -> int:
    """Downloads one checkpoint, or lists the published ones."""
    if args.name is not None:
        print(download(args.name, args.to, args.revision or "main", log=say))
    elif args.to is not None or args.revision is not None:
        raise ConfigError(f"--{'revision' if args.to is None else 'to'} needs the name of what to download")
    else:
        print(_known())
    return 0


def _known() -> str:
    lines = ["published checkpoints:"]
    for name, one in PUBLISHED.items():
        here = "  [downloaded]" if local_folder(name).is_dir() else ""
        lines.append(f"  {name}{here}\n      {one.what}\n      {one.repository}; licence: {one.licence}")
    return "\n".join(lines)
