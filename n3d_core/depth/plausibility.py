"""Checks whether a depth image was read in the right unit, by its values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame

_USUAL = 2.0  # metres: typical distance for a robot's or a handheld camera
_MANY_VALUES = 50  # fewer distinct values say nothing about the unit
_MOST_VALUES = 20_000  # that are checked; a sample says as much as all of them
_NEAREST_MEDIAN, _FARTHEST_MEDIAN = 0.1, 12.0  # metres: plausible medians of a depth sensor
_ALWAYS_WRONG = (0.02, 200.0)  # metres: a median outside is implausible from any source
_NEARLY_ALL = 0.95

# Factor by which the assumed values per metre are too few -> what the file then holds.
_SCALES = {
    2: "twice as many values per metre as assumed (10000 instead of 5000)",
    4: "4000 values per metre (RealSense L515) read as millimetres",
    5: "5000 values per metre (unit tum) read as millimetres",
    8: "8000 values per metre (RealSense SR300) read as millimetres",
    10: "10000 values per metre (RealSense D405, BOP, YCB-Video) read as millimetres",
    1000: "millimetres read as metres",
    0.001: "metres read as millimetres",
}
_ROTATED = {
    1: "SUN RGB-D's rotated bits (unit sun)",
    10: "rotated bits and 10000 values per metre (unit sun:10000)",
}


@dataclass(frozen=True)
class UnitSuspicion:
    """A depth image looks as if it were in another unit.

    Attributes:
        factor: ratio of the likeliest unit's metres to those read (approximate for rotated bits).
        message: what was seen, and every unit that fits with its median distance.
    """

    factor: float
    message: str


def suspect_unit(
    depth: NDArray[np.float32], is_given: bool = False, measured: NDArray[np.bool_] | None = None
) -> UnitSuspicion | None:
    """Checks depth in metres of any shape (NaN invalid); returns None if it is plausible.

    There are two signs: a median that no sensor would measure, and whole millimetres that are nearly all multiples of
    one number (TUM stores millimetres times 5) or whose lowest bits hardly vary (SUN RGB-D rotates bits by 3).

    Args:
        is_given: whether the user gave the unit; then only impossible medians are suspicious.
        measured: mask of the pixels to check, in the depth's shape; None checks all finite and positive ones.
    """
    places = np.flatnonzero(np.isfinite(depth) & (depth > 0) if measured is None else measured)
    if len(places) == 0:
        return None
    values = depth.reshape(-1).take(places[:: 1 + len(places) // _MOST_VALUES]).astype(np.float64)
    median = float(np.median(values))
    if not _ALWAYS_WRONG[0] <= median <= _ALWAYS_WRONG[1]:
        return _suspicion(median, "", {1 / n: (median / n, words) for n, words in _SCALES.items() if n != 2})
    millimetres = np.round(values * 1000)
    whole = np.abs(values * 1000 - millimetres).max() <= 0.02 and _has_many(millimetres)
    if is_given or not whole:  # not from integers, as sensors give them
        return None
    counts = millimetres.astype(np.int64)  # whose remainders take a third of the time
    if median > 1.0 and (rotated := _rotated(counts)) is not None:
        fits = {1 / 8 / n: (rotated / n, words) for n, words in _ROTATED.items()}
        fits |= {1 / 8: (median / 8, f"{_ROTATED[1]} or {_SCALES[8]}")} if _are_multiples(counts, 8) else {}
        return _suspicion(median, " and the lowest 3 bits of the values hardly vary", fits)
    steps = [n for n in (4, 5, 8, 10) if _are_multiples(counts, n)]
    steps = steps or [n for n in (2,) if _are_multiples(counts, n)]
    if median > 1.0 and steps:
        fits = {1 / n: (median / n, _SCALES[n]) for n in steps}
        fits[1.0] = median, "whole centimetres, unit correct" if max(steps) == 10 else "unit correct, in such steps"
        return _suspicion(median, f" and nearly all values are multiples of {max(steps)} mm", fits)
    if median <= _FARTHEST_MEDIAN:
        return None
    return _suspicion(median, "", {1 / n: (median / n, words) for n, words in _SCALES.items() if n != 2})


def _suspicion(median: float, sign: str, fits: dict[float, tuple[float, str]]) -> UnitSuspicion:
    """`fits`: factor -> resulting median, and what the file then holds."""
    possible = {f: fit for f, fit in fits.items() if _NEAREST_MEDIAN <= fit[0] <= _FARTHEST_MEDIAN} or fits
    likeliest = min(possible, key=lambda f: (f == 1.0, abs(math.log(possible[f][0] / _USUAL))))
    listed = "; ".join(f"{words}: {distance:.3g} m" for distance, words in possible.values())
    return UnitSuspicion(
        likeliest,
        f"median depth is {median:.4g} m{sign}: the depth unit may be wrong. Candidates, with their median: "
        f"{listed}. Set the unit explicitly (--depth-unit, units_per_metre)",
    )


def _has_many(values: NDArray[np.float64]) -> bool:
    """Whether at least `_MANY_VALUES` are distinct; mostly the first thousand show it."""
    return len(np.unique(values[:1000])) >= _MANY_VALUES or len(np.unique(values)) >= _MANY_VALUES


def _rotated(raw: NDArray[np.int64]) -> float | None:
    """The median in metres of 16-bit values whose bits were rotated left by 3; None if they do not look rotated.

    Their lowest bits are the highest bits of the true value: one value, or two neighbouring ones, all over the image.
    """
    shares = np.bincount(raw % 8, minlength=8) / len(raw)
    if raw.max() >= 1 << 16 or (shares[:4] + shares[1:5]).max() < _NEARLY_ALL:
        return None
    return float(np.median((raw >> 3) | ((raw & 7) << 13))) / 1000


def _are_multiples(values: NDArray[np.int64], of: int) -> bool:
    return float((values % of == 0).mean()) > _NEARLY_ALL


_CENTRAL = 0.8  # other objects overlap the hull's border more often than its middle
_MARGIN = 0.1  # of the box's length, and at least this many metres:
_LEAST_MARGIN = 0.02
_ENOUGH = 0.1  # an object may be thin or half hidden: a tenth of the pixels is enough


@dataclass(frozen=True)
class DepthAgreement:
    """How well a box agrees with the measured depth.

    Attributes:
        share: share of the valid pixels in the middle of the box's hull whose depth is within the box; 0 if none.
        offset: metres from the box's depth range to the measured median; 0 if they agree. Positive: the visible surface
            is behind the box; negative: something is in front of it. NaN if nothing was measured.
        through: share of the same pixels whose depth is behind the box; 0 if none is valid.
    """

    share: float
    offset: float
    through: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether enough of the measured depth is within the box."""
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
    through = float((measured > high).mean())
    if share >= _ENOUGH:
        return DepthAgreement(share, 0.0, through)
    median = float(np.median(measured))
    return DepthAgreement(share, median - high if median > high else min(median - low, 0.0), through)


def _middle(low: float, high: float, size: int) -> tuple[int, int]:
    """Pixel range (first, one past the last) of the middle part of a span, clipped to the image."""
    center, half = (low + high) / 2, _CENTRAL * (high - low) / 2
    first = int(np.clip(np.floor(center - half + 0.5), 0, size))
    last = int(np.clip(np.ceil(center + half + 0.5), 0, size))
    return first, last
