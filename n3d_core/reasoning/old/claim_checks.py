"""Checks claims in words, and the rules that a reasoning says it follows, against the boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old import relations
from n3d_core.reasoning.old.claims import Claim, find_claims
from n3d_core.reasoning.old.facts import Facts
from n3d_core.reasoning.old.findings import Finding, shown
from n3d_core.reasoning.old.names import is_anything, normal, singulars
from n3d_core.reasoning.old.question import COMPARISONS, DISTANCES, SIZES
from n3d_core.reasoning.old.relations import PREDICATES, as_stated
from n3d_core.reasoning.units import length_text

FROM_FOUR_DECIMALS = 5.1e-5
"""Metres: a length may have been rounded to 4 decimals before."""
FROM_TWO_DECIMALS = 5.1e-3
"""Metres: a length in another unit may come from metres with 2 decimals."""

_COMPARED = re.compile(
    r"\bcompare the ([XYZ]) coordinate|\bcompare the (width|height|length|volume)s?\b", re.IGNORECASE
)
_MEASURE_NAMES = {"width": "W", "height": "H", "length": "L", "volume": "V"}
_RELATIONSHIP = re.compile(r"\bdetermine the (\w+-\w+) relationship", re.IGNORECASE)
_CALCULATED = re.compile(
    r"\bcalculate the (vertical distance|horizontal distance|distance|direction) as follows", re.IGNORECASE
)


def check_rules(text: str, facts: Facts) -> Iterator[Finding]:
    """Findings about the rule that a reasoning announces: the wrong axis, the wrong relationship."""
    kind = facts.question.type
    predicate = PREDICATES.get(facts.question.predicate)
    measure = predicate.measure if predicate else "Y" if kind == "vertical_distance" else ""
    for match in _COMPARED.finditer(text):
        named = (match[1] or _MEASURE_NAMES[match[2].lower()]).upper()
        if measure and named != measure:
            yield Finding(match[0], f"the question is decided by {measure}, not by {named}")
    for match in _RELATIONSHIP.finditer(text):
        if kind in COMPARISONS and match[1].lower().replace("-", "_") != kind:
            yield Finding(match[0], f"the question is about {kind.replace('_', '-')}")
    for match in _CALCULATED.finditer(text):
        if kind in (*DISTANCES, "direction") and match[1].lower().replace(" ", "_") != kind:
            yield Finding(match[0], f"the question is about the {kind.replace('_', ' ')}")


def check_claims(text: str, facts: Facts, names: dict[str, str], opposite: bool = False) -> Iterator[Finding]:
    """Findings about the claims of a held text; `opposite` is the view where a sentence names none."""
    for claim in find_claims(text, names, opposite):
        problem = _Checker(claim, facts).problem()
        if problem:
            yield Finding(claim.text, problem)


class _Checker:
    """What is wrong with one claim."""

    def __init__(self, claim: Claim, facts: Facts) -> None:
        self.claim, self.facts = claim, facts

    def problem(self) -> str:
        """What is wrong, empty if nothing is."""
        claim = self.claim
        if claim.kind == "count":
            return self._count()
        for name in claim.names:
            if not self.facts.boxes_called(name):
                return f"{name!r} is none of the objects at hand"
            if not self.facts.is_asked_about(name):
                return f"{name} is not what the question asks about"
        boxes = [self.facts.boxes_called(n)[0] for n in claim.names]
        if any(boxes[i] == boxes[j] for i in range(len(boxes)) for j in range(i)):
            return f"{claim.names[0]} is compared with itself"
        if claim.kind == "whether":
            return ""
        return self._subject() or self._false(boxes)

    def _subject(self) -> str:
        """Whether the claim answers another kind of question."""
        kind, asked = self.claim.kind, self.facts.question.type
        if kind in ("relation", "attribute") and asked in COMPARISONS:
            meant = PREDICATES[self.claim.predicate].type
            if meant != asked:
                return f"this is about {meant.replace('_', '/')}, the question about {asked.replace('_', '/')}"
        if kind == "extreme" and asked == "extreme" and self.claim.predicate != self.facts.question.predicate:
            p = PREDICATES[self.facts.question.predicate]
            return f"the question asks for the {p.superlative}"
        if (kind == "size" and asked in SIZES) or (kind == "distance" and asked in DISTANCES):
            meant = self.claim.predicate
            if meant != asked:
                return f"this is the {meant.replace('_', ' ')}, the question asks for the {asked.replace('_', ' ')}"
        return ""

    def _false(self, boxes: list[Box3D]) -> str:
        views = (boxes, [as_stated(b) for b in boxes])
        verdicts = [self._holds(view) for view in views]
        if None in verdicts or any(v is not self.claim.negated for v in verdicts):
            return ""
        return self._truth(boxes)

    def _holds(self, boxes: list[Box3D]) -> bool | None:
        """Whether the claim (without its negation) holds, None if it cannot be told."""
        claim = self.claim
        if claim.kind == "relation":
            return relations.holds(claim.predicate, boxes[0], boxes[1], claim.opposite)
        if claim.kind == "closer":
            a, b, c = self._anchored(boxes)
            near, far = relations.distance(a, b), relations.distance(a, c)
            return near < far if claim.predicate == "closer" else near > far
        if claim.kind == "closest":
            rivals = [b for b in self._rivals(boxes) if b != boxes[1]]
            return rivals[relations.closest(boxes[1], rivals, claim.predicate == "farther")] == boxes[0]
        if claim.kind in ("extreme", "attribute"):
            rivals = self._rivals(boxes)
            return rivals[relations.extreme(claim.predicate, rivals, claim.opposite)] == boxes[0]
        if claim.kind in ("size", "distance"):
            return self._measured(boxes)
        if claim.kind == "order":
            return self._ordered(boxes)
        return relations.clock_direction(boxes[0], boxes[1]) == claim.number if claim.kind == "direction" else None

    def _ordered(self, boxes: list[Box3D]) -> bool:
        """Whether names stand in the order of what the question sorts by (depth, if it names nothing)."""
        predicate = PREDICATES.get(self.facts.question.predicate)
        values = [relations.MEASURES[predicate.measure if predicate else "Z"](b) for b in boxes]
        return values == sorted(values, reverse=self.claim.predicate == ">") and self.claim.predicate != "mixed"

    def _rivals(self, boxes: list[Box3D]) -> list[Box3D]:
        """All objects of the question, stated or exact as `boxes` are."""
        exact = boxes[0] in self.facts.roles.boxes
        return [b if exact else as_stated(b) for b in self.facts.roles.boxes]

    def _anchored(self, boxes: list[Box3D]) -> list[Box3D]:
        """`a is closer to b than c`: the object that the question measures from comes first."""
        anchor = self.facts.roles.names[0]
        if re.search(r" than (?:the )?(?!to |from )", self.claim.text) and normal(self.claim.names[1]) == normal(
            anchor
        ):
            return [boxes[1], boxes[0], boxes[2]]
        return boxes

    def _measured(self, boxes: list[Box3D]) -> bool:
        truth = self._length(boxes)
        return all(abs(stated.metres - truth) <= self._tolerance(i) for i, stated in enumerate(self.claim.lengths))

    def _tolerance(self, index: int) -> float:
        """Half a unit of the last digit; and the rounding of the metres it was computed from."""
        stated = self.claim.lengths[index]
        return stated.resolution + (FROM_FOUR_DECIMALS if stated.unit == "m" else FROM_TWO_DECIMALS)

    def _length(self, boxes: list[Box3D]) -> float:
        if self.claim.kind == "size":
            return float(boxes[0].size[SIZES.index(self.claim.predicate)])
        return relations.DISTANCE[self.claim.predicate](boxes[0], boxes[1])

    def _truth(self, boxes: list[Box3D]) -> str:
        """What the boxes give instead of the claim."""
        claim = self.claim
        if claim.kind == "relation":
            p = PREDICATES[claim.predicate]
            a, b = (relations.MEASURES[p.measure](box) for box in boxes)
            first, second = claim.names
            return f"{p.measure} is {shown(a)} for {first} and {shown(b)} for {second}, so this is wrong"
        if claim.kind in ("size", "distance"):
            unit = claim.lengths[0].unit if claim.lengths else "m"
            return f"the boxes give {length_text(self._length(boxes), unit)}"
        if claim.kind == "direction":
            first, second = claim.names
            return f"{second} is at {relations.clock_direction(boxes[0], boxes[1])} o'clock from {first}"
        return "the boxes say otherwise"

    def _count(self) -> str:
        if self.facts.question.type != "count":
            return ""
        kind, asked = self.claim.names[0], self.facts.question.among
        same = {normal(kind), *singulars(normal(kind))} & {normal(asked), *singulars(normal(asked))}
        if not same and not (is_anything(kind) and is_anything(asked)):
            return f"the question counts {asked!r}, not {kind!r}"
        found = len(self.facts.roles)
        return "" if self.claim.number == found else f"there are {found}"
