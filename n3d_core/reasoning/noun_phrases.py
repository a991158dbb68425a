"""Noun phrases: determiner, modifiers, head and clauses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from n3d_core.reasoning.constituents import (
    ONE,
    OPPOSITES,
    THEM,
    WHICH,
    Condition,
    Part,
    clause,
    joined,
    one_among,
    restricted,
)
from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import LISTS, TERMINALS, is_compound, singulars, strip_article
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, Phrase, Pick, Where


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
    conditions: tuple[Condition, ...] = ()
    several: bool = False
    after: bool = False

    def with_part(self, part: Any) -> Draft:
        """This draft with one more piece."""
        if isinstance(part, Where):
            return replace(self, where=(*self.where, part))
        if isinstance(part, Pick):
            return replace(self, pick=joined(self.pick, part))
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
            if self.pick is None or self.pick.predicate not in ("front", "behind") or self.pick.rank < 1:
                raise NoReadingError
            if part.value == CAMERA_PHRASE:
                return self
            relation: Any = "nearest" if self.pick.predicate == "front" else "farthest"
            return replace(self, pick=None, where=(*self.where, Where(relation, (part.value,), rank=self.pick.rank)))
        if (
            part.kind == "than"
        ):  # "mugs taller than the box"; "the lamp left of the box taller than ..." is about the lamp
            return replace(self, where=(*self.where, part.value), several=True)
        if part.kind == "from":  # "the second mug from the left"
            if self.pick is None or self.pick.predicate:
                raise NoReadingError
            return replace(self, pick=joined(self.pick, Pick(part.value)))
        return replace(self, **{part.kind: part.value})

    def phrase(self, head: Phrase, said: str) -> Phrase:
        """The finished phrase. "On the left" means the leftmost in the singular, all on that side in the plural."""
        plural = head.plural or self.determiner == "all" or (self.number or 1) > 1
        if self.determiner == "both":
            if not head.plural:
                raise NoReadingError  # "both the mug and the bowl"
            return replace(self, determiner="all", number=self.number or 2).phrase(head, said)
        if self.after and head.noun != ANYTHING.noun:
            raise NoReadingError  # "is the mug on [the table red]"
        if self.colors and not plural and all(p.noun == ONE.noun and p.colors for p in self.without):
            return replace(self, without=()).phrase(head, said) if self.without else self._finished(head, said)
        return self._finished(head, said)

    def _finished(self, head: Phrase, said: str) -> Phrase:
        plural = head.plural or self.determiner == "all" or (self.number or 1) > 1
        pick, where, text = self.pick, self.where, strip_article(said)
        if (self.several and self.determiner == "the") or (
            (self.several or self.without) and not (plural or pick or self.determiner in ("a", "any"))
        ):
            raise NoReadingError
        chosen = (
            pick is not None and pick.predicate and head != WHICH
        )  # "nearest mug on the left", "farthest to the left"
        if self.end and self.end != "middle" and (plural if pick is None else chosen):
            where = (*where, clause(self.end, CAMERA_PHRASE))
        elif self.end:
            last = pick is not None and pick.rank == -1  # "the last mug on the left" is the leftmost
            pick = Pick(self.end) if last else joined(pick, Pick(self.end))
        if plural and any(" and " in color for color in self.colors):
            raise NoReadingError  # "the red and blue mugs" are not of two colours each
        if pick is not None and text.lower().startswith("its "):
            raise NoReadingError  # "its nearest box" is not the nearest to the camera
        if pick is not None and not pick.predicate:
            raise NoReadingError  # "the second mug": counted from where?
        if pick is not None and head.noun in LISTS["parts"] and text.lower().startswith(("front", "back", "rear")):
            raise NoReadingError  # "front door" is a noun
        if (head.noun in TERMINALS["_GRIPPER"] and self.where) or (head.noun in ("edge", "border") and self.pick):
            raise NoReadingError  # "put your [hand on the mug]", "closest to the [left edge]" of the picture
        if head.noun in TERMINALS["_CAMERA"] and self in (Draft(), Draft("the")):
            raise NoReadingError  # it is the camera itself
        without = tuple(replace(p, noun=head.noun) if p.noun == ONE.noun else p for p in self.without)
        every = plural and (self.determiner in ("all", "the") or text.lower().startswith("every"))
        whole = replace(head, every=every, text=text, colors=self.colors, attributes=self.attributes, plural=plural,
                        number=self.number, where=where, pick=pick, without=without)  # fmt: skip
        for condition in self.conditions:
            whole = restricted(whole, *condition)
        return whole


class NounPhrases:
    """Methods for noun phrases; `said` is the part of the text that the alternative covers."""

    def __init__(self, said: str) -> None:
        self.said = said

    # ------------------------------------------------------------------------------------------------- noun phrases
    def phrase(self, *parts: Any) -> Phrase:
        """A phrase from its determiner, modifiers, head and clauses."""
        head = next((part for part in parts if isinstance(part, Phrase)), ANYTHING)
        draft = Draft()
        for part in parts:
            draft = draft.with_part(part)
        return draft.phrase(head, self.said)

    def other(self, *parts: Any) -> Phrase:
        """As in "another ball besides the red one"."""
        phrase = self.phrase(Part("determiner", "any"), *parts)
        if not phrase.without:
            raise NoReadingError  # other than which?
        return phrase

    def apposed(self, *parts: Any) -> Phrase:
        """As in "the mug, the red one", "the boxes, the tallest"."""
        *own, said = parts
        first = self.phrase(*own)
        again = (first.colors and said.colors) or (first.pick and not said.pick) or first == ANYTHING
        if again or first.without or (first.plural and not said.plural and not said.pick):
            raise NoReadingError  # "the red mug, the blue one" are two
        colors, where = (*first.colors, *said.colors), (*first.where, *said.where)
        attributes = (*first.attributes, *said.attributes)
        several = said.plural and not said.pick
        return replace(first, colors=colors, attributes=attributes, where=where, pick=said.pick, plural=several,
                       number=None, without=said.without, text=f"{first.text}")  # fmt: skip

    def where_back(self, other: Phrase, relation: str) -> Where:
        """As in "with the mug on it", "that has a lamp behind it"."""
        back = {"on": "under", "under": "on", "next_to": "next_to"}.get(relation)
        return clause(back or OPPOSITES[relation], other)

    def headless(self, *parts: Any) -> Phrase:
        """As in "the tallest", "the second from the left"."""
        return self.phrase(WHICH, *parts)

    def best_of(self, *parts: Any) -> Phrase:
        """As in "the largest of the mugs"."""
        *_, pick, among = parts
        if among == THEM:
            return self.headless(pick)
        if among.pick is not None or not among.plural or not pick.predicate:
            raise NoReadingError
        return replace(among, text=strip_article(self.said), pick=pick, plural=False, number=None)

    def best_among(self, *parts: Any) -> Phrase:
        """As in "the taller one of the mug and the box"."""
        *_, pick, among = parts
        if CAMERA_PHRASE in among.phrases:
            raise NoReadingError
        return one_among(among.phrases, pick, strip_article(self.said))

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
        if (len(head) == 1 and singulars(head[0])[0] in LISTS["sides"]) or (len(words) > 1 and words[0] == "a"):
            raise NoReadingError  # "in [front of the box]"
        if len(words) > 1 and words[-1].isdigit() and words[-2] in TERMINALS["UNIT"]:
            raise NoReadingError  # "taller than 5 [foot 3]"
        if not is_compound(head):
            raise NoReadingError  # "how many [mugs can] you see"
        one = singulars(" ".join(head))[0]
        return Phrase(self.said, " ".join((one, *rest)), plural=one != " ".join(head))

    def of_colors(self, *parts: Any) -> tuple[Phrase, ...]:
        """As in "the red and the blue mug", "red and blue mugs"."""
        rest = [p for p in parts if not isinstance(p, str)]
        found = [self.phrase(Part("color", color), *rest) for color in parts if isinstance(color, str)]
        return tuple(replace(p, text=f"{p.colors[0]} {p.noun}") for p in found)

    def where_near(self, near: str, reference: Phrase) -> Where | Pick:
        if reference == CAMERA_PHRASE:
            return Pick("front" if near == "closer" else "behind")
        return clause("nearest" if near == "closer" else "farthest", reference)

    def where_ranked(self, rank: str, near: str, reference: Phrase) -> Where | Pick:
        """As in "second closest to the lamp"."""
        where = self.where_near(near, reference)
        return replace(where, rank=int(rank))
