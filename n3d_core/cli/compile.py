"""`n3d compile`: the command line of `compilation`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from n3d_core.models import find_model


def add_parser(subparsers: Any) -> None:
    """Adds the command to `n3d`."""
    parser = subparsers.add_parser(
        "compile",
        help="build engines ahead of time",
        description="Writes a model's ONNX graphs, or TensorRT engines for named GPUs, to a folder with a manifest.",
    )
    parser.add_argument("model", help="a shipped model's name or a checkpoint folder")
    parser.add_argument(
        "--size", default="640x480", help="width x height of the camera's images (default: %(default)s)"
    )
    parser.add_argument("--target", default="", help="GPUs, as sm_86,sm_89,sm_120; none writes the ONNX graphs instead")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--precision", default="fp16", help="fp32, fp16, bf16, int8 or int4 (default: %(default)s)")
    parser.add_argument(
        "--lower", action="store_true", help="spell the graphs in opset 19, for TensorRT before 10.15.1"
    )
    parser.add_argument("--workspace", type=float, metavar="MIB", help="memory that the build of an engine may use")
    parser.add_argument(
        "--cache", type=int, default=2048, help="tokens that an engine's cache holds (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command; progress goes to stderr, the manifest to stdout as one line of JSON.

    Raises:
        ConfigError, CheckpointError, EngineError, MissingDependencyError: see their messages.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = find_model(args.model)
    from n3d_core.backends.select import require_onnx

    require_onnx()
    from n3d_core.backends.compilation import Compilation

    job = Compilation(folder, args.size, args.precision, args.lower, args.cache, args.workspace)
    targets = [t for t in args.target.split(",") if t]
    manifest = job.engines(args.output, targets) if targets else job.graphs(args.output)
    print(json.dumps(manifest))
    return 0
