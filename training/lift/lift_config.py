"""Configuration of a data-engine run: one YAML file as frozen dataclasses; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from n3d_core.backends.store import model_digest, remembered_sha256
from n3d_core.depth import DepthUnit
from n3d_core.depth.monocular import monocular_folder
from n3d_core.errors import CheckpointError, ConfigError
from training.entry.yaml_file import Strict, read_settings
from training.lift.cleaning import CleanConfig
from training.lift.completion import CompletionConfig
from training.lift.rules import RulesConfig

SOURCES = ("coco", "objects365", "openimages", "refcoco", "folder", "sunrgbd", "tum", "open3d", "frames", "bag")
TARGETS = ("visible", "whole")
ALIGNMENTS = ("camera", "gravity")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")


@dataclass(frozen=True)
class SourceConfig(Strict):
    """Where images and annotations come from; docs/data-engine.md lists the paths that each kind needs.

    Attributes:
        kind: one of `SOURCES`.
        images: folder of the images, or of the RGB-D recording, or the bag.
        annotations: annotation file (JSON, CSV or RefCOCO's pickle), if they are not stored with the images.
        classes: OpenImages' class descriptions.
        masks: OpenImages' folder of mask images; `mask_table` is its CSV.
        name: prefix of the sample keys; empty takes the kind.
        camera: intrinsics of images without any: a file or `fx,fy,cx,cy` (see `n3d_core.geometry.camera_file`).
        fov: assumed horizontal field of view in degrees of images with unknown intrinsics, unless the depth model
            estimates it; 0 for none.
        depth: folder of depth images named like the images (PNG, TIFF, NPY, NPZ).
        depth_unit: `mm`, `m`, `tum`, `sun` or raw values per metre; empty takes the default of the kind or file type.
        color_topic, depth_topic, camera_topic: topics of a bag; empty takes the first of each kind.
        limit: maximum number of images; 0 reads all.
    """

    kind: str
    images: str
    annotations: str = ""
    classes: str = ""
    masks: str = ""
    mask_table: str = ""
    name: str = ""
    camera: str = ""
    fov: float = 0.0
    depth: str = ""
    depth_unit: str = ""
    color_topic: str = ""
    depth_topic: str = ""
    camera_topic: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SOURCES:
            raise ConfigError(f"source kind {self.kind!r} is unknown; known are {', '.join(SOURCES)}")
        if self.depth_unit:
            DepthUnit.parse(self.depth_unit)
        if not 0 <= self.fov < 180 or self.limit < 0:
            raise ConfigError(
                "source.fov must be from 0 to under 180 degrees and source.limit at least 0; got "
                f"source.fov is {self.fov} and source.limit is {self.limit}"
            )


@dataclass(frozen=True)
class ModelsConfig(Strict):
    """Networks that add what the source lacks; each is a local folder of transformers' form, or empty.

    Attributes:
        detector: Grounding DINO, for images with fewer than `detect_below` annotations.
        detect_below: see `detector`; 0 never detects.
        classes: classes to detect.
        detect_score: minimum score of a detection.
        segmenter: SAM 2; without it, objects are segmented by depth, which is less accurate.
        depth: `indoor`, `outdoor`, `moge` or a folder (see `n3d_core.depth.monocular`), for sources without depth.
        outdoor_depth: model for images that are outdoors by their classes (see `training.lift.place`), such as
            `outdoor` beside `depth: indoor`; empty takes `depth` for all.
        device: torch device; with `cuda` each process takes a GPU of its own.
        precision: type of the networks' products: `fp32`, `fp16`, `bf16`, or `auto` (fp16 on a GPU, fp32 on a CPU).
        batch: images per forward pass.
    """

    detector: str = ""
    detect_below: int = 0
    classes: list[str] = field(default_factory=list)
    detect_score: float = 0.35
    segmenter: str = ""
    depth: str = ""
    outdoor_depth: str = ""
    device: str = "cpu"
    precision: str = "auto"
    batch: int = 8

    def __post_init__(self) -> None:
        if self.detect_below and not self.detector:
            raise ConfigError("models.detect_below is set but models.detector is not: name a Grounding DINO folder")
        if self.detector and not self.classes:
            raise ConfigError("models.detector is set but models.classes is empty: name the classes to look for")
        if self.outdoor_depth and not self.depth:
            raise ConfigError("models.outdoor_depth is set but models.depth, for all other images, is not")
        if self.outdoor_depth and self.estimates_camera:
            raise ConfigError(
                f"models.depth is {self.depth!r}, which is for indoors and outdoors: remove models.outdoor_depth"
            )
        if self.batch < 1:
            raise ConfigError(f"models.batch must be at least 1; got {self.batch}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"models.precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")

    @property
    def chosen_precision(self) -> str:
        """`precision`, with `auto` resolved for the device."""
        if self.precision != "auto":
            return self.precision
        return "fp16" if self.device.startswith("cuda") else "fp32"

    @property
    def estimates_camera(self) -> bool:
        """Whether the depth model estimates intrinsics, as MoGe-2 does."""
        return self.depth == "moge" or self.depth.endswith(".pt") or (Path(self.depth) / "model.pt").is_file()

    @property
    def any(self) -> bool:
        """Whether any network is used."""
        return bool(self.detector or self.segmenter or self.depth)


@dataclass(frozen=True)
class OutputConfig(Strict):
    """The output.

    Attributes:
        folder: folder of shards, index, manifest and report.
        images_per_shard: images per shard, the unit of work and of resuming.
        max_side: longest side in pixels; larger images are scaled down and re-encoded, others keep their bytes.
        target: which box is the object's `box`: that of the `visible` surface or of the `whole` object.
        alignment: `camera`, or `gravity` to add an upright oriented box.
        masks: whether to store masks.
        groundings, questions: maximum number of grounding queries and spatial questions per image.
        pictures: number of images in the report.
    """

    folder: str
    images_per_shard: int = 128
    max_side: int = 640
    target: str = "whole"
    alignment: str = "camera"
    masks: bool = True
    groundings: int = 6
    questions: int = 8
    pictures: int = 24

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ConfigError(f"output.target must be {' or '.join(TARGETS)}; got {self.target!r}")
        if self.alignment not in ALIGNMENTS:
            raise ConfigError(f"output.alignment must be {' or '.join(ALIGNMENTS)}; got {self.alignment!r}")
        if self.images_per_shard < 1 or self.max_side < 32:
            raise ConfigError("output.images_per_shard must be at least 1 and output.max_side at least 32 pixels")
        if min(self.groundings, self.questions, self.pictures) < 0:
            raise ConfigError("output.groundings, questions and pictures must be at least 0")


@dataclass(frozen=True)
class LiftConfig(Strict):
    """A run of the data engine."""

    source: SourceConfig
    output: OutputConfig
    models: ModelsConfig = field(default_factory=ModelsConfig)
    clean: CleanConfig = field(default_factory=CleanConfig)
    rules: RulesConfig = field(default_factory=RulesConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    seed: int = 0

    @classmethod
    def from_yaml(cls, path: str | Path) -> LiftConfig:
        """Reads a YAML file; paths in it are relative to the working directory.

        Raises:
            ConfigError: names the key that is unknown, missing or of the wrong type.
        """
        return read_settings(cls, path)

    @property
    def fingerprint(self) -> str:
        """Hash of all settings that affect a shard's content; not of the output's location or speed.

        Networks count by their weights, not by their paths, and with the kind of device, the precision and the batch,
        which change their last digits.
        """
        data = dataclasses.asdict(self)
        for key in ("folder", "pictures"):
            del data["output"][key]
        if self.models.any:
            data["models"] |= {"device": self.models.device.split(":")[0], "precision": self.models.chosen_precision}
            for key in ("detector", "segmenter", "depth", "outdoor_depth"):
                data["models"][key] = _weights(data["models"][key])
        else:
            for key in ("device", "batch", "precision"):
                del data["models"][key]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _weights(model: str) -> str:
    """A digest of a network's weights; its name if they are not here."""
    try:
        folder = monocular_folder(model) if model else Path()
        if (folder / "model.pt").is_file():
            return remembered_sha256(folder / "model.pt")
        return model_digest(folder) if model and (folder / "config.json").is_file() else model
    except CheckpointError:
        return model
