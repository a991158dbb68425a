"""Measures how far boxes move when depth is bad, with and without the depth filter.

    python -m bench.depth_drift [--frames demo/frames | --scenes 20 --seed 700000] [--model n3d-tiny] [--json]

All boxes of an image share the normalisation of the cloud, which depends on the smallest coordinate and the mean
distance of all points. Here the true boxes are encoded as bins on the undamaged frame; holes and outliers are added to
its depth, and the same bins are decoded again. The movement affects every box that the model writes. With `--model` the
network also answers on the damaged frames, and the table has the share of objects that it finds.

* drift: movement of a centre by its distance, or change of an extent by its size, whichever is larger, in percent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.command import bench_parser, run_bench
from n3d_core.cli.tables import table
from n3d_core.depth import clean_depth
from n3d_core.errors import ConfigError
from n3d_core.geometry import Box3D, Frame, iou_3d
from n3d_core.geometry.frame_folder import FrameFolder, Truth
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.language.structured import BoxCodec

DEMO = Path(__file__).resolve().parents[1] / "demo" / "frames"
HOLES = (0.0, 0.1, 0.3, 0.6)
OUTLIERS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)  # 1e-5 is one to three pixels of a VGA image
FARTHEST = 65.0  # metres: about the maximum of 16-bit millimetres
FOUND_AT = 0.25  # 3D IoU


@dataclass(frozen=True)
class Damage:
    """Shares of an image's pixels that are lost in patches, and that are individually wrong."""

    holes: float
    outliers: float

    def apply(self, depth: NDArray[np.float32], seed: Sequence[int]) -> NDArray[np.float32]:
        """A damaged copy of a depth image [H, W]; outliers are log-uniform between 5 cm and 65 m.

        For one seed, holes do not depend on the outliers, and vice versa.
        """
        damaged = depth.copy()
        rng = np.random.default_rng([*seed, 0])
        lost = 0
        while lost < self.holes * depth.size:
            height, width = (int(rng.integers(2, 1 + side // 6)) for side in depth.shape)
            top, left = int(rng.integers(depth.shape[0] - height)), int(rng.integers(depth.shape[1] - width))
            damaged[top : top + height, left : left + width] = np.nan
            lost = int((np.isnan(damaged) & ~np.isnan(depth)).sum())
        rng = np.random.default_rng([*seed, 1])
        count = int(np.ceil(self.outliers * depth.size))
        where = rng.choice(depth.size, count, replace=False)
        damaged.reshape(-1)[where] = np.exp(rng.uniform(np.log(0.05), np.log(FARTHEST), count))
        return damaged


@dataclass(frozen=True)
class Row:
    """One kind of damage: drifts of all boxes without and with the filter, and the share of objects found with it."""

    damage: Damage
    raw: NDArray[np.float64]
    cleaned: NDArray[np.float64]
    found: float | None

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"holes": self.damage.holes, "outliers": self.damage.outliers}
        for name, drifts in (("raw", self.raw), ("cleaned", self.cleaned)):
            record[name] = {"median": round(float(np.median(drifts)), 5), "max": round(float(drifts.max()), 5)}
        return record if self.found is None else {**record, "found": round(self.found, 4)}


def measure(frames: Sequence[tuple[Frame, Truth]], seed: int, model: Any = None) -> Iterator[Row]:
    """A row for each pair of `HOLES` and `OUTLIERS`; a pure function of its arguments.

    Args:
        model: an `N3D` to query for all objects of the damaged frames, or None.

    Raises:
        ConfigError: if no frame has a box.
    """
    if not any(truth.objects for _, truth in frames):
        raise ConfigError("no true box in any frame: the frames need NNNNNN.truth.json files")
    for holes in HOLES:
        for outliers in OUTLIERS:
            damage = Damage(holes, outliers)
            raw: list[float] = []
            cleaned: list[float] = []
            found: list[bool] = []
            for number, (frame, truth) in enumerate(frames):
                depth = damage.apply(frame.depth, (seed, number))
                boxes = [thing.box for thing in truth.objects]
                raw += drifts(frame, frame.depth, depth, boxes)
                cleaned += drifts(frame, clean_depth(frame.depth)[0], clean_depth(depth)[0], boxes)
                if model is not None:
                    found += objects_found(model, Frame(frame.color, depth, frame.camera), boxes)
            share = float(np.mean(found)) if model is not None else None
            yield Row(damage, np.array(raw), np.array(cleaned), share)


def drifts(
    frame: Frame, before: NDArray[np.float32], after: NDArray[np.float32], boxes: Sequence[Box3D]
) -> list[float]:
    """How far each box moves or grows, as a share, when bins written on `before` are read on `after`."""
    writer, reader = _codec(frame, before), _codec(frame, after)
    out = []
    for box in boxes:
        code = writer.encode(box)
        first, second = writer.decode(code), reader.decode(code)
        moved = np.linalg.norm(np.subtract(second.center, first.center)) / np.linalg.norm(first.center)
        sizes = np.maximum(first.size, 1e-9)
        grown = np.abs(np.subtract(second.size, first.size) / sizes).max()
        out.append(float(max(moved, grown)))
    return out


def objects_found(model: Any, frame: Frame, boxes: Sequence[Box3D]) -> list[bool]:
    """Which true boxes the model finds with the right label, at a 3D IoU of 0.25."""
    seen = model.look(frame).ground("all objects").boxes
    return [any(box.label == s.label and iou_3d(box, s) >= FOUND_AT for s in seen) for box in boxes]


def as_table(rows: Sequence[Row]) -> str:
    """The rows as text, drifts in percent."""
    header = ["holes", "outliers", "raw median", "raw max", "cleaned median", "cleaned max"]
    header += ["found"] if rows[0].found is not None else []
    lines = []
    for row in rows:
        figures = [float(f(d)) for d in (row.raw, row.cleaned) for f in (np.median, np.max)]
        line = [f"{row.damage.holes:.0%}", f"{row.damage.outliers:.3%}", *(f"{100 * v:.2f} %" for v in figures)]
        lines.append(line + ([] if row.found is None else [f"{row.found:.0%}"]))
    return table(header, lines, left=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--frames", type=Path, default=DEMO, help="a frame folder with truth (demo/frames)")
    parser.add_argument("--scenes", type=int, default=0, metavar="N", help="render N scenes instead")
    parser.add_argument("--seed", type=int, default=700_000, help="seed of the damage, and of the first scene")
    parser.add_argument("--model", help="also ask this model on the damaged frames")
    rows: list[Row] = []

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        frames = list(_rendered(options) if options.scenes else _stored(options.frames))
        rows.extend(measure(frames, options.seed, _loaded(options.model)))
        return {"frames": len(frames), "boxes": len(rows[0].raw), "rows": [row.to_json() for row in rows]}

    return run_bench(figures, parser, arguments, table=lambda _: as_table(rows))


def _codec(frame: Frame, depth: NDArray[np.float32]) -> BoxCodec:
    points = to_model_frame(frame.camera.back_project(depth))
    return BoxCodec(normalise(points, np.isfinite(depth))[1], frame.camera)


def _stored(path: Path) -> Iterator[tuple[Frame, Truth]]:
    folder = FrameFolder(path)
    for i in range(len(folder)):
        truth = folder.truth(i)
        if truth is not None:
            yield folder.frame(i), truth


def _rendered(options: argparse.Namespace) -> Iterator[tuple[Frame, Truth]]:
    from training.scenes.scene import render
    from training.scenes.scene_config import SceneConfig

    for number in range(options.scenes):
        scene = render(options.seed + number, SceneConfig.standard())
        print(f"scene {number + 1} of {options.scenes}", file=sys.stderr)
        yield scene.frame, scene.truth


def _loaded(name: str | None) -> Any:
    if name is None:
        return None
    from n3d_core import N3D

    return N3D.load(name)


if __name__ == "__main__":
    sys.exit(main())
