"""The 3D positional encoding of N3D-VLM: points pooled to the patch grid, then sinusoids per axis.

It has no parameters. Pooling and rounding are geometry and run on the host; the sinusoid is part of the graph.

The config selects one of two variants. `mean` is the released one. `valid` is for models trained here: it ignores
holes, represents a patch by its nearest surface rather than a mix of object and background, subtracts a constant
instead of a mean that the network would have to guess, and reserves some channels for the patch's image position, so
that image coordinates can be read off for any aspect ratio and principal point.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from n3d_core.errors import DepthError

UNIT = 0.001  # of the normalised cloud: one step of the encoding
TEMPERATURE = 10000.0
CENTRE = 0.5  # of the normalised cloud, subtracted by `valid`: about the mean coordinate of an indoor scene
SAMPLES = 16  # points along each side of a patch that `valid` samples


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
    samples = _samples(*valid.shape, grid_h, grid_w)
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
def _samples(height: int, width: int, grid_h: int, grid_w: int) -> NDArray[np.int32]:
    """Index [grid_h * grid_w, S * S] into a flattened point map of each patch's samples."""
    rows, columns = (
        ((np.arange(count * SAMPLES) + 0.5) * (side / (count * SAMPLES))).astype(np.int32)
        for count, side in ((grid_h, height), (grid_w, width))
    )
    tiles = (rows[:, None] * width + columns).reshape(grid_h, SAMPLES, grid_w, SAMPLES).swapaxes(1, 2)
    return tiles.reshape(grid_h * grid_w, SAMPLES * SAMPLES)


def centred_coordinates(cloud: Tensor, grid_h: int, grid_w: int) -> NDArray[np.float32]:
    """Coordinates [grid_h * grid_w, 3] in units of the encoding, of a point map [H, W, 3] without holes."""
    pooled = F.adaptive_avg_pool2d(cloud.permute(2, 0, 1)[None], (grid_h, grid_w))[0]
    rows = pooled.permute(1, 2, 0).reshape(-1, 3)
    centre = rows.double().mean().float()  # in double: the same on every machine
    return np.asarray((rows - centre) / UNIT)


def sinusoid(coordinates: Tensor, width: int) -> Tensor:
    """[..., P, 3] rounded coordinates -> [..., P, width]: x, y, z in turn, sin on even, cos on odd channels."""
    per_axis = width // 3
    even = torch.arange(per_axis, device=coordinates.device) % 2 == 0
    angles = coordinates.float()[..., None] / axis_divisors(per_axis, coordinates.device)
    encoded = torch.where(even, angles.sin(), angles.cos()).flatten(-2)
    return F.pad(encoded, (0, width - 3 * per_axis))


def axis_divisors(per_axis: int, device: torch.device | str = "cpu") -> Tensor:
    """[per_axis] divisors from coordinate to angle; channels 2i and 2i + 1 share one."""
    channel = torch.arange(per_axis, device=device)
    return TEMPERATURE ** (2 * torch.div(channel, 2, rounding_mode="floor").float() / per_axis)
