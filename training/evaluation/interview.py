"""Runs all queries and questions of a frame, and records the answers as JSON data."""

from __future__ import annotations

import time
from typing import Any

from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame
from n3d_core.n3d import N3D, View
from training.evaluation.suite import Case
from training.questions.marks import draw_marks
from training.questions.samples import Mark


def interview(model: N3D, case: Case) -> dict[str, Any]:
    """The record of a frame: objects, groundings with predicted boxes, and questions with answers.

    Raises:
        N3DError: if the model cannot encode the frame; the message names it.
    """
    try:
        view = model.look(case.frame)
    except N3DError as error:
        raise type(error)(f"frame {case.name}: {error}") from error
    return {
        "name": case.name,
        "camera": [case.frame.camera.width, case.frame.camera.height, *_intrinsics(case.frame)],
        "hidden": list(case.hidden),
        "objects": case.truth.to_json()["objects"],
        "groundings": [_ground(model, view, case.frame, entry) for entry in case.truth.groundings],
        "questions": [_ask(_marked(model, view, case.frame, e.get("marks", [])), e) for e in case.truth.questions],
    }


def _intrinsics(frame: Frame) -> list[float]:
    c = frame.camera
    return [c.fx, c.fy, c.cx, c.cy]


def _ground(model: N3D, view: View, frame: Frame, entry: dict[str, Any]) -> dict[str, Any]:
    view = _marked(model, view, frame, [entry["mark"]] if "mark" in entry else [])
    start = time.perf_counter()
    try:
        grounding = view.ground(entry["text"])
    except N3DError as error:
        return entry | {"found": [], "error": str(error)}
    noted = [[round(float(value), 5) for value in evidence.values] for evidence in grounding.evidence]
    found = [_box(b) | {"evidence": evidence} for b, evidence in zip(grounding.boxes, noted, strict=True)]
    return entry | {"found": found, "ms": round((time.perf_counter() - start) * 1000, 1)}


def _marked(model: N3D, view: View, frame: Frame, marks: list[dict[str, Any]]) -> View:
    """The view of the frame with boxes drawn on it; `view` itself if there are none."""
    if not marks:
        return view
    drawn = draw_marks(frame.color, [Mark(m["color"], tuple(m["rect"])) for m in marks])
    return model.look(Frame(drawn, frame.depth, frame.camera))


def _ask(view: View, entry: dict[str, Any]) -> dict[str, Any]:
    try:
        entry = entry | {"direct": view.ask(entry["text"], about=[], answer_from="model").answer}
        start = time.perf_counter()
        said = view.ask(entry["text"])
    except N3DError as error:
        return entry | {"said": "", "error": str(error)}
    return entry | {
        "said": said.said or said.answer,  # empty if grounding alone gave the answer
        "reasoning": said.reasoning,
        "verdict": said.verdict,
        "corrected": said.corrected,
        "found": [_box(b) for b in said.boxes],
        "ms": round((time.perf_counter() - start) * 1000, 1),
    }


def _box(box: Box3D) -> dict[str, Any]:
    found: dict[str, Any] = {
        "label": box.label,
        "center": [round(v, 5) for v in box.center],
        "size": [round(v, 5) for v in box.size],
        "score": round(box.score, 5),
    }
    if box.covariance is not None:
        found["covariance"] = [float(f"{v:.4g}") for v in box.covariance]
    return found


def box_of(data: dict[str, Any]) -> Box3D:
    """A box from its record."""
    covariance = tuple(data["covariance"]) if "covariance" in data else None
    return Box3D(data["label"], tuple(data["center"]), tuple(data["size"]), data.get("score", 1.0), covariance)
