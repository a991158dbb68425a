"""Writes image and camera info messages; `n3d_core.messages` reads them, for topics and for bags."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from n3d_core.geometry.camera import Camera


def image_message(pixels: NDArray[Any], encoding: str, stamp: Time, frame_id: str) -> Image:
    """An Image message of an array [H, W] or [H, W, C] in `encoding`; rows are not padded."""
    rows = np.ascontiguousarray(pixels)
    message = Image()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.height, message.width = rows.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(rows.dtype.byteorder == ">")
    message.step = rows.strides[0]
    message.data.frombytes(memoryview(rows).cast("B"))
    return message


def camera_info_message(camera: Camera) -> CameraInfo:
    """The CameraInfo of a pinhole camera (plumb_bob with zero coefficients)."""
    k = camera.matrix
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = k.reshape(-1)
    info.r = np.eye(3).reshape(-1)
    info.p = np.hstack([k, np.zeros((3, 1))]).reshape(-1)
    return info
