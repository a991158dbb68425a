"""A plain folder of images, each with an optional `NAME.json` of boxes.

`{"objects": [{"label": "mug", "box": [left, top, right, bottom], "mask": "mug_0.png", "phrases": []}],
"camera": {"fx": .., "fy": .., "cx": .., "cy": ..}}` - everything but label and box is optional.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from n3d_core.errors import CameraError
from n3d_core.geometry import Camera
from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Annotation, Problems, Record, safe_key
from training.lift.sources.depth_folder import DepthFolder

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def read_folder(config: SourceConfig, problems: Problems, depths: DepthFolder) -> Iterator[Record]:
    """Images in order of name, including those in subfolders, without depth images and masks."""
    root = Path(config.images)
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    masks = _mask_pictures(root)
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURES):
        if path in masks or depths.holds(path):
            continue
        annotations, camera = _sidecar(path, problems)
        yield Record(
            safe_key(config.name or "folder", path.relative_to(root).with_suffix("")),
            str(path),
            annotations=annotations,
            camera=camera,
        )


def _mask_pictures(root: Path) -> set[Path]:
    """The image files that are masks of objects."""
    found: set[Path] = set()
    for path in root.rglob("*.json"):
        try:
            found.update(path.parent / o["mask"] for o in json.loads(path.read_text())["objects"] if o.get("mask"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return found


def _sidecar(path: Path, problems: Problems) -> tuple[tuple[Annotation, ...], Camera | None]:
    sidecar = path.with_suffix(".json")
    if not sidecar.exists():
        return (), None
    try:
        data = json.loads(sidecar.read_text())
        annotations = tuple(_annotation(o, i, path.parent) for i, o in enumerate(data["objects"]))
        k = data.get("camera")
        camera = _camera(k, path) if k else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, CameraError) as error:
        problems.add("annotation_damaged", f"{sidecar}: {type(error).__name__}: {error}")
        return (), None
    return annotations, camera


def _annotation(entry: dict[str, Any], index: int, folder: Path) -> Annotation:
    left, top, right, bottom = (float(v) for v in entry["box"])
    label = str(entry["label"]).strip()
    if not label:
        raise ValueError("an object has no label")
    return Annotation(
        label,
        (left, top, right, bottom),
        mask=entry.get("rle"),
        crowd=bool(entry.get("crowd")),
        id=str(entry.get("id", index)),
        phrases=tuple(str(p) for p in entry.get("phrases", ())),
        mask_file=str(folder / entry["mask"]) if entry.get("mask") else "",
    )


def _camera(k: dict[str, Any], picture: Path) -> Camera:
    """Intrinsics of a sidecar; a missing size is taken from the image."""
    if not (k.get("width") and k.get("height")):
        with Image.open(picture) as image:
            k = {**k, "width": image.width, "height": image.height}
    return Camera(int(k["width"]), int(k["height"]), *(float(k[name]) for name in ("fx", "fy", "cx", "cy"))).checked()
