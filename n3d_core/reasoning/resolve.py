"""Resolves noun phrases to boxes: first noun, colours and attributes, then clauses, then the superlative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.lexicon import color_in, normal, plural, singulars, without_id
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Where
from n3d_core.reasoning.relations import CAMERA, MEASURES, PLACES, PREDICATES, distance, largest_wins, stands

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIZE_ADJECTIVES = {
    "big": "bigger", "large": "bigger", "huge": "bigger", "small": "smaller", "little": "smaller", "tiny": "smaller",
    "tall": "taller", "high": "taller", "short": "shorter", "low": "shorter", "wide": "wider", "broad": "wider",
    "narrow": "thinner", "thin": "thinner", "long": "longer", "thick": "thicker",
}  # fmt: skip
"""Adjectives of size, and the predicates by which they choose among several objects."""
_MOST_LISTED = 4


class MissingError(QueryError):
    """No box is what a phrase means.

    Attributes:
        phrase: what was looked for.
        sentence: for the user: "No red laptop is in view; a red car is."
    """

    def __init__(self, phrase: Phrase, names: Sequence[str]) -> None:
        self.phrase, self.sentence = phrase, missing_sentence(phrase, names)
        super().__init__(self.sentence)


class AmbiguousError(QueryError):
    """A phrase that should mean one object fits several.

    Attributes:
        phrase: what was looked for.
        indices: indices of the boxes that it fits.
        sentence: for the user.
    """

    def __init__(self, phrase: Phrase, indices: Sequence[int], names: Sequence[str]) -> None:
        self.phrase, self.indices = phrase, tuple(indices)
        self.sentence = ambiguous_sentence(phrase, [names[i] for i in indices])
        super().__init__(self.sentence)


@dataclass(frozen=True)
class Roles:
    """The objects of one question in the order of their roles (A, B, C ...).

    Attributes:
        names: their names.
        boxes: their boxes.
        indices: their indices in the scene; None for the camera.
    """

    names: tuple[str, ...]
    boxes: tuple[Box3D, ...]
    indices: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def letter(self, index: int) -> str:
        """The letter of a role in formulas: A, B, C ..."""
        return LETTERS[index]

    def only(self, indices: Sequence[int]) -> Roles:
        """The roles of some boxes of the scene, in the given order."""
        places = [self.indices.index(i) for i in indices]
        return Roles(tuple(self.names[p] for p in places), tuple(self.boxes[p] for p in places), tuple(indices))


@dataclass(frozen=True)
class Scene:
    """Boxes and their names.

    Raises:
        QueryError: if the number of names differs from the number of boxes, or a box is not finite.
    """

    boxes: tuple[Box3D, ...]
    names: tuple[str, ...]
    known: dict[Phrase, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.boxes):
            raise QueryError(f"got {len(self.names)} names for {len(self.boxes)} boxes; each box needs one name")
        for box, name in zip(self.boxes, self.names, strict=True):
            if not all(map(math.isfinite, (*box.center, *box.size))):
                raise QueryError(f"the box of {name!r} is not finite: centre {box.center}, size {box.size}")

    def moved(self, boxes: Sequence[Box3D]) -> Scene:
        """The same objects with other boxes."""
        return Scene(tuple(boxes), self.names, self.known)

    def roles(self, indices: Sequence[int | None]) -> Roles:
        """Boxes (None: the camera) as the roles of a question."""
        return Roles(
            tuple("camera" if i is None else self.names[i] for i in indices),
            tuple(CAMERA if i is None else self.boxes[i] for i in indices),
            tuple(indices),
        )

    def one(self, phrase: Phrase, opposite: bool = False) -> int | None:
        """Index of the only box that a phrase means; None for the camera.

        Raises:
            MissingError, AmbiguousError: if there is no such box, or more than one.
        """
        found = self.means(phrase, opposite)
        if not found:
            if phrase == CAMERA_PHRASE:
                return None
            raise MissingError(phrase, self.names)
        if len(found) > 1:
            raise AmbiguousError(phrase, found, self.names)
        return found[0]

    def each(self, phrases: Sequence[Phrase], opposite: bool = False) -> list[int | None]:
        """Index of the box of each phrase, in order; a plural ("the two mugs") may give several.

        Raises:
            MissingError, AmbiguousError: as in `one`.
        """
        found: list[int | None] = []
        for phrase in phrases:
            several = self.means(phrase, opposite) if phrase.plural else []
            found += several or [self.one(phrase, opposite)]
        return found

    def means(self, phrase: Phrase, opposite: bool = False) -> list[int]:
        """Indices of all boxes that a phrase means; for a superlative one, or in the plural the first few.

        Args:
            opposite: whether its clauses are meant in the opposite view.

        Raises:
            MissingError, AmbiguousError: for an object in one of its clauses.
        """
        left_out = [i for other in phrase.without for i in self._left_out(other, opposite)]
        found = [i for i in self._called(phrase) if i not in left_out]
        for where in phrase.where:
            found = self._standing(found, where, phrase, opposite)
        if len(found) > 1 and not phrase.plural and phrase.pick is None:
            found = self._sized(found, phrase)
        if phrase.pick is not None and phrase.pick.predicate == "middle":
            ranked = self._ranked(found, "left", False)
            found = ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]  # two of an even number
        elif phrase.pick is not None:
            ranked = self._ranked(found, phrase.pick.predicate, opposite)
            start = phrase.pick.rank - 1
            found = ranked[start : start + ((phrase.number or 1) if phrase.plural else 1)]
        return found

    def _left_out(self, phrase: Phrase, opposite: bool) -> list[int]:
        """Boxes that "except the ball" leaves out; none if there is no ball."""
        found = self.means(phrase, opposite)
        if len(found) > 1 and not phrase.plural:
            raise AmbiguousError(phrase, found, self.names)
        return found

    def _called(self, phrase: Phrase) -> list[int]:
        """Boxes whose names fit the noun, colours and attributes of a phrase."""
        if phrase not in self.known:
            self.known[phrase] = matching(phrase, self.names)
        return self.known[phrase]

    def _standing(self, found: list[int], where: Where, phrase: Phrase, opposite: bool) -> list[int]:
        """The boxes for which a clause holds."""
        references = self.each(where.references, opposite)
        if where.relation == "among":
            return [i for i in references if i is not None]
        others = [CAMERA if i is None else self.boxes[i] for i in references]
        found = [i for i in found if i not in references]
        if where.relation == "color":
            colors = {color_in(self.names[i]) for i in references if i is not None}
            return [i for i in found if color_in(self.names[i]) in colors - {""}]
        if where.relation in ("nearest", "farthest"):
            ranked = sorted(found, key=lambda i: distance(self.boxes[i], others[0]))
            ranked = ranked if where.relation == "nearest" else ranked[::-1]
            start = where.rank - 1
            return ranked[start : start + ((phrase.number or 1) if phrase.plural else 1)]
        standing = [i for i in found if self._stands(self.boxes[i], where, others, opposite)]
        if where.relation == "next_to" and not phrase.plural and len(standing) != 1:
            # "the lamp next to the car" is the nearer one where both or neither are next to it
            return sorted(standing or found, key=lambda i: distance(self.boxes[i], others[0]))[:1]
        return standing

    @staticmethod
    def _stands(box: Box3D, where: Where, others: Sequence[Box3D], opposite: bool) -> bool:
        """Left of the boxes is what is left of all of them, next to the boxes what is next to any."""
        if where.relation == "between" or len(others) < 2:
            return stands(where.relation, box, others, opposite, where.limit)
        held = (stands(where.relation, box, [other], opposite, where.limit) for other in others)
        return any(held) if where.relation in (*PLACES, "within") else all(held)

    def _ranked(self, found: list[int], predicate: str, opposite: bool) -> list[int]:
        """Sorts boxes, those with the most of something first."""
        measure = MEASURES[PREDICATES[predicate].measure]
        return sorted(found, key=lambda i: measure(self.boxes[i]), reverse=largest_wins(predicate, opposite))

    def _sized(self, found: list[int], phrase: Phrase) -> list[int]:
        """The box that an adjective of size picks ("the big mug"); all if there is no such adjective."""
        chosen = [SIZE_ADJECTIVES[a] for a in phrase.attributes if a in SIZE_ADJECTIVES]
        return self._ranked(found, chosen[0], False)[:1] if chosen else found


def matching(phrase: Phrase, names: Sequence[str]) -> list[int]:
    """Indices of the names that fit the noun, colours and attributes of a phrase, by the first rule that finds any.

    1. the same name (`4_chair`, `red mug`; in the singular only), 2. names that end in the noun and hold the colours
    and attributes (`big red mug` for "red mug"), 3. names that say less (`mug` for "red mug").
    A name that the caller supplied is matched whole. Sizes are for the boxes to tell, so names need not hold them.
    """
    plain = [normal(n) for n in names]
    bare = [normal(without_id(n)) for n in plain]
    wanted = [*(a for a in phrase.attributes if a not in SIZE_ADJECTIVES), *phrase.colors]
    label = " ".join((*wanted, phrase.noun))
    if phrase.named:
        asked = _forms(normal(phrase.noun))
        return _equal(plain, asked) or _equal(bare, asked)
    if phrase.noun == "object":
        return [i for i, n in enumerate(bare) if set(wanted) <= set(n.split())]
    if not phrase.plural:
        same = _equal(plain, [phrase.label]) or _equal(bare, [label, phrase.label])
        if same:
            return same
    heads = {phrase.noun, *singulars(phrase.noun), *singulars(plural(phrase.noun))}  # "buse" of "buses" is "bus", too
    ended = [i for i, n in enumerate(bare) if any(_ends_in(form, head) for form in _forms(n) for head in heads)]
    full = [i for i in ended if set(wanted) <= set(bare[i].split())]
    if full:
        return full
    last = {head.split()[-1] for head in heads}
    alike = [i for i, n in enumerate(bare) if n and {form.split()[-1] for form in _forms(n)} & last]
    return [i for i in alike if set(bare[i].split()[:-1]) <= set(label.split())]


def _equal(names: Sequence[str], texts: Sequence[str]) -> list[int]:
    return next((same for t in texts if (same := [i for i, n in enumerate(names) if n == t])), [])


def _forms(name: str) -> tuple[str, ...]:
    return name, *singulars(name)


def _ends_in(name: str, noun: str) -> bool:
    return name == noun or name.endswith(f" {noun}")


def article(noun: str) -> str:
    """`a red car`, `an orange box`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def listed(items: Sequence[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(items[:-1])} {word} {items[-1]}" if len(items) > 1 else "".join(items)


def missing_sentence(phrase: Phrase, names: Sequence[str]) -> str:
    """Says that nothing in view fits a phrase, and what there is of the same class or, failing that, colour."""
    text = _with_where(phrase)
    sentence = f"No {plural(text) if phrase.plural and phrase.is_plain else text} {_be(phrase.plural)} in view"
    bare = list(dict.fromkeys(normal(without_id(n)) for n in names))
    if phrase.noun == "object" or not phrase.is_plain:
        alike = []
    else:
        alike = [n for n in bare if any(_ends_in(form, phrase.noun) for form in _forms(n)) and n != phrase.label]
        alike = alike or [n for n in bare if set(phrase.colors) & set(n.split()) and n != phrase.label]
    if not alike:
        return f"{sentence}."
    alike = alike[:_MOST_LISTED]
    return f"{sentence}; {listed([article(n) for n in alike])} {_be(len(alike) > 1)}."


def ambiguous_sentence(phrase: Phrase, names: Sequence[str]) -> str:
    """Says that a phrase fits several objects, and which."""
    bare = list(dict.fromkeys(normal(without_id(n)) for n in names))
    count = f"{len(names)} objects in view"
    if len(bare) > 1:
        what = listed([f"the {n}" for n in bare[:_MOST_LISTED]], "or" if len(bare) <= _MOST_LISTED else "and")
        return f"'{phrase.text}' fits {count}: say which one is meant, {what}."
    return f"'{phrase.text}' fits {count}: say which one is meant, by its place for example."


def _with_where(phrase: Phrase) -> str:
    """The label of a phrase in the singular, or its own words if it has clauses."""
    return phrase.label if phrase.is_plain else normal(phrase.text)


def _be(several: bool) -> str:
    return "are" if several else "is"
