"""Which questions are asked of a training image, by the weights of a mixture.

Stage 1 asks for boxes; stage 2 adds spatial questions in their passes: `locate` (pass 1: the boxes of the objects that
the question speaks of), `reason` (pass 2: the boxes as text, then thought and answer), `drill` (what a thought
computes, behind a beginning of it that states the boxes: a third of the tokens), `sums` (the steps of thoughts alone)
and `direct` (the answer alone, from the image alone: what the model is left with where it finds nothing, and the
baseline of the ablation). What needs no image is partly asked about imagined scenes, which hold more objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from n3d_core.errors import ConfigError
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.reasoning.question import COMPARISONS
from training.data.sequences import LabelledImage, Question
from training.questions.grounding import DEFAULT_MIXTURE, SceneObjects, Vocabulary, grounding_samples
from training.questions.imagined import imagined_scene
from training.questions.marks import draw_marks, marked_samples
from training.questions.passes import direct_question, drill_question, locate_question, reason_question
from training.questions.samples import GroundingSample
from training.questions.spatial import UNIFORM, absent_sample, spatial_samples
from training.questions.sums import sums_question

ABSENT = 0.25  # share of located questions that name something which is not there
IMAGINED = 0.4  # share of the second pass and of drills that is about no image
SUMS = "sums"
SPATIAL_PASSES = ("locate", "reason", "drill", "direct")
MARKED = "marked"
KINDS = (*DEFAULT_MIXTURE, MARKED, *SPATIAL_PASSES, SUMS)
_MANY = {"depth_order": 3.0, "extreme": 3.0, "relative_distance": 4.0}  # objects that have to be found
_COMPUTED = dict.fromkeys(COMPARISONS, 1.5) | {
    "distance": 2.0, "horizontal_distance": 3.0, "vertical_distance": 2.0, "direction": 3.0, "big_small": 2.0,
}  # fmt: skip
_READ = {"width": 0.5, "height": 0.5, "length": 0.5, "thickness": 0.5}
_OFTEN_WRONG = {
    "count": 4.0, "order": 3.0, "volume": 2.0, "gap": 3.0, "related": 3.0, "place": 1.5, "fit": 2.5, "all": 2.5,
    "same": 2.0, "exists": 2.5,
}  # fmt: skip
EMPHASIS = {
    "locate": UNIFORM | _MANY | {"count": 2.0},
    "reason": UNIFORM | _MANY | _COMPUTED | _READ | _OFTEN_WRONG,
    "drill": UNIFORM | _MANY | _COMPUTED | _READ | _OFTEN_WRONG,
    "direct": UNIFORM,
}
"""Weights of the types of questions in each pass: what is harder is asked more often."""


class QuestionMixture:
    """Draws questions for an image.

    Args:
        mixture: weight of each kind: those of `training.questions.grounding`, `marked` (share of images with a box
            drawn on them, 0..1) and the passes of spatial questions.
        vocabulary: classes and colours that absent objects are made of.

    Raises:
        ConfigError: if a kind is not known or no weight is positive.
    """

    def __init__(self, mixture: Mapping[str, float], vocabulary: Vocabulary) -> None:
        unknown = sorted(set(mixture) - set(KINDS))
        if unknown:
            raise ConfigError(f"data.mixture: unknown kinds {unknown}; known are {', '.join(KINDS)}")
        weights = {k: w for k, w in mixture.items() if k != MARKED and w > 0}
        if not weights or min(mixture.values()) < 0:
            raise ConfigError(f"data.mixture must have weights >= 0, one of them positive; got {dict(mixture)}")
        self.kinds = list(weights)
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        self.marked = mixture.get(MARKED, 0.0)
        self.vocabulary = vocabulary

    def draw(self, image: LabelledImage, count: int, rng: np.random.Generator) -> tuple[LabelledImage, list[Question]]:
        """The image, perhaps with a box drawn on it, and up to `count` different questions about it.

        One of pass 2 comes first: they are the longest, and would seldom find room behind others.
        """
        scene, places = visible_objects(image)
        questions: dict[str, Question] = {}
        if rng.random() < self.marked:
            for sample in marked_samples(scene, image.camera, 1, _seed(rng)):
                assert sample.mark is not None
                image = replace(image, color=draw_marks(image.color, [sample.mark]))
                questions[sample.prompt] = replace(_boxes_of(sample, places), kind=MARKED)
        kinds = rng.choice(self.kinds, size=count, p=self.weights).tolist()
        if "reason" in kinds:
            kinds.insert(0, kinds.pop(kinds.index("reason")))
        for kind in kinds:
            question = self._one(kind, image, scene, places, rng)
            if question is not None:
                questions.setdefault(question.prompt, question)
        return image, list(questions.values())

    def _one(
        self, kind: str, image: LabelledImage, scene: SceneObjects, places: list[int], rng: np.random.Generator
    ) -> Question | None:
        if kind == SUMS:
            question = sums_question(imagined_scene(self.vocabulary, rng), rng)
            return question and replace(question, kind=SUMS)
        if kind not in SPATIAL_PASSES:
            found = grounding_samples(scene, 1, _seed(rng), self.vocabulary, {kind: 1.0})
            return replace(_boxes_of(found[0], places), kind=kind) if found else None
        if kind in ("reason", "drill") and rng.random() < IMAGINED:
            scene = imagined_scene(self.vocabulary, rng)
        posed = spatial_samples(scene, 1, _seed(rng), EMPHASIS[kind], vocabulary=self.vocabulary)
        if not posed:
            return None
        sample, question = posed[0], None
        if kind == "locate":
            asked = absent_sample(sample, scene, self.vocabulary, _seed(rng)) if rng.random() < ABSENT else None
            question = locate_question(asked or sample, places)
        elif kind == "drill":
            question = drill_question(sample, rng)
        else:
            question = reason_question(sample, image.camera, rng) if kind == "reason" else direct_question(sample)
        return question and replace(question, kind=f"{kind} about {sample.type}")


def visible_objects(image: LabelledImage) -> tuple[SceneObjects, list[int]]:
    """The objects of which anything is left in the image, and their indices among the image's objects."""
    pixels = np.bincount(image.instances.ravel(), minlength=256)
    places = [i for i, o in enumerate(image.objects) if pixels[o.instance] > 0]
    objects = [image.objects[i] for i in places]
    true = [TrueObject(replace(o.box, label=o.label), o.cls, o.color, 1.0) for o in objects]
    return SceneObjects.of(true, [i for i, o in enumerate(objects) if o.groundable]), places


def _boxes_of(sample: GroundingSample, places: list[int]) -> Question:
    boxes = zip(sample.objects, sample.labels, strict=True)
    return Question(sample.prompt, tuple((places[i], label) for i, label in boxes))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
