"""Chains of thought that end in a relation, a choice or an order."""

from __future__ import annotations

import math

from n3d_core.reasoning.old import relations
from n3d_core.reasoning.old.chain_parts import (
    COMPARED,
    OPPOSITE_VIEW,
    ascending,
    bboxes,
    best,
    centers,
    difference,
    in_order,
    length_of,
    listed_measures,
    measures,
    root_text,
    sign,
    subtractions,
    volumes,
)
from n3d_core.reasoning.old.question import Question
from n3d_core.reasoning.old.relations import MEASURES, PREDICATES
from n3d_core.reasoning.old.roles import Roles
from n3d_core.reasoning.old.sentences import (
    closest_answer,
    extreme_answer,
    order_answer,
    relation_answer,
    truth_answer,
)
from n3d_core.reasoning.units import number_text

_SIZES = "WHLV"
_FLIPPED = "XZ"


def comparison_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the boxes, compare one measure, conclude."""
    p = PREDICATES[question.predicate]
    a, b = measures(p.measure, roles.boxes)
    view = OPPOSITE_VIEW if question.opposite and p.measure in _FLIPPED else ""
    claim, text = _comparison_claim(question, roles)
    steps = [_stating(question, roles, published)]
    if published:
        first, second = p.phrase.removesuffix(" than"), PREDICATES[p.converse].phrase
        steps.append(f"Step 2: Determine if {roles.names[0]} is {first} or {second} {roles.names[1]}.")
    steps.append(f"Since {_compared(question, a, b, published)}, {view}{claim}.")
    return steps, text


def _compared(question: Question, a: str, b: str, published: bool) -> str:
    """Both measures; in `compact`, where one object is to be chosen, also which measure decides for it."""
    p = PREDICATES[question.predicate]
    if published or question.form != "choice":
        return f"{p.measure}_A = {a} {sign(a, b)} {p.measure}_B = {b}"
    return best([f"{p.measure}_A", f"{p.measure}_B"], [a, b], _largest_wins(question))


def _largest_wins(question: Question) -> bool:
    """Whether the predicate holds of what has the largest measure, in the view that is asked for."""
    p = PREDICATES[question.predicate]
    return (p.sign > 0) != (question.opposite and p.measure in _FLIPPED)


def _comparison_claim(question: Question, roles: Roles) -> tuple[str, str]:
    """What the reasoning concludes, and the answer."""
    p = PREDICATES[question.predicate]
    (a, b), (name_a, name_b) = roles.boxes, roles.names
    gain = relations.advantage(question.predicate, a, b, question.opposite)
    if gain == 0:
        tie = f"{name_a} and {name_b} are equal in this."
        return f"{name_a} is not {p.phrase} {name_b}", truth_answer(False) if question.form == "yes_no" else tie
    if question.form == "choice":
        winner, loser = (name_a, name_b) if gain > 0 else (name_b, name_a)
        answer = relation_answer(question.predicate, winner, loser)
    else:
        answer = relation_answer(question.predicate if gain > 0 else p.converse, name_a, name_b)
    return answer.removesuffix("."), truth_answer(gain > 0) if question.form == "yes_no" else answer


def _stating(question: Question, roles: Roles, published: bool) -> str:
    """The boxes or centres, and for volumes and in the published style the measures."""
    measure = PREDICATES[question.predicate].measure
    stated = bboxes(roles) if measure in _SIZES else centers(roles, published)
    if not published:
        return f"{stated} {volumes(roles)}" if measure == "V" else stated
    return (
        f"1. {stated} 2. We can determine the {question.type.replace('_', '-')} relationship as follows: "
        f"Step 1: Compare the {COMPARED[measure]}. {listed_measures(measure, roles)}"
    )


def relative_distance_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the centres, compute each distance from A, compare, conclude."""
    anchor, *rest = roles.boxes
    farther = question.predicate == "farther"
    lines, texts = _distances(roles, published)
    order = sorted(range(len(rest)), key=lambda i: (float(texts[i]), relations.distance(anchor, rest[i])))
    variables = [f"distance_A{roles.letter(i + 1)}" for i in range(len(rest))]
    compared = ascending(variables, texts, order) if published else best(variables, texts, farther)
    answer = _distance_claim(roles, order, farther)
    steps = [centers(roles, published), *lines, f"Since {compared}, {answer}"]
    if published:
        rule = "2. We can determine the relative distance as follows: Step 1: Calculate the distances of the centers."
        steps[0] = f"1. {steps[0]} {rule}"
        steps[-1] = f"Step 2: Compare the distances. {steps[-1]}"
    if question.form != "yes_no":
        return steps, answer
    first, second = (float(t) for t in texts)
    return steps, truth_answer(first > second if farther else first < second)


def _distance_claim(roles: Roles, order: list[int], farther: bool) -> str:
    name, near, far = roles.names[0], roles.names[1 + order[0]], roles.names[1 + order[-1]]
    chosen, other = (far, near) if farther else (near, far)
    return closest_answer(name, chosen, other if len(order) == 2 else None, farther)


def _distances(roles: Roles, published: bool) -> tuple[list[str], list[str]]:
    """The line that computes each distance from A, and the distances' texts (more decimals where they are equal)."""
    anchor, *rest = roles.boxes
    differences = [difference(anchor, box) for box in rest]
    decimals = 4 if published else 2
    if len({round(math.hypot(*d), decimals) for d in differences}) < len(differences):
        decimals = 4
    texts = [number_text(math.hypot(*d), decimals) for d in differences]
    lines = []
    for i, (box, d, text) in enumerate(zip(rest, differences, texts, strict=True)):
        pair = f"A{roles.letter(i + 1)}"
        if published:
            lines.append(f"distance_{pair} = {root_text(d)} = {text}.")
        else:
            lines.append(f"{subtractions(anchor, box, (0, 1, 2), pair)} distance_{pair} = {length_of(d)} = {text}.")
    return lines, texts


def order_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """Depth orders and the extreme of several: state one measure of each, sort, conclude."""
    measure = PREDICATES[question.predicate].measure
    texts = measures(measure, roles.boxes)
    order = sorted(range(len(roles)), key=lambda i: MEASURES[measure](roles.boxes[i]))
    variables = [f"{measure}_{roles.letter(i)}" for i in range(len(roles))]
    if published:
        compared = ascending(variables, texts, order)
    elif question.type == "depth_order":
        compared = in_order(variables, texts, _as_asked(question, order))
    else:
        compared = best(variables, texts, _largest_wins(question))
    claim, text = _order_claim(question, roles, order)
    since = f"Since {compared}, {claim}."
    if published:
        stated = bboxes(roles) if measure in _SIZES else centers(roles, published)
        rule = f"2. We can determine the order as follows: Step 1: Compare the {COMPARED[measure]}."
        return [
            f"1. {stated} {rule} {listed_measures(measure, roles)}",
            f"Step 2: Sort from small to large. {since}",
        ], text
    if measure == "V":
        return [f"{bboxes(roles)} {volumes(roles)}", since], text
    pairs = enumerate(zip(texts, roles.names, strict=True))
    return [", ".join(f"{measure}_{roles.letter(i)} = {t} for {name}" for i, (t, name) in pairs) + ".", since], text


def _as_asked(question: Question, ascending_order: list[int]) -> list[int]:
    """Near to far, or far to near."""
    return ascending_order if PREDICATES[question.predicate].sign < 0 else ascending_order[::-1]


def _order_claim(question: Question, roles: Roles, order: list[int]) -> tuple[str, str]:
    """What the reasoning concludes, and the answer."""
    p = PREDICATES[question.predicate]
    if question.type == "depth_order":
        claim = order_answer(question.predicate, [roles.names[i] for i in _as_asked(question, order)])
        return claim, claim
    flipped = question.opposite and p.measure in _FLIPPED
    winner = roles.names[order[-1] if _largest_wins(question) else order[0]]
    answer = extreme_answer(question.predicate, winner)
    return f"{OPPOSITE_VIEW if flipped else ''}{answer.removesuffix('.')}", answer
