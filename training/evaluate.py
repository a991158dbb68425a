"""Measures a checkpoint on held-out scenes or on a frame folder with truth.

    python -m training.evaluate --checkpoint models/n3d-tiny --scenes 500 --seed 1 --json
    python -m training.evaluate --checkpoint models/n3d-tiny --scenes 120 --seed 1 --ratios 4:3,16:9,1:1,3:4 --json
    python -m training.evaluate --checkpoint models/n3d-tiny --folder DIR --json
    python -m training.evaluate --checkpoint DIR --format cv-bench --annotations test.jsonl --images IMG --depth indoor

The table goes to stderr, one line of JSON to stdout. An interrupted run resumes (`--work`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, get_args

from n3d_core.decoding.sampling import SamplingName
from n3d_core.errors import ConfigError
from n3d_core.models import find_model
from training.entry.command import described, run_command
from training.evaluation.answer_metrics import answer_reports, answers_of
from training.evaluation.grounding_metrics import absent_report, grounding_report, referring_report, replies_of
from training.evaluation.judge import judge_report
from training.evaluation.public_suite import PublicSuite
from training.evaluation.running import Suite, fingerprint, run_suite
from training.evaluation.score_metrics import score_report
from training.evaluation.suite import Amount, FolderSuite, SceneSuite
from training.evaluation.table import table
from training.questions.language_model import add_options, chosen
from training.scenes.vocabulary import Vocabulary


def report_of(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures of a run's records, fractions 0..1; null if there was nothing to count."""
    replies = replies_of(records)
    return {
        "suite": suite_report(records),
        "grounding": grounding_report(replies),
        "absent": absent_report(replies),
        "referring": referring_report(records),
        **answer_reports(answers_of(records)),
        "scores": score_report(replies),
    }


def suite_report(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of the frames, and query times."""
    objects = [o for r in records for o in r["objects"]]
    ground = [g["ms"] for r in records for g in r["groundings"] if "ms" in g]
    ask = [q["ms"] for r in records for q in r["questions"] if "ms" in q]
    return {
        "frames": len(records),
        "objects_per_frame": len(objects) / max(1, len(records)),
        "occluded": sum(o["visible"] < 0.95 for o in objects) / max(1, len(objects)),
        "classes": len({o["class"] for o in objects}),
        "errors": sum("error" in e for r in records for e in (*r["groundings"], *r["questions"])),
        "ground_ms_median": median(ground) if ground else None,
        "ask_ms_median": median(ask) if ask else None,
    }


def evaluate(args: argparse.Namespace) -> dict[str, Any] | None:
    """Runs the evaluation of a command line; returns the report if it is to be printed as JSON."""
    start = time.monotonic()
    suite, judge = _suite(args), chosen(args)
    kept = None if args.fresh else work_file(args.work, args.checkpoint, suite, args.backend, args.sampling)
    records = run_suite(args.checkpoint, suite, args.workers, args.backend, kept, sampling=args.sampling)
    if args.html:
        from training.evaluation.pictures import write_page

        write_page(args.html, suite, records)
    report = {"checkpoint": str(args.checkpoint)} | report_of(records)
    if judge is not None:
        report["judge"] = judge_report(answers_of(records), judge)
    report["seconds"] = round(time.monotonic() - start, 1)
    print(table(report), file=sys.stderr)
    return report if args.json else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return run_command(evaluate, _parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = described(__doc__)
    parser.add_argument("--checkpoint", default="n3d-tiny", help="folder or name of a shipped model")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--limit", type=int, default=0, help="maximum number of samples of a benchmark; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes and questions")
    parser.add_argument("--shift", action="store_true", help="use camera heights and lights outside the training range")
    parser.add_argument(
        "--ratios",
        default="",
        help="aspect ratios of the scenes, in turn, such as 4:3,16:9,1:1,3:4, with fields of view from 40 to 95 "
        "degrees; figures in `grounding.by_ratio`",
    )
    parser.add_argument("--folder", type=Path, help="evaluate on a frame folder with truth instead")
    parser.add_argument("--format", choices=["cv-bench", "spatialrgpt", "n3d-bench", "refcoco", "omni3d"])
    parser.add_argument("--annotations", type=Path, help="annotation file of the benchmark of --format")
    parser.add_argument("--images", type=Path, help="image folder of the benchmark")
    parser.add_argument("--depth", default="indoor", help="depth folder of the benchmark, or a monocular model")
    parser.add_argument(
        "--fov", type=float, default=60.0, help="horizontal field of view of images with an unknown camera, degrees"
    )
    parser.add_argument(
        "--validation", action="store_true", help="use validation scenes, for decisions during training"
    )
    parser.add_argument("--groundings", type=int, default=4, help="grounding queries per frame")
    parser.add_argument("--questions", type=int, default=4, help="spatial questions per frame")
    parser.add_argument("--marked", type=int, default=1, help="queries about a box drawn on the image, per frame")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", default="torch", help="torch, onnx or tensorrt, also as onnx:int4")
    parser.add_argument(
        "--sampling", default="checkpoint", choices=get_args(SamplingName), help="how tokens are chosen (checkpoint)"
    )
    parser.add_argument("--work", type=Path, default=Path("~/.cache/n3d/evaluate"), help="folder for finished frames")
    parser.add_argument("--fresh", action="store_true", help="neither use nor save finished frames")
    add_options(parser, "--judge", "language model that also judges the answers")
    parser.add_argument("--html", type=Path, help="write a page with the best, the worst and random frames")
    parser.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    return parser


def _suite(args: argparse.Namespace) -> Suite:
    amount = Amount(args.groundings, args.questions, args.marked)
    if args.format:
        if not args.annotations or not args.images:
            raise ConfigError("--format needs --annotations and --images")
        return PublicSuite(args.format, args.annotations, args.images, args.depth, args.fov, args.limit)
    taught = Vocabulary.of_model(find_model(args.checkpoint))
    if args.folder:
        return FolderSuite(args.folder, args.seed, amount, taught)
    held_out = "validation" if args.validation else "test"
    return SceneSuite(
        args.scenes, args.seed, args.shift, amount, held_out, vocabulary=taught, ratios=parse_ratios(args.ratios)
    )


def parse_ratios(text: str) -> tuple[tuple[int, int], ...]:
    """Parses `4:3,16:9`; an empty text gives no ratios.

    Raises:
        ConfigError: if a ratio is not WIDTH:HEIGHT in whole numbers, or not from 1:4 to 4:1.
    """
    ratios = []
    for part in text.split(",") if text else ():
        width, _, height = part.strip().partition(":")
        if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 4 * int(height) <= 16 * int(width)):
            raise ConfigError(f"--ratios must be WIDTH:HEIGHT, such as 16:9, from 1:4 to 4:1; got {part!r}")
        ratios.append((int(width), int(height)))
    return tuple(ratios)


def work_file(
    folder: Path, checkpoint: str | Path, suite: Suite, backend: str, sampling: SamplingName = "checkpoint"
) -> Path:
    """The file in `folder` for the finished frames of a checkpoint, suite, backend and sampling."""
    about = json.dumps([fingerprint(checkpoint), suite.describe(), backend, sampling])
    name = hashlib.sha256(about.encode()).hexdigest()[:16]
    return folder.expanduser() / f"{name}.jsonl"


if __name__ == "__main__":
    raise SystemExit(main())
