"""Questions whose noun phrases say more than class and colour: limits, comparisons, exceptions, and all of a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.lexicon import plural
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Question, QuestionType, Relation, Where
from n3d_core.reasoning.relations import MEASURES, PREDICATES
from training.questions import wordings as words
from training.questions.maker import Maker
from training.questions.samples import SpatialSample

_PLACED: tuple[Relation, ...] = ("left", "right", "front", "behind", "above", "below", "on", "under", "next_to")
_COMPARED: tuple[Relation, ...] = ("wider", "thinner", "taller", "shorter", "bigger", "smaller")
_LIMITED: tuple[Relation, ...] = ("taller", "shorter", "wider", "thinner", "longer", "within", "within", "beyond")
_MOST = 6  # objects that a clause is worked out for
_DRAWS = 10  # clauses that are tried for the wanted answer


@dataclass(frozen=True)
class _Clause:
    """What is said of some objects: in the typed question, in words, and which of them it holds for."""

    where: Where
    said: str
    kind: Phrase
    references: tuple[int, ...]
    rivals: tuple[int, ...]
    held: tuple[int, ...]

    @property
    def objects(self) -> list[int]:
        return [*self.references, *self.rivals]

    @property
    def described(self) -> Phrase:
        return replace(self.kind, where=(self.where,))


def _clause(make: Maker, choices: Sequence[Relation]) -> _Clause | None:
    """A kind of object, and something that may hold for each of them."""
    relation = make.rng.choice(choices)
    limited = relation in _LIMITED and (choices is _LIMITED or relation in ("within", "beyond"))
    chosen = make.kind(bare=True)
    if chosen is None:
        return None
    kind, members = chosen
    to_camera = relation in ("within", "beyond") and make.rng.random() < 0.3
    references = [] if to_camera or (limited and relation in PREDICATES) else make.pick(1)
    if not references and not limited:
        return None
    rivals = [i for i in members if i not in references]
    if not 1 <= len(rivals) <= _MOST or not set(rivals) <= set(make.unique):
        return None
    phrases = tuple(make.phrase(i, make.scene.objects[i].box.label) for i in references)
    boxes = [make.scene.objects[i].box for i in references]
    if to_camera:
        phrases, boxes = (CAMERA_PHRASE,), [relations.CAMERA]
    where, said = Where(relation, phrases), _said(relation, phrases)
    if limited:
        values = [_value(relation, make.scene.objects[i].box, boxes) for i in rivals]
        limit = _between(make, values)
        cm = 5 * round(limit * 20) if limit > 0.25 else round(limit * 100)
        if cm < 1:
            return None
        metres, amount = make.length(cm)
        where, said = replace(where, limit=metres), _limit_said(relation, phrases, amount)
    held = [i for i in rivals if relations.stands(relation, make.scene.objects[i].box, boxes, limit=where.limit)]
    return _Clause(where, said, kind, tuple(references), tuple(rivals), tuple(held))


def _said(relation: Relation, references: Sequence[Phrase]) -> str:
    reference = "".join(f"the {p.label}" for p in references[:1])
    return f"{words.COMPARATIVE.get(relation) or words.RELATION.get(relation, '')} {reference}"


def _limit_said(relation: Relation, references: Sequence[Phrase], amount: str) -> str:
    if relation in PREDICATES:
        return f"{words.COMPARATIVE[relation]} {amount}"
    reference = f"the {references[0].label}"
    return f"within {amount} of {reference}" if relation == "within" else f"more than {amount} away from {reference}"


def _value(relation: Relation, box: Box3D, references: Sequence[Box3D]) -> float:
    if relation in PREDICATES:
        return MEASURES[PREDICATES[relation].measure](box)
    return relations.distance(box, references[0])


def _between(make: Maker, values: Sequence[float]) -> float:
    """A number between two of the values, or beyond them all."""
    ends = [0.65 * min(values), *sorted(values), 1.5 * max(values)]
    low, high = make.rng.choice(list(pairwise(ends)))
    return (low + high) / 2


def _wanted(make: Maker, choices: Sequence[Relation], every: bool) -> _Clause | None:
    """A clause that holds for all of a kind (or for any), about as often as not."""
    wanted = make.rng.random() < 0.5
    for _ in range(_DRAWS):
        clause = _clause(make, choices)
        if clause is None or (every and len(clause.rivals) < 2):
            continue
        if (clause.held == clause.rivals if every else bool(clause.held)) == wanted:
            return clause
    return None


def _slots(kind: Phrase) -> dict[str, str]:
    """A kind in the singular and the plural, with and without article."""
    return {"k": kind.label, "ks": plural(kind.label), "an": words.with_article(kind.label)}


def _about(make: Maker, choices: Sequence[Relation]) -> SpatialSample | None:
    """How many there are, which ones they are, or whether there is one."""
    form = make.rng.choice(("count", "which", "exists"))
    clause = _wanted(make, choices, every=False) if form == "exists" else _clause(make, choices)
    if clause is None:
        return None
    where, slots = clause.where, {**_slots(clause.kind), "p": clause.said}
    if form == "count":
        table, question = words.COUNT_DESCRIBED, Question("count", "number", among=clause.described)
    elif form == "exists":
        short = where.relation != "beyond"  # "is there a mug more than ..." is read as a number of mugs
        table = words.EXISTS_DESCRIBED if short else words.ANY_DESCRIBED
        table = words.ANYTHING_DESCRIBED if clause.kind.is_anything else table
        question = Question("exists", "yes_no", (replace(clause.described, plural=clause.kind.is_anything),))
    else:
        table = words.WHICH_ANYTHING if clause.kind.is_anything else words.WHICH_DESCRIBED
        question = Question("related", "objects", among=clause.described)
        if where.limit is None:
            question = Question("related", "objects", where.references, where.relation, among=clause.kind)
    return make.sample(question, make.rng.choice(table), clause.objects, **slots)


def _limited(make: Maker, kind: QuestionType) -> SpatialSample | None:
    return _about(make, _LIMITED)


def _compared(make: Maker, kind: QuestionType) -> SpatialSample | None:
    return _about(make, _COMPARED)


def _exists_by_place(make: Maker, kind: QuestionType) -> SpatialSample | None:
    clause = _wanted(make, _PLACED, every=False)
    if clause is None:
        return None
    anything = clause.kind.is_anything
    table = words.ANYTHING_DESCRIBED if anything else words.EXISTS_DESCRIBED
    question = Question("exists", "yes_no", (replace(clause.described, plural=anything),))
    return make.sample(question, make.rng.choice(table), clause.objects, **_slots(clause.kind), p=clause.said)


def _all(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """Whether all of a kind are of a colour, or somewhere, or larger than something."""
    if make.rng.random() < 0.3:
        return _all_colored(make)
    clause = _wanted(make, make.rng.choice((_PLACED, _COMPARED, _LIMITED)), every=True)
    if clause is None:
        return None
    question = Question("all", "yes_no", (clause.described,), among=clause.kind)
    table = words.ALL_ANYTHING if clause.kind.is_anything else words.ALL
    return make.sample(question, make.rng.choice(table), clause.objects, **_slots(clause.kind), p=clause.said)


def _all_colored(make: Maker) -> SpatialSample | None:
    wanted = make.rng.random() < 0.5
    for _ in range(_DRAWS):
        chosen = make.kind(bare=True)
        if chosen is None or len(chosen[1]) < 2 or len(chosen[1]) > _MOST:
            continue
        what, members = chosen
        colors = [make.scene.objects[i].color for i in members]
        if not all(colors) or (len(set(colors)) == 1) != wanted:
            continue
        color = make.rng.choice(colors)
        some = replace(what, colors=tuple(color.split()))
        table = words.ALL_ANYTHING if what.is_anything else words.ALL
        question = Question("all", "yes_no", (some,), among=what)
        return make.sample(question, make.rng.choice(table), members, **_slots(what), p=color)
    return None


def _except(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """How many, which, or the most of something, with one object left out."""
    chosen = make.kind(bare=True)
    if chosen is None or not 1 <= len(chosen[1]) <= _MOST or not set(chosen[1]) <= set(make.unique):
        return None
    what, members = chosen
    out = make.scene.objects[make.rng.choice(members)]
    if not what.is_anything and not out.color:
        return None
    left_out = Phrase(out.box.label, out.cls, tuple(out.color.split()))
    others = replace(what, without=(left_out,))
    slots = {**_slots(what), "b": f"the {out.box.label if what.is_anything else f'{out.color} one'}"}
    if len(members) == 1 and make.rng.random() < 0.75:
        return None
    forms = ("count", "which", "not", "exists", "most") if len(members) > 2 else ("count", "which", "not", "exists")
    form = make.rng.choice(forms if len(members) > 1 else ("exists",))
    if form == "not" and not what.is_anything:
        return _not_colored(make, what, members, out.color)
    if form == "most":
        predicate = make.rng.choice([p for p, said in words.SUPERLATIVE_WORDS.items() if " " not in said[0]])
        slots["w"] = words.SUPERLATIVE_WORDS[predicate][0]
        question = Question("extreme", "choice", (), predicate, among=others)
        return make.sample(question, make.rng.choice(words.EXTREME_EXCEPT), members, **slots)
    if form == "exists":
        question = Question("exists", "yes_no", (others,))
        return make.sample(question, make.rng.choice(words.EXISTS_EXCEPT), members, **slots)
    if form == "count":
        question = Question("count", "number", among=others)
        return make.sample(question, make.rng.choice(words.COUNT_EXCEPT), members, **slots)
    question = Question("related", "objects", among=others)
    return make.sample(question, make.rng.choice(words.WHICH_EXCEPT), members, **slots)


def _not_colored(make: Maker, what: Phrase, members: list[int], color: str) -> SpatialSample | None:
    others = replace(what, without=(replace(what, colors=tuple(color.split())),))
    slots = {**_slots(what), "p": color}
    if make.rng.random() < 0.5:
        question = Question("count", "number", among=others)
        return make.sample(question, make.rng.choice(words.COUNT_NOT), members, **slots)
    question = Question("related", "objects", among=others)
    return make.sample(question, make.rng.choice(words.WHICH_NOT), members, **slots)


def _as_many(make: Maker, kind: QuestionType) -> SpatialSample | None:
    """Whether there are two of a kind, or at least or more than so many."""
    chosen = make.kind()
    if chosen is None or not chosen[1]:
        return None
    what, objects = chosen
    how = make.rng.choice(list(words.AS_MANY))
    near = [n for n in (len(objects) - 1, len(objects), len(objects), len(objects) + 1) if 2 <= n <= 9]
    if not near:
        return None
    count = make.rng.choice(near)
    question = Question("count", "yes_no", (), "" if how == "exactly" else how, among=what, count=count)
    slots = {**_slots(what), "n": words.NUMBERS[count]}
    return make.sample(question, make.rng.choice(words.AS_MANY[how]), objects, **slots)


DESCRIPTIONS: dict[str, Callable[[Maker, QuestionType], SpatialSample | None]] = {
    "limited": _limited,
    "compared": _compared,
    "exists_by_place": _exists_by_place,
    "all": _all,
    "except": _except,
    "as_many": _as_many,
}
"""Makers by what they ask for, as in `situations.SITUATIONS`."""
