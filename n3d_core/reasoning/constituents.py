"""What sentences are made of (pronouns, degrees, limits, places), and how phrases and questions are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import LISTS, TERMINALS
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PREDICATES

SUBJECT = Phrase("", "\0subject")
"""The subject of a predicate, until it is known."""
IT, ONE = Phrase("it", "\0it"), Phrase("one", "\0one")
FORMER, LATTER = Phrase("the former", "\0former"), Phrase("the latter", "\0latter")
OPPOSITE = Phrase("", "\0opposite")
"""The side of the scene opposite the camera, as a place to stand."""
THEM = Phrase("them", "\0them", plural=True)
"""Pronouns, until the phrase that they stand for is known."""
WHICH = Phrase("", "\0which", plural=True)
"""What "which" chooses from: the objects mentioned before, or everything."""


class Table(dict[str, str]):
    """A table of words; looking up any other word drops the reading."""

    def __missing__(self, word: str) -> str:
        raise NoReadingError


MEASURED = {
    "wider": "width", "taller": "height", "longer": "length", "thicker": "thickness", "bigger": "volume",
    "behind": "distance",
}  # fmt: skip
OF_MEASURE = Table({measure: predicate for predicate, measure in MEASURED.items()} | {"dimensions": "bigger"})
OPPOSITES = Table({name: p.converse for name, p in PREDICATES.items()})
PLACE_NAMES = ("on", "under", "inside", "next_to", "between")
RELATION_NAMES = (*PLACE_NAMES, *PREDICATES)
SCENES = TERMINALS["_SCENE"]
LIMITS: dict[str, tuple[Any, str]] = {
    **{more: (size, "more") for more, size in MEASURED.items() if size != "volume"},
    **{OPPOSITES[more]: (size, "less") for more, size in MEASURED.items() if size != "volume"},
}
"""Predicate → the length that it limits, and how."""
MORE_OR_LESS = Table(
    dict.fromkeys(("more", "bigger", "wider", "taller", "longer", "thicker", "above"), "more")
    | dict.fromkeys(("less", "smaller", "thinner", "shorter", "below"), "less")
)
"""How a quantity compares that is bigger, wider, smaller ... than another."""
BOUNDS = ("more", "less", "at_least", "at_most")
GAPS = ("space", "room", *TERMINALS["_GAP"])


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
class AskedUnit:
    """Symbol of the unit that the question asks for; empty if it names none."""

    symbol: str


@dataclass(frozen=True)
class Context:
    """The objects in a sentence before the question, and the places where they are put."""

    phrases: tuple[Phrase, ...]
    places: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Standing:
    """Where the person who asks stands."""

    place: Phrase


@dataclass(frozen=True)
class Gripper:
    """How far a gripper opens, in metres."""

    opening: float


Condition = tuple[Question, bool]
"""What is said of a subject, and whether it is negated."""


class Children:
    """The meanings of an alternative's children, sorted by what they are."""

    def __init__(self, children: Sequence[Any]) -> None:
        self.phrases: tuple[Phrase, ...] = ()
        self.words: list[str] = []
        self.question: Question | None = None
        self.degree = Degree("")
        self.alternatives: tuple[Phrase, ...] = ()
        self.bound = self.unit = ""
        self.metres: float | None = None
        self.without: tuple[Phrase, ...] = ()
        self.conditions: tuple[Condition, ...] = ()
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
            elif isinstance(child, AskedUnit):
                self.unit = child.symbol
            elif isinstance(child, float):
                self.metres = child
            elif isinstance(child, Part) and child.kind == "without":
                self.without = child.value
            elif isinstance(child, Part) and child.kind == "conditions":
                self.conditions = child.value

    @property
    def negated(self) -> bool:
        return self.words.count("not") % 2 == 1

    def restricted(self, among: Phrase) -> Phrase:
        """Those of a kind for which the predicate, or the conditions, hold."""
        for condition in self.conditions:
            among = restricted(among, *condition)
        return restricted(among, self.question) if self.question else among


def is_pair(phrase: Phrase) -> bool:
    return phrase.number == 2 or phrase == THEM


def is_any(phrase: Phrase) -> bool:
    """Whether one object of several is meant, whichever: "anything", "any mug"."""
    return phrase.text.startswith("any ") or (phrase.is_anything and phrase.plural and not phrase.every)


def two_of(phrase: Phrase) -> tuple[Phrase]:
    """Two objects of one kind."""
    if not phrase.plural or phrase.number not in (2, None) or phrase == ANYTHING:
        raise NoReadingError
    return (phrase if phrase == THEM else replace(phrase, number=2),)


def clause(relation: Any, *references: Phrase) -> Where:
    check_reference(relation, references[0])
    if relation == "between" and len(references) == 1:
        references = two_of(references[0])
    return Where(relation, references)


def type_of(predicate: Any) -> Any:
    return "place" if predicate in PLACE_NAMES else PREDICATES[predicate].type


def in_depth(near: str) -> Degree:
    return Degree("front" if near == "closer" else "behind")


def competing(kind: Phrase) -> Phrase:
    if kind in (CAMERA_PHRASE, IT):
        raise NoReadingError
    return replace(kind, plural=True)


def listing(phrase: Phrase) -> Question:
    """A question for all objects that a phrase means. A single relative clause becomes the relation asked for."""
    where = phrase.where[0] if len(phrase.where) == 1 else None
    plain = phrase.pick is None and not phrase.without
    if where is not None and where.relation in RELATION_NAMES and where.limit is None and plain:
        among = competing(replace(phrase, where=()))
        return Question("related", "objects", where.references, where.relation, among=among)
    return Question("related", "objects", among=phrase)


def one_among(phrases: tuple[Phrase, ...], pick: Pick, text: str) -> Phrase:
    """The one of several named objects that is the most of something."""
    return replace(ANYTHING, text=text, plural=False, where=(Where("among", phrases),), pick=pick)


def check_kind(kinds: Sequence[Phrase]) -> None:
    """Rejects "which mug is taller, the box or the can?"."""
    if any(kind.noun not in ("object", WHICH.noun, THEM.noun) for kind in kinds):
        raise NoReadingError


def of_kind(kinds: Sequence[Phrase], alternatives: tuple[Phrase, ...]) -> tuple[Phrase, ...]:
    """The objects to choose from. For "which mug is taller, the red one or the blue one" these are mugs."""
    if kinds and all(p.noun == ONE.noun for p in alternatives):
        kind = kinds[0]
        if kind.noun.startswith("\0") or not kind.is_plain:
            return alternatives
        named = {"noun": kind.noun, "attributes": kind.attributes}
        return tuple(replace(p, **named, colors=(*kind.colors, *p.colors)) for p in alternatives)  # type: ignore[arg-type]
    check_kind(kinds)
    return alternatives


def check_reference(relation: str, reference: Phrase) -> None:
    """Rejects "in the picture", "in feet", "on the left of the image" and "in the red shirt"."""
    noun = reference.noun
    nowhere = noun.split()[-1] in SCENES or noun in LISTS["no_places"] or noun.split()[-1] in TERMINALS["_CLOTHES"]
    if relation in ("inside", "on") and (reference == CAMERA_PHRASE or nowhere):
        raise NoReadingError
    if relation in ("left", "right") and (noun in SCENES or noun == "side"):
        raise NoReadingError


def by_distance(form: Any, anchor: Phrase, candidates: tuple[Phrase, ...], near: str) -> Question:
    if CAMERA_PHRASE in candidates:
        raise NoReadingError
    return Question("relative_distance", form, (anchor, *candidates), near)


def in_unit(question: Question, symbol: str) -> Question:
    """The question with its answer in a unit; raises `NoReadingError` if the answer cannot have it."""
    if not symbol:
        return question
    if question.form not in ("number", "difference", "position") or question.type == "count":
        raise NoReadingError
    if question.type == "position" and symbol == "deg" and len(question.objects) == 1:
        return Question("direction", "number", (CAMERA_PHRASE, *question.objects), unit="deg")
    litres, degrees = question.type in ("volume", "big_small"), question.type in ("direction", "angle")
    if (symbol == "l") != litres or (symbol == "deg") != degrees:
        raise NoReadingError
    return replace(question, unit=symbol)


def about(subject: Phrase, question: Question) -> Question:
    """Puts the subject into a question.

    "Is anything left of the mug?" asks whether something exists, "are the mugs red?" whether all of them are.
    """
    if subject == CAMERA_PHRASE or (subject.number == 1 and not subject.every):
        raise NoReadingError  # "is exactly one mug on the table"
    if (subject.plural or is_any(subject)) and _is_clause(question):
        some = restricted(subject, question)
        if subject.every or subject == THEM:
            return Question("all", "yes_no", (some,), among=subject)
        if subject.number is not None and subject.number > 1:
            return Question("count", "yes_no", among=replace(some, number=None), count=subject.number)
        return Question("exists", "yes_no", (some,))
    if (is_any(subject) or (subject.is_anything and subject.plural)) and question.type != "exists":
        raise NoReadingError  # "is anything closer to the mug than to the box"
    chosen = subject.pick is not None or any(w.relation in ("nearest", "farthest") for w in subject.where)
    if question.type == "exists" and (chosen or len(question.objects) == 2):
        if chosen and not subject.noun.startswith(
            "\0"
        ):  # "is the tallest mug red" does not ask for the tallest red one
            rest = replace(subject, pick=None, where=(), plural=True)
            return Question("all", "yes_no", (restricted(rest, question),), among=replace(subject, number=1))
        return Question("exists", "yes_no", (restricted(subject, question),))
    objects = []
    for phrase in question.objects:
        if phrase.noun == SUBJECT.noun:
            text = " ".join((*phrase.colors, subject.text))
            phrase = replace(subject, colors=(*subject.colors, *phrase.colors), text=text)
        objects.append(phrase)
    return replace(question, objects=tuple(objects))


def _is_clause(said: Question) -> bool:
    try:
        restricted(ANYTHING, said)
    except NoReadingError:
        return False
    return True


def restricted(among: Phrase, said: Question, negated: bool = False) -> Phrase:
    """Restricts `among` to the objects for which a predicate holds, or does not hold."""
    if negated:
        others = replace(restricted(replace(among, without=()), said), plural=True, pick=None, number=None)
        references = [r for where in others.where[len(among.where) :] for r in where.references if r != CAMERA_PHRASE]
        return replace(among, without=(*among.without, others, *references))
    if said.type == "exists":
        if not said.objects[0].colors and len(said.objects) < 2:
            raise NoReadingError
        for kind in said.objects[1:]:
            if among.noun not in (ANYTHING.noun, kind.noun):
                raise NoReadingError
            attributes = (*among.attributes, *kind.attributes)
            among = replace(among, noun=kind.noun, text=kind.text, attributes=attributes)
        return replace(among, colors=(*among.colors, *said.objects[0].colors))
    return replace(among, where=(*among.where, clause_saying(said)))


def clause_saying(said: Question) -> Where:
    """Turns what a yes/no question says of its subject into a relative clause."""
    relation: Any = said.predicate
    if said.type == "same" and relation == "color" and not said.negated:
        return Where("color", said.objects[1:])
    if said.negated or said.form != "yes_no" or said.type in ("relative_distance", "extreme", "volume"):
        raise NoReadingError
    if said.limit is not None and said.predicate in BOUNDS:
        more = said.predicate in ("more", "at_least")
        if said.type == "distance":
            return Where("beyond" if more else "within", said.objects[1:], said.limit)
        relation = OF_MEASURE[said.type] if more else OPPOSITES[OF_MEASURE[said.type]]
        return Where(relation, (), said.limit)
    if said.limit is not None or relation not in RELATION_NAMES:
        raise NoReadingError
    return clause(relation, *said.objects[1:])


def joined(first: Pick | None, second: Pick) -> Pick:
    """Joins an ordinal and the end that it is counted from."""
    if first is None:
        return second
    if second.predicate and not first.predicate:
        first, second = second, first
    if second.predicate or first.rank != 1:
        raise NoReadingError
    return Pick(OPPOSITES[first.predicate], 1) if second.rank == -1 else Pick(first.predicate, second.rank)
