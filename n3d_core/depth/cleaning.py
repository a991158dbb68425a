"""Range limit and flying-pixel filter, before the cloud is normalised.

The model normalises by the smallest coordinate and the mean distance of all points, so one wrong pixel at 65 m moves
every bin of every box. Implausible pixels are therefore removed first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.plausibility import suspect_unit
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
