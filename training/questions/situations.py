"""Questions about what is there and what can be done: existence, places, counts by place, limits, fits, likeness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product

from n3d_core.reasoning import relations
from n3d_core.reasoning.lexicon import plural
from n3d_core.reasoning.outcome import fitting_side, measured
from n3d_core.reasoning.question import (
    CAMERA_PHRASE,
    DISTANCES,
    SIZES,
    Phrase,
    Pick,
    Question,
    QuestionType,
    Relation,
    Where,
)
from n3d_core.reasoning.units import to_metres
from training.questions import wordings as words
from training.questions.maker import Maker
from training.questions.margins import is_decided
from training.questions.samples import SpatialSample

_LIMITED: tuple[QuestionType, ...] = ("width", "height", "length", "distance", "distance", "gap")
_SIDES: tuple[Relation, ...] = ("left", "right", "front", "behind")
_PLACES: tuple[Relation, ...] = ("on", "under", "inside", "next_to")
_LIMITS = (3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 80, 120)  # centimetres
_MOST = 6  # objects that a relation is computed for


def _exists(make: Maker, kind: QuestionType) -> SpatialSample | None:
    if make.rng.random() < 0.5:
        absent = make.absent()
        return None if absent is None else _asked_for(make, kind, absent, [])
    chosen = make.kind()
    if chosen is None or chosen[0].is_anything:
        return None
    return _asked_for(make, kind, *chosen)


def _asked_for(make: Maker, kind: QuestionType, phrase: Phrase, objects: list[int]) -> SpatialSample | None:
    slots = {"an": words.with_article(phrase.label), "ks": plural(phrase.label)}
    template = make.rng.choice(words.EXISTS)
    phrase = replace(phrase, plural="{ks}" in template)
    return make.sample(Question(kind, "yes_no", (phrase,)), template, objects, **slots)


def _count_none(make: Maker) -> SpatialSample | None:
    absent = make.absent()
    if absent is None:
        return None
    what = replace(absent, plural=True)
    return make.sample(Question("count", "number", among=what), make.rng.choice(words.COUNT), [], ks=plural(what.label))


def _count_by_place(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """How many mugs are left of the box; sometimes how many there are of what is not there."""
    if make.rng.random() < 0.2:
        return _count_none(make)
    found = _reference_and_rivals(make)
    if found is None:
        return None
    reference, what, rivals = found
    relation = make.rng.choice((*_SIDES, *_SIDES, *_PLACES))
    mention = make.phrase(reference, make.scene.objects[reference].box.label)
    among = replace(what, where=(Where(relation, (mention,)),))
    slots = {"ks": plural(what.label), "p": words.RELATION[relation], "b": f"the {mention.label}"}
    question = Question("count", "number", among=among)
    return make.sample(question, make.rng.choice(words.COUNT_BY_PLACE), [reference, *rivals], **slots)


def _related(make: Maker, kind: QuestionType) -> SpatialSample | None:
    found = _reference_and_rivals(make)
    if found is None:
        return None
    reference, what, rivals = found
    relation = make.rng.choice((*_SIDES, *_SIDES, "above", "below", *_PLACES))
    mention = make.phrase(reference, make.scene.objects[reference].box.label)
    anything = what.is_anything
    slots = {"ks": plural(what.label), "p": words.RELATION[relation], "b": f"the {mention.label}"}
    question = Question(kind, "objects", (mention,), relation, among=what)
    table = words.RELATED if anything else words.RELATED_KIND
    return make.sample(question, make.rng.choice(table), [reference, *rivals], **slots)


def _reference_and_rivals(make: Maker) -> tuple[int, Phrase, list[int]] | None:
    """One object, and a class (or everything) whose other members may stand in a relation to it."""
    chosen, reference = make.kind(bare=True), make.pick(1)
    if chosen is None or not reference:
        return None
    what, members = chosen
    rivals = [i for i in members if i != reference[0]]
    if not 1 <= len(rivals) <= _MOST or not set(rivals) <= set(make.unique):
        return None
    return reference[0], what, rivals


def _place(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """Whether an object is at a place; where one is, mostly about it."""
    relation = make.rng.choice((*_PLACES, "between"))
    count = 3 if relation == "between" else 2
    draws = [objects for _ in range(12) if len(objects := make.pick(count)) == count]
    held = [d for d in draws if _stands(make, relation, d)]
    if not draws or (not held and make.rng.random() < 0.7):
        return None
    objects = held[0] if held and make.rng.random() < 0.8 else draws[0]
    table = words.BETWEEN if relation == "between" else words.YES_NO
    question = Question(kind, "yes_no", (), relation)
    return make.sample(question, make.rng.choice(table), objects, p=words.RELATION[relation])


def _stands(make: Maker, relation: str, objects: Sequence[int]) -> bool:
    subject, *references = (make.scene.objects[i].box for i in objects)
    return relations.stands(relation, subject, references)


def _gap(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(2)
    if len(objects) < 2:
        return None
    unit = make.unit()
    return make.sample(
        Question(kind, "number", unit=unit), make.rng.choice(words.GAP), objects, unit=make.unit_words(unit)
    )


def _volume(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(1)
    return make.sample(Question(kind, "number", unit="l"), make.rng.choice(words.VOLUME), objects) if objects else None


def _limit(make: Maker, kind: str) -> SpatialSample | None:
    """Whether a length is more or less than a limit, or at least or at most as much."""
    what = make.rng.choice(_LIMITED)
    objects = make.pick(2 if what in DISTANCES else 1)
    if len(objects) < (2 if what in DISTANCES else 1):
        return None
    bounds = ("more", "less", "at_least", "at_most") if what in SIZES else ("more", "less", "at_most")
    question = Question(what, "yes_no", (), make.rng.choice(bounds if what != "gap" else bounds[:2]))
    value = measured(question, [make.scene.objects[i].box for i in objects])
    cm = max(round(value * 100 * make.rng.choice((0.5, 0.7, 1.4, 1.8))), 1)
    if abs(cm / 100 - value) < max(0.02, 0.15 * value):
        return None
    more = question.predicate == "more"
    if question.predicate in ("at_least", "at_most"):
        comparative = words.SIZE[what][0] if what in SIZES else ""
        table = words.LIMIT_BOUND[question.predicate] if what in SIZES else words.LIMIT_WITHIN
    elif what == "gap":
        comparative, table = question.predicate, words.LIMIT_GAP
    elif what in SIZES:
        comparative = words.LIMIT_WORDS[what][0 if more else 1]
        table = words.LIMIT
    else:
        comparative, table = ("more" if more else "less"), words.LIMIT_DISTANCE
    metres, amount = make.length(cm)
    slots = {"w": comparative, "j": comparative, "x": amount}
    return make.sample(replace(question, limit=metres), make.rng.choice(table), objects, **slots)


def _fit(make: Maker, kind: QuestionType) -> SpatialSample | None:
    how = make.rng.choice(("grip", "gap", "under", "into", "between"))
    count = {"into": 2, "between": 3}.get(how, 1)
    objects = make.pick(count)
    if len(objects) < count:
        return None
    if how == "between":
        return make.sample(Question(kind, "yes_no", (), how), make.rng.choice(words.FIT_BETWEEN), objects)
    if how == "into":
        inner, outer = sorted(objects, key=lambda i: max(make.scene.objects[i].box.size))
        objects = [inner, outer] if make.rng.random() < 0.7 else objects
        return make.sample(Question(kind, "yes_no", (), "inside"), make.rng.choice(words.FIT_INTO), objects)
    side = fitting_side(Question(kind, "yes_no", (), how), make.scene.objects[objects[0]].box)
    wanted = make.rng.random() < 0.5  # yes as often as no
    limits = [cm for cm in _LIMITS if (cm / 100 > side) == wanted]
    if not limits:
        return None
    cm = make.rng.choice(limits[:3] if wanted else limits[-3:])
    question = Question(kind, "yes_no", (), how, limit=to_metres(cm, "cm"))
    return make.sample(question, make.rng.choice(words.FIT[how]), objects, x=f"{cm} cm")


def _position(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(2 if make.rng.random() < 0.25 else 1)
    if not objects:
        return None
    table = words.POSITION_FROM if len(objects) == 2 else words.POSITION
    return make.sample(Question(kind, "position"), make.rng.choice(table), objects)


def _same(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """Whether two objects are alike in an extent or in all three, about as often as not."""
    wanted = make.rng.random() < 0.6
    draws = [
        (measure, pair)
        for measure, pair in product(words.SAME_WORDS, combinations(make.pick(_MOST), 2))
        if _alike(make, measure, pair) == wanted
        and is_decided(Question(kind, "yes_no", (), measure), [make.scene.objects[i].box for i in pair], make.margins)
    ]
    if not draws:
        return None
    measure, pair = make.rng.choice(draws)
    adjectives, nouns = words.SAME_WORDS[measure]
    slots = {"j": make.rng.choice(adjectives), "n": make.rng.choice(nouns)}
    return make.sample(Question(kind, "yes_no", (), measure), make.rng.choice(words.SAME), list(pair), **slots)


def _alike(make: Maker, measure: str, pair: Sequence[int]) -> bool:
    return relations.alike(measure, *(make.scene.objects[i].box for i in pair))


def _dimensions(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects, unit = make.pick(1), make.unit()
    slots = {"unit": make.unit_words(unit)}
    question = Question(kind, "number", unit=unit)
    return make.sample(question, make.rng.choice(words.DIMENSIONS), objects, **slots) if objects else None


def _bearing(make: Maker, kind: str) -> SpatialSample | None:
    """A direction from the camera, on the clock or in degrees."""
    objects = make.pick(1)
    if not objects:
        return None
    phrase = make.phrase(objects[0], make.scene.objects[objects[0]].box.label)
    unit = make.rng.choice(("m", "deg"))
    table = words.BEARING_DEGREES if unit == "deg" else words.BEARING
    question = Question("direction", "number", (CAMERA_PHRASE, phrase), unit=unit)
    return make.sample(question, make.rng.choice(table), objects, a=f"the {phrase.label}")


def _order(make: Maker, kind: QuestionType) -> SpatialSample | None:
    predicate = make.rng.choice(list(words.ORDER_HOW))
    slots = {"how": make.rng.choice(words.ORDER_HOW[predicate])}
    chosen = make.kind(bare=True) if make.rng.random() < 0.25 else None
    if chosen is not None and 3 <= len(chosen[1]) <= 5 and set(chosen[1]) <= set(make.unique):
        question = Question(kind, "order", (), predicate, among=chosen[0])
        slots["ks"] = plural(chosen[0].label)
        return make.sample(question, make.rng.choice(words.ORDER_KIND), chosen[1], **slots)
    objects = make.pick(3)
    if len(objects) < 3:
        return None
    return make.sample(Question(kind, "order", (), predicate), make.rng.choice(words.ORDER), objects, **slots)


def _ranked(make: Maker, kind: str) -> SpatialSample | None:
    """The second of several from one end, or whether an object is the most of something."""
    chosen = make.kind(bare=True)
    if chosen is None or not 3 <= len(chosen[1]) <= 5 or not set(chosen[1]) <= set(make.unique):
        return None
    what, objects = chosen
    predicate = make.rng.choice(("left", "right", "taller", "wider", "bigger"))
    word = words.SUPERLATIVE_WORDS[predicate][0]
    if make.rng.random() < 0.5:
        phrase = make.phrase(objects[0], make.scene.objects[objects[0]].box.label)
        question = Question("extreme", "yes_no", (phrase,), predicate, among=what)
        slots = {"a": f"the {phrase.label}", "w": word, "k": what.label}
        return make.sample(question, make.rng.choice(words.IS_EXTREME), objects, **slots)
    question = Question("extreme", "choice", (), predicate, among=replace(what, pick=Pick(predicate, 2)))
    return make.sample(question, make.rng.choice(words.SECOND), objects, w=word, k=what.label)


SITUATIONS: dict[str, Callable[[Maker, QuestionType], SpatialSample | None]] = {
    "exists": _exists,
    "count_by_place": _count_by_place,
    "related": _related,
    "place": _place,
    "gap": _gap,
    "volume": _volume,
    "limit": _limit,
    "fit": _fit,
    "position": _position,
    "same": _same,
    "dimensions": _dimensions,
    "bearing": _bearing,
    "order": _order,
    "ranked": _ranked,
}
"""Makers by what they ask for: a type of question, or a form of one that is worth a weight of its own."""
