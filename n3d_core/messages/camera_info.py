"""Converts CameraInfo to a lens."""

from __future__ import annotations

from typing import Any

import numpy as np

from n3d_core.errors import CameraError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.lens import Lens


def read_camera_info(info: Any, policy: str = "rectify", rectified: bool = False) -> Lens:
    """The lens that a CameraInfo describes, at the size of the published image.

    Args:
        info: the message (ROS 1 writes K, D and P in capitals); binning and region of interest are applied to K.
        policy: what to do about distortion: `rectify` the images, treat them as already `rectified` (P is then their
            matrix), or `refuse` them.
        rectified: whether the image topic is rectified (`image_rect`), which overrides the policy.

    Raises:
        CameraError: if the matrix is missing, zero or not finite, the message contradicts itself, or the distortion is
            refused or unknown.
    """
    k, p, d = (getattr(info, name, getattr(info, name.upper(), ())) for name in "kpd")
    policy = "rectified" if rectified else policy
    use_p = policy == "rectified" and any(p)
    if not use_p and not any(k):
        raise CameraError(
            "camera info has a zero K matrix: the camera is not calibrated; check the driver's camera_info"
            + (" (only P is set: if the images are rectified, set distortion:=rectified)" if any(p) else "")
        )
    matrix = np.asarray(p).reshape(3, 4)[:, :3] if use_p else k
    try:
        camera = _window(Camera.from_matrix(matrix, info.width, info.height).checked(), info)
    except CameraError as error:
        raise CameraError(f"camera info: {error}") from error
    return Lens.of(camera, info.distortion_model, d, policy)


def _window(camera: Camera, info: Any) -> Camera:
    """Applies binning and region of interest to K, which is for the full sensor (REP 104)."""
    roi = info.roi
    if roi.width and roi.height:
        if roi.x_offset + roi.width > camera.width or roi.y_offset + roi.height > camera.height:
            raise CameraError(
                f"the region of interest {roi.width}x{roi.height} at ({roi.x_offset}, {roi.y_offset}) exceeds "
                f"the image of {camera.width}x{camera.height}: width and height must be those of the full sensor, and "
                "K must be for the full sensor (if K is for the window, leave the region at zero)"
            )
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    if (across, down) == (1, 1):
        return camera
    return camera.resized(max(camera.width // across, 1), max(camera.height // down, 1))
