"""What the alternatives of `questions.grammar` mean.

An alias names a method of `Meaning` or an entry of `SIMPLE`. What follows in it after dots are its first arguments; the
meanings of the alternative's children are the others. `NoReadingError` drops that reading of the sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from n3d_core.reasoning.constituents import (
    FORMER,
    GAPS,
    IT,
    LATTER,
    MORE_OR_LESS,
    OF_MEASURE,
    ONE,
    OPPOSITES,
    RELATION_NAMES,
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
    joined,
    listing,
    of_kind,
    two_of,
    type_of,
)
from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.predicates import Predicates
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, COMPARISONS, Phrase, Pick, Question
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import to_metres


class Meaning(Predicates):
    """One method for each alias that needs more than one line."""

    # ------------------------------------------------------------------------------------------------ which of them
    def kind(self, phrase: Phrase) -> Phrase:
        if phrase == ONE:
            raise NoReadingError  # "which one" is `WHICH`
        return phrase

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
        if said is None or said.type == "exists" or said.limit is not None:
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
        if phrase.is_anything and phrase.pick is None and clauses == [True]:
            return listing(phrase)  # "what are the things on the table"
        return self.bare(phrase)

    def bare(self, phrase: Phrase) -> Question:
        """A phrase alone: "the tallest mug", "the mug closest to the lamp", "the two tallest mugs"."""
        if phrase.pick is not None and phrase.where and phrase.where[0].relation == "among":
            return self.choice(Degree(phrase.pick.predicate), Alternatives(phrase.where[0].references))
        if (phrase.number or 1) > 1 and (
            phrase.pick or any(w.relation in ("nearest", "farthest") for w in phrase.where)
        ):
            return Question("related", "objects", among=competing(phrase))
        if phrase.pick is not None and phrase.pick.predicate == "middle":
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

    def middle_of(self, kind: Phrase) -> Question:
        """As in "which mug is in the middle?"."""
        if kind.pick is not None:
            raise NoReadingError
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

    def compared_quantity(self, question: Question, word: str, reference: Phrase) -> Question:
        if question.type not in OF_MEASURE or len(question.objects) != 1:
            raise NoReadingError
        return self.polar_more(question.objects[0], self.more_in(word, question.type), reference)

    def difference(self, *children: Any) -> Question:
        parts = Children(children)
        predicate = parts.degree.predicate
        if parts.degree.superlative:
            raise NoReadingError
        return in_unit(Question(type_of(predicate), "difference", parts.phrases, predicate), parts.unit)

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

    def distance_to_nearest(self, *children: Any) -> Question:
        """As in "how far is the mug from its nearest neighbor?"."""
        parts = Children(children)
        (phrase,) = parts.phrases
        relation: Any = "nearest" if parts.words[-1] == "closer" else "farthest"
        other = Phrase("neighbor", "object", where=(clause(relation, phrase),))
        return self.ask("distance", "number", "", phrase, other, AskedUnit(parts.unit))

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
        if phrase.pick is None or phrase.plural:
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
            if question.type not in COMPARISONS or len(question.objects) != 2 or question.form == "difference":
                raise NoReadingError
            question = replace(question, type=type_of(parts.degree.predicate), predicate=parts.degree.predicate)
        for word in parts.words:
            if word == "by_how_much":
                if question.type not in COMPARISONS or question.form not in ("choice", "yes_no"):
                    raise NoReadingError
                question = replace(question, form="difference")
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

    def context_of(self, *children: Any) -> Context:
        """As in "I want to wrap the box": whatever is to be done with it."""
        return self.context(*(c for c in children if not isinstance(c, str)))

    def moved(self, listed: tuple[Phrase, ...], _: Phrase) -> tuple[Phrase, ...]:
        """As in "bring the mug to the table"."""
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
    "least": lambda measure: OPPOSITES[OF_MEASURE[measure]],
    "degree": Degree,
    "pick_of": lambda degree: Pick(degree.predicate),
    "former": lambda: FORMER,
    "latter": lambda: LATTER,
    "most_of_all": lambda predicate: Degree(predicate, superlative=True),
    "more": lambda measure: Degree(OF_MEASURE[measure]),
    "less": lambda measure: Degree(OPPOSITES[OF_MEASURE[measure]]),
    "most_measure": lambda measure: Degree(OF_MEASURE[measure], superlative=True),
    "bound": Bound,
    "pair": lambda *phrases: phrases,
    "two": two_of,
    "alternatives": lambda *phrases: Alternatives(phrases),
    "listed": _listed,
    "half": lambda side: clause(side, CAMERA_PHRASE),
    "unit": AskedUnit,
    "subject": lambda phrase, *_: Context((phrase,)),
    "standing": Standing,
    "gripper": lambda metres, *_: Gripper(metres),
    "first": lambda first, *_: first,
    "neither": lambda *said: Part("conditions", tuple((question, True) for question in said)),
    "length_of": lambda *parts: next(p for p in parts if isinstance(p, float)),
    "last_of": lambda *parts: parts[-1],
    "horizontal_size": lambda plane: "width" if plane == "horizontal" else "height",
}
"""Aliases whose meaning fits on one line."""
