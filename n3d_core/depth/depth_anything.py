"""Depth Anything V2, metric, through transformers.

The model was trained at one field of view per domain and takes no intrinsics: with another lens its metres are off by
roughly the ratio of the focal lengths. `max_depth` in its config (20 indoors, 80 outdoors) is the end of its range.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.estimate import DepthEstimate, device_named
from n3d_core.errors import CameraError, CheckpointError, MissingDependencyError
from n3d_core.geometry.camera import Camera

_SATURATED = 0.995  # of max_depth: the end of the sigmoid, which means sky and not a distance


class DepthAnything:
    """A loaded `DepthAnythingForDepthEstimation` with a metric head.

    Attributes:
        name: for display.
        far: end of its range in metres.
    """

    def __init__(self, network: Any, processor: Any, device: str, name: str) -> None:
        self._network = network
        self._processor = processor
        self._device = device
        self.name = name
        self.far = float(network.config.max_depth)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> DepthAnything:
        """Loads a folder as published on the hub (config.json, preprocessor_config.json, model.safetensors).

        Raises:
            CheckpointError: if a file is missing or damaged, or the model's depth is relative, not metric.
            MissingDependencyError: if transformers is not installed.
        """
        folder = Path(folder)
        try:
            import torch

            transformers: Any = importlib.import_module("transformers")
        except ImportError as missing:
            raise MissingDependencyError(
                f"Depth Anything V2 needs transformers, which cannot be imported ({missing}): "
                "pip install 'n3d-ros[mono]'"
            ) from missing
        _check(folder)
        try:
            # the PIL processor gives the same pixels with and without torchvision
            processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
            network, loading = transformers.DepthAnythingForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:  # transformers and safetensors raise all kinds of exceptions
            raise CheckpointError(f"{folder}: cannot be loaded as Depth Anything V2: {error}") from error
        wrong = sorted(loading["missing_keys"]) + sorted(str(k) for k in loading["mismatched_keys"])
        if wrong:
            raise CheckpointError(f"{folder}: {len(wrong)} tensors are missing or misshapen, first {wrong[0]}")
        chosen = device_named(device)
        return cls(network.eval().to(chosen), processor, chosen, f"Depth Anything V2 metric ({folder.name}, {chosen})")

    def estimate(self, color: NDArray[np.uint8], camera: Camera | None) -> DepthEstimate:
        """Depth [H, W] of an RGB image [H, W, 3]; the sky (the end of the range) is NaN.

        The checkpoint's processor scales the image as little as possible so that one side is 518 and both are multiples
        of 14. The result is resized bilinearly: a cubic kernel would overshoot at depth edges.

        Raises:
            CameraError: if no camera is given; this model does not estimate intrinsics.
        """
        import torch

        if camera is None:
            raise CameraError("Depth Anything V2 does not estimate intrinsics: give a camera (--camera or --fov)")
        pixels = self._processor(images=color, return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            predicted = self._network(pixel_values=pixels).predicted_depth
            depth = torch.nn.functional.interpolate(
                predicted[:, None], size=color.shape[:2], mode="bilinear", align_corners=False
            )[0, 0]
        metres = depth.float().cpu().numpy()
        metres[~(metres > 0) | (metres >= _SATURATED * self.far)] = np.nan
        return DepthEstimate(metres, camera)


def _check(folder: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing; expected a Depth Anything V2 folder as on the hub")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: cannot be read: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "depth_anything":
        raise CheckpointError(f"{folder}: model_type must be 'depth_anything'; got {kind!r}")
    if config.get("depth_estimation_type") != "metric":
        raise CheckpointError(
            f"{folder}: depth_estimation_type is {config.get('depth_estimation_type')!r}: its depth is not in metres; "
            "use a Depth-Anything-V2-Metric-* checkpoint"
        )
