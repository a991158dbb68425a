"""Lifts masks and depth to 3D boxes, for all objects of an image at once.

The pixels of each mask become points (`mask_points.py`), which are cleaned for all objects together (`cleaning.py`).
The box is their extent; the box of the whole object is inferred on request (`completion.py`). `rules.py` decides what
is kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D, Camera
from training.lift.boxes import IMAGE_DOWN, box_between, overlap_2d
from training.lift.cleaning import CleanConfig, clean_clouds
from training.lift.completion import CompletionConfig, complete, find_support
from training.lift.mask_points import MaskPoints, mask_points
from training.lift.object_mask import Box2D, ObjectMask
from training.lift.rules import (
    RulesConfig,
    border_share,
    box_reason,
    clip_box,
    contained_masks,
    image_reason,
    quality,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """An annotated object in 2D.

    Attributes:
        label: its class or phrase.
        box: left, top, right, bottom in pixels.
        mask: its pixels, or None.
        crowd: whether the annotation is a group of objects.
    """

    label: str
    box: Box2D
    mask: ObjectMask | None
    crowd: bool = False


@dataclass(frozen=True)
class LiftedObject:
    """An object in 3D.

    Attributes:
        index: index of its candidate.
        visible: box of the visible surface in the optical frame.
        whole: box of the whole object by the completion rule; the visible box if that is off.
        box2d: the annotated 2D box, clipped to the image.
        points: number of points that the boxes are based on.
        depth_share: share of the mask's pixels with depth.
        kept_share: share of points kept by cleaning.
        border: share of the 2D box's outline on the image border.
        supported: whether the plane it stands on was measured.
        quality: see `rules.quality`.
        cloud: the cleaned points [n, 3], float32.
    """

    index: int
    visible: Box3D
    whole: Box3D
    box2d: Box2D
    points: int
    depth_share: float
    kept_share: float
    border: float
    supported: bool
    quality: float
    cloud: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Lifted:
    """The objects of an image, and the number of candidates rejected by each rule."""

    objects: list[LiftedObject]
    rejected: Counter[str]


@dataclass(frozen=True)
class _View:
    """Shared by the objects of an image: depth [H, W], camera, pixels of any object [H, W], direction of gravity."""

    depth: NDArray[np.float32]
    camera: Camera
    taken: NDArray[np.bool_]
    down: Floats


@dataclass(frozen=True)
class _Chosen:
    """A candidate that passed the 2D rules, with its box clipped."""

    index: int
    label: str
    mask: ObjectMask
    box2d: Box2D


def lift(
    candidates: list[Candidate],
    depth: NDArray[np.float32],
    camera: Camera,
    clean: CleanConfig | None = None,
    rules: RulesConfig | None = None,
    completion: CompletionConfig | None = None,
    down: Floats | None = None,
) -> Lifted:
    """Lifts the annotated objects of one image.

    Args:
        candidates: annotated objects.
        depth: metres [H, W] along the optical axis, NaN (or not positive) for invalid.
        camera: intrinsics of that image.
        clean: settings of cleaning.
        rules: thresholds of the rules.
        completion: settings of the completion; None keeps the visible box.
        down: direction of gravity [3] in the optical frame, if known.
    """
    clean, rules = clean or CleanConfig(), rules or RulesConfig()
    view = _View(depth, camera, _taken(candidates, camera), IMAGE_DOWN if down is None else down)
    chosen, rejected = _select(candidates, camera, rules)
    measured: list[tuple[_Chosen, MaskPoints]] = []
    for one in chosen:
        found = mask_points(one.mask, depth, camera, clean, rules)
        if isinstance(found, str):
            rejected[found] += 1
        else:
            measured.append((one, found))
    if not measured:
        return Lifted([], rejected)
    kept = clean_clouds([m.points for _, m in measured], np.array([m.edge for _, m in measured]), clean)
    objects = []
    for (one, before), points in zip(measured, kept, strict=True):
        result = _lifted(one, before, points, view, rules, completion)
        if isinstance(result, str):
            rejected[result] += 1
        else:
            objects.append(result)
    return Lifted(objects, rejected)


def _select(candidates: list[Candidate], camera: Camera, rules: RulesConfig) -> tuple[list[_Chosen], Counter[str]]:
    """The candidates that pass the 2D rules, and the number rejected by each."""
    chosen: list[_Chosen] = []
    rejected: Counter[str] = Counter()
    for index, candidate in enumerate(candidates):
        box = clip_box(candidate.box, camera.width, camera.height)
        if candidate.crowd or box is None:
            rejected["crowd" if candidate.crowd else "box_outside"] += 1
            continue
        reason = image_reason(candidate.mask, box, camera.width, camera.height, rules)
        if reason or candidate.mask is None:
            rejected[reason or "no_mask"] += 1
            continue
        chosen.append(_Chosen(index, candidate.label, candidate.mask, box))
    inner = contained_masks([c.mask for c in chosen], [c.label for c in chosen], rules.contained_share)
    if inner:
        rejected["contained"] += len(inner)
    return [c for i, c in enumerate(chosen) if i not in inner], rejected


def _lifted(
    one: _Chosen,
    before: MaskPoints,
    points: Floats,
    view: _View,
    rules: RulesConfig,
    completion: CompletionConfig | None,
) -> LiftedObject | str:
    """The object of cleaned points [3, n], or the reason for rejecting it."""
    kept_share = points.shape[1] / before.points.shape[1]
    if points.shape[1] < max(rules.min_points, 1):
        return "few_points"
    if kept_share < rules.min_cluster_share:
        return "fragmented"
    low, high = points.min(1), points.max(1)
    visible = whole = box_between(one.label, low, high)
    border = border_share(one.box2d, view.camera.width, view.camera.height)
    hull = visible.image_box(view.camera)
    overlap = overlap_2d(hull, one.box2d) if hull else 0.0
    score = quality(before.depth_share, kept_share, points.shape[1], border, overlap)
    reason = box_reason(low, high, rules) or ("low_quality" if score < rules.min_quality else None)
    if reason:
        return reason
    supported = False
    if completion is not None:
        some = np.ascontiguousarray(points[:, :: max(1, points.shape[1] // completion.sample)].T)
        support = find_support(some, one.mask, view.depth, view.taken, view.camera, view.down, completion)
        whole = box_between(one.label, *complete(some, low, high, support, view.depth, view.camera, completion))
        supported = support.measured
    return LiftedObject(
        index=one.index,
        visible=visible,
        whole=whole,
        box2d=one.box2d,
        points=points.shape[1],
        depth_share=before.depth_share,
        kept_share=kept_share,
        border=border,
        supported=supported,
        quality=score,
        cloud=points.T.astype(np.float32),
    )


def _taken(candidates: list[Candidate], camera: Camera) -> NDArray[np.bool_]:
    """Pixels [H, W] of any annotated object."""
    taken = np.zeros((camera.height, camera.width), bool)
    for candidate in candidates:
        if (mask := candidate.mask) is not None:
            taken[mask.top : mask.bottom, mask.left : mask.right] |= mask.pixels
    return taken
