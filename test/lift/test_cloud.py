"""Voxels, outliers and clusters against the textbook implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from training.lift.cloud import NOISE, dbscan, largest_clusters, separate, statistical_inliers, voxelise


@pytest.mark.parametrize("min_points", [1, 2, 4, 7])
def test_dbscan_gives_scikit_learns_labels(min_points: int) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(min_points)
    for trial in range(60):
        # a grid has equal distances and border points that several clusters reach
        points = rng.random((int(rng.integers(1, 150)), 3)) * rng.uniform(2, 9)
        if trial % 3 == 0:
            points = np.round(points)
        expected = cluster.DBSCAN(eps=1.0, min_samples=min_points).fit(points).labels_
        assert np.array_equal(dbscan(points, 1.0, min_points), expected)


def test_voxels_are_those_of_a_dictionary_of_cells() -> None:
    rng = np.random.default_rng(0)
    clouds = [rng.random((3, 400)), rng.random((3, 90)) * 5 + 7]
    edge = np.array([0.2, 0.9])
    voxels = voxelise(np.concatenate(clouds, axis=1), np.array([400, 90]), edge)
    start = 0
    for k, cloud in enumerate(clouds):
        low = cloud.min(1)
        cells: dict[tuple[int, ...], list[int]] = {}
        for i, point in enumerate(cloud.T):
            cells.setdefault(tuple(np.floor((point - low) / edge[k] + 0.5).astype(int)), []).append(i + start)
        mine = np.flatnonzero(voxels.owner == k)
        assert len(mine) == len(cells)
        every = np.zeros(len(voxels.counts), bool)
        for cell, (key, rows) in zip(mine, sorted(cells.items()), strict=True):
            every[:] = False
            every[cell] = True
            assert sorted(voxels.point_values(every)) == rows, key
            mean = (np.concatenate(clouds, axis=1)[:, rows].mean(1) - low) / edge[k] + 0.5
            np.testing.assert_allclose(voxels.centroids[cell], mean, atol=1e-9)
        start += cloud.shape[1]


def test_statistical_inliers_are_open3ds_for_each_object() -> None:
    from bench.open3d_baseline import load_open3d

    o3d = load_open3d()
    if o3d is None:
        pytest.skip("open3d is not installed or cannot be loaded here")
    rng = np.random.default_rng(3)
    clouds = [np.vstack([rng.normal(size=(200, 3)), rng.normal(size=(6, 3)) * 9]) for _ in range(3)]
    owner = np.repeat(np.arange(3), 206)
    apart = np.concatenate([c + np.array([400.0 * k, 0, 0]) for k, c in enumerate(clouds)])
    ours = statistical_inliers(cKDTree(apart), owner, 12, 2.0, 100.0)
    for k, cloud in enumerate(clouds):
        _, kept = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud)).remove_statistical_outlier(12, 2.0)
        assert np.array_equal(np.flatnonzero(ours[owner == k]), np.sort(np.asarray(kept)))


def test_objects_laid_apart_do_not_see_each_other() -> None:
    rng = np.random.default_rng(1)
    points = rng.random((3, 300)) * 3
    voxels = voxelise(points, np.array([100, 200]), np.array([0.25, 0.25]))
    apart = separate(voxels, gap=60.0)
    first, second = apart[voxels.owner == 0], apart[voxels.owner == 1]
    assert second[:, 0].min() - first[:, 0].max() > 60.0


def test_the_heaviest_cluster_of_each_object_is_kept() -> None:
    labels = np.array([0, 0, 1, NOISE, 2, 3, 3])
    owner = np.array([0, 0, 0, 0, 1, 1, 1])
    weights = np.array([1, 1, 5, 9, 2, 1, 1])
    kept = largest_clusters(labels, owner, weights, np.zeros(7))
    assert kept.tolist() == [False, False, True, False, True, False, False]


def test_a_fragment_is_kept_at_the_objects_depth_and_not_behind_it() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    z = np.array([1.0, 1.2, 1.4, 1.3, 3.0])
    kept = largest_clusters(labels, np.zeros(5, int), np.array([3, 3, 3, 2, 2]), z, fragment=0.1, reach=0.2)
    assert kept.tolist() == [True, True, True, True, False]


def test_one_point_and_no_cluster_are_no_error() -> None:
    assert dbscan(np.zeros((1, 3)), 1.0, 2).tolist() == [NOISE]
    assert not largest_clusters(np.array([NOISE]), np.zeros(1, int), np.ones(1), np.zeros(1)).any()
