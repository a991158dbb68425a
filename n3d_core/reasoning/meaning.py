"""What the alternatives of `questions.grammar` mean.

An alias names a method of `Meaning` or an entry of `SIMPLE`. What follows in it after dots are its first arguments; the
meanings of the alternative's children are the others. `NoReadingError` drops that reading of the sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from n3d_core.reasoning.constituents import (
    FORMER,
    GAPS,
    IT,
    LATTER,
    MEASURED,
    MORE_OR_LESS,
    OF_MEASURE,
    ONE,
    OPPOSITE,
    OPPOSITES,
    RELATION_NAMES,
    SUBJECT,
    THEM,
    WHICH,
    Alternatives,
    AskedUnit,
    Bound,
    Children,
    Context,
    Degree,
    Gripper,
    Part,
    Standing,
    Table,
    about,
    by_distance,
    check_kind,
    clause,
    clause_saying,
    competing,
    in_depth,
    in_unit,
    is_pair,
    joined,
    listing,
    of_kind,
    one_among,
    two_of,
    type_of,
)
from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.predicates import Predicates
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, COMPARISONS, SIZES, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import to_metres


class Meaning(Predicates):
    """One method for each alias that needs more than one line."""

    # ------------------------------------------------------------------------------------------------ which of them
    def kind(self, phrase: Phrase) -> Phrase:
        if phrase == ONE:
            raise NoReadingError  # "which one" is `WHICH`
        return replace(phrase, noun=WHICH.noun) if phrase.noun == ONE.noun and not phrase.colors else phrase

    def choice(self, *children: Any) -> Question:
        parts = Children(children)
        alternatives = of_kind(parts.phrases, parts.alternatives)
        if CAMERA_PHRASE in alternatives:
            raise NoReadingError
        kind: Any = type_of(parts.degree.predicate) if len(alternatives) == 2 else "extreme"
        return Question(kind, "choice", alternatives, parts.degree.predicate)

    def nearer_choice(self, *children: Any) -> Question:
        parts = Children(children)
        *kinds, anchor = parts.phrases
        alternatives = of_kind(kinds, parts.alternatives)
        if anchor == CAMERA_PHRASE:
            return self.choice(in_depth(parts.words[0]), Alternatives(alternatives))
        return by_distance("choice", anchor, alternatives, parts.words[0])

    def nearest(self, *children: Any) -> Question:
        parts = Children(children)
        kind, anchor = parts.phrases
        if anchor == CAMERA_PHRASE:
            return self.extreme(kind, replace(in_depth(parts.words[0]), superlative=True))
        return replace(by_distance("choice", anchor, (), parts.words[0]), among=competing(kind))

    def ranked_nearest(self, kind: Phrase, rank: str, near: str, anchor: Phrase) -> Question:
        """As in "which mug is second closest to the lamp?"."""
        if kind.pick is not None:
            raise NoReadingError
        if anchor == CAMERA_PHRASE:
            return self.bare(replace(kind, pick=Pick(in_depth(near).predicate, int(rank))))
        return replace(
            by_distance("choice", anchor, (), near), among=replace(competing(kind), pick=Pick("", int(rank)))
        )

    def nearest_kind(self, kind: Phrase, near: str, *parts: Any) -> Question:
        """As in "what is the farthest mug from the lamp?"."""
        *own, anchor = parts
        if kind not in (ANYTHING, WHICH) or anchor == CAMERA_PHRASE:
            raise NoReadingError
        return replace(by_distance("choice", anchor, (), near), among=self._kind(*own))

    def extreme(self, kind: Phrase, degree: Degree) -> Question:
        if (kind.is_anything and not degree.superlative) or kind.pick is not None:
            raise NoReadingError  # "which object is taller?": than what?
        if (kind.number or 1) > 1 and degree.superlative:
            return self.bare(replace(kind, pick=Pick(degree.predicate)))  # "which two mugs are the tallest"
        if kind == WHICH and not degree.superlative:
            kind = replace(WHICH, number=2)
        return Question("extreme", "choice", (), degree.predicate, among=competing(kind))

    def extreme_of(self, among: Phrase, kind: Phrase, degree: Degree) -> Question:
        check_kind([kind])
        return self.extreme(among, replace(degree, superlative=True))

    def related(self, *children: Any) -> Question:
        """As in "what is left of the mug?", "what do you see?", "which mugs are not red?"."""
        parts = Children(children)
        (kind,), said = parts.phrases, parts.question
        kind = replace(kind, without=(*kind.without, *parts.without))
        named = said is not None and said.type == "exists" and len(said.objects) == 2
        if named and kind == WHICH and not self.said.lower().startswith("which"):
            raise NoReadingError  # "what is a mug?"
        if said is None or said.type in ("exists", "same") or said.limit is not None:
            return Question("related", "objects", among=competing(parts.restricted(kind)))
        clause_saying(said)  # only what a clause can say
        return Question("related", "objects", said.objects[1:], said.predicate, among=competing(kind))

    def related_back(self, kind: Phrase, phrase: Phrase, relation: str) -> Question:
        """As in "what is the ball next to?", "what is the mug left of?": the relation turned round."""
        if kind not in (ANYTHING, WHICH) or phrase == CAMERA_PHRASE:
            raise NoReadingError
        back = relation if relation == "next_to" else OPPOSITES[relation]
        return Question("related", "objects", (phrase,), back, among=ANYTHING)

    def what_is(self, kind: Phrase, phrase: Phrase) -> Question:
        """As in "what is the tallest mug?"."""
        if kind not in (ANYTHING, WHICH):
            raise NoReadingError
        clauses = [w.relation in RELATION_NAMES and w.limit is None for w in phrase.where]
        if phrase.is_anything and phrase.pick is None and clauses and all(clauses):
            return listing(phrase)  # "what are the things on the table"
        return self.bare(phrase)

    def bare(self, phrase: Phrase) -> Question:
        """A phrase alone: "the tallest mug", "the mug closest to the lamp", "the two tallest mugs"."""
        if phrase.noun == ONE.noun and not phrase.colors:
            phrase = replace(phrase, noun=WHICH.noun)
        middle = phrase.pick is not None and phrase.pick.predicate == "middle"
        if phrase.pick is not None and not middle and phrase.where and phrase.where[0].relation == "among":
            return self.choice(Degree(phrase.pick.predicate), Alternatives(phrase.where[0].references))
        if (phrase.number or 1) > 1 and (
            phrase.pick or any(w.relation in ("nearest", "farthest") for w in phrase.where)
        ):
            return Question("related", "objects", among=competing(phrase))
        if middle:
            return Question("related", "objects", among=competing(phrase))
        if phrase.pick is not None:
            rest = phrase if phrase.pick.rank > 1 else replace(phrase, pick=None)
            return Question("extreme", "choice", (), phrase.pick.predicate, among=competing(rest))
        if len(phrase.where) == 1 and phrase.where[0].relation in ("nearest", "farthest"):
            near = "closer" if phrase.where[0].relation == "nearest" else "farther"
            relative = by_distance("choice", phrase.where[0].references[0], (), near)
            rank = phrase.where[0].rank
            among = competing(replace(phrase, where=(), pick=Pick("", rank) if rank > 1 else None))
            return replace(relative, among=among)
        raise NoReadingError

    def middle_of(self, *children: Any) -> Question:
        """As in "which mug is in the middle?", "which is in the middle: the mug, the box or the lamp?"."""
        parts = Children(children)
        (kind,) = parts.phrases
        if kind.pick is not None:
            raise NoReadingError
        if parts.alternatives:
            return self.bare(one_among(of_kind([kind], parts.alternatives), Pick("middle"), ""))
        return self.bare(replace(kind, pick=Pick("middle")))

    def find(self, phrase: Phrase) -> Question:
        if phrase.pick is not None or any(w.relation in ("nearest", "farthest") for w in phrase.where):
            return self.bare(phrase)
        return listing(phrase) if phrase.plural else self.ask("position", "position", "", phrase)

    def ranked_kind(self, kind: Phrase, pick: Pick, end: str = "") -> Question:
        if not end and pick.rank == 1:
            raise NoReadingError
        return self.bare(replace(kind, pick=joined(pick, Pick(end)) if end else pick))

    # ----------------------------------------------------------------------------------------- orders, differences
    def ordering(self, *children: Any) -> Question:
        parts = Children(children)
        if any(p.pick and p.number is None for p in parts.phrases):
            raise NoReadingError  # "by volume, what is the largest"
        kind: Any = "depth_order" if parts.words[0] in ("front", "behind") else "order"
        if parts.words[0] not in PREDICATES:
            raise NoReadingError
        among = None if parts.alternatives else competing(*(parts.phrases or (ANYTHING,)))
        return Question(kind, "order", parts.alternatives, parts.words[0], among=among)

    def from_to(self, first: str, last: str) -> str:
        if OPPOSITES[first] != last:
            raise NoReadingError
        return first

    def most_pick(self, word: str, measure: str) -> Pick:
        return Pick(self.most_in(word, measure).predicate)

    def compare(self, *children: Any) -> Question:
        """As in "how does A compare to B in height?": is it taller or shorter."""
        parts = Children(children)
        if len(set(parts.words)) != 1:
            raise NoReadingError
        predicate = OF_MEASURE[parts.words[0]]
        return Question(type_of(predicate), "free", parts.phrases, predicate)

    def bounded(self, *children: Any) -> Question:
        """As in "is the distance more than 2 m?"."""
        parts = Children(children)
        question = parts.question
        if question is None or question.form != "number" or question.type in ("direction", "volume", "dimensions"):
            raise NoReadingError
        bound = MORE_OR_LESS[parts.words[0]] if parts.words else parts.bound or "equal"
        return replace(question, form="yes_no", predicate=bound, limit=parts.metres)

    def compared_quantity(self, question: Question, word: str, *rest: Any) -> Question:
        *measure, reference = rest
        if question.type not in OF_MEASURE or len(question.objects) != 1 or any(m != question.type for m in measure):
            raise NoReadingError
        return self.polar_more(question.objects[0], self.more_in(word, question.type), reference)

    def difference(self, *children: Any) -> Question:
        parts = Children(children)
        predicate = parts.degree.predicate
        if parts.degree.superlative:
            raise NoReadingError
        return in_unit(Question(type_of(predicate), "difference", parts.phrases, predicate), parts.unit)

    def compare_in(self, *children: Any) -> Question:
        """As in "how tall is the mug versus the box?"."""
        parts = Children(children)
        return self.compare(*parts.words, parts.phrases)

    def difference_in(self, measure: str, first: Phrase, second: Phrase) -> Question:
        """As in "how tall is A compared to B?"."""
        return self.difference((first, second), Degree(OF_MEASURE[measure]))

    def difference_than(self, *children: Any) -> Question:
        """As in "how much taller than B is A?", "how much further to the left than B is A?"."""
        parts = Children(children)
        degree = parts.degree if parts.degree.predicate else Degree(parts.words[0])
        return self.difference(*reversed(parts.phrases), degree, AskedUnit(parts.unit))

    def nearer_difference(self, *children: Any) -> Question:
        parts = Children(children)
        if parts.phrases[0] == CAMERA_PHRASE:
            raise NoReadingError  # a degree
        return in_unit(by_distance("difference", parts.phrases[0], parts.phrases[1:], parts.words[0]), parts.unit)

    def offset(self, *children: Any) -> Question:
        """As in "how far left of B is A?"."""
        parts = Children(children)
        relation = next((word for word in parts.words if word in OPPOSITES), "")
        pair = parts.phrases[::-1]
        if not relation:
            raise NoReadingError
        if relation in ("above", "below"):
            return self.ask("vertical_distance", "number", "", pair, AskedUnit(parts.unit))
        return self.difference(pair, Degree(relation), AskedUnit(parts.unit))

    def offset_of(self, *children: Any) -> Question:
        """As in "how far is A left of B?"."""
        parts = Children(children)
        return self.offset(*reversed(parts.phrases), *parts.words, AskedUnit(parts.unit))

    def its_nearest(self, near: str, kind: Phrase) -> Phrase:
        return replace(
            kind, plural=False, where=(*kind.where, Where("nearest" if near == "closer" else "farthest", ()))
        )

    def distance_to_nearest(self, *children: Any) -> Question:
        """As in "how far is the mug from its nearest neighbor?", "... from its closest box?"."""
        parts = Children(children)
        phrase, other = parts.phrases
        other = replace(other, where=tuple(replace(w, references=w.references or (phrase,)) for w in other.where))
        return self.ask("distance", "number", "", phrase, other, AskedUnit(parts.unit))

    def sideways(self, *children: Any) -> Question:
        """As in "how far to the side is the mug?", "how far to the left is the mug?"."""
        parts = Children(children)
        side = next((word for word in parts.words if word in ("left", "right")), "right")
        return self.difference(*parts.phrases[:1], CAMERA_PHRASE, Degree(side), AskedUnit(parts.unit))

    # ----------------------------------------------------------------------- what boxes alone tell: sums, ratios, pairs
    def total(self, *children: Any) -> Question:
        """As in "the combined height of the mug and the box"."""
        parts = Children(children)
        kind = next(word for word in parts.words if word in OF_MEASURE)
        if kind not in SIZES or kind == "thickness" or CAMERA_PHRASE in parts.phrases or len(parts.phrases) < 2:
            raise NoReadingError
        return in_unit(Question(kind, "number", parts.phrases, "sum"), parts.unit)

    def footprint(self, *children: Any) -> Question:
        """As in "how large is the footprint of the box?"."""
        return self.ask("dimensions", "number", "footprint", *Children(children).phrases)

    def path(self, *children: Any) -> Question:
        """As in "from the mug to the box and on to the lamp: how long is that path?"."""
        parts = Children(children)
        return in_unit(Question("distance", "number", parts.phrases, "path"), parts.unit)

    def via(self, *phrases: Phrase) -> tuple[Phrase, ...]:
        """As in "(from the mug) to the lamp via the box"."""
        *first, last, between = phrases
        return (*(first or [CAMERA_PHRASE]), between, last)

    def pair_distance(self, *children: Any) -> Question:
        """As in "the greatest distance between any two objects"."""
        parts = Children(children)
        (kind,) = parts.phrases
        far = bool(parts.words) and MORE_OR_LESS[parts.words[0]] == "more"
        if not kind.plural or kind.pick or kind.number not in (None, 2):
            raise NoReadingError
        return self._pair("number", kind, "farther" if far else "closer")

    def closest_pair(self, kind: Phrase, near: str) -> Question:
        """As in "which two objects are closest to each other?"."""
        if kind.pick or not (kind.number == 2 or self.said.lower().startswith("which pair")):
            raise NoReadingError
        return self._pair("objects", kind, near)

    def _pair(self, form: Any, kind: Phrase, near: str) -> Question:
        return Question("distance", form, (), near, among=replace(competing(kind), number=None))

    def ratio(self, *children: Any) -> Question:
        """As in "the ratio of the heights of the mug and the box"."""
        parts = Children(children)
        sizes = [word for word in parts.words if word in OF_MEASURE]
        return self._ratio((sizes[0], sizes[-1]), parts.phrases)

    def ratio_more(self, *children: Any) -> Question:
        """As in "how many times taller is the mug than the box?"; "shorter" asks for the inverse."""
        parts = Children(children)
        if not parts.degree.predicate:
            return self.ratio(*children)
        more = parts.degree.predicate in MEASURED
        size = MEASURED.get(parts.degree.predicate if more else OPPOSITES[parts.degree.predicate], "")
        return self._ratio((size, size), parts.phrases if more else parts.phrases[::-1])

    def ratio_back(self, *children: Any) -> Question:
        parts = Children(children)
        return self.ratio_more(*reversed(parts.phrases), *(c for c in children if isinstance(c, str | Degree)))

    def percent(self, *children: Any) -> Question:
        """As in "the height of the mug is what percentage of the height of the box?"."""
        flat = [c for child in children for c in (child if isinstance(child, tuple) else (child,))]
        return replace(self.ratio(*flat), predicate="percent")

    def percent_back(self, whole: tuple[Any, ...], part: tuple[Any, ...]) -> Question:
        return self.percent(part, whole)

    def _ratio(self, sizes: Any, phrases: tuple[Phrase, ...]) -> Question:
        alike = sizes[0] == sizes[1] or "volume" not in sizes
        if len(phrases) != 2 or CAMERA_PHRASE in phrases or not set(sizes) <= {*SIZES, "distance"} or not alike:
            raise NoReadingError
        return Question("proportion", "number", phrases, sizes=sizes)

    def from_anchor(self, *children: Any) -> Where:
        """As in "by distance to the lamp, nearest first"."""
        parts = Children(children)
        (anchor,) = parts.phrases
        if anchor == CAMERA_PHRASE or (len(parts.words) == 2 and len(set(parts.words)) == 1):
            raise NoReadingError
        far = parts.words[:1] == ["farther"]
        return Where("farthest" if far else "nearest", (anchor,))

    def anchor_first(self, near: str, anchor: Phrase) -> Where:
        return self.from_anchor(anchor, near)

    def ordering_from(self, *children: Any) -> Question:
        (where,) = (c for c in children if isinstance(c, Where))
        parts = Children(children)
        near = "farther" if where.relation == "farthest" else "closer"
        among = None if parts.alternatives else competing(*(parts.phrases or (ANYTHING,)))
        if any(p.pick for p in parts.phrases) or (among and not parts.phrases[0].plural):
            raise NoReadingError
        return replace(by_distance("order", where.references[0], parts.alternatives, near), among=among)

    def same_color(self, predicate: str, *phrases: Phrase) -> Question:
        """As in "are the mug and the box of the same color?", "are all mugs the same color?"."""
        if CAMERA_PHRASE in phrases:
            raise NoReadingError
        if predicate == "color" and len(phrases) == 1 and phrases[0].text.startswith("any ") and phrases[0].number == 2:
            return Question("same", "yes_no", (), "some_color", among=competing(replace(phrases[0], number=None)))
        if len(phrases) == 2 or is_pair(phrases[0]):
            return Question("same", "yes_no", phrases, predicate)
        if not (phrases[0].plural or phrases[0].every or phrases[0].text.startswith("each")):
            raise NoReadingError
        return Question("same", "yes_no", (), predicate, among=competing(phrases[0]))

    def colored_as(self, predicate: str, reference: Phrase) -> Question:
        return Question("same", "yes_no", (SUBJECT, reference), predicate)

    def colors_of(self, kind: Phrase = ANYTHING) -> Question:
        if not kind.plural:
            raise NoReadingError
        return Question("color", "objects", among=competing(kind))

    def count_sorts(self, predicate: str, kind: Phrase = ANYTHING) -> Question:
        """As in "how many kinds of objects are there?"."""
        return replace(self.count(kind), predicate=predicate)

    def differs(self, *children: Any) -> Question:
        """As in "do the boxes differ in size?"."""
        return replace(self.same_pair(*children), negated=True)

    def gripped(self, opening: float, phrase: Phrase, *_: Any) -> Question:
        """As in "with an opening of 10 cm, can we clamp the box?"."""
        return self.ask("fit", "yes_no", "grip", phrase, opening)

    def distance_of_pair(self, *children: Any) -> Question:
        """As in "the separation of the two boxes"."""
        parts = Children(children)
        if not any(p.plural for p in parts.phrases) and len(parts.phrases) < 2:
            raise NoReadingError
        return self.distance(*children)

    def distance_of_them(self, *children: Any) -> Question:
        return self.distance(THEM, *(c for c in children if isinstance(c, str | AskedUnit)))

    def neighbor_of(self, kind: Phrase, anchor: Phrase, neighbor: Phrase) -> Question:
        """As in "what is the mug's nearest neighbor?"."""
        if kind not in (ANYTHING, WHICH) or anchor == CAMERA_PHRASE:
            raise NoReadingError
        near = "closer" if neighbor.where[-1].relation == "nearest" else "farther"
        among = competing(replace(neighbor, where=neighbor.where[:-1]))
        return replace(by_distance("choice", anchor, (), near), among=among)

    def extreme_without(self, kind: Phrase, degree: Degree, without: Part) -> Question:
        """As in "which box is closest, apart from the red one?"."""
        return self.extreme(replace(kind, without=(*kind.without, *without.value)), degree)

    def loose_listing(self, phrase: Phrase) -> Question:
        """As in "boxes within 1 m of the camera?"."""
        if (
            not phrase.plural
            or not phrase.where
            or phrase.pick
            or self.said.lower().startswith(("all ", "every", "each"))
        ):
            raise NoReadingError  # "all mugs within 1 m?": are they?
        return listing(phrase)

    def room_between(self, pair: tuple[Phrase, ...], phrase: Phrase) -> Question:
        return self.ask("fit", "yes_no", "between", phrase, pair)

    # ------------------------------------------------------------------------- in any order: only what is clear then
    def loose_distance(self, *children: Any) -> Question:
        phrases = Children(children).phrases
        if any(p.plural or (p.is_anything and p.pick and p.text in ("", p.pick.predicate)) for p in phrases):
            raise NoReadingError
        return self.distance(*children)

    def loose_polar(self, subject: Phrase, *said: Any) -> Question:
        some = subject.plural or subject.is_anything or subject.text.startswith(("a ", "an ", "any "))
        if some or subject.number or subject.noun.split()[-1] in GAPS:
            raise NoReadingError  # of all of them, or one of them?
        return self.polar(subject, *said)

    def loose_polar_more(self, subject: Phrase, degree: Degree, reference: Phrase) -> Question:
        return self.loose_polar(subject, self.compared(degree, reference))

    def loose_superlative(self, phrase: Phrase) -> Question:
        if phrase.pick is None or (phrase.plural and phrase.noun != WHICH.noun):
            raise NoReadingError
        return self.bare(phrase)

    def loose_ordering(self, *children: Any) -> Question:
        parts = Children(children)
        if parts.phrases and not parts.phrases[0].plural:
            raise NoReadingError
        return self.ordering(*children)

    # -------------------------------------------------------------------------------------- directions, whole texts
    def turn_to(self, *children: Any) -> Question:
        """As in "how far do I have to turn left to see the mug?"."""
        return self.direction(*Children(children).phrases, "degrees")

    def which_way(self, first: str, second: str, phrase: Phrase) -> Question:
        return about(phrase, self.either(first, second))

    def direction(self, *children: Any) -> Question:
        """The direction from the first phrase, or the camera, to the last."""
        parts = Children(children)
        unit = "deg" if "degrees" in parts.words else "m"
        return Question("direction", "number", (CAMERA_PHRASE, *parts.phrases)[-2:], unit=unit)

    def angle_between(self, *children: Any) -> Question:
        """The angle between two objects as the camera sees them."""
        phrases = Children(children).phrases
        if CAMERA_PHRASE in phrases:
            raise NoReadingError
        return Question("angle", "number", phrases, unit="deg")

    def color_of(self, *children: Any) -> Question:
        (phrase,) = Children(children).phrases
        if phrase.plural or phrase == CAMERA_PHRASE:
            raise NoReadingError
        return Question("color", "objects", (phrase,))

    def direction_to(self, *children: Any) -> Question:
        parts = Children(children)
        return self.direction(*reversed(parts.phrases), *parts.words)

    def sentence(self, *children: Any) -> Question:
        """A question with what surrounds it: unit, view, politeness."""
        parts = Children(children)
        question = parts.question
        assert question
        if parts.degree.predicate:  # "is the box bigger, i.e. taller?"
            question = self._corrected(question, parts.degree)
        for word in parts.words:
            if word == "by_how_much":
                if question.type not in COMPARISONS or question.form not in ("choice", "yes_no"):
                    raise NoReadingError
                question = replace(question, form="difference")
                continue
            if word == "positive":  # "it isn't red, is it?"
                question = replace(question, negated=False)
                continue
            if word == "opposite" and question.type == "exists" and not question.objects[0].where:
                raise NoReadingError  # "is it visible from behind"
            if word == "opposite":
                question = replace(question, opposite=True)
                continue
            kind: Any = {"centers": "distance", "surfaces": "gap"}.get(word, f"{word}_distance")
            if question.type != "distance" and not (question.type == "gap" and word in ("centers", "surfaces")):
                raise NoReadingError
            question = replace(question, type=kind)
        return in_unit(question, parts.unit)

    def _corrected(self, question: Question, degree: Degree) -> Question:
        """As in "which is the lowest box, I mean the shortest one?"."""
        if question.type == "extreme" and question.form == "choice":
            return replace(question, predicate=degree.predicate)
        if question.type not in COMPARISONS or len(question.objects) != 2 or question.form == "difference":
            raise NoReadingError
        return replace(question, type=type_of(degree.predicate), predicate=degree.predicate)

    def context_of(self, *children: Any) -> Context:
        """As in "I want to wrap the box": whatever is to be done with it."""
        return self.context(*(c for c in children if not isinstance(c, str)))

    def moved(self, listed: tuple[Phrase, ...], *_: Phrase) -> tuple[Phrase, ...]:
        """As in "bring the mug to the table", "remove the mug from the scene"."""
        if CAMERA_PHRASE in listed:
            raise NoReadingError
        return listed

    def context(self, listed: tuple[Phrase, ...], *places: Phrase) -> Context:
        return Context(listed, places)


def _color_noun(color: str) -> Phrase:
    """As in "an orange", "a lime": colours that are nouns, too."""
    if color not in ("orange", "lime", "olive", "peach"):
        raise NoReadingError
    return Phrase(color, color)


def _spoken(*words: str) -> float:
    """As in "twenty five", "a hundred and twenty"."""
    total, *rest = map(int, words)
    for more in rest:
        if more == 100 and 0 < total < 10:
            total *= 100
        elif 0 < more < 100 and total and (total % 100 == 0 or (total % 10 == 0 < total % 100 - 10 and more < 10)):
            total += more
        else:
            raise NoReadingError
    return float(total)


def _decimal(whole: float, *digits: str) -> float:
    """As in "one point two"."""
    if any(int(digit) > 9 for digit in digits):
        raise NoReadingError
    return float(f"{whole:.0f}.{''.join(digits)}")


def _metres(number: float, unit: str, *rest: Any) -> float:
    """Metres; of two numbers as in "4 feet 2 inches", "5 foot 3" or "1 metre 20"."""
    metres = to_metres(number, unit)
    if rest:
        more, smaller = (*rest, Table({"m": "cm", "ft": "in"})[unit])[:2]
        part = to_metres(more, smaller)
        if number != int(number) or part >= to_metres(1.0, unit) or (len(rest) == 1 and unit == "m" and more < 10):
            raise NoReadingError
        metres += part
    return metres


def _listed(*items: Phrase | tuple[Phrase, ...]) -> tuple[Phrase, ...]:
    phrases = tuple(p for item in items for p in (item if isinstance(item, tuple) else (item,)))
    for first, second in pairwise(phrases):
        known = first.colors or first.pick or first.noun.startswith("\0")
        if second.noun in (ONE.noun, WHICH.noun) and not known:
            raise NoReadingError  # "the mug, the red one" is one mug
    if any(p.without for p in phrases[:-1]):
        raise NoReadingError  # "everything except the mug and the ball" leaves out both
    return phrases


SIMPLE: dict[str, Callable[..., Any]] = {
    "it": lambda: IT,
    "them": lambda: THEM,
    "which": lambda: WHICH,
    "anything": lambda: ANYTHING,
    "ones": lambda: replace(ONE, plural=True),
    "one_of_them": lambda: ONE,
    "person": lambda: Phrase("person", "person"),
    "named": lambda name: Phrase(name, name, named=True),
    "color_noun": _color_noun,
    "part": Part,
    "color": lambda *words: Part("color", " ".join(words)),
    "color_after": lambda *words: Part("after", " ".join(words)),
    "light_color": lambda color: Part("color", f"light {color}"),
    "two_colors": lambda first, second: Part("color", f"{first} and {second}"),
    "number": float,
    "spoken": _spoken,
    "decimal": _decimal,
    "sum": lambda *numbers: sum(numbers),
    "share": lambda part, whole: int(part) / int(whole),
    "metres": _metres,
    "inches": lambda number: to_metres(number, "in"),
    "metres_and": lambda number, unit, part: to_metres(number + part, unit),
    "metres_of_one": lambda unit, part=0.0: to_metres(1.0 + part, unit),
    "pick": Pick,
    "ranked": lambda *parts: Pick(parts[-1], int(parts[0]) if len(parts) > 1 else 1),
    "ordinal": lambda rank: Pick("", int(rank)),
    "last": lambda: Pick("", -1),
    "where": clause,
    "where_saying": clause_saying,
    "where_side": lambda reference, side: clause(side, reference),
    "most": lambda measure: OF_MEASURE[measure],
    "by_extent": lambda word="": "farther" if MORE_OR_LESS[word] == "more" else "closer",
    "depth_most": lambda word, *_: Degree("behind" if MORE_OR_LESS[word] == "more" else "front", superlative=True),
    "least_of_all": lambda _, measure: Degree(OPPOSITES[OF_MEASURE[measure]], superlative=True),
    "least": lambda measure: OPPOSITES[OF_MEASURE[measure]],
    "degree": Degree,
    "pick_of": lambda degree: Pick(degree.predicate),
    "former": lambda: FORMER,
    "latter": lambda: LATTER,
    "most_of_all": lambda predicate, *_: Degree(predicate, superlative=True),
    "more": lambda measure: Degree(OF_MEASURE[measure]),
    "less": lambda measure: Degree(OPPOSITES[OF_MEASURE[measure]]),
    "most_measure": lambda measure: Degree(OF_MEASURE[measure], superlative=True),
    "bound": Bound,
    "pair": lambda *phrases: phrases,
    "two": two_of,
    "alternatives": lambda *phrases: Alternatives(phrases),
    "listed": _listed,
    "half": lambda side: clause(side, CAMERA_PHRASE),
    "unit": lambda symbol, *_: AskedUnit(symbol),
    "subject": lambda phrase, *_: Context((phrase,)),
    "standing": Standing,
    "turned": lambda: Standing(OPPOSITE),
    "range": lambda low, high, unit: (to_metres(low, unit), to_metres(high, unit)),
    "gripper": lambda metres, *_: Gripper(metres),
    "first": lambda first, *_: first,
    "positive": lambda: "positive",
    "neither": lambda *said: Part("conditions", tuple((question, True) for question in said)),
    "length_of": lambda *parts: next(p for p in parts if isinstance(p, float)),
    "last_of": lambda *parts: parts[-1],
    "horizontal_size": lambda plane: "width" if plane == "horizontal" else "height",
}
"""Aliases whose meaning fits on one line."""
