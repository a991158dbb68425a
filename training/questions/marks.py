"""Objects named by a box drawn on the image: the drawing, and the query that speaks of it.

The paper asks about objects by a rectangle on the image where words do not tell them apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.camera import Camera
from training.questions.grounding import SceneObjects
from training.questions.samples import GroundingSample, Mark

MARK_COLORS: dict[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
}
"""RGB of the frames that are drawn."""

MARK_QUERIES = (
    "object in the {color} box",
    "object marked by the {color} box",
    "object highlighted by a {color} box",
    "object inside the {color} rectangle",
    "object in the {color} frame",
    "thing marked with the {color} box",
    "object with the {color} outline",
    "object that the {color} box is drawn around",
)


def draw_marks(color: NDArray[np.uint8], marks: Sequence[Mark]) -> NDArray[np.uint8]:
    """A copy of an RGB image [H, W, 3] with the marks' outlines drawn on it, parts outside the image left out."""
    canvas = np.ascontiguousarray(color).copy()
    width = max(1, round(max(canvas.shape[:2]) / 160))
    for mark in marks:
        left, top, right, bottom = (round(v) for v in mark.rect)
        cv2.rectangle(canvas, (left, top), (right, bottom), MARK_COLORS[mark.color], width)
    return canvas


def marked_samples(scene: SceneObjects, camera: Camera, count: int, seed: int) -> list[GroundingSample]:
    """Up to `count` queries, each about one object with a box drawn around it; each needs its own copy of the image.

    The rectangle is the projection of the object's 3D box, cut at the image's border, its sides moved by up to 4 %, as
    a hand would draw it.
    """
    rng = random.Random(seed)
    found: list[GroundingSample] = []
    for index in rng.sample(scene.groundable, min(count, len(scene.groundable))):
        item = scene.objects[index]
        rect = item.box.image_box(camera)
        if rect is None:
            continue
        left, top, right, bottom = rect
        wide, high = right - left, bottom - top
        shaken = (
            max(left + rng.uniform(-0.04, 0.04) * wide, 0.0),
            max(top + rng.uniform(-0.04, 0.04) * high, 0.0),
            min(right + rng.uniform(-0.04, 0.04) * wide, camera.width - 1.0),
            min(bottom + rng.uniform(-0.04, 0.04) * high, camera.height - 1.0),
        )
        if shaken[2] - shaken[0] < 4 or shaken[3] - shaken[1] < 4:
            continue
        color = rng.choice(list(MARK_COLORS))
        text = rng.choice(MARK_QUERIES).format(color=color)
        found.append(GroundingSample("marked", text, (index,), (item.box.label,), Mark(color, shaken)))
    return found
