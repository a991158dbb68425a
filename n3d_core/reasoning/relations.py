"""Measures and relations computed from boxes; docs/reasoning.md has the conventions in words.

* Boxes are `Box3D`s in the optical frame (x right, y down, z forward; metres). The model writes the same centre with
  x **left** and y **up**, `(x, y, z) = (-X, -Y, Z)`; functions named after its variables (`X`, `Y`, `Z`, `W`, `H`, `L`,
  `V`, `vector`, `angle`) return that frame's numbers.
* left/right, above/below and front/behind compare **centres** along x, y and z. The `opposite` view, from behind the
  scene, swaps left/right and front/behind and nothing else.
* Width, height and length are the extents along the camera's x, y and z; thickness is the smallest of the three.
* Distances are between centres; the horizontal distance lies in the camera's x-z plane. `gap` is between surfaces.
* Depth (z), not the length of the ray, decides what is nearer to the camera.
* Direction: somebody at A faces the camera's forward direction and looks for B:
  `a = degrees(atan2(Bx - Ax, Bz - Az)) % 360` with x left, `clock = 12 - a // 30`. So 12 o'clock spans the 30 degrees
  left of straight ahead and 1 o'clock the 30 degrees right of it, as in the published answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


MEASURES: dict[str, Callable[[Box3D], float]] = {
    "X": lambda box: -box.center[0],
    "Y": lambda box: -box.center[1],
    "Z": lambda box: box.center[2],
    "W": lambda box: box.size[0],
    "H": lambda box: box.size[1],
    "L": lambda box: box.size[2],
    "V": lambda box: box.size[0] * box.size[1] * box.size[2] * 1000.0,
    "T": lambda box: min(box.size),
}
"""Metres: x (left), y (up), z of the centre; width, height, length and thickness (the smallest); V is litres."""


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
    "longer": Predicate("long_short", "L", 1, "longer than", "longest", "less_long"),
    "less_long": Predicate("long_short", "L", -1, "shorter in length than", "shortest in length", "longer"),
    "thicker": Predicate("thick_thin", "T", 1, "thicker than", "thickest", "less_thick"),
    "less_thick": Predicate("thick_thin", "T", -1, "less thick than", "least thick", "thicker"),
}
FLIPPED_BY_VIEW = ("X", "Z")
"""Measures that change sign in the opposite view."""

CAMERA = Box3D("camera", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
"""The camera as a place: the origin, without extent."""

SIZE: dict[str, Callable[[Box3D], float]] = {
    "width": MEASURES["W"], "height": MEASURES["H"], "length": MEASURES["L"], "thickness": MEASURES["T"],
    "distance": lambda box: distance(CAMERA, box),
}  # fmt: skip
"""Each extent that a question may ask for, and how far away a box is, in metres."""


def largest_wins(predicate: str, opposite: bool = False) -> bool:
    """Whether the largest measure wins for `predicate`, in the given view."""
    p = PREDICATES[predicate]
    return (p.sign > 0) != (opposite and p.measure in FLIPPED_BY_VIEW)


def extreme(predicate: str, boxes: list[Box3D], opposite: bool = False) -> int:
    """Index of the box for which `predicate` holds against all others (the first of equals).

    `extreme("front", boxes)` is the nearest to the camera, `extreme("bigger", boxes)` the largest.
    """
    if not boxes:
        raise ValueError("extreme() needs at least one box, got none")
    measure, pick = MEASURES[PREDICATES[predicate].measure], max if largest_wins(predicate, opposite) else min
    return pick(range(len(boxes)), key=lambda i: measure(boxes[i]))


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
    """Direction of b as seen from a, in degrees [0, 360) from straight ahead (z) towards the left (x)."""
    dx, _, dz = vector(a, b)
    angle = math.degrees(math.atan2(dx, dz)) % 360.0
    return 0.0 if angle >= 360.0 else angle  # a tiny negative angle wraps to exactly 360


def turn(a: float, b: float) -> float:
    """Degrees between two directions, 0 to 180."""
    return abs((a - b + 180.0) % 360.0 - 180.0)


def is_ahead(degrees: float) -> bool:
    """Whether an angle as in `direction_degrees` is straight ahead: within 10 degrees."""
    return turn(degrees, 0.0) <= _AHEAD


def is_at_hour(degrees: float, hour: int) -> bool:
    """Whether an angle is at a clock hour by `clock_hour`, or by the nearest hour, as people say it."""
    return clock_hour(degrees) == hour or turn(degrees, -30.0 * hour) <= 15.0


def angle_seen(a: Box3D, b: Box3D) -> float:
    """Degrees between the camera's lines of sight to two centres, 0..180."""
    p, q = np.asarray(a.center), np.asarray(b.center)
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(p, q))), float(p @ q)))


def clock_hour(degrees: float) -> int:
    """Clock hour 1..12 of an angle as in `direction_degrees`: `12 - degrees // 30`, wrapped."""
    hour = 12 - int(degrees % 360.0 // 30)
    return hour if hour > 0 else hour + 12


def clock_direction(a: Box3D, b: Box3D) -> int:
    """Clock hour 1..12 at which somebody at a, facing forward, sees b."""
    return clock_hour(direction_degrees(a, b))


def gaps(a: Box3D, b: Box3D) -> tuple[float, float, float]:
    """Between the facing sides along x, y and z, metres; 0 along an axis on which the boxes overlap."""
    low = (max(p - q, 0.0) for p, q in zip(_low(a), _high(b), strict=True))
    high = (max(p - q, 0.0) for p, q in zip(_low(b), _high(a), strict=True))
    x, y, z = (p + q for p, q in zip(low, high, strict=True))
    return x, y, z


def gap(a: Box3D, b: Box3D) -> float:
    """Shortest distance between the surfaces, metres; 0 where the boxes touch or overlap."""
    return math.hypot(*gaps(a, b))


def rise(a: Box3D, b: Box3D) -> float:
    """From b's top up to a's bottom, metres; negative where a's bottom is lower."""
    return _low(b)[1] - _high(a)[1]


def overlap(a: Box3D, b: Box3D) -> float:
    """Overlap of the footprints (in the x-z plane) as a share of the smaller one, 0..1."""
    shared = _shared(a, b)
    least = min(a.size[0] * a.size[2], b.size[0] * b.size[2])
    return shared[0] * shared[2] / least if least > 0 else 0.0


def share_inside(a: Box3D, b: Box3D) -> float:
    """Share of a's volume that lies in b, 0..1."""
    return math.prod(_shared(a, b)) / math.prod(a.size) if math.prod(a.size) > 0 else 0.0


def reach(a: Box3D, b: Box3D) -> float:
    """The largest gap, metres, at which a and b are next to each other: a quarter of their widths together, 10 cm at
    least. The width is the larger horizontal extent."""
    return max(_LEAST_REACH, (max(a.size[0], a.size[2]) + max(b.size[0], b.size[2])) / 4)


def along(a: Box3D, b: Box3D, c: Box3D) -> float:
    """Position of a's centre along the way from b's centre (0) to c's (1)."""
    way, to = _from(b, c), _from(b, a)
    squared = sum(w * w for w in way)
    return sum(w * t for w, t in zip(way, to, strict=True)) / squared if squared > 0 else 0.0


def aside(a: Box3D, b: Box3D, c: Box3D) -> float:
    """How far a's centre is from the line through the centres of b and c, metres."""
    way, to, share = _from(b, c), _from(b, a), along(a, b, c)
    return math.dist(to, [share * w for w in way])


def leeway(a: Box3D, b: Box3D, c: Box3D) -> float:
    """The largest `aside` at which a is between b and c, metres: a quarter of the way and half of a's largest
    extent."""
    return distance(b, c) / 4 + max(a.size) / 2


def alike(kind: str, a: Box3D, b: Box3D) -> bool:
    """Whether a key of `SIZE` of two boxes differs by a tenth of the larger one at most.

    For `dimensions` all three do, from the smallest to the largest. `side`: both are left, or both right, of the middle
    of the picture; `other_side`: they are not.
    """
    if kind in ("side", "other_side"):
        return ((a.center[0] < 0) == (b.center[0] < 0)) == (kind == "side")
    extents = (sorted(box.size) if kind == "dimensions" else [SIZE[kind](box)] for box in (a, b))
    return all(abs(p - q) <= max(p, q) * ALIKE for p, q in zip(*extents, strict=True))


ALIKE = 0.1
_AHEAD = 10.0  # degrees
_LEAST_REACH = 0.1  # metres
_TOUCHING = 0.05  # metres: what stands on something is no farther above or below its top
_LEAST_OVERLAP = 0.25  # of the footprints of what stands on or under something
_MOSTLY = 0.5  # of the volume of what is inside something


@dataclass(frozen=True)
class Term:
    """One condition of a place: `symbol` has `value`, which must lie in [`low`, `high`].

    Attributes:
        bound: symbol of the upper bound where that is computed from the boxes; empty for a constant.
    """

    symbol: str
    value: float
    low: float
    high: float
    bound: str = ""

    @property
    def holds(self) -> bool:
        """Whether the condition is met."""
        return self.low <= self.value <= self.high


PLACES = {"on": "on", "under": "under", "inside": "inside", "next_to": "next to", "between": "between"}
"""Relations with more than one condition, and the words for them."""


def place_terms(place: str, a: Box3D, references: Sequence[Box3D]) -> tuple[Term, ...]:
    """The conditions under which a is `on`, `under`, `inside`, `next_to` b, or `between` b and c."""
    b = references[0]
    if place == "between":
        c = references[1]
        return Term("along", along(a, b, c), 0.0, 1.0), Term("aside", aside(a, b, c), 0.0, leeway(a, b, c), "leeway")
    if place == "next_to":
        return Term("gap", gap(a, b), 0.0, reach(a, b), "reach"), Term("overlap", overlap(a, b), 0.0, _LEAST_OVERLAP)
    if place == "inside":
        share = share_inside(a, b) if a.volume < b.volume else 0.0
        return (Term("inside", share, _MOSTLY, math.inf),)
    above = Term("overlap", overlap(a, b), _LEAST_OVERLAP, math.inf)
    if place == "on":
        return Term("rise", rise(a, b), -_TOUCHING, _TOUCHING), above
    return Term("clearance", rise(b, a), -_TOUCHING, math.inf), above


def stands(
    relation: str, a: Box3D, references: Sequence[Box3D], opposite: bool = False, limit: float | None = None
) -> bool:
    """Whether a stands in a relation (a key of `PREDICATES` or of `PLACES`) to its reference, or references.

    In front of the camera is what lies on the side that it faces.

    Args:
        limit: metres, in place of a reference for the extents (`wider`), besides it for `within` and `beyond`.
    """
    if limit is not None:
        if relation in ("within", "beyond"):
            return (distance(a, references[0]) <= limit) == (relation == "within")
        more = MEASURES[PREDICATES[relation].measure](a) - limit
        return more * PREDICATES[relation].sign > 0
    if relation in PLACES:
        return all(term.holds for term in place_terms(relation, a, references))
    return gain(relation, a, references[0], opposite) > 0


def gain(predicate: str, a: Box3D, b: Box3D, opposite: bool = False) -> float:
    """By how much `predicate` holds for (a, b), in metres or litres: positive if it holds, 0 for a tie.

    In front of the camera is the side that it faces.
    """
    if b == CAMERA and PREDICATES[predicate].measure == "Z":
        predicate = PREDICATES[predicate].converse
    measure = MEASURES[PREDICATES[predicate].measure]
    more = measure(a) - measure(b)
    return more if largest_wins(predicate, opposite) else -more


def _low(box: Box3D) -> tuple[float, ...]:
    return tuple(c - s / 2 for c, s in zip(box.center, box.size, strict=True))


def _high(box: Box3D) -> tuple[float, ...]:
    return tuple(c + s / 2 for c, s in zip(box.center, box.size, strict=True))


def _shared(a: Box3D, b: Box3D) -> tuple[float, ...]:
    """Extents of the intersection of two boxes; 0 along axes on which they are apart."""
    ends = zip(_low(a), _high(a), _low(b), _high(b), strict=True)
    return tuple(max(min(ha, hb) - max(la, lb), 0.0) for la, ha, lb, hb in ends)


def _from(a: Box3D, b: Box3D) -> tuple[float, ...]:
    return tuple(q - p for p, q in zip(a.center, b.center, strict=True))


DISTANCE: dict[str, Callable[[Box3D, Box3D], float]] = {
    "distance": distance,
    "vertical_distance": vertical_distance,
    "horizontal_distance": horizontal_distance,
    "gap": gap,
}
"""Each kind of distance that a question may ask for, in metres."""


def closest(anchor: Box3D, candidates: Sequence[Box3D], farther: bool = False, rank: int = 1) -> int:
    """Index of the candidate whose centre is nearest to the anchor's (furthest if `farther`), or the next by `rank`."""
    if len(candidates) < rank:
        raise ValueError(f"closest() of rank {rank} needs as many candidates, got {len(candidates)}")
    ranked = sorted(range(len(candidates)), key=lambda i: distance(anchor, candidates[i]), reverse=farther)
    return ranked[rank - 1]
