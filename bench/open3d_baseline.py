"""The cleaning of `lifting.py` written with Open3D alone, as a baseline.

One back-projection of the whole image, then for each object: select the mask's points, voxels with their trace,
statistical outliers, DBSCAN, the largest cluster, the extent of its pixels. Edge check, smoothing, fragments, rules and
completion are left out: Open3D has none of them, so the baseline does less.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D, Camera
from training.lift.boxes import box_between
from training.lift.cleaning import CleanConfig
from training.lift.lifting import Candidate


@functools.lru_cache(maxsize=1)
def load_open3d() -> Any | None:
    """The module `open3d`; None if it is not installed or cannot be loaded.

    Its wheel needs libusb, which small images lack; the PyPI package `libusb-package` brings it along.
    """
    try:
        try:
            import libusb_package

            ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        except (ImportError, OSError, AttributeError):
            pass  # the system may have one
        import open3d

        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        return open3d
    except (ImportError, OSError):
        return None


def lift_with_open3d(
    candidates: list[Candidate], depth: NDArray[np.float32], camera: Camera, clean: CleanConfig
) -> list[Box3D | None]:
    """The visible box of each candidate with a mask; None if no points are left."""
    o3d = load_open3d()
    assert o3d is not None, "call load_open3d first"
    pinhole = o3d.camera.PinholeCameraIntrinsic(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    image = o3d.geometry.Image(np.nan_to_num(depth))
    cloud = o3d.geometry.PointCloud.create_from_depth_image(
        image, pinhole, depth_scale=1.0, depth_trunc=1000.0, project_valid_depth_only=False
    )
    return [_one(c, cloud, depth, camera, clean) for c in candidates]


def _one(
    candidate: Candidate, cloud: Any, depth: NDArray[np.float32], camera: Camera, clean: CleanConfig
) -> Box3D | None:
    mask = candidate.mask
    if mask is None:
        return None
    use = mask.to_image(camera.height, camera.width) & (depth > 0)
    if np.count_nonzero(use) < 60:
        return None
    own = cloud.select_by_index(np.flatnonzero(use))
    middle = float(np.median(depth[use]))
    edge = max(float(np.hypot(*mask.pixels.shape)) * middle / camera.fx / clean.voxels_across, clean.noise * middle**2)
    low, high = own.get_min_bound() - edge / 2, own.get_max_bound() + edge / 2
    voxels, _, trace = own.voxel_down_sample_and_trace(edge, low, high)
    voxels, inlier = voxels.remove_statistical_outlier(clean.outlier_neighbours, clean.outlier_ratio)
    labels = np.asarray(voxels.cluster_dbscan(clean.cluster_radius * edge, clean.cluster_points))
    if not len(labels) or labels.max() < 0:
        return None
    rows = np.flatnonzero(labels == np.argmax(np.bincount(labels[labels >= 0])))
    pixels = own.select_by_index(np.concatenate([np.asarray(trace[inlier[r]]) for r in rows]))
    box = pixels.get_axis_aligned_bounding_box()
    return box_between(candidate.label, np.asarray(box.min_bound), np.asarray(box.max_bound))
