"""The rules that an object must pass to become training data, and the quality score of those that do.

Each rejection has one reason in `REASONS`; runs count them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.entry.yaml_file import Strict
from training.lift.object_mask import Box2D, ObjectMask

REASONS = {
    "crowd": "the annotation covers a group of objects",
    "box_outside": "the box is outside the image, or has no area",
    "no_mask": "the mask is missing or empty",
    "mask_small": "the mask has fewer than min_mask_pixels pixels",
    "box_small": "the box covers less than min_box_share of the image",
    "box_large": "the box covers more than max_box_share of the image",
    "truncated": "more than max_border_share of the box's outline is on the image border",
    "contained": "the mask is inside another mask of the same label",
    "depth_invalid": "fewer than min_depth_share of the mask's pixels have depth",
    "few_points": "fewer than min_points points remain after cleaning",
    "fragmented": "the largest cluster holds less than min_cluster_share of the points",
    "too_small": "the box is smaller than min_size in every direction, or has less than min_volume",
    "too_large": "the box is longer than max_size, or has more than max_volume",
    "aspect": "the longest side is more than max_aspect times the middle one",
    "too_far": "the box is farther away than max_distance",
    "low_quality": "the quality score is below min_quality",
}


@dataclass(frozen=True)
class RulesConfig(Strict):
    """Thresholds of the rules; lengths in metres, shares 0..1."""

    min_mask_pixels: int = 150
    min_box_share: float = 0.0006
    max_box_share: float = 0.85
    max_border_share: float = 0.30
    contained_share: float = 0.90
    min_depth_share: float = 0.35
    min_points: int = 60
    min_cluster_share: float = 0.50
    min_size: float = 0.01
    max_size: float = 40.0
    min_volume: float = 1e-7
    max_volume: float = 20_000.0
    max_aspect: float = 40.0
    max_distance: float = 120.0
    min_quality: float = 0.15


def clip_box(box: Box2D, width: int, height: int) -> Box2D | None:
    """The part of a 2D box inside the image; None if that is less than a pixel."""
    if not np.isfinite(box).all():
        return None
    left, right = max(box[0], 0.0), min(box[2], float(width))
    top, bottom = max(box[1], 0.0), min(box[3], float(height))
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else None


def border_share(box: Box2D, width: int, height: int, margin: float = 1.5) -> float:
    """Share of a 2D box's outline that is on the image border."""
    w, h = box[2] - box[0], box[3] - box[1]
    on = (
        h * (box[0] <= margin)
        + h * (box[2] >= width - margin)
        + w * (box[1] <= margin)
        + w * (box[3] >= height - margin)
    )
    return float(on / (2 * (w + h)))


def image_reason(mask: ObjectMask | None, box: Box2D, width: int, height: int, rules: RulesConfig) -> str | None:
    """Why a mask and a clipped 2D box cannot be lifted; None if they can."""
    share = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
    if mask is None or mask.pixels.size == 0:
        return "no_mask"
    if mask.area < rules.min_mask_pixels:
        return "mask_small"
    if share < rules.min_box_share:
        return "box_small"
    if share > rules.max_box_share:
        return "box_large"
    if border_share(box, width, height) > rules.max_border_share:
        return "truncated"
    return None


def contained_masks(masks: list[ObjectMask], labels: list[str], share: float) -> set[int]:
    """Indices of masks with at least `share` inside a larger (or equal, earlier) mask of the same label."""
    areas = [m.area for m in masks]
    out: set[int] = set()
    for i, inner in enumerate(masks):
        for j, outer in enumerate(masks):
            larger = areas[j] > areas[i] or (areas[j] == areas[i] and j < i)
            if i != j and larger and labels[i] == labels[j] and inner.share_inside(outer) >= share:
                out.add(i)
                break
    return out


def box_reason(low: np.ndarray, high: np.ndarray, rules: RulesConfig) -> str | None:
    """Why a 3D box between two corners [3] in metres is implausible; None if it is plausible."""
    size = np.sort(high - low)
    volume = float(np.prod(size))
    if size[2] < rules.min_size or volume < rules.min_volume:
        return "too_small"
    if size[2] > rules.max_size or volume > rules.max_volume:
        return "too_large"
    if size[2] > rules.max_aspect * max(size[1], 1e-9):
        return "aspect"
    if float((low[2] + high[2]) / 2) > rules.max_distance:
        return "too_far"
    return None


def quality(depth_share: float, kept_share: float, points: int, border: float, overlap: float) -> float:
    """Quality of a lifted box, 0..1: the product of five factors.

    Args:
        depth_share: share of the mask's pixels with depth.
        kept_share: share of points kept by cleaning.
        points: number of points kept; 400 are enough for full marks.
        border: share of the 2D box's outline on the image border.
        overlap: IoU of the 3D box's projected hull and the annotated 2D box.
    """
    enough = min(1.0, points / 400.0) ** 0.5
    return float(min(1.0, depth_share * 1.1) * kept_share * enough * (1.0 - border) * min(1.0, overlap * 1.25))
