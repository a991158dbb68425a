"""The interface of monocular depth models, and their result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.camera import Camera


@dataclass(frozen=True)
class DepthEstimate:
    """The result of a monocular depth model.

    Attributes:
        depth: float32 [H, W], metres along z, NaN where the model gives no depth (sky, masked).
        camera: intrinsics that match the depth: those given, or the model's own estimate.
    """

    depth: NDArray[np.float32]
    camera: Camera


class MonocularDepth(Protocol):
    """A loaded monocular depth model.

    Attributes:
        name: for display.
        far: end of its range in metres.
    """

    name: str
    far: float

    def estimate(self, color: NDArray[np.uint8], camera: Camera | None) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3]; with `camera` None the model also estimates the intrinsics.

        Raises:
            CameraError: if the model needs a camera and none is given.
        """


def device_named(name: str) -> str:
    """The torch device of a name; `auto` is the GPU if there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
