"""Grounding metrics from records: precision, recall and F1 of boxes, overlaps, offsets, and replies to absent objects.

A predicted box is right if it is assigned to a target object of the same class with a 3D IoU of at least the threshold.
The headline figures are micro averages over named queries (a class, or colour and class). Absent objects are counted
separately: a reply is right if it has no box. Images and classes with neither true nor predicted boxes do not count in
the macro averages; a metric with nothing to count is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.camera import Camera
from n3d_core.language.prompts import ALL_OBJECTS
from training.evaluation.interview import box_of
from training.evaluation.matching import Pair, assign, same_class

NAMED = ("class", "label", "classes", "labels", "color")
"""Kinds of queries that name objects."""
PHRASES = ("superlative", "relation")
"""Kinds of queries whose meaning depends on the scene."""

_SIDES = (40, 60, 80)  # pixels
_WIDE = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 10), (16, 9), (2, 1))
_RATIOS = (*_WIDE, *((height, width) for width, height in _WIDE))


@dataclass(frozen=True)
class Reply:
    """A query with its target objects and predicted boxes.

    `ignored` are indices of predicted boxes that match objects too hidden to count.
    """

    kind: str
    frame: str
    camera: Camera
    found: tuple[Box3D, ...]
    true: tuple[Box3D, ...]
    classes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    ignored: tuple[int, ...]

    def correct(self, threshold: float) -> list[Pair]:
        """Pairs with an IoU of at least `threshold`."""
        return [p for p in self.pairs if p.iou >= threshold]

    def counts(self, threshold: float, cls: str | None = None) -> tuple[int, int, int]:
        """(true positives, predicted boxes, target boxes), of one class or all."""
        right = sum(cls in (None, self.classes[p.true]) for p in self.correct(threshold))
        found = [
            b for i, b in enumerate(self.found) if i not in self.ignored and (cls is None or same_class(b.label, cls))
        ]
        return right, len(found), len(self.true) if cls is None else self.classes.count(cls)


def replies_of(records: Iterable[dict[str, Any]]) -> list[Reply]:
    """All grounding replies of a run that are judged by 3D boxes."""
    return [_reply(record, entry) for record in records for entry in record["groundings"] if "rect" not in entry]


def _reply(record: dict[str, Any], entry: dict[str, Any]) -> Reply:
    objects = record["objects"]
    found = [box_of(b) for b in entry["found"]]
    meant = [objects[i] for i in entry["objects"]]
    true, classes = [box_of(o) for o in meant], [o["class"] for o in meant]
    pairs = assign(found, true, classes)
    kind = entry.get("kind") or ("detect" if entry["text"].lower() == ALL_OBJECTS else "label" if meant else "absent")
    ignored: list[int] = []
    if kind == "detect":
        taken = {p.found for p in pairs if p.iou >= 0.25}
        hidden = [box_of(objects[i]) for i in record["hidden"]]
        ignored = [i for i, b in enumerate(found) if i not in taken and any(iou_3d(b, h) >= 0.25 for h in hidden)]
    width, height, *intrinsics = record["camera"]
    camera = Camera(width, height, *intrinsics)
    return Reply(
        kind, record["name"], camera, tuple(found), tuple(true), tuple(classes), tuple(pairs), tuple(ignored)
    )  # fmt: skip


def grounding_report(replies: Sequence[Reply]) -> dict[str, Any]:
    """The `grounding` part of the report."""
    named = [r for r in replies if r.kind in NAMED]
    report: dict[str, Any] = _micro(named) | _overlaps(named) | {"queries": len(named)}
    report["macro_image"] = _macro(named, sorted({r.frame for r in named}), lambda r, f: r.frame == f)
    report["per_class"] = {
        c: {"f1_25": _f1(named, 0.25, c), "objects": sum(r.classes.count(c) for r in named)}
        for c in sorted({c for r in named for c in r.classes})
    }
    scores = [v["f1_25"] for v in report["per_class"].values() if v["f1_25"] is not None]
    report["macro_class"] = {"f1_25": _mean(scores)}
    kinds = sorted({r.kind for r in replies} - {"absent"})
    by_kind = {k: [r for r in replies if r.kind == k] for k in kinds}
    report["by_kind"] = {k: _micro(v) | {"mean_iou": _mean_iou(v), "queries": len(v)} for k, v in by_kind.items()}
    by_ratio = {name: [r for r in named if ratio_name(r.camera) == name] for name in _ratio_names(named)}
    report["by_ratio"] = {k: _micro(v) | {"mean_iou": _mean_iou(v), "queries": len(v)} for k, v in by_ratio.items()}
    report["recall_by_size"] = _recall_by_size(named)
    phrases = [r for r in replies if r.kind in PHRASES]
    report["phrases"] = _micro(phrases) | {"queries": len(phrases)}
    return report


def ratio_name(camera: Camera) -> str:
    """The image's aspect ratio, within 2 %, as `16:9`; its size in pixels if the ratio is unusual."""
    for width, height in _RATIOS:
        if abs(camera.width * height / (camera.height * width) - 1) <= 0.02:
            return f"{width}:{height}"
    return f"{camera.width}x{camera.height}"


def _ratio_names(replies: Sequence[Reply]) -> list[str]:
    return sorted({ratio_name(r.camera) for r in replies})


def _recall_by_size(replies: Sequence[Reply]) -> dict[str, dict[str, Any]]:
    """Recall at IoU 0.25 by the shorter side of the objects' projection, in pixels of an image 640 pixels long."""
    found: dict[str, list[bool]] = {}
    for reply in replies:
        right = {p.true for p in reply.correct(0.25)}
        for i, box in enumerate(reply.true):
            rectangle = box.image_box(reply.camera)
            if rectangle is not None:
                left, top, width_end, height_end = rectangle
                side = min(width_end - left, height_end - top) * 640 / max(reply.camera.width, reply.camera.height)
                name = next((f"below {limit}" for limit in _SIDES if side < limit), f"{_SIDES[-1]} and more")
                found.setdefault(name, []).append(i in right)
    return {name: {"recall_25": _mean(hits), "objects": len(hits)} for name, hits in sorted(found.items())}


def absent_report(replies: Sequence[Reply]) -> dict[str, Any]:
    """The `absent` part of the report: how often the reply to an absent object has no box."""
    absent = [r for r in replies if r.kind == "absent"]
    return {"accuracy": _mean([not r.found for r in absent]), "queries": len(absent)}


def f1_with_absent(replies: Sequence[Reply]) -> float | None:
    """F1@0.25 of all named queries, including absent objects, for which every box is wrong."""
    return _f1([r for r in replies if r.kind in (*NAMED, "absent")], 0.25)


def referring_report(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The `referring` part: the best box's projection against the true rectangle of a phrase."""
    overlaps, offsets = [], []
    for record in records:
        width, height, *intrinsics = record["camera"]
        camera = Camera(width, height, *intrinsics)
        for entry in record["groundings"]:
            if "rect" in entry:
                best = max((box_of(b) for b in entry["found"]), key=lambda b: b.score, default=None)
                hull = best.image_box(camera) if best else None
                iou, offset = _rectangles(hull, tuple(entry["rect"]), camera) if hull else (0.0, 1.0)
                overlaps.append(iou)
                offsets.append(offset)
    return {
        "phrases": len(overlaps),
        "projected_iou": _mean(overlaps),
        "projected_offset": _mean(offsets),
        "accuracy_50": _mean([iou >= 0.5 for iou in overlaps]),
    }


def _micro(replies: Sequence[Reply]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for threshold in (0.25, 0.5):
        right, found, meant = _summed(replies, threshold, None)
        name = f"{threshold * 100:.0f}"
        report |= {
            f"f1_{name}": _ratio(2 * right, found + meant),
            f"precision_{name}": _ratio(right, found),
            f"recall_{name}": _ratio(right, meant),
        }
    return report


def _f1(replies: Sequence[Reply], threshold: float, cls: str | None = None) -> float | None:
    right, found, meant = _summed(replies, threshold, cls)
    return _ratio(2 * right, found + meant)


def _summed(replies: Sequence[Reply], threshold: float, cls: str | None) -> tuple[int, int, int]:
    counts = [r.counts(threshold, cls) for r in replies]
    return sum(c[0] for c in counts), sum(c[1] for c in counts), sum(c[2] for c in counts)


def _macro(replies: Sequence[Reply], groups: list[str], belongs: Callable[[Reply, str], bool]) -> dict[str, Any]:
    scores = [_f1([r for r in replies if belongs(r, g)], 0.25) for g in groups]
    return {"f1_25": _mean([s for s in scores if s is not None])}


def _mean_iou(replies: Sequence[Reply]) -> float | None:
    return _mean([p.iou for r in replies for p in r.correct(0.25)])


def _overlaps(replies: Sequence[Reply]) -> dict[str, Any]:
    """Overlaps and offsets of all assigned pairs; `mean_iou` is of the right ones (IoU >= 0.25)."""
    pairs = [(r.found[p.found], r.true[p.true], r.camera) for r in replies for p in r.pairs]
    aligned = [(_depth_aligned(a, b), b) for a, b, _ in pairs]
    projected = [_projected(a, b, camera) for a, b, camera in pairs]
    return {
        "mean_iou": _mean_iou(replies),
        "mean_iou_assigned": _mean([iou_3d(a, b) for a, b, _ in pairs]),
        "center_offset": _mean([_offset(a, b) for a, b, _ in pairs]),
        "depth_aligned": {
            "mean_iou": _mean([iou_3d(a, b) for a, b in aligned]),
            "center_offset": _mean([_offset(a, b) for a, b in aligned]),
        },
        "projected_iou": _mean([iou for iou, _ in projected]),
        "projected_offset": _mean([offset for _, offset in projected]),
    }


def _offset(a: Box3D, b: Box3D) -> float:
    return float(np.linalg.norm(np.subtract(a.center, b.center)))


def _depth_aligned(box: Box3D, true: Box3D) -> Box3D:
    """The box with centre and size scaled to the true depth."""
    factor = true.center[2] / box.center[2] if box.center[2] > 0 else 1.0
    x, y, z = (v * factor for v in box.center)
    w, h, length = (v * factor for v in box.size)
    return Box3D(box.label, (x, y, z), (w, h, length))


def _projected(a: Box3D, b: Box3D, camera: Camera) -> tuple[float, float]:
    """IoU of the hulls of the projected corners, and the distance of their centres in normalised image coordinates."""
    first, second = a.image_box(camera), b.image_box(camera)
    return (0.0, 1.0) if first is None or second is None else _rectangles(first, second, camera)


def _rectangles(first: tuple[float, ...], second: tuple[float, ...], camera: Camera) -> tuple[float, float]:
    p, q = np.array(first).reshape(2, 2), np.array(second).reshape(2, 2)
    overlap = float(np.prod(np.clip(np.minimum(p[1], q[1]) - np.maximum(p[0], q[0]), 0, None)))
    union = float(np.prod(p[1] - p[0]) + np.prod(q[1] - q[0])) - overlap
    offset = (p.mean(axis=0) - q.mean(axis=0)) / (camera.width, camera.height)
    return overlap / union if union > 0 else 0.0, float(np.linalg.norm(offset))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | bool]) -> float | None:
    return float(np.mean(values)) if len(values) else None
