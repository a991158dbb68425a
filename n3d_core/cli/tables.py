"""Plain-text tables, and the final line of JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.question import Value


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Rows as aligned columns; the first `left` of them flush left, the others right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(row[i].ljust(w) if i < left else row[i].rjust(w) for i, w in enumerate(widths)).rstrip()
        for row in lines
    )


def box_table(boxes: Sequence[Box3D], overlaps: Sequence[float] | None = None) -> str:
    """Boxes as a table: centre and size in metres, in the camera's optical frame.

    Args:
        overlaps: 3D IoU of each box with the true boxes, if known.
    """
    if not boxes:
        return "no object found"
    header = ["box", "label", "score", "x", "y", "z", "width", "height", "length"] + (["true IoU"] if overlaps else [])
    rows = []
    for i, box in enumerate(boxes):
        numbers = [f"{v:.2f}" for v in (box.score, *box.center, *box.size)]
        rows.append([str(i), box.label, *numbers] + ([f"{overlaps[i]:.2f}"] if overlaps else []))
    return table(header, rows, left=2)


def box_record(box: Box3D) -> dict[str, Any]:
    """A box as JSON: metres in the optical frame, rounded to a tenth of a millimetre."""
    return {
        "label": box.label,
        "center": [round(v, 4) for v in box.center],
        "size": [round(v, 4) for v in box.size],
        "score": round(box.score, 4),
        "covariance": None if box.covariance is None else [float(f"{v:.4g}") for v in box.covariance],
        "saturated": list(box.saturated),
    }


def value_record(value: Value) -> dict[str, Any] | None:
    """A typed value as JSON: its kind and the field that holds it, in SI units; None without a value."""
    held: dict[str, Any] = {
        "truth": value.truth,
        "length": value.number,
        "count": int(value.number),
        "direction": value.number,
        "objects": list(value.objects),
        "position": list(value.point),
    }
    if value.kind == "none":
        return None
    number = held[value.kind]
    if value.kind in ("length", "direction"):
        number = round(number, 4)
    elif value.kind == "position":
        number = [round(v, 4) for v in number]
    return {"kind": value.kind, value.kind: number}


def times_line(times: dict[str, float]) -> str:
    """Stages and their milliseconds, in the order of running."""
    return "  ".join(f"{stage} {ms:.0f} ms" for stage, ms in times.items())


def figure_table(figures: dict[str, Any]) -> str:
    """Nested values as a table with one row per path; items of lists of dictionaries are named by index."""
    return table(("figure", "value"), list(_figure_rows(figures, "")))


def _figure_rows(value: Any, path: str) -> Iterator[tuple[str, str]]:
    nested = value.items() if isinstance(value, dict) else enumerate(value) if _is_records(value) else None
    if nested is None:
        yield path, f"{value:.4g}" if isinstance(value, float) else str(value)
        return
    for name, inner in nested:
        yield from _figure_rows(inner, f"{path}.{name}" if path else str(name))


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def json_line(record: dict[str, Any]) -> str:
    """One line of strict JSON: non-finite numbers become null, letters that stdout cannot write are escaped."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    return json.dumps(_finite(record), ensure_ascii=not unicode, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
