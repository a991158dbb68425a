"""Chains of thought that end in a number: sizes, distances, clock directions and counts."""

from __future__ import annotations

import math

from n3d_core.reasoning.old import relations
from n3d_core.reasoning.old.chain_parts import (
    bboxes,
    centers,
    difference,
    length_of,
    root_text,
    subtractions,
    vector_text,
)
from n3d_core.reasoning.old.names import plural, singulars
from n3d_core.reasoning.old.question import SIZES, Question
from n3d_core.reasoning.old.relations import stated_numbers
from n3d_core.reasoning.old.roles import Roles
from n3d_core.reasoning.old.sentences import count_answer, direction_answer, distance_answer, size_answer
from n3d_core.reasoning.units import length_text, number_text

_GROUND_PLANE = (0, 2)  # x and z
_AXES = {"distance": (0, 1, 2), "horizontal_distance": _GROUND_PLANE, "vertical_distance": (1,)}


def size_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """State the box, read the size off it, convert it."""
    metres = stated_numbers(roles.boxes[0])[SIZES.index(question.type) + 3]
    name = roles.names[0]
    steps = [bboxes(roles), f"So the {question.type} of {name} is {length_text(metres)}{_converted(metres, question)}."]
    return steps, size_answer(question.type, name, length_text(metres, question.unit))


def _converted(metres: float, question: Question) -> str:
    return "" if question.unit == "m" else f" = {length_text(metres, question.unit)}"


def distance_chain(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
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
        return [centers(roles, published), first, result], text
    kind = question.type.replace("_", " ")
    return [
        f"1. {centers(roles, published)} 2. We can calculate the {kind} as follows:",
        f"Step 1: {first}",
        f"Step 2: Calculate the {kind}: {result}",
    ], text


def _published_rule(question: Question, roles: Roles, parts: list[float]) -> tuple[str, str]:
    """The rule with its numbers, and the formula."""
    if question.type == "vertical_distance":
        y_a, y_b = (stated_numbers(box)[1] + 0.0 for box in roles.boxes)
        return f"Compare the Y coordinates of the centers. Y_A = {y_a}, Y_B = {y_b}.", "|Y_A - Y_B|"
    plane = " in the ground plane (x and z)" if question.type == "horizontal_distance" else ""
    rule = f"Calculate the vector from A to B{plane}: vector_AB = B_pos - A_pos = {vector_text(parts)}."
    return rule, root_text(parts)


def direction_chain(roles: Roles, published: bool) -> tuple[list[str], str]:
    """State the centres, the vector in the ground plane, its angle, the hour."""
    a, b = roles.boxes
    dx, _, dz = difference(a, b)
    radians = math.atan2(dx, dz)
    degrees = math.degrees(radians)
    normalized = round(degrees % 360.0, 2) % 360.0
    clock = relations.clock_hour(normalized)
    text = direction_answer(roles.names, clock)
    vector = vector_text([dx, dz])
    if not published:
        return [
            centers(roles, published),
            subtractions(a, b, _GROUND_PLANE, "AB"),
            f"angle_deg = degrees(atan2{vector}) % 360 = {normalized}.",
            f"clock_position = 12 - ({normalized} // 30) = {clock}.",
        ], text
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


def count_chain(question: Question, roles: Roles) -> tuple[list[str], str]:
    """Number the boxes; the last number is the count."""
    n, kind = len(roles), singulars(question.among)[0]
    listed = ", ".join(f"{name} ({i + 1})" for i, name in enumerate(roles.names))
    found = f"The boxes are {listed}." if n else "There are no boxes."
    return [found, f"So the number of {plural(kind)} is {n}."], count_answer(question.among, n)
