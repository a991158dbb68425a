"""The typed value of an answer: what a robot acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from n3d_core.geometry.boxes import Vector

Kind = Literal["none", "truth", "length", "count", "objects", "direction", "position"]


@dataclass(frozen=True)
class Value:
    """What an answer says, in SI units; the fields of `msg/Value.msg`. Zero means nothing.

    Attributes:
        kind: which of the other fields holds the value.
        truth: for `truth`.
        number: for `length` metres, for `count` a number, for `direction` radians about the up axis, counter-clockwise
            from ahead.
        objects: for `objects` indices into the boxes of the answer, in its order.
        point: for `position` metres, in the frame of the boxes.
    """

    kind: Kind = "none"
    truth: bool = False
    number: float = 0.0
    objects: tuple[int, ...] = ()
    point: Vector = (0.0, 0.0, 0.0)


NOTHING = Value()
"""No value: the question was not answered, or nothing decides."""
