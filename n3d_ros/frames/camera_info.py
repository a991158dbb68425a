"""CameraInfo messages: read (by `n3d_core.messages`, which bags share) and written."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.lens import DISTORTION_POLICIES, Lens
from n3d_core.messages.camera_info import read_camera_info

__all__ = ["DISTORTION_POLICIES", "Lens", "camera_info_message", "read_camera_info"]


def camera_info_message(camera: Camera) -> CameraInfo:
    """The CameraInfo of a pinhole camera (plumb_bob with zero coefficients)."""
    k = camera.matrix
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = k.reshape(-1)
    info.r = np.eye(3).reshape(-1)
    info.p = np.hstack([k, np.zeros((3, 1))]).reshape(-1)
    return info
