"""Audits a model's reply: reads its reasoning and its answer, and recomputes both from the boxes.

These are checked against the boxes, both exact and rounded to 2 decimals as in the prompt:

* stated boxes and centres,
* every equation and comparison, each side against the other and against the boxes,
* every claim in words about the objects,
* the answer itself, and that it repeats what the reasoning found.

The verdict is about the **answer**: a right answer with a slip on the way is `verified`, and its reason names the slip.
Whether the objects exist is decided earlier, from evidence; the audit never gives `not_seen`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from n3d_core.reasoning import relations
from n3d_core.reasoning.arithmetic import check_equations
from n3d_core.reasoning.checks import (
    FROM_FOUR_DECIMALS,
    FROM_TWO_DECIMALS,
    OTHER_VALUE,
    check_claims,
    check_conclusion,
    check_enumeration,
    check_measures,
    check_rules,
    check_stated_boxes,
)
from n3d_core.reasoning.doubt import spread
from n3d_core.reasoning.facts import Facts, Slip
from n3d_core.reasoning.lexicon import hold_names, release
from n3d_core.reasoning.outcome import EQUAL, Outcome, number_of, plain
from n3d_core.reasoning.phrasing import ended, lowered
from n3d_core.reasoning.question import DISTANCES, SIZES, Question
from n3d_core.reasoning.said import Amount, StatedAnswer, Whereabouts, read_answer
from n3d_core.reasoning.solve import Solution
from n3d_core.reasoning.units import Length, find_lengths, length_text

Verdict = Literal["verified", "contradicted", "unverifiable", "not_seen"]
VERIFIED: Verdict = "verified"
CONTRADICTED: Verdict = "contradicted"
UNVERIFIABLE: Verdict = "unverifiable"
NOT_SEEN: Verdict = "not_seen"

_NAMED = 2  # wrong steps that a reason lists
_RUN = re.compile(r"\S{200,}")  # endless runs of characters that some models write
_THINK = re.compile(r"</?think>", re.IGNORECASE)
_NEAR = 0.05  # relative error of a length that still counts as right
_TURNED = ("direction", "angle")
_NEAR_DEGREES = 5.0
_HEDGED = 0.1  # the same for "about 0.4 meters"
_HEDGE = re.compile(r"\b(?:about|approximately|roughly|nearly|almost|approx)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """The outcome of an audit.

    Attributes:
        verdict: of the answer: `verified`, `contradicted` or `unverifiable`.
        reason: for the user: the first wrong step, or why the answer cannot be checked; for a right answer, the wrong
            steps on the way to it; empty if everything is right.
        slips: every step that the boxes contradict, in the order of the text.
    """

    verdict: Verdict
    reason: str
    slips: tuple[Slip, ...]


def audit(solution: Solution, reasoning: str, said: str) -> Finding:
    """Checks a model's reply against the boxes.

    Args:
        solution: the solution from the boxes, with the names that the prompt used (`4_chair`).
        reasoning: the chain of thought, with or without `<think>` marks; may be empty.
        said: the answer after the thought.
    """
    reasoning, said = _split(reasoning, said)
    facts = Facts(solution.question, solution.scene, solution.outcome)
    slips = check_text(reasoning, facts) + _unrepeated(solution.question, reasoning, said)
    return _finding(solution, said, slips, check_answer_claims(said, facts))


def check_text(reasoning: str, facts: Facts) -> list[Slip]:
    """All steps of a reasoning that the boxes contradict, in the order of the text."""
    held, names = _held(reasoning, facts)
    slips = [
        *check_stated_boxes(held, facts, names),
        *check_measures(held, facts, names),
        *check_enumeration(held, facts, names),
        *check_rules(held, facts),
        *check_equations(held, facts),
        *check_claims(held, facts, names),
        *check_conclusion(held, facts),
    ]
    flat = " ".join(reasoning.split())

    def place(slip: Slip) -> int:
        at = flat.find(slip.step)
        return at if at >= 0 else len(flat)

    return sorted((Slip(release(s.step, names), release(s.problem, names), s.off) for s in slips), key=place)


def check_answer_claims(said: str, facts: Facts) -> list[Slip]:
    """Claims in the answer itself that the boxes contradict. Answers are in the view that was asked for."""
    held, names = _held(said, facts)
    return list(check_claims(held, facts, names, facts.question.opposite))


def _held(text: str, facts: Facts) -> tuple[str, dict[str, str]]:
    return hold_names(
        " ".join(text.split()), [*facts.scene.names, *(p.label for p in facts.question.objects), "camera"]
    )


def _split(reasoning: str, said: str) -> tuple[str, str]:
    """Separates thought and answer, and removes marks and endless runs of characters."""
    if "</think>" in said:
        inside, _, said = said.rpartition("</think>")
        reasoning = f"{reasoning} {inside}"
    reasoning, said = (_RUN.sub(" ", _THINK.sub(" ", text)).strip() for text in (reasoning, said))
    return reasoning, said


def _finding(solution: Solution, text: str, slips: list[Slip], false: list[Slip]) -> Finding:
    """The verdict, from the wrong steps of the reasoning and the false claims of the answer."""
    question, found = solution.question, (*slips, *false)
    said = read_answer(question, solution.roles.names, text)
    if said is None and not false:
        return Finding(UNVERIFIABLE, f"The answer {text!r} cannot be read as {_wanted(question)}.", found)
    outcomes = Facts(question, solution.scene, solution.outcome).outcomes
    if said is not None and EQUAL in [plain(question, o) for o in outcomes] and said == EQUAL:
        return Finding(VERIFIED, "", found)
    if solution.doubt:
        return Finding(UNVERIFIABLE, solution.doubt, found)
    if said is not None and not false and any(_agrees(question, said, o, text) for o in outcomes):
        told = [slip for slip in slips if slip.matters]
        return Finding(VERIFIED, ended(f"the answer is right, though {_named(told)}") if told else "", found)
    off = all(slip.problem.startswith(OTHER_VALUE) for slip in false)
    if said is not None and off and _is_near(solution, said):
        slips = [*slips, *(false or [Slip(text, _given(solution))])]
        return Finding(VERIFIED, ended(f"the answer is right within the boxes' uncertainty; {_named(slips)}"), found)
    first = found[0] if found else Slip(text, _given(solution))
    return Finding(CONTRADICTED, ended(f"{first.problem} (in '{first.step.rstrip('.')}')"), found or (first,))


def _given(solution: Solution) -> str:
    return f"the boxes give: {lowered(solution.sentence).rstrip('.')}"


def _named(slips: list[Slip]) -> str:
    """The problems of the first few slips."""
    more = f", and {len(slips) - _NAMED} more" if len(slips) > _NAMED else ""
    return "; ".join(slip.problem.rstrip(".") for slip in slips[:_NAMED]) + more


def _agrees(question: Question, said: StatedAnswer, outcome: Outcome, text: str) -> bool:
    off = _off(question, said, outcome)
    if off is not None and isinstance(said, Length | Amount):
        return off <= _slack(question.type, said, text)
    if isinstance(said, Whereabouts):
        return _is_there(said, outcome, text)
    truth = plain(question, outcome)
    if question.type == "dimensions" and isinstance(said, tuple):
        return all(abs(float(s) - v) <= 0.0101 for s, v in zip(said, outcome.roles.boxes[0].size, strict=True))
    if question.type == "related" and isinstance(said, tuple) and isinstance(truth, tuple):
        return set(said) == set(truth)
    return said == truth and type(said) is type(truth)


def _off(question: Question, said: StatedAnswer, outcome: Outcome) -> float | None:
    """How far a number is from what the boxes give: metres, litres or degrees; None if the answer is not a number."""
    number = number_of(question, outcome) or 0.0
    if isinstance(said, Length):
        return abs(said.metres - number)
    if isinstance(said, Amount):
        return relations.turn(said.value, number) if question.type in _TURNED else abs(said.value - number)
    return None


def _slack(kind: str, said: Length | Amount, text: str) -> float:
    """The rounding of a number, and of what it was computed from: metres with 2 or 4 decimals, or angles of such."""
    if isinstance(said, Length):
        slack = said.resolution + (FROM_FOUR_DECIMALS if said.unit == "m" else FROM_TWO_DECIMALS)
        return max(slack, _HEDGED * said.metres) if _HEDGE.search(text) else slack
    if kind in _TURNED:
        return said.resolution + 0.1
    return said.resolution + FROM_TWO_DECIMALS * (2 if kind in ("volume", "big_small") else 1)


def _is_there(said: Whereabouts, outcome: Outcome, text: str) -> bool:
    """Whether an object is at the distance (or depth), hour and side that an answer states."""
    camera, box = outcome.roles.boxes
    lengths = (relations.distance(camera, box), box.center[2])
    if said.away is not None and all(abs(said.away.metres - v) > _slack("position", said.away, text) for v in lengths):
        return False
    if said.hour is not None and said.hour != relations.clock_direction(camera, box):
        return False
    return not said.side or said.side == ("left" if box.center[0] < 0 else "right")


def _is_near(solution: Solution, said: StatedAnswer) -> bool:
    """Whether a number is within the uncertainty of the boxes, 5 %, or its own last digit."""
    question, outcome = solution.question, solution.outcome
    sure = spread(question, solution.scene, outcome)
    number = number_of(question, outcome) or 0.0
    off = _off(question, said, outcome)
    if off is not None and isinstance(said, Length | Amount):
        turned = question.type in _TURNED
        return off <= max(sure, _NEAR_DEGREES if turned else max(_NEAR * abs(number), 3.001 * said.resolution))
    if isinstance(said, Whereabouts):
        away = relations.distance(*outcome.roles.boxes)
        near = said.away is None or abs(said.away.metres - away) <= max(_NEAR * away, 3.001 * said.away.resolution)
        # an hour is right where the direction lies in it or within an hour's half of it
        pointed = said.hour is None or (
            1 <= said.hour <= 12 and relations.turn(-30.0 * (said.hour - 0.5), number) <= 30.0
        )
        sided = not said.side or relations.turn(90.0 if said.side == "left" else -90.0, number) <= 90.0 + _NEAR_DEGREES
        return near and pointed and sided
    if question.type == "direction" and isinstance(said, int):
        return said in {relations.clock_hour(number + turn) for turn in (-sure, sure)}
    return False


def _wanted(question: Question) -> str:
    if question.form == "yes_no":
        return "yes or no"
    if question.type == "volume":
        return "a number of liters"
    if question.type in SIZES + DISTANCES or question.form == "difference":
        return "a length with its unit"
    kinds = {
        "angle": "degrees",
        "color": "a color",
        "direction": "degrees to a side" if question.unit == "deg" else "an hour from 1 to 12",
        "count": "a number",
        "depth_order": "all objects in order",
        "order": "all objects in order",
        "position": "a direction or a distance",
        "dimensions": "three lengths with their units",
        "related": "some of the objects",
    }
    return kinds.get(question.type) or ("one of the two relations" if question.form == "free" else "one of the objects")


def _unrepeated(question: Question, reasoning: str, said: str) -> list[Slip]:
    """A slip if the length in the answer is not the one that the reasoning ends with."""
    if question.type not in SIZES + DISTANCES or question.form == "yes_no":
        return []
    lengths, found = find_lengths(said), find_lengths(reasoning)
    if not lengths or not found:
        return []
    ending = [f for f in found if f.unit == lengths[-1].unit][-2:]
    if not ending or any(abs(f.metres - lengths[-1].metres) <= f.resolution + lengths[-1].resolution for f in ending):
        return []
    return [Slip(said, f"the reasoning found {length_text(ending[-1].metres, ending[-1].unit)}")]
