"""The truth about the objects of a question: every quantity that a chain of thought may name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.expressions import Numeric
from n3d_core.reasoning.lexicon import normal, singulars, without_id
from n3d_core.reasoning.outcome import Outcome, evaluate, sought
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.relations import MEASURES, PLACES, as_stated, place_terms, stated_numbers
from n3d_core.reasoning.replies import kind_words
from n3d_core.reasoning.resolve import LETTERS, Roles, Scene

_CONSTANTS = (0.0, 1.0, 2.0, 10.0, 12.0, 30.0, 100.0, 180.0, 360.0, 1000.0)
_MAX_PAIRED = 8  # with more objects only the distances from and to the first have names
AXES = ("x", "y", "z", "width", "height", "length")
"""Names of the six numbers of a stated box."""
MEASURE_WORDS = dict(zip("XYZWHL", AXES, strict=True)) | {"V": "volume", "T": "thickness"}
"""The measures of formulas in words."""
_CENTIMETRE = 0.0101  # with the rounding of two decimals


@dataclass(frozen=True)
class Slip:
    """A step that the boxes contradict.

    Attributes:
        step: the step, in the words of the text.
        problem: what is wrong with it, and what the boxes give.
        off: by how many metres a number of a box is misstated; infinity for any other slip.
    """

    step: str
    problem: str
    off: float = math.inf

    @property
    def matters(self) -> bool:
        """Whether to mention it even if the answer is right. A centimetre is not: boxes are no better."""
        return self.off > _CENTIMETRE


def shown(value: float | tuple[float, ...]) -> str:
    """A value as text: `31.21`, `(5.81, 9.59)`, `0.0042`."""
    if isinstance(value, tuple):
        return "(" + ", ".join(shown(v) for v in value) + ")"
    digits = 2 if abs(value) >= 1 else 4
    return f"{round(value, digits) + 0.0:g}" if abs(value) < 1e6 else f"{value:.6g}"


@dataclass(frozen=True)
class Facts:
    """The truth about the objects of one question, from the exact boxes and from those in the prompt (2 decimals).

    A statement is right if it fits either: the model has only seen the rounded numbers.

    Attributes:
        question: what was asked.
        scene: all boxes and their names.
        outcome: the objects of the question, and its value.
    """

    question: Question
    scene: Scene
    outcome: Outcome

    @property
    def roles(self) -> Roles:
        """The objects asked about."""
        return self.outcome.roles

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What the exact and the stated boxes give."""
        stated = self.scene.moved([as_stated(b) for b in self.scene.boxes])
        try:
            return self.outcome, evaluate(self.question, stated)
        except QueryError:  # rounded boxes may leave a phrase without an object
            return (self.outcome,)

    @property
    def enumerated(self) -> tuple[str, ...]:
        """Names of the boxes that a thought may number: the counted ones, or all objects of the question."""
        if self.question.type not in ("count", "exists", "related"):
            return self.roles.names
        return tuple(self.scene.names[i] for i in self.outcome.found)

    @cached_property
    def counted_words(self) -> set[str]:
        """The words that a count may use for what it counts."""
        phrase = sought(self.question)
        words = {normal(kind_words(phrase, several)).replace(" the ", " ") for several in (False, True)}
        bare = normal(phrase.label)
        anything = {"thing", "item", "box"} if phrase.is_anything else set() if self.outcome.found else {"box"}
        return words | {bare, *singulars(bare)} | anything

    def boxes_called(self, name: str) -> list[Box3D]:
        """The boxes that a name means: preferably objects of the question, otherwise any."""
        own = [b for n, b in zip(self.roles.names, self.roles.boxes, strict=True) if normal(n) == normal(name)]
        if own:
            return own
        for names, boxes in ((self.roles.names, self.roles.boxes), (self.scene.names, self.scene.boxes)):
            found = [boxes[i] for i in named(name, names)]
            if found:
                return found
        return []

    def is_asked_about(self, name: str) -> bool:
        """Whether a name is one of the question's objects."""
        return any(b in self.roles.boxes for b in self.boxes_called(name))

    def letter(self, name: str) -> str | None:
        """The letter of an object in formulas, None if it has none."""
        found = [i for i, b in enumerate(self.roles.boxes) if b in self.boxes_called(name)]
        return self.roles.letter(found[0]) if found else None

    @cached_property
    def variables(self) -> tuple[dict[str, Numeric], dict[str, Numeric]]:
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

    def misread(self, step: str, number: float, axis: str = "") -> Slip | None:
        """The slip of a step whose wrong number was probably meant to be one of a box; None if none is close.

        Args:
            axis: `x`, `y` or `z` where the formula is along one.
        """
        known = [
            (abs(value - number), name, measure, value)
            for name, box in zip(self.roles.names, self.roles.boxes, strict=True)
            for measure, value in zip(AXES, stated_numbers(box), strict=True)
            if axis in ("", measure)
        ]
        off, name, measure, value = min(known, default=(math.inf, "", "", 0.0))
        if off > max(0.5, abs(number) / 2):
            return None
        told = f"the step uses {measure} = {number:.2f}, but the box of {name} has {measure} = {value + 0.0:.2f}"
        return Slip(step, told, off)

    def _variables(self, boxes: Sequence[Box3D]) -> dict[str, Numeric]:
        values: dict[str, Numeric] = {}
        flat = self.question.type in ("direction", "horizontal_distance")
        if len(boxes) > len(LETTERS):
            return values
        for i, box in enumerate(boxes):
            letter = self.roles.letter(i)
            values |= {f"{m}_{letter}": measure(box) for m, measure in MEASURES.items()}
            x, y, z = (MEASURES[m](box) for m in "XYZ")
            values[f"{letter}_pos"] = (x, z) if flat else (x, y, z)
        for i, j in self._pairs(len(boxes)):
            letters = f"{self.roles.letter(i)}{self.roles.letter(j)}"
            values |= self._pair(boxes[i], boxes[j], letters, flat)
            if self.question.type in ("gap", "fit"):  # the extents of both together, which a gap leaves out
                values |= {f"{m}_{letters}": MEASURES[m](boxes[i]) + MEASURES[m](boxes[j]) for m in "WHL"}
        if len(boxes) == 2:
            values |= {k.removesuffix("_AB"): v for k, v in values.items() if k.endswith("_AB")}
        clauses = [where.relation for phrase in self.question.phrases for where in phrase.where]
        if len(boxes) > 2 and "between" in (self.question.predicate, *clauses):
            values |= self._triples(boxes)
        if self.question.type in ("direction", "position"):
            degrees = relations.direction_degrees(boxes[0], boxes[1])
            values |= {"normalized_angle": degrees, "clock_position": float(relations.clock_hour(degrees))}
        if self.question.factor != 1.0:
            size = relations.SIZE[self.question.sizes[1]](boxes[-1])
            values |= {"factor": self.question.factor, "times": self.question.factor * size}
        if self.question.limit is not None:
            values["limit"] = self.question.limit * (1000.0 if self.question.type == "volume" else 1.0)
        return values

    @staticmethod
    def _pairs(count: int) -> Iterator[tuple[int, int]]:
        for i in range(count):
            for j in range(count):
                if i != j and (count <= _MAX_PAIRED or 0 in (i, j)):
                    yield i, j

    def _triples(self, boxes: Sequence[Box3D]) -> dict[str, Numeric]:
        """What decides whether an object is between two others: those are the first two of a relation's roles, or the
        last two of a place's."""
        count = len(boxes)
        places = [(0, 1, 2)] if self.question.type == "place" else [(i, 0, 1) for i in range(2, count)]
        values: dict[str, Numeric] = {}
        for place in places:
            letters = "".join(self.roles.letter(i) for i in place)
            a, b, c = (boxes[i] for i in place)
            values |= _terms("between", a, (b, c), letters)
        return values

    @staticmethod
    def _pair(a: Box3D, b: Box3D, letters: str, flat: bool) -> dict[str, Numeric]:
        dx, dy, dz = (round(v, 9) for v in relations.vector(a, b))
        degrees = relations.direction_degrees(a, b)
        signed = degrees - 360.0 if degrees > 180.0 else degrees
        values: dict[str, Numeric] = {
            "vector": (dx, dz) if flat else (dx, dy, dz),
            "X": dx,
            "Y": dy,
            "Z": dz,
            "distance": relations.distance(a, b),
            "d": relations.distance(a, b),
            "horizontal_distance": relations.horizontal_distance(a, b),
            "vertical_distance": relations.vertical_distance(a, b),
            "gaps": relations.gaps(a, b),
            "angle_deg": signed,
            "angle_rad": math.radians(signed),
        }
        named_values = {f"{name}_{letters}": value for name, value in values.items()}
        for place in PLACES:
            if place != "between":
                named_values |= _terms(place, a, (b,), letters)
        return named_values


def _terms(place: str, a: Box3D, references: Sequence[Box3D], letters: str) -> dict[str, Numeric]:
    values: dict[str, Numeric] = {}
    for term in place_terms(place, a, references):
        values[f"{term.symbol}_{letters}"] = term.value
        if term.bound:
            values[f"{term.bound}_{letters}"] = term.high
    return values


def named(mention: str, names: Sequence[str]) -> list[int]:
    """Indices of the names that a mention in a text may mean, by the first of these rules that finds any.

    1. the same name (`4_chair`, `red mug`), 2. the same without an id (`chair` for `4_chair`), 3. the names that end in
    the mention's last word and hold all of its words (`mug` for `red mug`), 4. the names whose words all stand in the
    mention and that end alike (`mug` for `big red mug`).
    """
    plain = [normal(n) for n in names]
    bare = [without_id(n) for n in plain]
    readings = tuple(dict.fromkeys((normal(mention), *singulars(normal(mention)))))
    for candidates in (plain, bare):
        for text in readings:
            same = [i for i, n in enumerate(candidates) if n == text]
            if same:
                return same
    for text in readings:
        asked = set(text.split())
        alike = [(i, set(n.split())) for i, n in enumerate(bare) if n.split()[-1:] == text.split()[-1:]]
        found = [i for i, have in alike if asked <= have] or [i for i, have in alike if have <= asked]
        if found:
            return found
    return []
