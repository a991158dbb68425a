"""Codecs for ablations: centres in camera x and y instead of image coordinates, and bins without measured depth."""

from __future__ import annotations

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.points import Normalisation
from n3d_core.language.structured import BINS, BoxCode, BoxCodec

UNMEASURED = Normalisation((0.0, 0.0, 0.0), 0.25)
"""For a model without depth: z ends 8 m from the camera and sizes at 2.5 m, whatever is measured."""

XY_MAX = 1.25  # largest normalised |x| and |y|


class CameraXYCodec(BoxCodec):
    """Writes x and y of the optical frame, in units of the cloud, in place of the released language's u and v."""

    def encode(self, box: Box3D) -> BoxCode:
        """See `BoxCodec.encode`."""
        code = super().encode(box)
        u, v = (self._bin(value) for value in box.center[:2])
        return BoxCode(code.label, u, v, *code.bins[2:])

    def decode(self, code: BoxCode, score: float = 1.0, covariance: tuple[float, ...] | None = None) -> Box3D:
        """See `BoxCodec.decode`."""
        box = super().decode(code, score, covariance)
        x, y = ((b / BINS * 2 - 1) * XY_MAX / self.normalisation.scale for b in (code.u, code.v))
        return Box3D(box.label, (x, y, box.center[2]), box.size, score, covariance, box.saturated)

    def _bin(self, metres: float) -> int:
        share = (metres * self.normalisation.scale / XY_MAX + 1) / 2
        return min(max(int(share * BINS), 0), BINS - 1)
