"""Scenes that no image shows: boxes at random, for questions whose prompt states all that they are about.

The second pass reads boxes from its prompt, and a thought that computes sees no image at all. What they have to learn
is to tell many objects apart, which rendered views seldom hold: several of a kind, up to eight of them.
"""

from __future__ import annotations

import math

import numpy as np

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame_folder import TrueObject
from training.questions.grounding import SceneObjects
from training.scenes.vocabulary import Vocabulary

_MOST = 8  # objects
_OF_A_KIND = 0.4  # chance that an object has the class of another one
_STACKED = 0.2  # chance that it stands on another one
_EXTENTS = (0.04, 1.4)  # metres
_SCALES = (0.08, 0.6)  # of the objects of a scene, metres
_DEPTHS = (0.4, 6.0)  # metres
_HEIGHTS = (0.2, 1.6)  # of the camera above the floor, metres
_SPREAD = 0.55  # tangent of the largest angle to the side
_FLATNESS = 0.35  # standard deviation of the logarithms of an object's extents about their mean


def imagined_scene(vocabulary: Vocabulary, rng: np.random.Generator) -> SceneObjects:
    """Two to eight objects of known classes and colours, on a floor or on each other, in the optical frame."""
    floor, middle = rng.uniform(*_HEIGHTS), math.exp(rng.uniform(*np.log(_DEPTHS)))
    scale = math.exp(rng.uniform(*np.log(_SCALES)))
    objects: list[TrueObject] = []
    for _ in range(int(rng.integers(2, _MOST + 1))):
        cls = str(rng.choice(vocabulary.classes))
        if objects and rng.random() < _OF_A_KIND:
            cls = objects[int(rng.integers(len(objects)))].cls
        color = str(rng.choice(vocabulary.colors))
        width, height, length = (
            np.clip(scale * np.exp(rng.normal(0, 0.4) + rng.normal(0, _FLATNESS, 3)), *_EXTENTS).round(4).tolist()
        )
        if objects and rng.random() < _STACKED:
            under = objects[int(rng.integers(len(objects)))].box
            x, z, bottom = under.center[0], under.center[2], under.center[1] - under.size[1] / 2
        else:
            z = float(np.clip(middle * np.exp(rng.normal(0, 0.3)), *_DEPTHS))
            x, bottom = z * rng.uniform(-_SPREAD, _SPREAD), floor
        box = Box3D(f"{color} {cls}", (float(x), bottom - height / 2, float(z)), (width, height, length))
        objects.append(TrueObject(box, cls, color, 1.0))
    return SceneObjects.of(objects, range(len(objects)))
