"""Audits a model's answer: reads its reasoning and its answer, and recomputes both from the boxes.

What is checked, all against the boxes as they are and as the prompt states them (2 decimals):

* stated boxes and centres,
* every equation and comparison, each side against the other and against the boxes,
* every claim in words about the objects,
* the answer itself, and that it repeats what the reasoning found.

The verdict is about the **answer**: a right answer with a slip on the way is `verified`, and its reason names the slip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old.answers import Answer, read_answer
from n3d_core.reasoning.old.arithmetic import check_equations
from n3d_core.reasoning.old.boxes_stated import check_enumeration, check_measures, check_stated_boxes
from n3d_core.reasoning.old.claim_checks import FROM_FOUR_DECIMALS, FROM_TWO_DECIMALS, check_claims, check_rules
from n3d_core.reasoning.old.claims import hold_names
from n3d_core.reasoning.old.facts import Facts
from n3d_core.reasoning.old.findings import Finding
from n3d_core.reasoning.old.question import DISTANCES, SIZES, Question
from n3d_core.reasoning.old.reading import read_question
from n3d_core.reasoning.old.relations import as_stated
from n3d_core.reasoning.old.roles import Roles, resolve
from n3d_core.reasoning.old.solving import EQUAL, Value, solve, value_of
from n3d_core.reasoning.units import Length, find_lengths, length_text, to_metres

Outcome = Literal["verified", "contradicted", "unverifiable"]
VERIFIED: Outcome = "verified"
CONTRADICTED: Outcome = "contradicted"
UNVERIFIABLE: Outcome = "unverifiable"

_NAMED = 4  # wrong steps that a reason spells out
_RUN = re.compile(r"\S{200,}")  # what a model may write without end is no step that could be checked
_THINK = re.compile(r"</?think>", re.IGNORECASE)
_HEDGED = 0.1  # "about 0.4 meters" is right within this share
_HEDGE = re.compile(r"\b(?:about|approximately|roughly|nearly|almost|approx)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """The outcome of an audit.

    Attributes:
        verdict: `verified`, `contradicted` or `unverifiable`, about the answer.
        corrected: the right answer in words where it is contradicted, otherwise empty.
        reason: the first step that went wrong, or why nothing can be said; for a right answer the wrong steps on the
            way; empty where all is right.
        findings: every step that the boxes contradict, in the order of the text.
    """

    verdict: Outcome
    corrected: str
    reason: str
    findings: tuple[Finding, ...]


def audit(
    question: str, boxes: Sequence[Box3D], reasoning: str, answer: str, names: Sequence[str] | None = None
) -> Verdict:
    """Judges a model's answer by the boxes that it was given.

    Args:
        question: the question as it was asked.
        boxes: the boxes that the reasoning is about, optical frame.
        reasoning: the chain of thought (with or without `<think>` marks); may be empty.
        answer: the answer after it.
        names: what the prompt called the boxes (`4_chair`), parallel to `boxes`; their labels if None.
    """
    reasoning, answer = _split(reasoning, answer)
    called = tuple(b.label for b in boxes) if names is None else tuple(names)
    read = read_question(question, called)
    if read is None:
        return Verdict(UNVERIFIABLE, "", f"the question {question!r} is of no kind that geometry can answer", ())
    try:
        roles = resolve(read, boxes, called)
    except QueryError as error:
        return Verdict(UNVERIFIABLE, "", str(error), ())
    facts = Facts(read, roles, called, tuple(boxes))
    slips = check_text(reasoning, facts) + _unrepeated(read, reasoning, answer)
    return _verdict(read, roles, answer, slips, check_answer_claims(answer, facts))


def check_text(reasoning: str, facts: Facts) -> list[Finding]:
    """All steps of a reasoning that the boxes contradict, in the order of the text."""
    held, names = hold_names(reasoning, [*facts.called, *facts.question.names, "camera"])
    findings = [
        *check_stated_boxes(held, facts, names),
        *check_measures(held, facts, names),
        *check_enumeration(held, facts, names),
        *check_rules(held, facts),
        *check_equations(held, facts),
        *check_claims(held, facts, names),
    ]
    flat = " ".join(reasoning.split())

    def place(finding: Finding) -> int:
        at = flat.find(_released(finding.step, names))
        return at if at >= 0 else len(flat)

    return sorted((Finding(_released(f.step, names), _released(f.problem, names)) for f in findings), key=place)


def check_answer_claims(answer: str, facts: Facts) -> list[Finding]:
    """Claims of the answer itself that the boxes contradict; it is given in the asked view."""
    held, names = hold_names(answer, [*facts.called, *facts.question.names, "camera"])
    return list(check_claims(held, facts, names, facts.question.opposite))


def _released(text: str, names: dict[str, str]) -> str:
    for holder, name in names.items():
        text = text.replace(holder, name)
    return text


def _split(reasoning: str, answer: str) -> tuple[str, str]:
    """Takes off the marks, runs that nobody can read, and a reasoning that came with the answer."""
    if "</think>" in answer:
        inside, _, answer = answer.rpartition("</think>")
        reasoning = f"{reasoning} {inside}"
    reasoning, answer = (_RUN.sub(" ", _THINK.sub(" ", text)).strip() for text in (reasoning, answer))
    return reasoning, answer


def _verdict(question: Question, roles: Roles, answer: str, slips: list[Finding], false: list[Finding]) -> Verdict:
    """The verdict, from the wrong steps of the reasoning and the false claims of the answer."""
    findings = (*slips, *false)
    said = read_answer(question, roles.names, answer)
    if said is None and not false:
        why = f"the answer {answer!r} cannot be read as {_wanted(question)}"
        return Verdict(UNVERIFIABLE, "", why, findings)
    values = _truths(question, roles)
    if EQUAL in values and said not in values:
        return Verdict(UNVERIFIABLE, "", "the boxes do not tell the objects apart in this", findings)
    if said is not None and not false and any(_agrees(question, said, v, answer) for v in values):
        reason = f"the answer is right, its steps are not: {_named(slips)}" if slips else ""
        return Verdict(VERIFIED, "", reason, findings)
    corrected = solve(question, roles).text
    first = findings[0] if findings else Finding(answer, f"the boxes give: {corrected}")
    return Verdict(CONTRADICTED, corrected, f"{first.problem} (in {first.step!r})", findings or (first,))


def _named(slips: list[Finding]) -> str:
    """What is wrong with the first few steps."""
    more = f"; and {len(slips) - _NAMED} more" if len(slips) > _NAMED else ""
    return "; ".join(slip.problem for slip in slips[:_NAMED]) + more


def _truths(question: Question, roles: Roles) -> list[Value]:
    """The answer by the exact boxes and by the stated ones."""
    stated = Roles(roles.names, tuple(as_stated(b) for b in roles.boxes))
    return [value_of(question, roles), value_of(question, stated)]


def _agrees(question: Question, said: Answer, truth: Value, text: str) -> bool:
    if isinstance(said, Length):
        if isinstance(truth, str | tuple):
            return False
        metres = to_metres(float(truth), question.unit)
        slack = said.resolution + (FROM_FOUR_DECIMALS if said.unit == "m" else FROM_TWO_DECIMALS)
        if _HEDGE.search(text):
            slack = max(slack, _HEDGED * metres)
        return abs(said.metres - metres) <= slack
    return said == truth


def _wanted(question: Question) -> str:
    if question.type in SIZES + DISTANCES:
        return "a length with its unit"
    kinds = {"direction": "an hour from 1 to 12", "count": "a number", "depth_order": "all objects in order"}
    forms = {"yes_no": "yes or no", "choice": "one of the objects", "free": "one of the two relations"}
    return kinds.get(question.type) or forms[question.form]


def _unrepeated(question: Question, reasoning: str, answer: str) -> list[Finding]:
    """A finding if the answer's length is not the one that the reasoning ends with."""
    if question.type not in SIZES + DISTANCES:
        return []
    said, found = find_lengths(answer), find_lengths(reasoning)
    if not said or not found:
        return []
    ending = [f for f in found if f.unit == said[-1].unit][-2:]
    if not ending or any(abs(f.metres - said[-1].metres) <= f.resolution + said[-1].resolution for f in ending):
        return []
    return [Finding(answer, f"the reasoning found {length_text(ending[-1].metres, ending[-1].unit)}")]
