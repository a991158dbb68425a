"""Boxes as text for the second pass: what a reasoning prompt says about the objects in its question.

Numbers are in the model's frame (x left, y up, z forward, metres). An image box is `[u, v, width, height]` in fractions
of the image: the projected centre, and the extent of the projected corners. All are rounded to 2 decimals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D, Vector
from n3d_core.geometry.camera import Camera
from n3d_core.language.prompts import harmless
from n3d_core.reasoning.relations import rounded_as_numpy, stated_numbers

Numbers = list[float]

# A full stop ends a sentence at the end or before a new sentence, but not in `0.5`, `vs. the` and `...`. The two code
# points are the Chinese question mark and full stop.
_SENTENCE = re.compile(r".*?(?:[?\uff1f\u3002]|\.(?=\s+[^\sa-z0-9]|\s*$))", re.DOTALL)
_CORNERS = [(x, y, z) for z in (1, -1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def first_sentence(question: str) -> str:
    """A question up to its first question mark or full stop; all of it if there is none."""
    match = _SENTENCE.match(question)
    return match.group() if match else question


def numbered_names(boxes: Sequence[Box3D]) -> list[str]:
    """`0_chair`, `1_green mug`, …: how a question names boxes found before."""
    return [f"{index}_{harmless(box.label)}" for index, box in enumerate(boxes)]


def condition_names(boxes: Sequence[Box3D]) -> list[str]:
    """Names in a condition for boxes found for its question: bare labels if there are up to three different ones."""
    plain = len(boxes) <= 3 and len({box.label for box in boxes}) == len(boxes)
    return [harmless(box.label) for box in boxes] if plain else numbered_names(boxes)


def mentioned(question: str, names: Sequence[str]) -> list[int]:
    """Indices of the names in a question, once each and in the question's order.

    Longer names are matched first, so that `1_green mug` is not read as `1_green`. The text around a name does not
    matter: `0_chair and 1_orange/tangerine` mentions both.
    """
    text = " ".join(question.split()).lower()
    found: list[tuple[int, int]] = []
    for index, name in sorted(enumerate(names), key=lambda item: -len(item[1])):
        for match in re.finditer(rf"(?<!\w){re.escape(name.lower())}(?!\w)", text):
            found.append((match.start(), index))
            text = text[: match.start()] + "\0" * len(match.group()) + text[match.end() :]
    return list(dict.fromkeys(index for _, index in sorted(found)))


def scene_condition(boxes: Sequence[Box3D], camera: Camera, names: Sequence[str]) -> str:
    """The text behind the question in the second pass; empty without boxes.

    Args:
        boxes: in the optical frame.
        camera: the camera that sees them.
        names: the boxes' names in the condition.

    Raises:
        QueryError: if a box is behind the camera.
    """
    boxes_3d, boxes_2d = [], []
    for box, name in zip(boxes, names, strict=True):
        x, y, z = box.center
        if not z > 0:
            raise QueryError(f"box {name!r} is behind the camera (z = {z:.3g} m): ask about boxes that are in view")
        boxes_3d.append(stated_numbers(box))
        boxes_2d.append(rounded_image_box(image_box((-x, -y, z), box.size, camera.fractions)))
    return condition_text(names, boxes_3d, boxes_2d)


def condition_text(names: Sequence[str], boxes_3d: Sequence[Numbers], boxes_2d: Sequence[Numbers]) -> str:
    """The sentences, in the four forms that the model was trained on: one, two, three, and more boxes."""
    kinds = (("3D", boxes_3d), ("2D", boxes_2d))
    if not names:
        return ""
    if len(names) <= 2:
        said = [f"The {kind} bbox of {n} is {b}." for kind, boxes in kinds for n, b in zip(names, boxes, strict=True)]
    elif len(names) == 3:
        said = [
            f"The {kind} bbox of {names[0]}, {names[1]} and {names[2]} is {boxes[0]}, {boxes[1]} and {boxes[2]}."
            for kind, boxes in kinds
        ]
    else:
        said = [f"The {kind} bbox of {list(names)} is {list(boxes)}." for kind, boxes in kinds]
    return f" {' '.join(said)} "


def image_box(centre: Vector, size: Vector, fractions: NDArray[np.floating]) -> Numbers:
    """[u, v, width, height] of a box in the model's frame, with intrinsics in fractions of the image.

    Corners behind the camera are ignored; the box is not clipped to the image.

    Raises:
        QueryError: if all corners are behind the camera, or the centre is in its plane.
    """
    seen = np.array([project(corner, fractions) for corner in corners(centre, size) if corner[2] > 0])
    if len(seen) == 0 or centre[2] == 0:
        raise QueryError(f"a box at z = {centre[2]:.3g} m cannot be projected: it must be in front of the camera")
    extent = seen.max(axis=0) - seen.min(axis=0)
    return [*project(centre, fractions), float(extent[0]), float(extent[1])]


def corners(centre: Vector, size: Vector) -> list[Vector]:
    """The eight corners of a box, the far face first."""
    (x, y, z), (width, height, length) = centre, size
    return [(x + i * width / 2, y + j * height / 2, z + k * length / 2) for i, j, k in _CORNERS]


def project(point: Vector, fractions: NDArray[np.floating]) -> tuple[float, float]:
    """(u, v) of a point in the model's frame, in fractions of the image."""
    x, y, z = fractions @ np.array([-point[0], -point[1], point[2]])
    return float(x / z), float(y / z)


def rounded_image_box(numbers: Numbers) -> Numbers:
    """An image box with 2 decimals."""
    return [rounded_as_numpy(v) for v in numbers]
