"""`n3d bench`: how fast this machine answers, next to the reference's way and to what its memory allows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Adds the command to `n3d`."""
    parser = subparsers.add_parser("bench", help="measure this machine", description=__doc__)
    parser.add_argument("model", nargs="?", default="n3d-tiny", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--frames", type=Path, help="a frame folder with questions (default: the demo's)")
    parser.add_argument("--backend", default="auto", help="as for `n3d ground` (default: %(default)s)")
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        help="runs of which the median counts, fewer of long ones (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, help="of the CPU (default: all cores)")
    parser.add_argument(
        "--as-reference", action="store_true", help="also run the weights as the released scripts do, by transformers"
    )
    parser.add_argument("--random-weights", metavar="SIZE", help="3b or 7b: the released sizes without a checkpoint")
    parser.add_argument("--layers", type=int, help="with --random-weights: of tower and decoder (default: all)")
    parser.add_argument(
        "--decode", default="", metavar="BACKENDS", help="measure single steps of these too, as onnx:fp32,onnx:int4"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints tables and, last, one line of JSON.

    Raises:
        N3DError: see its messages.
    """
    from n3d_core.bench.report import print_report
    from n3d_core.bench.suite import Suite, measure

    suite = Suite(
        model=args.model,
        frames=args.frames,
        backend=args.backend,
        repeat=args.repeat,
        threads=args.threads,
        as_reference=args.as_reference,
        random_weights=args.random_weights,
        layers=args.layers,
        decode=tuple(name for name in args.decode.split(",") if name),
    )
    print_report(measure(suite), tables=not args.json)
    return 0
