"""Gives a frame's truth its groundings and questions, so that it can be judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import TrueObject, Truth
from training.questions.grounding import SceneObjects, grounding_samples
from training.questions.samples import SpatialSample
from training.questions.spatial import spatial_samples
from training.scenes.scene import GROUNDABLE_VISIBLE
from training.scenes.vocabulary import Vocabulary


def fill(
    truth: Truth,
    seed: int,
    camera: Camera | None = None,
    groundings: int = 4,
    questions: int = 4,
    vocabulary: Vocabulary | None = None,
    reword: Callable[[list[SpatialSample]], list[SpatialSample]] | None = None,
) -> Truth:
    """A truth with groundings and questions, a pure function of its arguments.

    Args:
        truth: the objects; those hidden or outside the image may be among them and are never asked for.
        seed: other seeds ask other things.
        camera: where given, an object's centre must project into the image.
        groundings, questions: how many of each at most; a poor view allows fewer.
        vocabulary: words for objects that are absent; the scene generator's by default.
        reword: what becomes of the spatial questions before they are written down.
    """
    scene = SceneObjects.of(truth.objects, groundable(truth.objects, camera))
    words = vocabulary or Vocabulary()
    asked = grounding_samples(scene, groundings, seed, words)
    posed = spatial_samples(scene, questions, seed + 1)
    if reword:
        posed = reword(posed)
    return replace(truth, groundings=[s.to_json() for s in asked], questions=[s.to_json() for s in posed])


def groundable(objects: Sequence[TrueObject], camera: Camera | None = None) -> list[int]:
    """Indices of the objects that can fairly be asked for: visible enough, and their centre inside the image."""
    chosen = [i for i, o in enumerate(objects) if o.visible >= GROUNDABLE_VISIBLE]
    if camera is None:
        return chosen
    pixels = camera.project(np.array([objects[i].box.center for i in chosen], dtype=float).reshape(-1, 3))
    limit = np.array([camera.width, camera.height]) - 0.5
    inside = ((pixels >= -0.5) & (pixels <= limit)).all(axis=1)
    return [i for i, ok in zip(chosen, inside, strict=True) if ok]
