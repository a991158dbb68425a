"""The prompts N3D-VLM was trained on (ChatML), as pieces of text around the image.

The first pass asks for boxes. The second pass repeats the question and states the boxes as text, in the model's frame
(x left, y up, z forward, metres); an image box is `[u, v, width, height]` in fractions of the image: the projected
centre, and the extent of the projected corners. All numbers are rounded to 2 decimals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import EmptyTextError, QueryError, TextTooLongError
from n3d_core.geometry.boxes import Box3D, Vector
from n3d_core.geometry.camera import Camera
from n3d_core.language.structured import CODE_TEMPLATE
from n3d_core.reasoning.relations import rounded_as_numpy, stated_numbers

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
VISION_START, VISION_END, IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

PREFIX = f"{TURN_START}system\n{SYSTEM}{TURN_END}\n{TURN_START}user\n{VISION_START}"
SUFFIX = f"{TURN_END}\n{TURN_START}assistant\n"

REFERENCE = f" The reference code is as followed: {CODE_TEMPLATE}"
ALL_OBJECTS = "all objects"
SEPARATOR = ";"  # between the phrases of one grounding query
MOST_PHRASES = 16
MAX_TEXT = 2000  # characters: longer than any question, shorter than any context

# A full stop ends a sentence at the end or before a new sentence, but not in `0.5`, `vs. the` and `...`. The two code
# points are the Chinese question mark and full stop.
_SENTENCE = re.compile(r".*?(?:[?\uff1f\u3002]|\.(?=\s+[^\sa-z0-9]|\s*$))", re.DOTALL)
_CORNERS = [(x, y, z) for z in (1, -1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Zero width spaces, marks of direction and the like come along with text that is copied from a page. Joiners stay.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_QUOTES = ("''", '""', "``", "\u2018\u2019", "\u201c\u201d", "\u00ab\u00bb", "\u201e\u201c")
_SPECIAL = re.compile(r"<\|([A-Za-z_]{1,40})\|>")


def detect_prompt() -> str:
    """Prompt for every object in the scene."""
    return f"Detect boxes.{REFERENCE}"


def class_prompt(name: str) -> str:
    """Prompt for all objects that a noun phrase names."""
    return f"Identify the 3D boxes for all the '{name}' in this scene.{REFERENCE}"


def locate_prompt(question: str) -> str:
    """Prompt for the first pass of a question: the boxes of the objects it mentions."""
    return f"{question} First locate the bbox of the aforementioned object(s).{REFERENCE}"


def grounding_prompt(text: str) -> str:
    """The prompt of a grounding query: `all objects`, or a noun phrase."""
    return detect_prompt() if text.lower() == ALL_OBJECTS else class_prompt(text)


def harmless(text: str) -> str:
    """Text on one line, trimmed, with special tokens spelled so that the tokenizer reads them as plain text."""
    return " ".join(_SPECIAL.sub(r"< |\1| >", text).split())


def checked_text(text: str, example: str = "name what to look for, for example 'red mug', or 'all objects'") -> str:
    """User text made safe for a prompt, without invisible characters and without quotes around all of it.

    `example` is what to write instead of nothing.

    Raises:
        EmptyTextError, TextTooLongError: if nothing is left, or more than `MAX_TEXT` characters.
        QueryError: if it contains unpaired surrogates, which no tokenizer accepts.
    """
    half = _SURROGATE.search(text)
    if half is not None:
        found = f"U+{ord(half.group()):04X} at {half.start()}"
        raise QueryError(f"the query text has the unpaired surrogate {found}: send valid UTF-8")
    clean = _unquoted(harmless(_INVISIBLE.sub("", _CONTROL.sub(" ", text))))
    if not clean:
        raise EmptyTextError(f"the query text is empty: {example}")
    if len(clean) > MAX_TEXT:
        raise TextTooLongError(f"the query text has {len(clean)} characters; the limit is {MAX_TEXT}")
    return clean


def _unquoted(text: str) -> str:
    """The text without the quotes that a shell or a chat left around it."""
    inside = text[1:-1].strip()
    is_quoted = len(text) > 1 and text[0] + text[-1] in _QUOTES and not {text[0], text[-1]} & set(inside)
    return inside if is_quoted else text


def phrases(text: str) -> list[str]:
    """The phrases of a grounding query, separated by `;` or on lines of their own, each made safe.

    Raises:
        EmptyTextError, TextTooLongError: if there is none, one is too long, or there are more than `MOST_PHRASES`.
    """
    found = [
        checked_text(part) for part in _unquoted(text.strip()).replace("\n", SEPARATOR).split(SEPARATOR) if part.strip()
    ]
    if not found:
        return [checked_text("")]
    if len(found) > MOST_PHRASES:
        raise TextTooLongError(f"the query has {len(found)} phrases; the limit is {MOST_PHRASES}")
    return found


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


def condition_text(names: Sequence[str], boxes_3d: Sequence[list[float]], boxes_2d: Sequence[list[float]]) -> str:
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


def image_box(centre: Vector, size: Vector, fractions: NDArray[np.floating]) -> list[float]:
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


def rounded_image_box(numbers: list[float]) -> list[float]:
    """An image box with 2 decimals."""
    return [rounded_as_numpy(v) for v in numbers]
