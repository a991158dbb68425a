"""The parameter `refine`: whose gravity is used, and what happens without any."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.geometry.frame import Frame
from n3d_ros.frames.placement import Placement, Refinement
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries.runner import QueryRunner

LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical frame of a level camera to base_link (z up)


@pytest.mark.parametrize("name", ["map", "odom", "base_link", "robot1/base_footprint", "/odom"])
def test_gravity_is_that_of_an_output_frame_that_has_z_up_by_its_name(name):
    np.testing.assert_allclose(Placement(name, LEVEL, np.zeros(3)).gravity, [0, 1, 0])


@pytest.mark.parametrize("name", ["camera_link", "tool0", "gripper_base_link", "rear_optical_frame", "earth"])
def test_an_output_frame_that_may_be_tilted_tells_no_gravity(name):
    assert Placement(name, LEVEL, np.zeros(3)).gravity is None
    assert Placement(name).gravity is None


def test_gravity_is_that_of_the_frame_that_is_named_for_it_at_the_images_stamp(frame):
    asked = []

    def look_up(*arguments):
        asked.append(arguments)
        return LEVEL, np.zeros(3)

    runner = QueryRunner(SimpleNamespace(), SimpleNamespace(), SimpleNamespace(look_up=look_up))
    tilted = Placement("tool0", np.eye(3), np.zeros(3))
    named = GroundingParameters(refine="depth", gravity_frame="robot1/world", transform_timeout=0.5)
    np.testing.assert_allclose(runner._gravity(frame, tilted, named), [0, 1, 0])
    assert asked == [("robot1/world", "optical", 1_500_000_001, 0.5)]
    assert runner._gravity(frame, tilted, replace(named, gravity_frame="")) is None
    assert runner._gravity(frame, tilted, replace(named, refine="off")) is None
    assert len(asked) == 1


def test_transforms_are_listened_to_where_a_query_needs_them():
    wants = [{}, {"gravity_frame": "odom"}, {"refine": "depth"}, {"target_frame": "map"}]
    wants.append({"refine": "depth", "gravity_frame": "odom"})
    assert [GroundingParameters(**each).needs_transforms for each in wants] == [False, False, False, True, True]


def test_none_refines_nothing_and_a_wall_alone_leaves_the_box_as_it_is(frame):
    assert Refinement.of(frame, None, "none") is None
    refinement = Refinement.of(frame, None, "depth")
    box = OrientedBox("mug", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2))
    assert refinement.gravity is None
    assert refinement.refine(box) is box


def test_a_box_before_a_wall_becomes_upright_in_the_gravity_that_is_known(frame):
    depth = frame.depth.copy()
    depth[20:34, 24:40] = 1.2  # something stands before the wall
    gravity = Placement("base_link", LEVEL, np.zeros(3)).gravity
    refinement = Refinement.of(Frame(frame.color, depth, frame.camera), gravity, "depth")
    left, top = frame.camera.rays()[20, 24] * 1.2
    right, bottom = frame.camera.rays()[33, 39] * 1.2
    middle = ((left + right) / 2, (top + bottom) / 2, 1.25)
    refined = refinement.refine(OrientedBox("box", middle, (right - left, bottom - top, 0.2)))
    assert refined.rotation[:, 1] == pytest.approx([0, 1, 0], abs=1e-9)
    assert refined.center == pytest.approx(middle, abs=0.08)


def test_an_upright_box_has_a_pure_yaw_and_its_height_along_z_in_a_frame_with_z_up():
    turn = np.radians(25.0)
    own = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])  # about y (down)
    box = OrientedBox("box", (0.1, 0.2, 1.5), (0.3, 0.5, 0.2), quaternion=quaternion_of(own))
    placed = Placement("base_link", LEVEL, np.array([0.0, 0.0, 1.0])).place(box)
    assert placed.size[2] == 0.5
    assert placed.quaternion[:2] == (0.0, 0.0)
    assert sorted(placed.size[:2]) == [0.2, 0.3]
    same = box.transformed(LEVEL, np.array([0.0, 0.0, 1.0]))
    gaps = np.linalg.norm(placed.corners()[:, None] - same.corners()[None], axis=-1)
    assert gaps.min(axis=1).max() < 1e-9  # the eight corners are where they were
    tilted = Placement("base_link", LEVEL @ rotation_about_x(0.3), np.zeros(3)).place(box)
    assert tilted.size == box.size


def rotation_about_x(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
