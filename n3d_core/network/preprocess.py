"""From an RGB image and a point map to the vision tower's inputs: patches, coordinates and their plan.

Images follow the Qwen2-VL image processor and N3D-VLM's demo: Lanczos to the longest side, bicubic to multiples of a
token's pixels, CLIP's mean and deviation. All in fp32 on the host.

Points are pooled to the patch grid and rounded; `model.sinusoid` encodes them. The config selects one of two variants.
`mean` is the released one. `valid` is for models trained here: it ignores holes, represents a patch by its nearest
surface rather than a mix of object and background, subtracts a constant instead of a mean that the network would have
to guess, and reserves some channels for the patch's image position, so that image coordinates can be read off for any
aspect ratio and principal point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from n3d_core.errors import DepthError, ImageError
from n3d_core.network.config import N3DConfig, VisionConfig
from n3d_core.network.plan import ImagePlan, image_plan

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
UNIT = 0.001  # of the normalised cloud: one step of the 3D positional encoding
CENTRE = 0.5  # of the normalised cloud, subtracted by `valid`: about the mean coordinate of an indoor scene
_SAMPLES = 16  # points along each side of a patch that `valid` samples
_SAME_RATIO = 0.04  # difference of logarithms, no more than rounding an image to whole tokens changes
_SCALED = (np.arange(256, dtype=np.uint8) * (1 / 255)).astype(np.float32)
_NORMALISED = ((_SCALED[:, None] - MEAN) / DEVIATION)[None]  # [1, 256, 3]: normalised value of each pixel value


@dataclass(frozen=True)
class VisionInput:
    """The vision tower's input for one image.

    Attributes:
        patches: float32 [P, C*T*S*S] normalised pixels in merge-group order.
        coordinates: float32 [P, 3] rounded point coordinates in row-major patch order.
        plan: constants of that patch grid.
    """

    patches: NDArray[np.float32]
    coordinates: NDArray[np.float32]
    plan: ImagePlan


def vision_input(
    color: NDArray[np.uint8],
    points: NDArray[np.float32],
    valid: NDArray[np.bool_],
    config: N3DConfig,
) -> VisionInput:
    """Prepares RGB [H, W, 3] and a normalised point map [h, w, 3] of the same view for the vision tower.

    Args:
        valid: [h, w], True where a point was measured.

    Raises:
        ImageError: if the image is too elongated. DepthError: if no point is valid, or a valid one is not finite.
    """
    image = resize_for_model(Image.fromarray(color), config)
    patches, grid_h, grid_w = patchify(np.asarray(image), config.vision)
    coordinates = point_coordinates(points, valid, grid_h, grid_w, config)
    return VisionInput(patches, coordinates, image_plan(config, grid_h, grid_w))


def point_coordinates(
    points: NDArray[np.float32], valid: NDArray[np.bool_], grid_h: int, grid_w: int, config: N3DConfig
) -> NDArray[np.float32]:
    """Rounded coordinates [grid_h * grid_w, 3] of a normalised point map [H, W, 3], in the config's variant.

    Raises:
        DepthError: if no point is valid, or a valid one is not finite.
    """
    pool = surface_coordinates if config.points == "valid" else pooled_coordinates
    return pool(points, valid, grid_h, grid_w)


def resize_for_model(image: Image.Image, config: N3DConfig) -> Image.Image:
    """RGB image at the vision tower's size: resized to the longest side (Lanczos), then to whole tokens (bicubic).

    Raises:
        ImageError: if a side is shorter than one token after the first step.
    """
    final = model_size(image.width, image.height, config)
    return _resize(resize_longest_side(image, config.image_longest_side), final, Image.Resampling.BICUBIC)


def canvas_size(width: int, height: int, config: N3DConfig) -> tuple[int, int]:
    """(width, height) of the smallest canvas that holds an image and has an aspect ratio the model was trained on.

    Returns the image's own size if the model takes any ratio, or if its ratio is within 4 % of a trained one.
    """
    ratio = width / height
    if any(abs(math.log(ratio * h / w)) <= _SAME_RATIO for w, h in config.ratios) or not config.ratios:
        return width, height
    canvases = [
        (width, round(width * h / w)) if ratio * h > w else (round(height * w / h), height) for w, h in config.ratios
    ]
    return min(canvases, key=math.prod)


def model_size(width: int, height: int, config: N3DConfig) -> tuple[int, int]:
    """(width, height) of an image at the vision tower's input, including the border of a letterboxed one.

    Raises:
        ImageError: as `whole_token_size`.
    """
    scaled = longest_side_size(*canvas_size(width, height, config), config.image_longest_side)
    return whole_token_size(*scaled, config.vision.pixels_per_token)


def patch_grid(width: int, height: int, config: N3DConfig) -> tuple[int, int]:
    """(rows, columns) of an image's patches."""
    columns, rows = (side // config.vision.patch_size for side in model_size(width, height, config))
    return rows, columns


def resize_longest_side(image: Image.Image, longest: int) -> Image.Image:
    """RGB image whose longest side is `longest` pixels, resized in the image's own mode (no EXIF rotation)."""
    size = longest_side_size(image.width, image.height, longest)
    return _resize(image, size, Image.Resampling.LANCZOS).convert("RGB")


def _resize(image: Image.Image, size: tuple[int, int], method: Image.Resampling) -> Image.Image:
    """`Image.resize` with the horizontal pass first, whatever Pillow is installed.

    Each pass rounds to 8 bits, so the order matters (by up to 5 levels); Pillow 13 changes it for some sizes.
    """
    if image.mode in ("1", "P"):  # nearest neighbour, as Pillow does for these modes
        return image.resize(size, method)
    if image.mode in ("LA", "RGBA"):  # colours are weighted by their alpha
        return _resize(image.convert({"LA": "La", "RGBA": "RGBa"}[image.mode]), size, method).convert(image.mode)
    return image.resize((size[0], image.height), method).resize(size, method)


def longest_side_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """(width, height) scaled so that the longest side is `longest`; the other is cut to an integer, at least 1."""
    if width >= height:
        return longest, max(1, int(height * longest / width))
    return max(1, int(width * longest / height)), longest


def whole_token_size(width: int, height: int, token: int) -> tuple[int, int]:
    """(width, height) rounded (half to even) to multiples of `token` pixels."""
    if min(width, height) < token:
        raise ImageError(
            f"image is {width}x{height} at the model's resolution: each side must have at least {token} pixels; "
            "use an image that is less elongated"
        )
    return round(width / token) * token, round(height / token) * token


def patchify(image: NDArray[np.uint8], vision: VisionConfig) -> tuple[NDArray[np.float32], int, int]:
    """RGB [H, W, 3] -> normalised patches [P, C*T*S*S] in merge-group order, and the patch grid's height and width."""
    side = vision.patch_size
    grid_h, grid_w = image.shape[0] // side, image.shape[1] // side
    tiles = merge_group_tiles(cv2.LUT(image, _NORMALISED), vision)
    frames = np.repeat(tiles[:, :, None], vision.temporal_patch_size, axis=2)  # a still image: equal frames
    return np.ascontiguousarray(frames.reshape(grid_h * grid_w, -1)), grid_h, grid_w


def merge_group_tiles(pixels: NDArray[Any], vision: VisionConfig) -> NDArray[Any]:
    """Cuts [H, W, C] into patches [P, C, S, S]; those of one image token are adjacent."""
    side, merge = vision.patch_size, vision.spatial_merge_size
    height, width, channels = pixels.shape
    group = side * merge
    tiles = pixels.reshape(height // group, merge, side, width // group, merge, side, channels)
    tiles = tiles.transpose(0, 3, 1, 4, 6, 2, 5)  # token row, token col, row and col in the token, C, S, S
    return np.ascontiguousarray(tiles.reshape(-1, channels, side, side))


def pooled_coordinates(
    points: NDArray[np.float32], valid: NDArray[np.bool_], grid_h: int, grid_w: int
) -> NDArray[np.float32]:
    """Rounded coordinates [grid_h * grid_w, 3] in row-major patch order, of a normalised point map [H, W, 3].

    Invalid points count as the mean of the valid ones; one scalar mean over all three axes is subtracted.

    Raises:
        DepthError: if no point is valid, or a valid one is not finite.
    """
    return np.round(coordinates_before_rounding(points, valid, grid_h, grid_w))


def coordinates_before_rounding(
    points: NDArray[np.float32], valid: NDArray[np.bool_], grid_h: int, grid_w: int
) -> NDArray[np.float32]:
    """`pooled_coordinates` before rounding (half to even)."""
    if not valid.any():
        raise DepthError("no valid point to encode: the depth image holds no measurement")
    # copied to a point-by-point layout: the order of summation in mean and pooling shows in the last bits
    cloud = cv2.merge(list(np.moveaxis(np.asarray(points, dtype=np.float32), -1, 0)))
    rows = cloud.reshape(-1, 3)
    mean = torch.from_numpy(rows.take(np.flatnonzero(valid), axis=0)).mean(dim=0)
    if not torch.isfinite(mean).all():
        raise DepthError("a valid point is not finite: mark pixels without a measurement as invalid")
    rows[np.flatnonzero(~valid)] = mean.numpy()
    return centred_coordinates(torch.from_numpy(cloud), grid_h, grid_w)


def surface_coordinates(
    points: NDArray[np.float32], valid: NDArray[np.bool_], grid_h: int, grid_w: int
) -> NDArray[np.float32]:
    """Rounded coordinates [grid_h * grid_w, 3] in row-major patch order, variant `valid`.

    A patch has the lower-quartile depth of its valid points, which is the object's if it covers a quarter of the patch,
    and x and y of the points up to that depth. A patch without valid points is put at the cloud's origin, where no
    measured patch is.

    Args:
        points: [H, W, 3] normalised.
        valid: [H, W].

    Raises:
        DepthError: if no point is valid, or a valid one is not finite.
    """
    if not valid.any():
        raise DepthError("no valid point to encode: the depth image holds no measurement")
    samples = _sample_index(*valid.shape, grid_h, grid_w)
    counted = valid.reshape(-1).take(samples)
    x, y, z = (np.ascontiguousarray(points[..., axis]).reshape(-1).take(samples) for axis in range(3))
    if not all((np.isfinite(axis) | ~counted).all() for axis in (x, y, z)):
        raise DepthError("a valid point is not finite: mark pixels without a measurement as invalid")
    np.copyto(z, np.inf, where=~counted)
    count = counted.sum(axis=1)
    depth = np.sort(z, axis=1)[np.arange(len(z)), np.maximum(count - 1, 0) // 4]
    before = counted & (z <= depth[:, None])
    amount = np.maximum(before.sum(axis=1), 1)
    mean_x, mean_y = (np.where(before, axis, 0).sum(axis=1, dtype=np.float64) / amount for axis in (x, y))
    surface = np.stack([mean_x, mean_y, np.where(count > 0, depth, 0)], axis=1)
    return np.round((surface - CENTRE) / UNIT).astype(np.float32)


@lru_cache(maxsize=4)
def _sample_index(height: int, width: int, grid_h: int, grid_w: int) -> NDArray[np.int32]:
    """Index [grid_h * grid_w, S * S] into a flattened point map of each patch's samples."""
    rows, columns = (
        ((np.arange(count * _SAMPLES) + 0.5) * (side / (count * _SAMPLES))).astype(np.int32)
        for count, side in ((grid_h, height), (grid_w, width))
    )
    tiles = (rows[:, None] * width + columns).reshape(grid_h, _SAMPLES, grid_w, _SAMPLES).swapaxes(1, 2)
    return tiles.reshape(grid_h * grid_w, _SAMPLES * _SAMPLES)


def centred_coordinates(cloud: Tensor, grid_h: int, grid_w: int) -> NDArray[np.float32]:
    """Coordinates [grid_h * grid_w, 3] in units of the encoding, of a point map [H, W, 3] without holes."""
    pooled = F.adaptive_avg_pool2d(cloud.permute(2, 0, 1)[None], (grid_h, grid_w))[0]
    rows = pooled.permute(1, 2, 0).reshape(-1, 3)
    centre = rows.double().mean().float()  # in double: the same on every machine
    return np.asarray((rows - centre) / UNIT)
