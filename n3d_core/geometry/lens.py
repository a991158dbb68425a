"""Distorted lenses, and the rectification of their images.

Supported distortion: `plumb_bob` and `rational_polynomial` (OpenCV's polynomial), `equidistant` (OpenCV's fisheye).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CameraError
from n3d_core.geometry.camera import Camera

DISTORTION_POLICIES = ("rectify", "rectified", "refuse")
_POLYNOMIAL = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14)}
_FISHEYE = {"equidistant": (4,)}


@dataclass(frozen=True)
class Lens:
    """A calibrated camera.

    Attributes:
        camera: the pinhole camera of the rectified image.
        model: the distortion model's name; empty if the image has no distortion.
        coefficients: that model's coefficients.
    """

    camera: Camera
    model: str = ""
    coefficients: tuple[float, ...] = ()

    @classmethod
    def of(cls, camera: Camera, model: str, coefficients: Sequence[float], policy: str = "rectify") -> Lens:
        """The lens of a calibration, under a `distortion` policy.

        Args:
            policy: `rectify` the images, treat them as already `rectified`, or `refuse` them.

        Raises:
            CameraError: if the distortion is refused or unknown, or has the wrong number of coefficients.
        """
        values = tuple(float(d) for d in coefficients)
        if policy == "rectified" or not any(values):
            return cls(camera)
        lengths = _POLYNOMIAL.get(model) or _FISHEYE.get(model)
        if lengths is None or policy == "refuse":
            raise CameraError(
                f"the camera has the distortion model {model!r} with non-zero coefficients: "
                + ("distortion is 'refuse'; " if policy == "refuse" else "")
                + f"{', '.join([*_POLYNOMIAL, *_FISHEYE])} can be rectified here (distortion 'rectify'); rectify "
                "others with image_proc and use the rectified images with distortion 'rectified'"
            )
        if len(values) not in lengths or not np.isfinite(values).all():
            wanted = " or ".join(map(str, lengths))
            raise CameraError(f"distortion model {model} needs {wanted} finite coefficients; got {list(values)}")
        return cls(camera, model, values)

    def rectify(self, image: NDArray[Any], nearest: bool = False) -> NDArray[Any]:
        """Rectifies an image [H, W] or [H, W, C]; use `nearest` for depth, which must not be interpolated."""
        if not self.model:
            return image
        across, down = _rectification(self)
        how, border = (cv2.INTER_NEAREST, np.nan) if nearest else (cv2.INTER_LINEAR, 0)
        return cv2.remap(np.ascontiguousarray(image), across, down, how, borderValue=border)


@lru_cache(maxsize=4)  # the lens does not change between images
def _rectification(lens: Lens) -> tuple[NDArray[Any], NDArray[Any]]:
    k, d = lens.camera.matrix, np.asarray(lens.coefficients)
    size = (lens.camera.width, lens.camera.height)
    if lens.model in _FISHEYE:
        return cv2.fisheye.initUndistortRectifyMap(k, d, np.eye(3), k, size, cv2.CV_32FC1)
    return cv2.initUndistortRectifyMap(k, d, np.eye(3), k, size, cv2.CV_32FC1)
