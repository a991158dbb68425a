"""The demo's table and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from n3d_core.display.draw import draw_boxes
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame import Frame


@dataclass(frozen=True)
class Row:
    """One query: what was asked of which frame, the true boxes, the boxes that came, and the time they took.

    `times` are the node's own stages in milliseconds, `latency_ms` the whole call as the client saw it.
    """

    frame: str
    text: str
    truth: list[Box3D]
    boxes: list[Box3D]
    latency_ms: float
    times: dict[str, float]


def table(rows: Sequence[Row]) -> str:
    """A line for each box and for each true box that none was found of."""
    titles = f"{'frame':7} {'asked for':26} {'box':18} {'score':>5} {'x':>6} {'y':>6} {'z':>6} {'size in cm':>14}"
    lines = [f"{titles} {'3D IoU':>7} {'ms':>6}"]
    for row in rows:
        lines += [_line(row, box) for box in row.boxes] or [_empty(row)]
    return "\n".join(lines)


def picture(path: Path, frame: Frame, boxes: Sequence[Box3D]) -> Path:
    """Writes the frame with its boxes; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_boxes(frame.color, frame.camera, boxes)
    cv2.imwrite(str(path), drawn[:, :, ::-1])
    return path


def _line(row: Row, box: Box3D) -> str:
    x, y, z = box.center
    size = "x".join(f"{100 * side:.0f}" for side in box.size)
    overlap = max((iou_3d(box, true) for true in row.truth), default=0.0)
    return (
        f"{row.frame:7} {row.text[:26]:26} {box.label[:18]:18} {box.score:5.2f} {x:6.2f} {y:6.2f} {z:6.2f} {size:>14} "
        f"{overlap:7.2f} {row.latency_ms:6.0f}"
    )


def _empty(row: Row) -> str:
    said = "nothing there, rightly" if not row.truth else f"nothing found of {len(row.truth)}"
    return f"{row.frame:7} {row.text[:26]:26} {said:60} {row.latency_ms:15.0f}"
