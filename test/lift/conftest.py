"""Fixtures of the data engine's tests: little data sets with exact truth, written as the real ones are."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bench.primitives import SHAPES, PrimitiveScene, render_primitives, sensor_noise
from training.lift import masks
from training.lift.lift_config import LiftConfig, OutputConfig, SourceConfig
from training.lift.object_mask import ObjectMask

FOV = 62.0


@dataclass(frozen=True)
class CocoFolder:
    """A COCO data set with depth images, and the scenes it was made from."""

    root: Path
    scenes: list[PrimitiveScene]

    def config(self, output: Path, **settings: object) -> LiftConfig:
        source = SourceConfig(
            "coco",
            str(self.root / "images"),
            str(self.root / "instances.json"),
            depth=str(self.root / "depth"),
            fov=FOV,
        )
        return LiftConfig(source, OutputConfig(str(output), images_per_shard=2, pictures=2, **settings))


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    """Eight 320x240 scenes with five objects each, four shards of two."""
    root = tmp_path_factory.mktemp("coco")
    scenes = [render_primitives(seed, objects=5, width=320, height=240) for seed in range(8)]
    write_coco(root, scenes)
    return CocoFolder(root, scenes)


def write_coco(root: Path, scenes: list[PrimitiveScene]) -> None:
    """Pictures, noisy depth in millimetres, and `instances.json` with run lengths."""
    for folder in ("images", "depth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for k, scene in enumerate(scenes):
        name = f"{k:06d}.jpg"
        cv2.imwrite(str(root / "images" / name), scene.color[:, :, ::-1])
        depth = sensor_noise(scene.depth, k, scene.camera.fx)
        cv2.imwrite(str(root / "depth" / f"{k:06d}.png"), np.nan_to_num(depth * 1000).astype(np.uint16))
        height, width = scene.depth.shape
        images.append({"id": k, "file_name": name, "width": width, "height": height})
        for i, solid in enumerate(scene.solids):
            mask = ObjectMask.from_image(scene.instances == i)
            left, top, right, bottom = mask.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": k,
                    "category_id": SHAPES.index(solid.shape) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": masks.encode(mask, height, width),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": s} for i, s in enumerate(SHAPES)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(data))
