"""Checks the statements of a reasoning against the boxes: stated boxes and centres, measures, rules and claims."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.claims import Claim, find_claims
from n3d_core.reasoning.facts import AXES, MEASURE_WORDS, Facts, Slip, shown
from n3d_core.reasoning.lexicon import normal, release, singulars, strip_article
from n3d_core.reasoning.outcome import all_of, clause_of
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES
from n3d_core.reasoning.relations import MEASURES, PLACES, PREDICATES, as_stated, stated_numbers
from n3d_core.reasoning.replies import relation_words
from n3d_core.reasoning.units import NUMBER_PATTERN, length_text, parse_number, rounding

_LIST = r"\[[^\[\]]*\]"
_STATED = re.compile(
    r"\b3D (?P<what>bbox|bounding box|box|center coordinate|centre coordinate|center|centre|position|coordinate)"
    r"(?:e?s)? of "
    rf"(?P<who>\[[^\[\]]*\]|[^\[\]=]+?) (?:is|are|=) (?P<values>\[(?:{_LIST}[, ]*)+\]|{_LIST}(?:(?:,| and|, and) "
    rf"{_LIST})*)",
    re.IGNORECASE,
)
_AND = re.compile(r"\s*(?:,|\band\b)\s*", re.IGNORECASE)
_MEASURED = re.compile(
    rf"(?P<m>[XYZWHLV])_(?P<letter>[A-Z]) = (?P<value>{NUMBER_PATTERN}) for (?P<who>[^,.;:=]+?)(?=[,.;]|$)"
)
_NUMBERED = re.compile(r"(?P<who>[^,.;:()]+?) \((?P<k>\d+)\)")
_ROUNDING = 1e-6
_FOUND = ("count", "exists", "related", "all")  # types whose outcome has the objects that stand somewhere


def check_stated_boxes(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Slip]:
    """Slips about all boxes and centres that a held text states."""
    for match in _STATED.finditer(text):
        who = [strip_article(release(w, names)) for w in _AND.split(match["who"].strip("[]")) if w.strip()]
        lists = re.findall(_LIST, match["values"])
        if len(who) != len(lists):
            yield Slip(match[0], f"{len(who)} objects are named and {len(lists)} lists of numbers stated")
            continue
        size = 6 if "bo" in match["what"].lower() else 3
        for name, values in zip(who, lists, strict=True):
            yield from _check_list(name, values, size, facts)


def _check_list(name: str, values: str, size: int, facts: Facts) -> Iterator[Slip]:
    texts = re.findall(NUMBER_PATTERN, values)
    step = f"{name} is {values}"
    boxes = facts.boxes_called(name)
    if not boxes:
        yield Slip(step, f"{name} is not among the objects in view")
    elif len(texts) != size:
        yield Slip(step, f"the step states {len(texts)} numbers instead of {size}")
    elif not any(_matches(texts, box) for box in boxes):
        truth = stated_numbers(boxes[0])[:size]
        off = max(abs(parse_number(text) - value) for text, value in zip(texts, truth, strict=False))
        yield Slip(step, _misstated(name, texts, truth), off)


def _misstated(name: str, texts: list[str], truth: list[float]) -> str:
    """Which number of a stated box is wrong; the whole box if several are."""
    wrong = [
        f"{axis} = {parse_number(text):.2f}, but the box of {name} has {axis} = {value + 0.0:.2f}"
        for axis, text, value in zip(AXES, texts, truth, strict=False)
        if abs(parse_number(text) - value) > rounding(text) + _ROUNDING
    ]
    return f"the step uses {wrong[0]}" if len(wrong) == 1 else f"the box of {name} is {[round(v, 2) for v in truth]}"


def _matches(texts: list[str], box: Box3D) -> bool:
    x, y, z = box.center
    exact = (-x, -y, z, *box.size)
    return all(abs(parse_number(t) - v) <= rounding(t) + _ROUNDING for t, v in zip(texts, exact, strict=False))


def check_measures(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Slip]:
    """Slips about `Z_A = 1.2 for mug`: the letter must be the object's, the number its own."""
    for match in _MEASURED.finditer(text):
        name = strip_article(release(match["who"], names))
        boxes = facts.boxes_called(name)
        step, value, half = match[0], parse_number(match["value"]), rounding(match["value"])
        if not boxes:
            yield Slip(step, f"{name} is not among the objects in view")
        elif facts.letter(name) != match["letter"]:
            yield Slip(step, f"{match['letter']} does not stand for {name}")
        elif not any(abs(v - value) <= half + _ROUNDING for b in boxes for v in _measures(match["m"], b)):
            yield Slip(
                step,
                f"the step uses {MEASURE_WORDS[match['m']]} = {value:.2f}, but the box of {name} has "
                f"{MEASURE_WORDS[match['m']]} = {MEASURES[match['m']](boxes[0]):.2f}",
                abs(MEASURES[match["m"]](boxes[0]) - value),
            )


def _measures(measure: str, box: Box3D) -> tuple[float, float]:
    return MEASURES[measure](box), MEASURES[measure](as_stated(box))


def check_enumeration(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Slip]:
    """Slips about `The boxes are mug (1), mug (2).`: every object once, numbered in order."""
    found = re.search(r"\bboxes are (?P<list>[^.]*\(\d+\)[^.]*)", text)
    if found is None:
        return
    items = list(_NUMBERED.finditer(found["list"]))
    called = [strip_article(release(i["who"].strip(), names)) for i in items]
    for k, item in enumerate(items, start=1):
        if int(item["k"]) != k:
            yield Slip(found[0], f"({item['k']}) should be ({k})")
            return
    meant = facts.enumerated
    if sorted(c.lower() for c in called) != sorted(n.lower() for n in meant):
        yield Slip(found[0], f"the objects are {', '.join(meant) or 'none'}")


FROM_FOUR_DECIMALS = 5.1e-5
"""Metres: error of a length that was computed from 4 decimals."""
FROM_TWO_DECIMALS = 5.1e-3
"""Metres: error of a length in another unit that was computed from metres with 2 decimals."""

OTHER_VALUE = "the boxes give"
"""The problem of a claim that only has the wrong value begins like this."""
_LITRES = 0.0151  # volumes and their differences are computed from volumes with 2 decimals
_BEARING = 0.7  # degrees; a direction may come from centres with 2 decimals
_COMPARED = re.compile(
    r"\bcompare the ([XYZ]) coordinate|\bcompare the (width|height|length|volume)s?\b", re.IGNORECASE
)
_MEASURE_NAMES = {"width": "W", "height": "H", "length": "L", "volume": "V"}
_RELATIONSHIP = re.compile(r"\bdetermine the (\w+-\w+) relationship", re.IGNORECASE)
_CALCULATED = re.compile(
    r"\bcalculate the (vertical distance|horizontal distance|distance|direction) as follows", re.IGNORECASE
)


def check_rules(text: str, facts: Facts) -> Iterator[Slip]:
    """Slips about the rule that a reasoning says it follows: the wrong axis, the wrong relationship."""
    kind = facts.question.type
    predicate = PREDICATES.get(facts.question.predicate)
    measure = predicate.measure if predicate else "Y" if kind == "vertical_distance" else ""
    if kind == "same":
        for match in re.finditer(r"\bmin\([^)]*\) / 10", text):
            yield Slip(match[0], "the extents may differ by a tenth of the larger one, which is their max")
    for match in _COMPARED.finditer(text):
        named = (match[1] or _MEASURE_NAMES[match[2].lower()]).upper()
        if measure and named != measure:
            yield Slip(match[0], f"the question is decided by {measure}, not by {named}")
    for match in _RELATIONSHIP.finditer(text):
        if kind in COMPARISONS and match[1].lower().replace("-", "_") != kind:
            yield Slip(match[0], f"the question is about {kind.replace('_', '-')}")
    for match in _CALCULATED.finditer(text):
        if kind in (*DISTANCES, "direction") and match[1].lower().replace(" ", "_") != kind:
            yield Slip(match[0], f"the question is about the {kind.replace('_', ' ')}")


def check_conclusion(text: str, facts: Facts) -> Iterator[Slip]:
    """Slips if a reasoning ends in the wrong `True` or `False`, or says for how many it holds and is wrong."""
    share = re.search(r"\bholds for (\d+) of (\d+)", text)
    if share and facts.question.type == "all":
        true = len(facts.outcome.found), all_of(facts.outcome)
        if (int(share[1]), int(share[2])) != true:
            yield Slip(share[0], f"it holds for {true[0]} of {true[1]}")
    ending = re.search(r"[^.]*, (True|False)\.?$", text.strip())
    value = facts.outcome.value
    if ending and value.kind == "truth" and ending[1] != str(value.truth):
        yield Slip(ending[0].strip(), f"the boxes give {value.truth}")


def check_claims(text: str, facts: Facts, names: dict[str, str], opposite: bool = False) -> Iterator[Slip]:
    """Slips about the claims of a held text; `opposite` is the view if a sentence names none."""
    for claim in find_claims(text, names, opposite):
        problem = _Checker(claim, facts).problem()
        if problem:
            yield Slip(claim.text, problem)


class _Checker:
    """Checks one claim."""

    def __init__(self, claim: Claim, facts: Facts) -> None:
        self.claim, self.facts = claim, facts

    def problem(self) -> str:
        """What is wrong with the claim; empty if nothing is."""
        claim = self.claim
        if claim.kind == "count":
            return self._count()
        if claim.kind == "nothing":
            return self._nothing()
        if claim.kind == "listed":
            return self._listed()
        located = self.facts.question.type in ("place", "related", "count", "exists", "all")
        known = all(map(self.facts.boxes_called, claim.names))
        if not known and (self.facts.question.type == "all" or (claim.predicate in PLACES and not located)):
            return ""  # "all mugs"; "on the table", of which there need be no box
        for name in claim.names:
            if not self.facts.boxes_called(name):
                return f"{name} is not among the objects in view"
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
        if kind in ("relation", "attribute") and asked in COMPARISONS and self.claim.predicate in PREDICATES:
            meant = PREDICATES[self.claim.predicate].type
            if meant != asked:
                return f"this is about {meant.replace('_', '/')}, the question about {asked.replace('_', '/')}"
        other = self.claim.predicate != self.facts.question.predicate
        if kind in ("extreme", "ranked") and asked == "extreme" and other:
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
        """Whether the claim, without its negation, holds; None if that cannot be decided."""
        claim = self.claim
        if claim.kind == "relation":
            return self._stands(boxes)
        if claim.kind == "difference":
            gain = relations.gain(claim.predicate, boxes[0], boxes[1], claim.opposite)
            if not claim.lengths:
                return abs(gain - claim.number) <= _LITRES
            return all(abs(gain - s.metres) <= self._tolerance(i) for i, s in enumerate(claim.lengths))
        if claim.kind == "closer":
            a, b, c = self._anchored(boxes)
            near, far = relations.distance(a, b), relations.distance(a, c)
            return near < far if claim.predicate == "closer" else near > far
        if claim.kind == "closest":
            rivals = [b for b in self._rivals(boxes) if b != boxes[1]]
            rank = int(claim.number) or 1
            if rank > len(rivals):
                return False
            return rivals[relations.closest(boxes[1], rivals, claim.predicate == "farther", rank)] == boxes[0]
        if claim.kind in ("extreme", "attribute"):
            rivals = self._rivals(boxes)
            return rivals[relations.extreme(claim.predicate, rivals, claim.opposite)] == boxes[0]
        if claim.kind in ("size", "distance"):
            return self._measured(boxes)
        if claim.kind == "ranked":
            rivals = self._rivals(boxes)
            better = [b for b in rivals if relations.gain(claim.predicate, b, boxes[0], claim.opposite) > 0]
            return len(better) == int(claim.number) - 1
        if claim.kind == "volume":
            return abs(relations.MEASURES["V"](boxes[0]) - claim.number) <= _LITRES
        if claim.kind == "away":
            hour = relations.clock_direction(relations.CAMERA, boxes[0])
            return self._measured(boxes) and self.claim.number in (0.0, float(hour))
        if claim.kind == "bearing":
            return relations.turn(relations.direction_degrees(*boxes[:2]), claim.number) <= _BEARING
        if claim.kind == "order":
            return self._ordered(boxes)
        return relations.clock_direction(boxes[0], boxes[1]) == claim.number if claim.kind == "direction" else None

    def _stands(self, boxes: list[Box3D]) -> bool | None:
        """Whether an object is where the claim puts it. In questions about above and below, "under" is "below"."""
        claim, asked = self.claim, self.facts.question.type
        if claim.predicate == "between" and len(boxes) < 3:
            return None
        if claim.predicate in ("on", "under") and asked == "above_below":
            return relations.gain("above" if claim.predicate == "on" else "below", boxes[0], boxes[1]) > 0
        return relations.stands(claim.predicate, boxes[0], boxes[1:], claim.opposite)

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
            return relations.SIZE[self.claim.predicate](boxes[0])
        if self.claim.kind == "away":
            return relations.distance(relations.CAMERA, boxes[0])
        return relations.DISTANCE[self.claim.predicate](boxes[0], boxes[1])

    def _truth(self, boxes: list[Box3D]) -> str:
        """What the boxes give instead of the claim."""
        claim = self.claim
        if claim.predicate in PLACES:
            terms = relations.place_terms(claim.predicate, boxes[0], boxes[1:])
            return "they have " + ", ".join(f"{t.symbol} = {shown(t.value)}" for t in terms)
        if claim.kind in ("relation", "difference"):
            p = PREDICATES[claim.predicate]
            a, b = (relations.MEASURES[p.measure](box) for box in boxes)
            (first, second), word = claim.names, MEASURE_WORDS[p.measure]
            return f"{OTHER_VALUE} {word} = {a:.2f} for {first} and {word} = {b:.2f} for {second}"
        if claim.kind in ("size", "distance", "away"):
            unit = claim.lengths[0].unit if claim.lengths else "m"
            return f"{OTHER_VALUE} {length_text(self._length(boxes), unit)}"
        if claim.kind == "direction":
            first, second = claim.names
            return f"{OTHER_VALUE} {relations.clock_direction(boxes[0], boxes[1])} o'clock for {second} from {first}"
        if claim.kind == "bearing":
            return f"{OTHER_VALUE} {shown(relations.direction_degrees(boxes[0], boxes[1]))} degrees to the left"
        if claim.kind == "volume":
            return f"{OTHER_VALUE} {shown(relations.MEASURES['V'](boxes[0]))} liters"
        return "the boxes say otherwise"

    def _nothing(self) -> str:
        """Whether something is where the claim says that nothing is."""
        clause = clause_of(self.facts.question)
        if clause is None or self.facts.question.type not in ("count", "exists", "related"):
            return ""
        references = self.facts.roles.boxes[: len(clause.references)]
        if not all(set(self.facts.boxes_called(name)) & set(references) for name in self.claim.names):
            return f"{' and '.join(self.claim.names)} is not what the question asks about"
        if self.claim.predicate != clause.relation:
            return f"the question is about what is {relation_words(clause.relation)} {self.claim.names[0]}"
        found = [self.facts.scene.names[i] for i in self.facts.outcome.found]
        return f"there {'are' if len(found) > 1 else 'is'} {', '.join(found)}" if found else ""

    def _listed(self) -> str:
        """Whether the objects that a claim lists are those that stand where the question asks."""
        facts, (*listed, reference) = self.facts, self.claim.names
        clause = clause_of(facts.question)
        if clause is None or self.claim.predicate != clause.relation or facts.question.type not in _FOUND:
            return ""
        if not any(b in facts.roles.boxes[: facts.outcome.references] for b in facts.boxes_called(reference)):
            return ""
        found = [[facts.scene.names[i] for i in outcome.found] for outcome in facts.outcomes]
        same = any(Counter(map(normal, listed)) == Counter(map(normal, names)) for names in found)
        return "" if same else f"the objects are {', '.join(found[0]) or 'none'}"

    def _count(self) -> str:
        if self.facts.question.type not in ("count", "exists"):
            return ""
        asked, kind = self.facts.counted_words, normal(self.claim.names[0]).replace(" the ", " ")
        if not {kind, *singulars(kind)} & asked:
            return f"the question counts {max(asked, key=len)}, not {kind}"
        found = len(self.facts.outcome.found)
        return "" if self.claim.number == found else f"there are {found}"
