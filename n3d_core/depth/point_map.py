"""The reference's point maps (`.npz` with `pcd` and `intr`), as its demo images come with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.files import UNREADABLE
from n3d_core.errors import DepthError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import MAX_PIXELS


def is_point_map(path: Path) -> bool:
    """Whether a file is a NumPy archive with the reference's two arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return path.suffix.lower() == ".npz" and {"pcd.npy", "intr.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_point_map(path: Path) -> tuple[NDArray[np.float32], Camera]:
    """Depth [H, W] in metres (NaN where the mask is off) and its camera, of a point map.

    `pcd` is [H, W, 4]: x left, y up, z forward in metres, and a mask; `intr` is the intrinsic matrix in fractions of
    the image's width and height.

    Raises:
        DepthError: if the arrays have other shapes.
        CameraError: if the intrinsics are not usable.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            cloud, intrinsics = np.asarray(arrays["pcd"]), np.asarray(arrays["intr"], dtype=np.float64)
    except UNREADABLE as error:
        raise DepthError(f"{path}: cannot be read as a point map: {error}") from error
    if cloud.ndim != 3 or cloud.shape[2] != 4 or intrinsics.shape != (3, 3) or cloud.size > 4 * MAX_PIXELS:
        shapes = f"pcd {list(cloud.shape)} and intr {list(intrinsics.shape)}"
        raise DepthError(f"{path}: {shapes}; [H, W, 4] and [3, 3] are wanted")
    height, width = cloud.shape[:2]
    z = cloud[..., 2].astype(np.float32)
    valid = (cloud[..., 3] > 0.5) & np.isfinite(z) & (z > 0)
    return np.where(valid, z, np.float32(np.nan)), Camera.from_fractions(intrinsics, width, height)
