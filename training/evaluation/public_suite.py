"""A published benchmark as a suite: its images, with depth from a folder or a monocular model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from n3d_core.depth.files import read_depth
from n3d_core.depth.monocular import load_monocular
from n3d_core.errors import ConfigError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.image_file import read_color
from training.evaluation.public_formats import PublicSample, read_public
from training.evaluation.suite import Case

_DEPTH_ENDINGS = (".png", ".npy", ".npz", ".tiff", ".exr")


class PublicSuite:
    """The samples of one annotation file.

    Args:
        kind, annotations: see `read_public`.
        images: image folder.
        depth: folder of depth images named like the images, or the name or folder of a monocular model.
        fov: horizontal field of view in degrees of images with an unknown camera; 0 lets the model estimate it.
        limit: maximum number of samples; 0 for all.
    """

    def __init__(
        self, kind: str, annotations: Path, images: Path, depth: str, fov: float = 60.0, limit: int = 0
    ) -> None:
        self.kind, self.annotations, self.images, self.depth, self.fov = kind, annotations, images, depth, fov
        self.samples: list[PublicSample] = list(read_public(kind, annotations))[: limit or None]
        if not self.samples:
            raise ConfigError(f"{annotations}: contains no samples")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Case:
        sample = self.samples[index]
        return Case(f"{index}:{sample.image}", self._frame(sample), sample.truth, ())

    def describe(self) -> dict[str, Any]:
        """Identifies the settings of a run."""
        return {"kind": self.kind, "path": str(self.annotations.resolve()), "depth": self.depth, "fov": self.fov}

    @cached_property
    def _monocular(self) -> Any:
        return load_monocular(self.depth)

    def _frame(self, sample: PublicSample) -> Frame:
        color = read_color(self.images / sample.image)
        height, width = color.shape[:2]
        camera = sample.camera
        if camera is None and self.fov:
            camera = Camera.from_fov(self.fov, width, height)
        if not Path(self.depth).is_dir() or (Path(self.depth) / "config.json").exists():
            estimate = self._monocular.estimate(color, camera)
            return Frame(color, estimate.depth, estimate.camera)
        stem = Path(self.depth) / Path(sample.image).with_suffix("")
        found = next((p for e in _DEPTH_ENDINGS if (p := stem.with_suffix(e)).exists()), None)
        if found is None or camera is None:
            raise ConfigError(
                f"{stem}: no depth image ({', '.join(_DEPTH_ENDINGS)}), or no field of view for {sample.image}"
            )
        return Frame(color, read_depth(found), camera)
