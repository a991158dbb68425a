"""The model's frame (x left, y up, z forward) and the normalisation of its point cloud."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError

_SUM_CHUNK = 8192


@dataclass(frozen=True)
class Normalisation:
    """A cloud's normalisation, `p_n = (p - shift) * scale` in the model's frame.

    Attributes:
        shift: smallest coordinate of the valid points along each axis, metres.
        scale: one over the mean distance of the shifted valid points from the origin, 1/metres.
    """

    shift: tuple[float, float, float]
    scale: float

    @property
    def min_z(self) -> float:
        """Metres from the camera to the nearest valid point."""
        return self.shift[2]


def to_model_frame(points: NDArray[np.float32], own: bool = False) -> NDArray[np.float32]:
    """Optical-frame points (x right, y down) [..., 3] -> the model's frame (x left, y up), and back.

    Args:
        own: whether the points may be overwritten.
    """
    return np.multiply(points, np.array([-1, -1, 1], dtype=np.float32), out=points if own else None)


def normalise(
    points: NDArray[np.float32], valid: NDArray[np.bool_], own: bool = False
) -> tuple[NDArray[np.float32], Normalisation]:
    """Normalises model-frame points [H, W, 3]; only valid pixels [H, W] count.

    Args:
        own: whether the points may be overwritten, which saves the time to allocate others.

    Returns:
        The normalised points [H, W, 3] float32 (invalid ones included), and the normalisation.

    Raises:
        DepthError: if no point is valid, or all valid points coincide.
    """
    if not valid.any():
        raise DepthError("no valid point to normalise: the depth image holds no measurement")
    planes = np.moveaxis(points, -1, 0)
    counted = valid.view(np.uint8)
    x, y, z = (cv2.minMaxLoc(plane, counted)[0] for plane in planes)
    with np.errstate(invalid="ignore", over="ignore"):  # invalid pixels may be NaN or infinite
        centred = np.subtract(planes, np.array([x, y, z], dtype=np.float32)[:, None, None], out=planes if own else None)
        distances, square = centred[0] * centred[0], centred[1] * centred[1]
        distances += square
        distances += np.multiply(centred[2], centred[2], out=square)
        mean = _mean(np.sqrt(distances, out=distances)[valid])
        if not mean > 0:
            raise DepthError("all valid points coincide: check the sensor and the depth unit")
        scale = 1.0 / mean
        centred *= np.float32(scale)
    return np.moveaxis(centred, 0, -1), Normalisation((x, y, z), scale)


def _mean(values: NDArray[np.float32]) -> float:
    """Mean of fp32 values summed as in numpy 1.26: the released boxes' last digits depend on it."""
    total = np.float32(0)
    for start in range(0, len(values), _SUM_CHUNK):
        total = np.float32(total + np.add.reduce(values[start : start + _SUM_CHUNK]))
    return float(np.float32(float(total) / len(values)))
