"""Spoils a right answer in one place, so that its meaning changes by construction.

What would leave the text as true as it was is not done in the first place:

* a number moves by three units of its last digit or more, a length by 3 cm or more: less may be another rounding;
* numbers that are squared keep their sign; zeros have none;
* an object gives way to one that its name cannot mean;
* objects change places only where the statement has a direction;
* a quantity gives way to another one only where the two differ.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from n3d_core.reasoning.relations import MEASURES, PREDICATES, as_stated
from n3d_core.reasoning.solve import Solution
from n3d_core.reasoning.units import UNITS, decimals_of, unit_symbol

SIZES = ("width", "height", "length")
KINDS = ("number", "sign", "object", "step", "conclusion")

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_LABELLED = re.compile(
    r"(?:^|(?<= ))\d\.(?= The| We)|Step \d+|\[0, 360\)|\(1 to 12\)|\(If [^)]*\)|corresponds to 30|_AB\[\d\]|AB\[\d\]"
)
_UNIT_AFTER = re.compile(r"\s+([a-z]+)")
_WORD_SWAPS = (
    ("closer to", "farther from"),
    ("is the closest to", "is the farthest from"),
    *((PREDICATES[n].superlative, PREDICATES[PREDICATES[n].converse].superlative) for n in PREDICATES),
)


@dataclass(frozen=True)
class Corrupted:
    """A spoilt reasoning and answer: what kind of change, and the words before and after it."""

    kind: str
    reasoning: str
    answer: str
    before: str
    after: str


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    after: str


def corrupt(solution: Solution, others: Sequence[str], rng: random.Random, kind: str | None = None) -> Corrupted | None:
    """A solution's reply with one place spoilt; None if its text offers no place for any kind.

    Args:
        solution: a right answer with its reasoning.
        others: names of all objects of the scene, to put in the place of the right ones.
        rng: source of chance.
        kind: one of `KINDS`; a random one that the text offers a place for if None.
    """
    split = len(solution.reasoning)
    text = f"{solution.reasoning}\n{solution.text}"
    finders: dict[str, Callable[[], list[_Edit]]] = {
        "number": lambda: _numbers(text, rng),
        "sign": lambda: _signs(text),
        "object": lambda: _objects(text, solution, others),
        "step": lambda: _steps(text, solution),
        "conclusion": lambda: _conclusions(text, split, solution),
    }
    for chosen in [kind] if kind else rng.sample(KINDS, len(KINDS)):
        edits = finders[chosen]()
        if edits:
            edit = rng.choice(edits)
            spoilt = text[: edit.start] + edit.after + text[edit.end :]
            reasoning, answer = spoilt.split("\n")
            return Corrupted(chosen, reasoning, answer, text[edit.start : edit.end], edit.after)
    return None


def _places(text: str) -> list[re.Match[str]]:
    """The numbers of a text that carry meaning: no list marks, no constants of explanations."""
    marks = [m.span() for m in _LABELLED.finditer(text)]
    return [m for m in _NUMBER.finditer(text) if not any(a <= m.start() < b for a, b in marks)]


def _numbers(text: str, rng: random.Random) -> list[_Edit]:
    edits = []
    for match in _places(text):
        digits = [i for i, letter in enumerate(match[0]) if letter.isdigit()]
        for _ in range(6):
            at = rng.choice(digits)
            changed = match[0][:at] + rng.choice("0123456789") + match[0][at + 1 :]
            if abs(float(changed) - float(match[0])) >= _least_change(match, text) - 1e-9:
                edits.append(_Edit(match.start(), match.end(), changed))
                break
    return edits


def _least_change(match: re.Match[str], text: str) -> float:
    """How far a number must move to mean something else; any whole number but a length counts something."""
    after = _UNIT_AFTER.match(text, match.end())
    unit = unit_symbol(after[1]) if after else None
    decimals = decimals_of(match[0])
    least = 3 * 10.0**-decimals if decimals else 1.0
    return max(least, 0.03 / UNITS[unit].metres) if unit else least


def _signs(text: str) -> list[_Edit]:
    edits = []
    for match in _places(text):
        squared = re.match(r"\)?\^2", text[match.end() :]) or re.search(r"hypot\([^()]*$", text[: match.start()])
        in_list = re.match(r"[\])]|, ", text[match.end() :]) and re.search(r"[\[(,] ?$", text[: match.start()])
        if float(match[0]) != 0 and not squared and in_list and "(" not in text[match.end() : match.end() + 1]:
            if re.search(r"\w \($", text[: match.start()]):
                continue  # "mug (1)": the number of an item
            flipped = match[0][1:] if match[0].startswith("-") else f"-{match[0]}"
            edits.append(_Edit(match.start(), match.end(), flipped))
    return edits


def _objects(text: str, solution: Solution, others: Sequence[str]) -> list[_Edit]:
    named = sorted((n for n in dict.fromkeys(solution.roles.names) if n != "camera"), key=len, reverse=True)
    if not named:
        return []
    edits = []
    for match in re.finditer(
        "|".join(rf"(?<![\w/]){re.escape(n)}(?![\w/])(?! calculate| determine)" for n in named), text
    ):
        words = set(match[0].split())
        strangers = [
            o for o in dict.fromkeys([*named, *others]) if not (set(o.split()) <= words or words <= set(o.split()))
        ]
        edits += [_Edit(match.start(), match.end(), o) for o in strangers[:3]]
    return edits


def _steps(text: str, solution: Solution) -> list[_Edit]:
    """Wrong operators, comparisons, quantities, axes and views."""
    boxes = [as_stated(b) for b in solution.roles.boxes]
    flips = {"<": ">", ">": "<"}
    edits = [_Edit(m.start(1), m.end(1), flips[m[1]]) for m in re.finditer(r"[\w.\]] ([<>]) [\w(]", text)]
    # at 12 o'clock nothing is taken from 12
    for before, after in (
        (r"12 (-) \((?![^)]*\) = 12\b)", "+"),
        (r"(?<!\(0\.0) (//) 30", "*"),
        (r"(degrees)\(", "radians"),
        (r"\* (1000)", "10"),
        (r"\b(min)\(", "max"),
        (r"\b(max)\(", "min"),
    ):
        edits += [_Edit(m.start(1), m.end(1), after) for m in re.finditer(before, text)]
    for match in re.finditer(r"(?<!\w)([XYZWH])_([A-Z])(?= = -?\d)", text):
        at = ord(match[2]) - ord("A")
        stated = MEASURES[match[1]](boxes[at])
        for other in "XYZWH":
            if abs(MEASURES[other](boxes[at]) - stated) >= 0.03:
                edits.append(_Edit(match.start(1), match.end(1), other))
    for match in re.finditer(r"Compare the ([XYZ]) coordinates", text):
        edits += [_Edit(match.start(1), match.end(1), other) for other in "XYZ" if other != match[1]]
    view = "and we are considering the opposite view, "
    at = text.find(view)
    if at >= 0:
        edits.append(_Edit(at, at + len(view), ""))
    elif solution.question.type in ("left_right", "front_behind"):
        end = text.rfind(", ", 0, text.find("\n"))
        edits.append(_Edit(end + 2, end + 2, view))
    return edits


def _conclusions(text: str, split: int, solution: Solution) -> list[_Edit]:
    """The last sentence of the reasoning or the answer says the contrary."""
    start = max(text.rfind("Since ", 0, split), text.rfind("So the ", 0, split), 0)
    tail = text[start:]
    edits = []
    for old, new in (("True", "False"), ("False", "True")):
        edits += [_Edit(start + m.start(), start + m.end(), new) for m in re.finditer(rf"\b{old}\b", tail)]
    for p in PREDICATES.values():
        contrary = PREDICATES[p.converse].phrase
        edits += [
            _Edit(start + m.start(1), start + m.end(1), contrary) for m in re.finditer(rf" is ({p.phrase}) ", tail)
        ]
    for old, new in _WORD_SWAPS:
        edits += [_Edit(start + m.start(), start + m.end(), new) for m in re.finditer(rf"\b{old}\b", tail)]
    for match in re.finditer(r"(?<=the )\d+(?= o'clock)|(?<=There is )\d+|(?<=There are )\d+", tail):
        hour = "o'clock" in tail[match.end() : match.end() + 9]
        value = int(match[0]) % 12 + 1 if hour else int(match[0]) + 1
        edits.append(_Edit(start + match.start(), start + match.end(), str(value)))
    edits += _swapped_neighbours(text, split, solution)
    if solution.question.type in SIZES:
        edits += [
            _Edit(split + m.start(), split + m.end(), other)
            for m in re.finditer(rf"\b{solution.question.type}\b", text[split:])
            for other in SIZES
            if other != solution.question.type
        ]
    return edits


def _swapped_neighbours(text: str, split: int, solution: Solution) -> list[_Edit]:
    """Two neighbours of a depth order change places."""
    if solution.question.type != "depth_order":
        return []
    answer = text[split + 1 :]
    mark = " < " if " < " in answer else " > "
    names = answer.split(mark)
    edits = []
    for i in range(len(names) - 1):
        swapped = [*names[:i], names[i + 1], names[i], *names[i + 2 :]]
        edits.append(_Edit(split + 1, len(text), mark.join(swapped)))
    return edits
