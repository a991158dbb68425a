"""Writes scenes to a frame folder with ground truth; all frames have the same camera.

python -m training.scenes --seed 1000 --count 20 --output DIR [--size 640x480] [--fov 60] [--shift] [--model DIR]

With --tour the frames are one tour: a room seen by a moving camera, with its poses and the true objects of its map,
some of which are moved and some taken away.

python -m training.scenes --tour --seed 1000 --count 60 --output DIR [--pose-noise 0.02,1.0] [--compact]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ConfigError
from n3d_core.geometry.camera_file import read_pinhole
from n3d_core.geometry.frame_folder import write_frame, write_map_objects
from training.entry.command import run_command
from training.scenes.cache import parse_size
from training.scenes.frames import write_frames
from training.scenes.scene_config import SceneConfig
from training.scenes.tour import Tour
from training.scenes.viewpoint import camera_of
from training.scenes.vocabulary import Vocabulary


def write_scenes(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the command line."""
    config = _config(args)
    _check_folder(args.output, config)
    if args.tour:
        return write_tour(args, config)
    start, seeds = time.monotonic(), range(args.seed, args.seed + args.count)
    objects = sum(_progress(write_frames(args.output, seeds, config, args.workers), args.count))
    rate = round(args.count / (time.monotonic() - start), 2)
    return {"frames": args.count, "objects": objects, "frames_per_second": rate, "output": str(args.output)}


def write_tour(args: argparse.Namespace, config: SceneConfig) -> dict[str, Any]:
    """Renders a tour."""
    tour = Tour.sample(args.seed, replace(config, objects=(9, 14)), args.count)
    sigma_m, sigma_deg = args.pose_noise
    poses = tour.poses(sigma_m, math.radians(sigma_deg))

    def write() -> Iterator[int]:
        for number, (scene, pose) in enumerate(zip(tour.render(), poses, strict=True)):
            frame = replace(scene.frame, depth=_smoothed(scene.frame.depth)) if args.compact else scene.frame
            write_frame(args.output, number, frame, scene.truth, pose, args.compact)
            yield len(scene.truth.objects)

    seen = sum(_progress(write(), args.count))
    write_map_objects(args.output, tour.objects())
    fates = {"objects": len(tour.layout.objects), "moved": sum(change.item is not None for change in tour.changes)}
    fates |= {"taken_away": len(tour.changes) - fates["moved"], "seen": seen}
    return {"frames": args.count, **fates, "output": str(args.output)}


def _smoothed(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth [H, W] as a driver's own filter leaves it, in steps of 0.5 to 1 %, which compresses well."""
    smooth = cv2.medianBlur(np.nan_to_num(depth), 5)
    step = np.exp2(np.floor(np.log2(np.maximum(smooth, 0.1) / 100)))
    return np.where((smooth > 0) & np.isfinite(depth), np.round(smooth / step) * step, np.float32(np.nan))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    return run_command(write_scenes, _parser(), arguments, failure=2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.scenes", description="Renders scenes to a frame folder.")
    parser.add_argument("--seed", type=int, required=True, help="seed of the first scene; the others follow it")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fov", type=float, default=60.0, help="field of view of the image's longer side, degrees")
    parser.add_argument("--shift", action="store_true", help="use camera heights and lights outside the training range")
    parser.add_argument("--clean", action="store_true", help="leave out sensor noise")
    parser.add_argument("--model", type=Path, help="model folder whose vocabulary the scenes use; default: all names")
    parser.add_argument("--clutter", type=float, default=0.0, help="share of scenes with clutter of no class")
    parser.add_argument("--household", type=float, default=0.0, help="share of objects that are household meshes")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tour", action="store_true", help="a room seen by a moving camera, with poses")
    parser.add_argument(
        "--pose-noise",
        type=_two_numbers,
        default=(0.0, 0.0),
        metavar="METRES,DEGREES",
        help="standard deviations of the errors of a tour's poses, such as 0.02,1.0",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="of a tour: colour as JPEG, and filtered depth in coarser steps: a quarter of the size",
    )
    return parser


def _two_numbers(text: str) -> tuple[float, float]:
    first, second = (float(part) for part in text.split(","))
    if not (0 <= first < 10 and 0 <= second < 90):
        raise ValueError(text)
    return first, second


def _config(args: argparse.Namespace) -> SceneConfig:
    if args.seed < 0 or args.count < 1 or args.workers < 1:
        raise ConfigError(
            "--seed must be at least 0, --count and --workers at least 1; got "
            f"{args.seed}, {args.count} and {args.workers}"
        )
    taught = Vocabulary.of_model(args.model) if args.model else Vocabulary()
    config = replace(
        SceneConfig.standard(*parse_size(args.size)),
        fov=(args.fov, args.fov),
        noise=not args.clean,
        clutter_share=args.clutter,
        household_share=args.household,
    ).made_of(taught)
    return config.shifted() if args.shift else config


def _check_folder(folder: Path, config: SceneConfig) -> None:
    """Rejects a folder that has another camera."""
    path = folder / "camera.yaml"
    if path.exists() and read_pinhole(path).camera != camera_of(config.fov[0], config.width, config.height):
        raise ConfigError(f"{path} belongs to another camera: choose another --output, or the same --size and --fov")


def _progress(counts: Iterator[int], total: int) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(counts, total=total, unit="frame", file=sys.stderr))


if __name__ == "__main__":
    sys.exit(main())
