"""Whether a box stands where depth was measured: a check that travels with the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame

_CENTRAL = 0.8  # the hull's border belongs to other objects more often than its middle
_MARGIN = 0.1  # of the box's length, and at least this many metres:
_LEAST_MARGIN = 0.02
_ENOUGH = 0.1  # an object may be thin or half hidden: a tenth of the pixels behind its box is agreement


@dataclass(frozen=True)
class DepthAgreement:
    """How a box agrees with the depth measured in its picture.

    Attributes:
        share: of the valid pixels in the middle of the box's hull, those whose depth lies within the box; 0 if none is.
        offset: metres from the box's depth range to the median of the measured ones; 0 where it agrees. Positive: the
            surface seen is behind the box; negative: something stands before it. NaN where nothing is measured.
    """

    share: float
    offset: float

    @property
    def agrees(self) -> bool:
        """Whether enough of what is seen through the box lies within it."""
        return self.offset == 0.0


def depth_agreement(frame: Frame, box: Box3D) -> DepthAgreement:
    """Compares a box of the optical frame with the frame's depth."""
    hull = box.image_box(frame.camera)
    if hull is None:
        return DepthAgreement(0.0, float("nan"))
    left, right = _middle(hull[0], hull[2], frame.width)
    top, bottom = _middle(hull[1], hull[3], frame.height)
    window = frame.depth[top:bottom, left:right]
    measured = window[np.isfinite(window) & (window > 0)]
    if measured.size == 0:
        return DepthAgreement(0.0, float("nan"))
    margin = max(_MARGIN * box.size[2], _LEAST_MARGIN)
    low, high = float(box.low[2]) - margin, float(box.high[2]) + margin
    share = float(((measured >= low) & (measured <= high)).mean())
    if share >= _ENOUGH:
        return DepthAgreement(share, 0.0)
    median = float(np.median(measured))
    return DepthAgreement(share, median - high if median > high else min(median - low, 0.0))


def _middle(low: float, high: float, size: int) -> tuple[int, int]:
    """Pixels (first, one past the last) of the middle part of a span, inside the image."""
    center, half = (low + high) / 2, _CENTRAL * (high - low) / 2
    first = int(np.clip(np.floor(center - half + 0.5), 0, size))
    last = int(np.clip(np.ceil(center + half + 0.5), 0, size))
    return first, last
