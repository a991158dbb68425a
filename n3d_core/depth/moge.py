"""MoGe-2, which made the reference's demo point maps: metric depth with an estimated field of view.

The package is Microsoft's (`pip install git+https://github.com/microsoft/MoGe.git`), and so is the checkpoint form
(`model.pt`); it is opened by `torch.load(weights_only=True)`, which builds tensors and runs no code from the file.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.estimate import DepthEstimate, device_named
from n3d_core.errors import CheckpointError, MissingDependencyError
from n3d_core.geometry.camera import Camera


class MoGe:
    """A loaded MoGe-2 model.

    Attributes:
        name: for display.
        far: infinity, as its range has no end; masked pixels (the sky) are NaN.
    """

    far = math.inf

    def __init__(self, network: Any, device: str, name: str) -> None:
        self._network = network
        self._device = device
        self.name = name

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> MoGe:
        """Loads `model.pt`, or the folder that holds it.

        Raises:
            CheckpointError: if the file is missing or damaged.
            MissingDependencyError: if the package `moge` is not installed.
        """
        file = Path(path) / "model.pt" if Path(path).is_dir() else Path(path)
        try:
            moge: Any = importlib.import_module("moge.model.v2")
        except ImportError as missing:
            raise MissingDependencyError(
                f"MoGe-2 needs the package moge, which cannot be imported ({missing}): "
                "pip install git+https://github.com/microsoft/MoGe.git"
            ) from missing
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; expected MoGe-2's model.pt")
        chosen = device_named(device)
        try:
            network = moge.MoGeModel.from_pretrained(str(file)).eval().to(chosen)
        except Exception as error:  # torch's unpickler and MoGe raise all kinds of exceptions
            raise CheckpointError(f"{file}: cannot be loaded as MoGe-2: {error}") from error
        return cls(network, chosen, f"MoGe-2 ({file.parent.name}, {chosen})")

    def estimate(self, color: NDArray[np.uint8], camera: Camera | None) -> DepthEstimate:
        """Depth [H, W] of an RGB image [H, W, 3], with the true field of view if a camera is given.

        MoGe supports only a central principal point and square pixels. For other cameras it estimates the depth of the
        nearest such camera, which is then back-projected with the true one.
        """
        import torch

        height, width = color.shape[:2]
        image = torch.from_numpy(np.ascontiguousarray(color)).to(self._device).permute(2, 0, 1).float() / 255
        fov = None if camera is None else math.degrees(2 * math.atan(width / 2 / camera.fx))
        out = self._network.infer(image, fov_x=fov, use_fp16=self._device != "cpu")
        depth = out["depth"].float().cpu().numpy()
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
        if camera is None:
            camera = Camera.from_fractions(out["intrinsics"].float().cpu().numpy(), width, height)
        return DepthEstimate(depth, camera)
