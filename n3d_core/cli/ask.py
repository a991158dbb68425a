"""`n3d ask IMAGE --depth FILE (--camera YAML | --fov DEG) "How far is the red mug from the blue box?"`"""

from __future__ import annotations

import argparse
from typing import Any

from n3d_core.cli.query import (
    add_query_arguments,
    open_view,
    outputs,
    print_notes,
    tell,
    true_boxes,
    true_overlaps,
    write_outputs,
)
from n3d_core.cli.tables import box_record, box_table, json_line, value_record
from n3d_core.results import Answer

DESCRIPTION = """\
Answers a spatial question about an RGB-D image: grounds the objects in the question, reasons over their boxes, and
audits the answer against geometry. With --about, boxes are found first; the question can name them 0_mug, 1_mug ..."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_query_arguments(parser, "QUESTION", "the question")
    parser.add_argument("--about", metavar="TEXT", help="ground this text first; ask about its boxes by number")
    parser.add_argument(
        "--answer-from",
        choices=("model", "geometry", "audited"),
        default="audited",
        help="the model's own answer, the one computed from the boxes, or the audited one (audited)",
    )


def run(args: argparse.Namespace) -> int:
    """Answers one question about one frame."""
    loaded = open_view(args)
    about = None
    if args.about is not None:
        about = loaded.view.ground(args.about, on_event=loaded.listen, deadline=loaded.deadline).boxes
        tell(args, "boxes: " + (", ".join(f"{i}_{box.label}" for i, box in enumerate(about)) or "none"))
    result = loaded.view.ask(
        args.text, about=about, answer_from=args.answer_from, on_event=loaded.listen, deadline=loaded.deadline
    )
    truth = true_boxes(loaded.input.truth, args.text)
    if args.json:
        print(json_line({**loaded.record(), **_record(result), **outputs(args)}), flush=True)
    else:
        if result.boxes or result.verdict != "not_seen":
            print(box_table(result.boxes, true_overlaps(result.boxes, truth)), end="\n\n")
        print("\n".join(_lines(result)))
        print_notes(result, outputs(args))
    write_outputs(loaded, result.boxes, truth, [f"question: {args.text}", *_lines(result)])
    return 0


def _lines(result: Answer) -> list[str]:
    """The answer first, then its verdict, then what it is based on."""
    verdict = f"{result.verdict}: {result.verdict_reason}" if result.verdict_reason else result.verdict
    lines = [f"answer:    {result.answer or 'none'}", f"verdict:   {verdict}"]
    if result.said and result.said != result.answer:
        lines.append(f"said:      {result.said}")
    if result.reasoning:
        lines.append(f"reasoning: {result.reasoning}")
    return lines


def _record(result: Answer) -> dict[str, Any]:
    return {
        "question": result.question,
        "answer": result.answer,
        "said": result.said,
        "reasoning": result.reasoning,
        "verdict": result.verdict,
        "verdict_reason": result.verdict_reason,
        "value": value_record(result.value),
        "corrected": result.corrected,
        "boxes": [box_record(box) for box in result.boxes],
        "depth_valid": result.depth_valid,
        "times_ms": result.times,
        "warnings": result.warnings,
    }
