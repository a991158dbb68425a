"""Masks of single objects, stored as a window of the image, so that their cost depends on the object's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box2D = tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectMask:
    """The pixels of an object.

    Attributes:
        left, top: image column and row of the window's first pixel.
        pixels: bool [h, w], a tight window; [0, 0] if empty.
    """

    left: int
    top: int
    pixels: NDArray[np.bool_]

    @classmethod
    def from_image(cls, mask: NDArray[Any]) -> ObjectMask:
        """The tight window of a mask [H, W] of the whole image (nonzero is the object)."""
        mask = np.asarray(mask, dtype=bool)
        rows = np.flatnonzero(mask.any(1))
        if len(rows) == 0:
            return cls(0, 0, np.zeros((0, 0), bool))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(mask[top:bottom].any(0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        return cls(left, top, np.ascontiguousarray(mask[top:bottom, left:right]))

    @property
    def right(self) -> int:
        """One past the last column."""
        return int(self.left + self.pixels.shape[1])

    @property
    def bottom(self) -> int:
        """One past the last row."""
        return int(self.top + self.pixels.shape[0])

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @property
    def box(self) -> Box2D:
        """Left, top, right, bottom edges in pixels."""
        return float(self.left), float(self.top), float(self.right), float(self.bottom)

    def to_image(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask in an image of `height` x `width`."""
        out = np.zeros((height, width), bool)
        out[self.top : self.bottom, self.left : self.right] = self.pixels
        return out

    def share_inside(self, other: ObjectMask) -> float:
        """Share of this mask's pixels that are in another mask, 0..1."""
        left, right = max(self.left, other.left), min(self.right, other.right)
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        if left >= right or top >= bottom or not self.area:
            return 0.0
        mine = self.pixels[top - self.top : bottom - self.top, left - self.left : right - self.left]
        theirs = other.pixels[top - other.top : bottom - other.top, left - other.left : right - other.left]
        return float(np.count_nonzero(mine & theirs) / self.area)
