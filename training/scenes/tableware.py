"""Objects of a tabletop, composed of parts with random proportions (z up, standing around the origin, metres)."""

from __future__ import annotations

import numpy as np

from training.scenes.parts import Part, about, bent_rod, box, cylinder, ellipsoid, lathe, rod, sphere

Rng = np.random.Generator


def mug(rng: Rng) -> list[Part]:
    r, h, wall = rng.uniform(0.036, 0.050), rng.uniform(0.085, 0.125), 0.005
    body = lathe([(0, 0), (r * 0.94, 0), (r, h * 0.1), (r, h), (r - wall, h), (r - wall, 0.012), (0, 0.012)])
    angles = np.radians(np.linspace(75, -75, 6))
    reach = rng.uniform(0.26, 0.36) * h
    handle = [(r - 0.004 + 0.9 * reach * np.cos(a), 0, h * 0.52 + reach * np.sin(a)) for a in angles]
    return [body, *bent_rod(handle, rng.uniform(0.006, 0.009))]


def bottle(rng: Rng) -> list[Part]:
    r, h, neck = rng.uniform(0.030, 0.045), rng.uniform(0.20, 0.31), rng.uniform(0.012, 0.016)
    shoulder = rng.uniform(0.55, 0.68) * h
    top = shoulder + rng.uniform(0.14, 0.20) * h
    body = lathe([(0, 0), (r, 0), (r, shoulder), (r * 0.75, (shoulder + top) / 2), (neck, top), (neck, h), (0, h)])
    cap = rng.choice(["dark", "paper", "shade"])
    return [body, cylinder(neck * 1.25, h * 0.07, (0, 0, h * 0.97), str(cap))]


def can(rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.031, 0.045), rng.uniform(0.095, 0.155)
    rim = 0.006
    return [
        cylinder(r, h - 2 * rim, (0, 0, h / 2)),
        cylinder(r * 0.93, rim, (0, 0, rim / 2), "metal"),
        cylinder(r * 0.93, rim, (0, 0, h - rim / 2), "metal"),
    ]


def ball(rng: Rng) -> list[Part]:
    r = rng.uniform(0.030, 0.085)
    return [sphere(r, (0, 0, r))]


def carton(rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.07, 0.24), rng.uniform(0.06, 0.17), rng.uniform(0.06, 0.22)
    tape = min(x, y) * 0.22
    return [box((x, y, z), (0, 0, z / 2)), box((x + 0.002, tape, z * 0.5 + 0.001), (0, 0, z * 0.75), "paper")]


def bowl(rng: Rng) -> list[Part]:
    r, h, wall = rng.uniform(0.065, 0.115), rng.uniform(0.050, 0.085), 0.006
    a = np.radians(np.linspace(12, 90, 6))
    outer = [(0.35 * r, 0.0)] + [(r * np.sin(t) ** 0.8, h * (1 - np.cos(t))) for t in a[1:]]
    inner = [((r - wall) * np.sin(t) ** 0.8, wall + (h - wall) * (1 - np.cos(t))) for t in a[:0:-1]]
    return [lathe([(0, 0), *outer, *inner, (0, wall)])]


def plate(rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.090, 0.140), rng.uniform(0.016, 0.026)
    disc = lathe([(0, 0), (0.6 * r, 0), (r, h * 0.8), (r, h), (0.66 * r, h * 0.35), (0, h * 0.35)])
    return [disc, cylinder(0.5 * r, 0.002, (0, 0, h * 0.35), "light")]


def book(rng: Rng) -> list[Part]:
    w, d, h, cover = rng.uniform(0.13, 0.19), rng.uniform(0.19, 0.26), rng.uniform(0.025, 0.055), 0.005
    return [
        box((w, d, cover), (0, 0, cover / 2)),
        box((w, d, cover), (0, 0, h - cover / 2)),
        box((cover, d, h), (-w / 2 + cover / 2, 0, h / 2)),
        box((w - 0.014, d - 0.012, h - 2 * cover), (0, 0, h / 2), "paper"),
        box((w * 0.6, d * 0.14, 0.001), (0.01, d * 0.2, h), "light"),
    ]


def vase(rng: Rng) -> list[Part]:
    h, belly = rng.uniform(0.20, 0.32), rng.uniform(0.060, 0.085)
    foot, neck, lip = belly * 0.55, belly * rng.uniform(0.28, 0.40), belly * rng.uniform(0.60, 0.80)
    heights, radii = [0, 0.10, 0.28, 0.45, 0.62, 0.78, 0.90, 1.0], [foot, 0.78, 1.0, 0.93, 0.62, neck, neck * 1.2, lip]
    outer = [
        (r if i in (0, 5, 6, 7) else r * belly, t * h) for i, (r, t) in enumerate(zip(radii, heights, strict=True))
    ]
    return [lathe([(0, 0), *outer, (lip - 0.006, h), (neck - 0.005, 0.8 * h), (0, 0.78 * h)])]


def table_lamp(rng: Rng) -> list[Part]:
    return lamp(rng, rng.uniform(0.30, 0.46))


def lamp(rng: Rng, h: float) -> list[Part]:
    """A lamp of height `h` with a conical shade."""
    shade_h, r = min(0.36 * h, 0.32), rng.uniform(0.24, 0.31) * h
    if h > 0.8:
        r = rng.uniform(0.17, 0.25)
    top = rng.uniform(0.45, 0.70) * r
    shade = lathe([(0, h - shade_h), (r, h - shade_h), (top, h), (0, h)])
    base = rng.uniform(0.55, 0.80) * r
    foot = cylinder(base, 0.05 * min(h, 0.8), (0, 0, 0.025 * min(h, 0.8)), str(rng.choice(["main", "shade"])))
    pole = cylinder(0.022 * min(h, 0.8), h - shade_h, (0, 0, (h - shade_h) / 2), str(rng.choice(["metal", "wood"])))
    return [shade, foot, pole]


def candle(rng: Rng) -> list[Part]:
    r, h, dish = rng.uniform(0.014, 0.021), rng.uniform(0.13, 0.22), rng.uniform(0.038, 0.052)
    return [
        lathe([(0, 0), (dish * 0.7, 0), (dish, 0.012), (dish * 0.9, 0.014), (0, 0.008)], "metal"),
        cylinder(r, h, (0, 0, h / 2)),
        ellipsoid((0.008, 0.008, 0.018), (0, 0, h + 0.016), "flame"),
    ]


def small_cone(rng: Rng) -> list[Part]:
    return traffic_cone(rng, rng.uniform(0.15, 0.25))


def traffic_cone(rng: Rng, h: float) -> list[Part]:
    """A traffic cone of height `h` with one pale stripe on a square foot."""
    r, tip, plate_h = rng.uniform(0.24, 0.30) * h, 0.04 * h, 0.05 * h
    side = 2 * r * rng.uniform(1.10, 1.25)

    def radius(t: float) -> float:
        return r + (tip - r) * t

    def at(t: float) -> float:
        return plate_h + (h - plate_h) * t

    stripe = [(radius(0.42) * 1.02, at(0.42)), (radius(0.62) * 1.02, at(0.62))]
    return [
        box((side, side, plate_h), (0, 0, plate_h / 2)),
        lathe([(0, plate_h), (r, plate_h), (tip, h), (0, h)]),
        lathe([(0, stripe[0][1]), *stripe, (0, stripe[1][1])], "paper"),
    ]


def teapot(rng: Rng) -> list[Part]:
    r, squash = rng.uniform(0.060, 0.085), rng.uniform(0.75, 0.95)
    h = 2 * r * squash * 0.95
    body = ellipsoid((r, r, h / 2), (0, 0, h / 2))
    spout = [
        rod((0.75 * r, 0, 0.42 * h), (1.30 * r, 0, 0.68 * h), 0.19 * r),
        rod((1.30 * r, 0, 0.68 * h), (1.62 * r, 0, 0.98 * h), 0.13 * r),
    ]
    angles = np.radians(np.linspace(110, 250, 6))
    handle = [(-0.78 * r + 0.75 * r * np.cos(a), 0, 0.55 * h + 0.36 * h * np.sin(a)) for a in angles]
    lid = [cylinder(0.45 * r, 0.12 * r, (0, 0, h), "shade"), sphere(0.15 * r, (0, 0, h + 0.18 * r), "shade")]
    return [body, *spout, *bent_rod(handle, 0.11 * r), *lid]


def pan(rng: Rng) -> list[Part]:
    r, h, wall = rng.uniform(0.095, 0.140), rng.uniform(0.035, 0.055), 0.006
    body = lathe([(0, 0), (0.88 * r, 0), (r, h), (r - wall, h), (0.88 * r - wall, wall), (0, wall)])
    inside = cylinder(0.8 * r, 0.003, (0, 0, wall + 0.001), "shade")
    length, lift = rng.uniform(0.15, 0.20), rng.uniform(0.0, 0.03)
    return [body, inside, rod((r - 0.01, 0, h * 0.8), (r + length, 0, h * 0.8 + lift), 0.011, "dark")]


def banana(rng: Rng) -> list[Part]:
    bend, span = rng.uniform(0.09, 0.13), np.radians(rng.uniform(95, 125))
    thick = rng.uniform(0.017, 0.022)
    angles = np.linspace(-span / 2, span / 2, 7)
    points = [(bend * np.sin(a), bend * np.cos(a) - bend * 0.75, thick) for a in angles]
    radii = np.array([0.62, 0.90, 1.0, 1.0, 0.90, 0.62]) * thick
    body = [rod(a, b, r) for a, b, r in zip(points[:-1], points[1:], radii, strict=True)]
    x, y, z = points[-1]
    return [*body, rod((x, y, z), (x + 0.014, y - 0.018, z), 0.0065, "dark")]


def hammer(rng: Rng) -> list[Part]:
    length, thick = rng.uniform(0.26, 0.34), rng.uniform(0.013, 0.018)
    head, half = rng.uniform(0.10, 0.14), rng.uniform(0.018, 0.024)
    z = half
    tint = str(rng.choice(["dark", "metal"]))
    return [
        rod((-length / 2, 0, z), (length / 2, 0, z), thick),
        box((2.0 * half, head, 2 * half), (length / 2, 0, z), tint),
        cylinder(half * 1.15, head * 0.22, (length / 2, -head / 2, z + 0.15 * half), tint, about("x", 90)),
    ]


def laptop(rng: Rng) -> list[Part]:
    w, d, t = rng.uniform(0.29, 0.36), rng.uniform(0.20, 0.25), rng.uniform(0.014, 0.020)
    lean = rng.uniform(5, 30)
    up = about("x", -lean)
    hinge = np.array([0, d / 2, t])
    panel, screen = hinge + up @ np.array([0, 0, d * 0.48]), hinge + up @ np.array([0, -t * 0.32, d * 0.48])
    return [
        box((w, d, t), (0, 0, t / 2)),
        box((w * 0.86, d * 0.45, 0.002), (0, d * 0.14, t), "shade"),
        box((w * 0.3, d * 0.2, 0.002), (0, -d * 0.28, t), "shade"),
        box((w, t * 0.6, d * 0.96), panel, "main", up),
        box((w * 0.90, 0.003, d * 0.80), screen, "light", up),
    ]


def monitor(rng: Rng) -> list[Part]:
    w = rng.uniform(0.42, 0.60)
    h, t, lift = w * rng.uniform(0.54, 0.64), rng.uniform(0.025, 0.045), rng.uniform(0.08, 0.14)
    return [
        box((w, t, h), (0, 0, lift + h / 2)),
        box((w * 0.92, 0.004, h * 0.86), (0, -t / 2, lift + h / 2), "shade"),
        box((w * 0.10, 0.03, lift + h * 0.3), (0, t / 2 + 0.01, (lift + h * 0.3) / 2)),
        box((w * 0.42, 0.18, 0.014), (0, 0.02, 0.007)),
    ]


def keyboard(rng: Rng) -> list[Part]:
    w, d, t = rng.uniform(0.36, 0.46), rng.uniform(0.125, 0.160), rng.uniform(0.016, 0.024)
    rows = 4
    tint = str(rng.choice(["light", "shade"]))
    keys = [box((w * 0.92, d * 0.16, 0.008), (0, d * (-0.33 + 0.22 * i), t + 0.002), tint) for i in range(rows)]
    return [box((w, d, t), (0, 0, t / 2)), *keys]


def clock(rng: Rng) -> list[Part]:
    """An alarm clock: a round case with a pale face, two bells on top and two feet."""
    r, t = rng.uniform(0.055, 0.085), rng.uniform(0.035, 0.050)
    z = r * 1.18
    front = -t / 2
    hour = rng.uniform(0, 360)
    hands = [
        rod(
            (0, front - 0.003, z),
            (length * r * np.sin(a), front - 0.003, z + length * r * np.cos(a)),
            0.035 * r,
            "dark",
        )
        for length, a in ((0.35, np.radians(hour)), (0.52, np.radians(12 * hour % 360)))
    ]
    bells = [ellipsoid((0.34 * r, 0.34 * r, 0.26 * r), (s * 0.62 * r, 0, z + 0.90 * r)) for s in (-1, 1)]
    feet = [rod((s * 0.5 * r, 0, z - 0.8 * r), (s * 0.72 * r, 0, 0.10 * r), 0.10 * r) for s in (-1, 1)]
    case = cylinder(r, t, (0, 0, z), "main", about("x", 90))
    return [case, cylinder(0.74 * r, 0.004, (0, front, z), "paper", about("x", 90)), *hands, *bells, *feet]


def duck(rng: Rng) -> list[Part]:
    s = rng.uniform(0.050, 0.080)
    head = np.array([0.75 * s, 0, 1.55 * s])
    return [
        ellipsoid((1.15 * s, 0.80 * s, 0.70 * s), (0, 0, 0.70 * s)),
        ellipsoid((0.35 * s, 0.30 * s, 0.25 * s), (-1.1 * s, 0, 1.05 * s)),
        sphere(0.52 * s, head),
        ellipsoid((0.30 * s, 0.24 * s, 0.10 * s), head + np.array([0.58, 0, -0.08]) * s, "beak"),
        *[sphere(0.09 * s, head + np.array([0.38, side * 0.30, 0.18]) * s, "dark") for side in (-1, 1)],
    ]


def car(rng: Rng) -> list[Part]:
    length, width = rng.uniform(0.16, 0.26), rng.uniform(0.42, 0.50)
    w, wheel = length * width, length * 0.125
    low, mid = wheel * 0.7, wheel * 0.7 + length * 0.17
    cabin = length * rng.uniform(0.46, 0.60)
    back = -length * rng.uniform(0.0, 0.08)
    wheels = [
        cylinder(wheel, 0.16 * w, (x * length * 0.31, y * w * 0.46, wheel), "dark", about("x", 90))
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return [
        box((length, w, mid - low), (0, 0, (low + mid) / 2)),
        box((cabin, w * 0.86, length * 0.14), (back, 0, mid + length * 0.07)),
        box((cabin * 1.01, w * 0.70, length * 0.09), (back, 0, mid + length * 0.065), "dark"),
        box((cabin * 0.72, w * 0.88, length * 0.09), (back, 0, mid + length * 0.065), "dark"),
        *wheels,
    ]
