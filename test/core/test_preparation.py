"""Preparing a frame fast gives, to the bit, what the plain formulas give: boxes are read from the last digits."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from n3d_core.depth import DepthLimits, suspect_unit
from n3d_core.depth.cleaning import flying_pixels
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.network.preprocess import (
    DEVIATION,
    MEAN,
    coordinates_before_rounding,
    merge_group_tiles,
    patchify,
    surface_coordinates,
)
from n3d_core.preparation import letterboxed, prepare
from test.core.checkpoints import small_config

VISION = small_config().vision
SIZES = [(64, 48), (48, 64), (129, 97), (320, 240)]


def scene(width: int, height: int, holes: float, seed: int) -> NDArray[np.float32]:
    """A receding plane with blocks before it, sensor noise, holes, outliers and a smeared edge."""
    rng = np.random.default_rng(seed)
    depth = 0.6 + 1.5 * np.linspace(1, 0, height)[:, None] + 0.002 * rng.standard_normal((height, width))
    for _ in range(6):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        depth[top : top + height // 4, left : left + width // 4] = rng.uniform(0.4, 1.5)
    depth[rng.random(depth.shape) < 0.002] = 65.0
    depth[rng.random(depth.shape) < 0.002] = 0.01
    depth[rng.random(depth.shape) < holes] = np.nan
    return cv2.blur(depth, (2, 1)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_points_are_the_rays_times_their_depth(size: tuple[int, int], stride: int) -> None:
    camera, depth = Camera.from_fov(64.0, *size), scene(*size, holes=0.05, seed=1)
    z = depth[..., None]
    plain = np.concatenate([camera.rays() * z, z], axis=-1)[::stride, ::stride]
    np.testing.assert_array_equal(camera.back_project(depth, stride), plain)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("holes", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("axis_by_axis", [True, False])
def test_a_cloud_is_normalised_as_the_formula_says(size: tuple[int, int], holes: float, axis_by_axis: bool) -> None:
    points = to_model_frame(Camera.from_fov(64.0, *size).back_project(scene(*size, holes, seed=2)))
    valid = np.isfinite(points[..., 2])
    if not axis_by_axis:
        points = np.ascontiguousarray(points)
    cloud = points[valid]
    shift = cloud.min(axis=0)
    distances, total = np.linalg.norm(cloud - shift, axis=1), np.float32(0)
    for start in range(0, len(distances), 8192):
        total = np.float32(total + np.add.reduce(distances[start : start + 8192]))
    scale = 1.0 / float(np.float32(float(total) / len(distances)))
    found, normalisation = normalise(points, valid)
    np.testing.assert_array_equal(found, (points - shift) * np.float32(scale))
    assert normalisation.shift == tuple(float(v) for v in shift)
    assert normalisation.scale == scale
    before, again = points.copy(), normalise(points, valid, in_place=True)
    assert np.shares_memory(again[0], points)
    assert again[1] == normalisation
    np.testing.assert_array_equal(again[0], found)
    np.testing.assert_array_equal(to_model_frame(before.copy(), in_place=True), to_model_frame(before))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("holes", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("axis_by_axis", [True, False])
def test_points_are_pooled_in_the_order_of_the_reference(
    size: tuple[int, int], holes: float, axis_by_axis: bool
) -> None:
    points = Camera.from_fov(64.0, *size).back_project(scene(*size, holes, seed=3))
    valid = np.isfinite(points[..., 2])
    plain = torch.from_numpy(np.ascontiguousarray(points)).clone()
    mean = plain[torch.from_numpy(valid)].mean(dim=0)
    plain[~torch.from_numpy(valid)] = mean
    pooled = F.adaptive_avg_pool2d(plain.permute(2, 0, 1)[None], (6, 8))[0].permute(1, 2, 0).reshape(-1, 3)
    expected = np.asarray((pooled - pooled.double().mean().float()) / 0.001)
    given = points if axis_by_axis else np.ascontiguousarray(points)
    np.testing.assert_array_equal(coordinates_before_rounding(given, valid, 6, 8), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("holes", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("axis_by_axis", [True, False])
def test_surfaces_are_those_of_each_patch_by_itself(size: tuple[int, int], holes: float, axis_by_axis: bool) -> None:
    depth = scene(*size, holes, seed=6)
    depth[: size[1] // 2, : size[0] // 2] = np.nan  # whole patches
    points = Camera.from_fov(64.0, *size).back_project(depth)
    valid = np.isfinite(points[..., 2])
    rows, columns = (
        ((np.arange(n * 16) + 0.5) * (side / (n * 16))).astype(int) for n, side in ((6, size[1]), (8, size[0]))
    )
    expected = []
    for row in range(6):
        for column in range(8):
            window = np.ix_(rows[16 * row : 16 * row + 16], columns[16 * column : 16 * column + 16])
            x, y, z = points[window][valid[window]].T
            if not len(z):
                expected.append([0, 0, 0])
                continue
            surface = np.sort(z)[(len(z) - 1) // 4]
            before = z <= surface
            expected.append([x[before].mean(dtype=float), y[before].mean(dtype=float), surface])
    given = points if axis_by_axis else np.ascontiguousarray(points)
    found = surface_coordinates(given, valid, 6, 8)
    np.testing.assert_array_equal(found, np.round((np.array(expected) - 0.5) / 0.001))


def test_the_unit_is_judged_by_the_pixels_of_a_mask_as_by_those_alone() -> None:
    depth = (np.round(scene(320, 240, holes=0.1, seed=7) * 1000) * 5 / 1000).astype(np.float32)
    kept = np.isfinite(depth) & (depth > 2.0) & (depth < 20.0)
    alone, masked = suspect_unit(depth[kept]), suspect_unit(depth, measured=kept)
    assert masked == alone
    assert masked is not None
    assert "multiples of 5 mm" in masked.message


def test_patches_are_every_pixel_normalised_in_fp32() -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    noise = np.random.default_rng(4).integers(0, 256, (55, 256, 3), dtype=np.uint8)
    image = np.concatenate([ramp, noise])[:, :252]
    image = np.concatenate([image, 255 - image])  # every value in every channel
    scaled = ((image * (1 / 255)).astype(np.float32) - MEAN) / DEVIATION
    tiles = merge_group_tiles(scaled, VISION)
    expected = np.repeat(tiles[:, :, None], VISION.temporal_patch_size, axis=2).reshape(len(tiles), -1)
    found, grid_h, grid_w = patchify(image, VISION)
    assert (grid_h, grid_w) == (112 // VISION.patch_size, 252 // VISION.patch_size)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("holes", [0.0, 0.02, 0.4])
def test_flying_pixels_are_those_of_the_filter_written_out(size: tuple[int, int], holes: float) -> None:
    depth, limits = scene(*size, holes, seed=5), DepthLimits()
    kept = np.isfinite(depth) & (depth > limits.near) & (depth < limits.far)
    found = flying_pixels(depth, kept, limits)
    level = np.where(kept, np.round(np.log(depth) / 0.001), np.nan)
    jump = np.log1p(limits.jump) / 0.001
    smeared = in_short_runs(level, jump) | in_short_runs(level.T, jump).T
    solid = np.where(kept & ~smeared, level - np.floor(np.log(limits.near) / 0.001), -1).astype(np.int16)
    specks = solid.copy()
    cv2.filterSpeckles(specks, -1, max(int(limits.speck * depth.size), 4), jump)
    np.testing.assert_array_equal(found, smeared | ((solid >= 0) & (specks < 0)))


def test_a_letterboxed_frame_has_the_same_points_in_metres() -> None:
    camera, depth = Camera.from_fov(70.0, 96, 30), scene(96, 30, holes=0.05, seed=3)
    frame = Frame(np.full((30, 96, 3), 200, np.uint8), depth, camera)
    config = replace(small_config(), ratios=((4, 3), (16, 9)))
    boxed = letterboxed(frame, config)
    assert (boxed.width, boxed.height) == (96, 54)
    inside = np.s_[12:42]
    np.testing.assert_array_equal(boxed.depth[inside], depth)
    np.testing.assert_allclose(
        boxed.camera.back_project(boxed.depth)[inside], camera.back_project(depth), rtol=1e-5, atol=1e-6
    )
    border = np.ones(boxed.depth.shape, bool)
    border[inside] = False
    assert np.isnan(boxed.depth[border]).all()
    assert not boxed.color[border].any()
    assert (boxed.color[inside] == 200).all()
    assert letterboxed(frame, small_config()) is frame


def test_letterboxing_is_said() -> None:
    camera, depth = Camera.from_fov(70.0, 320, 100), scene(320, 100, holes=0.0, seed=4)
    frame = Frame(np.zeros((100, 320, 3), np.uint8), depth, camera)
    config = replace(small_config(), ratios=((4, 3), (16, 9)))
    prepared = prepare(frame, DepthLimits(), config)
    assert any("trained on 4:3, 16:9: it is letterboxed to 320x180" in w for w in prepared.depth.warnings)
    assert prepared.codec.camera.height == 180
    assert not any("letterboxed" in w for w in prepare(frame, DepthLimits(), small_config()).depth.warnings)


def in_short_runs(level: NDArray[np.float64], jump: float) -> NDArray[np.bool_]:
    """Pixels between two jumps of their row in one direction, in runs of up to three."""
    out = np.zeros(level.shape, bool)
    for row, values in enumerate(level):
        step = np.diff(values)
        between = [
            False,
            *(((step[:-1] > jump) & (step[1:] > jump)) | ((step[:-1] < -jump) & (step[1:] < -jump))),
            False,
        ]
        start = 0
        for place, inside in enumerate([*between, False]):
            if not inside:
                out[row, start:place] = place - start <= 3
                start = place + 1
    return out[:, : level.shape[1]]
