"""Measures the cost of lower precisions: one checkpoint on the same held-out scenes, one row per backend and precision.

    python -m bench.precision n3d-tiny --scenes 500 --seed 1
    python -m bench.precision DIR --backends torch,tensorrt:fp16,tensorrt:int4 --json

The table is Markdown on stdout, the last line JSON: figures of `training.evaluate`, and `loss`: the first row's figures
minus the row's own. An interrupted run resumes (`--work`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import bench_parser, run_bench
from n3d_core.errors import ConfigError
from n3d_core.models import find_model
from training.evaluate import report_of, work_file
from training.evaluation.running import run_suite
from training.evaluation.suite import Amount, SceneSuite
from training.evaluation.table import headline, markdown
from training.scenes.vocabulary import Vocabulary

LOSSES = ("f1_25", "f1_50", "open", "numerical")


def measure(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Figures of each backend by name, with its loss relative to the first.

    Raises:
        ConfigError: if no backend is named, or one twice.
        N3DError: if the checkpoint cannot be loaded on one of them.
    """
    names = [name for name in args.backends.split(",") if name]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--backends must name different backends, the reference first; got {args.backends!r}")
    taught = Vocabulary.of_model(find_model(args.model))
    suite = SceneSuite(args.scenes, args.seed, amount=Amount(args.groundings, args.questions, 0), vocabulary=taught)
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        print(name, file=sys.stderr, flush=True)
        kept = work_file(args.work, args.model, suite, name)
        report = report_of(run_suite(args.model, suite, args.workers, name, kept))
        rows[name] = {**headline(report), "errors": report["suite"]["errors"]}
    first = rows[names[0]]
    for row in rows.values():
        row["loss"] = {key: _less(first[key], row[key]) for key in LOSSES}
    return rows


def _less(first: float | None, other: float | None) -> float | None:
    return None if first is None or other is None else round(first - other, 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = bench_parser(__doc__)
    parser.add_argument("model", nargs="?", default="n3d-tiny", help="folder or name of a shipped model")
    parser.add_argument(
        "--backends", default="torch,onnx:fp16,onnx:int8,onnx:int4", help="the first one is the reference"
    )
    parser.add_argument("--scenes", type=int, default=500, help="held-out test scenes")
    parser.add_argument("--seed", type=int, default=1, help="other seeds give other scenes and questions")
    parser.add_argument("--groundings", type=int, default=4, help="grounding queries a frame")
    parser.add_argument("--questions", type=int, default=4, help="spatial questions a frame")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("~/.cache/n3d/evaluate"), help="folder of finished frames")
    return run_bench(measure, parser, arguments, table=lambda rows: markdown("backend", rows))


if __name__ == "__main__":
    raise SystemExit(main())
