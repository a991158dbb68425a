"""Depth of one camera seen from another."""

import cv2
import numpy as np
import pytest

from n3d_core.errors import DepthError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import register_depth

COLOR = Camera.from_fov(60, 64, 48)


def test_the_same_camera_gives_the_same_depth():
    depth = np.random.default_rng(0).uniform(0.5, 3, (48, 64)).astype(np.float32)
    depth[3, 5] = np.nan
    np.testing.assert_array_equal(register_depth(depth, COLOR, COLOR), depth)
    np.testing.assert_allclose(register_depth(depth, COLOR, COLOR, np.eye(3), np.zeros(3)), depth, rtol=1e-6)


def test_another_resolution_in_the_same_frame_is_looked_up_with_no_hole_and_no_mean():
    small = COLOR.resized(32, 24)
    depth = np.where(np.arange(32) < 16, 1.0, 2.0).astype(np.float32) * np.ones((24, 1), np.float32)
    out = register_depth(depth, small, COLOR)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out, np.repeat(np.repeat(depth, 2, 0), 2, 1))


def test_a_narrower_depth_camera_leaves_the_border_unmeasured():
    out = register_depth(np.ones((48, 64), np.float32), Camera.from_fov(40, 64, 48), COLOR)
    assert np.isnan(out[:, 0]).all()
    assert out[24, 32] == 1.0


@pytest.mark.parametrize("size", [(64, 48), (32, 24)])
def test_a_shifted_camera_sees_a_wall_where_geometry_says(size):
    camera = COLOR.resized(*size)
    depth = np.full((size[1], size[0]), 2.0, np.float32)
    depth[: size[1] // 2] = 1.0  # the upper half is nearer
    baseline = np.array([0.05, 0.0, 0.1])
    out = register_depth(depth, camera, COLOR, np.eye(3), baseline)
    inner = out[2:-2, 12:-12]
    np.testing.assert_allclose(inner[:18], 1.1, rtol=1e-5)
    np.testing.assert_allclose(inner[-18:], 2.1, rtol=1e-5)
    assert np.isfinite(inner[-18:]).all(), "a smaller depth image must not leave holes"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turned_camera_sees_each_point_where_the_transform_puts_it(axis):
    turn, _ = cv2.Rodrigues(np.radians(8.0) * np.eye(3)[axis])
    shift = np.array([0.03, -0.02, 0.05])
    rows, columns = np.mgrid[:48, :64]
    depth = (1.5 + 0.004 * columns + 0.006 * rows).astype(np.float32)  # no two surfaces behind one another
    out = register_depth(depth, COLOR, COLOR, turn, shift)
    points = COLOR.back_project(depth)[12:-12, 12:-12].reshape(-1, 3) @ turn.T + shift
    u, v = np.rint(COLOR.project(points)).astype(int).T
    np.testing.assert_allclose(out[v, u], points[:, 2], atol=0.02)
    assert np.abs(out[v, u] - depth[12:-12, 12:-12].reshape(-1)).max() > 0.04  # which it is not without the transform


def test_of_two_surfaces_in_one_pixel_the_nearer_is_seen():
    depth = np.full((48, 64), 3.0, np.float32)
    depth[20:28, 28:36] = 1.0
    out = register_depth(depth, COLOR, COLOR, np.eye(3), np.array([0.1, 0.0, 0.0]))
    moved = round(COLOR.fx * 0.1)  # pixels at 1 m
    np.testing.assert_allclose(out[21:27, 29 + moved : 35 + moved], 1.0)
    assert set(np.unique(out[np.isfinite(out)])) == {1.0, 3.0}


def test_a_camera_of_another_size_is_an_error_that_names_both():
    with pytest.raises(DepthError, match="32x24 but its camera info is for 64x48"):
        register_depth(np.ones((24, 32), np.float32), COLOR, COLOR)
