"""`n3d ground IMAGE --depth FILE (--camera YAML | --fov DEG) "red mug"`"""

from __future__ import annotations

import argparse

from n3d_core.cli.query import (
    add_query_arguments,
    open_view,
    outputs,
    print_notes,
    true_boxes,
    true_overlaps,
    write_outputs,
)
from n3d_core.cli.tables import box_record, box_table, json_line

DESCRIPTION = """\
Finds objects in an RGB-D image by description and prints 3D boxes in metres, in the camera's optical frame
(x right, y down, z forward). TEXT is one or more noun phrases: 'red mug', 'all the mugs and the box on the left',
'anything yellow', 'all objects'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_query_arguments(parser, "TEXT", "what to find")
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="SHARE",
        help="minimum score of boxes, 0 to 1 (default: the model's)",
    )


def run(args: argparse.Namespace) -> int:
    """Grounds one text in one frame."""
    loaded = open_view(args)
    result = loaded.view.ground(args.text, min_score=args.min_score, on_event=loaded.listen, deadline=loaded.deadline)
    truth = true_boxes(loaded.input.truth, args.text)
    overlaps = true_overlaps(result.boxes, truth)
    if args.json:
        boxes = [box_record(box) for box in result.boxes]
        for i, overlap in enumerate(overlaps or []):
            boxes[i]["true_iou"] = round(overlap, 4)
        print(
            json_line(
                {
                    **loaded.record(),
                    "text": args.text,
                    "boxes": boxes,
                    "depth_valid": result.depth_valid,
                    "times_ms": result.times,
                    "warnings": result.warnings,
                    **outputs(args),
                }
            ),
            flush=True,
        )
    else:
        print(box_table(result.boxes, overlaps))
        print_notes(result, outputs(args))
    write_outputs(loaded, result.boxes, truth, [args.text, "", result.text])
    return 0
