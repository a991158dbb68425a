"""Draws a room from above: remembered objects, and the way of the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from n3d_core.display.draw import class_color
from n3d_core.geometry.boxes import OrientedBox

_PIXELS_PER_METRE, _MARGIN_M = 90, 0.7
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (190, 190, 190)


def draw_plan(known: Sequence[tuple[OrientedBox, str]], walked: NDArray[np.float64]) -> NDArray[np.uint8]:
    """RGB [H, W, 3]; x to the right and y up.

    Args:
        known: boxes in the map, each with its state; what is gone is crossed out, what is uncertain has no filling.
        walked: [N, 2] the camera's places, the last of which is marked.
    """
    places = np.concatenate([walked, *(box.corners()[:, :2] for box, _ in known)])
    low, high = places.min(axis=0) - _MARGIN_M, places.max(axis=0) + _MARGIN_M
    width, height = (int(v) for v in np.ceil((high - low) * _PIXELS_PER_METRE))
    image = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)

    def pixel(point: NDArray[np.float64]) -> tuple[float, float]:
        x, y = (point[:2] - low) * _PIXELS_PER_METRE
        return float(x), float(height - y)

    draw.line([pixel(place) for place in walked], fill=_FAINT, width=2)
    for box, state in known:
        corners = np.asarray(box.center) + np.array(
            [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
        ) * np.asarray(box.size) / 2 @ box.rotation.T  # fmt: skip
        ring = [pixel(corner) for corner in corners]
        red, green, blue = (int(255 * v) for v in class_color(box.label))
        color = _FAINT if state == "gone" else (red, green, blue)
        draw.polygon(ring, fill=color if state == "present" else None, outline=color, width=2)
        if state == "gone":
            draw.line([ring[0], ring[2]], fill=color, width=2)
            draw.line([ring[1], ring[3]], fill=color, width=2)
        text = box.label if state == "present" else f"{box.label} ({state})"
        x = sum(p[0] for p in ring) / 4
        draw.text((x, max(p[1] for p in ring) + 2), text, _FAINT if state == "gone" else _INK, font, anchor="ma")
    x, y = pixel(walked[-1])
    draw.ellipse([x - 6, y - 6, x + 6, y + 6], fill=_INK)
    draw.text((x, y + 9), "camera", _INK, font, anchor="ma")
    return np.asarray(image)
