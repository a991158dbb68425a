"""Gravity and upright boxes from synthetic points whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.upright_box import gravity_from_points, upright_box

SIZE = (0.30, 0.20, 0.12)  # along the box's own x, down, z


def tilted(pitch_degrees, roll_degrees=0.0):
    """Gravity in the optical frame of a camera that looks down by `pitch` and is rolled."""
    pitch, roll = np.radians([pitch_degrees, roll_degrees])
    return np.array([np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch), np.sin(pitch)])


def axes_of(gravity, yaw_degrees):
    right = np.cross(gravity, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    level = np.column_stack([right, gravity, np.cross(right, gravity)])
    c, s = np.cos(np.radians(yaw_degrees)), np.sin(np.radians(yaw_degrees))
    return level @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def scene(gravity, yaw_degrees, noise=0.0, center=(0.1, 0.05, 1.2)):
    """(true box's centre, axes, visible points): a box on a table, its three faces that look at the camera."""
    rng = np.random.default_rng(1)
    axes, center, half = axes_of(gravity, yaw_degrees), np.asarray(center), np.asarray(SIZE) / 2
    points = []
    for axis in range(3):
        face = rng.uniform(-1, 1, (1500, 3)) * half
        face[:, axis] = -np.sign(center @ axes[:, axis]) * half[axis]
        points.append(center + face @ axes.T)
    points[1] = center + (rng.uniform(-1, 1, (1500, 3)) * half * [1, 0, 1] - [0, half[1], 0]) @ axes.T  # the top
    table = rng.uniform(-0.6, 0.6, (6000, 3)) * [1, 0, 1]
    table = table[(np.abs(table[:, [0, 2]]) > half[[0, 2]]).any(axis=1)] + [0, half[1], 0]
    points.append(center + table @ axes.T)
    cloud = np.concatenate(points)
    return center, axes, cloud * (1 + rng.normal(0, noise, (len(cloud), 1)))


def model_box(center, axes):
    """The axis-aligned box that a perfect model would give."""
    extents = np.abs(axes) @ SIZE
    return OrientedBox("box", tuple(center), tuple(extents), 0.7)


@settings(deadline=None, max_examples=25)
@given(pitch=st.floats(0, 55), roll=st.floats(-20, 20))
def test_gravity_is_the_normal_of_the_table_before_a_larger_wall(pitch, roll):
    gravity = tilted(pitch, roll)
    rng = np.random.default_rng(2)
    level = axes_of(gravity, 20)
    table = np.array([0, 0.3, 1.2]) + (rng.uniform(-0.5, 0.5, (2000, 3)) * [1, 0, 1]) @ level.T
    wall = np.array([0, 0, 2.5]) + rng.uniform(-1, 1, (3000, 3)) @ np.diag([1, 1, 0.0])
    found = gravity_from_points(np.concatenate([table, wall, [[np.nan] * 3]]) + rng.normal(0, 0.002, (5001, 3)))
    assert np.degrees(np.arccos(min(found @ gravity, 1.0))) < 1.0


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((10, 3), np.nan), np.zeros((50, 3))])
def test_points_without_a_plane_give_no_gravity(points):
    assert gravity_from_points(points) is None


def test_a_wall_alone_is_no_floor():
    wall = np.random.default_rng(0).uniform(-1, 1, (500, 3)) * [1, 1, 0] + [0, 0, 2]
    assert gravity_from_points(wall) is None


@pytest.mark.parametrize("yaw", [-70, -20, 0, 15, 30, 62])
@pytest.mark.parametrize(("pitch", "roll"), [(15, 0), (35, 10), (50, -8)])
def test_yaw_size_and_centre_of_a_box_on_a_table_are_found(yaw, pitch, roll):
    gravity = tilted(pitch, roll)
    center, axes, cloud = scene(gravity, yaw, noise=0.001)
    box = upright_box(model_box(center, axes), cloud, gravity)
    cosines = np.abs(axes.T @ box.rotation)
    assert cosines[1, 1] > 1 - 1e-9, "the box's own y axis is gravity"
    assert cosines.max(axis=0).min() > np.cos(np.radians(3)), "its yaw, up to quarter turns"
    order = cosines.argmax(axis=0)
    np.testing.assert_allclose(box.size, np.asarray(SIZE)[order], atol=0.025)
    np.testing.assert_allclose(box.center, center, atol=0.02)
    assert (box.label, box.score) == ("box", 0.7)


def test_a_model_s_errors_in_place_and_size_are_made_smaller():
    gravity = tilted(30)
    center, axes, cloud = scene(gravity, 25, noise=0.001)
    true = model_box(center, axes)
    shift = np.array([0.02, -0.01, 0.03])
    wrong = OrientedBox("box", tuple(center + shift), tuple(np.asarray(true.size) * 1.15))
    box = upright_box(wrong, cloud, gravity)
    assert np.linalg.norm(np.subtract(box.center, center)) < np.linalg.norm(shift)
    assert np.prod(SIZE) < np.prod(box.size) < 0.5 * np.prod(wrong.size)


def test_where_too_little_is_measured_the_model_s_box_stays():
    box = OrientedBox("box", (0, 0, 1), (0.1, 0.1, 0.1))
    assert upright_box(box, np.zeros((0, 3)), tilted(20)) is box
    assert upright_box(box, np.full((500, 3), np.nan), tilted(20)) is box
    far = np.random.default_rng(0).uniform(2, 3, (500, 3))
    assert upright_box(box, far, tilted(20)) is box


def test_points_that_fill_a_corner_of_the_box_only_belong_to_something_else():
    box = OrientedBox("box", (0, 0, 2), (1.0, 1.0, 1.0))
    corner = np.random.default_rng(0).uniform(0, 0.1, (500, 3)) + np.array([0.4, 0.4, 1.5])
    assert upright_box(box, corner, tilted(0)).size[1] == 1.0


def test_a_camera_that_looks_straight_down_refines_too():
    gravity = np.array([0, 0, 1.0])
    rng = np.random.default_rng(0)
    top = np.array([0, 0, 1.0]) + rng.uniform(-0.5, 0.5, (800, 3)) * [0.2, 0.1, 0]
    table = np.array([0, 0, 1.1]) + rng.uniform(-0.5, 0.5, (800, 3)) * [0.25, 0.15, 0]
    box = upright_box(OrientedBox("box", (0, 0, 1.05), (0.2, 0.1, 0.1)), np.concatenate([top, table]), gravity)
    assert sorted(box.size) == pytest.approx([0.1, 0.1, 0.2], abs=0.01)
