"""Measures the gain of refining boxes with depth: `python -m bench.refine --scenes 60 --json`.

Renders test scenes, takes the true axis-aligned box of each object, exact and with a model's typical errors, and
compares it and its refinement (`n3d_core.geometry.upright_box`) with the object's true upright box. With `--real
FOLDER` the same for a folder with SUN RGB-D's annotated boxes and points. The JSON line has, for both inputs (`exact`,
`noisy`), the mean IoU before and after and the share of objects that gained, the error of the gravity that the points
give, and the time a box takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.command import bench_parser, run_bench
from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.geometry.upright_box import gravity_from_points, upright_box
from training.scenes.layout import PlacedObject
from training.scenes.scene import is_groundable, layout_of, render, viewpoint_of
from training.scenes.scene_config import SceneConfig
from training.scenes.seeds import TEST_SEEDS
from training.scenes.viewpoint import Viewpoint

Array = NDArray[np.float64]
_UP_IN_BOX = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # columns: a box's x, y (down) and z in a z-up frame
_SAMPLES = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 3))  # of a unit box


@dataclass(frozen=True)
class Case:
    """An object: its axis-aligned box, its true upright box, and its measured points."""

    axis_aligned: OrientedBox
    upright: OrientedBox
    points: Array
    gravity: Array


def synthetic_cases(scenes: int, config: SceneConfig) -> Iterator[Case]:
    """Every object of test scenes that is visible enough to ask for."""
    for seed in range(TEST_SEEDS.start, TEST_SEEDS.start + scenes):
        scene, layout = render(seed, config), layout_of(seed, config)
        view = viewpoint_of(seed, config, layout, 0)
        true = [true_upright_box(item, view) for item in layout.objects]
        points = scene.frame.points[scene.frame.valid].astype(np.float64)
        for item in scene.truth.objects:
            if is_groundable(item, scene.frame.camera):
                nearest = min(true, key=lambda box: float(np.linalg.norm(np.subtract(box.center, item.box.center))))
                yield Case(OrientedBox.of(item.box), nearest, points, scene.gravity)


def true_upright_box(item: PlacedObject, view: Viewpoint) -> OrientedBox:
    """The upright box of least area around an object, in the optical frame."""
    outline = np.concatenate(item.outline)
    (x, y), (length, width), degrees = cv2.minAreaRect(outline[:, :2].astype(np.float32))
    low, high = outline[:, 2].min(), outline[:, 2].max()
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ _UP_IN_BOX
    center, size = (x, y, (low + high) / 2), (length, high - low, width)
    world = OrientedBox(f"{item.color} {item.cls}", center, size, quaternion=quaternion_of(turn))
    return world.transformed(view.rotation.T, -view.rotation.T @ view.position)


def real_cases(folder: Path) -> Iterator[Case]:
    """The annotated objects of a folder with `annotation.json` and `points_xyzrgb.f32` (SUN RGB-D, z up)."""
    truth = json.loads((folder / "annotation.json").read_text())
    world = np.fromfile(folder / "points_xyzrgb.f32", np.float32).reshape(-1, 6)[:, :3].astype(np.float64)
    rotation = optical_rotation(np.asarray(truth["depth2img"]))
    points = world @ rotation.T
    for entry in truth["boxes"]:
        c, s = np.cos(entry["yaw_about_up"]), np.sin(entry["yaw_about_up"])
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ _UP_IN_BOX
        along, across, height = entry["size_xyz"]
        box = OrientedBox(
            entry["class"], tuple(entry["center_xyz"]), (along, height, across), quaternion=quaternion_of(turn)
        ).transformed(rotation, np.zeros(3))
        yield Case(hull(box), box, points, -rotation[:, 2])


def optical_rotation(projection: Array) -> Array:
    """R of a projection K R of a z-up frame, [3, 3]."""
    turn, upper = np.linalg.qr(np.linalg.inv(projection))
    signs = np.diag(np.sign(np.diag(np.linalg.inv(upper))))
    rotation: Array = signs @ np.linalg.inv(turn)
    return rotation


def hull(box: OrientedBox) -> OrientedBox:
    """The axis-aligned box around a rotated one."""
    low, high = box.corners().min(axis=0), box.corners().max(axis=0)
    x, y, z = ((low + high) / 2).tolist()
    width, height, length = (high - low).tolist()
    return OrientedBox(box.label, (x, y, z), (width, height, length))


def noisy(box: OrientedBox, rng: np.random.Generator) -> OrientedBox:
    """A box with the errors of a good model: centre off by 8 % of the size, size by 12 %, one sigma."""
    center = np.asarray(box.center) + rng.normal(0, 0.08, 3) * box.size
    size = np.asarray(box.size) * np.exp(rng.normal(0, 0.12, 3))
    return replace(box, center=tuple(center.tolist()), size=tuple(size.tolist()))


def oriented_iou(a: OrientedBox, b: OrientedBox) -> float:
    """IoU of two rotated boxes, estimated from random points in each (standard error below 0.01)."""

    def inside(first: OrientedBox, second: OrientedBox) -> float:
        points = np.asarray(first.center) + (_SAMPLES * first.size) @ first.rotation.T
        return float(second.contains(points).mean() * np.prod(first.size))

    both = (inside(a, b) + inside(b, a)) / 2
    union = float(np.prod(a.size) + np.prod(b.size)) - both
    return both / union if union > 0 else 0.0


def measure(cases: Sequence[Case], gravity: str, seed: int) -> dict[str, float]:
    """Figures over all cases; `gravity`: `true`, or `points` (estimated, the true one where no plane is found)."""
    rng = np.random.default_rng(seed)
    figures: dict[str, list[float]] = {}
    known: dict[int, Array] = {}
    for case in cases:
        if id(case.points) not in known:  # cases of one image share its points
            known[id(case.points)] = _gravity(case, gravity, figures)
        down = known[id(case.points)]
        for name, box in (("exact", case.axis_aligned), ("noisy", noisy(case.axis_aligned, rng))):
            began = time.process_time()
            refined = upright_box(box, case.points, down)
            figures.setdefault("box_ms", []).append(1000 * (time.process_time() - began))
            before, after = oriented_iou(box, case.upright), oriented_iou(refined, case.upright)
            for what, value in (("before", before), ("after", after), ("gained", float(after > before))):
                figures.setdefault(f"{name}.{what}", []).append(value)
            figures.setdefault("kept", []).append(float(refined is box))
    return {"objects": len(cases), **{name: round(float(np.mean(v)), 4) for name, v in figures.items()}}


def _gravity(case: Case, source: str, figures: dict[str, list[float]]) -> Array:
    if source == "true":
        return case.gravity
    found = gravity_from_points(case.points)
    if found is None:
        return case.gravity
    angle = float(np.degrees(np.arccos(np.clip(found @ case.gravity, -1, 1))))
    figures.setdefault("gravity_error_degrees", []).append(angle)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--scenes", type=int, default=60, help="test scenes; 0 for none")
    parser.add_argument("--real", type=Path, help="folder with annotation.json and points_xyzrgb.f32")
    parser.add_argument("--gravity", choices=("points", "true"), default="points")
    parser.add_argument("--seed", type=int, default=0, help="of the boxes' errors")
    return run_bench(_figures, parser, arguments)


def _figures(options: argparse.Namespace) -> dict[str, Any]:
    report = {}
    if options.scenes:
        cases = list(synthetic_cases(options.scenes, SceneConfig(width=640, height=480)))
        report["synthetic"] = measure(cases, options.gravity, options.seed)
    if options.real is not None:
        report["real"] = measure(list(real_cases(options.real)), options.gravity, options.seed)
    return report


if __name__ == "__main__":
    sys.exit(main())
