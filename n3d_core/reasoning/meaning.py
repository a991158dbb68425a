"""What the alternatives of `questions.grammar` mean: phrases and questions.

An alias names a method of `Meaning` or an entry of `SIMPLE`; what follows in it after dots are its first arguments, the
meanings of the alternative's children the others. `NoReadingError` drops that reading of the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import LISTS, TERMINALS, is_compound, singulars, strip_article
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, DISTANCES, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import to_metres

SUBJECT = Phrase("", "\0subject")
"""The subject of a predicate, until it is known."""
IT, ONE = Phrase("it", "\0it"), Phrase("one", "\0one")
THEM = Phrase("them", "\0them", plural=True)
"""Pronouns, until the phrase that they stand for is known."""
WHICH = Phrase("", "\0which", plural=True)
"""What "which" chooses from: the objects mentioned before, or everything."""


class _Table(dict[str, str]):
    """A table of words; looking up any other word drops the reading."""

    def __missing__(self, word: str) -> str:
        raise NoReadingError


_MEASURED = {"wider": "width", "taller": "height", "longer": "length", "thicker": "thickness", "bigger": "volume"}
_OF_MEASURE = _Table({measure: predicate for predicate, measure in _MEASURED.items()} | {"dimensions": "bigger"})
_OPPOSITES = _Table({name: p.converse for name, p in PREDICATES.items()})
_PLACES = ("on", "under", "inside", "next_to", "between")
_RELATIONS = (*_PLACES, *PREDICATES)
_SCENES = TERMINALS["_SCENE"]
_LIMITS: dict[str, tuple[Any, str]] = {
    **{more: (size, "more") for more, size in _MEASURED.items() if size != "volume"},
    **{_OPPOSITES[more]: (size, "less") for more, size in _MEASURED.items() if size != "volume"},
    "front": ("distance", "less"),
    "behind": ("distance", "more"),
}
_GAPS = ("space", "room", *TERMINALS["_GAP"])
_BOUNDS = ("more", "less", "at_least", "at_most")
"""Predicate → the length that it limits, and how."""


@dataclass(frozen=True)
class Alternatives:
    """The named objects that compete."""

    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class Part:
    """A piece of a phrase: a "color", "attribute", "number", "determiner", an "end" of the picture, ..."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Degree:
    """A key of `relations.PREDICATES`, as "taller" or as "tallest"."""

    predicate: str
    superlative: bool = False


@dataclass(frozen=True)
class Bound:
    """`more`, `less`, `at_least` or `at_most`."""

    kind: str


@dataclass(frozen=True)
class Unit:
    """Symbol of the unit that is asked for; empty for none."""

    symbol: str


@dataclass(frozen=True)
class Context:
    """The objects in a sentence before the question, and the places where they are put."""

    phrases: tuple[Phrase, ...]
    places: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Standing:
    """Where the asker stands."""

    place: Phrase


@dataclass(frozen=True)
class Gripper:
    """How far a gripper opens, in metres."""

    opening: float


@dataclass(frozen=True)
class Draft:
    """A phrase under construction: its pieces without the head."""

    determiner: str = ""
    colors: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    number: int | None = None
    pick: Pick | None = None
    where: tuple[Where, ...] = ()
    end: str = ""
    without: tuple[Phrase, ...] = ()
    negated: Question | None = None
    several: bool = False
    after: bool = False

    def with_part(self, part: Any) -> Draft:
        """This draft and one more piece."""
        if isinstance(part, Where):
            return replace(self, where=(*self.where, part))
        if isinstance(part, Pick):
            return replace(self, pick=_joined(self.pick, part))
        if not isinstance(part, Part):
            return self
        if part.kind == "color":
            return replace(self, colors=(*self.colors, part.value))
        if part.kind == "after":
            return replace(self, colors=(*self.colors, part.value), after=True)
        if part.kind == "attribute":
            return replace(self, attributes=(*self.attributes, part.value))
        if part.kind == "number":
            if self.number is not None or part.value != int(part.value) or part.value > 1000:
                raise NoReadingError
            return replace(self, number=int(part.value))
        if part.kind == "to":  # "the nearest mug to the lamp"
            if self.pick not in (Pick("front"), Pick("behind")):
                raise NoReadingError
            if part.value == CAMERA_PHRASE:
                return self
            relation: Any = "nearest" if self.pick == Pick("front") else "farthest"
            return replace(self, pick=None, where=(*self.where, Where(relation, (part.value,))))
        if (
            part.kind == "than"
        ):  # "mugs taller than the box"; "the lamp left of the box taller than ..." is about the lamp
            return replace(self, where=(*self.where, part.value), several=True)
        if part.kind == "from":  # "the second mug from the left"
            if self.pick is None or self.pick.predicate:
                raise NoReadingError
            return replace(self, pick=_joined(self.pick, Pick(part.value)))
        return replace(self, **{part.kind: part.value})

    def phrase(self, head: Phrase, said: str) -> Phrase:
        """The whole phrase. "On the left" is the leftmost of one kind, and for several all those on that side."""
        plural = head.plural or self.determiner == "all" or (self.number or 1) > 1
        pick, where, text = self.pick, self.where, strip_article(said)
        if self.determiner == "both":
            if not head.plural:
                raise NoReadingError  # "both the mug and the bowl"
            return replace(self, determiner="all", number=self.number or 2).phrase(head, said)
        if self.after and head.noun != ANYTHING.noun:
            raise NoReadingError  # "is the mug on [the table red]"
        if (self.several and self.determiner == "the") or (
            (self.several or self.without) and not (plural or pick or self.determiner in ("a", "any"))
        ):
            raise NoReadingError
        if self.end and plural and pick is None and self.end != "middle":
            where = (*where, _where(self.end, CAMERA_PHRASE))
        elif self.end:
            pick = _joined(pick, Pick(self.end))
        if plural and any(" and " in color for color in self.colors):
            raise NoReadingError  # "the red and blue mugs" are not of two colours each
        if pick is not None and not pick.predicate:
            raise NoReadingError  # "the second mug": counted from where?
        if pick is not None and head.noun in LISTS["parts"] and text.lower().startswith(("front", "back", "rear")):
            raise NoReadingError  # "front door" is a noun
        if head.noun in TERMINALS["_CAMERA"] and self in (Draft(), Draft("the")):
            raise NoReadingError  # it is the camera itself
        without = tuple(replace(p, noun=head.noun) if p.noun == ONE.noun else p for p in self.without)
        every = plural and (self.determiner in ("all", "the") or text.lower().startswith("every"))
        whole = replace(head, every=every, text=text, colors=self.colors, attributes=self.attributes, plural=plural,
                        number=self.number, where=where, pick=pick, without=without)  # fmt: skip
        return whole if self.negated is None else _restricted(whole, self.negated, negated=True)


@dataclass
class _Parts:
    """Children by what they are."""

    phrases: tuple[Phrase, ...] = ()
    words: list[str] = field(default_factory=list)
    question: Question | None = None
    degree: Degree = field(default_factory=lambda: Degree(""))
    alternatives: tuple[Phrase, ...] = ()
    bound: str = ""
    unit: str = ""
    metres: float | None = None
    without: tuple[Phrase, ...] = ()

    def __init__(self, children: Sequence[Any]) -> None:
        self.words, self.degree = [], Degree("")
        for child in children:
            if isinstance(child, Phrase | tuple):
                self.phrases += (child,) if isinstance(child, Phrase) else child
            elif isinstance(child, str):
                self.words.append(child)
            elif isinstance(child, Question):
                self.question = child
            elif isinstance(child, Degree):
                self.degree = child
            elif isinstance(child, Alternatives):
                self.alternatives = child.phrases
            elif isinstance(child, Bound):
                self.bound = child.kind
            elif isinstance(child, Unit):
                self.unit = child.symbol
            elif isinstance(child, float):
                self.metres = child
            elif isinstance(child, Part) and child.kind == "without":
                self.without = child.value

    @property
    def negated(self) -> bool:
        return self.words.count("not") % 2 == 1


class Meaning:
    """The methods; `said` is the part of the text that the alternative covers."""

    def __init__(self, said: str) -> None:
        self.said = said

    # ------------------------------------------------------------------------------------------------- noun phrases
    def phrase(self, *parts: Any) -> Phrase:
        """Determiner, modifiers, head and clauses."""
        head = next((part for part in parts if isinstance(part, Phrase)), ANYTHING)
        draft = Draft()
        for part in parts:
            draft = draft.with_part(part)
        return draft.phrase(head, self.said)

    def headless(self, *parts: Any) -> Phrase:
        """The tallest; the second from the left."""
        return self.phrase(WHICH, *parts)

    def best_of(self, *parts: Any) -> Phrase:
        """The largest of the mugs."""
        *_, pick, among = parts
        if among.pick is not None or not among.plural:
            raise NoReadingError
        return replace(among, text=strip_article(self.said), pick=pick, plural=False, number=None)

    def camera(self, *_: Any) -> Phrase:
        return replace(CAMERA_PHRASE, text=strip_article(self.said))

    def attribute(self, *_: str) -> Part:
        return Part("attribute", self.said.lower())

    def things(self) -> Phrase:
        return replace(ANYTHING, plural=self.said.lower().endswith(("s", "stuff")))

    def noun(self, *_: Any) -> Phrase:
        """One or more nouns, and what follows with "of", "with", "in" or "'s"."""
        words = self.said.lower().split()
        at = next((i for i, word in enumerate(words) if i and word in ("of", "with")), len(words))
        head, rest = words[:at], [w for w in words[at:] if w not in ("a", "an", "the")]
        if "of" in rest and head[-1] in LISTS["not_of"]:
            raise NoReadingError  # "a sign of the mug", "the number of mugs"
        if (len(head) == 1 and head[0] in LISTS["sides"]) or (len(words) > 1 and words[0] == "a"):
            raise NoReadingError  # "in [front of the box]"
        if not is_compound(head):
            raise NoReadingError  # "how many [mugs can] you see"
        one = singulars(" ".join(head))[0]
        return Phrase(self.said, " ".join((one, *rest)), plural=one != " ".join(head))

    def of_colors(self, *parts: Any) -> tuple[Phrase, ...]:
        """The red and the blue mug; red and blue mugs."""
        rest = [p for p in parts if not isinstance(p, str)]
        found = [self.phrase(Part("color", color), *rest) for color in parts if isinstance(color, str)]
        return tuple(replace(p, text=f"{p.colors[0]} {p.noun}") for p in found)

    def where_near(self, near: str, reference: Phrase) -> Where | Pick:
        if reference == CAMERA_PHRASE:
            return Pick("front" if near == "closer" else "behind")
        return _where("nearest" if near == "closer" else "farthest", reference)

    # ---------------------------------------------------------------------------------------- questions by template
    def ask(self, kind: Any, form: Any, predicate: str, *children: Any) -> Question:
        """A question about the phrases in their order, with the unit, bound, length and negation that are said."""
        parts = _Parts(children)
        objects = parts.phrases
        if objects[0] != SUBJECT and (objects[0] == CAMERA_PHRASE or objects[0].noun in _SCENES):
            raise NoReadingError  # neither the camera nor the picture has a size or a place
        if kind == "place" and any(o.noun in _SCENES for o in objects):
            raise NoReadingError  # "does the scene contain a mug" asks whether there is one
        if kind == "fit" and predicate == "inside" and objects[-1].noun in TERMINALS["_GRIPPER"]:
            raise NoReadingError  # what fits a gripper does not lie in it
        if kind in DISTANCES and len(objects) == 1 and not _is_pair(objects[0]):
            objects = (*objects, CAMERA_PHRASE)
        question = Question(kind, form, objects, predicate or parts.bound, limit=parts.metres, negated=parts.negated)
        if parts.metres is not None and not question.predicate:
            question = replace(question, predicate="equal")
        return in_unit(question, parts.unit)

    def ask_back(self, kind: Any, form: Any, predicate: str, *children: Any) -> Question:
        """With the phrases the other way round."""
        parts = _Parts(children)
        return self.ask(kind, form, predicate, *reversed(parts.phrases), *(c for c in children if isinstance(c, Unit)))

    def say(self, kind: Any, predicate: str, *children: Any) -> Question:
        """A yes/no question about a subject that is still to come."""
        return self.ask(kind, "yes_no", predicate, SUBJECT, *children)

    def size(self, *children: Any) -> Question:
        """How tall, or whether so tall."""
        parts = _Parts(children)
        kind = next(word for word in parts.words if word in _OF_MEASURE)
        if parts.metres is None:
            return self.ask(kind, "number", "", *children)
        if kind == "dimensions":
            raise NoReadingError
        return self.say(kind, "", *children)

    def its_size(self, measure: str) -> Question:
        return self.size(IT, measure)

    def distance(self, *children: Any) -> Question:
        """Between two, the camera last, or to the camera."""
        parts = _Parts(children)
        planes = [word for word in parts.words if word in ("vertical", "horizontal")]
        objects = parts.phrases
        alone = len(objects) == 1 and not _is_pair(objects[0])
        if alone and ("apart" in parts.words or objects[0].plural):
            raise NoReadingError  # apart from what?
        if objects[0] == CAMERA_PHRASE:
            objects = objects[::-1]
        return self.ask(f"{planes[0]}_distance" if planes else "distance", "number", "", objects, Unit(parts.unit))

    # ---------------------------------------------------------------------------------- what is said of a subject
    def related_to(self, relation: Any, *references: Phrase) -> Question:
        _check_reference(relation, references[0])
        return self.say(_type(relation), relation, references)

    def compared(self, degree: Degree, reference: Phrase) -> Question:
        if degree.superlative or reference == CAMERA_PHRASE:
            raise NoReadingError
        return self.say(_type(degree.predicate), degree.predicate, reference)

    def limited(self, degree: Degree, metres: float) -> Question:
        """Taller than 20 cm."""
        if degree.superlative or degree.predicate not in _LIMITS:
            raise NoReadingError
        return self.say(*_LIMITS[degree.predicate], metres)

    def limited_volume(self, degree: Degree, litres: float) -> Question:
        if degree.predicate not in ("bigger", "smaller"):
            raise NoReadingError
        return self.say("volume", "more" if degree.predicate == "bigger" else "less", litres / 1000)

    def where_compared(self, degree: Degree, reference: Phrase) -> Where:
        """Taller than the box."""
        return _clause(self.compared(degree, reference))

    def where_limited(self, degree: Degree, metres: float) -> Where:
        """Taller than 20 cm."""
        return _clause(self.limited(degree, metres))

    def where_within(self, metres: float, reference: Phrase = CAMERA_PHRASE) -> Where:
        return Where("within", (reference,), metres)

    def same(self, *children: Any) -> Question:
        """As tall as the box; of the same size as the box."""
        parts = _Parts(children)
        kind = next(word for word in parts.words if word in _OF_MEASURE)
        if kind == "volume" or CAMERA_PHRASE in parts.phrases:
            raise NoReadingError
        return Question("same", "yes_no", (SUBJECT, *parts.phrases), kind)

    def same_pair(self, *children: Any) -> Question:
        """Are the box and the can of the same height."""
        parts = _Parts(children)
        question = self.same(*parts.words)
        return replace(question, objects=parts.phrases, negated=parts.negated)

    def owner_side(self, reference: Phrase, side: str) -> Question:
        return self.related_to(side, reference)

    def nearer(self, form: Any, near: str, first: Phrase, *rest: Phrase) -> Question:
        """Nearer to the first than to the second."""
        return _relative(form, SUBJECT, (first, *rest), near)

    def nearer_than_other(self, near: str, anchor: Phrase, other: Phrase) -> Question:
        if anchor == CAMERA_PHRASE:
            return self.compared(_depth(near), other)
        return _relative("yes_no", anchor, (SUBJECT, other), near)

    def at_end(self, predicate: str) -> Question:
        if predicate not in ("left", "right"):
            raise NoReadingError
        return self.say("left_right", predicate, CAMERA_PHRASE)

    def of_color(self, *words: str) -> Question:
        return Question("exists", "yes_no", (replace(SUBJECT, colors=(" ".join(words),)),))

    def is_most(self, degree: Degree | str, *parts: Any) -> Question:
        """The tallest; the tallest of the mugs; taller than any other mug."""
        predicate = degree.predicate if isinstance(degree, Degree) else degree
        return Question("extreme", "yes_no", (SUBJECT,), predicate, among=self._kind(*parts))

    def is_nearest(self, near: str, *parts: Any) -> Question:
        *kind, reference = parts
        if reference == CAMERA_PHRASE:
            return self.is_most(_depth(near), *kind)
        return replace(_relative("yes_no", reference, (SUBJECT,), near), among=self._kind(*kind))

    def _kind(self, *parts: Any) -> Phrase:
        """Those that compete, from a phrase or its pieces."""
        if not parts:
            return ANYTHING
        whole = len(parts) == 1 and isinstance(parts[0], Phrase)
        return replace(parts[0] if whole else self.phrase(*parts), plural=True)

    def either(self, first: Any, second: Any, reference: Phrase = CAMERA_PHRASE) -> Question:
        """In front of or behind: which of two relations that exclude each other."""
        first, second = (p.predicate if isinstance(p, Degree) else p for p in (first, second))
        if _OPPOSITES[first] != second:
            raise NoReadingError
        return Question(_type(first), "free", (SUBJECT, reference), first)

    def either_of_it(self, first: str, reference: Phrase, second: str) -> Question:
        return self.either(first, second, reference)

    def most_in(self, word: str, measure: str) -> Degree:
        return self.more_in(word, measure, superlative=True)

    def more_in(self, word: str, measure: str, superlative: bool = False) -> Degree:
        """Greater in height, a smaller width."""
        predicate = _OF_MEASURE[measure]
        more = word in ("bigger", "above", "wider", "taller", "longer", "thicker")
        return Degree(predicate if more else _OPPOSITES[predicate], superlative)

    # --------------------------------------------------------------------------------------------- yes/no questions
    def polar(self, *children: Any) -> Question:
        parts = _Parts(children)
        assert parts.question
        question = _about(parts.phrases[0], parts.question)
        if children[0] != "not" and parts.negated and question.type != parts.question.type:
            raise NoReadingError  # "is anything not on the table", "are the mugs not red"
        return replace(question, negated=parts.negated)

    def polar_more(self, subject: Phrase, degree: Degree, reference: Phrase) -> Question:
        return _about(subject, self.compared(degree, reference))

    def exists(self, *children: Any) -> Question:
        parts = _Parts(children)
        assert parts.question
        return replace(parts.question, negated=parts.negated != parts.question.negated)

    def some(self, *children: Any) -> Question:
        """A thing, or a number of things."""
        parts = _Parts(children)
        (phrase,) = parts.phrases
        if phrase in (CAMERA_PHRASE, IT, THEM) or phrase.pick is not None or phrase.noun in _GAPS:
            raise NoReadingError  # "is there space between them": how much of it?
        among = replace(phrase, number=None, plural=phrase.plural or bool(parts.bound))
        if parts.bound and phrase.number is None:
            raise NoReadingError
        if parts.bound or phrase.number not in (None, 1):
            bound = parts.bound if parts.bound != "only" else ""
            return Question("count", "yes_no", predicate=bound, among=among, count=phrase.number)
        return Question("exists", "yes_no", (among,))

    def anything_where(self, *parts: Any) -> Question:
        phrase = self.phrase(ANYTHING, *parts)
        if phrase == ANYTHING:
            raise NoReadingError
        return self.some(phrase)

    def none(self, *parts: Any) -> Question:
        return replace(self.some(self.phrase(*parts)), negated=True)

    def count(self, *children: Any) -> Question:
        """How many, of a phrase and perhaps of those of them of which something holds."""
        parts = _Parts(children)
        among = replace(parts.phrases[0], plural=True, without=(*parts.phrases[0].without, *parts.without))
        if parts.phrases[0] in (CAMERA_PHRASE, IT, THEM) or among.pick is not None or among.number is not None:
            raise NoReadingError
        if parts.question:
            among = _restricted(among, parts.question, parts.negated)
        return Question("count", "number", among=among)

    # ------------------------------------------------------------------------------------------------ which of them
    def kind(self, phrase: Phrase) -> Phrase:
        if phrase == ONE:
            raise NoReadingError  # "which one" is `WHICH`
        return phrase

    def choice(self, *children: Any) -> Question:
        parts = _Parts(children)
        _check_kind(parts.phrases)
        if CAMERA_PHRASE in parts.alternatives:
            raise NoReadingError
        kind: Any = _type(parts.degree.predicate) if len(parts.alternatives) == 2 else "extreme"
        return Question(kind, "choice", parts.alternatives, parts.degree.predicate)

    def nearer_choice(self, *children: Any) -> Question:
        parts = _Parts(children)
        *kinds, anchor = parts.phrases
        _check_kind(kinds)
        if anchor == CAMERA_PHRASE:
            return self.choice(_depth(parts.words[0]), Alternatives(parts.alternatives))
        return _relative("choice", anchor, parts.alternatives, parts.words[0])

    def nearest(self, *children: Any) -> Question:
        parts = _Parts(children)
        kind, anchor = parts.phrases
        if anchor == CAMERA_PHRASE:
            return self.extreme(kind, replace(_depth(parts.words[0]), superlative=True))
        return replace(_relative("choice", anchor, (), parts.words[0]), among=_among(kind))

    def extreme(self, kind: Phrase, degree: Degree) -> Question:
        if (kind.is_anything and not degree.superlative) or kind.pick is not None:
            raise NoReadingError  # "which object is taller?": than what?
        if (kind.number or 1) > 1 and degree.superlative:
            return self.bare(replace(kind, pick=Pick(degree.predicate)))  # "which two mugs are the tallest"
        if kind == WHICH and not degree.superlative:
            kind = replace(WHICH, number=2)
        return Question("extreme", "choice", (), degree.predicate, among=_among(kind))

    def extreme_of(self, among: Phrase, kind: Phrase, degree: Degree) -> Question:
        _check_kind([kind])
        return self.extreme(among, replace(degree, superlative=True))

    def related(self, *children: Any) -> Question:
        """What is left of the mug; what do you see; which mugs are not red."""
        parts = _Parts(children)
        (kind,), said = parts.phrases, parts.question
        kind = replace(kind, without=(*kind.without, *parts.without))
        if said is None:
            return Question("related", "objects", among=_among(kind))
        if said.type == "exists" and not said.objects[0].colors:
            raise NoReadingError
        if said.type == "exists" or said.limit is not None or parts.negated:
            return Question("related", "objects", among=_among(_restricted(kind, said, parts.negated)))
        _clause(said)  # only what a clause can say
        return Question("related", "objects", said.objects[1:], said.predicate, among=_among(kind))

    def related_back(self, kind: Phrase, phrase: Phrase, relation: str) -> Question:
        """What is the ball next to; what is the mug left of: of what is it true that the mug is left of it."""
        if kind not in (ANYTHING, WHICH) or phrase == CAMERA_PHRASE:
            raise NoReadingError
        back = relation if relation == "next_to" else _OPPOSITES[relation]
        return Question("related", "objects", (phrase,), back, among=ANYTHING)

    def what_is(self, kind: Phrase, phrase: Phrase) -> Question:
        """What is the tallest mug."""
        if kind not in (ANYTHING, WHICH):
            raise NoReadingError
        clauses = [w.relation in _RELATIONS and w.limit is None for w in phrase.where]
        if phrase.is_anything and phrase.pick is None and clauses == [True]:
            return _listing(phrase)  # "what are the things on the table"
        return self.bare(phrase)

    def bare(self, phrase: Phrase) -> Question:
        """The tallest mug; the mug closest to the lamp; the two tallest mugs."""
        if (phrase.number or 1) > 1 and (
            phrase.pick or any(w.relation in ("nearest", "farthest") for w in phrase.where)
        ):
            return Question("related", "objects", among=_among(phrase))
        if phrase.pick is not None and phrase.pick.predicate != "middle":
            rest = phrase if phrase.pick.rank > 1 else replace(phrase, pick=None)
            return Question("extreme", "choice", (), phrase.pick.predicate, among=_among(rest))
        if len(phrase.where) == 1 and phrase.where[0].relation in ("nearest", "farthest"):
            near = "closer" if phrase.where[0].relation == "nearest" else "farther"
            relative = _relative("choice", phrase.where[0].references[0], (), near)
            return replace(relative, among=_among(replace(phrase, where=())))
        raise NoReadingError

    def find(self, phrase: Phrase) -> Question:
        if phrase.pick is not None or any(w.relation in ("nearest", "farthest") for w in phrase.where):
            return self.bare(phrase)
        return _listing(phrase) if phrase.plural else self.ask("position", "position", "", phrase)

    def ranked_kind(self, kind: Phrase, pick: Pick, end: str = "") -> Question:
        if not end and pick.rank == 1:
            raise NoReadingError
        return self.bare(replace(kind, pick=_joined(pick, Pick(end)) if end else pick))

    # ----------------------------------------------------------------------------------------- orders, differences
    def ordering(self, *children: Any) -> Question:
        parts = _Parts(children)
        kind: Any = "depth_order" if parts.words[0] in ("front", "behind") else "order"
        if parts.words[0] not in PREDICATES:
            raise NoReadingError
        among = None if parts.alternatives else _among(parts.phrases[0])
        return Question(kind, "order", parts.alternatives, parts.words[0], among=among)

    def from_to(self, first: str, last: str) -> str:
        if _OPPOSITES[first] != last:
            raise NoReadingError
        return first

    def most_pick(self, word: str, measure: str) -> Pick:
        return Pick(self.most_in(word, measure).predicate)

    def compare(self, *children: Any) -> Question:
        """How does A compare to B in height: which of taller and shorter holds."""
        parts = _Parts(children)
        if len(set(parts.words)) != 1:
            raise NoReadingError
        predicate = _OF_MEASURE[parts.words[0]]
        return Question(_type(predicate), "free", parts.phrases, predicate)

    def bounded(self, *children: Any) -> Question:
        """Is the distance more than 2 m."""
        parts = _Parts(children)
        question = parts.question
        if question is None or question.form != "number" or question.type in ("direction", "volume", "dimensions"):
            raise NoReadingError
        bound = ("more" if parts.words[0] == "bigger" else "less") if parts.words else parts.bound or "equal"
        return replace(question, form="yes_no", predicate=bound, limit=parts.metres)

    def compared_quantity(self, question: Question, word: str, reference: Phrase) -> Question:
        if question.type not in _OF_MEASURE or len(question.objects) != 1:
            raise NoReadingError
        return self.polar_more(question.objects[0], self.more_in(word, question.type), reference)

    def difference(self, *children: Any) -> Question:
        parts = _Parts(children)
        predicate = parts.degree.predicate
        if parts.degree.superlative:
            raise NoReadingError
        return in_unit(Question(_type(predicate), "difference", parts.phrases, predicate), parts.unit)

    def difference_than(self, *children: Any) -> Question:
        """How much taller than B is A; how much further to the left than B."""
        parts = _Parts(children)
        degree = parts.degree if parts.degree.predicate else Degree(parts.words[0])
        return self.difference(*reversed(parts.phrases), degree, Unit(parts.unit))

    def nearer_difference(self, *children: Any) -> Question:
        parts = _Parts(children)
        if parts.phrases[0] == CAMERA_PHRASE:
            raise NoReadingError  # a degree
        return in_unit(_relative("difference", parts.phrases[0], parts.phrases[1:], parts.words[0]), parts.unit)

    def offset(self, *children: Any) -> Question:
        """How far left of B is A."""
        parts = _Parts(children)
        relation = next((word for word in parts.words if word in _OPPOSITES), "")
        pair = parts.phrases[::-1]
        if not relation:
            raise NoReadingError
        if relation in ("above", "below"):
            return self.ask("vertical_distance", "number", "", pair, Unit(parts.unit))
        return self.difference(pair, Degree(relation), Unit(parts.unit))

    def offset_of(self, *children: Any) -> Question:
        """How far is A left of B."""
        parts = _Parts(children)
        return self.offset(*reversed(parts.phrases), *parts.words, Unit(parts.unit))

    def room_between(self, pair: tuple[Phrase, ...], phrase: Phrase) -> Question:
        return self.ask("fit", "yes_no", "between", phrase, pair)

    # -------------------------------------------------------------------------------------- directions, whole texts
    def which_way(self, first: str, second: str, phrase: Phrase) -> Question:
        return _about(phrase, self.either(first, second))

    def direction(self, *children: Any) -> Question:
        """From the first phrase, or the camera, to the last."""
        parts = _Parts(children)
        unit = "deg" if "degrees" in parts.words else "m"
        return Question("direction", "number", (CAMERA_PHRASE, *parts.phrases)[-2:], unit=unit)

    def direction_to(self, *children: Any) -> Question:
        parts = _Parts(children)
        return self.direction(*reversed(parts.phrases), *parts.words)

    def sentence(self, *children: Any) -> Question:
        """A question, and what is said around it."""
        parts = _Parts(children)
        question = parts.question
        assert question
        for word in parts.words:
            if word == "opposite" and question.type == "exists" and not question.objects[0].where:
                raise NoReadingError  # "is it visible from behind"
            if word == "opposite":
                question = replace(question, opposite=True)
            elif question.type not in ("distance", "gap") or (word != "centers" and question.type == "gap"):
                raise NoReadingError
            else:
                kind: Any = "distance" if word == "centers" else f"{word}_distance"
                question = replace(question, type=kind)
        return in_unit(question, parts.unit)

    def context(self, listed: tuple[Phrase, ...], *places: Phrase) -> Context:
        return Context(listed, places)


def _is_pair(phrase: Phrase) -> bool:
    return phrase.number == 2 or phrase == THEM


def _two(phrase: Phrase) -> tuple[Phrase]:
    """Two of a kind."""
    if not phrase.plural or phrase.number not in (2, None) or phrase == ANYTHING:
        raise NoReadingError
    return (phrase if phrase == THEM else replace(phrase, number=2),)


def _where(relation: Any, *references: Phrase) -> Where:
    _check_reference(relation, references[0])
    if relation == "between" and len(references) == 1:
        references = _two(references[0])
    return Where(relation, references)


def _color_noun(color: str) -> Phrase:
    """An orange, a lime."""
    if color not in ("orange", "lime", "olive", "peach"):
        raise NoReadingError
    return Phrase(color, color)


def _tens(tens: str, ones: str) -> float:
    """Twenty five."""
    if int(tens) % 10 or not 20 <= int(tens) <= 90 or not 1 <= int(ones) <= 9:
        raise NoReadingError
    return float(int(tens) + int(ones))


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
    "one": lambda: 1.0,
    "tens": _tens,
    "hundred": lambda: 100.0,
    "metres": to_metres,
    "metres_and_half": lambda number, unit: to_metres(number + 0.5, unit),
    "metres_of_one_and_half": lambda unit: to_metres(1.5, unit),
    "metres_of_one": lambda unit: to_metres(1.0, unit),
    "metres_of_half": lambda unit: to_metres(0.5, unit),
    "pick": Pick,
    "ranked": lambda *parts: Pick(parts[-1], int(parts[0]) if len(parts) > 1 else 1),
    "ordinal": lambda rank: Pick("", int(rank)),
    "last": lambda: Pick("", -1),
    "where": _where,
    "where_side": lambda reference, side: _where(side, reference),
    "most": lambda measure: _OF_MEASURE[measure],
    "least": lambda measure: _OPPOSITES[_OF_MEASURE[measure]],
    "degree": Degree,
    "most_of_all": lambda predicate: Degree(predicate, superlative=True),
    "more": lambda measure: Degree(_OF_MEASURE[measure]),
    "less": lambda measure: Degree(_OPPOSITES[_OF_MEASURE[measure]]),
    "most_measure": lambda measure: Degree(_OF_MEASURE[measure], superlative=True),
    "bound": Bound,
    "pair": lambda *phrases: phrases,
    "two": _two,
    "alternatives": lambda *phrases: Alternatives(phrases),
    "listed": _listed,
    "negated": lambda *said: Part("negated", said[-1]),
    "unit": Unit,
    "subject": lambda phrase, _: Context((phrase,)),
    "standing": Standing,
    "gripper": lambda metres, *_: Gripper(metres),
    "first": lambda first, *_: first,
    "length_of": lambda *parts: next(p for p in parts if isinstance(p, float)),
    "last_of": lambda *parts: parts[-1],
    "horizontal_size": lambda plane: "width" if plane == "horizontal" else "height",
}
"""Aliases whose meaning fits in a line."""


def _type(predicate: Any) -> Any:
    return "place" if predicate in _PLACES else PREDICATES[predicate].type


def _depth(near: str) -> Degree:
    return Degree("front" if near == "closer" else "behind")


def _among(kind: Phrase) -> Phrase:
    if kind in (CAMERA_PHRASE, IT):
        raise NoReadingError
    return replace(kind, plural=True)


def _listing(phrase: Phrase) -> Question:
    """All objects that a phrase means; one relative clause is what is asked."""
    where = phrase.where[0] if len(phrase.where) == 1 else None
    plain = phrase.pick is None and not phrase.without
    if where is not None and where.relation in _RELATIONS and where.limit is None and plain:
        among = _among(replace(phrase, where=()))
        return Question("related", "objects", where.references, where.relation, among=among)
    return Question("related", "objects", among=phrase)


def _check_kind(kinds: Sequence[Phrase]) -> None:
    """Refuses "which mug is taller, the box or the can"."""
    if any(kind.noun not in ("object", WHICH.noun, THEM.noun) for kind in kinds):
        raise NoReadingError


def _check_reference(relation: str, reference: Phrase) -> None:
    """Refuses "in the picture", "in feet", "on the left of the image" and "in the red shirt"."""
    noun = reference.noun
    nowhere = noun in _SCENES or noun in LISTS["no_places"] or noun.split()[-1] in TERMINALS["_CLOTHES"]
    if relation in ("inside", "on") and (reference == CAMERA_PHRASE or nowhere):
        raise NoReadingError
    if relation in ("left", "right") and noun in ("image", "scene", "view", "photo", "side"):
        raise NoReadingError


def _relative(form: Any, anchor: Phrase, candidates: tuple[Phrase, ...], near: str) -> Question:
    if CAMERA_PHRASE in candidates:
        raise NoReadingError
    return Question("relative_distance", form, (anchor, *candidates), near)


def in_unit(question: Question, symbol: str) -> Question:
    """The question with its answer in a unit; raises `NoReadingError` where it has none of that kind."""
    if not symbol:
        return question
    if question.form not in ("number", "difference", "position") or question.type == "count":
        raise NoReadingError
    if question.type == "position" and symbol == "deg" and len(question.objects) == 1:
        return Question("direction", "number", (CAMERA_PHRASE, *question.objects), unit="deg")
    litres, degrees = question.type in ("volume", "big_small"), question.type == "direction"
    if (symbol == "l") != litres or (symbol == "deg") != degrees:
        raise NoReadingError
    return replace(question, unit=symbol)


def _about(subject: Phrase, question: Question) -> Question:
    """The question with its subject in place.

    "Is anything left of the mug?" asks whether something exists, "are the mugs red?" whether all of them are.
    """
    if subject == CAMERA_PHRASE:
        raise NoReadingError
    if (subject.plural or subject.text.startswith("any ")) and _is_clause(question):
        some = _restricted(subject, question)
        if subject.every or subject == THEM:
            return Question("all", "yes_no", (some,), among=subject)
        if subject.number is not None and subject.number > 1:
            return Question("count", "yes_no", among=replace(some, number=None), count=subject.number)
        return Question("exists", "yes_no", (some,))
    if (subject.text.startswith("any ") or (subject.is_anything and subject.plural)) and question.type != "exists":
        raise NoReadingError  # "is anything closer to the mug than to the box"
    objects = []
    for phrase in question.objects:
        if phrase.noun == SUBJECT.noun:
            text = " ".join((*phrase.colors, subject.text))
            phrase = replace(subject, colors=(*subject.colors, *phrase.colors), text=text)
        objects.append(phrase)
    return replace(question, objects=tuple(objects))


def _is_clause(said: Question) -> bool:
    try:
        _restricted(SUBJECT, said)
    except NoReadingError:
        return False
    return True


def _restricted(among: Phrase, said: Question, negated: bool = False) -> Phrase:
    """Of `among` those of which a predicate holds, or does not."""
    if negated:
        others = replace(_restricted(among, said), plural=True, pick=None, number=None)
        references = [r for where in others.where[len(among.where) :] for r in where.references if r != CAMERA_PHRASE]
        return replace(among, without=(*among.without, others, *references))
    if said.type == "exists":
        if not said.objects[0].colors:
            raise NoReadingError
        return replace(among, colors=(*among.colors, *said.objects[0].colors))
    return replace(among, where=(*among.where, _clause(said)))


def _clause(said: Question) -> Where:
    """What a yes/no question says of its subject, as a relative clause."""
    relation: Any = said.predicate
    if said.negated or said.form != "yes_no" or said.type in ("relative_distance", "extreme", "volume"):
        raise NoReadingError
    if said.limit is not None and said.predicate in _BOUNDS:
        more = said.predicate in ("more", "at_least")
        if said.type == "distance":
            return Where("beyond" if more else "within", said.objects[1:], said.limit)
        relation = _OF_MEASURE[said.type] if more else _OPPOSITES[_OF_MEASURE[said.type]]
        return Where(relation, (), said.limit)
    if said.limit is not None or relation not in _RELATIONS:
        raise NoReadingError
    return _where(relation, *said.objects[1:])


def _joined(first: Pick | None, second: Pick) -> Pick:
    """An ordinal and the end that it is counted from."""
    if first is None:
        return second
    if second.predicate and not first.predicate:
        first, second = second, first
    if second.predicate or first.rank != 1:
        raise NoReadingError
    return Pick(_OPPOSITES[first.predicate], 1) if second.rank == -1 else Pick(first.predicate, second.rank)
