"""The model's own short language: how it answers, and every answer that it may give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations, product

from n3d_core.reasoning.lexicon import ORDINALS, TERMINALS, plural, singulars
from n3d_core.reasoning.outcome import rank_of, sought
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Phrase, Question, Where
from n3d_core.reasoning.relations import PLACES, PREDICATES, largest_wins
from n3d_core.reasoning.resolve import listed
from n3d_core.reasoning.units import UNITS, length_text

DIGIT = "\ue000"
"""Stands for any digit in `possible_answers`."""

_MOST_ORDERED = 5  # objects whose orders are written out: 120 of them
_WHOLE_DIGITS = 5
_COUNT_DIGITS = 2


def truth_answer(holds: bool) -> str:
    """The answer to a yes/no question."""
    return f"That is {holds}."


def relation_words(relation: str) -> str:
    """The words for a relation: "to the left of", "next to"."""
    others = {"nearest": "closest to", "farthest": "farthest from", "color": "of the same color as"}
    return PREDICATES[relation].phrase if relation in PREDICATES else (PLACES | others)[relation]


def relation_answer(predicate: str, first: str, second: str, holds: bool = True) -> str:
    """Says which relation holds between two objects."""
    return f"{first} is {'' if holds else 'not '}{relation_words(predicate)} {second}."


def related_answer(relation: str, names: Sequence[str], references: Sequence[str], holds: bool = True) -> str:
    """Says which objects stand in a relation to one or two others."""
    if not relation:
        return f"The objects are {listed(names)}." if names else "There are no objects."
    if not names:
        return f"Nothing is {relation_words(relation)} {' and '.join(references)}."
    be = ("are " if len(names) > 1 else "is ") + ("" if holds else "not ")
    return f"{listed(names)} {be}{relation_words(relation)} {' and '.join(references)}."


def difference_answer(predicate: str, names: Sequence[str], amount: str) -> str:
    """By how much a comparison holds; `amount` is a number with its unit."""
    return f"{names[0]} is {amount} {PREDICATES[predicate].phrase} {names[1]}."


def closeness_answer(names: Sequence[str], amount: str, farther: bool) -> str:
    """By how much the first object is closer to the second than to the third."""
    word, to = ("farther", "from") if farther else ("closer", "to")
    return f"{names[0]} is {amount} {word} {to} {names[1]} than {to} {names[2]}."


def extreme_answer(predicate: str, name: str, rank: int = 1) -> str:
    """Which of several is the most of something, or the second, third …"""
    return f"{name} is the {_order_words(rank)}{PREDICATES[predicate].superlative}."


def _order_words(rank: int) -> str:
    return "" if rank == 1 else f"{ORDINALS[rank - 1]} " if rank <= len(ORDINALS) else f"{rank}th "


def closest_answer(anchor: str, chosen: str, other: str | None, farther: bool, rank: int = 1) -> str:
    """Which of two (or, without `other`, of more) is closest to the anchor, farthest from it, or second closest …"""
    if other is None:
        return f"{chosen} is the {_order_words(rank)}{'farthest from' if farther else 'closest to'} {anchor}."
    word, to = ("farther", "from") if farther else ("closer", "to")
    return f"{anchor} is {word} {to} {chosen} than {to} {other}."


def order_answer(predicate: str, names: Iterable[str], opposite: bool = False) -> str:
    """Objects in the order asked for; the sign says which has the smaller measure (which is nearer, thinner …)."""
    return (" > " if largest_wins(predicate, opposite) else " < ").join(names)


def size_answer(kind: str, name: str, amount: str) -> str:
    """An extent of one object; `amount` is a number with its unit."""
    return f"{name} is {amount} in {kind}."


def distance_answer(kind: str, names: Sequence[str], amount: str) -> str:
    """A distance between two objects; `amount` is a number with its unit."""
    return f"The {kind.replace('_', ' ')} between {names[0]} and {names[1]} is {amount}."


def direction_answer(names: Sequence[str], hour: int) -> str:
    """At which hour the second object is seen from the first."""
    return f"{names[0]} will find {names[1]} around the {hour} o'clock direction."


def bearing_answer(names: Sequence[str], degrees: float | str, side: str = "") -> str:
    """Under which angle the second object is seen from the first; `degrees` in [0, 360) to the left without `side`."""
    if isinstance(degrees, float):
        side = "right" if degrees > 180.0 else "left"
        degrees = str(round(360.0 - degrees if degrees > 180.0 else degrees, 1))
    return f"{names[0]} will find {names[1]} {degrees} degrees to the {side}."


def position_answer(names: Sequence[str], amount: str, hour: int) -> str:
    """How far away, and at which hour, the first object (or the camera) sees the second."""
    away = "away" if names[0] == "camera" else f"from {names[0]}"
    return f"{names[1]} is {amount} {away} around the {hour} o'clock direction."


def dimensions_answer(name: str, amounts: Sequence[str]) -> str:
    """Width, height and length, each a number with its unit."""
    pairs = zip(amounts, ("width", "height", "length"), strict=True)
    return f"{name} is {', '.join(f'{amount} in {kind}' for amount, kind in pairs)}."


def kind_words(phrase: Phrase, several: bool) -> str:
    """What is counted, with its clauses: "mugs to the left of laptop"."""
    noun = singulars(phrase.label)[0]
    words = [plural(noun) if several else noun]
    words += [clause_words(where, [r.label for r in where.references]) for where in phrase.where]
    words += exception_words(phrase, several)
    return " ".join(words)


def exception_words(kind: Phrase, several: bool, the: str = "") -> list[str]:
    """What a kind leaves out: "that are not red", "other than ball"."""
    words = []
    implied = [reference for other in kind.without for where in other.where for reference in where.references]
    for other in (o for o in kind.without if o not in implied):
        colors = [c for c in other.colors if c not in kind.colors]
        clauses = [w for w in other.where if w not in kind.where]
        if other.noun != kind.noun or not (colors or clauses):
            words.append(f"other than {the}{other.label}")
            continue
        said = " ".join(colors) or clause_words(clauses[0], [f"{the}{r.label}" for r in clauses[0].references])
        words.append(f"that {'are' if several else 'is'} not {said}")
    return words


def clause_words(where: Where, references: Sequence[str]) -> str:
    """A relative clause without its verb: "to the left of laptop", "wider than 0.2 meters"."""
    if where.limit is None:
        return f"{relation_words(where.relation)} {' and '.join(references)}"
    if where.relation in PREDICATES:
        return f"{PREDICATES[where.relation].phrase} {length_text(where.limit)}"
    how = ("within", "of") if where.relation == "within" else ("more than", "from")
    return f"{how[0]} {length_text(where.limit)} {how[1]} {' and '.join(references)}"


def count_answer(among: Phrase, count: int | str) -> str:
    """How many there are of a kind."""
    if count in (1, "1"):
        return f"There is 1 {kind_words(among, False)}."
    return f"There are {count} {kind_words(among, True)}."


def possible_answers(question: Question, names: Sequence[str]) -> tuple[str, ...]:
    """Every answer that a question can have, as a sentence and in short; `DIGIT` stands for any digit.

    `said.read_answer` can read all of them. Empty if there are too many: for orders of more than five objects.

    Args:
        names: of the objects in their roles.
    """
    if question.form == "yes_no":
        return (truth_answer(True), truth_answer(False), "True.", "False.", "Yes.", "No.")
    if question.is_computed:
        return ()
    if question.type == "outnumber" and question.predicate == "any":
        return tuple(f"{DIGIT * n}." for n in range(1, _COUNT_DIGITS + 1))
    if question.type == "angle":
        return tuple(f"{number} degrees." for number in _numbers(1))
    if question.type == "color":
        return tuple(f"{color}." for color in TERMINALS["COLOR"])
    if question.predicate == "both":
        counts = [DIGIT * n for n in range(1, _COUNT_DIGITS + 1)]
        return tuple(f"{first} and {second}." for first, second in product(counts, repeat=2))
    if question.type == "outnumber":
        return tuple(f"{DIGIT * n} {how}." for how in ("more", "fewer") for n in range(1, _COUNT_DIGITS + 1))
    if question.form == "difference":
        return tuple(_differences(question, names))
    if question.type == "volume":
        amounts = [f"{n} liters" for n in _numbers(2)]
        return _with_short([size_answer("volume", names[0], a) for a in amounts], question, amounts)
    if question.type in SIZES:
        amounts = list(_amounts(question.unit))
        return _with_short([size_answer(question.type, names[0], a) for a in amounts], question, amounts)
    if question.type in DISTANCES:
        amounts = list(_amounts(question.unit))
        return _with_short([distance_answer(question.type, names, a) for a in amounts], question, amounts)
    if question.type == "direction" and question.unit == "deg":
        pairs = product((DIGIT, DIGIT * 2, DIGIT * 3), ("left", "right"))
        return tuple(bearing_answer(names, f"{n}.{DIGIT}", side) for n, side in pairs)
    if question.type == "direction":
        return tuple(a for h in range(1, 13) for a in (direction_answer(names, h), f"{h} o'clock."))
    if question.type == "dimensions":
        unit = UNITS.get(question.unit, UNITS["m"])
        wholes = range(1, 3 if unit.symbol == "m" else _WHOLE_DIGITS)
        decimals = range(1, unit.decimals + 1) if unit.decimals else (0,)
        short = [f"{DIGIT * w}{'.' if d else ''}{DIGIT * d} {unit.plural}" for w in wholes for d in decimals]
        return tuple(dimensions_answer(names[0], amounts) for amounts in product(short, repeat=3))
    if question.type == "position":
        return tuple(position_answer(names, a, h) for a in _amounts(question.unit) for h in range(1, 13))
    if question.type in ("count", "exists") or (question.type == "related" and question.form == "number"):
        kind = sought(question)
        numbers = ["1", *(DIGIT * digits for digits in range(1, _COUNT_DIGITS + 1))]
        return tuple(a for n in numbers for a in (count_answer(kind, n), f"{n}."))
    if question.type == "related":
        return tuple(_related(question, names))
    if question.type in ("depth_order", "order"):
        orders = permutations(names) if len(names) <= _MOST_ORDERED else ()
        return tuple(order_answer(question.predicate, order, question.opposite) for order in orders)
    return tuple(_choices(question, names))


def _numbers(decimals: int) -> Iterator[str]:
    """Numbers of up to five digits before the point and up to so many behind it."""
    for whole, behind in product(range(1, _WHOLE_DIGITS + 1), range(decimals + 1)):
        yield DIGIT * whole + ("." + DIGIT * behind if behind else "")


def _amounts(unit: str) -> Iterator[str]:
    """Numbers with the unit and up to its usual decimals."""
    kind = UNITS.get(unit, UNITS["m"])
    return (f"{number} {kind.plural}" for number in _numbers(kind.decimals))


def _with_short(sentences: list[str], question: Question, amounts: list[str]) -> tuple[str, ...]:
    kind = question.type.replace("_", " ")
    return (*sentences, *(f"The {kind} is {a}." for a in amounts), *(f"{a}." for a in amounts))


def _differences(question: Question, names: Sequence[str]) -> Iterator[str]:
    """Either of two relations by any amount."""
    if question.type == "relative_distance":
        for amount, farther in product(_amounts(question.unit), (False, True)):
            yield closeness_answer(names, amount, farther)
        return
    predicate = PREDICATES[question.predicate]
    amounts = [f"{n} liters" for n in _numbers(2)] if predicate.measure == "V" else list(_amounts(question.unit))
    for amount, relation in product(amounts, (question.predicate, predicate.converse)):
        yield difference_answer(relation, names, amount)


def _related(question: Question, names: Sequence[str]) -> Iterator[str]:
    """Any of the objects, in any order, or none."""
    if not question.predicate:
        return
    count = 2 if question.predicate == "between" else 1
    references, rivals = names[:count], names[count:]
    if len(rivals) <= _MOST_ORDERED:
        for some in range(len(rivals) + 1):
            for chosen in permutations(rivals, some):
                yield related_answer(question.predicate, chosen, references)


def _choices(question: Question, names: Sequence[str]) -> Iterator[str]:
    """One of the objects, or one of two relations."""
    if question.type == "relative_distance":
        anchor, *rest = names
        rank = rank_of(question)
        others = [None] if len(rest) != 2 or rank > 1 else rest
        for chosen, other in product(rest, others):
            if chosen != other:
                yield closest_answer(anchor, chosen, other, question.predicate == "farther", rank)
    elif question.type in COMPARISONS and question.form == "free":
        for predicate in (question.predicate, PREDICATES[question.predicate].converse):
            yield relation_answer(predicate, names[0], names[1])
        return
    elif question.type in COMPARISONS:
        for first, second in permutations(names):
            yield relation_answer(question.predicate, first, second)
    else:
        for name in names:
            yield extreme_answer(question.predicate, name, rank_of(question))
    for name in names[1:] if question.type == "relative_distance" else names:
        yield f"{name}."
