"""Exports Omni3D's JSON (COCO-like, Brazil et al. 2023), which Cube R-CNN and its successors use.

The camera frame is the optical frame. `dimensions` are width, height and length, with the *length along the box's x*
and the width along its z. Corners 0-3 are the near face, clockwise from its upper left, 4-7 the far one. Images are in
`images/`, depth in `depth/`, and everything that the format cannot hold in `samples.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.errors import reading
from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from training.lift.export.sharegpt import SIDE_NAME, imported
from training.lift.problems import ShardError
from training.lift.reader import LiftedDataset
from training.lift.sample import Sample
from training.lift.shards import write_whole

JSON_NAME = "omni3d.json"
CORNERS = (
    np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) / 2
)
UNKNOWN = -1


def export_omni3d(data: LiftedDataset, folder: str | Path, name: str = "n3d", split: str = "train") -> int:
    """Writes a run as an Omni3D JSON with its images; returns the number of objects.

    Writes upright boxes if the run has them (`output.alignment: gravity`), else axis-aligned ones.
    """
    root = Path(folder)
    for part in ("images", "depth"):
        (root / part).mkdir(parents=True, exist_ok=True)
    categories = {label: i for i, label in enumerate(sorted(data.manifest["classes"]))}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    side = []
    for sample in data:
        write_whole(root / "images" / f"{sample.key}.{sample.suffix}", sample.image)
        write_whole(root / "depth" / f"{sample.key}.png", sample.depth)
        images.append(_image(sample, len(images)))
        for box, entry in zip(sample.boxes(), sample.meta["objects"], strict=True):
            annotations.append(_annotation(len(annotations), images[-1]["id"], categories, box, entry, sample.camera))
        side.append(json.dumps(sample.meta, ensure_ascii=False, sort_keys=True))
    out = {
        "info": {"id": 0, "source": name, "name": f"{name} {split}", "split": split, "version": "1", "url": ""},
        "images": images,
        "categories": [{"id": i, "name": label, "supercategory": ""} for label, i in categories.items()],
        "annotations": annotations,
    }
    write_whole(root / SIDE_NAME, "".join(line + "\n" for line in side).encode())
    write_whole(root / JSON_NAME, json.dumps(out, ensure_ascii=False).encode())
    return len(annotations)


def read_omni3d(path: str | Path) -> Iterator[tuple[dict[str, Any], Camera, list[OrientedBox]]]:
    """Image entry, camera and boxes of each image in an Omni3D JSON, without entries that lack a valid 3D box.

    Raises:
        ShardError: if the file is missing or has another form.
    """
    with reading(path, "Omni3D JSON", ShardError):
        data = json.loads(Path(path).read_text())
        by_image: dict[int, list[dict[str, Any]]] = {}
        for entry in data["annotations"]:
            if entry["valid3D"] and not entry["behind_camera"]:
                by_image.setdefault(entry["image_id"], []).append(entry)
        for image in data["images"]:
            camera = Camera.from_matrix(np.asarray(image["K"]), image["width"], image["height"])
            yield image, camera, [_box(e) for e in by_image.get(image["id"], [])]


def import_omni3d(folder: str | Path) -> Iterator[Sample]:
    """The samples written by `export_omni3d`, equal to the byte.

    Raises:
        ShardError: if a file is missing or damaged.
    """
    root = Path(folder)
    return imported(root, "images", lambda meta: (root / "depth" / f"{meta['key']}.png").read_bytes())


def _image(sample: Sample, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "dataset_id": 0,
        "width": sample.camera.width,
        "height": sample.camera.height,
        "file_path": f"images/{sample.key}.{sample.suffix}",
        "K": sample.camera.matrix.tolist(),
        "src_90_rotate": 0,
        "src_flagged": False,
    }


def _annotation(
    number: int, image: int, categories: dict[str, int], box: Box3D, entry: dict[str, Any], camera: Camera
) -> dict[str, Any]:
    upright = entry.get("upright")
    solid = (
        OrientedBox(
            box.label, tuple(upright["center"]), tuple(upright["size"]), quaternion=tuple(upright["quaternion"])
        )
        if upright
        else OrientedBox.of(box)
    )
    corners = np.asarray(solid.center) + (CORNERS * np.asarray(solid.size)) @ solid.rotation.T
    pixels = camera.project(corners)
    behind = bool((corners[:, 2] <= 0).any())
    hull = [UNKNOWN] * 4 if behind else [*pixels.min(0).tolist(), *pixels.max(0).tolist()]
    limits = (camera.width, camera.height) * 2
    return {
        "id": number,
        "image_id": image,
        "dataset_id": 0,
        "category_id": categories[box.label],
        "category_name": box.label,
        "valid3D": True,
        "bbox2D_tight": entry["box2d"],
        "bbox2D_proj": hull,
        "bbox2D_trunc": hull if behind else [min(max(v, 0.0), float(m)) for v, m in zip(hull, limits, strict=True)],
        "bbox3D_cam": corners.tolist(),
        "center_cam": list(solid.center),
        "dimensions": [solid.size[2], solid.size[1], solid.size[0]],
        "R_cam": solid.rotation.tolist(),
        "behind_camera": behind,
        "visibility": 1.0 - entry["border"],
        "truncation": entry["border"],
        "segmentation_pts": entry["points"],
        "lidar_pts": UNKNOWN,
        "depth_error": UNKNOWN,
    }


def _box(entry: dict[str, Any]) -> OrientedBox:
    width, height, length = (float(v) for v in entry["dimensions"])
    x, y, z = (float(v) for v in entry["center_cam"])
    turn = quaternion_of(np.asarray(entry["R_cam"], np.float64))
    return OrientedBox(str(entry["category_name"]), (x, y, z), (length, height, width), quaternion=turn)
