"""Procedural textures for floors, walls and tables, muted so that the objects' colours stand out."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

SIZE = 128
_PATTERNS = ("plain", "wood", "tiles", "speckle", "stripes", "cloth")


def sample_texture(rng: np.random.Generator, bright: tuple[float, float] = (0.35, 0.85)) -> NDArray[np.uint8]:
    """A random seamless texture, uint8 RGB [SIZE, SIZE, 3]."""
    pattern = str(rng.choice(_PATTERNS))
    value = rng.uniform(*bright)
    if pattern == "wood":
        base = np.array(colorsys.hsv_to_rgb(rng.uniform(0.06, 0.11), rng.uniform(0.2, 0.45), value))
    else:
        base = np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.0, 0.16), value))
    relief = _relief(pattern, rng) + 0.025 * rng.standard_normal((SIZE, SIZE))
    image = base * (1 + rng.uniform(0.3, 1.0) * relief[..., None])
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _relief(pattern: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Relative brightness [SIZE, SIZE] around 0."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] * (2 * np.pi / SIZE)
    if pattern == "wood":
        planks = int(rng.integers(2, 6))
        tone = rng.uniform(-0.12, 0.12, planks)[(x / (2 * np.pi) * planks).astype(int) % planks]
        wobble = np.sin(y * rng.integers(1, 3) + rng.uniform(0, 6))
        grain = 0.05 * np.sin(x * planks * 4 + 1.5 * wobble) + 0.04 * np.sin(x * planks * 9 + 2.5 * wobble)
        return np.asarray(tone + grain)
    if pattern == "tiles":
        n = int(rng.integers(1, 4))
        grout = np.minimum(np.abs(np.sin(x * n / 2)), np.abs(np.sin(y * n / 2))) < 0.05
        checks = ((np.sin(x * n) * np.sin(y * n)) > 0) * rng.choice([0.0, 0.0, 0.18])
        return np.where(grout, -0.25, checks)
    if pattern == "speckle":
        return 0.10 * rng.standard_normal((SIZE // 2, SIZE // 2)).repeat(2, axis=0).repeat(2, axis=1)
    if pattern == "stripes":
        return np.asarray(0.12 * np.sign(np.sin(x * rng.integers(2, 7))))
    if pattern == "cloth":
        return np.asarray(0.07 * np.sin(x * 24) * np.sin(y * 24) + 0.05 * np.sin(x * 2 + rng.uniform(0, 6)))
    return np.zeros((SIZE, SIZE))
