"""The reference's point maps (`.npz` with `pcd` and `intr`), as its demo images come with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import MAX_PIXELS


def is_point_map(path: Path) -> bool:
    """Whether a file is a NumPy archive with the reference's two arrays."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"pcd.npy", "intr.npy"} <= set(archive.namelist())


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
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DepthError(f"{path}: cannot be read as a point map: {error}") from error
    if cloud.ndim != 3 or cloud.shape[2] != 4 or intrinsics.shape != (3, 3) or cloud.size > 4 * MAX_PIXELS:
        shapes = f"pcd {list(cloud.shape)} and intr {list(intrinsics.shape)}"
        raise DepthError(f"{path}: {shapes}; [H, W, 4] and [3, 3] are wanted")
    height, width = cloud.shape[:2]
    k = intrinsics * np.array([[width], [height], [1.0]])
    k[:2, 2] -= 0.5  # from fractions of the image's edges to pixel centres at integers
    z = cloud[..., 2].astype(np.float32)
    valid = (cloud[..., 3] > 0.5) & np.isfinite(z) & (z > 0)
    return np.where(valid, z, np.float32(np.nan)), Camera.from_matrix(k, width, height)
