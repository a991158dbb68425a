"""One RGB-D image with its camera: the only input of the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CameraError, DepthError, ImageError
from n3d_core.geometry.camera import Camera

MAX_PIXELS = 64_000_000  # a header can claim any size; no camera image is larger


@dataclass(frozen=True)
class Frame:
    """Colour, depth and intrinsics of one moment, validated.

    Attributes:
        color: RGB uint8 [H, W, 3].
        depth: float32 [H, W], metres along the optical z axis, NaN where there is no measurement.
        camera: intrinsics of the (rectified) image.
        stamp_ns: time of the image in nanoseconds, 0 if unknown.
        frame_id: name of the optical frame, empty if unknown.

    Raises:
        ImageError, DepthError, CameraError: if shapes or types do not match, or no depth pixel is valid.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera
    stamp_ns: int = 0
    frame_id: str = ""

    def __post_init__(self) -> None:
        c, d = self.color, self.depth
        if c.dtype != np.uint8 or c.ndim != 3 or c.shape[2] != 3 or c.size == 0:
            raise ImageError(f"colour image must be uint8 [H, W, 3] RGB; got {c.dtype} {list(c.shape)}")
        if c.shape[0] * c.shape[1] > MAX_PIXELS:
            raise ImageError(f"colour image must have at most {MAX_PIXELS} pixels; got {c.shape[1]}x{c.shape[0]}")
        if d.ndim != 2 or d.shape != c.shape[:2]:
            raise DepthError(
                f"depth image is {list(d.shape)} but colour {list(c.shape[:2])} (H, W): register depth to colour first"
            )
        if d.dtype != np.float32:
            raise DepthError(f"depth image must be float32 metres with NaN for invalid; got {d.dtype}")
        if (self.camera.height, self.camera.width) != d.shape:
            raise CameraError(
                f"camera info is for {self.camera.width}x{self.camera.height}, the image is {d.shape[1]}x{d.shape[0]}"
            )
        if not np.isfinite(d).any():
            raise DepthError(
                f"depth image {d.shape[1]}x{d.shape[0]} has no valid pixel: check the sensor, range and encoding"
            )

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.color.shape[1])

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Mask [H, W] of pixels with a finite, positive depth."""
        return np.isfinite(self.depth) & (self.depth > 0)

    @cached_property
    def points(self) -> NDArray[np.float32]:
        """Optical-frame points [H, W, 3] in metres, NaN where invalid."""
        return self.camera.back_project(np.where(self.valid, self.depth, np.float32(np.nan)))
