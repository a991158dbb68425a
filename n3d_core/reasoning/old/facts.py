"""What is true of the objects that a question is about: every quantity that a chain of thought may name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old import relations
from n3d_core.reasoning.old.expressions import Value
from n3d_core.reasoning.old.names import matching, normal
from n3d_core.reasoning.old.question import Question
from n3d_core.reasoning.old.relations import MEASURES, as_stated, stated_numbers
from n3d_core.reasoning.old.roles import Roles

_CONSTANTS = (0.0, 1.0, 2.0, 12.0, 30.0, 100.0, 180.0, 360.0, 1000.0)
_MAX_PAIRED = 8  # with more objects only the distances from the first have names


@dataclass(frozen=True)
class Facts:
    """The truth about one question's objects, from the boxes as they are and as the prompt states them (2 decimals).

    A statement is right if it fits either: the model sees only the stated numbers, geometry knows the exact ones.

    Attributes:
        question: what was asked.
        roles: the objects asked about.
        called: names of all boxes at hand.
        boxes: all boxes at hand.
    """

    question: Question
    roles: Roles
    called: tuple[str, ...]
    boxes: tuple[Box3D, ...]

    def boxes_called(self, name: str) -> list[Box3D]:
        """The boxes that a name means: those of the question first, then any at hand."""
        own = [b for n, b in zip(self.roles.names, self.roles.boxes, strict=True) if normal(n) == normal(name)]
        if own:
            return own
        mentioned = [i for i, n in enumerate(self.question.names) if normal(n) == normal(name)]
        if mentioned:
            return [self.roles.boxes[mentioned[0]]]
        return [self.boxes[i] for i in matching(name, self.called)]

    def is_asked_about(self, name: str) -> bool:
        """Whether a name is one of the question's objects."""
        return any(b in self.roles.boxes for b in self.boxes_called(name))

    def letter(self, name: str) -> str | None:
        """The letter that stands for an object in formulas, None if it has none."""
        found = [i for i, b in enumerate(self.roles.boxes) if b in self.boxes_called(name)]
        return self.roles.letter(found[0]) if found else None

    @cached_property
    def variables(self) -> tuple[dict[str, Value], dict[str, Value]]:
        """Values of all named quantities: from the stated boxes, and from the exact ones."""
        stated = [as_stated(b) for b in self.roles.boxes]
        return self._variables(stated), self._variables(list(self.roles.boxes))

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """All numbers that may stand in a formula about these boxes, without signs."""
        found = set(_CONSTANTS)
        for box in self.roles.boxes:
            found |= {abs(v) for v in stated_numbers(box)}
        for values in self.variables:
            for value in values.values():
                found |= {abs(v) for v in (value if isinstance(value, tuple) else (value,))}
        return tuple(found)

    def _variables(self, boxes: Sequence[Box3D]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        flat = self.question.type in ("direction", "horizontal_distance")
        for i, box in enumerate(boxes):
            letter = self.roles.letter(i)
            values |= {f"{m}_{letter}": measure(box) for m, measure in MEASURES.items()}
            x, y, z = relations.measure_x(box), relations.measure_y(box), relations.measure_z(box)
            values[f"{letter}_pos"] = (x, z) if flat else (x, y, z)
        anchors = range(len(boxes)) if len(boxes) <= _MAX_PAIRED else range(1)
        for i in anchors:
            for j in range(len(boxes)):
                if i != j:
                    values |= self._pair(boxes[i], boxes[j], f"{self.roles.letter(i)}{self.roles.letter(j)}", flat)
        if len(boxes) == 2:
            values |= {k.removesuffix("_AB"): v for k, v in values.items() if k.endswith("_AB")}
        if self.question.type == "direction":
            degrees = relations.direction_degrees(boxes[0], boxes[1])
            values |= {"normalized_angle": degrees, "clock_position": float(relations.clock_hour(degrees))}
        return values

    @staticmethod
    def _pair(a: Box3D, b: Box3D, letters: str, flat: bool) -> dict[str, Value]:
        dx, dy, dz = (round(v, 9) for v in relations.vector(a, b))
        degrees = relations.direction_degrees(a, b)
        signed = degrees - 360.0 if degrees > 180.0 else degrees
        values: dict[str, Value] = {
            "vector": (dx, dz) if flat else (dx, dy, dz),
            "X": dx,
            "Y": dy,
            "Z": dz,
            "distance": relations.distance(a, b),
            "d": relations.distance(a, b),
            "horizontal_distance": relations.horizontal_distance(a, b),
            "vertical_distance": relations.vertical_distance(a, b),
            "angle_deg": signed,
            "angle_rad": math.radians(signed),
        }
        return {f"{name}_{letters}": value for name, value in values.items()}
