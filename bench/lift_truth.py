"""Measures the accuracy of lifted boxes: `python -m bench.lift_truth [--scenes N]` prints a table by shape.

There are two true boxes: that of the visible surface (from exact depth), and that of the whole object. Measured with
    true
masks and exact depth, with a sensor's noise, without completion, and with 2D boxes instead of masks. The objects are
exact primitives (`primitives.py`), or with `--household N` the scenes of `training.scenes`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.primitives import render_primitives, sensor_noise
from n3d_core.geometry import Box3D, Camera, iou_3d
from training.lift import masks
from training.lift.boxes import box_between
from training.lift.completion import CompletionConfig
from training.lift.lifting import Candidate, lift
from training.lift.object_mask import ObjectMask
from training.lift.rules import RulesConfig

ANY = RulesConfig(max_border_share=0.25, min_quality=0.0)
COLUMNS = (
    "visible_clean",
    "visible_noisy",
    "whole_uncompleted",
    "whole_clean",
    "whole_noisy",
    "visible_boxes",
    "whole_boxes",
)


@dataclass(frozen=True)
class Case:
    """One image with its ground truth.

    Attributes:
        clean, noisy: depth [H, W] in metres.
        camera: intrinsics.
        down: gravity in the optical frame if the camera knows it, else None.
        masks: true pixels of each object.
        whole: its true box.
        shapes: its shape or class.
    """

    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]
    camera: Camera
    down: NDArray[np.float64] | None
    masks: list[ObjectMask]
    whole: list[Box3D]
    shapes: list[str]


def primitive_cases(seeds: Sequence[int], objects: int = 8) -> Iterator[Case]:
    """Boxes, cylinders and spheres on a table, 640x480."""
    for seed in seeds:
        scene = render_primitives(seed, objects)
        yield Case(
            scene.depth,
            sensor_noise(scene.depth, seed, scene.camera.fx),
            scene.camera,
            None,
            [ObjectMask.from_image(scene.instances == i) for i in range(len(scene.solids))],
            scene.whole,
            [solid.shape for solid in scene.solids],
        )


def household_cases(seeds: Sequence[int]) -> Iterator[Case]:
    """Scenes of `training.scenes` at 640x480; objects of which less than half is visible have no mask here."""
    from training.scenes import SceneConfig, render

    for seed in seeds:
        scene = render(seed, SceneConfig.standard())
        empty = ObjectMask(0, 0, np.zeros((0, 0), bool))
        yield Case(
            scene.clean_depth,
            scene.frame.depth,
            scene.frame.camera,
            None,
            [
                ObjectMask.from_image(scene.instances == i + 1) if o.visible >= 0.5 else empty
                for i, o in enumerate(scene.truth.objects)
            ],
            [o.box for o in scene.truth.objects],
            [o.cls for o in scene.truth.objects],
        )


def measure(cases: Iterator[Case]) -> dict[str, Any]:
    """IoU by shape and column, their means, and the share of candidates that were lifted.

    An object that is seen but not lifted is no sample and counts in `lifted`, not in an IoU.
    """
    found: dict[str, dict[str, list[float]]] = {}
    seen = lifted = 0
    for case in cases:
        given = [Candidate(str(i), m.box, m) for i, m in enumerate(case.masks)]
        visible = [_seen_box(case, m) for m in case.masks]
        runs = {
            "clean": _lift(case, given, case.clean),
            "noisy": _lift(case, given, case.noisy),
            "boxes": _lift(case, _without_masks(case), case.noisy),
        }
        seen += sum(m.area >= ANY.min_mask_pixels for m in case.masks)
        lifted += len(runs["noisy"])
        for kind, boxes in runs.items():
            for i, (near, whole) in boxes.items():
                row = found.setdefault(case.shapes[i], {c: [] for c in COLUMNS})
                row[f"visible_{kind}"].append(iou_3d(near, visible[i]))
                row[f"whole_{kind}"].append(iou_3d(whole, case.whole[i]))
                if kind == "clean":
                    row["whole_uncompleted"].append(iou_3d(near, case.whole[i]))
    shapes = {
        s: {c: _mean(v) for c, v in row.items()} | {"objects": len(row["visible_noisy"])}
        for s, row in sorted(found.items())
    }
    every = {c: _mean([x for row in found.values() for x in row[c]]) for c in COLUMNS}
    return {"shapes": shapes, "mean": every, "lifted": lifted / max(seen, 1), "seen": seen}


def _lift(case: Case, candidates: list[Candidate], depth: NDArray[np.float32]) -> dict[int, tuple[Box3D, Box3D]]:
    result = lift(candidates, depth, case.camera, rules=ANY, completion=CompletionConfig(), down=case.down)
    return {o.index: (o.visible, o.whole) for o in result.objects}


def _without_masks(case: Case) -> list[Candidate]:
    return [
        Candidate(str(i), m.box, masks.from_depth(m.box, case.noisy, case.camera) if m.area else None)
        for i, m in enumerate(case.masks)
    ]


def _seen_box(case: Case, mask: ObjectMask) -> Box3D:
    """The box of the exact surface of a mask; empty for an empty mask."""
    if not mask.area:
        return Box3D("", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    view = case.camera.cropped(mask.left, mask.top, mask.pixels.shape[1], mask.pixels.shape[0])
    points = view.back_project(case.clean[mask.top : mask.bottom, mask.left : mask.right])[mask.pixels].astype(
        np.float64
    )
    points = points[np.isfinite(points[:, 2])]
    return box_between("", points.min(0), points.max(0))


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4) if values else float("nan")


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    head = ("objects", *COLUMNS)
    lines = ["| shape | " + " | ".join(h.replace("_", " ") for h in head) + " |", "|---" * (len(head) + 1) + "|"]
    for shape, row in result["shapes"].items():
        lines.append(f"| {shape} | {row['objects']} | " + " | ".join(f"{row[c]:.3f}" for c in COLUMNS) + " |")
    total = sum(row["objects"] for row in result["shapes"].values())
    lines.append(f"| **mean** | {total} | " + " | ".join(f"{result['mean'][c]:.3f}" for c in COLUMNS) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.lift_truth", description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=40, help="scenes of primitives")
    parser.add_argument("--household", type=int, default=0, help="scenes of training.scenes instead")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + (options.household or options.scenes))
    result = measure(household_cases(seeds) if options.household else primitive_cases(seeds))
    print(table(result))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
