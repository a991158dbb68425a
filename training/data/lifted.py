"""Lifted photographs as training images: cropped and scaled to the training's image size.

Questions stored in a shard are not used: new ones are drawn for each augmented image, as for rendered scenes. Labels
are open words without colours. The auxiliary heads learn from those that are classes of the scenes and ignore the
others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.cleaning import DepthLimits
from n3d_core.errors import reading
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.language.prompts import grounding_prompt
from training.data.sequences import LabelledImage, LabelledObject, Question
from training.lift import masks
from training.lift.problems import ImageProblem, ShardError
from training.lift.questions import absent_words
from training.lift.reader import LiftedDataset
from training.lift.sample import Sample
from training.questions.mixture import QuestionMixture
from training.scenes.catalogue import CLASSES
from training.scenes.scene import is_groundable

NO_CLASS = -100
"""A class unknown to the auxiliary heads: cross-entropy ignores such targets."""

NO_COLOR = NO_CLASS + 1  # colours start at 1, the head's targets at 0

_MOST_INSTANCES = 255
_LEAST_INSIDE = 0.5  # share of an object's pixels that a crop must keep to ask for it
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost|o'clock|clockwise)\b", re.IGNORECASE)  # false when mirrored


@dataclass(frozen=True)
class AnnotatedObject(LabelledObject):
    """An object named by its class alone.

    Attributes:
        lifted: its original box; `box` differs if the image is mirrored.
        phrases: referring expressions for it, true of the original image.
    """

    lifted: Box3D
    phrases: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.cls

    @property
    def own_phrases(self) -> list[str]:
        """The phrases that are true of the current image."""
        mirrored = self.box.center != self.lifted.center
        return [p for p in self.phrases if not (mirrored and _SIDES.search(p))]


@dataclass(frozen=True)
class LiftedScene:
    """One sample at the training's image size; arrays as in `training.scenes.cache.CachedScene`.

    Attributes:
        objects: those in the image, then, with instance 0, those annotated but not lifted: never queried, but their
            names count as neither complete nor absent.
    """

    key: str
    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    instances: NDArray[np.uint8]
    camera: Camera
    objects: list[LabelledObject]


class LiftedScenes:
    """The samples of a finished run of the data engine at one size.

    Args:
        folder: the run's folder (`output.folder`).
        width, height: images are cropped at the centre and scaled to this size.

    Raises:
        ShardError: if the run is not finished, empty, or a shard is missing or cut short; on access, if a sample is
            damaged or has no intrinsics.
    """

    def __init__(self, folder: str | Path, width: int, height: int) -> None:
        self.data = LiftedDataset(folder)
        self.size = (width, height)
        if len(self.data) == 0:
            raise ShardError(f"{folder}: the run holds no sample; see its report.html for why every image was left out")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> LiftedScene:
        return _scene(self.data[index], *self.size)


class LiftedSource:
    """Images and questions from lifted shards.

    Args:
        scenes: the samples.
        mixture: weights of the kinds of questions.
        referring: share of the questions that use an image's own phrases, if it has some.
    """

    def __init__(self, scenes: LiftedScenes, mixture: dict[str, float], referring: float) -> None:
        self.scenes, self.mixture, self.referring = scenes, mixture, referring

    def image(self, index: int) -> LabelledImage:
        """The sample, or the next one that has an object to ask for.

        Raises:
            ShardError: if there is none.
        """
        for step in range(len(self.scenes)):
            image = from_lifted(self.scenes[(index + step) % len(self.scenes)])
            if any(o.groundable for o in image.objects):
                return image
        raise ShardError(
            f"{self.scenes.data.folder}: no image shows an object that can be asked for at {self.scenes.size} pixels: "
            "choose a data.size of another shape"
        )

    def draw(self, image: LabelledImage, count: int, rng: np.random.Generator) -> tuple[LabelledImage, list[Question]]:
        """The image, perhaps with a box drawn on it, and up to `count` questions about it."""
        phrases = [
            Question(grounding_prompt(phrase), ((i, o.label),), kind="referring")
            for i, o in enumerate(image.objects)
            if isinstance(o, AnnotatedObject) and o.groundable
            for phrase in o.own_phrases
        ]
        chosen = rng.permutation(len(phrases))[: rng.binomial(count, self.referring)]
        mixture = QuestionMixture(self.mixture, absent_words(o.cls for o in image.objects))
        image, drawn = mixture.draw(image, count - len(chosen), rng)
        return image, [phrases[i] for i in chosen] + drawn


def from_lifted(scene: LiftedScene) -> LabelledImage:
    """A labelled image of a lifted scene."""
    depth = scene.depth_mm.astype(np.float32) / 1000
    depth[scene.depth_mm == 0] = np.nan
    return LabelledImage(scene.color, depth, scene.instances, scene.camera, scene.objects)


def _scene(sample: Sample, width: int, height: int) -> LiftedScene:
    """Crops a sample to the shape of the training's images, scales it and labels its objects."""
    color, depth, camera = sample.color(), sample.depth_metres(), sample.camera
    if not color.shape[:2] == depth.shape == (camera.height, camera.width):
        raise ShardError(
            f"sample {sample.key}: picture {color.shape[1]}x{color.shape[0]}, depth {depth.shape[1]}x{depth.shape[0]} "
            f"and camera {camera.width}x{camera.height} differ: lift its image again"
        )
    painted, areas = _instances(sample, camera)
    left, top, w, h = _window(camera, width, height)
    window = np.s_[top : top + h, left : left + w]
    shrinks = w > width
    color = cv2.resize(color[window], (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    depth = cv2.resize(depth[window], (width, height), interpolation=cv2.INTER_NEAREST)
    instances = cv2.resize(painted[window], (width, height), interpolation=cv2.INTER_NEAREST)
    camera = camera.cropped(left, top, w, h).resized(width, height)
    inside = np.bincount(painted[window].ravel(), minlength=_MOST_INSTANCES + 1)
    seen = np.bincount(instances.ravel(), minlength=_MOST_INSTANCES + 1)
    objects: list[LabelledObject] = []
    for i, (true, entry) in enumerate(zip(_truth(sample), sample.meta["objects"], strict=True)):
        known = i < _MOST_INSTANCES and areas[i] > 0
        whole = known and seen[i + 1] > 0 and inside[i + 1] >= _LEAST_INSIDE * areas[i]
        lost = not known or (inside[i + 1] > 0 and seen[i + 1] == 0)  # it may be in the image without a visible pixel
        near = true.box.center[2] <= DepthLimits().far
        groundable = whole and near and is_groundable(true, camera)
        objects.append(_object(true, 0 if lost else i + 1, groundable, entry.get("phrases", ())))
    hidden = [Box3D(label, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)) for label in sample.meta["left_out"]]
    objects += [_object(TrueObject(box, box.label, "", 0.0), 0, False) for box in hidden]
    millimetres = np.nan_to_num(depth * 1000)
    millimetres[millimetres > np.iinfo(np.uint16).max] = 0  # far beyond the model's range
    return LiftedScene(sample.key, color, millimetres.round().astype(np.uint16), instances, camera, objects)


def _object(true: TrueObject, instance: int, groundable: bool, phrases: Any = ()) -> AnnotatedObject:
    name = true.cls.lower()
    number = CLASSES.index(name) + 1 if name in CLASSES else NO_CLASS
    return AnnotatedObject(true.cls, "", number, NO_COLOR, true.box, instance, groundable, true.box, tuple(phrases))


def _truth(sample: Sample) -> list[TrueObject]:
    """The objects of a sample; each must have a name and a box in front of the camera."""
    with reading(f"sample {sample.key}", "objects with boxes", ShardError):
        objects = sample.truth().objects
        fine = all(o.cls and o.box.center[2] > 0 and np.isfinite([*o.box.center, *o.box.size]).all() for o in objects)
    if not fine:
        raise ShardError(f"sample {sample.key}: an object without a name or a finite box in front of the camera")
    return objects


def _window(camera: Camera, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of the largest window of the shape width:height about the middle of an image."""
    w = min(camera.width, max(1, round(camera.height * width / height)))
    h = min(camera.height, max(1, round(camera.width * height / width)))
    return (camera.width - w) // 2, (camera.height - h) // 2, w, h


def _instances(sample: Sample, camera: Camera) -> tuple[NDArray[np.uint8], list[int]]:
    """Index + 1 of the object of each pixel [H, W], small ones over large ones, and how many pixels each has.

    Objects without a mask fill their 2D box.
    """
    painted = np.zeros((camera.height, camera.width), np.uint8)
    try:
        found = [_mask(o, camera) for o in sample.meta["objects"]]
    except (ImageProblem, KeyError, TypeError, ValueError) as error:
        raise ShardError(f"sample {sample.key}: a mask cannot be read ({error})") from error
    areas = [int(np.count_nonzero(mask)) for mask in found]
    for i in sorted(range(min(len(found), _MOST_INSTANCES)), key=lambda i: -areas[i]):
        painted[found[i]] = i + 1
    return painted, [int(n) for n in np.bincount(painted.ravel(), minlength=len(found) + 1)[1:]]


def _mask(entry: dict[str, Any], camera: Camera) -> NDArray[np.bool_]:
    """Mask [H, W] of an object of a sample."""
    if "mask" in entry:
        return masks.decode(entry["mask"], camera.height, camera.width).to_image(camera.height, camera.width)
    left, top, right, bottom = (max(0, round(v)) for v in entry["box2d"])
    mask = np.zeros((camera.height, camera.width), bool)
    mask[top:bottom, left:right] = True
    return mask
