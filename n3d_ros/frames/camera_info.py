"""CameraInfo <-> pinhole `Camera`, and rectification of lenses that are not pinholes.

Known distortion: `plumb_bob` and `rational_polynomial` (OpenCV's polynomial), `equidistant` (OpenCV's fisheye).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from n3d_core.errors import CameraError
from n3d_core.geometry.camera import Camera

DISTORTION_POLICIES = ("rectify", "rectified", "refuse")
_POLYNOMIAL = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14)}
_FISHEYE = {"equidistant": (4,)}


@dataclass(frozen=True)
class Lens:
    """A camera as its CameraInfo describes it.

    Attributes:
        camera: the pinhole camera of the rectified image.
        model: the distortion model's name; empty if the image is a pinhole's already.
        coefficients: that model's coefficients.
    """

    camera: Camera
    model: str = ""
    coefficients: tuple[float, ...] = ()

    def rectify(self, image: NDArray[Any], nearest: bool = False) -> NDArray[Any]:
        """The pinhole image of `image` ([H, W] or [H, W, C]); `nearest` for depth, which must never be mixed."""
        if not self.model:
            return image
        across, down = _rectification(self)
        how, border = (cv2.INTER_NEAREST, np.nan) if nearest else (cv2.INTER_LINEAR, 0)
        return cv2.remap(np.ascontiguousarray(image), across, down, how, borderValue=border)


def read_camera_info(info: CameraInfo, policy: str = "rectify") -> Lens:
    """The lens that a CameraInfo describes, for the size of the image that is published.

    Args:
        info: the message; binning and region of interest are applied to K.
        policy: what to do about distortion: `rectify` the images, take them as `rectified` already (then P is their
            matrix), or `refuse` them.

    Raises:
        CameraError: if K is missing, zero or not finite, or the distortion is refused or unknown.
    """
    if not any(info.k):
        raise CameraError(
            "camera info has a zero K matrix: the camera is not calibrated; check the driver's camera_info"
        )
    matrix = np.asarray(info.p).reshape(3, 4)[:, :3] if policy == "rectified" and any(info.p) else info.k
    camera = _window(Camera.from_matrix(matrix, info.width, info.height), info)
    coefficients = tuple(float(d) for d in info.d)
    if policy == "rectified" or not any(coefficients):
        return Lens(camera)
    return Lens(camera, *_checked(info.distortion_model, coefficients, policy))


def camera_info_message(camera: Camera) -> CameraInfo:
    """The CameraInfo of a pinhole camera (plumb_bob with zero coefficients)."""
    k = camera.matrix
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = k.reshape(-1)
    info.r = np.eye(3).reshape(-1)
    info.p = np.hstack([k, np.zeros((3, 1))]).reshape(-1)
    return info


def _window(camera: Camera, info: CameraInfo) -> Camera:
    """K is for the full sensor; the image may be a binned window of it (REP 104)."""
    roi = info.roi
    if roi.width and roi.height:
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    if (across, down) == (1, 1):
        return camera
    return camera.resized(max(camera.width // across, 1), max(camera.height // down, 1))


def _checked(model: str, coefficients: tuple[float, ...], policy: str) -> tuple[str, tuple[float, ...]]:
    lengths = _POLYNOMIAL.get(model) or _FISHEYE.get(model)
    if lengths is None or policy == "refuse":
        raise CameraError(
            f"camera info has the distortion model {model!r} with coefficients that are not zero: "
            + ("parameter distortion is 'refuse'; " if policy == "refuse" else "")
            + f"{', '.join([*_POLYNOMIAL, *_FISHEYE])} can be rectified here (distortion:=rectify), others by "
            "image_proc; then subscribe to the rectified topics with distortion:=rectified"
        )
    if len(coefficients) not in lengths or not np.isfinite(coefficients).all():
        wanted = " or ".join(map(str, lengths))
        raise CameraError(
            f"distortion model {model} has coefficients {list(coefficients)}: {wanted} finite ones are wanted"
        )
    return model, coefficients


@lru_cache(maxsize=4)  # a camera's lens does not change from image to image
def _rectification(lens: Lens) -> tuple[NDArray[Any], NDArray[Any]]:
    k, d = lens.camera.matrix, np.asarray(lens.coefficients)
    size = (lens.camera.width, lens.camera.height)
    if lens.model in _FISHEYE:
        return cv2.fisheye.initUndistortRectifyMap(k, d, np.eye(3), k, size, cv2.CV_32FC1)
    return cv2.initUndistortRectifyMap(k, d, np.eye(3), k, size, cv2.CV_32FC1)
