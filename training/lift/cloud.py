"""Cleans the point clouds of all objects of an image at once: voxels, statistical outliers, DBSCAN.

Each object is measured in its own voxels, so that one radius fits a mug and a house, and objects are placed in a row,
too far apart for a neighbourhood to span two. One k-d tree then serves the whole image. Tests compare the three steps
with Open3D and scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOISE = -1


@dataclass(frozen=True)
class Voxels:
    """Occupied voxels of several objects.

    Attributes:
        centroids: mean of the points of each voxel, in voxel units from the object's lowest corner [M, 3].
        owner: index of the object of each voxel [M], ascending.
        counts: number of points in each voxel [M].
        order: permutation [N] that sorts the points by voxel.
    """

    centroids: Floats
    owner: Ints
    counts: Ints
    order: Ints

    def point_values(self, of_voxel: NDArray[np.bool_]) -> Ints:
        """Indices of the points in the chosen voxels (mask [M]), in the order of the voxels."""
        return self.order[np.repeat(of_voxel, self.counts)]


def voxelise(points: Floats, sizes: Ints, edge: Floats) -> Voxels:
    """Groups points by cubic voxels, as Open3D's `voxel_down_sample` does (origin half a voxel below each object).

    Args:
        points: rows x, y, z [3, N] in metres, grouped by object.
        sizes: number of points of each object [K], at least 1, summing to N.
        edge: voxel edge of each object in metres [K].
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    low = np.minimum.reduceat(points, starts, axis=1)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    local = (points - np.repeat(low, sizes, axis=1)) / np.repeat(edge, sizes) + 0.5
    cell = local.astype(np.int64)
    span = cell.max(1) + 1
    key = ((owner * span[0] + cell[0]) * span[1] + cell[1]) * span[2] + cell[2]
    order = np.argsort(key)
    ordered = key[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(first, len(key)))
    centroids = np.add.reduceat(local[:, order], first, axis=1) / counts
    return Voxels(np.ascontiguousarray(centroids.T), owner[order[first]], counts, order)


def separate(voxels: Voxels, gap: float) -> Floats:
    """Voxel centroids [M, 3] with objects moved apart along x by more than `gap` voxels."""
    pitch = float(voxels.centroids[:, 0].max()) + gap + 1.0
    apart = voxels.centroids.copy()
    apart[:, 0] += voxels.owner * pitch
    return apart


def statistical_inliers(tree: cKDTree, owner: Ints, neighbours: int, ratio: float, reach: float) -> NDArray[np.bool_]:
    """Keeps points whose mean distance to their nearest neighbours is at most mean + ratio * deviation of the object's.

    As Open3D's `remove_statistical_outlier`: the point itself counts as its first neighbour, the deviation is the
    sample's, taken per object.

    Args:
        tree: over the separated points [M, 3].
        owner: object of each point [M], ascending from 0 without gaps.
        neighbours: number of neighbours, including the point itself.
        ratio: number of standard deviations tolerated.
        reach: maximum distance of a neighbour, so that other objects' points do not count.
    """
    k = min(neighbours, len(owner))
    distance = np.asarray(tree.query(tree.data, k=k, distance_upper_bound=reach)[0]).reshape(len(owner), k)
    found = np.isfinite(distance)
    mean = np.where(found, distance, 0.0).sum(1) / found.sum(1)
    total = np.bincount(owner)
    center = np.bincount(owner, mean) / total
    variance = np.bincount(owner, (mean - center[owner]) ** 2) / np.maximum(total - 1, 1)
    return np.asarray(mean <= (center + ratio * np.sqrt(variance))[owner] + 1e-12)


def dbscan(points: Floats, eps: float, min_points: int) -> Ints:
    """Labels [M] of density clusters, -1 for noise: the same labels as scikit-learn's `DBSCAN(eps, min_samples)`.

    Neighbour pairs come from a k-d tree, clusters are the connected components of core points, and a border point joins
    the cluster with the lowest label that reaches it.
    """
    n = len(points)
    pairs = cKDTree(points, balanced_tree=False).query_pairs(eps, output_type="ndarray")
    core = np.bincount(pairs.ravel(), minlength=n) + 1 >= min_points
    core_ends = core[pairs]
    inner = pairs[core_ends.all(1)]
    graph = coo_matrix((np.ones(len(inner), np.int8), (inner[:, 0], inner[:, 1])), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    labels = np.full(n, NOISE, np.int64)
    found, first = np.unique(component[core], return_index=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    labels[core] = rank[np.searchsorted(found, component[core])]
    edge = pairs[core_ends.sum(1) == 1]
    edge_core = np.where(core[edge[:, 0]], edge[:, 0], edge[:, 1])
    border = edge.sum(1) - edge_core
    claim = np.full(n, n, np.int64)
    np.minimum.at(claim, border, labels[edge_core])
    return np.where(claim < n, claim, labels)


def largest_clusters(
    labels: Ints, owner: Ints, weights: Ints, z: Floats, fragment: float = 1.0, reach: float = 0.0
) -> NDArray[np.bool_]:
    """Mask [M] of the points in each object's heaviest cluster (the lowest label in a tie).

    If the sensor misses a thin part, an object is in pieces (a lamp's shade and foot). With `fragment` below 1, other
    clusters are kept too if they hold at least that share of the object's weight and their depth overlaps the heaviest
    one's within `reach`, which background that leaks into the mask does not.

    Args:
        labels, owner, weights, z: cluster, object, weight and depth of each point [M].
        fragment, reach: see above; `reach` in the unit of `z`.
    """
    valid = labels != NOISE
    if not valid.any():
        return valid
    own, at = labels[valid], z[valid]
    weight = np.bincount(own, weights[valid])
    home = np.zeros(len(weight), np.int64)
    home[own] = owner[valid]
    near, far = np.full(len(weight), np.inf), np.full(len(weight), -np.inf)
    np.minimum.at(near, own, at)
    np.maximum.at(far, own, at)
    rising = np.lexsort((-np.arange(len(weight)), weight))
    best = np.zeros(int(home.max()) + 1, np.int64)
    best[home[rising]] = rising
    main = best[home]
    kept = main == np.arange(len(weight))
    if fragment < 1.0:
        total = np.bincount(home, weight)[home]
        kept |= (weight >= fragment * total) & (near <= far[main] + reach) & (far >= near[main] - reach)
    out = np.zeros(len(labels), bool)
    out[valid] = kept[own]
    return out
