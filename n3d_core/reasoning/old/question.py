"""What a spatial question asks for, independent of its wording."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old.relations import PREDICATES

COMPARISONS = tuple(dict.fromkeys(p.type for p in PREDICATES.values() if p.measure not in "LT"))
SIZES = ("width", "height", "length")
DISTANCES = ("distance", "vertical_distance", "horizontal_distance")
TYPES = (*COMPARISONS, "relative_distance", "depth_order", *SIZES, *DISTANCES, "direction", "count", "extreme")
FORMS = ("yes_no", "choice", "free", "number", "order")

NUMERICAL = (*SIZES, *DISTANCES, "direction", "count")

CAMERA = Box3D("camera", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
"""Stands for the camera where a question names it as a place: the origin, without extent."""


@dataclass(frozen=True)
class Question:
    """A question that geometry can answer.

    Attributes:
        type: one of `TYPES`.
        form: `yes_no`, `choice` (one of the named objects), `free` (which of the two relations holds), `number` or
            `order` (a list of objects).
        names: the objects as the question names them, in the order of their roles: A, B for comparisons, distances and
            the direction (from A to B); the anchor first and then the candidates for `relative_distance`; all that
            compete for `depth_order` and `extreme`; none for `extreme` and `count` over `among`.
        predicate: key of `PREDICATES` that is asked for; for `relative_distance` `closer` or `farther`; for
            `depth_order` `front` (near to far) or `behind` (far to near).
        unit: symbol of the unit in which a length is wanted.
        opposite: whether the view from the side opposite the camera is meant.
        among: for `count` and `extreme`, and `relative_distance` without candidates: the kind of objects that compete
            (`mug`, `object` for all).
    """

    type: str
    form: str
    names: tuple[str, ...] = ()
    predicate: str = ""
    unit: str = "m"
    opposite: bool = False
    among: str = ""
