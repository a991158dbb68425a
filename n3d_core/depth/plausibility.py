"""Whether a depth image was read in the right unit: the values of a wrong one betray themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame

_USUAL = 2.0  # metres: what a camera on a robot or in a hand looks at
_MANY_VALUES = 50  # fewer distinct values say nothing about how they were made
_MOST_VALUES = 20_000  # that are looked at; a share of them tells as much as all
_FARTHEST_MEDIAN = 12.0  # metres that the middle of a sensor's image can still be away
_ALWAYS_WRONG = (0.02, 200.0)  # metres that no median is outside of, from whatever source

# factor on the metres read, and what the file then holds
_READINGS = (
    (1 / 1000, "millimetres read as metres"),
    (1000.0, "metres read as millimetres"),
    (1 / 10, "10000 values a metre (0.1 mm, RealSense D405) read as millimetres"),
    (1 / 5, "5000 values a metre (TUM) read as millimetres"),
)


@dataclass(frozen=True)
class UnitSuspicion:
    """A depth image looks as if it were in another unit.

    Attributes:
        factor: by which the metres read would have to be multiplied (for SUN's rotated bits: nearly).
        message: what was seen, and what unit it likely is.
    """

    factor: float
    message: str


def suspect_unit(depth: NDArray[np.float32]) -> UnitSuspicion | None:
    """Looks at metres of any shape (NaN invalid) as they were read; None where nothing is odd.

    Two signs are used: a median that no sensor measures, and whole millimetres that nearly all are multiples of 5 (TUM
    stores millimetres times 5) or of 8 (SUN RGB-D rotates its bits by 3) although the scene seems large.
    """
    measured = depth[np.isfinite(depth) & (depth > 0)]
    if len(measured) == 0:
        return None
    values = measured[:: 1 + len(measured) // _MOST_VALUES].astype(np.float64)
    median = float(np.median(values))
    if not _ALWAYS_WRONG[0] <= median <= _ALWAYS_WRONG[1]:
        return _likeliest(median)
    millimetres = np.round(values * 1000)
    distinct = np.unique(millimetres)
    if np.abs(values * 1000 - millimetres).max() > 0.02 or len(distinct) < _MANY_VALUES:
        return None  # not from integers, as sensors give them
    if median > 1.0 and _share_of_multiples(millimetres, 8) > 0.9:
        return UnitSuspicion(
            1 / 8,
            f"median depth is {median:.1f} m and nearly all values are multiples of 8: this looks like SUN RGB-D's "
            "rotated bits (depth unit sun)",
        )
    if median > 1.0 and _share_of_multiples(millimetres, 5) > 0.95:
        return UnitSuspicion(
            1 / 5,
            f"median depth is {median:.1f} m and nearly all values are multiples of 5: this looks like 5000 values a "
            "metre (depth unit tum)",
        )
    return _likeliest(median) if median > _FARTHEST_MEDIAN else None


def _likeliest(median: float) -> UnitSuspicion:
    factor, reading = min(_READINGS, key=lambda r: abs(math.log(median * r[0] / _USUAL)))
    return UnitSuspicion(factor, f"median depth is {median:.4g} m: likely {reading} (factor {factor:g})")


def _share_of_multiples(values: NDArray[np.float64], of: int) -> float:
    return float((values % of == 0).mean())


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
