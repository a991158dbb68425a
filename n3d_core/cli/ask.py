"""`n3d ask IMAGE --depth FILE (--camera YAML | --fov DEG) "How far is the red mug from the blue box?"`"""

from __future__ import annotations

import argparse
from typing import Any

from n3d_core.cli.query import add_query_arguments, prepare, print_notes, tell, true_boxes, true_overlaps, write_outputs
from n3d_core.cli.tables import box_record, box_table, json_line

_DESCRIPTION = """\
Answers a spatial question about an RGB-D image: grounds what the question names, reasons over the boxes, and audits the
answer against geometry. With --about the boxes are found first, and the question may name them as 0_mug, 1_mug ..."""


def add_parser(subparsers: Any) -> None:
    """Adds `n3d ask`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "ask",
        help="answer a spatial question, with the answer checked against geometry",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_query_arguments(parser, "QUESTION", "what to answer")
    parser.add_argument("--about", metavar="TEXT", help="ground this text first, and ask about its boxes by number")
    parser.add_argument(
        "--answer-from",
        choices=("model", "geometry", "audited"),
        default="audited",
        help="whose answer counts: the model's, what the boxes give, or the model's with a correction (audited)",
    )


def run(args: argparse.Namespace) -> int:
    """Answers one question about one frame."""
    asked = prepare(args)
    about = None
    if args.about is not None:
        about = asked.view.ground(args.about, on_event=asked.listen, deadline=asked.deadline).boxes
        tell(args, "boxes: " + (", ".join(f"{i}_{box.label}" for i, box in enumerate(about)) or "none"))
    result = asked.view.ask(
        args.text, about=about, answer_from=args.answer_from, on_event=asked.listen, deadline=asked.deadline
    )
    verdict = f"{result.verdict} ({result.verdict_reason})"
    lines = [f"question: {args.text}", f"answer: {result.answer}", f"verdict: {verdict}", "", result.reasoning]
    truth = true_boxes(asked.input.truth, args.text)
    written = write_outputs(asked, result.boxes, truth, lines)
    if args.json:
        print(json_line({**asked.record(), **_record(result), **written}))
        return 0
    print(box_table(result.boxes, true_overlaps(result.boxes, truth)))
    print(f"\nquestion:  {args.text}\nreasoning: {result.reasoning or 'none'}\nanswer:    {result.answer or 'none'}")
    print(f"verdict:   {verdict}")
    if result.corrected:
        print(f"corrected: {result.corrected}")
    print_notes(result, written)
    return 0


def _record(result: Any) -> dict[str, Any]:
    return {
        "question": result.question,
        "answer": result.answer,
        "reasoning": result.reasoning,
        "verdict": result.verdict,
        "corrected": result.corrected,
        "verdict_reason": result.verdict_reason,
        "boxes": [box_record(box) for box in result.boxes],
        "depth_valid": result.depth_valid,
        "times_ms": result.times,
        "warnings": result.warnings,
    }
