"""Answers in words, as the model writes them behind its reasoning, and all of them that a question can have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations, product

from n3d_core.reasoning.old.names import plural, singulars
from n3d_core.reasoning.old.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.old.relations import PREDICATES
from n3d_core.reasoning.units import UNITS

DIGIT = "\ue000"
"""Stands for any one digit in what `possible_answers` gives."""

_MOST_ORDERED = 5  # objects whose orders are written out: 120 of them
_WHOLE_DIGITS = 5
_COUNT_DIGITS = 2


def truth_answer(holds: bool) -> str:
    """To a question for yes or no."""
    return f"That is {holds}."


def relation_answer(predicate: str, first: str, second: str) -> str:
    """Which relation holds between two objects, or for which of them it does."""
    return f"{first} is {PREDICATES[predicate].phrase} {second}."


def extreme_answer(predicate: str, name: str) -> str:
    """Which of several is the most of something."""
    return f"{name} is the {PREDICATES[predicate].superlative}."


def closest_answer(anchor: str, chosen: str, other: str | None, farther: bool) -> str:
    """Which of two (or, without `other`, of more) is closest to the anchor, or farthest from it."""
    if other is None:
        return f"{chosen} is the {'farthest from' if farther else 'closest to'} {anchor}."
    word, to = ("farther", "from") if farther else ("closer", "to")
    return f"{anchor} is {word} {to} {chosen} than {to} {other}."


def order_answer(predicate: str, names: Iterable[str]) -> str:
    """Objects in the order asked for; the sign says which is nearer."""
    return (" > " if predicate == "behind" else " < ").join(names)


def size_answer(kind: str, name: str, amount: str) -> str:
    """An extent of one object; `amount` is a number with its unit."""
    return f"{name} is {amount} in {kind}."


def distance_answer(kind: str, names: Sequence[str], amount: str) -> str:
    """A distance between two objects; `amount` is a number with its unit."""
    return f"The {kind.replace('_', ' ')} between {names[0]} and {names[1]} is {amount}."


def direction_answer(names: Sequence[str], hour: int) -> str:
    """At which hour the second object is seen from the first."""
    return f"{names[0]} will find {names[1]} around the {hour} o'clock direction."


def count_answer(among: str, count: int | str) -> str:
    """How many there are of a kind, which is given in the singular or plural."""
    kind = singulars(among)[0]
    return f"There is 1 {kind}." if count in (1, "1") else f"There are {count} {plural(kind)}."


def possible_answers(question: Question, names: Sequence[str]) -> tuple[str, ...]:
    """Every answer to a question, as a sentence and in short; `DIGIT` stands for any digit of a number.

    Each of them is one that `answers.read_answer` reads. Empty where there are too many to write out: for the order of
    more than five objects.

    Args:
        names: of the objects in their roles.
    """
    if question.form == "yes_no":
        return (truth_answer(True), truth_answer(False), "True.", "False.", "Yes.", "No.")
    if question.type in SIZES:
        amounts = list(_amounts(question.unit))
        return _with_short([size_answer(question.type, names[0], a) for a in amounts], question, amounts)
    if question.type in DISTANCES:
        amounts = list(_amounts(question.unit))
        return _with_short([distance_answer(question.type, names, a) for a in amounts], question, amounts)
    if question.type == "direction":
        return tuple(a for h in range(1, 13) for a in (direction_answer(names, h), f"{h} o'clock."))
    if question.type == "count":
        numbers = ["1", *(DIGIT * digits for digits in range(1, _COUNT_DIGITS + 1))]
        return tuple(a for n in numbers for a in (count_answer(question.among, n), f"{n}."))
    if question.type == "depth_order":
        orders = permutations(names) if len(names) <= _MOST_ORDERED else ()
        return tuple(order_answer(question.predicate, order) for order in orders)
    return tuple(_choices(question, names))


def _amounts(unit: str) -> Iterable[str]:
    """Numbers of up to five digits before the point and the unit's usual ones behind it, with the unit."""
    kind = UNITS[unit]
    for whole, decimals in product(range(1, _WHOLE_DIGITS + 1), range(kind.decimals + 1)):
        number = DIGIT * whole + ("." + DIGIT * decimals if decimals else "")
        yield f"{number} {kind.plural}"


def _with_short(sentences: list[str], question: Question, amounts: list[str]) -> tuple[str, ...]:
    kind = question.type.replace("_", " ")
    return (*sentences, *(f"The {kind} is {a}." for a in amounts), *(f"{a}." for a in amounts))


def _choices(question: Question, names: Sequence[str]) -> Iterable[str]:
    """One of the objects, or one of two relations."""
    if question.type == "relative_distance":
        anchor, *rest = names
        others = [None] if len(rest) > 2 else rest
        for chosen, other in product(rest, others):
            if chosen != other:
                yield closest_answer(anchor, chosen, other, question.predicate == "farther")
    elif question.type in COMPARISONS and question.form == "free":
        for predicate in (question.predicate, PREDICATES[question.predicate].converse):
            yield relation_answer(predicate, names[0], names[1])
        return
    elif question.type in COMPARISONS:
        for first, second in permutations(names):
            yield relation_answer(question.predicate, first, second)
    else:
        for name in names:
            yield extreme_answer(question.predicate, name)
    for name in names[1:] if question.type == "relative_distance" else names:
        yield f"{name}."
