"""Pinhole intrinsics of a rectified image, and distorted lenses whose images are rectified.

Supported distortion: `plumb_bob` and `rational_polynomial` (OpenCV's polynomial of any length), `equidistant` (OpenCV's
fisheye, also under that name).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from n3d_core.atomic_write import write_text
from n3d_core.errors import CameraError

DISTORTION_POLICIES = ("rectify", "rectified", "refuse")
_FISHEYE = ("equidistant", "fisheye")
_LENGTHS = dict.fromkeys(("plumb_bob", "rational_polynomial"), (4, 5, 8, 12, 14)) | dict.fromkeys(_FISHEYE, (4,))
_USUAL = (5.0, 160.0)  # degrees: usual fields of view of robot cameras
_WIDEST = (172.0, 110.0)  # degrees: limits for any pinhole image


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, in pixels of an image of `width` x `height`.

    The optical frame is REP 103's: x right, y down, z forward. Pixel centres are at integer coordinates, as in
    `sensor_msgs/CameraInfo`.

    Raises:
        CameraError: if a size or focal length is not positive, or a value is not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise CameraError(f"camera width and height must be at least 1 pixel; got {self.width}x{self.height}")
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(v) for v in values) or self.fx <= 0 or self.fy <= 0:
            raise CameraError(
                f"intrinsics fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy} are invalid: "
                "focal lengths must be positive and all values finite; check the camera_info topic or camera.yaml"
            )

    @classmethod
    def from_matrix(cls, k: Sequence[float] | NDArray[Any], width: int, height: int) -> Camera:
        """Reads a row-major 3x3 intrinsic matrix in pixels (9 numbers or [3, 3]).

        Raises:
            CameraError: if it does not have 9 values, or they are not valid intrinsics.
        """
        m = np.asarray(k, dtype=np.float64)
        if m.size != 9:
            raise CameraError(f"the intrinsic matrix must have 9 values (3x3, row-major); got {m.size}")
        m = m.reshape(3, 3)
        if np.isfinite(m).all() and (m[1, 0] or m[2, 0] or m[2, 1] or not np.isclose(m[2, 2], 1)):
            turned = " (it looks column-major: transpose it)" if m[2, 0] and not m[0, 2] else ""
            raise CameraError(
                "the intrinsic matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], row by row; got "
                f"{np.round(m, 3).tolist()}{turned}"
            )
        return cls(int(width), int(height), float(m[0, 0]), float(m[1, 1]), float(m[0, 2]), float(m[1, 2]))

    @classmethod
    def from_fractions(cls, k: NDArray[Any], width: int, height: int) -> Camera:
        """Reads a 3x3 matrix that maps to 0..1 from edge to edge of the image, as `fractions` returns it.

        Raises:
            CameraError: as `from_matrix`.
        """
        pixels = np.asarray(k, dtype=np.float64) * np.array([[width], [height], [1.0]])
        pixels[:2, 2] -= 0.5  # from the image's corner to pixel centres at integers
        return cls.from_matrix(pixels, width, height)

    @classmethod
    def from_fov(cls, horizontal_degrees: float, width: int, height: int) -> Camera:
        """A camera with square pixels and a central principal point that sees `horizontal_degrees` from edge to edge.

        Raises:
            CameraError: if the angle is not from 1 to 179 degrees.
        """
        if not 1.0 <= horizontal_degrees <= 179.0:
            raise CameraError(f"horizontal field of view must be 1 to 179 degrees; got {horizontal_degrees}")
        f = width / 2 / math.tan(math.radians(horizontal_degrees) / 2)
        return cls(width, height, f, f, (width - 1) / 2, (height - 1) / 2)

    def to_yaml(self, path: str | Path) -> None:
        """Writes the ROS camera-info YAML form (`camera_calibration_parsers`), which `read_camera` reads."""
        k = [float(v) for v in self.matrix.reshape(-1)]
        p = [k[0], k[1], k[2], 0.0, k[3], k[4], k[5], 0.0, k[6], k[7], k[8], 0.0]
        data = {
            "image_width": self.width,
            "image_height": self.height,
            "camera_name": "camera",
            "camera_matrix": {"rows": 3, "cols": 3, "data": k},
            "distortion_model": "plumb_bob",
            "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.0] * 5},
            "rectification_matrix": {"rows": 3, "cols": 3, "data": [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0]},
            "projection_matrix": {"rows": 3, "cols": 4, "data": p},
        }
        write_text(Path(path), yaml.safe_dump(data, sort_keys=False, default_flow_style=None))

    @property
    def fields_of_view(self) -> tuple[float, float]:
        """Horizontal and vertical, in degrees."""
        across, down = (
            math.degrees(math.atan((c + 0.5) / f) + math.atan((size - 0.5 - c) / f))
            for c, f, size in ((self.cx, self.fx, self.width), (self.cy, self.fy, self.height))
        )
        return across, down

    def checked(self) -> Camera:
        """The same camera, if its numbers are possible for a pinhole image in pixels.

        Raises:
            CameraError: if no pinhole camera has them, for example fractions of the image or millimetres.
        """
        across, down = self.fields_of_view
        cornered = min(self.cx / self.width, self.cy / self.height) < 0.1
        if max(across, down) > (_WIDEST[1] if cornered else _WIDEST[0]):
            raise CameraError(
                f"fx={self.fx:g} fy={self.fy:g} cx={self.cx:g} cy={self.cy:g} for an image of {self.width}x"
                f"{self.height} is a field of view of {across:.0f} x {down:.0f} degrees: the intrinsics must be in "
                "pixels; are they in fractions of the image, or in millimetres?"
            )
        return self

    @property
    def doubts(self) -> tuple[str, ...]:
        """Warnings about unusual intrinsics; empty for an ordinary camera."""
        found = []
        if not (0 <= self.cx < self.width and 0 <= self.cy < self.height):
            found.append(
                f"the principal point ({self.cx:.0f}, {self.cy:.0f}) is outside the image of {self.width}x"
                f"{self.height}: are these the intrinsics of this image size?"
            )
        angles = self.fields_of_view
        if not (_USUAL[0] <= min(angles) and max(angles) <= _USUAL[1]):
            found.append(
                f"the intrinsics give a field of view of {angles[0]:.1f} x {angles[1]:.1f} degrees: check that they "
                "are in pixels of this image size"
            )
        return tuple(found)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 intrinsic matrix K in pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def fractions(self) -> NDArray[np.float64]:
        """K that maps to 0..1 from edge to edge of the image, as the reference writes intrinsics."""
        m = self.matrix
        m[:2, 2] += 0.5  # from pixel centres at integers to the image's corner
        return m / np.array([[self.width], [self.height], [1.0]])

    def resized(self, width: int, height: int) -> Camera:
        """The same camera for an image scaled to `width` x `height` (pixel centres at integers)."""
        sx, sy = width / self.width, height / self.height
        return Camera(width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The same camera for a window of its image."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def of_window(self, left: int, top: int, width: int, height: int, across: int = 1, down: int = 1) -> Camera:
        """The same camera as published with a region of interest and binning (REP 104: K is for the full sensor).

        Args:
            left, top, width, height: the region in pixels of the full sensor; a size of 0 is all of it.
            across, down: sensor pixels in one pixel of the image; 0 counts as 1.

        Raises:
            CameraError: if the region exceeds the image.
        """
        camera = self
        if width and height:
            if left + width > self.width or top + height > self.height:
                raise CameraError(
                    f"the region of interest {width}x{height} at ({left}, {top}) exceeds the image of {self.width}x"
                    f"{self.height}: width and height must be those of the full sensor, and K must be for the full "
                    "sensor (if K is for the window, leave the region at zero)"
                )
            camera = self.cropped(left, top, width, height)
        across, down = max(across, 1), max(down, 1)
        if (across, down) == (1, 1):
            return camera
        return camera.resized(max(camera.width // across, 1), max(camera.height // down, 1))

    def rays(self) -> NDArray[np.float32]:
        """Direction of each pixel at z = 1: [H, W, 2] of (X/Z, Y/Z) in the optical frame."""
        return np.stack(np.meshgrid(*self._slopes()), axis=-1).astype(np.float32)

    def project(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Pixel coordinates [..., 2] of optical-frame points [..., 3]; NaN for points with z <= 0."""
        p = np.asarray(points, dtype=np.float64)
        z = np.where(p[..., 2] > 0, p[..., 2], np.nan)
        return np.stack([p[..., 0] / z * self.fx + self.cx, p[..., 1] / z * self.fy + self.cy], axis=-1)

    def back_project(self, depth: NDArray[Any], stride: int = 1) -> NDArray[np.float32]:
        """Optical-frame points [H, W, 3] of a depth image [H, W] in metres along z; NaN stays NaN.

        They are stored axis by axis in memory, which makes later operations fast.

        Args:
            stride: step between pixels along rows and columns; 2 returns a quarter of the points.
        """
        if depth.shape != (self.height, self.width):
            raise CameraError(
                f"depth is {depth.shape[1]}x{depth.shape[0]} but the camera {self.width}x{self.height}: they must match"
            )
        z = depth[::stride, ::stride].astype(np.float32)
        x, y = (ray[::stride].astype(np.float32) for ray in self._slopes())
        planes = np.empty((3, *z.shape), dtype=np.float32)
        np.multiply(x, z, out=planes[0])
        np.multiply(y[:, None], z, out=planes[1])
        planes[2] = z
        return np.moveaxis(planes, 0, -1)

    def _slopes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """X/Z of each column [W], and Y/Z of each row [H]."""
        columns, rows = np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64)
        return (columns - self.cx) / self.fx, (rows - self.cy) / self.fy


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
        model, lengths = model.lower(), _LENGTHS.get(model.lower())
        if lengths is None or policy == "refuse":
            raise CameraError(
                f"the camera has the distortion model {model!r} with non-zero coefficients: "
                + ("distortion is 'refuse'; " if policy == "refuse" else "")
                + f"{', '.join(_LENGTHS)} can be rectified here (distortion 'rectify'); rectify "
                "others with image_proc and use the rectified images with distortion 'rectified'"
            )
        if len(values) > lengths[-1] and not any(values[lengths[-1] :]):
            values = values[: lengths[-1]]  # RealSense writes five of every model
        if len(values) not in lengths or not np.isfinite(values).all():
            wanted = " or ".join(filter(None, (", ".join(map(str, lengths[:-1])), str(lengths[-1]))))
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
