"""Boxes that are turned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n3d_core.geometry.boxes import Box3D, OrientedBox, quaternion_of, rotation_of

BOX = Box3D("mug", (0.1, -0.2, 1.0), (0.1, 0.2, 0.3), 0.8, covariance=(1.0, 0, 0, 0, 4.0, 0, 0, 0, 9.0))
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z


def test_an_axis_aligned_box_keeps_its_corners():
    np.testing.assert_array_equal(OrientedBox.of(BOX).corners(), BOX.corners())


def test_a_transform_moves_the_corners_and_keeps_the_size():
    shift = np.array([1.0, 2.0, 3.0])
    turned = OrientedBox.of(BOX).transformed(QUARTER, shift)
    assert turned.size == BOX.size
    np.testing.assert_allclose(turned.corners(), BOX.corners() @ QUARTER.T + shift, atol=1e-12)
    np.testing.assert_allclose(turned.quaternion, (0, 0, np.sqrt(0.5), np.sqrt(0.5)), atol=1e-12)
    np.testing.assert_allclose(np.reshape(turned.covariance, (3, 3)), np.diag([4.0, 1.0, 9.0]), atol=1e-12)


def test_contains_follows_the_rotation():
    box = OrientedBox("bar", (0, 0, 0), (2.0, 0.2, 0.2)).transformed(QUARTER, np.zeros(3))
    points = np.array([[0, 0.9, 0], [0.9, 0, 0], [0.12, 0, 0], [np.nan, 0, 0]])
    np.testing.assert_array_equal(box.contains(points), [True, False, False, False])
    np.testing.assert_array_equal(box.contains(points, margin=0.05), [True, False, True, False])


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_and_matrices_agree(q):
    unit = tuple(float(v) for v in np.asarray(q) / np.linalg.norm(q))
    matrix = rotation_of(unit)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    back = quaternion_of(matrix)
    assert back[3] >= 0
    assert abs(np.dot(unit, back)) == pytest.approx(1, abs=1e-9)
