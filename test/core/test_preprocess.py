"""Pixels and points reach the tower as the released model knows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from n3d_core.errors import DepthError, ImageError
from n3d_core.network.plan import image_plan
from n3d_core.network.preprocess import (
    DEVIATION,
    MEAN,
    canvas_size,
    coordinates_before_rounding,
    longest_side_size,
    merge_group_tiles,
    model_size,
    patchify,
    pooled_coordinates,
    resize_for_model,
    surface_coordinates,
    vision_input,
    whole_token_size,
)
from test.core.checkpoints import small_config
from test.parity.compat import laid_out

CONFIG = small_config()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "first", "final"),
    [
        ((769, 512), (640, 426), (644, 420)),  # the short side is cut, not rounded
        ((767, 1023), (479, 640), (476, 644)),
        ((640, 480), (640, 480), (644, 476)),
        ((642, 636), (640, 634), (644, 644)),
        ((1, 1), (640, 640), (644, 644)),
        ((4000, 180), (640, 28), (644, 28)),
        ((1920, 1080), (640, 360), (644, 364)),
    ],
)
def test_sizes(size: tuple[int, int], first: tuple[int, int], final: tuple[int, int]) -> None:
    assert longest_side_size(*size, 640) == first
    assert whole_token_size(*first, 28) == final


def test_half_a_token_rounds_to_even() -> None:
    assert whole_token_size(28 * 10 + 14, 28 * 11 + 14, 28) == (280, 336)


@pytest.mark.parametrize("size", [(4000, 170), (10, 4000), (4000, 1)])
def test_images_too_elongated_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="at least 28 pixels"):
        resize_for_model(Image.new("RGB", size), CONFIG)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_sizes_keep_the_longest_side_and_whole_tokens(width: int, height: int) -> None:
    first = longest_side_size(width, height, 640)
    assert max(first) == 640
    assert min(first) >= 1
    if min(first) >= 28:
        final = whole_token_size(*first, 28)
        assert all(side % 28 == 0 and abs(side - before) <= 14 for side, before in zip(final, first, strict=True))


def test_the_horizontal_pass_comes_first_whatever_pillow_prefers() -> None:
    image = Image.fromarray(noise(512, 769))
    first = image.resize((640, 512), Image.Resampling.LANCZOS).resize((640, 426), Image.Resampling.LANCZOS)
    final = first.resize((644, 426), Image.Resampling.BICUBIC).resize((644, 420), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(resize_for_model(image, CONFIG)), np.asarray(final))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_image_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(noise(60, 90)).convert(mode)
    resized = resize_for_model(image, CONFIG)
    assert (resized.mode, resized.size) == ("RGB", (644, 420))


def test_transparent_colours_do_not_bleed() -> None:
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[:, :32] = (255, 0, 0, 255)
    pixels[:, 32:] = (0, 255, 0, 0)  # green that nobody sees
    resized = np.asarray(resize_for_model(Image.fromarray(pixels, "RGBA"), CONFIG))
    assert resized[..., 1].max() == 0


def test_patches_are_normalised_and_grouped_by_token() -> None:
    image = noise(56, 84)  # 4 x 6 patches, 2 x 3 tokens
    patches, grid_h, grid_w = patchify(image, CONFIG.vision)
    assert (grid_h, grid_w, patches.dtype) == (4, 6, np.float32)
    values = patches.reshape(24, 3, 2, 14, 14)
    assert np.array_equal(values[:, :, 0], values[:, :, 1])
    # The tenth patch is the second of the third token: token row 0, column 2, its right top patch.
    block = image[0:14, 70:84].transpose(2, 0, 1).astype(np.float64) / 255
    expected = (block - MEAN[:, None, None]) / DEVIATION[:, None, None]
    assert np.abs(values[9, :, 0] - expected).max() < 1e-6


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=30)
def test_cutting_into_tiles_loses_nothing(token_h: int, token_w: int, channels: int) -> None:
    image = noise(token_h * 28, token_w * 28, channels)
    tiles = merge_group_tiles(image, CONFIG.vision)
    groups = tiles.reshape(token_h, token_w, 2, 2, channels, 14, 14)
    back = groups.transpose(0, 2, 5, 1, 3, 6, 4).reshape(image.shape)
    assert np.array_equal(back, image)


def test_points_are_pooled_centred_and_rounded() -> None:
    points = np.zeros((4, 4, 3), dtype=np.float32)
    points[..., 0] = np.arange(4) * 0.01  # pooled to 0.005 and 0.025
    coordinates = pooled_coordinates(points, np.ones((4, 4), bool), 2, 2)
    # One scalar mean over all axes, (0.015 + 0 + 0) / 3 = 0.005, is subtracted.
    assert coordinates.tolist() == [[0, -5, -5], [20, -5, -5], [0, -5, -5], [20, -5, -5]]


def test_invalid_points_count_as_the_mean_of_the_valid_ones() -> None:
    points = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    valid = np.ones((8, 8), bool)
    valid[:4, :4] = False
    filled = points.copy()
    filled[:4, :4] = points[valid].mean(axis=0)
    points[:4, :4] = np.nan
    holes = coordinates_before_rounding(points, valid, 2, 2)
    assert np.abs(holes - coordinates_before_rounding(filled, np.ones((8, 8), bool), 2, 2)).max() < 1e-3
    assert np.isnan(points[0, 0, 0])  # the caller's points are left alone


@pytest.mark.parametrize("pool", [pooled_coordinates, surface_coordinates])
def test_unusable_points_are_refused(pool: Callable[..., np.ndarray]) -> None:
    points = np.zeros((4, 4, 3), dtype=np.float32)
    with pytest.raises(DepthError, match="no valid point"):
        pool(points, np.zeros((4, 4), bool), 2, 2)
    points[1, 1] = np.nan
    with pytest.raises(DepthError, match="not finite"):
        pool(points, np.ones((4, 4), bool), 2, 2)


def test_the_surface_of_a_patch_is_that_of_the_object_before_it() -> None:
    points = np.full((32, 32, 3), 0.8, dtype=np.float32)
    points[:10, :8] = (0.3, 0.4, 0.6)  # covers 80 of 256 pixels of the first patch
    valid = np.ones((32, 32), bool)
    valid[16:, 16:] = False
    points[16:, 16:] = np.nan
    valid[16:, :16] = np.arange(16) % 2 == 0  # every other column: holes do not count
    coordinates = surface_coordinates(points, valid, 2, 2)
    assert coordinates.tolist() == [[-200, -100, 100], [300, 300, 300], [300, 300, 300], [-500, -500, -500]]


def test_the_surface_of_a_patch_is_found_at_any_resolution() -> None:
    rng = np.random.default_rng(0)
    points = np.kron(rng.random((6, 8, 3), dtype=np.float32), np.ones((16, 16, 1), np.float32))
    fine = np.kron(points, np.ones((3, 3, 1), np.float32))
    small = surface_coordinates(points, np.ones(points.shape[:2], bool), 6, 8)
    np.testing.assert_array_equal(surface_coordinates(fine, np.ones(fine.shape[:2], bool), 6, 8), small)


def test_models_trained_here_see_surfaces_and_released_ones_means() -> None:
    color, cloud = noise(480, 640), np.random.default_rng(0).random((480, 640, 3), dtype=np.float32)
    valid = np.random.default_rng(1).random((480, 640)) < 0.7
    ours = vision_input(color, cloud, valid, replace(CONFIG, points="valid"))
    released = vision_input(color, cloud, valid, CONFIG)
    grid = released.plan.grid_h, released.plan.grid_w
    np.testing.assert_array_equal(released.coordinates, pooled_coordinates(cloud, valid, *grid))
    np.testing.assert_array_equal(ours.coordinates, surface_coordinates(cloud, valid, *grid))
    assert released.plan.places is None
    assert released.plan.place_channels is None


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((640, 480), (640, 480)),
        ((848, 480), (848, 480)),  # 16:9 but for half a per cent
        ((1280, 1024), (1365, 1024)),
        ((640, 200), (640, 360)),
        ((400, 1280), (720, 1280)),
        ((640, 576), (640, 640)),
    ],
)
def test_an_image_of_an_untrained_ratio_stands_on_the_smallest_canvas(
    size: tuple[int, int], canvas: tuple[int, int]
) -> None:
    trained = replace(CONFIG, ratios=((4, 3), (16, 9), (9, 16), (1, 1)))
    assert canvas_size(*size, trained) == canvas
    assert canvas_size(*size, CONFIG) == size
    assert model_size(*size, trained) == model_size(*canvas, CONFIG)


@pytest.mark.parametrize(
    ("height", "width", "same"), [(480, 640, True), (640, 480, True), (640, 640, True), (634, 640, False)]
)
def test_only_near_square_landscape_images_are_scrambled_by_the_reference(height: int, width: int, same: bool) -> None:
    cloud = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    valid = np.ones((height, width), bool)
    product = vision_input(noise(height, width), cloud, valid, CONFIG)
    grid = product.plan.grid_h, product.plan.grid_w
    assert product.plan is image_plan(CONFIG, *grid)
    np.testing.assert_array_equal(product.coordinates, pooled_coordinates(cloud, valid, *grid))
    scrambled = laid_out(cloud, *grid)
    assert np.array_equal(scrambled, cloud) is same
    np.testing.assert_array_equal(scrambled.reshape(-1, 3), cloud.reshape(-1, 3))  # points are moved, not changed
