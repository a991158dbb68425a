"""Spatial relations computed from boxes: every question type of N3D-Bench as plain geometry.

Conventions, the same for questions, answers, chains of thought and their audit:

* Boxes are `Box3D`s in the optical frame (x right, y down, z forward; metres). The model writes the same centre with
  x **left** and y **up**, `(x, y, z) = (-X, -Y, Z)`; functions named after its variables (`X`, `Y`, `Z`, `W`, `H`, `L`,
  `V`, `vector`, `angle`) return that frame's numbers.
* left/right, above/below, front/behind compare **centres** along x, y and z as the camera sees them. `opposite` is the
  view of somebody who faces the camera from behind the scene: left/right and front/behind change places.
* wide/thin, tall/short, big/small compare extents along x, along y, and volumes. Boxes are axis-aligned, so width,
  height and length are the extents along the camera's x, y and z.
* distance is between centres; vertical distance is `|dy|`; horizontal distance lies in the ground plane x-z:
  `hypot(dx, dz)`. All are those of the camera frame: with a pitched camera the plane is the camera's, not the floor's.
* nearer/further from the camera, and depth order, compare z (depth), not the length of the ray.
* direction: somebody stands at A, faces the camera's forward direction, and looks for B:
  `a = degrees(atan2(Bx - Ax, Bz - Az)) % 360` with x left, `clock = 12 - a // 30`. So 12 o'clock spans the 30 degrees
  left of straight ahead and 1 o'clock the 30 degrees right of it, as the published answers have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from n3d_core.geometry.boxes import Box3D


def as_stated(box: Box3D) -> Box3D:
    """The box with its numbers rounded to 2 decimals, as the second pass's prompt states them."""
    x, y, z, w, h, length = stated_numbers(box)
    return Box3D(box.label, (-x, -y, z), (w, h, length))


def stated_numbers(box: Box3D) -> list[float]:
    """`[x, y, z, w, h, l]` in the model's frame (x left, y up), rounded to 2 decimals: the prompt's `3D bbox`.

    The training data rounds x and y as NumPy does (2.675 to 2.68) and the others as Python does (2.675 to 2.67).
    """
    x, y, z = box.center
    return [rounded_as_numpy(-x), rounded_as_numpy(-y), *(round(float(v), 2) for v in (z, *box.size))]


def rounded_as_numpy(value: float) -> float:
    """Two decimals as `numpy.round` gives them; the sign of zero is kept (-0.001 becomes -0.0)."""
    return float(np.round(np.float64(value), 2))


def measure_x(box: Box3D) -> float:
    """X of the centre, metres to the left of the camera."""
    return -box.center[0]


def measure_y(box: Box3D) -> float:
    """Y of the centre, metres above the camera."""
    return -box.center[1]


def measure_z(box: Box3D) -> float:
    """Z of the centre: depth in metres."""
    return box.center[2]


def width(box: Box3D) -> float:
    """Extent along x, metres."""
    return box.size[0]


def height(box: Box3D) -> float:
    """Extent along y, metres."""
    return box.size[1]


def length(box: Box3D) -> float:
    """Extent along z, metres."""
    return box.size[2]


def litres(box: Box3D) -> float:
    """Volume in litres (cubic decimetres)."""
    return box.size[0] * box.size[1] * box.size[2] * 1000.0


MEASURES: dict[str, Callable[[Box3D], float]] = {
    "X": measure_x,
    "Y": measure_y,
    "Z": measure_z,
    "W": width,
    "H": height,
    "L": length,
    "V": litres,
}


@dataclass(frozen=True)
class Predicate:
    """A comparison of two boxes: `phrase` holds for (A, B) when `sign * (measure(A) - measure(B)) > 0`.

    Attributes:
        type: the question type it belongs to.
        measure: key of `MEASURES`.
        sign: +1 if the larger measure wins, -1 if the smaller.
        phrase: what stands between A and B ("wider than").
        superlative: the word for the one of many that wins ("widest").
        converse: name of the predicate with the other sign.
    """

    type: str
    measure: str
    sign: int
    phrase: str
    superlative: str
    converse: str


PREDICATES: dict[str, Predicate] = {
    "left": Predicate("left_right", "X", 1, "to the left of", "leftmost", "right"),
    "right": Predicate("left_right", "X", -1, "to the right of", "rightmost", "left"),
    "front": Predicate("front_behind", "Z", -1, "in front of", "nearest", "behind"),
    "behind": Predicate("front_behind", "Z", 1, "behind", "furthest", "front"),
    "above": Predicate("above_below", "Y", 1, "above", "highest", "below"),
    "below": Predicate("above_below", "Y", -1, "below", "lowest", "above"),
    "wider": Predicate("wide_thin", "W", 1, "wider than", "widest", "thinner"),
    "thinner": Predicate("wide_thin", "W", -1, "thinner than", "thinnest", "wider"),
    "taller": Predicate("tall_short", "H", 1, "taller than", "tallest", "shorter"),
    "shorter": Predicate("tall_short", "H", -1, "shorter than", "shortest", "taller"),
    "bigger": Predicate("big_small", "V", 1, "bigger than", "largest", "smaller"),
    "smaller": Predicate("big_small", "V", -1, "smaller than", "smallest", "bigger"),
}
_FLIPPED_BY_VIEW = ("X", "Z")


def advantage(predicate: str, a: Box3D, b: Box3D, opposite: bool = False) -> float:
    """By how much `predicate` holds for (a, b): positive if it holds, 0 for a tie; metres, or litres for volumes."""
    p = PREDICATES[predicate]
    measure = MEASURES[p.measure]
    sign = -p.sign if opposite and p.measure in _FLIPPED_BY_VIEW else p.sign
    return sign * (measure(a) - measure(b))


def holds(predicate: str, a: Box3D, b: Box3D, opposite: bool = False) -> bool:
    """Whether `predicate` ("left", "behind", "taller" ...) holds for a with respect to b."""
    return advantage(predicate, a, b, opposite) > 0


def extreme(predicate: str, boxes: list[Box3D], opposite: bool = False) -> int:
    """Index of the box for which `predicate` holds against all others (the first of equals).

    `extreme("front", boxes)` is the nearest to the camera, `extreme("bigger", boxes)` the largest.
    """
    if not boxes:
        raise ValueError("the extreme of no boxes is asked for: at least one is wanted")
    best = 0
    for i in range(1, len(boxes)):
        if advantage(predicate, boxes[i], boxes[best], opposite) > 0:
            best = i
    return best


def vector(a: Box3D, b: Box3D) -> tuple[float, float, float]:
    """From a's centre to b's in the model's frame (x left, y up, z forward), metres."""
    return a.center[0] - b.center[0], a.center[1] - b.center[1], b.center[2] - a.center[2]


def distance(a: Box3D, b: Box3D) -> float:
    """Between the centres, metres."""
    return math.dist(a.center, b.center)


def vertical_distance(a: Box3D, b: Box3D) -> float:
    """|dy| of the centres, metres."""
    return abs(a.center[1] - b.center[1])


def horizontal_distance(a: Box3D, b: Box3D) -> float:
    """Of the centres in the ground plane x-z, metres."""
    return math.hypot(a.center[0] - b.center[0], a.center[2] - b.center[2])


def direction_degrees(a: Box3D, b: Box3D) -> float:
    """Angle in [0, 360) from straight ahead (z) towards the left (x) under which b is seen from a."""
    dx, _, dz = vector(a, b)
    angle = math.degrees(math.atan2(dx, dz)) % 360.0
    return 0.0 if angle >= 360.0 else angle  # a tiny negative angle wraps to exactly 360


def clock_hour(degrees: float) -> int:
    """1..12 of an angle measured as `direction_degrees` does: `12 - degrees // 30`, wrapped."""
    hour = 12 - int(degrees % 360.0 // 30)
    return hour if hour > 0 else hour + 12


def clock_direction(a: Box3D, b: Box3D) -> int:
    """The hour, 1..12, at which somebody at a who faces forward finds b."""
    return clock_hour(direction_degrees(a, b))


def depth_order(boxes: list[Box3D]) -> list[int]:
    """Indices from the nearest to the furthest centre along z (equals keep their order)."""
    return sorted(range(len(boxes)), key=lambda i: boxes[i].center[2])


DISTANCE: dict[str, Callable[[Box3D, Box3D], float]] = {
    "distance": distance,
    "vertical_distance": vertical_distance,
    "horizontal_distance": horizontal_distance,
}
"""Each kind of distance that a question may ask for, in metres."""


def closest(anchor: Box3D, candidates: list[Box3D], farther: bool = False) -> int:
    """Index of the candidate whose centre is nearest to the anchor's (furthest if `farther`)."""
    if not candidates:
        raise ValueError("the closest of no boxes is asked for: at least one is wanted")
    pick = max if farther else min
    return pick(range(len(candidates)), key=lambda i: distance(anchor, candidates[i]))
