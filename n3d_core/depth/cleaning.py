"""Range limit, flying-pixel filter, and a check of the unit, before the cloud is normalised.

The model normalises by the smallest coordinate and the mean distance of all points, so one wrong pixel at 65 m moves
every bin of every box. Implausible pixels are therefore removed first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ConfigError, DepthError

_LOG_STEP = 0.001  # depth is compared as logarithms in steps of 0.1 %, which fit 16 bits between these:
_NEAREST, _FARTHEST = 1e-6, 1e6  # metres
_EDGE_PIXELS = 3  # a depth edge is smeared over at most this many pixels; a longer slope is a surface
_MOST_REMOVED = 0.3  # a filter that drops a larger share of the valid pixels is not dropping outliers
_LEAST_SPECK = 4  # pixels, in small images
_FEW_VALID = 0.3
_MANY_BEYOND = 0.05


@dataclass(frozen=True)
class DepthLimits:
    """Which depth pixels are used.

    Attributes:
        near, far: metres along z, from a micrometre to 1000 km; pixels outside are dropped.
        jump: neighbours whose depths differ by more than this ratio belong to different surfaces.
        speck: connected surfaces that cover less than this share of the image are dropped.
        unit_is_given: whether the user gave the depth unit; a given unit is not questioned.

    Raises:
        ConfigError: if a value is out of range.
    """

    near: float = 0.05
    far: float = 20.0
    jump: float = 0.05
    speck: float = 1e-4
    unit_is_given: bool = False

    def __post_init__(self) -> None:
        if not _NEAREST <= self.near < self.far <= _FARTHEST:
            wanted = f"{_NEAREST:g} <= near < far <= {_FARTHEST:g}"
            raise ConfigError(f"depth limits must satisfy {wanted}; got {self.near}..{self.far} m")
        if not 0 < self.jump < 1:
            raise ConfigError(f"depth jump must be a relative difference between 0 and 1; got {self.jump}")
        if not 0 <= self.speck < 0.1:
            raise ConfigError(f"depth speck must be a share of the image from 0 to 0.1; got {self.speck}")


@dataclass(frozen=True)
class DepthReport:
    """Statistics of a cleaned depth image; all shares are of the image's pixels.

    Attributes:
        measured: share with a finite, positive depth before cleaning.
        valid: share left after cleaning.
        too_near, too_far: shares dropped by the range limit.
        flying: share dropped as smeared edges and specks.
        warnings: sentences for the user.
    """

    measured: float
    valid: float
    too_near: float
    too_far: float
    flying: float
    warnings: tuple[str, ...] = ()


def clean_depth(
    depth: NDArray[np.float32], limits: DepthLimits | None = None
) -> tuple[NDArray[np.float32], DepthReport]:
    """A copy of a depth image [H, W] (metres, NaN invalid) without out-of-range and flying pixels.

    Raises:
        DepthError: if no pixel is left; the message names the likely unit if the values look like another one.
    """
    limits = limits or DepthLimits()
    with np.errstate(invalid="ignore"):
        measured = np.isfinite(depth) & (depth > 0)
        near, far = measured & (depth < limits.near), measured & (depth > limits.far)
    kept = measured & ~near & ~far
    if not kept.any():
        raise DepthError(_nothing_left(depth, measured, limits))
    flying = flying_pixels(depth, kept, limits)
    warnings = []
    if _share(flying) > _MOST_REMOVED * _share(kept):
        warnings.append(
            f"{_share(flying) / _share(kept):.0%} of the depth pixels have no neighbour of similar depth: the image is "
            "too sparse or too noisy for the flying-pixel filter, which was skipped"
        )
        flying = np.zeros_like(flying)
    kept &= ~flying
    cleaned = np.where(kept, depth, np.float32(np.nan))
    report = DepthReport(
        measured=_share(measured),
        valid=_share(kept),
        too_near=_share(near),
        too_far=_share(far),
        flying=_share(flying),
        warnings=(*warnings, *_warnings(depth, kept, far, limits)),
    )
    return cleaned, report


def flying_pixels(depth: NDArray[np.float32], kept: NDArray[np.bool_], limits: DepthLimits) -> NDArray[np.bool_]:
    """Which of the `kept` pixels [H, W] are on no surface: smeared depth edges, and specks too small to be a surface.

    A smeared pixel's depth is between those of its neighbours in a row or column, with a jump to both. Runs of up to
    three such pixels are an edge; longer runs are a surface seen at a grazing angle and stay.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.log(depth)
        level /= _LOG_STEP
        np.round(level, out=level)
    np.copyto(level, np.nan, where=~kept)
    jump = math.log1p(limits.jump) / _LOG_STEP
    smeared = _between_jumps(level, jump, axis=0) | _between_jumps(level, jump, axis=1)
    level -= math.floor(math.log(limits.near) / _LOG_STEP)
    solid = np.where(kept & ~smeared, level, -1).astype(np.int16)
    before = solid >= 0
    cv2.filterSpeckles(solid, -1, max(int(limits.speck * depth.size), _LEAST_SPECK), jump)  # in place
    return smeared | (before & (solid < 0))


def _between_jumps(level: NDArray[np.float32], jump: float, axis: int) -> NDArray[np.bool_]:
    """Pixels [H, W] in short runs whose depth is between their neighbours' along an axis, with a jump to both."""
    step = np.diff(level, axis=axis)
    with np.errstate(invalid="ignore"):
        up, down = step > jump, step < -jump
    before, after = (slice(None), slice(-1)), (slice(None), slice(1, None))
    inside, last = (slice(None), slice(1, -1)), (_EDGE_PIXELS, 0)
    if axis == 0:
        before, after, inside, last = before[::-1], after[::-1], inside[::-1], last[::-1]
    between = np.zeros(level.shape, np.uint8)
    between[inside] = (up[before] & up[after]) | (down[before] & down[after])
    # an opening finds the longer runs; with an even length, its anchor must be at one end and then at the other
    kernel = np.ones((last[1] + 1, last[0] + 1), np.uint8)
    slopes = cv2.dilate(cv2.erode(between, kernel, anchor=(0, 0)), kernel, anchor=last)
    return np.asarray((between > 0) & (slopes == 0))


def _warnings(
    depth: NDArray[np.float32], kept: NDArray[np.bool_], far: NDArray[np.bool_], limits: DepthLimits
) -> list[str]:
    out = []
    if _share(kept) < _FEW_VALID:
        out.append(f"only {_share(kept):.0%} of the depth pixels are valid: check the sensor and its range")
    if _share(far) > _MANY_BEYOND:
        out.append(
            f"{_share(far):.0%} of the depth pixels are farther than {limits.far:g} m and were dropped: raise the "
            "limit if the scene really is that large"
        )
    suspicion = suspect_unit(depth, limits.unit_is_given, kept | far)
    if suspicion is not None:
        out.append(suspicion.message)
    return out


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask)) / mask.size


def _nothing_left(depth: NDArray[np.float32], measured: NDArray[np.bool_], limits: DepthLimits) -> str:
    size = f"depth image {depth.shape[1]}x{depth.shape[0]}"
    if not measured.any():
        return f"{size} has no valid pixel: check the sensor, its range and the encoding"
    suspicion = suspect_unit(depth)
    values = depth[measured]
    return (
        f"{size} has no pixel between {limits.near:g} and {limits.far:g} m (it holds {values.min():.4g} to "
        f"{values.max():.4g} m): " + (suspicion.message if suspicion else "check the unit, or the limits")
    )


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
