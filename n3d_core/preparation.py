"""From a frame to what the vision tower takes, and how the bins of that view become metres. All on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n3d_core.depth import DepthLimits, DepthReport, clean_depth
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.image_size import ImageSize
from n3d_core.language.codec import BoxCodec
from n3d_core.network.config import N3DConfig
from n3d_core.network.preprocess import VisionInput, vision_input

_LONGEST_POINT_MAP = 640  # pixels: the cloud is pooled to some dozens of patches a side


@dataclass(frozen=True)
class PreparedFrame:
    """What a frame gives.

    Attributes:
        image: for the vision tower.
        codec: between bins and metres in this view.
        depth: what was found at the door.
    """

    image: VisionInput
    codec: BoxCodec
    depth: DepthReport


def prepare(frame: Frame, limits: DepthLimits, config: N3DConfig, size: ImageSize | None = None) -> PreparedFrame:
    """Fits a frame to the compiled size, cleans its depth, makes and normalises its points, and cuts its patches.

    The point map is thinned by a whole stride to at most 640 points a side.

    Raises:
        DepthError: if no usable depth is left. ImageError: if the image is too elongated, or of a size that is refused.
    """
    seen = frame if size is None else size.fitted(frame, config)
    depth, report = clean_depth(seen.depth, limits)
    points = seen.camera.back_project(depth, stride=-(-max(depth.shape) // _LONGEST_POINT_MAP))
    valid = np.isfinite(points[..., 2])
    cloud, normalisation = normalise(to_model_frame(points), valid)
    return PreparedFrame(vision_input(seen.color, cloud, valid, config), BoxCodec(normalisation, seen.camera), report)
