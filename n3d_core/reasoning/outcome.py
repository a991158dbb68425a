"""Evaluates a typed question on boxes: geometry only, no words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.lexicon import color_in, normal, without_id
from n3d_core.reasoning.lexicon import plural as many
from n3d_core.reasoning.question import ANYTHING, COMPARISONS, DISTANCES, NOTHING, SIZES, Phrase, Question, Value, Where
from n3d_core.reasoning.relations import ALIKE, PLACES, PREDICATES, largest_wins
from n3d_core.reasoning.resolve import LETTERS, AmbiguousError, MissingError, Roles, Scene, listed
from n3d_core.reasoning.units import UNITS, from_metres


@dataclass(frozen=True)
class Outcome:
    """The result of evaluating a question on boxes.

    Attributes:
        roles: the objects that the question is about.
        value: the typed value; `NOTHING` if objects tie.
        found: for counts and relations, indices of the boxes that are counted or related, in the order of the answer.
        references: the number of roles, at the front, that they are related to.
        counts: for `outnumber`, how many there are of each kind.

    All is about the positive statement, also where the question is `negated`.
    """

    roles: Roles
    value: Value
    found: tuple[int, ...] = ()
    references: int = 0
    counts: tuple[int, ...] = ()


def evaluate(question: Question, scene: Scene) -> Outcome:
    """The value of a question.

    Raises:
        MissingError, AmbiguousError: if a phrase means no box, or several.
        QueryError: if an object is named twice, too many objects are compared, or the fields of the question do not go
            together.
    """
    _check(question)
    outcome = _EVALUATE[question.type](question, scene)
    if len(outcome.roles) > len(LETTERS) and question.type not in COUNTING:
        raise QueryError(f"the question is about {len(outcome.roles)} objects; at most {len(LETTERS)} can be compared")
    return outcome


COUNTING = ("count", "exists", "related", "all", "outnumber")
"""Types whose objects are counted or listed, however many there are."""
_FORMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(COMPARISONS, ("yes_no", "choice", "free", "difference")),
    "relative_distance": ("choice", "yes_no", "difference", "order"),
    "distance": ("number", "yes_no", "objects"),
    **dict.fromkeys(("order", "depth_order"), ("order",)),
    **dict.fromkeys(("angle", "dimensions"), ("number",)),
    "direction": ("number", "yes_no"),
    "color": ("objects",),
    "extreme": ("choice", "yes_no"),
    "position": ("position",),
    "related": ("objects", "yes_no", "number"),
    "outnumber": ("yes_no", "number"),
    "proportion": ("yes_no", "number"),
    **dict.fromkeys(("exists", "place", "fit", "same", "all"), ("yes_no",)),
}
"""The forms of each type; number or yes/no for all others."""
_PLACED = frozenset({*PREDICATES, *PLACES})
_PREDICATES_OF: dict[str, frozenset[str]] = {
    "relative_distance": frozenset({"closer", "farther"}),
    "place": _PLACED,
    "related": _PLACED | {"nearest", "farthest", ""},
    "same": frozenset({*relations.SIZE, "dimensions", "side", "other_side", "color", "other_color", "some_color"}),
    "outnumber": frozenset({"more", "less", "equal", "any", "each", "both", "but_no"}),
    "proportion": frozenset({"more", "less", "equal", "at_least", "at_most"}),
    **dict.fromkeys(("extreme", "order", "depth_order"), frozenset(PREDICATES)),
    **{kind: frozenset(n for n, p in PREDICATES.items() if p.type == kind) for kind in COMPARISONS},
}
"""The relations of each type; any for the others."""


def _check(question: Question) -> None:
    """Raises QueryError for a form or relation that the question's type does not have."""
    forms = _FORMS.get(question.type, ("number", "yes_no"))
    if question.form not in forms:
        raise QueryError(f"a question of type {question.type!r} has form {' or '.join(forms)}, not {question.form}")
    known = _PREDICATES_OF.get(question.type, {question.predicate})
    if question.predicate not in (
        ("", "percent") if question.type == "proportion" and question.form == "number" else known
    ):
        raise QueryError(f"a question of type {question.type!r} cannot ask for {question.predicate!r}")
    if question.type == "proportion" and len(question.sizes) != 2:
        raise QueryError(f"a question of type 'proportion' compares two sizes; it names {len(question.sizes)}")
    several = question.predicate in ("any", "each") and len(question.objects) > 2
    if question.type == "outnumber" and len(question.objects) != 2 and not several:
        raise QueryError(f"a question of type 'outnumber' compares two kinds; it names {len(question.objects)}")


def measured(question: Question, boxes: Sequence[Box3D]) -> float:
    """The length that a question asks for in metres; a volume in cubic metres."""
    if question.type in DISTANCES:
        return sum(relations.DISTANCE[question.type](a, b) for a, b in pairwise(boxes))
    return sum(extent(question.type, box) for box in boxes)


def extent(size: str, box: Box3D) -> float:
    """Width, height, length or thickness in metres; the volume in cubic metres."""
    return box.volume if size == "volume" else relations.SIZE[size](box)


def ratio(question: Question, boxes: Sequence[Box3D]) -> float:
    """How many times the first size of a `proportion` is its second one.

    Raises:
        QueryError: if the second one is zero.
    """
    first, second = (extent(s, box) for s, box in zip(question.sizes, (*boxes, *boxes), strict=False))
    if second <= 0:
        raise QueryError("a size of zero cannot be compared with")
    return first / second


def compares(value: float, how: str, limit: float, alike: float = 0.0) -> bool:
    """Whether a number compares with a limit as a question asks (`more`, `less`, `at_least`, `at_most`, `equal`).

    Args:
        alike: share of the larger one by which equal ones may differ.
    """
    return {
        "more": value > limit,
        "less": value < limit,
        "at_least": value >= limit,
        "at_most": value <= limit,
    }.get(how, abs(value - limit) <= alike * max(value, limit))


def fitting_side(question: Question, box: Box3D) -> float:
    """The extent in metres that decides whether a box fits into `question.limit`."""
    if question.predicate in ("grip", "cube"):
        return min(box.size) if question.predicate == "grip" else max(box.size)
    return box.size[1] if question.predicate == "under" else min(box.size[0], box.size[2])


def gain_of(question: Question, boxes: Sequence[Box3D]) -> float:
    """By how much the comparison that a question asks for holds: metres, or litres for volumes."""
    if question.type == "relative_distance":
        first, second = (relations.distance(boxes[0], b) for b in boxes[1:3])
        return first - second if question.predicate == "farther" else second - first
    return relations.gain(question.predicate, boxes[0], boxes[1], question.opposite)


def _named(question: Question, scene: Scene, count: int | None = None) -> list[int | None]:
    """Indices of the boxes of a question's objects; None for the camera.

    Args:
        count: how many there must be; None for any number.
    """
    chosen = scene.each(question.objects, question.opposite)
    if len(set(chosen)) != len(chosen):
        twice = next(scene.boxes[i].label if i is not None else "camera" for i in chosen if chosen.count(i) > 1)
        raise QueryError(f"the question names the {twice} twice; name different objects")
    if count is not None and len(chosen) != count:
        plural = next((p for p in question.objects if p.plural), None)
        if plural is not None and len(chosen) > count:
            raise AmbiguousError(plural, [i for i in chosen if i is not None], scene.names)
        if plural is not None:
            kind = plural.label if len(chosen) == 1 else many(plural.label)
            raise QueryError(f"{len(chosen)} {kind} {'is' if len(chosen) == 1 else 'are'} in view, not {count}.")
        raise QueryError(f"the question needs {count} objects; it names {len(chosen)}")
    return chosen


def _rivals(question: Question, scene: Scene, least: int) -> Roles:
    """The boxes of a question's objects, and those of `among` that it does not name itself.

    Raises:
        MissingError: if there are fewer than `least`.
    """
    named, found = _named(question, scene), list[int]()
    if question.among is not None:
        found = scene.means(replace(question.among, plural=True, pick=None), question.opposite)
    roles = scene.roles([*named, *(i for i in found if i not in named)])
    if len(roles) < least:
        raise MissingError(question.among or ANYTHING, scene.names)
    return roles


def _comparison(question: Question, scene: Scene) -> Outcome:
    roles = scene.roles(_named(question, scene, 2))
    gain = gain_of(question, roles.boxes)
    if question.form == "yes_no":
        return Outcome(roles, Value("truth", truth=gain > 0))
    if question.form == "difference":
        value = Value("length", number=gain) if PREDICATES[question.predicate].measure != "V" else NOTHING
        return Outcome(roles, value)
    if gain == 0:
        return Outcome(roles, NOTHING)
    if question.form == "free":
        return Outcome(roles, Value("truth", truth=gain > 0))
    return Outcome(roles, _chosen(roles, [0 if gain > 0 else 1]))


def _chosen(roles: Roles, places: Sequence[int]) -> Value:
    """The objects of some roles as a value.

    Raises:
        QueryError: if the camera is one of them.
    """
    objects = tuple(i for p in places if (i := roles.indices[p]) is not None)
    if len(objects) < len(places):
        raise QueryError("the camera cannot be chosen or put in an order: name objects")
    return Value("objects", objects=objects)


def _length(question: Question, scene: Scene) -> Outcome:
    if question.type in DISTANCES and question.among is not None:
        return _pair(question, scene)
    count = None if question.predicate in ("sum", "path") else 2 if question.type in DISTANCES else 1
    roles = scene.roles(_named(question, scene, count))
    if question.form == "objects" or (question.predicate in ("sum", "path") and len(roles) < 2):
        raise QueryError(f"a question of type {question.type!r} and form {question.form!r} names two objects or more")
    value = measured(question, roles.boxes)
    if question.form == "yes_no":
        return Outcome(roles, Value("truth", truth=compares(value, question.predicate, question.limit or 0.0, ALIKE)))
    return Outcome(roles, NOTHING if question.type == "volume" else Value("length", number=value))


def _pair(question: Question, scene: Scene) -> Outcome:
    """The two of a kind that are closest to each other, or farthest apart."""
    among = replace(question.among or ANYTHING, plural=True)
    found = scene.means(among, question.opposite)
    if len(found) < 2:
        raise MissingError(among, scene.names)
    if len(found) > len(LETTERS):
        raise QueryError(f"the question is about {len(found)} objects; at most {len(LETTERS)} can be compared")
    far = question.predicate == "farther"
    roles = scene.roles(found)
    pairs = sorted(combinations(range(len(found)), 2), key=lambda ij: measured(question, [roles.boxes[i] for i in ij]))
    roles = scene.roles([found[i] for i in pairs[-1 if far else 0]])
    if question.form == "objects":
        return Outcome(roles, _chosen(roles, [0, 1]))
    return Outcome(roles, Value("length", number=measured(question, roles.boxes)))


def _relative_distance(question: Question, scene: Scene) -> Outcome:
    rank = rank_of(question)
    roles = _rivals(question, scene, least=3 if question.form in ("yes_no", "difference") else 1 + rank)
    if question.form == "difference":
        return Outcome(roles, Value("length", number=gain_of(question, roles.boxes)))
    anchor, *rest = roles.boxes
    farther = question.predicate == "farther"
    if question.form == "order":
        away = sorted(range(1, len(roles)), key=lambda i: relations.distance(anchor, roles.boxes[i]), reverse=farther)
        return Outcome(roles, _chosen(roles, away))
    if question.form == "yes_no":
        first, *others = (relations.distance(anchor, b) for b in rest)
        return Outcome(roles, Value("truth", truth=all(first > o if farther else first < o for o in others)))
    return Outcome(roles, _chosen(roles, [1 + relations.closest(anchor, rest, farther, rank)]))


def ordered(question: Question, boxes: Sequence[Box3D]) -> list[int]:
    """Indices that sort boxes, those with the most of the question's predicate first."""
    measure = relations.MEASURES[PREDICATES[question.predicate].measure]
    ascending = sorted(range(len(boxes)), key=lambda i: measure(boxes[i]))
    return ascending[::-1] if largest_wins(question.predicate, question.opposite) else ascending


def _order(question: Question, scene: Scene) -> Outcome:
    roles = _rivals(question, scene, least=2)
    return Outcome(roles, _chosen(roles, ordered(question, roles.boxes)))


def rank_of(question: Question) -> int:
    """1 for the most of something, 2 for the second ..."""
    return question.among.pick.rank if question.among and question.among.pick else 1


def _extreme(question: Question, scene: Scene) -> Outcome:
    rank = rank_of(question)
    roles = _rivals(question, scene, least=1 if question.form == "yes_no" else rank)
    best = relations.extreme(question.predicate, list(roles.boxes), question.opposite)
    if question.form == "yes_no":
        return Outcome(roles, Value("truth", truth=best == 0))
    return Outcome(roles, _chosen(roles, [best if rank == 1 else ordered(question, roles.boxes)[rank - 1]]))


def _direction(question: Question, scene: Scene) -> Outcome:
    roles = scene.roles(_named(question, scene, 2))
    if question.form == "number":
        return Outcome(roles, Value("direction", number=radians(*roles.boxes)))
    degrees = relations.direction_degrees(*roles.boxes)
    hour = question.count
    holds = relations.is_ahead(degrees) if hour is None else relations.is_at_hour(degrees, hour)
    return Outcome(roles, Value("truth", truth=holds))


def _angle(question: Question, scene: Scene) -> Outcome:
    return Outcome(scene.roles(_named(question, scene, 2)), NOTHING)


def _color(question: Question, scene: Scene) -> Outcome:
    if question.among is not None:
        return Outcome(_colored(question, scene), NOTHING)
    roles = scene.roles(_named(question, scene, 1))
    if not color_in(roles.names[0]):
        raise QueryError(f"The label of {roles.names[0]!r} names no color, and boxes hold none.")
    return Outcome(roles, _chosen(roles, [0]))


def _colored(question: Question, scene: Scene, least: int = 1) -> Roles:
    """Objects whose labels name a color.

    Raises:
        MissingError: if there are fewer than `least`.
        QueryError: if the label of one names none.
    """
    among = replace(question.among or ANYTHING, plural=True)
    roles = scene.roles(scene.means(among, question.opposite) if question.among else _named(question, scene, 2))
    if len(roles) < least:
        raise MissingError(among, scene.names)
    plain = next((name for name in roles.names if not color_in(name)), None)
    colors = [color for name in roles.names if (color := color_in(name))]
    if plain is not None and not (question.predicate == "some_color" and len(set(colors)) < len(colors)):
        raise QueryError(f"The label of {plain!r} names no color, and boxes hold none.")
    return roles


def radians(a: Box3D, b: Box3D) -> float:
    """Direction of b from a about the up axis, counter-clockwise from ahead, in (-pi, pi]."""
    left, _, ahead = relations.vector(a, b)
    return math.atan2(left, ahead)


def _position(question: Question, scene: Scene) -> Outcome:
    named = _named(question, scene, 1 if len(question.objects) == 1 else 2)[::-1]
    roles = scene.roles(named if len(named) == 2 else [None, *named])
    return Outcome(roles, Value("position", point=roles.boxes[1].center))


def sought(question: Question) -> Phrase:
    """The phrase whose objects are counted, related or looked for, in the plural."""
    if question.type == "related":
        return replace(question.among or ANYTHING, plural=True)
    if question.type == "all" and question.objects:
        return replace(question.objects[0], plural=True)
    return replace(question.among or (question.objects[0] if question.objects else ANYTHING), plural=True)


def clause_of(question: Question) -> Where | None:
    """The clause that decides what is counted or listed, if a chain of thought can spell it out."""
    if question.type == "related":
        return Where(question.predicate, question.objects) if question.predicate else None  # type: ignore[arg-type]
    phrase = sought(question)
    if len(phrase.where) != 1 or phrase.pick or phrase.where[0].relation in ("nearest", "farthest"):
        return None
    return phrase.where[0]


def _count(question: Question, scene: Scene) -> Outcome:
    phrase, clause = sought(question), clause_of(question)
    found = scene.means(phrase, question.opposite)
    roles = scene.roles(found)
    if question.predicate in ("kinds", "colors"):
        return Outcome(roles, _number(question, len(sorts(question, roles.names))), tuple(found))
    references = scene.each(clause.references, question.opposite) if clause is not None else []
    if clause is None or len(references) > (2 if clause.relation == "between" else 1):  # "left of the boxes"
        return Outcome(roles, _number(question, len(found)), tuple(found))
    rivals = [i for i in scene.means(replace(phrase, where=())) if i not in references]
    if len(rivals) + len(references) <= len(LETTERS):
        roles = scene.roles([*references, *rivals])
    return Outcome(roles, _number(question, len(found)), tuple(found), len(references))


def sorts(question: Question, names: Sequence[str]) -> list[str]:
    """The different kinds, or colors, of some objects."""
    words = [color_in(n) if question.predicate != "kinds" else normal(without_id(n)).split()[-1] for n in names]
    return list(dict.fromkeys(word for word in words if word))


def all_of(outcome: Outcome) -> int:
    """Of a question of type `all`: how many there are."""
    return len(outcome.roles) - outcome.references


def _all(question: Question, scene: Scene) -> Outcome:
    """Whether all of a kind belong to what the question says of them; both must be there to be told."""
    among = question.among or ANYTHING
    outcome = _count(question, scene)
    references = outcome.roles.indices[: outcome.references]
    everyone = [i for i in scene.means(replace(among, plural=True), question.opposite) if i not in references]
    if len(everyone) < (among.number or 1):
        raise MissingError(among, scene.names)
    if among.number is not None and len(everyone) > among.number:
        raise AmbiguousError(among, everyone, scene.names)
    found = tuple(i for i in outcome.found if i in everyone)
    roles = scene.roles([*references, *everyone])
    return Outcome(roles, Value("truth", truth=len(found) == len(everyone)), found, outcome.references)


def _number(question: Question, count: int) -> Value:
    """A count in the form of the question: whether there are any, whether there are as many as it says, or how many."""
    if question.form != "yes_no":
        return Value("count", number=float(count))
    if question.count is None:
        return Value("truth", truth=count > 0)
    return Value("truth", truth=compares(count, question.predicate, question.count))


def more_of(outcome: Outcome) -> int:
    """Of a question of type `outnumber`: how many more there are of the first kind than of the second."""
    return outcome.counts[0] - outcome.counts[1]


def _outnumber(question: Question, scene: Scene) -> Outcome:
    kinds = [scene.means(replace(p, plural=True), question.opposite) for p in question.objects]
    found = tuple(dict.fromkeys(i for kind in kinds for i in kind))
    counts = tuple(map(len, kinds))
    if question.predicate == "but_no":
        number, holds = counts[0], bool(counts[0]) and not counts[1]
    elif question.predicate in ("any", "each"):
        number, holds = len(found), all(counts) if question.predicate == "each" else bool(found)
    else:
        number = (counts[0] - counts[1]) * (-1 if question.predicate == "less" else 1)
        holds = number == 0 if question.predicate == "equal" else number > 0
    value = Value("count", number=float(number)) if question.form == "number" else Value("truth", truth=holds)
    if question.predicate == "both":
        value = NOTHING  # two numbers
    return Outcome(scene.roles(found), value, found, counts=counts)


def _proportion(question: Question, scene: Scene) -> Outcome:
    roles = scene.roles(_named(question, scene, 2 if len(question.objects) > 1 else 1))
    if question.form == "number":
        ratio(question, roles.boxes)
        return Outcome(roles, NOTHING)
    first, second = (extent(s, box) for s, box in zip(question.sizes, roles.boxes * 2, strict=False))
    return Outcome(roles, Value("truth", truth=compares(first, question.predicate, question.factor * second, ALIKE)))


def _related(question: Question, scene: Scene) -> Outcome:
    wanted = 2 if question.predicate == "between" else 1 if question.predicate else 0
    references = _named(question, scene, wanted)
    rivals = [i for i in scene.means(sought(question)) if i not in references]
    many = len(references) + len(rivals) > len(LETTERS)
    others = scene.roles(references).boxes
    near = sorted(rivals, key=lambda i: relations.distance(scene.boxes[i], others[0])) if others else rivals
    if not question.predicate:
        found = rivals
    elif question.predicate in ("nearest", "farthest"):
        found = near[:1] if question.predicate == "nearest" else near[-1:]
    else:
        found = [i for i in near if relations.stands(question.predicate, scene.boxes[i], others, question.opposite)]
    roles = scene.roles([*references, *(found if many else rivals)])
    if question.form in ("yes_no", "number"):
        return Outcome(roles, _number(question, len(found)), tuple(found), len(references))
    return Outcome(roles, Value("objects", objects=tuple(found)), tuple(found), len(references))


def _dimensions(question: Question, scene: Scene) -> Outcome:
    return Outcome(scene.roles(_named(question, scene, 1)), NOTHING)


def _place(question: Question, scene: Scene) -> Outcome:
    roles = scene.roles(_named(question, scene, 3 if question.predicate == "between" else 2))
    holds = relations.stands(question.predicate, roles.boxes[0], roles.boxes[1:], question.opposite)
    return Outcome(roles, Value("truth", truth=holds))


def _fit(question: Question, scene: Scene) -> Outcome:
    if question.limit is not None:
        roles = scene.roles(_named(question, scene, 1))
        return Outcome(roles, Value("truth", truth=fitting_side(question, roles.boxes[0]) <= question.limit))
    roles = scene.roles(_named(question, scene, 3 if question.predicate == "between" else 2))
    if question.predicate == "between":
        side = fitting_side(question, roles.boxes[0])
        return Outcome(roles, Value("truth", truth=side <= relations.gap(*roles.boxes[1:])))
    inner, outer = (sorted(b.size) for b in roles.boxes)
    return Outcome(roles, Value("truth", truth=all(i < o for i, o in zip(inner, outer, strict=True))))


def _same(question: Question, scene: Scene) -> Outcome:
    if question.predicate in ("color", "other_color", "some_color"):
        roles = _colored(question, scene, least=2)
        colors, count = {color_in(name) for name in roles.names}, len(roles)
        held = {"color": len(colors) == 1, "other_color": len(colors) == count, "some_color": len(colors) < count}
        return Outcome(roles, Value("truth", truth=held[question.predicate]))
    roles = scene.roles(_named(question, scene, 2))
    return Outcome(roles, Value("truth", truth=relations.alike(question.predicate, *roles.boxes)))


_EVALUATE: dict[str, Callable[[Question, Scene], Outcome]] = {
    **dict.fromkeys(COMPARISONS, _comparison),
    **dict.fromkeys(SIZES, _length),
    **dict.fromkeys(DISTANCES, _length),
    "relative_distance": _relative_distance,
    "depth_order": _order,
    "order": _order,
    "extreme": _extreme,
    "direction": _direction,
    "angle": _angle,
    "color": _color,
    "position": _position,
    "dimensions": _dimensions,
    "count": _count,
    "exists": _count,
    "related": _related,
    "place": _place,
    "fit": _fit,
    "same": _same,
    "all": _all,
    "outnumber": _outnumber,
    "proportion": _proportion,
}


def number_of(question: Question, outcome: Outcome) -> float | None:
    """The number that a question asks for in metres, litres or degrees to the left; None if it asks for none.

    A difference is negative if the opposite of what was asked holds.
    """
    boxes = outcome.roles.boxes
    if question.form == "difference":
        return gain_of(question, boxes)
    if question.type == "angle":
        return relations.angle_seen(boxes[0], boxes[1])
    if question.form == "number" and question.type in (*SIZES, *DISTANCES):
        return measured(question, boxes) * (1000.0 if question.type == "volume" else 1.0)
    return relations.direction_degrees(boxes[0], boxes[1]) if question.type in ("direction", "position") else None


def plain(question: Question, outcome: Outcome) -> float | int | bool | str | tuple[str, ...]:
    """A value in the form of a frame folder's truth.

    Lengths in the question's unit (volumes in litres, directions as the hour or in degrees to the left, positions as
    the distance to them), a count, true or false, the name of the chosen object or names in order, the relation that
    holds (`free`), `equal` for ties.
    """
    value, roles = outcome.value, outcome.roles
    number = number_of(question, outcome)
    if number is not None and (question.form == "difference" or question.type == "volume"):
        return number if question.type in ("volume", "big_small") else _in_unit(number, question)
    if question.form == "free" and value.kind == "truth":
        return question.predicate if value.truth else PREDICATES[question.predicate].converse
    if value.kind == "truth":
        return value.truth != question.negated
    if question.type == "angle":
        return round(relations.angle_seen(*roles.boxes), 2)
    if question.type == "color":
        return tuple(sorts(question, roles.names)) if question.among else color_in(roles.names[0])
    if question.type == "proportion":
        return ratio(question, roles.boxes)
    if question.predicate == "both":
        return tuple(map(str, outcome.counts))
    if value.kind == "length":
        return _in_unit(value.number, question)
    if value.kind == "count":
        return int(value.number)
    if value.kind == "direction":
        degrees = relations.direction_degrees(*roles.boxes)
        return round(degrees, 2) if question.unit == "deg" else relations.clock_hour(degrees)
    if question.type == "dimensions":
        return " x ".join(f"{v:.2f}" for v in roles.boxes[0].size)
    if value.kind == "position":
        return _in_unit(relations.distance(*roles.boxes), question)
    names = tuple(roles.names[roles.indices.index(i)] for i in value.objects)
    if question.form == "order" or question.type == "related":
        return names
    return listed(names) or EQUAL


def _in_unit(metres: float, question: Question) -> float:
    return from_metres(metres, question.unit if question.unit in UNITS else "m")


EQUAL = "equal"
"""The value of a choice between objects that tie."""
