"""The ten named colours of the scenes, each a small region of hue, saturation and value."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class _Region:
    hue: tuple[float, float]  # degrees, may be negative
    saturation: tuple[float, float]
    value: tuple[float, float]


_REGIONS = {
    "red": _Region((-5, 6), (0.78, 0.92), (0.68, 0.90)),
    "orange": _Region((22, 30), (0.86, 0.97), (0.92, 1.00)),
    "yellow": _Region((49, 57), (0.78, 0.95), (0.90, 1.00)),
    "green": _Region((105, 145), (0.60, 0.85), (0.45, 0.72)),
    "blue": _Region((212, 234), (0.68, 0.90), (0.62, 0.95)),
    "purple": _Region((270, 288), (0.55, 0.78), (0.48, 0.70)),
    "pink": _Region((325, 345), (0.33, 0.48), (0.94, 1.00)),
    "brown": _Region((18, 28), (0.56, 0.70), (0.30, 0.42)),
    "white": _Region((0, 360), (0.00, 0.04), (0.92, 1.00)),
    "black": _Region((0, 360), (0.00, 0.20), (0.05, 0.12)),
}

COLORS: tuple[str, ...] = tuple(_REGIONS)
"""Names of all colours; a colour's id is its index here."""

_FIXED = {
    "metal": (0.62, 0.63, 0.65),
    "dark": (0.10, 0.10, 0.11),
    "paper": (0.93, 0.92, 0.87),
    "wood": (0.63, 0.47, 0.30),
    "flame": (1.0, 0.80, 0.25),
    "beak": (0.95, 0.55, 0.12),
}


def sample_color(name: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random RGB [3] in 0..1 that a person would call `name`."""
    region = _REGIONS[name]
    hue = rng.uniform(*region.hue) % 360 / 360
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(*region.saturation), rng.uniform(*region.value)))


def tinted(main: NDArray[np.float64], tint: str) -> NDArray[np.float64]:
    """RGB [3] of a part: the `main` colour, a `shade` or `light` of it, or a fixed material ("metal", "wood" …)."""
    if tint == "main":
        return main
    if tint == "shade":
        return main * 0.62 + (0.07 if main.max() < 0.2 else 0.0)
    if tint == "light":
        return main * 0.6 + (0.25 if main.max() < 0.2 else 0.4)
    return np.array(_FIXED[tint])
