"""The 3D positional encoding of N3D-VLM: points pooled to the patch grid, then a sinusoid an axis.

It has no parameters. Pooling and rounding are geometry and run on the host; the sinusoid is part of the graph.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from n3d_core.errors import DepthError

UNIT = 0.001  # of the normalised cloud: one step of the encoding
TEMPERATURE = 10000.0


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
    """`pooled_coordinates` before it rounds (half to even)."""
    if not valid.any():
        raise DepthError("no valid point to encode: the depth image holds no measurement")
    # a copy, point by point in memory: the order in which the mean and the pooling add up shows in the last bits
    cloud = cv2.merge(list(np.moveaxis(np.asarray(points, dtype=np.float32), -1, 0)))
    rows = cloud.reshape(-1, 3)
    mean = torch.from_numpy(rows.take(np.flatnonzero(valid), axis=0)).mean(dim=0)
    if not torch.isfinite(mean).all():
        raise DepthError("a valid point is not finite: mark pixels without a measurement as invalid")
    rows[np.flatnonzero(~valid)] = mean.numpy()
    return centred_coordinates(torch.from_numpy(cloud), grid_h, grid_w)


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
    """[per_axis] what a coordinate is divided by to give a channel's angle; channels 2i and 2i + 1 share one."""
    channel = torch.arange(per_axis, device=device)
    return TEMPERATURE ** (2 * torch.div(channel, 2, rounding_mode="floor").float() / per_axis)
