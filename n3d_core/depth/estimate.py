"""What a monocular depth model gives, and what every one of them can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.camera import Camera


@dataclass(frozen=True)
class DepthEstimate:
    """What a monocular model sees.

    Attributes:
        depth: float32 [H, W], metres along z, NaN where the model says nothing (sky, masked).
        camera: the intrinsics that the depth goes with: those that were given, or the model's own estimate.
    """

    depth: NDArray[np.float32]
    camera: Camera


class MonocularDepth(Protocol):
    """A loaded monocular depth model.

    Attributes:
        name: for people to read.
        far: metres beyond which it says nothing.
    """

    name: str
    far: float

    def estimate(self, color: NDArray[np.uint8], camera: Camera | None) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3]; `camera` None asks the model for the intrinsics too.

        Raises:
            CameraError: if the model needs a camera and none is given.
        """


def device_named(name: str) -> str:
    """The torch device of a name: `auto` is the GPU where there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
