"""Assigns predicted boxes to true objects.

Only boxes of the same class are assigned. The assignment maximises the total overlap; boxes that overlap nothing are
assigned by the nearest centre, so that offsets include misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from n3d_core.geometry.boxes import Box3D, pairwise_iou_3d
from n3d_core.reasoning.lexicon import singulars, strip_article

_OTHER_CLASS = 1e6


@dataclass(frozen=True)
class Pair:
    """Indices of a predicted box and its true box, and their 3D IoU."""

    found: int
    true: int
    iou: float


def same_class(label: str, cls: str) -> bool:
    """Whether a label names a class: `mug`, `red mug` and `the mugs` all name `mug`."""
    cls = cls.lower()
    return any(name == cls or name.endswith(f" {cls}") for name in singulars(strip_article(label).lower()))


def assign(found: Sequence[Box3D], true: Sequence[Box3D], classes: Sequence[str]) -> list[Pair]:
    """Pairs of the same class, with each box in at most one pair.

    Args:
        found: predicted boxes.
        true: boxes of the target objects.
        classes: classes of the true boxes.
    """
    if not found or not true:
        return []
    iou = pairwise_iou_3d(list(found), list(true))
    centers = np.array([b.center for b in found])[:, None] - np.array([b.center for b in true])[None]
    cost = np.linalg.norm(centers, axis=-1) / 1000 - iou
    for i, box in enumerate(found):
        for j, cls in enumerate(classes):
            if not same_class(box.label, cls):
                cost[i, j] = _OTHER_CLASS
    rows, columns = linear_sum_assignment(cost)
    return [
        Pair(int(i), int(j), float(iou[i, j])) for i, j in zip(rows, columns, strict=True) if cost[i, j] < _OTHER_CLASS
    ]
