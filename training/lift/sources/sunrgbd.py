"""SUN RGB-D as published: one folder per frame with image, depth, intrinsics, gravity and polygons.

`image/*.jpg` (or `.png`), `depth_bfx/*.png` (or `depth/`; the bits of each value are rotated left by three),
`intrinsics.txt`, `extrinsics/*.txt` (3x4, rotates the camera so that gravity points down) and
`annotation2Dfinal/index.json` (LabelMe).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from n3d_core.errors import CameraError
from n3d_core.geometry import Camera
from training.lift.lift_config import SourceConfig
from training.lift.masks import to_rle
from training.lift.problems import SourceError
from training.lift.record import Annotation, DepthSource, Problems, Record, safe_key


def read_sunrgbd(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """All frame folders below `images`, in order of name."""
    root = Path(config.images)
    frames = sorted(p.parent for p in root.rglob("intrinsics.txt"))
    if not frames:
        raise SourceError(f"{root}: no SUN RGB-D frame (a folder with intrinsics.txt) below it")
    for frame in frames:
        try:
            yield _record(frame, root, config, problems)
        except (OSError, ValueError, CameraError, IndexError, Image.DecompressionBombError) as error:
            problems.add("frame_damaged", f"{frame}: {type(error).__name__}: {error}")


def _record(frame: Path, root: Path, config: SourceConfig, problems: Problems) -> Record:
    color = _only(frame / "image", (".jpg", ".jpeg", ".png"))
    depth = _only(frame / "depth_bfx", (".png",), frame / "depth")
    with Image.open(color) as image:
        width, height = image.size
    matrix = np.loadtxt(frame / "intrinsics.txt").reshape(-1)
    camera = Camera.from_matrix(matrix[:9], width, height)
    name = frame.relative_to(root) if frame != root else frame.name
    annotations = tuple(_annotations(frame, width, height, problems))
    source = DepthSource(str(depth), config.depth_unit or "sun")
    return Record(
        safe_key(config.name or "sunrgbd", name), str(color), width, height, annotations, camera, source, _down(frame)
    )


def _only(folder: Path, suffixes: tuple[str, ...], other: Path | None = None) -> Path:
    for place in (folder, other) if other else (folder,):
        if files := sorted(p for p in place.glob("*") if p.suffix.lower() in suffixes):
            return files[0]
    raise FileNotFoundError(f"{folder}: no image with the suffix {', '.join(suffixes)}")


def _down(frame: Path) -> tuple[float, float, float] | None:
    """Gravity in the optical frame, from the latest extrinsics, whose matrix rotates the camera upright."""
    files = sorted((frame / "extrinsics").glob("*.txt"))
    if not files:
        return None
    turn = np.loadtxt(files[-1]).reshape(3, 4)[:, :3]
    # SUN RGB-D writes x right, y forward, z up; the optical frame is x right, y down, z forward.
    to_optical = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    down = to_optical @ turn.T @ np.array([0.0, 0, -1.0])
    x, y, z = (float(v) for v in down / np.linalg.norm(down))
    return x, y, z


def _annotations(frame: Path, width: int, height: int, problems: Problems) -> Iterator[Annotation]:
    path = frame / "annotation2Dfinal" / "index.json"
    if not path.exists():
        return
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        names = [o.get("name") if isinstance(o, dict) else None for o in data["objects"]]
        polygons = list(data["frames"][0]["polygon"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        problems.add("annotation_damaged", f"{path}: {type(error).__name__}: {error}")
        return
    for index, polygon in enumerate(polygons):
        try:
            name = names[int(polygon["object"])]
            if not isinstance(name, str) or not name.strip():
                raise ValueError("an object has no name")
            x, y = np.atleast_1d(polygon["x"]).astype(float), np.atleast_1d(polygon["y"]).astype(float)
            flat = np.stack([x, y], axis=1).reshape(-1).tolist()
            mask = to_rle([flat], height, width)
            box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            problems.add("annotation_damaged", f"{path}: polygon {index}: {type(error).__name__}: {error}")
            continue
        yield Annotation(name.strip().lower(), box, mask=mask, id=str(index))
