"""The chain of thought of each question type: state the boxes, state the rule, compute, conclude.

Two styles: `published` has the words of the released model's samples, `compact` the same shape without needless words
(for small models). Both are computed from the numbers that the second pass's prompt states (2 decimals, x left, y up).
Questions of types that the released model does not know have one style.
"""

from __future__ import annotations

import math

from n3d_core.reasoning import relations
from n3d_core.reasoning.outcome import Outcome, compares, fitting_side
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.relations import as_stated, stated_numbers
from n3d_core.reasoning.replies import (
    bearing_answer,
    dimensions_answer,
    direction_answer,
    distance_answer,
    position_answer,
    size_answer,
    truth_answer,
)
from n3d_core.reasoning.resolve import Roles
from n3d_core.reasoning.thought_parts import (
    Style,
    bboxes,
    centers,
    difference,
    length_of,
    measures,
    root_text,
    sign,
    subtractions,
    vector_text,
    volumes,
)
from n3d_core.reasoning.thought_relations import (
    comparison_chain,
    count_chain,
    order_chain,
    place_chain,
    relative_distance_chain,
)
from n3d_core.reasoning.units import length_text, number_text

__all__ = ["Style", "chain_of_thought"]

_GROUND_PLANE = (0, 2)  # x and z
_AXES = {"distance": (0, 1, 2), "horizontal_distance": _GROUND_PLANE, "vertical_distance": (1,)}
_SIZE_ORDER = ("width", "height", "length")


def chain_of_thought(question: Question, outcome: Outcome, style: Style = "compact") -> tuple[list[str], str]:
    """The steps of the reasoning, and the answer's text."""
    published, roles = style == "published", outcome.roles
    if question.type in COMPARISONS:
        return comparison_chain(question, roles, published)
    if question.type in (*SIZES, *DISTANCES):
        return _length_chain(question, roles, published)
    if question.type == "relative_distance":
        return relative_distance_chain(question, roles, published)
    if question.type == "direction":
        return _direction_chain(question, roles, published)
    if question.type == "position":
        return _position_chain(question, roles)
    if question.type == "dimensions":
        return _dimensions_chain(question, roles)
    if question.type in ("count", "exists", "related"):
        return count_chain(question, outcome)
    if question.type == "place":
        return place_chain(question, roles, outcome.value.truth)
    if question.type == "fit":
        return _fit_chain(question, roles, outcome.value.truth)
    return order_chain(question, roles, published)


def _length_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """A length, and for yes or no how it compares with the limit."""
    if question.type == "gap":
        steps, variable, value, text = _gap_chain(question, roles)
    elif question.type in DISTANCES:
        steps, variable, value, text = _distance_chain(question, roles, published)
    elif question.type == "volume":
        value = float(measures("V", roles.boxes)[0])
        steps, variable = [bboxes(roles), volumes(roles)], "V_A"
        text = size_answer("volume", roles.names[0], f"{number_text(value)} liters")
    else:
        steps, variable, value, text = _size_chain(question, roles)
    if question.form != "yes_no":
        return steps, text
    limit = (question.limit or 0.0) * (1000.0 if question.type == "volume" else 1.0)
    holds = compares(value, question.predicate, limit)
    steps.append(f"Since {variable} = {number_text(value, 4)} {_sign_of(value, limit)} limit = {limit:g}, {holds}.")
    return steps, truth_answer(holds)


def _sign_of(value: float, limit: float) -> str:
    return sign(number_text(value, 4), f"{limit:g}")


def _size_chain(question: Question, roles: Roles) -> tuple[list[str], str, float, str]:
    """State the box, read the size off it, convert it."""
    sizes = stated_numbers(roles.boxes[0])[3:]
    metres = min(sizes) if question.type == "thickness" else sizes[_SIZE_ORDER.index(question.type)]
    name = roles.names[0]
    steps = [bboxes(roles), f"So the {question.type} of {name} is {length_text(metres)}{_converted(metres, question)}."]
    text = size_answer(question.type, name, length_text(metres, question.unit))
    return steps, f"{question.type[0].upper()}_A", metres, text


def _converted(metres: float, question: Question) -> str:
    return "" if question.unit == "m" else f" = {length_text(metres, question.unit)}"


def _gap_chain(question: Question, roles: Roles) -> tuple[list[str], str, float, str]:
    """State the boxes, their gaps along each axis, and the length of those."""
    parts = [round(g, 3) + 0.0 for g in relations.gaps(*(as_stated(b) for b in roles.boxes))]
    metres = round(math.hypot(*parts), 2)
    text = distance_answer("gap", roles.names, length_text(metres, question.unit))
    result = f"gap_AB = {length_of(parts)} = {metres} meters{_converted(metres, question)}."
    return [bboxes(roles), f"gaps_AB = {vector_text(parts)}.", result], "gap_AB", metres, text


def _distance_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str, float, str]:
    """State the centres, take their difference, its length, convert it."""
    a, b = roles.boxes
    axes = _AXES[question.type]
    parts = [difference(a, b)[i] for i in axes]
    metres = math.hypot(*parts) if published else round(math.hypot(*parts), 2)
    text = distance_answer(question.type, roles.names, length_text(metres, question.unit))
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


def _direction_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the centres, the vector in the ground plane, its angle, the hour."""
    a, b = roles.boxes
    dx, _, dz = difference(a, b)
    radians = math.atan2(dx, dz)
    degrees = math.degrees(radians)
    normalized = round(degrees % 360.0, 2) % 360.0
    clock = relations.clock_hour(normalized)
    text = direction_answer(roles.names, clock)
    vector = vector_text([dx, dz])
    if not published or question.unit == "deg":
        steps = [
            centers(roles, False),
            subtractions(a, b, _GROUND_PLANE, "AB"),
            f"angle_deg = degrees(atan2{vector}) % 360 = {normalized}.",
        ]
        if question.unit == "deg":
            return steps, bearing_answer(roles.names, normalized)
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


def _position_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """The direction from the camera and the distance to it."""
    camera, box = roles.boxes
    steps, _ = _direction_chain(question, roles, published=False)
    parts = difference(camera, box)
    metres = round(math.hypot(*parts), 2)
    steps.append(f"distance_AB = {length_of(parts)} = {metres} meters{_converted(metres, question)}.")
    hour = relations.clock_hour(round(relations.direction_degrees(as_stated(camera), as_stated(box)), 2))
    return steps, position_answer(roles.names, length_text(metres, question.unit), hour)


def _dimensions_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """The three extents."""
    sizes = stated_numbers(roles.boxes[0])[3:]
    name = roles.names[0]
    pairs = zip(_SIZE_ORDER, sizes, strict=True)
    steps = [f"The {kind} of {name} is {length_text(metres)}{_converted(metres, question)}." for kind, metres in pairs]
    return [bboxes(roles), *steps], dimensions_answer(name, [length_text(metres, question.unit) for metres in sizes])


def _fit_chain(question: Question, roles: Roles, holds: bool) -> tuple[list[str], str]:
    """The extents that decide, sorted where either object may be turned."""
    if question.limit is not None:
        side = fitting_side(question, as_stated(roles.boxes[0]))
        formula = {"grip": "min(W_A, H_A, L_A)", "under": "H_A"}.get(question.predicate, "min(W_A, L_A)")
        compared = f"{formula} = {side} {_sign_of(side, question.limit)} limit = {question.limit:g}"
        return [bboxes(roles), f"Since {compared}, {holds}."], truth_answer(holds)
    inner, outer = (sorted(stated_numbers(b)[3:]) for b in roles.boxes)
    pairs = ", ".join(f"{i} {sign(str(i), str(o))} {o}" for i, o in zip(inner, outer, strict=True))
    return [bboxes(roles), f"Since {pairs}, {holds}."], truth_answer(holds)
