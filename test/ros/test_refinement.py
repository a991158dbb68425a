"""The parameter `refine`: whose gravity is used, and what happens without any."""

import numpy as np
import pytest

from n3d_core.geometry.frame import Frame
from n3d_core.geometry.oriented_box import OrientedBox
from n3d_ros.query import Placement, Refinement

LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical frame of a level camera to base_link (z up)


def test_gravity_is_that_of_an_output_frame_with_z_up():
    np.testing.assert_allclose(Placement("base_link", LEVEL, np.zeros(3)).gravity, [0, 1, 0])
    assert Placement("rear_optical_frame", LEVEL, np.zeros(3)).gravity is None
    assert Placement("camera_color_optical_frame").gravity is None


def test_off_refines_nothing_and_a_wall_alone_leaves_the_box_as_it_is(frame):
    assert Refinement.of(frame, Placement("optical"), "off") is None
    refinement = Refinement.of(frame, Placement("optical"), "depth")
    box = OrientedBox("mug", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2))
    assert refinement.gravity is None
    assert refinement.refine(box) is box


def test_a_box_before_a_wall_becomes_upright_in_the_gravity_of_the_output_frame(frame):
    depth = frame.depth.copy()
    depth[20:34, 24:40] = 1.2  # something stands before the wall
    refinement = Refinement.of(
        Frame(frame.color, depth, frame.camera), Placement("base_link", LEVEL, np.zeros(3)), "depth"
    )
    left, top = frame.camera.rays()[20, 24] * 1.2
    right, bottom = frame.camera.rays()[33, 39] * 1.2
    middle = ((left + right) / 2, (top + bottom) / 2, 1.25)
    refined = refinement.refine(OrientedBox("box", middle, (right - left, bottom - top, 0.2)))
    assert refined.rotation[:, 1] == pytest.approx([0, 1, 0], abs=1e-9)
    assert refined.center == pytest.approx(middle, abs=0.08)
