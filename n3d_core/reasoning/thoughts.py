"""The chain of thought of each question type: state the boxes, state the rule, compute, conclude.

Two styles: `published` has the words of the released model's samples, `compact` the same shape without needless words
(for small models). Both are computed from the numbers that the second pass's prompt states (2 decimals, x left, y up).
Questions of types that the released model does not know have one style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from n3d_core.reasoning import relations, replies
from n3d_core.reasoning.lexicon import color_in
from n3d_core.reasoning.outcome import Outcome, all_of, clause_of, gain_of, more_of, ordered, rank_of, sought
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question, Where
from n3d_core.reasoning.relations import (
    FLIPPED_BY_VIEW,
    MEASURES,
    PLACES,
    PREDICATES,
    as_stated,
    largest_wins,
    place_terms,
)
from n3d_core.reasoning.resolve import LETTERS, Roles, listed
from n3d_core.reasoning.thought_numbers import (
    COMPARED,
    EXTENTS,
    ascending,
    bboxes,
    best,
    centers,
    compared,
    difference,
    dimensions_chain,
    direction_chain,
    fit_chain,
    in_order,
    length_chain,
    length_of,
    listed_measures,
    measures,
    measures_of,
    position_chain,
    proportion_chain,
    root_text,
    same_chain,
    sign,
    subtractions,
    volumes,
)
from n3d_core.reasoning.units import length_text, number_text

Style = Literal["published", "compact"]

_OPPOSITE_VIEW = "and we are considering the opposite view, "


def chain_of_thought(question: Question, outcome: Outcome, style: Style = "compact") -> tuple[list[str], str]:
    """The steps of the reasoning, and the answer's text."""
    published, roles = style == "published", outcome.roles
    if question.is_computed:
        return [], ""
    if question.type in COMPARISONS:
        return _comparison_chain(question, roles, published)
    if question.type in (*SIZES, *DISTANCES):
        return length_chain(question, roles, published)
    if question.type == "relative_distance":
        return _relative_distance_chain(question, roles, published)
    if question.type == "direction":
        steps, text = direction_chain(question, roles, published)
        return steps, replies.truth_answer(outcome.value.truth) if question.form == "yes_no" else text
    if question.type == "angle":
        return [centers(roles, False)], f"{relations.angle_seen(*roles.boxes):.1f} degrees."
    if question.type == "color":
        return [bboxes(roles)], f"{color_in(roles.names[0])}."
    if question.type == "position":
        return position_chain(question, roles)
    if question.type == "dimensions":
        return dimensions_chain(question, roles)
    if question.type in ("count", "exists", "related"):
        return _count_chain(question, outcome)
    if question.type == "place":
        return _place_chain(question, roles, outcome.value.truth)
    if question.type == "fit":
        return fit_chain(question, roles, outcome.value.truth)
    if question.type == "same":
        return same_chain(question, roles, outcome.value.truth)
    if question.type == "all":
        return _all_chain(question, outcome)
    if question.type == "proportion":
        return proportion_chain(question, roles, outcome.value.truth)
    if question.type == "outnumber":
        return _outnumber_chain(question, outcome)
    return _order_chain(question, roles, published)


def _comparison_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the boxes, compare one measure, conclude."""
    p = PREDICATES[question.predicate]
    a, b = measures(p.measure, roles.boxes)
    view = _OPPOSITE_VIEW if question.opposite and p.measure in FLIPPED_BY_VIEW else ""
    claim, text = _comparison_claim(question, roles)
    steps = [_stating(question, roles, published)]
    if published:
        first, second = p.phrase.removesuffix(" than"), PREDICATES[p.converse].phrase
        steps.append(f"Step 2: Determine if {roles.names[0]} is {first} or {second} {roles.names[1]}.")
    steps.append(f"Since {_compared(question, a, b, published)}, {view}{claim}.")
    if question.form != "difference":
        return steps, text
    return _difference(question, roles, steps, (f"{p.measure}_A", f"{p.measure}_B"), (a, b))


def _difference(
    question: Question, roles: Roles, steps: list[str], variables: tuple[str, str], texts: tuple[str, str]
) -> tuple[list[str], str]:
    """The larger of two measures less the smaller one, and by how much which relation holds."""
    order = (0, 1) if float(texts[0]) >= float(texts[1]) else (1, 0)
    (more, less), (high, low) = ([values[i] for i in order] for values in (variables, texts))
    amount = round(float(high) - float(low), 4)
    words = f"{amount} liters" if variables[0].startswith("V") else length_text(amount, "m")
    shown = words if variables[0].startswith("V") else length_text(amount, question.unit)
    steps.append(f"{more} - {less} = {high} - {low} = {words}{'' if shown == words else f' = {shown}'}.")
    gain = gain_of(question, roles.boxes)
    if question.type == "relative_distance":
        nearer = (gain > 0) == (question.predicate == "closer")
        return steps, replies.closeness_answer(roles.names, shown, farther=not nearer)
    predicate = question.predicate if gain > 0 else PREDICATES[question.predicate].converse
    return steps, replies.difference_answer(predicate, roles.names, shown)


def _compared(question: Question, a: str, b: str, published: bool) -> str:
    """Both measures; in `compact`, where one object is to be chosen, also which measure decides for it."""
    p = PREDICATES[question.predicate]
    if published or question.form != "choice":
        return f"{p.measure}_A = {a} {sign(a, b)} {p.measure}_B = {b}"
    return best([f"{p.measure}_A", f"{p.measure}_B"], [a, b], largest_wins(question.predicate, question.opposite))


def _comparison_claim(question: Question, roles: Roles) -> tuple[str, str]:
    """What the reasoning concludes, and the answer."""
    p = PREDICATES[question.predicate]
    (a, b), (name_a, name_b) = roles.boxes, roles.names
    gain = relations.gain(question.predicate, a, b, question.opposite)
    if gain == 0:
        tie = f"{name_a} and {name_b} are equal in this."
        return f"{name_a} is not {p.phrase} {name_b}", replies.truth_answer(False) if question.form == "yes_no" else tie
    if question.form == "choice":
        winner, loser = (name_a, name_b) if gain > 0 else (name_b, name_a)
        answer = replies.relation_answer(question.predicate, winner, loser)
    else:
        answer = replies.relation_answer(question.predicate if gain > 0 else p.converse, name_a, name_b)
    return answer.removesuffix("."), replies.truth_answer(gain > 0) if question.form == "yes_no" else answer


def _stating(question: Question, roles: Roles, published: bool) -> str:
    """The boxes or centres, and for volumes and in the published style the measures."""
    measure = PREDICATES[question.predicate].measure
    stated = bboxes(roles) if measure in EXTENTS else centers(roles, published)
    if not published:
        return f"{stated} {volumes(roles)}" if measure == "V" else stated
    return (
        f"1. {stated} 2. We can determine the {question.type.replace('_', '-')} relationship as follows: "
        f"Step 1: Compare the {COMPARED[measure]}. {listed_measures(measure, roles)}"
    )


def _relative_distance_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the centres, compute each distance from A, compare, conclude."""
    anchor, *rest = roles.boxes
    farther = question.predicate == "farther"
    lines, texts = _distances(roles, published)
    order = sorted(range(len(rest)), key=lambda i: (float(texts[i]), relations.distance(anchor, rest[i])))
    variables = [f"distance_A{roles.letter(i + 1)}" for i in range(len(rest))]
    rank = rank_of(question)
    if published:
        compared = ascending(variables, texts, order)
    elif rank > 1:
        compared = in_order(variables, texts, order[::-1] if farther else order)
    else:
        compared = best(variables, texts, farther)
    answer = _distance_claim(roles, order[::-1] if farther else order, farther, rank)
    steps = [centers(roles, published), *lines, f"Since {compared}, {answer}"]
    if published:
        rule = "2. We can determine the relative distance as follows: Step 1: Calculate the distances of the centers."
        steps[0] = f"1. {steps[0]} {rule}"
        steps[-1] = f"Step 2: Compare the distances. {steps[-1]}"
    if question.form == "difference":
        return _difference(question, roles, steps, (variables[0], variables[1]), (texts[0], texts[1]))
    if question.form != "yes_no":
        return steps, answer
    first, *others = (float(t) for t in texts)
    return steps, replies.truth_answer(all(first > o if farther else first < o for o in others))


def _distance_claim(roles: Roles, order: list[int], farther: bool, rank: int) -> str:
    """Which is closest (or farthest, or second closest), given the order of the others from that end."""
    chosen, other = roles.names[1 + order[rank - 1]], roles.names[1 + order[-1]]
    return replies.closest_answer(
        roles.names[0], chosen, other if len(order) == 2 and rank == 1 else None, farther, rank
    )


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


def _order_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """Orders and the extreme of several: state one measure of each, sort, conclude."""
    measure = PREDICATES[question.predicate].measure
    texts = measures(measure, roles.boxes)
    variables = [f"{measure}_{roles.letter(i)}" for i in range(len(roles))]
    order = ordered(question, roles.boxes)
    if published:
        upwards = sorted(range(len(roles)), key=lambda i: MEASURES[measure](roles.boxes[i]))
        ranking = ascending(variables, texts, upwards)
    elif question.type != "extreme" or rank_of(question) > 1:
        ranking = in_order(variables, texts, order)
    else:
        ranking = best(variables, texts, largest_wins(question.predicate, question.opposite))
    claim, text = _order_claim(question, roles, order)
    since = f"Since {ranking}, {claim}." if len(roles) > 1 else f"So {claim}."
    if published:
        stated = bboxes(roles) if measure in EXTENTS else centers(roles, published)
        rule = f"2. We can determine the order as follows: Step 1: Compare the {COMPARED[measure]}."
        return [
            f"1. {stated} {rule} {listed_measures(measure, roles)}",
            f"Step 2: Sort from small to large. {since}",
        ], text
    if measure == "V":
        return [f"{bboxes(roles)} {volumes(roles)}", since], text
    return [measures_of(measure, texts, roles), since], text


def _order_claim(question: Question, roles: Roles, order: list[int]) -> tuple[str, str]:
    """What the reasoning concludes, and the answer."""
    flipped = question.opposite and PREDICATES[question.predicate].measure in FLIPPED_BY_VIEW
    view = _OPPOSITE_VIEW if flipped else ""
    if question.type != "extreme":
        claim = replies.order_answer(question.predicate, [roles.names[i] for i in order], question.opposite)
        return f"{view}{claim}", claim
    winner = relations.extreme(question.predicate, list(roles.boxes), question.opposite)
    rank = rank_of(question)
    chosen = winner if rank == 1 else order[rank - 1]
    answer = replies.extreme_answer(question.predicate, roles.names[chosen], rank)
    claim = f"{view}{answer.removesuffix('.')}"
    return claim, replies.truth_answer(winner == 0) if question.form == "yes_no" else answer


def _place_chain(question: Question, roles: Roles, holds: bool) -> tuple[list[str], str]:
    """State the boxes, compute what the relation asks of them, conclude."""
    if question.predicate not in PLACES:
        claim = replies.relation_answer(question.predicate, roles.names[0], roles.names[1], holds)
        a, b = measures(PREDICATES[question.predicate].measure, roles.boxes)
        return [centers(roles, False), f"Since {_compared(question, a, b, True)}, {claim}"], replies.truth_answer(holds)
    terms = _terms(question.predicate, roles, 0, range(1, len(roles)))
    claim = replies.related_answer(question.predicate, roles.names[:1], roles.names[1:], holds)
    return [bboxes(roles), f"Since {', '.join(terms)}, {claim}"], replies.truth_answer(holds)


def _terms(place: str, roles: Roles, subject: int, references: Sequence[int]) -> list[str]:
    """`gap_AB = 0.05 <= reach_AB = 0.16`: what decides whether an object is at a place, from the stated boxes."""
    boxes = [as_stated(roles.boxes[i]) for i in (subject, *references)]
    letters = "".join(roles.letter(i) for i in (subject, *references))
    texts = []
    for term in place_terms(place, boxes[0], boxes[1:]):
        value = number_text(term.value)
        text = f"{term.symbol}_{letters} = {value}"
        if term.bound:
            high = number_text(term.high)
            if high == value:
                text, high = f"{term.symbol}_{letters} = {number_text(term.value, 4)}", number_text(term.high, 4)
            text += f" {'<=' if term.value <= term.high else '>'} {term.bound}_{letters} = {high}"
        texts.append(text)
    return texts


def _count_chain(question: Question, outcome: Outcome) -> tuple[list[str], str]:
    """Number the boxes; the last number is the count. Where a relation decides which ones, spell it out first."""
    steps, found = _standing(question, outcome), outcome.roles.only(outcome.found)
    references = outcome.roles.names[: outcome.references]
    claim = replies.related_answer(question.predicate, found.names, references) if question.type == "related" else ""
    if claim and question.form == "objects" and question.predicate:
        return steps or [centers(outcome.roles, False)], claim
    numbered = ", ".join(f"{name} ({i + 1})" for i, name in enumerate(found.names))
    listed = f"The boxes are {numbered}." if numbered else "There are no boxes."
    if claim and question.form == "objects":
        return [listed], claim
    words = replies.kind_words(sought(question), True)
    if question.type == "related" and question.predicate:
        words += f" {replies.relation_words(question.predicate)} {' and '.join(references)}"
    steps += [listed, f"So the number of {words} is {len(found)}."]
    if question.form == "yes_no":
        return steps, replies.truth_answer(outcome.value.truth)
    return steps, replies.count_answer(sought(question), len(found))


def _all_chain(question: Question, outcome: Outcome) -> tuple[list[str], str]:
    """Which of them stand where the question says, or what they are called; and whether these are all."""
    steps, holds = _standing(question, outcome), outcome.value.truth
    if not steps:
        numbered = ", ".join(f"{name} ({i + 1})" for i, name in enumerate(outcome.roles.names[outcome.references :]))
        steps = [f"The boxes are {numbered}."]
    return [*steps, f"That holds for {len(outcome.found)} of {all_of(outcome)}, {holds}."], replies.truth_answer(holds)


def _outnumber_chain(question: Question, outcome: Outcome) -> tuple[list[str], str]:
    """State both numbers, and compare them."""
    words = [replies.kind_words(kind, True) for kind in question.objects]
    steps = [f"The numbers of {listed(words)} are {listed([str(count) for count in outcome.counts])}."]
    together = question.predicate in ("any", "each", "both")
    if not together:
        steps.append(f"{outcome.counts[0]} - {outcome.counts[1]} = {more_of(outcome)}.")
    if question.form == "yes_no":
        return steps, replies.truth_answer(outcome.value.truth)
    more = more_of(outcome)
    if question.predicate == "both":
        return steps, f"{listed([str(count) for count in outcome.counts])}."
    return steps, f"{len(outcome.found)}." if together else f"{abs(more)} {'fewer' if more < 0 else 'more'}."


def _standing(question: Question, outcome: Outcome) -> list[str]:
    """Which of the objects stand in the relation that a count or `related` question asks for."""
    clause, roles = clause_of(question), outcome.roles
    count = outcome.references
    rivals = range(count, len(roles))
    if (
        clause is None
        or (clause.references and not count)
        or not rivals
        or len(roles) > len(LETTERS)
        or _only_found(outcome, count)
    ):
        return []
    if clause.limit is not None:
        return _limited(clause, clause.limit, roles, count)
    names = [roles.names[roles.indices.index(i)] for i in outcome.found]
    answer = replies.related_answer(clause.relation, names, roles.names[:count])
    claim = answer if names else answer[:1].lower() + answer[1:]
    if clause.relation in PLACES:
        terms = [t for i in rivals for t in _terms(clause.relation, roles, i, range(count))]
        return [bboxes(roles), f"Since {', '.join(terms)}, {claim}"]
    if clause.relation in ("nearest", "farthest"):
        lines, texts = _distances(roles, False)
        variables = [f"distance_A{roles.letter(i)}" for i in rivals]
        chosen = best(variables, texts, clause.relation == "farthest")
        return [centers(roles, False), *lines, f"Since {chosen}, {claim}" if chosen else f"So {claim}"]
    measure = PREDICATES[clause.relation].measure
    texts = measures(measure, roles.boxes)
    variables = [f"{measure}_{roles.letter(i)}" for i in range(len(roles))]
    pairs = ", ".join(compared(variables, texts, i, 0) for i in rivals)
    view = _OPPOSITE_VIEW if question.opposite and measure in FLIPPED_BY_VIEW else ""
    stated = f"{bboxes(roles)} {volumes(roles)}" if measure == "V" else measures_of(measure, texts, roles)
    return [stated, f"Since {pairs}, {view}{claim}"]


def _limited(clause: Where, limit: float, roles: Roles, count: int) -> list[str]:
    """How a measure, or the distance from the reference, compares with a limit."""
    if count:
        lines, texts = _distances(roles, False)
        variables = [f"distance_A{roles.letter(i)}" for i in range(1, len(roles))]
        stated = [centers(roles, False), *lines]
    else:
        measure = PREDICATES[clause.relation].measure
        texts = measures(measure, roles.boxes)
        variables = [f"{measure}_{roles.letter(i)}" for i in range(len(roles))]
        stated = [measures_of(measure, texts, roles)]
    pairs = zip(variables, texts, strict=True)
    compared = ", ".join(f"{variable} = {text} {sign(text, f'{limit:g}')} {limit:g}" for variable, text in pairs)
    return [*stated, f"Compared with the limit: {compared}."]


def _only_found(outcome: Outcome, count: int) -> bool:
    """Whether the roles are the counted boxes alone, because there are too many others to have letters."""
    without_references = count > 0 and outcome.roles.indices == outcome.found
    return without_references or any(i is None for i in outcome.roles.indices[count:])
