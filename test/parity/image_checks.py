"""Compares `preprocess.json` (sizes and image modes) and `sine3d.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from n3d_core.errors import ImageError
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import sinusoid
from n3d_core.network.preprocess import (
    longest_side_size,
    merge_group_tiles,
    resize_for_model,
    resize_longest_side,
    whole_token_size,
)
from test.parity import compat
from test.parity.golden import Arrays, inside, sha256
from test.parity.report import Report


def check_images(golden: dict[str, Any], images: Path, config: N3DConfig, report: Report) -> None:
    """Compares sizes, and the pixels of images of every mode."""
    for item in golden.get("sizes", []):
        with report.guarded("sizes", f"preprocess.json/{item.get('wh')}"):
            _check_size(item, config, report)
    for item in golden.get("modes", []):
        with report.guarded("image_modes", f"preprocess.json/{item.get('file')}"):
            _check_mode(item, inside(images, item["file"]), config, report)


def check_sinusoid(golden: Arrays, report: Report) -> None:
    """Compares the sinusoid alone at every width."""
    points = golden["xyz"]
    for name, wanted in golden.items():
        if name != "xyz":
            ours = sinusoid(torch.from_numpy(points), int(name.removeprefix("pe_"))).numpy()
            report.near("sine", f"sine3d/{name}", ours, wanted)


def _check_size(item: dict[str, Any], config: N3DConfig, report: Report) -> None:
    width, height = item["wh"]
    token, patch = config.vision.pixels_per_token, config.vision.patch_size
    what = f"{width}x{height}"
    if "moge_points_hw" in item:
        report.same("sizes", f"{what}/cloud", list(compat.cloud_size(width, height)), item["moge_points_hw"])
    size = longest_side_size(width, height, config.image_longest_side)
    if "resized_640_wh" in item:
        report.same("sizes", f"{what}/longest side", list(size), item["resized_640_wh"])
    try:
        final = whole_token_size(*size, token)
    except ImageError:
        report.same("sizes", f"{what}/refused", True, "error" in item)
        return
    grid = [1, final[1] // patch, final[0] // patch]
    ours = {"model_input_wh": list(final), "grid_thw": grid, "image_tokens": grid[1] * grid[2] // 4}
    report.same("sizes", what, ours, {key: item.get(key) for key in ours})


def _check_mode(item: dict[str, Any], path: Path, config: N3DConfig, report: Report) -> None:
    with Image.open(path) as image:
        image.load()
        report.same("image_modes", f"{path.name}/mode", [image.mode, list(image.size)], [item["mode"], item["wh"]])
        resized = np.asarray(resize_longest_side(image, config.image_longest_side))
        tiles = merge_group_tiles(np.asarray(resize_for_model(image, config)), config.vision)
    report.same("image_modes", f"{path.name}/resized", sha256(resized), item["resized_640_sha256"])
    report.same("image_modes", f"{path.name}/pixels", sha256(tiles), item["pixel_u8_sha256"])
