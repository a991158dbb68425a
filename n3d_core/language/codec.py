"""Converts between boxes in metres (optical frame) and bins (lines of the structured language).

Bins refer to the model's frame and its normalised cloud: u, v are the projected centre in image fractions, z is the
distance from the nearest point, sizes are extents; all but u, v are in units of the cloud's mean distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language.structured import ANGLE_ZERO, BINS, BoxCode

Z_MAX = 2.0  # largest normalised distance
SIZE_MAX = 0.625  # largest normalised extent
_SAME_EDGE = 1e-6  # bins: a decoded value must encode to the same bin despite rounding


@dataclass(frozen=True)
class BoxCodec:
    """Converts boxes of one view.

    Attributes:
        normalisation: of the view's cloud.
        camera: of the view.
    """

    normalisation: Normalisation
    camera: Camera

    def encode(self, box: Box3D) -> BoxCode:
        """A box in front of the camera -> bins: u and v rounded, the others truncated; clipped to 0..999."""
        x, y, z = box.center
        u = (x / z * self.camera.fx + self.camera.cx + 0.5) / self.camera.width
        v = (y / z * self.camera.fy + self.camera.cy + 0.5) / self.camera.height
        scale = self.normalisation.scale
        z_n = (z - self.normalisation.min_z) * scale
        sizes = [_bin(s * scale / SIZE_MAX) for s in box.size]
        return BoxCode(box.label, _nearest_bin(u), _nearest_bin(v), _bin(z_n / Z_MAX), ANGLE_ZERO, *sizes)

    def decode(self, code: BoxCode, score: float = 1.0, covariance: tuple[float, ...] | None = None) -> Box3D:
        """Bins -> a box in metres, using the left edge of each bin as the released model does."""
        z = self.depth(code.z)
        u, v = code.u / BINS, code.v / BINS
        x = (u * self.camera.width - 0.5 - self.camera.cx) / self.camera.fx * z
        y = (v * self.camera.height - 0.5 - self.camera.cy) / self.camera.fy * z
        sx, sy, sz = (bins / BINS * SIZE_MAX * self.unit for bins in (code.sx, code.sy, code.sz))
        return Box3D(code.label, (x, y, z), (sx, sy, sz), score, covariance, saturated_fields(code))

    def depth(self, z_bin: float) -> float:
        """Distance in metres along the optical axis of a (possibly fractional) z bin."""
        return z_bin / BINS * Z_MAX * self.unit + self.normalisation.min_z

    @property
    def unit(self) -> float:
        """Metres per unit of the normalised cloud; multiplying by it reproduces the released text's last digits."""
        return 1.0 / self.normalisation.scale

    def center_jacobian(self, code: BoxCode) -> np.ndarray:
        """d(x, y, z) / d(u, v, z bins) at a code, [3, 3] metres per bin: converts bin variances to metres."""
        z = self.depth(code.z)
        dz = Z_MAX * self.unit / BINS
        du = self.camera.width / BINS / self.camera.fx
        dv = self.camera.height / BINS / self.camera.fy
        ray_x = (code.u / BINS * self.camera.width - 0.5 - self.camera.cx) / self.camera.fx
        ray_y = (code.v / BINS * self.camera.height - 0.5 - self.camera.cy) / self.camera.fy
        return np.array([[du * z, 0, ray_x * dz], [0, dv * z, ray_y * dz], [0, 0, dz]])


def saturated_fields(code: BoxCode) -> tuple[str, ...]:
    """Fields at an end of their scale: the object is outside the image, nearer than all points, too far or too large.

    The first bin of a size does not count: it holds small sizes.
    """
    placed = {"u": code.u, "v": code.v, "z": code.z}
    sized = {"width": code.sx, "height": code.sy, "length": code.sz}
    at_end = {name for name, value in (placed | sized).items() if value >= BINS - 1}
    at_start = {name for name, value in placed.items() if value <= 0}
    return tuple(name for name in placed | sized if name in at_end | at_start)


def _bin(fraction: float) -> int:
    return math.floor(_clipped(fraction * BINS + _SAME_EDGE))


def _nearest_bin(fraction: float) -> int:
    return round(_clipped(fraction * BINS))


def _clipped(bins: float) -> float:
    return min(max(bins, 0.0), BINS - 1.0) if not math.isnan(bins) else 0.0
