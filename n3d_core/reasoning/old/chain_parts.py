"""Pieces that all chains of thought are made of: stated boxes, stated measures, vectors and roots as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Literal

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old.relations import MEASURES, as_stated, stated_numbers
from n3d_core.reasoning.old.roles import Roles
from n3d_core.reasoning.units import number_text

Style = Literal["published", "compact"]

COMPARED = {
    "X": "X coordinates of the centers",
    "Y": "Y coordinates of the centers",
    "Z": "Z coordinates of the centers",
    "W": "widths of the boxes",
    "H": "heights of the boxes",
    "L": "lengths of the boxes",
    "V": "volumes of the boxes in liters",
}
"""What each measure is called where it is compared."""

OPPOSITE_VIEW = "and we are considering the opposite view, "


def centers(roles: Roles, published: bool) -> str:
    """The centre of each object, one sentence each."""
    word = "3D center coordinate" if published else "3D center"
    pairs = zip(roles.names, roles.boxes, strict=True)
    return " ".join(f"The {word} of {name} is {stated_numbers(box)[:3]}." for name, box in pairs)


def bboxes(roles: Roles) -> str:
    """The box of each object, one sentence each."""
    pairs = zip(roles.names, roles.boxes, strict=True)
    return " ".join(f"The 3D bbox of {name} is {stated_numbers(box)}." for name, box in pairs)


def measures(measure: str, boxes: tuple[Box3D, ...]) -> list[str]:
    """A measure of each box as text with 2 decimals; with 4 where 2 do not tell apart boxes that differ."""
    values = [MEASURES[measure](as_stated(b)) for b in boxes]
    texts = [number_text(v + 0.0 if v == 0 else v) for v in values]
    exact = [MEASURES[measure](b) for b in boxes]
    if len(set(texts)) < len(set(exact)):
        finer = values if len({round(v, 4) for v in values}) == len(set(exact)) else exact
        texts = [number_text(v, 4) for v in finer]
    return texts


def listed_measures(measure: str, roles: Roles) -> str:
    """`Z_A = 2.75, Z_B = 1.37`; volumes with their products."""
    if measure == "V":
        return volumes(roles)
    texts = measures(measure, roles.boxes)
    return ", ".join(f"{measure}_{roles.letter(i)} = {text}" for i, text in enumerate(texts))


def volumes(roles: Roles) -> str:
    """The volume of each object in litres, one product each."""
    lines = []
    for i, (box, text) in enumerate(zip(roles.boxes, measures("V", roles.boxes), strict=True)):
        w, h, length = stated_numbers(box)[3:]
        lines.append(f"V_{roles.letter(i)} = {w} * {h} * {length} * 1000 = {text}.")
    return " ".join(lines)


def sign(first: str, second: str) -> str:
    """`<`, `>` or `=` between two numbers as written."""
    a, b = float(first), float(second)
    return "<" if a < b else ">" if a > b else "="


def ascending(variables: list[str], texts: list[str], order: list[int]) -> str:
    """`Z_B = 0.6 < Z_A = 0.8 < Z_C = 1.1` of variables and their values in an order."""
    parts = []
    for k, i in enumerate(order):
        before = f"{sign(texts[order[k - 1]], texts[i])} " if k else ""
        parts.append(f"{before}{variables[i]} = {texts[i]}")
    return " ".join(parts)


def best(variables: list[str], texts: list[str], largest: bool) -> str:
    """`Z_A = 0.8 > Z_B = 0.6, min(Z_A, Z_B) = Z_B` and so on against each further one: the last is the best.

    A small network cannot choose among several numbers, nor turn a comparison round, in one step.
    """
    steps, leader = [], 0
    for rival in range(1, len(variables)):
        compared = _compared(variables, texts, leader, rival)
        pair = f"{'max' if largest else 'min'}({variables[leader]}, {variables[rival]})"
        if (float(texts[rival]) > float(texts[leader])) == largest and texts[rival] != texts[leader]:
            leader = rival
        steps.append(f"{compared}, {pair} = {variables[leader]}")
    return ", ".join(steps)


def in_order(variables: list[str], texts: list[str], order: list[int]) -> str:
    """`Z_A = 0.8 > Z_B = 0.6, Z_B < Z_A`: how each pair compares, then all in an order, up or down."""
    pairs = [_compared(variables, texts, i, j) for i, j in combinations(range(len(variables)), 2)]
    ordered = variables[order[0]]
    for i, j in pairwise(order):
        ordered += f" {sign(texts[i], texts[j])} {variables[j]}"
    return ", ".join([*pairs, ordered])


def _compared(variables: list[str], texts: list[str], i: int, j: int) -> str:
    return f"{variables[i]} = {texts[i]} {sign(texts[i], texts[j])} {variables[j]} = {texts[j]}"


def difference(a: Box3D, b: Box3D) -> list[float]:
    """From a's stated centre to b's, without negative zeros."""
    pairs = zip(stated_numbers(a)[:3], stated_numbers(b)[:3], strict=True)
    return [round(q - p, 2) + 0.0 for p, q in pairs]


def subtractions(a: Box3D, b: Box3D, axes: Sequence[int], letters: str) -> str:
    """`X_AB = 0.22 - -0.82 = 1.04, Z_AB = 3.33 - 2.89 = 0.44.`: from a's stated centre to b's along axes.

    Axes are 0 (x), 1 (y), 2 (z); `letters` are those of a and b.
    """
    start, end, vector = stated_numbers(a), stated_numbers(b), difference(a, b)
    return ", ".join(f"{'XYZ'[i]}_{letters} = {end[i]} - {start[i]} = {vector[i]}" for i in axes) + "."


def length_of(values: list[float]) -> str:
    """`hypot(1.04, 0.44)`, or `|-0.44|` of one value."""
    return f"hypot{vector_text(values)}" if len(values) > 1 else f"|{values[0]}|"


def vector_text(values: list[float]) -> str:
    """`(5.81, 9.59)`."""
    return "(" + ", ".join(map(repr, values)) + ")"


def root_text(values: list[float]) -> str:
    """`sqrt((-0.2)^2 + 0.05^2)`."""
    return "sqrt(" + " + ".join(f"({v})^2" if v < 0 else f"{v}^2" for v in values) + ")"
