"""An HTML page with the best, the worst and random frames of a run: queries, answers and ground truth."""

from __future__ import annotations

import base64
import html
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.atomic_write import write_text
from n3d_core.display.draw import EDGES
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from training.evaluation.answer_metrics import Answered
from training.evaluation.grounding_metrics import Reply, replies_of
from training.evaluation.interview import box_of
from training.evaluation.running import Suite

_EACH = 6  # frames of a kind
_TRUE, _FOUND, _WRONG = (70, 200, 70), (70, 140, 255), (255, 70, 70)
_STYLE = """body{font:14px sans-serif;max-width:1100px;margin:2em auto}section{display:flex;gap:1em;margin-bottom:2em}
img{width:520px;height:auto}li{margin-bottom:.4em}.ok{color:#187a18}.bad{color:#b00020}"""


def write_page(path: Path, suite: Suite, records: Sequence[dict[str, Any]]) -> None:
    """Writes the page with embedded images; frames are rendered or read again.

    True boxes are green; predicted ones are blue if right, else red.
    """
    scores = [_score(r) for r in records]
    order = sorted(range(len(records)), key=lambda i: scores[i])
    rest = order[_EACH:-_EACH] or order
    kinds = {
        "Best": order[::-1][:_EACH],
        "Worst": order[:_EACH],
        "Random": random.Random(0).sample(rest, min(_EACH, len(rest))),
    }
    parts = ["<!doctype html><meta charset=utf-8><title>N3D evaluation</title>", f"<style>{_STYLE}</style>"]
    for title, chosen in kinds.items():
        parts.append(f"<h2>{title}</h2>")
        parts += [_frame(suite, i, records[i], scores[i]) for i in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(parts))


def _score(record: dict[str, Any]) -> float:
    """Share of a frame's queries and questions that are answered fully correctly."""
    flags = [_right(reply) for reply in replies_of([record])]
    flags += [Answered(q, record["objects"]).right(str(q.get("said", ""))) for q in record["questions"]]
    return sum(flags) / len(flags) if flags else 0.0


def _right(reply: Reply) -> bool:
    return len(reply.correct(0.25)) == len(reply.true) == len(reply.found) - len(reply.ignored)


def _frame(suite: Suite, index: int, record: dict[str, Any], score: float) -> str:
    frame = suite[index].frame
    image = frame.color.copy()
    lines = []
    replies = replies_of([record])
    for entry, reply in zip(record["groundings"], replies, strict=True):
        mark = "ok" if _right(reply) else "bad"
        found = ", ".join(f"{b['label']} ({b['score']:.2f})" for b in entry["found"]) or "none"
        lines.append(f"<li class={mark}>{html.escape(entry['text'])} → {html.escape(found)}</li>")
    for question in record["questions"]:
        mark = "ok" if Answered(question, record["objects"]).right(str(question.get("said", ""))) else "bad"
        said = f"{question.get('said', '')} (true: {question['answer']} {question.get('unit', '')})"
        lines.append(f"<li class={mark}>{html.escape(question['text'])} → {html.escape(said)}</li>")
    for item in record["objects"]:
        _outline(image, box_of(item), frame.camera, _TRUE)
    for reply in replies:
        good = {p.found for p in reply.correct(0.25)}
        for i, box in enumerate(reply.found):
            _outline(image, box, frame.camera, _FOUND if i in good else _WRONG)
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    source = base64.b64encode(data.tobytes()).decode() if ok else ""
    head = f"<p>{html.escape(record['name'])}: {score:.0%}</p>"
    return f'<section><img src="data:image/jpeg;base64,{source}"><div>{head}<ul>{"".join(lines)}</ul></div></section>'


def _outline(image: NDArray[np.uint8], box: Box3D, camera: Camera, color: tuple[int, int, int]) -> None:
    pixels = camera.project(box.corners())
    for a, b in EDGES:
        ends = pixels[[a, b]]
        if np.isfinite(ends).all() and np.abs(ends).max() < 1e4:
            (x0, y0), (x1, y1) = ends.round().astype(int).tolist()
            cv2.line(image, (x0, y0), (x1, y1), color, 1, cv2.LINE_AA)
