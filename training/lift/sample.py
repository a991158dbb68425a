"""The third stage: makes a training sample (boxes, questions and stored bytes) from an observed image.

A sample is three files in a shard: the unchanged image, `KEY.depth.png` (16 bit; steps of `depth.unit` metres, 0
invalid) and `KEY.json`. Boxes are in metres in the optical frame; docs/data-engine.md describes every field.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CameraError
from n3d_core.geometry import Box3D, Camera, Frame
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame_folder import TrueObject, Truth
from training.lift import masks
from training.lift.boxes import upright_box
from training.lift.lift_config import LiftConfig
from training.lift.lifting import LiftedObject, lift
from training.lift.observation import Observation
from training.lift.problems import ImageProblem, ShardError

STEPS = (1, 2, 5, 10, 20, 50)  # millimetres per step of the depth image
MOST_STEPS = 65534  # 65535 marks overflow in some drivers' images
DIGITS = 6  # decimals of lengths in metres


@dataclass(frozen=True)
class Sample:
    """One sample as stored in a shard.

    Attributes:
        key: its name.
        image: bytes of the image file; `suffix` is `jpg` or `png`.
        depth: bytes of the 16-bit PNG.
        meta: contents of the JSON file.
    """

    key: str
    image: bytes
    suffix: str
    depth: bytes
    meta: dict[str, Any]

    def files(self) -> list[tuple[str, bytes]]:
        """Names and contents of its tar members, in order."""
        text = json.dumps(self.meta, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return [
            (f"{self.key}.{self.suffix}", self.image),
            (f"{self.key}.depth.png", self.depth),
            (f"{self.key}.json", text.encode()),
        ]

    @classmethod
    def from_files(cls, key: str, files: dict[str, bytes]) -> Sample:
        """Makes a sample from the tar members of a key, given by suffix.

        Raises:
            ShardError: if one is missing or the JSON is damaged.
        """
        suffix = next((s for s in ("jpg", "png") if s in files), "")
        if not suffix or "depth.png" not in files or "json" not in files:
            raise ShardError(f"sample {key} must have an image, depth.png and json; got {sorted(files)}")
        try:
            meta = json.loads(files["json"])
        except ValueError as error:
            raise ShardError(f"sample {key}: its JSON is damaged: {error}") from error
        return cls(key, files[suffix], suffix, files["depth.png"], meta)

    @property
    def camera(self) -> Camera:
        """Intrinsics of the image.

        Raises:
            ShardError: if they are missing or invalid.
        """
        try:
            c = self.meta["camera"]
            return Camera(c["width"], c["height"], c["fx"], c["fy"], c["cx"], c["cy"])
        except (KeyError, TypeError, CameraError) as error:
            raise ShardError(
                f"sample {self.key}: no usable intrinsics (camera must have width, height, fx, fy, cx and cy; "
                f"{type(error).__name__}: {error}); lift the source again with source.fov or a camera"
            ) from error

    def color(self) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3].

        Raises:
            ShardError: if the image is damaged.
        """
        image = cv2.imdecode(np.frombuffer(self.image, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise ShardError(f"sample {self.key}: its image cannot be decoded")
        return np.ascontiguousarray(image[:, :, ::-1], np.uint8)

    def depth_metres(self) -> NDArray[np.float32]:
        """Depth [H, W] in metres, NaN for invalid.

        Raises:
            ShardError: if the depth image is damaged.
        """
        raw = cv2.imdecode(np.frombuffer(self.depth, np.uint8), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16:
            raise ShardError(f"sample {self.key}: its depth cannot be decoded as a 16-bit PNG")
        metres = raw.astype(np.float64) * self.meta["depth"]["unit"]
        return np.where(raw == 0, np.nan, metres).astype(np.float32)

    def frame(self) -> Frame:
        """The RGB-D frame."""
        return Frame(self.color(), self.depth_metres(), self.camera)

    def boxes(self, which: str = "box") -> list[Box3D]:
        """Boxes of the objects: `box` (the run's target), `visible` or `whole`."""
        return [
            Box3D(o["label"], _vector(o[which]["center"]), _vector(o[which]["size"]), o["quality"])
            for o in self.meta["objects"]
        ]

    def truth(self) -> Truth:
        """The ground truth, in the form that training and evaluation read."""
        objects = [
            TrueObject(box, o["label"], "", 1.0 - o["border"])
            for box, o in zip(self.boxes(), self.meta["objects"], strict=True)
        ]
        return Truth(objects, self.meta["groundings"], self.meta["questions"])


def make_sample(seen: Observation, config: LiftConfig) -> Sample:
    """Lifts an image to a sample.

    Raises:
        ImageProblem: `nothing_left` if no object passed the rules; `rejected` counts them by rule.
    """
    if seen.camera is None or seen.depth is None:
        raise ImageProblem("depth_missing", f"{seen.record.key}: no depth or no camera")
    # lift the stored depth, in whole steps
    encoded, unit, depth = encode_depth(seen.depth)
    down = None if seen.record.down is None else np.asarray(seen.record.down)
    lifted = lift(seen.candidates, depth, seen.camera, config.clean, config.rules, config.completion, down)
    meta: dict[str, Any] = {
        "key": seen.record.key,
        "source": {"kind": config.source.kind, "image": seen.record.image.rsplit("/", 1)[-1]},
        "camera": {**asdict(seen.camera), "origin": seen.camera_origin},
        "depth": {"unit": unit, "origin": seen.depth_origin, "valid": _round(float(np.mean(depth > 0)), 4)},
        "down": None if seen.record.down is None else [_round(v, DIGITS) for v in seen.record.down],
        "objects": [_object_json(o, seen, config, down) for o in lifted.objects],
        "rejected": dict(sorted(lifted.rejected.items())),
        "left_out": [],
        "groundings": [],
        "questions": [],
    }
    if not lifted.objects:
        raise ImageProblem("nothing_left", f"{seen.record.key}: {meta['rejected']}", meta["rejected"])
    sample = Sample(seen.record.key, seen.encoded, seen.suffix, encoded, meta)
    chosen = {o.index for o in lifted.objects}
    meta["left_out"] = sorted({c.label for i, c in enumerate(seen.candidates) if i not in chosen})
    _ask(sample, config)
    return sample


def encode_depth(depth: NDArray[np.float32], unit: float | None = None) -> tuple[bytes, float, NDArray[np.float32]]:
    """Depth [H, W] in metres as a 16-bit PNG, the size of its step in metres, and the depth as stored.

    Without a `unit`, the step is 1 mm up to 65 m, and 2, 5, 10, 20 or 50 mm beyond.
    """
    valid = np.isfinite(depth) & (depth > 0)
    if unit is None:
        far = float(depth[valid].max()) if valid.any() else 0.0
        unit = next((s / 1000 for s in STEPS if far <= s / 1000 * MOST_STEPS), STEPS[-1] / 1000)
    steps = np.where(valid, np.clip(np.rint(np.where(valid, depth, 0) / unit), 1, MOST_STEPS), 0).astype(np.uint16)
    ok, data = cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise ImageProblem("depth_corrupt", f"a depth image of {depth.shape} cannot be encoded as PNG")
    return data.tobytes(), unit, np.where(valid, steps * np.float64(unit), np.nan).astype(np.float32)


def seed_of(key: str, seed: int) -> int:
    """A seed that depends only on the sample's key and the run's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:4], "big")


def _object_json(o: LiftedObject, seen: Observation, config: LiftConfig, down: NDArray[Any] | None) -> dict[str, Any]:
    annotation, candidate = seen.annotations[o.index], seen.candidates[o.index]
    height, width = seen.color.shape[:2]
    out: dict[str, Any] = {
        "label": annotation.label,
        "annotation": annotation.id,
        "phrases": list(annotation.phrases),
        "box": _box_json(o.whole if config.output.target == "whole" else o.visible),
        "visible": _box_json(o.visible),
        "whole": _box_json(o.whole),
        "box2d": [_round(v, 2) for v in o.box2d],
        "points": o.points,
        "quality": _round(o.quality, 4),
        "depth_share": _round(o.depth_share, 4),
        "kept_share": _round(o.kept_share, 4),
        "border": _round(o.border, 4),
        "supported": o.supported,
    }
    if config.output.masks and candidate.mask is not None:
        out["mask"] = masks.encode(candidate.mask, height, width)
    if config.output.alignment == "gravity":
        upright = upright_box(annotation.label, o.cloud, down)
        out["upright"] = _box_json(upright) | {"quaternion": [_round(v, 9) for v in upright.quaternion]}
    return out


def _ask(sample: Sample, config: LiftConfig) -> None:
    """Adds grounding queries and spatial questions; depends only on the sample and the run's seed."""
    if not config.output.groundings and not config.output.questions:
        return
    from training.lift.questions import ask

    truth = sample.truth()
    sample.meta["groundings"], sample.meta["questions"] = ask(
        truth.objects,
        [o["phrases"] for o in sample.meta["objects"]],
        sample.meta["left_out"],
        sample.camera,
        config.output.groundings,
        config.output.questions,
        seed_of(sample.key, config.seed),
    )


def _box_json(box: Box3D | OrientedBox) -> dict[str, Any]:
    return {"center": [_round(v, DIGITS) for v in box.center], "size": [_round(v, DIGITS) for v in box.size]}


def _round(value: float, digits: int) -> float:
    return round(float(value), digits)


def _vector(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
