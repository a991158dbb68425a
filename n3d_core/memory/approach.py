"""Where a robot should stand to reach an object, and how far to keep away from where it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ApproachError, optional
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.memory.observations import UNKNOWN_SIGMA_M, Array

OCCUPIED = 65
"""Cost, 0..100, from which a cell counts as occupied; `map_server` uses the same."""
_STEP_M, _STEP_RAD = 0.05, math.radians(5)  # between two candidates, along sides and around corners


@dataclass(frozen=True)
class OccupancyGrid:
    """The ground around a robot, as `nav_msgs/OccupancyGrid` holds it.

    Attributes:
        cells: signed integers [rows, columns]: cost 0..100, -1 where unknown; row 0 is at the origin, rows run along y.
        resolution: metres of a cell.
        origin: (x, y, yaw) of the outer corner of the first cell, in the map.

    Raises:
        ApproachError: if the grid is empty or its numbers are not usable.
    """

    cells: NDArray[np.signedinteger[Any]]
    resolution: float
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or not self.cells.size:
            raise ApproachError(f"the occupancy grid must have rows and columns; got shape {list(self.cells.shape)}")
        if not (math.isfinite(self.resolution) and self.resolution > 0 and np.isfinite(self.origin).all()):
            raise ApproachError(
                f"the occupancy grid needs a positive resolution and a finite origin; got {self.resolution} m "
                f"and {self.origin}"
            )

    def costs_at(self, points: Array) -> NDArray[np.signedinteger[Any]]:
        """Cost [...] at points [..., 2] of the map; -1 outside of the grid."""
        rows, columns = self._indices(points)
        inside = (rows >= 0) & (rows < self.cells.shape[0]) & (columns >= 0) & (columns < self.cells.shape[1])
        costs = np.full(inside.shape, -1, self.cells.dtype)
        costs[inside] = self.cells[rows[inside], columns[inside]]
        return costs

    def free(self, occupied: int, radius: float) -> OccupancyGrid:
        """A grid of 1 where a disc of a radius in metres fits (no occupied or unknown cell's centre in it), else 0."""
        blocked = (self.cells < 0) | (self.cells >= occupied)
        if radius > 0 and blocked.any():
            distance = _ndimage().distance_transform_edt(~blocked) * self.resolution
            blocked = distance <= radius
        return replace(self, cells=(~blocked).astype(np.int8))

    def _indices(self, points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        x, y, yaw = self.origin
        c, s = math.cos(yaw), math.sin(yaw)
        own = (points - np.array([x, y])) @ np.array([[c, -s], [s, c]])
        index = np.floor(own / self.resolution).astype(np.int64)
        return index[..., 1], index[..., 0]


@dataclass(frozen=True)
class ApproachPose:
    """Where to stand, on the ground of the map.

    Attributes:
        x, y: metres.
        yaw: radians, towards the object's centre.
        obstructed_m: metres of occupied ground between the robot and the object, such as the table that it is on.
    """

    x: float
    y: float
    yaw: float
    obstructed_m: float = 0.0


def approach_pose(
    box: OrientedBox,
    distance: float,
    robot: tuple[float, float],
    grid: OccupancyGrid | None = None,
    robot_radius: float = 0.0,
    occupied: int = OCCUPIED,
) -> ApproachPose:
    """A pose in front of an object: facing it, at a distance from its surface, where the ground is free.

    Of all free places the ones with the least occupied ground between them and the object are preferred (not behind a
    wall), and of those the one nearest to the robot. With a grid that holds the robot, only places that connect to it
    count.

    Args:
        box: of the object in the map (z up).
        distance: metres from the outline of the box on the ground to the robot's centre.
        robot: (x, y) in the map.
        robot_radius: metres around the pose that must be free; 0 where the grid is a costmap that is inflated already.
        occupied: cost from which a cell is occupied; 99 suits Nav2's costmaps.

    Raises:
        ApproachError: if no such place is free, or a number is not finite.
    """
    numbers = np.array([*box.center, *box.size, distance, *robot, robot_radius], np.float64)
    if not np.isfinite(numbers).all() or distance <= 0 or robot_radius < 0:
        raise ApproachError(
            f"{box.label}: the approach needs finite numbers and a positive distance; got {distance} m from a box at "
            f"{box.center} for a robot at {robot}"
        )
    corners, center = _outline(box), np.array(box.center[:2])
    here = np.array(robot, np.float64)
    places, surface = _around(corners, distance, here)
    blocked = np.zeros(len(places))
    if grid is not None:
        free = _reachable(grid.free(occupied, robot_radius), places, here)
        places, surface = places[free], surface[free]
        if not len(places):
            raise ApproachError(
                f"no free ground {distance:.2f} m from the {box.label} at ({center[0]:.2f}, {center[1]:.2f}) can be "
                "reached: try another distance, or clear the costmap"
            )
        blocked = _blocked_metres(grid, occupied, places, surface)
    away = np.linalg.norm(places - here, axis=1)
    best = int(np.lexsort((away, blocked))[0])
    x, y = (float(v) for v in places[best])
    return ApproachPose(x, y, math.atan2(center[1] - y, center[0] - x), float(blocked[best]))


def padded(box: OrientedBox, confidence: float = 0.95) -> OrientedBox:
    """The box grown so that it holds the whole object with at least this probability, given the centre's covariance.

    Each side moves out by the reach of the confidence ellipsoid along its axis. A box without a usable covariance is
    padded as if its centre had a standard deviation of `UNKNOWN_SIGMA_M` along each axis.

    Raises:
        ApproachError: if the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ApproachError(f"confidence must lie between 0 and 1; got {confidence}")
    with optional("padding boxes needs scipy", "'n3d-ros[memory]'"):
        from scipy.special import gammaincinv
    reach = float(2 * gammaincinv(1.5, confidence))  # chi-square with three degrees of freedom
    covariance = np.eye(3) * UNKNOWN_SIGMA_M**2
    if box.covariance is not None and np.isfinite(box.covariance).all():
        covariance = np.reshape(np.asarray(box.covariance, np.float64), (3, 3))
    axes = box.rotation
    variances = np.clip(np.einsum("ia,ij,ja->a", axes, covariance, axes), 0, None)
    length, width, height = (np.asarray(box.size) + 2 * np.sqrt(reach * variances)).tolist()
    return replace(box, size=(length, width, height))


def _ndimage() -> Any:
    with optional("occupancy grids need scipy", "'n3d-ros[memory]'"):
        from scipy import ndimage
    return ndimage


def _outline(box: OrientedBox) -> Array:
    """Corners [N, 2] of the convex hull of a box seen from above, counter-clockwise."""
    points = np.unique(np.round(box.corners()[:, :2], 9), axis=0)
    hull: Array = points[cv2.convexHull(points.astype(np.float32), returnPoints=False)[:, 0]]
    return hull


def _cross(a: Array, b: Array) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _around(corners: Array, distance: float, robot: Array) -> tuple[Array, Array]:
    """Places [N, 2] at a distance from a convex outline, and the point [N, 2] of the outline nearest to each.

    The first one is the place nearest to the robot.
    """
    nearest = _nearest_on(corners, robot)
    away = robot - nearest
    surface, outward = [nearest], [away / max(float(np.linalg.norm(away)), 1e-9)]
    inside = float(np.linalg.norm(away)) < 1e-9
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = end - start
        length = float(np.linalg.norm(side))
        normal = np.array([side[1], -side[0]]) / length if length > 0 else np.array([1.0, 0.0])
        for share in np.linspace(0, 1, max(2, math.ceil(length / _STEP_M) + 1)):
            surface.append(start + share * side)
            outward.append(normal)
    angles = np.arange(0, 2 * math.pi, _STEP_RAD)
    for corner in corners:  # of all directions those stay that lead away from the outline
        for direction in np.column_stack([np.cos(angles), np.sin(angles)]):
            if ((corners - corner) @ direction <= 1e-9).all():
                surface.append(corner)
                outward.append(direction)
    first = 1 if inside or not math.isclose(float(np.linalg.norm(outward[0])), 1.0, rel_tol=1e-6) else 0
    on, out = np.array(surface[first:]), np.array(outward[first:])
    return on + distance * out, on


def _nearest_on(corners: Array, point: Array) -> Array:
    """The point of a convex outline (or inside it: itself) nearest to a point [2]."""
    ends = np.roll(corners, -1, axis=0)
    sides = ends - corners
    if len(corners) > 2 and all(_cross(s, point - c) >= 0 for s, c in zip(sides, corners, strict=True)):
        return point
    squared = np.maximum((sides**2).sum(axis=1), 1e-18)
    share = np.clip(((point - corners) * sides).sum(axis=1) / squared, 0, 1)
    on = corners + share[:, None] * sides
    nearest: Array = on[int(np.linalg.norm(on - point, axis=1).argmin())]
    return nearest


def _reachable(free: OccupancyGrid, places: Array, robot: Array) -> NDArray[np.bool_]:
    """Which places [N, 2] are free, and connected to the robot where it is on free ground itself."""
    standing: NDArray[np.bool_] = free.costs_at(places) == 1
    if int(free.costs_at(robot)) != 1:
        return standing
    regions = replace(free, cells=_ndimage().label(free.cells, np.ones((3, 3)))[0])  # connected cells share a number
    connected: NDArray[np.bool_] = standing & (regions.costs_at(places) == regions.costs_at(robot))
    return connected


def _blocked_metres(grid: OccupancyGrid, occupied: int, places: Array, surface: Array) -> Array:
    """[N]: metres of occupied cells on the way from each place to its point of the outline, to the cell."""
    steps = max(2, math.ceil(float(np.linalg.norm(places - surface, axis=1).max()) / (grid.resolution / 2)))
    shares = (np.arange(steps) + 0.5) / steps
    points = places[:, None] + shares[:, None] * (surface - places)[:, None]
    share = (grid.costs_at(points) >= occupied).mean(axis=1)
    metres = share * np.linalg.norm(places - surface, axis=1)
    return np.round(metres / grid.resolution) * grid.resolution
