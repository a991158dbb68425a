"""Resolves pronouns, "which" and "one" by the sentences before a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from n3d_core.reasoning.constituents import (
    FORMER,
    IT,
    LATTER,
    ONE,
    OPPOSITE,
    THEM,
    WHICH,
    Context,
    Gripper,
    Standing,
    one_among,
)
from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import TERMINALS
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, COMPARISONS, DISTANCES, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PREDICATES


def wanted_by(question: Question) -> tuple[Phrase, ...]:
    """The phrases whose objects a question asks for."""
    if question.type in ("exists", "position"):
        return question.objects[:1]
    if question.type == "extreme" and question.form == "choice" and question.among is not None:
        pick = question.among.pick or Pick(question.predicate)
        return (replace(question.among, pick=pick, plural=False),)
    if question.form == "choice" and question.objects and question.type in (*COMPARISONS, "extreme"):
        return (one_among(question.objects, Pick(question.predicate), ""),)
    if question.type == "relative_distance" and question.form == "choice":
        relation: Any = "nearest" if question.predicate == "closer" else "farthest"
        anchor, *rest = question.objects
        among = question.among or replace(ANYTHING, where=(Where("among", tuple(rest)),))
        rank = among.pick.rank if among.pick else 1
        clauses = (*among.where, Where(relation, (anchor,), rank=rank))
        return (replace(among, where=clauses, pick=None, plural=False),)
    if question.type == "related" and question.among is not None:
        if not question.predicate:
            return (question.among,)
        where = Where(question.predicate, question.objects)  # type: ignore[arg-type]
        return (replace(question.among, where=(*question.among.where, where)),)
    return ()


def resolved_question(question: Question, told: Sequence[Any]) -> Question:
    """A question with its pronouns replaced by what they stand for.

    Args:
        told: the meanings of the sentences before it.

    Raises:
        NoReadingError: if that is unclear.
    """
    question = _from_where(question, told)
    contexts = [t for t in told if isinstance(t, Context)]
    spoken_of = [p for c in contexts for p in (*c.phrases, *c.places)]
    if not spoken_of and question.type == "distance" and question.objects[:1] == (IT,):
        question = replace(question, objects=(question.objects[1], CAMERA_PHRASE))  # "how far is it to the door"
    several = tuple(dict.fromkeys(spoken_of))
    question = _with_them(_with_both(question, several), several)
    named = [p for p in question.phrases if not p.noun.startswith("\0") and p not in (CAMERA_PHRASE, ANYTHING)]
    last = [*contexts[-1].phrases, *contexts[-1].places] if contexts else []
    free = tuple(p for p in dict.fromkeys(last) if p not in named)
    kinds = spoken_of or [p for p in (*question.objects, question.among) if p in named]
    nouns = tuple(dict.fromkeys(p.noun for p in kinds))
    among = _resolved(question.among, free, nouns) if question.among else None
    picked = {p.noun for p in named if p.pick and p.noun != WHICH.noun}
    if len(picked) == 1:  # "how far apart are the leftmost and the rightmost mug"
        (noun,) = picked
        objects = tuple(replace(p, noun=noun) if p.noun == WHICH.noun and p.pick else p for p in question.objects)
        question = replace(question, objects=objects)
    objects = tuple(_resolved(p, free, nouns) for p in question.objects)
    if question.type == "related" and _is_in_picture(question.predicate, objects):
        return replace(question, predicate="", objects=(), among=among)
    return replace(question, objects=objects, among=among)


def resolved_phrases(phrases: Sequence[Phrase]) -> tuple[Phrase, ...]:
    """Phrases, each once, without pronouns; raises as `resolved_question`."""
    nouns = tuple(dict.fromkeys(p.noun for p in phrases if not p.noun.startswith("\0"))) or ("object",)
    things = [replace(p, noun=p.text.lower()) if p == CAMERA_PHRASE else p for p in phrases]
    if len(nouns) == 1:  # "the leftmost and the rightmost mug"
        things = [replace(p, noun=nouns[0]) if p.noun == WHICH.noun else p for p in things]
    elif any(p.noun == WHICH.noun for p in things):
        raise NoReadingError("does not say which objects are meant")
    found = tuple(dict.fromkeys(_resolved(p, (), nouns) for p in things))
    if any(p.noun.startswith("\0") for p in found):  # "the laptop, it is purple"
        raise NoReadingError("does not say what 'it' is")
    return found


def _resolved(phrase: Phrase, free: tuple[Phrase, ...], nouns: tuple[str, ...]) -> Phrase:
    """A phrase without pronouns: "it" is the one of `free`, "one" the one of `nouns`."""
    if phrase.where:
        where = [replace(w, references=tuple(_resolved(r, free, nouns) for r in w.references)) for w in phrase.where]
        phrase = replace(phrase, where=tuple(w for w in where if not _is_in_picture(w.relation, w.references)))
    if phrase.without:
        phrase = replace(phrase, without=tuple(_resolved(p, free, nouns) for p in phrase.without))
    if phrase == IT:
        if len(free) != 1 or free[0].plural:
            raise NoReadingError("does not say what 'it' is")
        return free[0]
    if phrase.noun == ONE.noun and len(free) == 1 and not (phrase.colors or phrase.attributes or phrase.pick):
        return replace(free[0], where=(*free[0].where, *phrase.where))
    if phrase.noun == ONE.noun:
        if not nouns and phrase.pick:
            return replace(phrase, noun="object")  # "what is closest to the tallest one?"
        if len(nouns) != 1:
            raise NoReadingError("does not say what 'one' is")
        return replace(phrase, noun=nouns[0], text=f"{phrase.text.rpartition(' ')[0]} {nouns[0]}".strip())
    if phrase.noun == WHICH.noun and len(free) < 2:
        return replace(phrase, noun="object")
    if phrase.noun in (THEM.noun, WHICH.noun):
        raise NoReadingError("does not say what 'them' means")
    return phrase


def _also(phrase: Phrase, said: Phrase) -> Phrase:
    """A phrase with the colours, clauses and exceptions of another one added."""
    colors, where = (*phrase.colors, *said.colors), (*phrase.where, *said.where)
    return replace(phrase, colors=colors, where=where, without=(*phrase.without, *said.without))


def _is_in_picture(relation: str, references: Sequence[Phrase]) -> bool:
    """ "Look at this picture. How many mugs are in it?" """
    return relation in ("inside", "on") and bool(references) and references[0].noun in TERMINALS["_SCENE"]


def _from_where(question: Question, told: Sequence[Any]) -> Question:
    """Adds the place where the asker stands, and the opening of the gripper mentioned before."""
    for standing in (t for t in told if isinstance(t, Standing)):
        if standing.place == OPPOSITE:
            question = replace(question, opposite=True)
            continue
        if question.type in DISTANCES and question.objects[-1:] == (CAMERA_PHRASE,):
            question = replace(question, objects=(question.objects[0], standing.place))
            continue
        if question.type == "position" and len(question.objects) == 1:
            question = Question("direction", "number", question.objects)
        elif question.type != "direction" or question.objects[0] != CAMERA_PHRASE:
            raise NoReadingError
        question = replace(question, objects=(standing.place, question.objects[-1]))
    for gripper in (t for t in told if isinstance(t, Gripper)):
        if question.type != "fit" or question.limit is not None:
            raise NoReadingError
        question = replace(question, limit=gripper.opening)
    if question.type == "fit" and question.limit is None and len(question.objects) == 1:
        raise NoReadingError("does not say how far the gripper opens, as 'a gripper that opens 10 cm' would")
    return question


def _with_both(question: Question, several: tuple[Phrase, ...]) -> Question:
    """ "The former" and "the latter" of the two that were told of."""
    if FORMER not in question.objects and LATTER not in question.objects:
        return question
    if len(several) != 2:
        raise NoReadingError("does not say what the former and the latter are")
    both = dict(zip((FORMER, LATTER), several, strict=True))
    return replace(question, objects=tuple(both.get(p, p) for p in question.objects))


def _with_them(question: Question, several: tuple[Phrase, ...]) -> Question:
    """ "Them", and "which", where a question takes several objects: those that were told of."""
    if question.among is not None and question.among.noun in (THEM.noun, WHICH.noun):
        free = question.among.noun == WHICH.noun and question.among.number is None
        free = free or (not several and question.type in ("order", "depth_order"))  # "sort them by height"
        if free and len(several) < 2 and not any(p.plural for p in several):
            return replace(question, among=replace(question.among, noun=ANYTHING.noun, text=ANYTHING.text))
        if len(several) == 1 and several[0].plural:
            objects = tuple(_also(several[0], p) if p.noun == THEM.noun else p for p in question.objects)
            return replace(question, among=_also(several[0], question.among), objects=objects)
        if len(several) < 2 or question.type not in ("extreme", "order", "depth_order", "relative_distance"):
            raise NoReadingError("does not say which objects are meant")
        two = question.type == "extreme" and len(several) == 2
        kind: Any = PREDICATES[question.predicate].type if two else question.type
        return replace(question, type=kind, objects=(*question.objects, *several), among=None)
    if THEM in question.objects and len(question.objects) == 1:
        if len(several) == 1 and several[0].plural and several[0].number in (2, None):
            return replace(question, objects=(replace(several[0], number=2),))
        if len(several) == 2:
            return replace(question, objects=several)
    return question
