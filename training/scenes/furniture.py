"""Objects that stand on a floor, composed of parts with random proportions (z up, around the origin, metres)."""

from __future__ import annotations

import numpy as np

from training.scenes import tableware
from training.scenes.parts import Part, bent_rod, box, cylinder, lathe, pillow, rod, sphere

Rng = np.random.Generator


def chair(rng: Rng) -> list[Part]:
    w, d, h = rng.uniform(0.38, 0.48), rng.uniform(0.38, 0.46), rng.uniform(0.42, 0.48)
    back, t = rng.uniform(0.38, 0.52), rng.uniform(0.03, 0.06)
    leg = str(rng.choice(["main", "wood", "metal"]))
    x, y = w / 2 - 0.03, d / 2 - 0.03
    legs = [box((0.04, 0.04, h - t), (sx * x, sy * y, (h - t) / 2), leg) for sx in (-1, 1) for sy in (-1, 1)]
    seat = box((w, d, t), (0, 0, h - t / 2))
    if rng.random() < 0.5:
        return [seat, *legs, box((w, 0.035, back), (0, d / 2 - 0.018, h + back / 2))]
    rails = [box((w, 0.03, back * 0.22), (0, d / 2 - 0.018, h + back * f)) for f in (0.45, 0.89)]
    posts = [box((0.045, 0.04, back), (s * (w / 2 - 0.022), d / 2 - 0.018, h + back / 2)) for s in (-1, 1)]
    return [seat, *legs, *rails, *posts]


def stool(rng: Rng) -> list[Part]:
    r, h, t = rng.uniform(0.15, 0.20), rng.uniform(0.42, 0.68), rng.uniform(0.035, 0.070)
    count, leg = int(rng.integers(3, 5)), str(rng.choice(["main", "wood", "metal"]))
    turns = np.arange(count) * 2 * np.pi / count
    feet = [(r * 1.05 * np.cos(a), r * 1.05 * np.sin(a), 0.014) for a in turns]
    tops = [(r * 0.65 * np.cos(a), r * 0.65 * np.sin(a), h - t) for a in turns]
    return [cylinder(r, t, (0, 0, h - t / 2)), *[rod(a, b, 0.016, leg) for a, b in zip(feet, tops, strict=True)]]


def suitcase(rng: Rng) -> list[Part]:
    w, d, h, lift = rng.uniform(0.36, 0.48), rng.uniform(0.20, 0.28), rng.uniform(0.50, 0.66), 0.05
    grip = rng.uniform(0.16, 0.32)
    top = lift + h
    ridges = [box((0.03, d + 0.012, h * 0.9), (x * w, 0, lift + h / 2), "shade") for x in (-0.28, 0, 0.28)]
    wheels = [sphere(0.03, (x * (w / 2 - 0.04), y * (d / 2 - 0.04), 0.03), "dark") for x in (-1, 1) for y in (-1, 1)]
    handle = bent_rod(
        [(-0.09, 0.05, top - 0.02), (-0.09, 0.05, top + grip), (0.09, 0.05, top + grip), (0.09, 0.05, top - 0.02)],
        0.012,
        "dark",
    )
    return [box((w, d, h), (0, 0, lift + h / 2)), *ridges, *wheels, *handle]


def shelf(rng: Rng) -> list[Part]:
    w, d, h, t = rng.uniform(0.55, 0.85), rng.uniform(0.24, 0.34), rng.uniform(0.80, 1.40), 0.03
    levels = int(rng.integers(3, 6))
    boards = [box((w, d, t), (0, 0, z)) for z in np.linspace(t / 2 + 0.04, h - t / 2, levels)]
    sides = [box((t, d, h), (s * (w / 2 - t / 2), 0, h / 2)) for s in (-1, 1)]
    back = [box((w, 0.012, h - 0.05), (0, d / 2 - 0.006, h / 2 + 0.02), "shade")] if rng.random() < 0.7 else []
    return [*boards, *sides, *back]


def bin_(rng: Rng) -> list[Part]:
    """A tall waste bin with a dark dome lid."""
    r, h = rng.uniform(0.13, 0.18), rng.uniform(0.38, 0.60)
    foot = r * rng.uniform(0.74, 0.90)
    body = lathe([(0, 0), (foot, 0), (r, h), (0, h)])
    rim = r * 1.05
    lid = lathe(
        [(0, h), (rim, h), (rim, h + 0.03), (0.75 * r, h + 0.35 * r), (0.3 * r, h + 0.45 * r), (0, h + 0.45 * r)],
        "dark",
    )
    return [body, lid]


def bucket(rng: Rng) -> list[Part]:
    r, h, wall = rng.uniform(0.13, 0.17), rng.uniform(0.22, 0.30), 0.008
    foot = 0.72 * r
    body = lathe([(0, 0), (foot, 0), (r, h), (r - wall, h), (foot - wall, wall), (0, wall)])
    lean = rng.uniform(-0.4, 0.4)
    angles = np.linspace(0, np.pi, 9)
    handle = [(r * np.cos(a), r * np.sin(a) * np.sin(lean), h - 0.01 + r * np.sin(a) * np.cos(lean)) for a in angles]
    return [body, *bent_rod(handle, 0.009, "metal")]


def cushion(rng: Rng) -> list[Part]:
    side = rng.uniform(0.36, 0.52)
    return [pillow(side, side * rng.uniform(0.75, 1.0), rng.uniform(0.12, 0.20))]


def floor_ball(rng: Rng) -> list[Part]:
    r = rng.uniform(0.10, 0.22)
    return [sphere(r, (0, 0, r))]


def floor_carton(rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.28, 0.65), rng.uniform(0.25, 0.48), rng.uniform(0.20, 0.55)
    tape = min(x, y) * 0.18
    return [box((x, y, z), (0, 0, z / 2)), box((x + 0.004, tape, z * 0.5 + 0.002), (0, 0, z * 0.75), "paper")]


def floor_lamp(rng: Rng) -> list[Part]:
    return tableware.lamp(rng, rng.uniform(1.1, 1.5))


def floor_cone(rng: Rng) -> list[Part]:
    return tableware.traffic_cone(rng, rng.uniform(0.40, 0.70))
