"""Questions about lifted images, by the generators of `training.questions` with the vocabulary of photographs.

Lifted objects have a class and referring phrases but no colour, so no query names colours, and an object's phrases
become queries of kind `referring`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.frame_folder import TrueObject
from training.questions.fill import groundable
from training.questions.grounding import SceneObjects, Vocabulary, grounding_samples
from training.questions.spatial import spatial_samples

MIXTURE = {"detect": 1.0, "class": 4.0, "classes": 1.0, "superlative": 1.0, "relation": 0.5, "absent": 2.0}

# COCO's more common classes: likely in photographs, so that asking for an absent one is a fair question.
COMMON = (
    "person", "bicycle", "car", "motorcycle", "bus", "truck", "bench", "bird", "cat", "dog", "horse", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "skateboard", "bottle", "wine glass", "cup", "fork", "knife", "spoon",
    "bowl", "banana", "apple", "sandwich", "orange", "pizza", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "toothbrush",
)  # fmt: skip


def ask(
    objects: list[TrueObject],
    phrases: list[list[str]],
    left_out: list[str],
    camera: Camera,
    groundings: int,
    questions: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Grounding queries and spatial questions about an image, in the form of a truth file; questions have a `reply`.

    Args:
        objects: the lifted objects.
        phrases: referring expressions of each object.
        left_out: labels of objects in the image that were not lifted: no query asks for all of their class, and none
            for them as absent.
        camera: intrinsics; objects whose centre is outside the image are not asked for.
        groundings, questions: maximum number of each.
        seed: equal arguments give equal questions.
    """
    hidden = [TrueObject(Box3D(label, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), label, "", 0.0) for label in left_out]
    scene = SceneObjects.of([*objects, *hidden], groundable(objects, camera))
    referring = [
        {"text": phrase, "objects": [i], "kind": "referring"} for i, own in enumerate(phrases) for phrase in own
    ]
    random.Random(seed).shuffle(referring)
    queries = referring[:groundings]
    absent = absent_words(o.cls for o in scene.objects)
    made = grounding_samples(scene, groundings - len(queries), seed + 1, absent, MIXTURE)
    queries += [s.to_json() for s in made]
    posed = spatial_samples(scene, questions, seed + 2)
    return queries, [{**s.to_json(), "labels": list(s.labels), "reply": s.reply} for s in posed]


def absent_words(labels: Iterable[str]) -> Vocabulary:
    """Words for absent objects in a photograph that shows `labels`: common classes with other names, no colours.

    If no word is left, it returns the labels, for which no question about an absent object is made.
    """
    here = [label.lower() for label in labels]
    words = tuple(w for w in COMMON if not any(w in label or label in w for label in here))
    return Vocabulary(words or tuple(here), ("",))
