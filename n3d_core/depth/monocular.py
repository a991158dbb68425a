"""Metric depth from one colour image, for cameras without a depth sensor: Depth Anything V2 and MoGe-2.

Depth Anything V2 (through transformers) was trained at one field of view per domain and takes no intrinsics: with
another lens its metres are off by roughly the ratio of the focal lengths. `max_depth` in its config (20 indoors, 80
outdoors) is the end of its range.

MoGe-2, which made the reference's demo point maps, also estimates the field of view. The package is Microsoft's
(`pip install git+https://github.com/microsoft/MoGe.git`), and so is the checkpoint form (`model.pt`); it is opened by
`torch.load(weights_only=True)`, which builds tensors and runs no code from the file.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CameraError, CheckpointError, optional, reading
from n3d_core.geometry.camera import Camera

# short names of published models; `n3d download` fetches them
SHORT_NAMES = {"indoor": "depth-anything-v2-indoor", "outdoor": "depth-anything-v2-outdoor", "moge": "moge-2"}

_SATURATED = 0.995  # of max_depth: the end of the sigmoid, which means sky and not a distance


@dataclass(frozen=True)
class DepthEstimate:
    """The result of a monocular depth model.

    Attributes:
        depth: float32 [H, W], metres along z, NaN where the model gives no depth (sky, masked).
        camera: intrinsics that match the depth: those given, or the model's own estimate.
    """

    depth: NDArray[np.float32]
    camera: Camera


class MonocularDepth(ABC):
    """A loaded monocular depth model.

    Attributes:
        name: for display.
        far: end of its range in metres.
    """

    name: str
    far: float

    def estimate(self, color: NDArray[np.uint8], camera: Camera | None) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3]; see `estimate_batch`."""
        return self.estimate_batch([color], [camera])[0]

    @abstractmethod
    def estimate_batch(
        self, colors: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None]
    ) -> list[DepthEstimate]:
        """Depth of RGB images [H, W, 3] of one size in one forward pass.

        Args:
            cameras: for all images, or None for each: the model then also estimates the intrinsics.

        Raises:
            CameraError: if the model needs a camera and none is given.
        """


def load_monocular(source: str, device: str = "auto") -> MonocularDepth:
    """Loads a local depth model; nothing is downloaded.

    Args:
        source: `indoor`, `outdoor` (Depth Anything V2) or `moge` (MoGe-2), as `n3d download` stored them; or a folder.
        device: `auto`, `cpu`, `cuda` …

    Raises:
        CheckpointError: if the folder does not exist or holds neither model.
        MissingDependencyError: if the package that runs the model is not installed.
    """
    folder = monocular_folder(source)
    if (folder / "model.pt").is_file() or folder.suffix == ".pt":
        return MoGe.load(folder, device)
    if (folder / "config.json").is_file():
        return DepthAnything.load(folder, device)
    raise CheckpointError(
        f"{folder}: no monocular depth model; the folder must hold config.json with model.safetensors (Depth Anything "
        "V2), or model.pt (MoGe-2)"
    )


def monocular_folder(source: str) -> Path:
    """The folder of a depth model (see `load_monocular`).

    Raises:
        CheckpointError: if it does not exist.
    """
    if source not in SHORT_NAMES:
        folder = Path(os.path.expanduser(source))
        if not folder.exists():
            known = ", ".join(SHORT_NAMES)
            raise CheckpointError(f"{source}: no such folder; expected {known} or the folder of a monocular model")
        return folder
    from n3d_core.models import local_folder

    folder = local_folder(SHORT_NAMES[source])
    if not folder.is_dir():
        raise CheckpointError(
            f"the monocular model {source!r} is not downloaded ({folder}): run `n3d download {SHORT_NAMES[source]}`"
        )
    return folder


def _device_named(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


class DepthAnything(MonocularDepth):
    """A loaded `DepthAnythingForDepthEstimation` with a metric head; needs a camera, as it estimates no intrinsics."""

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
        import torch

        with optional("Depth Anything V2 needs transformers", "'n3d-ros[mono]'"):
            transformers: Any = importlib.import_module("transformers")
        _check_files(folder)
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
        chosen = _device_named(device)
        return cls(network.eval().to(chosen), processor, chosen, f"Depth Anything V2 metric ({folder.name}, {chosen})")

    def estimate_batch(
        self, colors: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None]
    ) -> list[DepthEstimate]:
        """See `MonocularDepth.estimate_batch`; the sky (the end of the range) is NaN.

        The checkpoint's processor scales the image as little as possible so that one side is 518 and both are multiples
        of 14. The result is resized bilinearly: a cubic kernel would overshoot at depth edges.
        """
        import torch

        known = [camera for camera in cameras if camera is not None]
        if len(known) < len(colors):
            raise CameraError("Depth Anything V2 does not estimate intrinsics: give a camera (--camera or --fov)")
        pixels = self._processor(images=list(colors), return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            predicted = self._network(pixel_values=pixels).predicted_depth
            depth = torch.nn.functional.interpolate(
                predicted[:, None], size=colors[0].shape[:2], mode="bilinear", align_corners=False
            )[:, 0]
        metres = depth.float().cpu().numpy()
        metres[~(metres > 0) | (metres >= _SATURATED * self.far)] = np.nan
        return [DepthEstimate(own, camera) for own, camera in zip(metres, known, strict=True)]


def _check_files(folder: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing; expected a Depth Anything V2 folder as on the hub")
    with reading(folder / "config.json", "JSON", CheckpointError):
        config = json.loads((folder / "config.json").read_text())
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "depth_anything":
        raise CheckpointError(f"{folder}: model_type must be 'depth_anything'; got {kind!r}")
    if config.get("depth_estimation_type") != "metric":
        raise CheckpointError(
            f"{folder}: depth_estimation_type is {config.get('depth_estimation_type')!r}: its depth is not in metres; "
            "use a Depth-Anything-V2-Metric-* checkpoint"
        )


class MoGe(MonocularDepth):
    """A loaded MoGe-2 model. Its range has no end; masked pixels (the sky) are NaN."""

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
        with optional("MoGe-2 needs the package moge", "git+https://github.com/microsoft/MoGe.git"):
            moge: Any = importlib.import_module("moge.model.v2")
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; expected MoGe-2's model.pt")
        chosen = _device_named(device)
        try:
            network = moge.MoGeModel.from_pretrained(str(file)).eval().to(chosen)
        except Exception as error:  # torch's unpickler and MoGe raise all kinds of exceptions
            raise CheckpointError(f"{file}: cannot be loaded as MoGe-2: {error}") from error
        return cls(network, chosen, f"MoGe-2 ({file.parent.name}, {chosen})")

    def estimate_batch(
        self, colors: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None]
    ) -> list[DepthEstimate]:
        """See `MonocularDepth.estimate_batch`; uses the true field of view if cameras are given.

        MoGe supports only a central principal point and square pixels. For other cameras it estimates the depth of the
        nearest such camera, which is then back-projected with the true one.
        """
        import torch

        height, width = colors[0].shape[:2]
        images = torch.from_numpy(np.stack(colors)).to(self._device).permute(0, 3, 1, 2).float() / 255
        fov = None
        if all(camera is not None for camera in cameras):
            angles = [2 * math.atan(width / 2 / camera.fx) for camera in cameras if camera is not None]
            fov = torch.rad2deg(torch.tensor(angles, device=self._device))
        out = self._network.infer(images, fov_x=fov, use_fp16=self._device != "cpu")
        depth = out["depth"].float().cpu().numpy()
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
        intrinsics = out["intrinsics"].float().cpu().numpy()
        return [
            DepthEstimate(own, camera or Camera.from_fractions(k, width, height))
            for own, camera, k in zip(depth, cameras, intrinsics, strict=True)
        ]
