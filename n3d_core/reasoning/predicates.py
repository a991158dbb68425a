"""Questions made from a template, and what is said of a subject: yes/no questions, existence and counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from n3d_core.reasoning.constituents import (
    GAPS,
    IT,
    LIMITS,
    MORE_OR_LESS,
    OF_MEASURE,
    ONE,
    OPPOSITES,
    SCENES,
    SUBJECT,
    THEM,
    WHICH,
    AskedUnit,
    Bound,
    Children,
    Condition,
    Degree,
    Part,
    about,
    by_distance,
    check_reference,
    clause,
    clause_saying,
    in_depth,
    in_unit,
    is_any,
    is_pair,
    restricted,
    type_of,
)
from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import TERMINALS
from n3d_core.reasoning.noun_phrases import NounPhrases
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, DISTANCES, SIZES, Phrase, Question, Where

_NEXT = tuple(f"{near} {thing}" for near in ("closest", "nearest") for thing in ("object", "thing", "item"))
TOUCHING = 0.01
"""Gap in metres up to which objects touch."""


class Predicates(NounPhrases):
    """Methods for questions about a subject. `SUBJECT` stands for one that is still to come."""

    # ---------------------------------------------------------------------------------------- questions by template
    def ask(self, kind: Any, form: Any, predicate: str, *children: Any) -> Question:
        """Builds a question about the phrases, in their order, with the children's unit, bound, length and negation."""
        parts = Children(children)
        objects = parts.phrases
        if objects[0] != SUBJECT and (objects[0] == CAMERA_PHRASE or objects[0].noun in (*SCENES, *GAPS)):
            raise NoReadingError  # neither the camera, the picture nor a gap has a size or a place
        if kind == "place" and any(o.noun in SCENES for o in objects):
            raise NoReadingError  # "does the scene contain a mug" asks whether there is one
        if kind == "fit" and (CAMERA_PHRASE in objects or objects[-1].noun in TERMINALS["_GRIPPER"]):
            raise NoReadingError  # what fits a gripper does not lie in it, nor can "you hold the mug" inside
        if kind in DISTANCES and len(objects) == 1 and not is_pair(objects[0]):
            objects = (*objects, CAMERA_PHRASE)
        question = Question(kind, form, objects, predicate or parts.bound, limit=parts.metres, negated=parts.negated)
        if parts.metres is not None and not question.predicate:
            question = replace(question, predicate="equal")
        return in_unit(question, parts.unit)

    def ask_back(self, kind: Any, form: Any, predicate: str, *children: Any) -> Question:
        """As `ask`, with the phrases in reverse order."""
        parts = Children(children)
        return self.ask(
            kind, form, predicate, *reversed(parts.phrases), *(c for c in children if isinstance(c, AskedUnit))
        )

    def say(self, kind: Any, predicate: str, *children: Any) -> Question:
        """Builds a yes/no question about a subject that is not known yet."""
        return self.ask(kind, "yes_no", predicate, SUBJECT, *children)

    def size(self, *children: Any) -> Question:
        """As in "how tall is it?", or with a length "is it 20 cm tall?"."""
        parts = Children(children)
        kind = next(word for word in parts.words if word in OF_MEASURE)
        if parts.metres is None:
            return self.ask(kind, "number", "", *children)
        if kind == "dimensions":
            raise NoReadingError
        return self.say(kind, "", *children)

    def size_across(self, *children: Any) -> Question:
        """As in "how deep is the box from front to back?"."""
        parts = Children(children)
        if len(parts.words) != 2 or len(set(parts.words)) != 1:
            raise NoReadingError
        return self.size(parts.words[0], *parts.phrases, AskedUnit(parts.unit))

    def all_sizes(self, *children: Any) -> Question:
        """As in "the width, height and depth of the box"."""
        parts = Children(children)
        if len(set(parts.words)) < len(parts.words) or not set(parts.words) <= set(SIZES) - {"volume", "thickness"}:
            raise NoReadingError
        return self.ask("dimensions", "number", "", parts.phrases)

    def its_size(self, measure: str) -> Question:
        return self.size(IT, measure)

    def distance(self, *children: Any) -> Question:
        """A distance between two objects, the camera last; of a single object, to the camera."""
        parts = Children(children)
        planes = [word for word in parts.words if word in ("vertical", "horizontal")]
        objects = parts.phrases
        alone = len(objects) == 1 and not is_pair(objects[0])
        if alone and ("apart" in parts.words or objects[0].plural):
            raise NoReadingError  # apart from what?
        if objects[0] == CAMERA_PHRASE:
            objects = objects[::-1]
        if objects[1:] and objects[1].text.lower() in _NEXT and objects[0].pick is None:  # what is closest to the first
            objects = (objects[0], replace(objects[1], pick=None, where=(Where("nearest", objects[:1]),)))
        return self.ask(f"{planes[0]}_distance" if planes else "distance", "number", "", objects, AskedUnit(parts.unit))

    # ---------------------------------------------------------------------------------- what is said of a subject
    def related_to(self, relation: Any, *references: Phrase) -> Question:
        check_reference(relation, references[0])
        return self.say(type_of(relation), relation, references)

    def compared(self, degree: Degree, reference: Phrase) -> Question:
        if degree.superlative or reference == CAMERA_PHRASE:
            raise NoReadingError
        return self.say(type_of(degree.predicate), degree.predicate, reference)

    def limited(self, degree: Degree, metres: float) -> Question:
        """As in "taller than 20 cm"."""
        if degree.superlative or degree.predicate not in LIMITS:
            raise NoReadingError
        return self.say(*LIMITS[degree.predicate], metres)

    def limited_in(self, degree: Degree, metres: float, size: str) -> Question:
        """As in "lower than 20 cm in height"."""
        return self.limited(self.more_in(degree.predicate, size), metres)

    def exceeding(self, degree: Degree, *parts: Any) -> Phrase:
        """As in "a taller object than the lamp", "any object longer than 20 cm"."""
        *kind, other = parts
        said = self.compared(degree, other) if isinstance(other, Phrase) else self.limited(degree, other)
        return self.phrase(Part("determiner", "any"), *kind, clause_saying(said))

    def exceeds(self, *children: Any) -> Question:
        """As in "exceeds 30 cm in height", "surpasses the box in width"."""
        parts = Children(children)
        size = parts.words[0] if parts.words else "height"
        if parts.metres is not None:
            return self.say(size, "more", parts.metres)
        return self.compared(Degree(OF_MEASURE[size] if parts.words else "bigger"), *parts.phrases)

    def exceeds_in(self, word: str, measure: str, reference: Phrase) -> Question:
        """As in "has a smaller width than the box"."""
        return self.compared(self.more_in(word, measure), reference)

    def width_across(self, *children: Any) -> Question:
        return self.size("width", *children)

    def within_circle(self, metres: float, reference: Phrase = CAMERA_PHRASE) -> Question:
        """As in "in a circle of 40 cm around the box"."""
        return self.say("distance", "at_most", reference, metres)

    def say_nearer(self, other: Phrase) -> Question:
        """As in "nearer than the box to the camera"."""
        return self.compared(Degree("front"), other)

    def touches(self, reference: Phrase) -> Question:
        """As in "touching the box": no gap that boxes could tell."""
        return self.say("gap", "at_most", reference, TOUCHING)

    def touching(self, *children: Any) -> Question:
        """As in "do the mug and the box touch?"."""
        return self.ask("gap", "yes_no", "at_most", *children, TOUCHING)

    def ranged(self, limits: tuple[float, float], size: str) -> Part:
        """As in "between 10 and 20 cm tall"."""
        low, high = limits
        if low >= high:
            raise NoReadingError
        return Part("conditions", tuple((self.say(size, how, m), False) for how, m in (("more", low), ("less", high))))

    def related_ranged(self, kind: Phrase, limits: tuple[float, float], size: str) -> Question:
        """As in "which boxes measure between 10 and 20 cm in height?"."""
        among = Children((self.ranged(limits, size),)).restricted(kind)
        return Question("related", "objects", among=replace(among, plural=True))

    def each_is(self, how: str, *children: Any) -> Question:
        """As in "are both the mug and the box red?"."""
        parts = Children(children)
        assert parts.question
        if any(p.plural for p in parts.phrases):
            raise NoReadingError
        return self.together("yes_no", how, *(restricted(phrase, parts.question) for phrase in parts.phrases))

    def neither_is(self, *children: Any) -> Question:
        """As in "is neither the mug nor the box red?"."""
        return replace(self.each_is("any", *children), negated=True)

    def holds_litres(self, *children: Any) -> Question:
        """As in "holds over five liters"."""
        parts = Children(children)
        *_, litres = (child for child in children if isinstance(child, float))
        return self.say("volume", parts.bound or "equal", litres / 1000)

    def room_for(self, phrase: Phrase, pair: tuple[Phrase, ...]) -> Question:
        """As in "is there room for the box between the lamp and the can?"."""
        return self.ask("fit", "yes_no", "between", phrase, pair)

    def has_near(self, *children: Any) -> Question:
        """As in "has the laptop got anything to its right?"."""
        *_, phrase, relation = children
        return self.some(replace(ANYTHING, where=(clause(relation, phrase),)))

    def limited_volume(self, degree: Degree, litres: float) -> Question:
        if degree.predicate not in ("bigger", "smaller"):
            raise NoReadingError
        return self.say("volume", "more" if degree.predicate == "bigger" else "less", litres / 1000)

    def limited_from(self, near: str, reference: Phrase, metres: float) -> Question:
        """As in "closer to the box than 40 cm"."""
        return self.say("distance", "less" if near == "closer" else "more", reference, metres)

    def times(self, *children: Any) -> Question:
        """As in "at least twice as tall as the box", "half the height of the box"."""
        parts = Children(children)
        (size,) = parts.words
        return self._proportion(parts.bound or "equal", size, size, parts.phrases, parts.metres or 1.0)

    def same(self, *children: Any) -> Question:
        """As in "as tall as the box", "of the same size as the box"."""
        parts = Children(children)
        kind = next(word for word in parts.words if word in OF_MEASURE)
        if kind == "volume" or CAMERA_PHRASE in parts.phrases:
            raise NoReadingError
        return Question("same", "yes_no", (SUBJECT, *parts.phrases), kind)

    def proportion(self, degree: Degree, *children: Any) -> Question:
        """As in "taller than it is wide", "taller than the box is wide"."""
        own, more = LIMITS.get(degree.predicate, ("", ""))
        parts = Children(children)
        return self._proportion(more, own, parts.words[0], parts.phrases)

    def even_proportion(self, first: str, *children: Any) -> Question:
        """As in "as tall as it is wide"."""
        parts = Children(children)
        return self._proportion("equal", first, parts.words[0], parts.phrases)

    def compared_quantities(self, first: Question, word: str, second: Question) -> Question:
        """As in "is the mug's height greater than its width?", "... than the box's width?"."""
        if len(first.objects) != 1 or len(second.objects) != 1:
            raise NoReadingError
        other = () if second.objects[0] == IT else second.objects
        return about(first.objects[0], self._proportion(MORE_OR_LESS[word], first.type, second.type, other))

    def _proportion(
        self, how: str, first: Any, second: Any, other: tuple[Phrase, ...] = (), factor: float = 1.0
    ) -> Question:
        plain = {first, second} <= set(SIZES) - {"volume"} and CAMERA_PHRASE not in other
        if not how or not plain or (first == second and not other):
            raise NoReadingError
        return Question("proportion", "yes_no", (SUBJECT, *other), how, sizes=(first, second), factor=factor)

    def same_pair(self, *children: Any) -> Question:
        """As in "are the box and the can of the same height?"."""
        parts = Children(children)
        question = self.same(*parts.words)
        return replace(question, objects=parts.phrases, negated=parts.negated)

    def same_side(self, *children: Any) -> Question:
        """As in "are the mug and the box on the same side of the picture?"."""
        parts = Children(children)
        which = next(word for word in parts.words if word != "not")
        if CAMERA_PHRASE in parts.phrases:
            raise NoReadingError
        return Question("same", "yes_no", parts.phrases, which, negated=parts.negated)

    def heading(self, hour: float | None = None) -> Question:
        """As in "straight ahead", "at 11 o'clock"."""
        if hour is not None and hour not in range(1, 13):
            raise NoReadingError
        return Question("direction", "yes_no", (CAMERA_PHRASE, SUBJECT), count=None if hour is None else int(hour))

    def owner_side(self, reference: Phrase, side: str) -> Question:
        return self.related_to(side, reference)

    def nearer(self, form: Any, near: str, first: Phrase, *rest: Phrase) -> Question:
        """As in "nearer to the box than to the can"."""
        return by_distance(form, SUBJECT, (first, *rest), near)

    def nearer_than_other(self, near: str, anchor: Phrase, other: Phrase) -> Question:
        if anchor == CAMERA_PHRASE:
            return self.compared(in_depth(near), other)
        return by_distance("yes_no", anchor, (SUBJECT, other), near)

    def at_end(self, predicate: str) -> Question:
        if predicate not in ("left", "right"):
            raise NoReadingError
        return self.say("left_right", predicate, CAMERA_PHRASE)

    def of_color(self, *words: str) -> Question:
        return Question("exists", "yes_no", (replace(SUBJECT, colors=(" ".join(words),)),))

    def of_kind(self, *parts: Any) -> Question:
        """As in "is the thing on the box a mug?", "are all objects mugs?"."""
        kind = self.phrase(*parts)
        article = self.said.lower().startswith(("a ", "an "))
        if article == kind.plural or not kind.is_plain or kind.number or kind.noun in (ANYTHING.noun, ONE.noun):
            raise NoReadingError
        return Question("exists", "yes_no", (replace(SUBJECT, colors=kind.colors), replace(kind, plural=True)))

    def is_most(self, degree: Degree | str, *parts: Any) -> Question:
        """As in "the tallest", "the tallest of the mugs", "taller than any other mug"."""
        predicate = degree.predicate if isinstance(degree, Degree) else degree
        return Question("extreme", "yes_no", (SUBJECT,), predicate, among=self._kind(*parts))

    def is_nearest(self, near: str, *parts: Any) -> Question:
        *kind, reference = parts
        if reference == CAMERA_PHRASE:
            return self.is_most(in_depth(near), *kind)
        return replace(by_distance("yes_no", reference, (SUBJECT,), near), among=self._kind(*kind))

    def _kind(self, *parts: Any) -> Phrase:
        """The objects that compete, from a phrase or its pieces."""
        if not parts:
            return ANYTHING
        whole = len(parts) == 1 and isinstance(parts[0], Phrase)
        return replace(parts[0] if whole else self.phrase(*parts), plural=True)

    def either(self, first: Any, second: Any, reference: Phrase = CAMERA_PHRASE) -> Question:
        """As in "in front of or behind": which of two opposite relations holds."""
        first, second = (p.predicate if isinstance(p, Degree) else p for p in (first, second))
        if OPPOSITES[first] != second:
            raise NoReadingError
        if reference.noun in SCENES:  # "on the left or the right of the picture"
            reference = CAMERA_PHRASE
        return Question(type_of(first), "free", (SUBJECT, reference), first)

    def either_of_it(self, first: str, reference: Phrase, second: str) -> Question:
        return self.either(first, second, reference)

    def most_in(self, word: str, measure: str) -> Degree:
        return self.more_in(word, measure, superlative=True)

    def more_in(self, word: str, measure: str, superlative: bool = False) -> Degree:
        """As in "greater in height", "a smaller width"."""
        predicate = OF_MEASURE[measure]
        more = word in ("bigger", "above", "wider", "taller", "longer", "thicker")
        return Degree(predicate if more else OPPOSITES[predicate], superlative)

    # --------------------------------------------------------------------------------------------- yes/no questions
    def polar(self, *children: Any) -> Question:
        parts = Children(children)
        assert parts.question
        subject = parts.phrases[0]
        if children[0] != "not" and parts.negated and (subject.plural or is_any(subject)):
            raise NoReadingError  # see `polar_conditions`
        return replace(about(subject, parts.question), negated=parts.negated)

    def conditions(self, *children: Any) -> Part:
        """As in "not red", "left of the box and not red"."""
        found: list[Condition] = []
        for before, child in zip(("", *children), children, strict=False):
            if isinstance(child, Question):
                found.append((child, before == "not"))
        named = [said for said, negated in found if said.type == "exists" and not negated]
        if len(found) > 1 and (len(named) > 1 or any(len(said.objects) > 1 for said in named)):
            raise NoReadingError  # "red and blue", "left of the box and balls"
        return Part("conditions", tuple(found))

    def polar_conditions(self, *children: Any) -> Question:
        """As in "is the mug left of the box and in front of the lamp?", "is anything not red?"."""
        parts = Children(children)
        (subject,) = parts.phrases
        if is_any(subject):
            return replace(self.some(parts.restricted(subject)), negated=parts.negated)
        if subject.plural or subject.noun.startswith("\0") or len(parts.conditions) < 2:
            raise NoReadingError  # "are the mugs not red": all or some of them?
        among, both = replace(subject, number=1), replace(parts.restricted(subject), plural=True)
        return Question("all", "yes_no", (both,), among=among, negated=parts.negated)

    def exceeds_both(self, degree: Degree, *others: Phrase) -> Part:
        """As in "taller than both the box and the mug"."""
        return Part("conditions", tuple((self.compared(degree, other), False) for other in others))

    def relates_to_both(self, relation: str, *others: Phrase) -> Part:
        """As in "left of both the box and the mug"."""
        return Part("conditions", tuple((self.related_to(relation, other), False) for other in others))

    def related_to_both(self, kind: Phrase, relation: str, *others: Phrase) -> Question:
        """As in "which mugs are left of both the box and the can?"."""
        said = self.relates_to_both(relation, *others)
        return Question("related", "objects", among=replace(Children((said,)).restricted(kind), plural=True))

    def only_one(self, subject: Phrase, *kind: Any) -> Question:
        """As in "is the red box the only box?": whether all boxes are it."""
        among = replace(self._kind(*kind), every=True)
        if subject == CAMERA_PHRASE or subject.noun.startswith("\0") or not subject.is_plain or among.pick:
            raise NoReadingError
        it = replace(subject, where=among.where, without=among.without, plural=True)
        return Question("all", "yes_no", (it,), among=among)

    def only_one_back(self, *children: Any) -> Question:
        """As in "is the only box red?", "is the only box the red one?"."""
        *kind, subject = children
        return self.only_one(subject, *kind)

    def contains(self, container: Phrase, phrase: Phrase) -> Question:
        return about(phrase, self.related_to("inside", container))

    def count_is(self, phrase: Phrase, *rest: Any) -> Question:
        """As in "is the number of mugs three?"."""
        *bound, number = rest
        if number != int(number) or phrase.number is not None:
            raise NoReadingError
        return self.some(*(bound or [Bound("only")]), replace(phrase, number=int(number)))

    def polar_counted(self, bound: Bound, phrase: Phrase, said: Question) -> Question:
        """As in "are at least two mugs red?"."""
        return self.some(bound, restricted(phrase, said))

    def count_either(self, phrase: Phrase, first: Question, second: Question) -> Question:
        """As in "how many objects are red or blue?"."""
        return self.together("number", "any", restricted(phrase, first), restricted(phrase, second))

    def none_of(self, *parts: Any) -> Question:
        """As in "are none of the mugs blue?", "is nothing on the table?", "is no mug red?"."""
        *kind, said = parts
        return replace(about(replace(self._kind(*kind), every=False, number=None), said), negated=True)

    def polar_more(self, subject: Phrase, degree: Degree, reference: Phrase) -> Question:
        return about(subject, self.compared(degree, reference))

    def exists(self, *children: Any) -> Question:
        parts = Children(children)
        assert parts.question
        return replace(parts.question, negated=parts.negated != parts.question.negated)

    def some(self, *children: Any) -> Question:
        """Whether something exists, or a certain number of things."""
        parts = Children(children)
        (phrase,) = parts.phrases
        if phrase in (CAMERA_PHRASE, IT, THEM) or phrase.pick is not None or phrase.noun in GAPS:
            raise NoReadingError  # "is there space between them": how much of it?
        among = replace(phrase, number=None, plural=phrase.plural or bool(parts.bound))
        if parts.bound and phrase.number is None:
            raise NoReadingError
        if parts.bound or phrase.number not in (None, 1):
            bound = parts.bound if parts.bound != "only" else ""
            return Question("count", "yes_no", predicate=bound, among=among, count=phrase.number)
        return Question("exists", "yes_no", (among,))

    def exists_it(self) -> Question:
        return Question("exists", "yes_no", (IT,))

    def exists_here(self, *children: Any) -> Question:
        """As in "my phone is not among those things"."""
        parts = Children(children)
        return replace(self.some(*parts.phrases), negated=parts.negated)

    def but_no(self, *kinds: Phrase) -> Question:
        """As in "is there a box but no ball?"."""
        return self.together("yes_no", "but_no", *kinds)

    def count_those(self, *children: Any) -> Question:
        """As in "how many are wider than 10 cm?"; "how many are there?" is about what was told of."""
        return self.count(WHICH, *children) if children else Question("count", "number", among=THEM)

    def anything_where(self, *parts: Any) -> Question:
        phrase = self.phrase(ANYTHING, *parts)
        if phrase == ANYTHING:
            raise NoReadingError
        return self.some(phrase)

    def none(self, *parts: Any) -> Question:
        return replace(self.some(self.phrase(Part("determiner", "any"), *parts)), negated=True)

    def count(self, *children: Any) -> Question:
        """How many objects a phrase means, perhaps only those for which a predicate holds."""
        parts = Children(children)
        among = replace(parts.phrases[0], plural=True, without=(*parts.phrases[0].without, *parts.without))
        if parts.phrases[0] in (CAMERA_PHRASE, IT, THEM) or among.pick is not None or among.number is not None:
            raise NoReadingError
        return Question("count", "number", among=parts.restricted(among))

    def together(self, form: Any, how: str, *children: Any) -> Question:
        """As in "how many mugs and bottles are there?", "is there a mug or a bottle?"."""
        parts = Children(children)
        kinds = [parts.restricted(replace(kind, plural=True)) for kind in parts.phrases]
        if how == "any" and all(kind.is_plain for kind in kinds[:-1]):  # "mugs or bottles on the table"
            kinds = [replace(kind, where=kinds[-1].where) for kind in kinds]
        if any(p.where != kinds[-1].where or p.without or p.pick or p.number or p == CAMERA_PHRASE for p in kinds):
            raise NoReadingError
        return Question("outnumber", form, tuple(kinds), how)

    def outnumber(self, form: Any, how: str, *children: Any) -> Question:
        """As in "more mugs than balls"."""
        parts = Children(children)
        kinds = tuple(replace(phrase, plural=True) for phrase in (*parts.phrases, *parts.alternatives))
        plain = all(p != CAMERA_PHRASE and p.pick is None and p.number is None for p in kinds)
        several = all(p.plural for p in (*parts.phrases, *parts.alternatives))
        if len(kinds) != 2 or not plain or not several:
            raise NoReadingError
        return Question("outnumber", form, kinds, how, negated=parts.negated)

    def more_beside(self, kind: Phrase, first: str, second: str, reference: Phrase) -> Question:
        """As in "are there more objects left or right of the mug?"."""
        if OPPOSITES[first] != second:
            raise NoReadingError
        sides = (restricted(kind, self.related_to(relation, reference)) for relation in (first, second))
        return self.outnumber("number", "more", *sides)

    def outnumber_by(self, form: Any, *children: Any) -> Question:
        """As in "is the number of mugs greater than the number of balls?"."""
        words = [c for c in children if isinstance(c, str) and c != "not"]
        return self.outnumber(form, MORE_OR_LESS[words[0]], *(c for c in children if c not in words))
