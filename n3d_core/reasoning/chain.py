"""The chain of thought of each question type: state the boxes, state the rule, compute, conclude.

Two styles: `published` has the words of the released model's samples, `compact` the same shape without needless words
(for small models). Both are computed from the numbers that the second pass's prompt states (2 decimals, x left, y up).
"""

from __future__ import annotations

import math
from typing import Literal

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.names import plural, singulars
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.relations import MEASURES, PREDICATES, as_stated, stated_numbers
from n3d_core.reasoning.roles import Roles
from n3d_core.reasoning.units import length_text, number_text

Style = Literal["published", "compact"]

_RELATIONSHIP = {
    "left_right": "left-right",
    "front_behind": "front-behind",
    "above_below": "above-below",
    "wide_thin": "wide-thin",
    "tall_short": "tall-short",
    "big_small": "big-small",
}
_COMPARED = {
    "X": "X coordinates of the centers",
    "Y": "Y coordinates of the centers",
    "Z": "Z coordinates of the centers",
    "W": "widths of the boxes",
    "H": "heights of the boxes",
    "L": "lengths of the boxes",
    "V": "volumes of the boxes in liters",
}
_OPPOSITE = "and we are considering the opposite view, "
_KIND = {"distance": "distance", "vertical_distance": "vertical distance", "horizontal_distance": "horizontal distance"}


def chain_of_thought(question: Question, roles: Roles, style: Style = "compact") -> tuple[list[str], str]:
    """The steps of the reasoning and the answer's text; see the module's text for the styles."""
    published = style == "published"
    if question.type in COMPARISONS:
        return _comparison(question, roles, published)
    if question.type in SIZES:
        return _size(question, roles)
    if question.type in DISTANCES:
        return _distance(question, roles, published)
    if question.type == "direction":
        return _direction(roles, published)
    if question.type == "count":
        return _count(question, roles)
    if question.type == "relative_distance":
        return _relative_distance(question, roles, published)
    return _many(question, roles, published)


def _centers(roles: Roles, published: bool) -> str:
    word = "3D center coordinate" if published else "3D center"
    return " ".join(
        f"The {word} of {n} is {stated_numbers(b)[:3]}." for n, b in zip(roles.names, roles.boxes, strict=True)
    )


def _bboxes(roles: Roles) -> str:
    return " ".join(
        f"The 3D bbox of {n} is {stated_numbers(b)}." for n, b in zip(roles.names, roles.boxes, strict=True)
    )


def _stated(measure: str, box: Box3D) -> float:
    return MEASURES[measure](as_stated(box))


def _texts(measure: str, boxes: tuple[Box3D, ...]) -> list[str]:
    """The measures as texts of 2 decimals; with 4 where 2 do not tell boxes apart that differ."""
    values = [_stated(measure, b) for b in boxes]
    texts = [number_text(v + 0.0 if v == 0 else v) for v in values]
    exact = [MEASURES[measure](b) for b in boxes]
    if len(set(texts)) < len(set(exact)):
        finer = values if len({round(v, 4) for v in values}) == len(set(exact)) else exact
        texts = [number_text(v, 4) for v in finer]
    return texts


def _sign(first: str, second: str) -> str:
    a, b = float(first), float(second)
    return "<" if a < b else ">" if a > b else "="


def _comparison(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    p = PREDICATES[question.predicate]
    (a, b), (name_a, name_b) = roles.boxes, roles.names
    texts = _texts(p.measure, roles.boxes)
    gain = relations.advantage(question.predicate, a, b, question.opposite)
    view = _OPPOSITE if question.opposite and p.measure in "XZ" else ""
    since = f"Since {p.measure}_A = {texts[0]} {_sign(*texts)} {p.measure}_B = {texts[1]}, {view}"
    if gain == 0:
        claim = f"{name_a} is not {p.phrase} {name_b}"
        tie = f"{name_a} and {name_b} are equal in this."
        return [
            _stating(p.measure, roles, texts, published, p.type),
            f"{since}{claim}.",
        ], "That is False." if question.form == "yes_no" else tie
    if question.form == "choice":
        winner, loser = (name_a, name_b) if gain > 0 else (name_b, name_a)
        claim = f"{winner} is {p.phrase} {loser}"
    else:
        claim = f"{name_a} is {p.phrase if gain > 0 else PREDICATES[p.converse].phrase} {name_b}"
    steps = [_stating(p.measure, roles, texts, published, p.type)]
    if published:
        short = p.phrase.removesuffix(" than")
        steps.append(f"Step 2: Determine if {name_a} is {short} or {PREDICATES[p.converse].phrase} {name_b}.")
    steps.append(f"{since}{claim}.")
    return steps, (f"That is {gain > 0}." if question.form == "yes_no" else f"{claim}.")


def _stating(measure: str, roles: Roles, texts: list[str], published: bool, kind: str) -> str:
    """The boxes or centres, and for volumes and the published style the measures."""
    stated = _bboxes(roles) if measure in "WHLV" else _centers(roles, published)
    volumes = _volumes(roles) if measure == "V" else ""
    if not published:
        return f"{stated} {volumes}".strip()
    listed = volumes or ", ".join(f"{measure}_{roles.letter(i)} = {t}" for i, t in enumerate(texts))
    return (
        f"1. {stated} 2. We can determine the {_RELATIONSHIP[kind]} relationship as follows: "
        f"Step 1: Compare the {_COMPARED[measure]}. {listed}"
    )


def _volumes(roles: Roles) -> str:
    lines = []
    for i, (box, text) in enumerate(zip(roles.boxes, _texts("V", roles.boxes), strict=True)):
        w, h, length = stated_numbers(box)[3:]
        lines.append(f"V_{roles.letter(i)} = {w} * {h} * {length} * 1000 = {text}.")
    return " ".join(lines)


def _size(question: Question, roles: Roles) -> tuple[list[str], str]:
    index = SIZES.index(question.type) + 3
    metres = stated_numbers(roles.boxes[0])[index]
    name = roles.names[0]
    converted = "" if question.unit == "m" else f" = {length_text(metres, question.unit)}"
    steps = [_bboxes(roles), f"So the {question.type} of {name} is {length_text(metres)}{converted}."]
    return steps, f"{name} is {length_text(metres, question.unit)} in {question.type}."


def _difference(a: Box3D, b: Box3D) -> list[float]:
    """b - a of the stated centres, without negative zeros."""
    pairs = zip(stated_numbers(a)[:3], stated_numbers(b)[:3], strict=True)
    return [round(q - p, 2) + 0.0 for p, q in pairs]


def _tuple(values: list[float]) -> str:
    return "(" + ", ".join(map(repr, values)) + ")"


def _root(values: list[float]) -> str:
    return "sqrt(" + " + ".join(f"({v})^2" if v < 0 else f"{v}^2" for v in values) + ")"


def _distance(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    a, b = roles.boxes
    kind = _KIND[question.type]
    difference = _difference(a, b)
    variable = f"{question.type}_AB"
    if question.type == "vertical_distance":
        y_a, y_b = (stated_numbers(box)[1] + 0.0 for box in (a, b))
        metres = abs(round(y_b - y_a, 2))
        rule, formula = f"Y_A = {y_a}, Y_B = {y_b}.", f"{variable} = |Y_A - Y_B|"
    else:
        parts = difference if question.type == "distance" else [difference[0], difference[2]]
        metres = math.hypot(*parts)
        from_to = "B_pos - A_pos = " if published else ""
        rule, formula = (
            f"vector_AB = {from_to}{_tuple(parts)}.",
            f"{variable} = {_root(parts) if published else '|vector_AB|'}",
        )
    metres = metres if published else round(metres, 2)
    shown = round(metres, 4)
    converted = "" if question.unit == "m" else f" = {length_text(metres, question.unit)}"
    result = f"{formula} = {shown} meters{converted}."
    text = f"The {kind} between {roles.names[0]} and {roles.names[1]} is {length_text(metres, question.unit)}."
    if not published:
        return [_centers(roles, published), rule, result], text
    plane = " in the ground plane (x and z)" if question.type == "horizontal_distance" else ""
    first = (
        "Compare the Y coordinates of the centers."
        if question.type == "vertical_distance"
        else f"Calculate the vector from A to B{plane}:"
    )
    steps = [
        f"1. {_centers(roles, published)} 2. We can calculate the {kind} as follows:",
        f"Step 1: {first} {rule}",
        f"Step 2: Calculate the {kind}: {result}",
    ]
    return steps, text


def _direction(roles: Roles, published: bool) -> tuple[list[str], str]:
    dx, _, dz = _difference(*roles.boxes)
    radians = math.atan2(dx, dz)
    degrees = math.degrees(radians)
    normalized = round(degrees % 360.0, 2) % 360.0
    clock = relations.clock_hour(normalized)
    text = f"{roles.names[0]} will find {roles.names[1]} around the {clock} o'clock direction."
    vector = _tuple([dx, dz])
    if not published:
        return [
            _centers(roles, published),
            f"vector_AB = {vector}.",
            f"angle_deg = degrees(atan2{vector}) % 360 = {normalized}.",
            f"clock_position = 12 - ({normalized} // 30) = {clock}.",
        ], text
    return [
        f"1. {_bboxes(roles)} 2. {_centers(roles, published)} 3. We can calculate the direction as follows:",
        f"Step 1: Calculate the vector from A to B: vector_AB = B_pos - A_pos = {vector}.",
        "Step 2: Calculate the angle between the vector and the positive z-axis (towards x, left): "
        f"angle_rad = atan2(vector_AB[0], vector_AB[1]) = atan2{vector} = {number_text(radians, 4)} (radians).",
        f"angle_deg = degrees(angle_rad) = {number_text(degrees)} (degrees).",
        f"Step 3: Normalize the angle into [0, 360) degrees: normalized_angle = (angle_deg + 360) % 360 = {normalized}.",
        "Step 4: Convert the normalized angle to clock position (1 to 12), where each hour corresponds to 30 degrees: "
        f"clock_position = 12 - (normalized_angle // 30) = {float(clock)}. "
        "(If clock_position <= 0, wrap around to get clock_position = 12 + clock_position)",
    ], text


def _count(question: Question, roles: Roles) -> tuple[list[str], str]:
    n, kind = len(roles), singulars(question.among)[0]
    noun = kind if n == 1 else plural(kind)
    listed = ", ".join(f"{name} ({i + 1})" for i, name in enumerate(roles.names))
    found = f"The boxes are {listed}." if n else "There are no boxes."
    text = f"There is 1 {noun}." if n == 1 else f"There are {n} {noun}."
    return [found, f"So the number of {plural(kind)} is {n}."], text


def _relative_distance(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    anchor, *rest = roles.boxes
    farther = question.predicate == "farther"
    lines, texts = _distances(roles, published)
    order = sorted(range(len(rest)), key=lambda i: (float(texts[i]), relations.distance(anchor, rest[i])))
    signs = "".join(
        f"{'' if k == 0 else _sign(texts[order[k - 1]], texts[i])} distance_A{roles.letter(i + 1)} = {texts[i]} "
        for k, i in enumerate(order)
    ).strip()
    near, far = roles.names[1 + order[0]], roles.names[1 + order[-1]]
    name = roles.names[0]
    if len(rest) == 2:
        claim = (
            f"{name} is farther from {far} than from {near}" if farther else f"{name} is closer to {near} than to {far}"
        )
    else:
        claim = f"{far} is the farthest from {name}" if farther else f"{near} is the closest to {name}"
    steps = [_centers(roles, published), *lines, f"Since {signs}, {claim}."]
    if published:
        steps[0] = (
            f"1. {steps[0]} 2. We can determine the relative distance as follows: Step 1: Calculate the distances of the centers."
        )
        steps[-1] = f"Step 2: Compare the distances. {steps[-1]}"
    if question.form != "yes_no":
        return steps, f"{claim}."
    first, second = (float(t) for t in texts)
    return steps, f"That is {first > second if farther else first < second}."


def _distances(roles: Roles, published: bool) -> tuple[list[str], list[str]]:
    """The line that computes each distance from A, and the distances' texts (more decimals where they are equal)."""
    anchor, *rest = roles.boxes
    differences = [_difference(anchor, box) for box in rest]
    decimals = 4 if published else 2
    if len({round(math.hypot(*d), decimals) for d in differences}) < len(differences):
        decimals = 4
    texts = [number_text(math.hypot(*d), decimals) for d in differences]
    lines = []
    for i, (d, text) in enumerate(zip(differences, texts, strict=True)):
        pair = f"A{roles.letter(i + 1)}"
        if published:
            lines.append(f"distance_{pair} = {_root(d)} = {text}.")
        else:
            lines.append(f"vector_{pair} = {_tuple(d)}. distance_{pair} = |vector_{pair}| = {text}.")
    return lines, texts


def _many(question: Question, roles: Roles, published: bool) -> tuple[list[str], str]:
    """Depth orders and the extreme of several."""
    p = PREDICATES[question.predicate]
    texts = _texts(p.measure, roles.boxes)
    order = sorted(range(len(roles)), key=lambda i: MEASURES[p.measure](roles.boxes[i]))
    signs = "".join(
        f"{'' if k == 0 else _sign(texts[order[k - 1]], texts[i])} {p.measure}_{roles.letter(i)} = {texts[i]} "
        for k, i in enumerate(order)
    ).strip()
    if question.type == "depth_order":
        mark = " < " if p.sign < 0 else " > "
        claim = mark.join(roles.names[i] for i in (order if p.sign < 0 else reversed(order)))
        text = claim
    else:
        flip = question.opposite and p.measure in "XZ"
        winner = order[-1] if (p.sign > 0) != flip else order[0]
        view = _OPPOSITE if flip else ""
        claim, text = (
            f"{view}{roles.names[winner]} is the {p.superlative}",
            f"{roles.names[winner]} is the {p.superlative}.",
        )
    if published:
        stated = _bboxes(roles) if p.measure in "WHLV" else _centers(roles, published)
        listed = (
            _volumes(roles)
            if p.measure == "V"
            else ", ".join(f"{p.measure}_{roles.letter(i)} = {t}" for i, t in enumerate(texts))
        )
        return [
            f"1. {stated} 2. We can determine the order as follows: Step 1: Compare the {_COMPARED[p.measure]}. {listed}",
            f"Step 2: Sort from small to large. Since {signs}, {claim}.",
        ], text
    if p.measure == "V":
        stated = f"{_bboxes(roles)} {_volumes(roles)}"
    else:
        stated = (
            ", ".join(
                f"{p.measure}_{roles.letter(i)} = {t} for {n}"
                for i, (t, n) in enumerate(zip(texts, roles.names, strict=True))
            )
            + "."
        )
    return [stated, f"Since {signs}, {claim}."], text
