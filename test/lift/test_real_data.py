"""Real RGB-D frames and the reference's demo images; skipped where the folder of real data is not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from n3d_core.depth.files import read_depth, read_point_map
from n3d_core.geometry import Box3D, Camera, iou_3d
from training.lift.boxes import box_between
from training.lift.completion import CompletionConfig
from training.lift.export.sharegpt import parse_boxes
from training.lift.lift_config import LiftConfig, ModelsConfig, OutputConfig, SourceConfig
from training.lift.lifting import Candidate, lift
from training.lift.masks import from_depth
from training.lift.observation import check_depth
from training.lift.problems import ImageProblem
from training.lift.reader import LiftedDataset
from training.lift.rules import RulesConfig
from training.lift.run import run

DATA = Path(__file__).parents[3] / "shared/data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data (../shared/data) is not here")
ANY = RulesConfig(min_quality=0.0, max_border_share=0.9, min_depth_share=0.05)


def sunrgbd_bed() -> tuple[np.ndarray, Camera, list[tuple[str, tuple, Box3D]]]:
    """Depth from the cloud's points (closed over 7x7 pixels), camera, and the axis-aligned hulls of the true boxes."""
    truth = json.loads((DATA / "sunrgbd_bed/annotation.json").read_text())
    height, width = truth["height"], truth["width"]
    points = np.fromfile(DATA / "sunrgbd_bed/points_xyzrgb.f32", np.float32).reshape(-1, 6)[:, :3].astype(np.float64)
    project = np.asarray(truth["depth2img"])
    turn = np.linalg.qr(np.linalg.inv(project))  # project = K R
    rotation, k = np.linalg.inv(turn[0]), np.linalg.inv(turn[1])
    signs = np.diag(np.sign(np.diag(k)))
    k, rotation = k @ signs, signs @ rotation
    camera = Camera.from_matrix(k / k[2, 2], width, height)
    optical = points @ rotation.T
    uv = np.rint(camera.project(optical)).astype(int)
    ok = (uv >= 0).all(1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    depth = np.full((height, width), np.inf, np.float32)
    np.minimum.at(depth, (uv[ok, 1], uv[ok, 0]), optical[ok, 2].astype(np.float32))
    near = cv2.erode(depth, np.ones((7, 7), np.uint8))
    depth = np.where(np.isfinite(depth), depth, near)
    depth[~np.isfinite(depth)] = np.nan
    boxes = []
    for b in truth["boxes"]:
        half = np.asarray(b["size_xyz"]) / 2
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
        c, s = np.cos(b["yaw_about_up"]), np.sin(b["yaw_about_up"])
        world = corners @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + b["center_xyz"]
        seen = world @ rotation.T
        boxes.append((b["class"], tuple(b["bbox_2d_xyxy"]), box_between(b["class"], seen.min(0), seen.max(0))))
    return depth, camera, boxes


def test_sunrgbd_boxes_lifted_from_their_2d_boxes_reach_the_true_ones() -> None:
    depth, camera, boxes = sunrgbd_bed()
    candidates = [Candidate(name, box, from_depth(box, depth, camera)) for name, box, _ in boxes]
    found = {
        o.visible.label: o for o in lift(candidates, depth, camera, rules=ANY, completion=CompletionConfig()).objects
    }
    for name, _, true in boxes:
        whole = found[name].whole
        offset = np.linalg.norm(np.subtract(whole.center, true.center))
        print(
            f"{name}: visible {iou_3d(found[name].visible, true):.3f} whole {iou_3d(whole, true):.3f}, {offset:.2f} m"
        )
        assert iou_3d(whole, true) > 0.25
        assert offset < 0.5


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_published_boxes_projections_lift_near_the_published_boxes(number: int) -> None:
    depth, camera = read_point_map(DATA / f"n3d_demo/demo{number}.npz")
    text = json.loads((DATA / f"n3d_demo/published_output_{number}.json").read_text())[0]["Native 3D Grounding"]
    published = parse_boxes(re.sub(r"[ ]+", " ", text), camera)
    candidates = []
    for i, box in enumerate(published):
        hull = box.image_box(camera)
        assert hull is not None
        candidates.append(Candidate(str(i), hull, from_depth(hull, depth, camera)))
    found = lift(candidates, depth, camera, rules=ANY, completion=None).objects
    assert len(found) >= 0.8 * len(published)
    gaps = []
    for o in found:
        true = published[o.index]
        gaps.append(float(np.linalg.norm(np.subtract(o.visible.center, true.center)) / true.center[2]))
        print(f"demo{number} {true.label} {o.index}: IoU {iou_3d(o.visible, true):.3f}, off by {gaps[-1]:.1%} of z")
    assert np.median(gaps) < 0.10


def test_tum_depth_read_as_millimetres_is_refused_with_its_factor() -> None:
    wrong = read_depth(DATA / "tum_desk/depth.png", "mm")
    with pytest.raises(ImageProblem, match="5000 values per metre") as caught:
        check_depth(wrong, "desk")
    assert caught.value.reason == "depth_unit"
    check_depth(read_depth(DATA / "tum_desk/depth.png", "tum"), "desk")


def test_sun_depth_with_its_bits_not_rotated_back_is_refused() -> None:
    with pytest.raises(ImageProblem):
        check_depth(read_depth(DATA / "sun_hallway/depth.png", "mm"), "hallway")
    check_depth(read_depth(DATA / "sun_hallway/depth.png", "sun"), "hallway")


def test_redwood_pairs_run_from_folder_to_shard(tmp_path: Path) -> None:
    root = tmp_path / "redwood"
    shutil.copytree(DATA / "redwood", root)
    Camera(640, 480, 525.0, 525.0, 319.5, 239.5).to_yaml(root / "camera.yaml")
    names = sorted(p.name for p in (root / "color").iterdir())
    images = [{"id": i, "file_name": n, "width": 640, "height": 480} for i, n in enumerate(names)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [200, 180, 200, 200], "iscrowd": 0} for i in range(5)
    ]
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "coco.json").write_text(json.dumps(data))
    source = SourceConfig("open3d", str(root), str(root / "coco.json"))
    config = LiftConfig(source, OutputConfig(str(tmp_path / "out")), ModelsConfig(), rules=RulesConfig(min_quality=0.0))
    result = run(config)
    assert result["complete"]
    assert result["images"] == 5
    for sample in LiftedDataset(tmp_path / "out"):
        assert sample.meta["camera"]["origin"] == "given"
        assert sample.meta["depth"]["origin"] == "sensor"
        assert sample.image == (root / "color" / f"{sample.key.removeprefix('open3d_redwood_')}.jpg").read_bytes()
