"""The data engine on many images: one process, two, and a local Ray cluster (`python -m bench.lift_scale --json`).

Makes `--images` RGB-D images with masks out of the demo's frames and of rendered scenes (mirrored, cropped and
recoloured), and lifts all of them in each way, with depth given and without networks. Prints images per second of wall
clock, CPU milliseconds per image of reading and lifting, and whether all ways wrote equal bytes. A way that is finished
is not run again; one that was stopped continues with its missing shards. `OUTPUT/data` stays, about 0.3 MB per image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from bench.command import bench_parser, run_bench
from n3d_core.atomic_write import write_text
from n3d_core.errors import ConfigError, N3DError
from n3d_core.geometry.frame_folder import FrameFolder
from training.data.sequences import LabelledImage, augment
from training.lift import masks
from training.lift.manifest import INDEX
from training.lift.manifest import NAME as MANIFEST
from training.lift.object_mask import ObjectMask
from training.lift.sample import encode_depth
from training.lift.shards import read_summary
from training.scenes.cache import parse_size
from training.scenes.scene import render_views
from training.scenes.scene_config import SceneConfig

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"one": (), "two": ("--workers", "2"), "ray": ("--ray", "local", "--workers", "2")}
_VIEWS = 2  # of each scene
_LEAST_PIXELS = 50  # of an object that is annotated


def bases(scenes: int, size: tuple[int, int]) -> Iterator[tuple[LabelledImage, list[str]]]:
    """Images to make others of, and the labels of their instances: the demo's frames, then views of rendered scenes.

    Args:
        size: width and height of the images.
    """
    folder = FrameFolder(ROOT / "demo" / "frames")
    for index in range(len(folder.names)):
        frame, truth = folder.frame(index), folder.truth(index)
        painted = np.zeros(frame.depth.shape, np.uint8)
        labels = [o.cls for o in truth.objects] if truth else []
        for i, item in enumerate(truth.objects if truth else ()):
            if box := item.box.image_box(frame.camera):
                own = masks.from_depth(box, frame.depth, frame.camera)
                painted[own.to_image(*painted.shape)] = i + 1
        color = cv2.resize(frame.color, size, interpolation=cv2.INTER_AREA)
        depth, instances = (cv2.resize(a, size, interpolation=cv2.INTER_NEAREST) for a in (frame.depth, painted))
        yield LabelledImage(color, depth, instances, frame.camera.resized(*size), []), labels
    config = replace(SceneConfig.standard(), width=size[0], height=size[1])
    for seed in range(scenes):
        for scene in render_views(seed, config, _VIEWS):
            frame = scene.frame
            image = LabelledImage(frame.color, frame.depth, scene.instances, frame.camera, [])
            yield image, [o.cls for o in scene.truth.objects]


def write_images(folder: Path, images: int, scenes: int, size: tuple[int, int]) -> None:
    """Writes the images in the form of a plain folder; those that are there stay."""
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    count = len(FrameFolder(ROOT / "demo" / "frames").names) + scenes * _VIEWS
    with tqdm(total=images, unit="image", file=sys.stderr) as bar:
        for first, (image, labels) in zip(range(min(images, count)), bases(scenes, size), strict=False):
            for number in range(first, images, count):
                rng = np.random.default_rng((7, number))
                _write(folder, number, image if number == first else augment(image, rng), labels)
                bar.update()


def _write(folder: Path, number: int, image: LabelledImage, labels: list[str]) -> None:
    sidecar = folder / "images" / f"{number:06d}.json"
    if sidecar.exists():
        return
    found = [(label, ObjectMask.from_image(image.instances == i + 1)) for i, label in enumerate(labels)]
    objects = [
        {"label": label, "box": mask.box, "rle": masks.encode(mask, *image.depth.shape)}
        for label, mask in found
        if mask.area >= _LEAST_PIXELS
    ]
    camera = {key: getattr(image.camera, key) for key in ("width", "height", "fx", "fy", "cx", "cy")}
    _, picture = cv2.imencode(".jpg", image.color[:, :, ::-1])
    sidecar.with_suffix(".jpg").write_bytes(picture.tobytes())
    (folder / "depth" / f"{number:06d}.png").write_bytes(encode_depth(image.depth, 0.001)[0])
    write_text(sidecar, json.dumps({"objects": objects, "camera": camera}))


def lifted(output: Path, way: str, keep: bool) -> dict[str, Any]:
    """The figures of one way, from its run or from an earlier one.

    Raises:
        N3DError: if the run fails; finished shards stay.
    """
    report, folder = output / f"{way}.json", output / way
    if report.exists():
        return dict(json.loads(report.read_text()))
    source = {"kind": "folder", "images": f"{output / 'data/images'}", "depth": f"{output / 'data/depth'}"}
    config = output / f"{way}.yaml"
    write_text(config, yaml.safe_dump({"source": source, "output": {"folder": str(folder)}}))
    command = [sys.executable, "-m", "training.lift.run", str(config), *WAYS[way]]
    print(" ".join(command), file=sys.stderr, flush=True)
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if ran.returncode:
        raise N3DError(f"{' '.join(command)} failed with exit status {ran.returncode}: run this again to continue")
    said = json.loads(ran.stdout.splitlines()[-1])
    seconds = [read_summary(path).seconds for path in sorted(folder.glob("shard-*.json"))]
    figures = {
        "images_per_s": said["images_per_s"],
        "seconds": said["seconds"],
        "cpu_ms_per_image": round(1e3 * sum(s["read"] + s["lift"] for s in seconds) / said["images"], 2),
        **{key: said[key] for key in ("images", "samples", "objects", "shards", "bytes")},
        "sha256": digest(folder),
    }
    write_text(report, json.dumps(figures) + "\n")
    if not keep:
        shutil.rmtree(folder)
    return figures


def digest(folder: Path) -> str:
    """SHA-256 of the shards, the index and the manifest of a run."""
    total = hashlib.sha256()
    for path in (*sorted(folder.glob("*.tar")), folder / INDEX, folder / MANIFEST):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of each way, and their comparison."""
    if unknown := sorted(set(options.ways.split(",")) - set(WAYS)):
        raise ConfigError(f"--ways must be some of {', '.join(WAYS)}; got {', '.join(unknown)}")
    write_images(options.output / "data", options.images, options.scenes, parse_size(options.size))
    load = round(os.getloadavg()[0], 1)
    found = {way: lifted(options.output, way, options.keep) for way in options.ways.split(",")}
    if len({figures["images"] for figures in found.values()}) > 1:
        raise ConfigError(f"{options.output}: its results are of different numbers of images: choose another --output")
    rates = {way: figures["images_per_s"] for way, figures in found.items()}
    return {
        **found,
        **{f"{way}_speedup": round(rate / rates["one"], 2) for way, rate in rates.items() if rates.get("one")},
        "equal_bytes": len({figures["sha256"] for figures in found.values()}) == 1,
        "cpus": os.cpu_count(),
        "load_before": load,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [f"{'':6} {'images':>7} {'images/s':>9} {'speed-up':>9} {'CPU ms/image':>13}"]
    for way in WAYS:
        if own := figures.get(way):
            speedup = figures.get(f"{way}_speedup", "-")
            rows.append(
                f"{way:6} {own['images']:>7} {own['images_per_s']:>9} {speedup:>9} {own['cpu_ms_per_image']:>13}"
            )
    return "\n".join([*rows, f"equal bytes: {'yes' if figures['equal_bytes'] else 'NO'}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--scenes", type=int, default=200, help="rendered scenes, two views each, to make images of")
    parser.add_argument("--size", default="640x480", help="of the images")
    parser.add_argument("--ways", default=",".join(WAYS), help="one, two processes, Ray; the first is compared with")
    parser.add_argument("--output", type=Path, default=Path("out/lift-scale"))
    parser.add_argument("--keep", action="store_true", help="keep the shards of each way, about 0.4 MB per image")
    return run_bench(measure, parser, arguments, table, lambda figures: 0 if figures["equal_bytes"] else 1)


if __name__ == "__main__":
    sys.exit(main())
