"""Spatial questions about a scene, with their answers and chains of thought, from geometry alone.

Each question is made as a typed question, and worded from it: the parser's tests read the same wordings back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from n3d_core.reasoning.lexicon import plural
from n3d_core.reasoning.question import ANYTHING, COMPARISONS, Form, Question, QuestionType
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.thoughts import Style
from training.questions import wordings as words
from training.questions.descriptions import DESCRIPTIONS
from training.questions.grounding import SceneObjects
from training.questions.maker import Maker
from training.questions.margins import DEFAULT_MARGINS, Margins
from training.questions.samples import SpatialSample
from training.questions.situations import SITUATIONS
from training.scenes.vocabulary import Vocabulary

_ATTEMPTS = 6  # draws of objects for one question before another type is tried
_MAX_COMPARED = 5


def spatial_samples(
    scene: SceneObjects,
    count: int,
    seed: int,
    mixture: Mapping[str, float] | None = None,
    style: Style = "compact",
    margins: Margins = DEFAULT_MARGINS,
    vocabulary: Vocabulary | None = None,
) -> list[SpatialSample]:
    """Up to `count` different questions about one view: a pure function of its arguments.

    Types for which the view holds no clear question give way to others; a view of one object is asked for its size,
    its place, its distance and counts.

    Args:
        mixture: weight of each type (see `UNIFORM`, which is the default).
        vocabulary: classes and colours that absent objects are made of; the scene generator's by default.
    """
    rng = random.Random(seed)
    maker = Maker(scene, rng, style, margins, vocabulary or Vocabulary())
    kinds, weights = list(mixture or UNIFORM), list((mixture or UNIFORM).values())
    found: dict[str, SpatialSample] = {}
    for _ in range(4 * count):
        if len(found) >= count:
            break
        sample = _draw(maker, rng.choices(kinds, weights)[0])
        if sample is not None:
            found.setdefault(sample.text, sample)
    return list(found.values())


def absent_sample(
    sample: SpatialSample, scene: SceneObjects, vocabulary: Vocabulary, seed: int
) -> SpatialSample | None:
    """The same question with one of its objects replaced by one that is not there: only the others can be found.

    Its answer is that something is missing, so it serves pass 1 alone. None where no object stands in its text once.
    """
    rng = random.Random(seed)
    absent = Maker(scene, rng, "compact", DEFAULT_MARGINS, vocabulary).absent()
    named = [k for k, label in enumerate(sample.labels) if sample.text.count(f"the {label}") == 1]
    if absent is None or not named or sample.solution.question.among is not None:
        return None
    gone = rng.choice(named)
    text = sample.text.replace(f"the {sample.labels[gone]}", f"the {absent.label}")
    kept = [k for k in range(len(sample.objects)) if k != gone]
    objects, labels = (tuple(values[k] for k in kept) for values in (sample.objects, sample.labels))
    return replace(sample, text=text, objects=objects, labels=labels)


def _draw(maker: Maker, kind: str) -> SpatialSample | None:
    """One question of a type, after a few attempts."""
    return next((s for _ in range(_ATTEMPTS) if (s := _MAKERS[kind](maker, kind)) is not None), None)


def _comparison(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(2)
    if len(objects) < 2:
        return None
    predicate = make.rng.choice([n for n, p in PREDICATES.items() if p.type == kind])
    p = PREDICATES[predicate]
    forms: tuple[Form, ...] = ("yes_no", "choice", "free", "difference")
    form = make.rng.choices(forms, (6, 6, 2, 2))[0]
    if form == "yes_no":
        opposite = kind in ("left_right", "front_behind") and make.rng.random() < 0.35
        template = make.rng.choice(words.OPPOSITE_YES_NO if opposite else words.YES_NO)
        question = Question(kind, form, (), predicate, opposite=opposite)
        return make.sample(question, template, objects, p=p.phrase)
    if form == "choice":
        word = make.rng.choice(words.CHOICE_WORDS[predicate])
        return make.sample(Question(kind, form, (), predicate), make.rng.choice(words.CHOICE), objects, w=word)
    if form == "difference":
        unit = "l" if p.measure == "V" else make.unit()
        template = make.rng.choice(words.DIFFERENCE_VOLUME if p.measure == "V" else words.DIFFERENCE)
        asked = "" if unit == "l" else make.unit_words(unit)
        question = Question(kind, form, (), predicate, unit=unit)
        if predicate not in words.MORE_WORDS:
            return None
        return make.sample(question, template, objects, p=words.MORE_WORDS[predicate], unit=asked)
    first, q = p.phrase.removesuffix(" than"), PREDICATES[p.converse].phrase
    return make.sample(Question(kind, form, (), predicate), make.rng.choice(words.FREE), objects, p=first, q=q)


def _relative_distance(make: Maker, kind: QuestionType) -> SpatialSample | None:
    predicate = make.rng.choice(("closer", "closer", "farther"))
    to = "to" if predicate == "closer" else "from"
    form = make.rng.choices(("choice", "yes_no", "among", "nearest", "difference"), (8, 4, 2, 1, 1))[0]
    if form in ("among", "nearest"):
        objects = make.pick(len(make.unique)) if make.complete and len(make.unique) <= _MAX_COMPARED else []
        if len(objects) < 3:
            return None
        rest = make.rng.choice(("closest", "nearest") if predicate == "closer" else ("farthest",))
        question = Question(kind, "choice", (), predicate, among=ANYTHING)
        if form == "nearest":
            pair = tuple(make.phrase(i, make.scene.objects[i].box.label) for i in objects[:2])
            question = replace(question, form="yes_no", objects=pair)
            return make.sample(question, make.rng.choice(words.IS_NEAREST), objects, rest=rest, to=to)
        return make.sample(question, make.rng.choice(words.RELATIVE_AMONG), objects, rest=rest, to=to)
    objects = make.pick(3)
    if len(objects) < 3:
        return None
    word = make.rng.choice(("closer", "closer", "nearer") if predicate == "closer" else ("farther", "further away"))
    if form == "difference":
        unit = make.unit()
        question = Question(kind, "difference", (), predicate, unit=unit)
        slots = {"r": word, "to": to, "unit": make.unit_words(unit)}
        return make.sample(question, make.rng.choice(words.RELATIVE_DIFFERENCE), objects, **slots)
    table = words.RELATIVE_CHOICE if form == "choice" else words.RELATIVE_YES_NO
    question = Question(kind, "choice" if form == "choice" else "yes_no", (), predicate)
    return make.sample(question, make.rng.choice(table), objects, r=word, to=to)


def _depth_order(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(make.rng.choice((3, 3, 4)))
    if len(objects) < 3:
        return None
    predicate = make.rng.choice(("front", "front", "behind"))
    how = make.rng.choice(words.NEAR_TO_FAR if predicate == "front" else words.FAR_TO_NEAR)
    return make.sample(Question(kind, "order", (), predicate), make.rng.choice(words.DEPTH_ORDER), objects, how=how)


def _size(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(1)
    if not objects:
        return None
    unit = make.unit()
    adjective, noun = words.SIZE[kind]
    slots = {"j": adjective, "n": noun, "unit": make.unit_words(unit)}
    return make.sample(Question(kind, "number", unit=unit), make.rng.choice(words.SIZE_WORDINGS), objects, **slots)


def _distance(make: Maker, kind: QuestionType) -> SpatialSample | None:
    to_camera = kind == "distance" and (len(make.unique) == 1 or make.rng.random() < 0.25)
    objects = make.pick(1 if to_camera else 2)
    if len(objects) < (1 if to_camera else 2):
        return None
    unit = make.unit()
    table = words.DISTANCE_TO_CAMERA if to_camera else words.DISTANCE if kind == "distance" else words.PLANAR_DISTANCE
    slots = {"unit": make.unit_words(unit), "v": kind.removesuffix("_distance")}
    return make.sample(Question(kind, "number", unit=unit), make.rng.choice(table), objects, to_camera, **slots)


def _direction(make: Maker, kind: QuestionType) -> SpatialSample | None:
    objects = make.pick(2)
    if len(objects) < 2:
        return None
    return make.sample(Question(kind, "number"), make.rng.choice(words.DIRECTION), objects)


def _count(make: Maker, kind: QuestionType) -> SpatialSample | None:
    chosen = make.kind()
    if chosen is None:
        return None
    what, objects = chosen
    question = Question(kind, "number", among=what)
    return make.sample(question, make.rng.choice(words.COUNT), objects, ks=plural(what.label))


def _extreme(make: Maker, kind: QuestionType) -> SpatialSample | None:
    predicate = make.rng.choice(list(words.SUPERLATIVE_WORDS))
    word = make.rng.choice(words.SUPERLATIVE_WORDS[predicate])
    if make.rng.random() < 0.5:
        objects = make.pick(make.rng.choice((3, 3, 4)))
        if len(objects) < 3:
            return None
        return make.sample(
            Question(kind, "choice", (), predicate), make.rng.choice(words.EXTREME_LISTED), objects, w=word
        )
    chosen = make.kind()
    if chosen is None or not 2 <= len(chosen[1]) <= _MAX_COMPARED or not set(chosen[1]) <= set(make.unique):
        return None
    what, objects = chosen
    table = [t for t in words.EXTREME_KIND if " " not in word or "{w} {k}" not in t]
    slots = {"w": word, "k": what.label, "ks": plural(what.label)}
    return make.sample(Question(kind, "choice", (), predicate, among=what), make.rng.choice(table), objects, **slots)


_MAKERS: dict[str, Callable[[Maker, QuestionType], SpatialSample | None]] = {
    **dict.fromkeys(COMPARISONS, _comparison),
    "relative_distance": _relative_distance,
    "depth_order": _depth_order,
    **dict.fromkeys(("width", "height", "length", "thickness"), _size),
    **dict.fromkeys(("distance", "vertical_distance", "horizontal_distance"), _distance),
    "direction": _direction,
    "count": _count,
    "extreme": _extreme,
    **SITUATIONS,
    **DESCRIPTIONS,
}
UNIFORM: Mapping[str, float] = dict.fromkeys(_MAKERS, 1.0)
"""Every type that can be asked for, with the same weight."""
