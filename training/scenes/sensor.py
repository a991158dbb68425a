"""Simulates an RGB-D camera: noise, quantisation, holes and a limited range."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Camera
from training.scenes.scene_config import SceneConfig

_SUBPIXEL = 16  # disparities are measured in sixteenths of a pixel
_GRAZING = np.tan(np.radians(82.0))  # at flatter angles, nothing is measured


def noisy_depth(
    depth: NDArray[np.float32], camera: Camera, config: SceneConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Simulates a stereo sensor's depth [H, W] in metres (NaN where nothing is measured) from true depth.

    Noise and quantisation apply to the disparity, so both grow with the square of the distance. Holes appear at depth
    edges, on surfaces at a grazing angle, as a few blobs (missing texture), and outside the sensor's range.
    """
    _height, width = depth.shape
    scale = config.disparity_scale * camera.fx / (0.9 * camera.width)
    jittered = _jitter(depth, rng, 0.5 * width / 640)
    disparity = scale / np.maximum(jittered, 1e-3)
    disparity += rng.standard_normal(depth.shape, dtype=np.float32) * rng.uniform(0.02, 0.10)
    disparity = np.round(disparity * _SUBPIXEL) / _SUBPIXEL
    measured = (scale / np.maximum(disparity, 0.5 / _SUBPIXEL)).astype(np.float32)
    jump = _jumps(depth)
    lost = jump & (rng.random(depth.shape, dtype=np.float32) < rng.uniform(0.15, 0.7))
    lost |= (_grazing(depth, camera, rng) & ~jump) | _blobs(depth.shape, rng)
    lost |= (measured < config.depth_range[0]) | (measured > config.depth_range[1])
    measured[lost] = np.nan
    return np.asarray(np.round(measured * 1000) / 1000, dtype=np.float32)


def noisy_color(color: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Adds exposure, white balance, gamma and shot noise to a uint8 RGB image [H, W, 3]."""
    gain = rng.uniform(0.85, 1.12) * (1 + 0.025 * rng.standard_normal(3))
    table = (np.arange(256)[:, None] / 255 * gain).clip(0, 1) ** rng.uniform(0.88, 1.15) * 255
    toned = np.stack([table[:, c].astype(np.float32)[color[..., c]] for c in range(3)], axis=-1)
    sigma = rng.uniform(0.5, 4.5)
    toned += rng.standard_normal(color.shape, dtype=np.float32) * sigma
    return np.asarray(np.clip(toned + 0.5, 0, 255), dtype=np.uint8)


def _jitter(depth: NDArray[np.float32], rng: np.random.Generator, pixels: float) -> NDArray[np.float32]:
    """Depth sampled at slightly wrong pixels, which frays edges."""
    y, x = np.mgrid[0 : depth.shape[0], 0 : depth.shape[1]].astype(np.float32)
    offset = rng.standard_normal((2, *depth.shape), dtype=np.float32) * pixels
    return np.asarray(
        cv2.remap(depth, x + offset[0], y + offset[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    )


def _jumps(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels next to a jump in depth."""
    reach = max(1, round(depth.shape[1] / 320))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near, far = cv2.erode(depth, kernel), cv2.dilate(depth, kernel)
    return np.asarray((far - near) > 0.05 * near + 0.02)


def _grazing(depth: NDArray[np.float32], camera: Camera, rng: np.random.Generator) -> NDArray[np.bool_]:
    dy, dx = np.gradient(depth)
    slope = np.hypot(dx * camera.fx, dy * camera.fy) / np.maximum(depth, 1e-3)
    return np.asarray((slope > _GRAZING) & (rng.random(depth.shape, dtype=np.float32) < 0.8))


def _blobs(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    coarse = rng.standard_normal((12, 16)).astype(np.float32)
    field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field > rng.uniform(1.9, 3.2))
