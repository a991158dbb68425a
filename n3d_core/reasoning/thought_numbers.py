"""Chains of thought that end in a number, and the pieces that all chains share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations, replies
from n3d_core.reasoning.outcome import compares, fitting_side
from n3d_core.reasoning.question import DISTANCES, Question
from n3d_core.reasoning.relations import ALIKE, MEASURES, as_stated, stated_numbers
from n3d_core.reasoning.resolve import Roles
from n3d_core.reasoning.units import length_text, number_text

COMPARED = {
    "X": "X coordinates of the centers",
    "Y": "Y coordinates of the centers",
    "Z": "Z coordinates of the centers",
    "W": "widths of the boxes",
    "H": "heights of the boxes",
    "L": "lengths of the boxes",
    "V": "volumes of the boxes in liters",
    "T": "thicknesses of the boxes",
}
"""What each measure is called where it is compared."""

EXTENTS = "WHLVT"
"""Measures of a box's size; the others are of its centre."""


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


def measures_of(measure: str, texts: Sequence[str], roles: Roles) -> str:
    """`Z_A = 2.75 for red mug, Z_B = 1.37 for ball.`"""
    pairs = enumerate(zip(texts, roles.names, strict=True))
    return ", ".join(f"{measure}_{roles.letter(i)} = {t} for {name}" for i, (t, name) in pairs) + "."


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
        pairing = compared(variables, texts, leader, rival)
        pair = f"{'max' if largest else 'min'}({variables[leader]}, {variables[rival]})"
        if (float(texts[rival]) > float(texts[leader])) == largest and texts[rival] != texts[leader]:
            leader = rival
        steps.append(f"{pairing}, {pair} = {variables[leader]}")
    return ", ".join(steps)


def in_order(variables: list[str], texts: list[str], order: list[int]) -> str:
    """`Z_A = 0.8 > Z_B = 0.6, Z_B < Z_A`: how each pair compares, then all in an order, up or down."""
    pairs = [compared(variables, texts, i, j) for i, j in combinations(range(len(variables)), 2)]
    ordered = variables[order[0]]
    for i, j in pairwise(order):
        ordered += f" {sign(texts[i], texts[j])} {variables[j]}"
    return ", ".join([*pairs, ordered])


def compared(variables: list[str], texts: list[str], i: int, j: int) -> str:
    """`Z_A = 0.8 > Z_B = 0.6` of two of several variables."""
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


_GROUND_PLANE = (0, 2)  # x and z
_AXES = {"distance": (0, 1, 2), "horizontal_distance": _GROUND_PLANE, "vertical_distance": (1,)}
_SIZE_ORDER = ("width", "height", "length")
_SYMBOLS = {"width": "W", "height": "H", "length": "L", "thickness": "T"}


def length_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """A length, and for yes or no how it compares with the limit."""
    if question.type == "gap":
        steps, variable, value, text = _gap_chain(question, roles)
    elif question.type in DISTANCES:
        steps, variable, value, text = _distance_chain(question, roles, published)
    elif question.type == "volume":
        value = float(measures("V", roles.boxes)[0])
        steps, variable = [bboxes(roles), volumes(roles)], "V_A"
        text = replies.size_answer("volume", roles.names[0], f"{number_text(value)} liters")
    else:
        steps, variable, value, text = _size_chain(question, roles)
    if question.form != "yes_no":
        return steps, text
    limit = (question.limit or 0.0) * (1000.0 if question.type == "volume" else 1.0)
    holds = compares(value, question.predicate, limit)
    steps.append(f"Since {variable} = {number_text(value, 4)} {_sign_of(value, limit)} limit = {limit:g}, {holds}.")
    return steps, replies.truth_answer(holds)


def _sign_of(value: float, limit: float) -> str:
    return sign(number_text(value, 4), f"{limit:g}")


def _size_chain(question: Question, roles: Roles) -> tuple[list[str], str, float, str]:
    """State the box, read the size off it, convert it."""
    metres = _extent(question.type, stated_numbers(roles.boxes[0])[3:])
    name = roles.names[0]
    steps = [bboxes(roles), f"So the {question.type} of {name} is {length_text(metres)}{_converted(metres, question)}."]
    text = replies.size_answer(question.type, name, length_text(metres, question.unit))
    return steps, f"{question.type[0].upper()}_A", metres, text


def _converted(metres: float, question: Question) -> str:
    return "" if question.unit == "m" else f" = {length_text(metres, question.unit)}"


def _gap_chain(question: Question, roles: Roles) -> tuple[list[str], str, float, str]:
    """State the boxes, their gaps along each axis, and the length of those."""
    a, b = roles.boxes
    along, formula, metres = gap_steps(a, b, "AB")
    text = replies.distance_answer("gap", roles.names, length_text(metres, question.unit))
    result = f"gap_AB = {formula} = {metres} meters{_converted(metres, question)}."
    return [bboxes(roles), along, result], "gap_AB", metres, text


def gap_steps(a: Box3D, b: Box3D, letters: str) -> tuple[str, str, float]:
    """The gap along each axis, `X_AB = 0.51 - 0.2 = 0.31, W_AB = 0.18 + 0.15 = 0.33, max(|0.31| - 0.33 / 2, 0) =
    0.145.`, the formula of their length, and that length in metres.

    A small network cannot take the sizes from the distance of the centres in one step.
    """
    lines, parts = [], []
    for i, extent in enumerate("WHL"):
        first, second = stated_numbers(a)[i + 3], stated_numbers(b)[i + 3]
        apart, both = difference(a, b)[i], round(first + second, 2)
        parts.append(round(max(abs(apart) - both / 2, 0.0), 3) + 0.0)
        sizes = f"{extent}_{letters} = {first} + {second} = {both}"
        vector = subtractions(a, b, (i,), letters).removesuffix(".")
        lines.append(f"{vector}, {sizes}, max(|{apart}| - {both} / 2, 0) = {parts[-1]}.")
    return " ".join(lines), length_of(parts), round(math.hypot(*parts), 2)


def _distance_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str, float, str]:
    """State the centres, take their difference, its length, convert it."""
    a, b = roles.boxes
    axes = _AXES[question.type]
    parts = [difference(a, b)[i] for i in axes]
    metres = math.hypot(*parts) if published else round(math.hypot(*parts), 2)
    text = replies.distance_answer(question.type, roles.names, length_text(metres, question.unit))
    if published:
        first, formula = _published_rule(question, roles, parts)
    else:
        first, formula = subtractions(a, b, axes, "AB"), length_of(parts)
    result = f"{question.type}_AB = {formula} = {round(metres, 4)} meters{_converted(metres, question)}."
    if not published:
        return [centers(roles, published), first, result], f"{question.type}_AB", metres, text
    kind = question.type.replace("_", " ")
    steps = [
        f"1. {centers(roles, published)} 2. We can calculate the {kind} as follows:",
        f"Step 1: {first}",
        f"Step 2: Calculate the {kind}: {result}",
    ]
    return steps, f"{question.type}_AB", metres, text


def _published_rule(question: Question, roles: Roles, parts: list[float]) -> tuple[str, str]:
    """The rule with its numbers, and the formula."""
    if question.type == "vertical_distance":
        y_a, y_b = (stated_numbers(box)[1] + 0.0 for box in roles.boxes)
        return f"Compare the Y coordinates of the centers. Y_A = {y_a}, Y_B = {y_b}.", "|Y_A - Y_B|"
    plane = " in the ground plane (x and z)" if question.type == "horizontal_distance" else ""
    rule = f"Calculate the vector from A to B{plane}: vector_AB = B_pos - A_pos = {vector_text(parts)}."
    return rule, root_text(parts)


def direction_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the centres, the vector in the ground plane, its angle, the hour."""
    a, b = roles.boxes
    dx, _, dz = difference(a, b)
    radians = math.atan2(dx, dz)
    degrees = math.degrees(radians)
    normalized = round(degrees % 360.0, 2) % 360.0
    clock = relations.clock_hour(normalized)
    text = replies.direction_answer(roles.names, clock)
    vector = vector_text([dx, dz])
    if not published or question.unit == "deg":
        steps = [
            centers(roles, False),
            subtractions(a, b, _GROUND_PLANE, "AB"),
            f"angle_deg = degrees(atan2{vector}) % 360 = {normalized}.",
        ]
        if question.unit == "deg":
            return steps, replies.bearing_answer(roles.names, normalized)
        return [*steps, f"clock_position = 12 - ({normalized} // 30) = {clock}."], text
    return [
        f"1. {bboxes(roles)} 2. {centers(roles, published)} 3. We can calculate the direction as follows:",
        f"Step 1: Calculate the vector from A to B: vector_AB = B_pos - A_pos = {vector}.",
        "Step 2: Calculate the angle between the vector and the positive z-axis (towards x, left): "
        f"angle_rad = atan2(vector_AB[0], vector_AB[1]) = atan2{vector} = {number_text(radians, 4)} (radians).",
        f"angle_deg = degrees(angle_rad) = {number_text(degrees)} (degrees).",
        "Step 3: Normalize the angle into [0, 360) degrees: "
        f"normalized_angle = (angle_deg + 360) % 360 = {normalized}.",
        "Step 4: Convert the normalized angle to clock position (1 to 12), where each hour corresponds to 30 degrees: "
        f"clock_position = 12 - (normalized_angle // 30) = {float(clock)}. "
        "(If clock_position <= 0, wrap around to get clock_position = 12 + clock_position)",
    ], text


def position_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """The direction from the camera and the distance to it."""
    camera, box = roles.boxes
    steps, _ = direction_chain(question, roles, published=False)
    parts = difference(camera, box)
    metres = round(math.hypot(*parts), 2)
    steps.append(f"distance_AB = {length_of(parts)} = {metres} meters{_converted(metres, question)}.")
    hour = relations.clock_hour(round(relations.direction_degrees(as_stated(camera), as_stated(box)), 2))
    return steps, replies.position_answer(roles.names, length_text(metres, question.unit), hour)


def dimensions_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """The three extents."""
    sizes = stated_numbers(roles.boxes[0])[3:]
    name = roles.names[0]
    pairs = zip(_SIZE_ORDER, sizes, strict=True)
    steps = [f"The {kind} of {name} is {length_text(metres)}{_converted(metres, question)}." for kind, metres in pairs]
    amounts = [length_text(metres, question.unit) for metres in sizes]
    return [bboxes(roles), *steps], replies.dimensions_answer(name, amounts)


def fit_chain(question: Question, roles: Roles, holds: bool) -> tuple[list[str], str]:
    """The extents that decide, sorted where either object may be turned."""
    if question.limit is not None:
        side = fitting_side(question, as_stated(roles.boxes[0]))
        formula = {"grip": "min(W_A, H_A, L_A)", "under": "H_A"}.get(question.predicate, "min(W_A, L_A)")
        compared = f"{formula} = {side} {_sign_of(side, question.limit)} limit = {question.limit:g}"
        return [bboxes(roles), f"Since {compared}, {holds}."], replies.truth_answer(holds)
    if question.predicate == "between":
        return _fit_between(question, roles, holds), replies.truth_answer(holds)
    inner, outer = (sorted(stated_numbers(b)[3:]) for b in roles.boxes)
    pairs = ", ".join(f"{i} {sign(str(i), str(o))} {o}" for i, o in zip(inner, outer, strict=True))
    return [bboxes(roles), f"Since {pairs}, {holds}."], replies.truth_answer(holds)


def _fit_between(question: Question, roles: Roles, holds: bool) -> list[str]:
    a, b, c = (as_stated(box) for box in roles.boxes)
    side, (along, formula, gap) = fitting_side(question, a), gap_steps(b, c, "BC")
    compared = f"min(W_A, L_A) = {side} {sign(str(side), str(gap))} gap_BC"
    return [bboxes(roles), along, f"gap_BC = {formula} = {gap}.", f"Since {compared}, {holds}."]


def alike_step(a: float, b: float) -> str:
    """`|0.47 - 0.41| = 0.06 > max(0.47, 0.41) / 10`: by how much extents differ, and a tenth of the larger one."""
    near = abs(a - b) <= ALIKE * max(a, b)
    return f"|{a} - {b}| = {round(abs(a - b), 4)} {'<=' if near else '>'} max({a}, {b}) / 10"


def same_chain(question: Question, roles: Roles, holds: bool) -> tuple[list[str], str]:
    """By how much extents differ, and a tenth of the larger ones."""
    if question.predicate in ("side", "other_side"):
        return [centers(roles, False)], replies.truth_answer(holds)
    first, second = (stated_numbers(b)[3:] for b in roles.boxes)
    if question.predicate == "dimensions":
        pairs = list(zip(sorted(first), sorted(second), strict=True))
    else:
        pairs = [(_extent(question.predicate, first), _extent(question.predicate, second))]
    compared = [alike_step(a, b) for a, b in pairs]
    return [bboxes(roles), f"Since {', '.join(compared)}, {holds}."], replies.truth_answer(holds)


def proportion_chain(question: Question, roles: Roles, holds: bool) -> tuple[list[str], str]:
    """How two extents of one object, or of two, compare."""
    stated = [stated_numbers(box)[3:] for box in roles.boxes] * 2
    a, b = (_extent(size, numbers) for size, numbers in zip(question.sizes, stated, strict=False))
    letters = "AB" if len(roles) > 1 else "AA"
    names = [f"{_SYMBOLS[size]}_{letter}" for size, letter in zip(question.sizes, letters, strict=True)]
    steps = [bboxes(roles)]
    if question.factor != 1.0:
        times = round(question.factor * b, 4)
        steps.append(f"{round(question.factor, 4):g} * {b} = {times}.")
        names[1], b = f"{round(question.factor, 4):g} * {names[1]}", times
    if question.predicate == "equal":
        compared = alike_step(a, b)
    else:
        compared = f"{names[0]} = {a} {sign(str(a), str(b))} {names[1]} = {b}"
    return [*steps, f"Since {compared}, {holds}."], replies.truth_answer(holds)


def _extent(kind: str, sizes: Sequence[float]) -> float:
    return min(sizes) if kind == "thickness" else sizes[_SIZE_ORDER.index(kind)]
