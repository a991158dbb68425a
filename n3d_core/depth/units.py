"""What the numbers of a depth image mean, and how they become metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError


@dataclass(frozen=True)
class DepthUnit:
    """How raw values become metres: `rotate(raw) / per_metre`.

    Attributes:
        name: as it is given on the command line.
        per_metre: raw values a metre.
        rotated_bits: how many bits 16-bit values were rotated to the left by (3 in SUN RGB-D, else 0).
    """

    name: str
    per_metre: float
    rotated_bits: int = 0

    @classmethod
    def parse(cls, text: str) -> DepthUnit:
        """`mm`, `m`, `tum` (5000 a metre), `sun` (millimetres, rotated by 3 bits), or raw values a metre as a number.

        Raises:
            DepthError: if it is none of them.
        """
        if text in _NAMED:
            return _NAMED[text]
        try:
            per_metre = float(text)
        except ValueError:
            per_metre = math.nan
        if not (math.isfinite(per_metre) and per_metre > 0):
            known = ", ".join(_NAMED)
            raise DepthError(f"depth unit {text!r}: one of {known}, or how many raw values make a metre, is wanted")
        return cls(text, per_metre)

    @classmethod
    def of(cls, raw: NDArray[Any]) -> DepthUnit:
        """What the type says where nothing else does: 16 bits and more are millimetres, floats metres (REP 118).

        Raises:
            DepthError: for 8-bit images, whose unit cannot be known.
        """
        if np.issubdtype(raw.dtype, np.floating):
            return _NAMED["m"]
        if raw.dtype.itemsize < 2:
            raise DepthError(
                f"depth image is {raw.dtype}: 8 bits hold 256 distances of unknown unit; give a 16-bit PNG in "
                "millimetres or metres as floats, or name the unit (raw values a metre)"
            )
        return _NAMED["mm"]

    def to_metres(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values [H, W] -> metres float32 [H, W]; NaN where invalid.

        Invalid are NaN, infinities, zero and less, and the largest 16-bit value, with which drivers mark overflow.

        Raises:
            DepthError: if the array is not [H, W], or its type does not go with the unit.
        """
        if raw.ndim != 2 or raw.size == 0:
            raise DepthError(f"depth image is {raw.dtype} {list(raw.shape)}: one channel [H, W] is wanted")
        if not (np.issubdtype(raw.dtype, np.integer) or np.issubdtype(raw.dtype, np.floating)):
            raise DepthError(f"depth image is {raw.dtype}: integers or floats are wanted")
        if self.rotated_bits and raw.dtype != np.uint16:
            raise DepthError(f"depth unit {self.name!r} is an encoding of 16-bit images; this one is {raw.dtype}")
        return _table(self)[raw] if raw.dtype == np.uint16 else self._divided(raw)

    def _divided(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        invalid = raw <= 0
        if np.issubdtype(raw.dtype, np.floating):
            invalid |= ~np.isfinite(raw)
        # divided in float64: a float16 or an integer times anything else would lose its last digits
        return (np.where(invalid, np.nan, raw.astype(np.float64)) / self.per_metre).astype(np.float32)


@lru_cache(maxsize=8)
def _table(unit: DepthUnit) -> NDArray[np.float32]:
    """Metres of each 16-bit value: looking up is several times as fast as dividing, at camera rate."""
    raw = np.arange(1 << 16, dtype=np.uint16)
    turned = (raw >> unit.rotated_bits) | (raw << (16 - unit.rotated_bits)) if unit.rotated_bits else raw
    metres = unit._divided(turned)
    metres[[0, -1]] = np.nan
    metres.setflags(write=False)
    return metres


_NAMED = {
    "mm": DepthUnit("mm", 1000.0),
    "m": DepthUnit("m", 1.0),
    "tum": DepthUnit("tum", 5000.0),
    "sun": DepthUnit("sun", 1000.0, rotated_bits=3),
}
