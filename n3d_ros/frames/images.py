"""Writes image and camera info messages, which `n3d_core.messages` reads for topics and bags; and converts stamps.

A stamp is nanoseconds since 1970 everywhere outside of messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from n3d_core.geometry.camera import Camera

_SECOND = 1_000_000_000


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


def is_sound(stamp: Time) -> bool:
    """Whether rclpy and tf2 accept the stamp: not before 1970, and nanosec below 1e9."""
    return stamp.sec >= 0 and stamp.nanosec < _SECOND


def stamp_of(nanoseconds: int) -> Time:
    """A stamp of nanoseconds; see `n3d_core.messages.assembly.nanoseconds_of`."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return Time(sec=seconds, nanosec=rest)
