"""Whether a depth image was read in the right unit: the values of a wrong one betray themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
