"""Approach poses and padding, against brute force and properties that hold for any box."""

import math

import numpy as np
import pytest

from n3d_core.errors import ApproachError
from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.memory.approach import OccupancyGrid, approach_pose, padded
from n3d_core.memory.observations import UNKNOWN_SIGMA_M, level_axes


def box(x=2.0, y=1.0, size=(0.6, 0.4, 0.5), yaw=0.0, covariance=None):
    return OrientedBox("mug", (x, y, 0.5), size, 0.9, covariance, quaternion_of(level_axes(yaw)))


def outline_distance(point, one):
    """From a point to the box's footprint, by its own axes; 0 inside."""
    own = np.abs((np.asarray(point) - one.center[:2]) @ one.rotation[:2, :2])
    return float(np.linalg.norm(np.maximum(own - np.array(one.size[:2]) / 2, 0)))


def grid(rows=100, columns=100, cost=0, resolution=0.05, origin=(0.0, 0.0, 0.0)):
    return OccupancyGrid(np.full((rows, columns), cost, np.int8), resolution, origin)


def filled(one, low, high, cost=100):
    """The grid with the cells between two points at a cost; for grids without a turn."""
    (c0, r0), (c1, r1) = ((np.array(p) - one.origin[:2]) / one.resolution for p in (low, high))
    one.cells[round(r0) : round(r1), round(c0) : round(c1)] = cost
    return one


@pytest.mark.parametrize("seed", range(8))
def test_without_a_grid_the_pose_is_the_nearest_at_the_distance_and_faces_the_object(seed):
    rng = np.random.default_rng(seed)
    one = box(*rng.uniform(-3, 3, 2), size=tuple(rng.uniform(0.05, 2, 3)), yaw=float(rng.uniform(-3, 3)))
    robot = tuple(np.array(one.center[:2]) + rng.uniform(2.5, 5) * np.array([math.cos(seed), math.sin(seed)]))
    pose = approach_pose(one, 0.7, robot)
    assert outline_distance((pose.x, pose.y), one) == pytest.approx(0.7, abs=1e-6)
    nearest = math.hypot(pose.x - robot[0], pose.y - robot[1])
    assert nearest == pytest.approx(outline_distance(robot, one) - 0.7, abs=1e-6)
    ahead = np.array([math.cos(pose.yaw), math.sin(pose.yaw)])
    to = np.array(one.center[:2]) - (pose.x, pose.y)
    assert ahead @ to == pytest.approx(np.linalg.norm(to))


@pytest.mark.parametrize("seed", range(6))
def test_with_a_grid_no_place_of_a_brute_force_search_is_nearer(seed):
    """Every free cell at the distance is tried; none that is as little obstructed may be clearly nearer."""
    rng = np.random.default_rng(seed)
    one, robot = box(2.5, 2.5, yaw=float(rng.uniform(-1, 1))), (0.5, 0.5)
    ground = grid()
    for _ in range(5):
        low = rng.uniform(0.8, 4, 2)
        filled(ground, low, low + rng.uniform(0.2, 0.8, 2))
    pose = approach_pose(one, 0.6, robot, ground, robot_radius=0.2)
    rows, columns = np.mgrid[0:100, 0:100]
    centers = np.column_stack([columns.ravel(), rows.ravel()]) * 0.05 + 0.025
    occupied = centers[(ground.cells == 100).ravel()]
    assert np.linalg.norm(occupied - (pose.x, pose.y), axis=1).min() > 0.2 - 0.05
    ring = [c for c in centers if abs(outline_distance(c, one) - 0.6) < 0.02]
    clear = [c for c in ring if np.linalg.norm(occupied - c, axis=1).min() > 0.3]
    if pose.obstructed_m == 0:
        unhindered = [c for c in clear if not _hindered(c, one, occupied)]
        best = min((math.dist(c, robot) for c in unhindered), default=math.inf)
        assert math.hypot(pose.x - robot[0], pose.y - robot[1]) < best + 0.1


def _hindered(place, one, occupied):
    way = np.linspace(place, one.center[:2], 40)
    return min(np.linalg.norm(occupied - p, axis=1).min() for p in way) < 0.08


def test_the_side_behind_a_wall_is_not_taken_although_it_is_nearer():
    ground = filled(grid(), (0.0, 1.9), (4.0, 2.0))  # a wall in front of the object, open at its right end
    one = box(2.0, 2.4)
    pose = approach_pose(one, 0.7, (2.0, 0.5), ground)
    assert pose.obstructed_m == 0
    assert pose.y > 2.0


def test_an_object_on_a_table_is_approached_across_the_least_of_the_table():
    ground = filled(grid(), (1.0, 1.5), (3.0, 2.3))
    one = box(2.0, 2.1, size=(0.1, 0.1, 0.1))
    pose = approach_pose(one, 0.5, (2.0, 0.2), ground, robot_radius=0.2)
    assert pose.y > 2.3
    assert pose.obstructed_m == pytest.approx(0.15, abs=0.051)


def test_a_free_pocket_that_the_robot_cannot_reach_is_not_taken():
    ground = filled(grid(), (1.5, 1.5), (3.5, 3.5))
    filled(ground, (1.7, 1.7), (3.3, 3.3), 0)  # a closed room around the object
    with pytest.raises(ApproachError, match=r"no free ground 0.50 m from the mug at \(2.50, 2.50\)"):
        approach_pose(box(2.5, 2.5, size=(0.2, 0.2, 0.2)), 0.5, (0.5, 0.5), ground)
    inside = approach_pose(box(2.5, 2.5, size=(0.2, 0.2, 0.2)), 0.5, (2.5, 3.2), ground)
    assert (inside.x, inside.y) == pytest.approx((2.5, 3.1))


def test_unknown_ground_and_ground_off_the_grid_is_not_free():
    ground = grid(cost=-1)
    with pytest.raises(ApproachError, match="no free ground"):
        approach_pose(box(), 0.5, (0.5, 0.5), ground)
    with pytest.raises(ApproachError, match="no free ground"):
        approach_pose(box(50.0, 1.0), 0.5, (0.5, 0.5), grid())
    filled(ground, (2.0, 0.0), (5.0, 5.0), 0)
    assert approach_pose(box(), 0.5, (0.5, 1.0), ground).x >= 2.0


def test_a_turned_and_moved_grid_gives_the_same_place():
    ground = filled(grid(), (0.0, 1.9), (4.0, 2.0))
    pose = approach_pose(box(2.0, 2.4), 0.7, (2.0, 0.5), ground)
    yaw, shift = 0.7, np.array([-3.0, 5.0])
    turn = level_axes(yaw)[:2, :2]
    center, robot = turn @ (2.0, 2.4) + shift, turn @ (2.0, 0.5) + shift
    moved = OccupancyGrid(ground.cells, ground.resolution, (-3.0, 5.0, yaw))
    there = approach_pose(box(*center, yaw=yaw), 0.7, tuple(robot), moved)
    np.testing.assert_allclose((there.x, there.y), turn @ (pose.x, pose.y) + shift, atol=0.1)


def test_a_robot_that_stands_inside_of_the_outline_still_gets_a_pose():
    pose = approach_pose(box(), 0.5, (2.0, 1.0))
    assert outline_distance((pose.x, pose.y), box()) == pytest.approx(0.5)


@pytest.mark.parametrize("change", [{"distance": 0.0}, {"distance": math.nan}, {"robot": (math.inf, 0.0)}])
def test_numbers_that_cannot_be_used_are_refused(change):
    with pytest.raises(ApproachError, match="finite numbers and a positive distance"):
        approach_pose(**{"box": box(), "distance": 0.5, "robot": (0.0, 0.0), **change})
    with pytest.raises(ApproachError, match="positive resolution"):
        OccupancyGrid(np.zeros((2, 2), np.int8), 0.0)
    with pytest.raises(ApproachError, match="must have rows and columns"):
        OccupancyGrid(np.zeros((0, 2), np.int8), 0.1)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_a_padded_box_holds_the_object_at_least_as_often_as_asked(confidence):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3)) * 0.05
    covariance = root @ root.T
    one = box(yaw=0.4, covariance=tuple(covariance.ravel()))
    grown = padded(one, confidence)
    assert grown.center == one.center
    assert grown.quaternion == one.quaternion
    room = (np.array(grown.size) - one.size) / 2
    errors = rng.multivariate_normal(np.zeros(3), covariance, 20000) @ one.rotation
    assert (np.abs(errors) <= room).all(axis=1).mean() >= confidence - 0.005
    directions = rng.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    surface = np.sqrt(chi_square(confidence)) * directions @ np.linalg.cholesky(covariance).T @ one.rotation
    np.testing.assert_allclose(np.abs(surface).max(axis=0), room, rtol=0.02)  # the ellipsoid just fits


def chi_square(confidence):
    return {0.5: 2.366, 0.95: 7.815, 0.99: 11.345}[confidence]


def test_a_box_without_usable_covariance_is_padded_by_the_unknown_standard_deviation():
    room = 2 * math.sqrt(7.815) * UNKNOWN_SIGMA_M
    for covariance in (None, tuple([math.nan] * 9)):
        np.testing.assert_allclose(np.array(padded(box(covariance=covariance)).size) - box().size, room, rtol=1e-3)
    with pytest.raises(ApproachError, match=r"between 0 and 1; got 1\.0"):
        padded(box(), 1.0)
