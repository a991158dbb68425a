"""Compares single decoding steps with the memory bandwidth: `python -m bench.decode --json`.

    python -m bench.decode --backends onnx:fp32,onnx:int8,onnx:int4
    python -m bench.decode --random-weights 3b --backends onnx:int4     the whole 3B without a download

A step must read the decoder's weights and the cached keys and values once; `ceiling_share` is the minimum time for that
at the measured bandwidth, divided by the time of a step. `step_ms`, `tokens_per_s` and `ceiling_share` at the top are
those of the last backend.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.command import bench_parser, run_bench
from bench.random_model import cache_at, random_checkpoint
from n3d_core.backends.select import load_backend
from n3d_core.cli.bench import (
    default_device,
    machine_figures,
    measure_decode,
    measure_machine,
    use_threads,
)
from n3d_core.errors import ConfigError
from n3d_core.models import find_model

log = logging.getLogger("n3d.bench")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, named as in the JSON line.

    Raises:
        N3DError: if an option is invalid, or a backend cannot run here.
    """
    names = [name for name in args.backends.split(",") if name]
    if not names or any(n is not None and n < 1 for n in (args.context, args.steps, args.layers, args.threads)):
        raise ConfigError("--backends must name at least one; --context, --steps, --layers, --threads must be >= 1")
    threads, folder = use_threads(args.threads), find_model(args.model)
    machine = measure_machine(default_device(), threads)
    with ExitStack() as stack:
        if args.random_weights is not None:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="n3d-bench-"))
            stack.enter_context(cache_at(place))
            folder = random_checkpoint(Path(place), args.random_weights, args.layers, folder)
        speeds = []
        for name in names:
            log.info("single steps of %s", name)
            backend = load_backend(folder, name, args.threads or 0)
            speeds.append(measure_decode(backend, machine, args.context, args.steps + 2))
            del backend  # free its memory for the next one
    last = speeds[-1]
    figures = {"model": folder.name, "backend": last.backend, "step_ms": last.step_ms}
    figures |= {"tokens_per_s": last.tokens_per_s, "ceiling_share": last.ceiling_share}
    return figures | {"decode": [asdict(speed) for speed in speeds]} | machine_figures(machine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints tables and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("model", nargs="?", default="n3d-tiny", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--backends", default="auto", help="one or several, such as onnx:fp32,onnx:int4")
    parser.add_argument("--random-weights", metavar="SIZE", help="3b or 7b: the released sizes without a checkpoint")
    parser.add_argument("--layers", type=int, help="with --random-weights: of tower and decoder (default: all)")
    parser.add_argument("--context", type=int, default=400, help="tokens before the steps (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="number of steps; reports the median")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    return run_bench(measure, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
