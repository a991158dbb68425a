"""Cleans the points of all objects of an image: voxels, statistical outliers, the largest cluster (`cloud.py`).

Voxels are selected but their *points* are returned, so that coarse voxels cost no precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from n3d_core.errors import ConfigError
from training.entry.yaml_file import Strict
from training.lift.cloud import dbscan, largest_clusters, separate, statistical_inliers, voxelise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CleanConfig(Strict):
    """Settings of cleaning. A voxel is the object's apparent size over `voxels_across`, at least as large as the noise.

    Attributes:
        erode_pixels: width of the mask's rim that is searched for floating pixels.
        edge_jump: depth difference of a floating pixel to both neighbours, as a share of the object's size.
        voxels_across: voxels along the diagonal of the visible object.
        noise: depth noise at 1 m in metres; grows with the square of the distance.
        smooth_from: noise, as a share of the size, above which depth is averaged over 3x3 pixels of the object.
        outlier_neighbours, outlier_ratio: settings of the statistical outlier removal.
        outlier_fill: voxels with more than this share of the mean number of points are never outliers (thin parts).
        cluster_radius: radius of DBSCAN, in voxels.
        cluster_points: minimum number of neighbours of a core point, including itself.
        fragment_share: other clusters are kept if they hold this share of the points, at the largest one's depth; 1
            keeps only the largest.
    """

    erode_pixels: int = 2
    edge_jump: float = 0.10
    voxels_across: int = 16
    noise: float = 0.002
    smooth_from: float = 0.003
    outlier_neighbours: int = 12
    outlier_ratio: float = 3.0
    outlier_fill: float = 0.1
    cluster_radius: float = 2.0
    cluster_points: int = 4
    fragment_share: float = 0.05

    def __post_init__(self) -> None:
        if min(self.voxels_across, self.outlier_neighbours, self.cluster_points) < 1 or self.erode_pixels < 0:
            raise ConfigError(
                "clean: voxels_across, outlier_neighbours and cluster_points must be at least 1, and erode_pixels at "
                f"least 0; got {self}"
            )


def clean_clouds(clouds: list[Floats], edge: Floats, config: CleanConfig) -> list[Floats]:
    """The cleaned points [3, m] of each object, in their order.

    Args:
        clouds: points [3, n] of each object in metres, n at least 1.
        edge: voxel edge of each object in metres.
        config: settings.
    """
    sizes = np.array([c.shape[1] for c in clouds])
    points = np.concatenate(clouds, axis=1)
    voxels = voxelise(points, sizes, edge)
    reach = config.voxels_across * 4.0  # no object has that many voxels
    apart = separate(voxels, gap=reach)
    tree = cKDTree(apart, balanced_tree=False)
    inlier = statistical_inliers(tree, voxels.owner, config.outlier_neighbours, config.outlier_ratio, reach)
    filled = np.bincount(voxels.owner, voxels.counts) / np.bincount(voxels.owner)
    inlier |= voxels.counts > config.outlier_fill * filled[voxels.owner]
    labels = dbscan(apart[inlier], config.cluster_radius, config.cluster_points)
    best = largest_clusters(
        labels,
        voxels.owner[inlier],
        voxels.counts[inlier],
        voxels.centroids[inlier, 2],
        config.fragment_share,
        config.cluster_radius,
    )
    keep = np.zeros(len(inlier), bool)
    keep[np.flatnonzero(inlier)[best]] = True
    chosen = np.sort(voxels.point_values(keep))  # in pixel order, whatever else is in the image
    left = np.bincount(voxels.owner[keep], voxels.counts[keep], minlength=len(sizes)).astype(np.int64)
    return np.split(points[:, chosen], np.cumsum(left)[:-1], axis=1)
