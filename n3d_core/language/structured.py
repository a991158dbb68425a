"""Boxes as text, one per line: `bbox_{i}=Bbox({class},{u},{v},{z},{angle},{sx},{sy},{sz})`, where numbers are bins.

Bins refer to the model's frame and its normalised cloud: u, v are the projected centre in image fractions, z is the
distance from the nearest point, sizes are extents; all but u, v are in units of the cloud's mean distance.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from n3d_core.errors import UnparsableError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation

BINS = 1000
ANGLE_ZERO = 500  # bin of angle 0 in +-2 pi: all released boxes are axis-aligned
Z_MAX = 2.0  # largest normalised distance
SIZE_MAX = 0.625  # largest normalised extent
_SAME_EDGE = 1e-6  # bins: a decoded value must encode to the same bin despite rounding

FIELDS = ("position_u", "position_v", "position_z", "angle_y", "scale_x", "scale_y", "scale_z")

CODE_TEMPLATE = "@dataclass\nclass Bbox:\n    class: str\n" + "\n".join(f"    {name}: int" for name in FIELDS)

# Fields are counted from the end of the line, so that a class may contain commas and parentheses.
_LINE = re.compile(r"\s*bbox_(\d{1,6})=Bbox\((.*)," + ",".join([r"\s*(-?\d{1,6})\s*"] * 7) + r"\)\s*")


@dataclass(frozen=True)
class BoxCode:
    """One line of the structured language: a class and seven bins, each 0..999 in a well-formed reply."""

    label: str
    u: int
    v: int
    z: int
    angle: int
    sx: int
    sy: int
    sz: int

    @property
    def bins(self) -> tuple[int, int, int, int, int, int, int]:
        """The seven numbers in the order of the line."""
        return self.u, self.v, self.z, self.angle, self.sx, self.sy, self.sz


def serialise_line(index: int, code: BoxCode) -> str:
    """One line without its newline."""
    return f"bbox_{index}=Bbox({code.label},{','.join(str(b) for b in code.bins)})"


def serialise(codes: list[BoxCode]) -> str:
    """All lines, joined by newlines; empty without boxes."""
    return "\n".join(serialise_line(i, code) for i, code in enumerate(codes))


def parse(text: str) -> list[BoxCode]:
    """Reads what `serialise` writes; runs of spaces in a class collapse, bins outside 0..999 are clipped.

    Raises:
        UnparsableError: if a non-empty line is not in the language.
    """
    codes = []
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            codes.append(parse_line(line, number))
    return codes


def parse_line(line: str, number: int = 0) -> BoxCode:
    """Reads one line."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise UnparsableError(
            f"line {number + 1} of the reply, {line[:80]!r}, must be bbox_N=Bbox(class, seven integers)"
        )
    label = " ".join(match.group(2).split())
    u, v, z, angle, sx, sy, sz = (min(max(int(g), 0), BINS - 1) for g in match.groups()[2:])
    return BoxCode(label, u, v, z, angle, sx, sy, sz)


@dataclass(frozen=True)
class BoxCodec:
    """Converts between boxes of one view in metres (optical frame) and bins.

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
