"""A spatial question as what the model is asked in each of its passes.

Pass 2 reasons from the boxes that its prompt states. At run time these are the model's own, so in training they are
often shaken, and the thought and the answer are worked out anew from the shaken ones: the model learns to read the
prompt, not to trust the image.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.language.conditions import condition_names, first_sentence, mentioned, scene_condition
from n3d_core.reasoning.solve import Solution, solve
from n3d_core.reasoning.thoughts import Style
from training.data.sequences import Question
from training.questions.samples import SpatialSample

SHAKEN = 0.7  # share of pass-2 prompts with shaken boxes
NUMBERED = 0.25  # share that speaks of boxes found before, as `3_red mug`
REPEATED = 0.2  # weight of the words of a thought that repeat the boxes of its prompt
_STATED = re.compile(
    r"<think>((The 3D (center|bbox) of [^\[]+ is \[[^]]+\]\. ?)+(?<! )"
    r"|[XYZWHLT]_A = [^ ]+ for .*?\.(?= Since| Compared))"
)


def locate_question(sample: SpatialSample, places: list[int]) -> Question:
    """Pass 1; `places` are the indices of the scene's objects among the image's."""
    boxes = zip(sample.objects, sample.labels, strict=True)
    return Question(sample.prompt, tuple((places[i], label) for i, label in boxes))


def direct_question(sample: SpatialSample) -> Question:
    """The question alone, answered alone."""
    return Question(first_sentence(sample.text), reply=sample.solution.text)


def drill_question(sample: SpatialSample, rng: np.random.Generator) -> Question | None:
    """The question with its boxes stated by the beginning of the thought, which is given: what it computes from them is
    asked for, at a third of the tokens. None where the thought states no boxes."""
    scene = sample.solution.scene
    solution = solve(sample.solution.question, _shaken(list(scene.boxes), rng), scene.names)
    given, reply = _parted(solution)
    return Question(first_sentence(sample.text), reply=reply, given=given) if given else None


def reason_question(
    sample: SpatialSample, camera: Camera, rng: np.random.Generator, style: Style = "compact"
) -> Question:
    """Pass 2: the question and its boxes as text, answered by a thought and an answer."""
    boxes = list(sample.solution.scene.boxes)
    if rng.random() < SHAKEN:
        boxes = _shaken(boxes, rng)
    boxes = [replace(box, label=label) for box, label in zip(boxes, sample.labels, strict=True)]
    text, names = first_sentence(sample.text), condition_names(boxes)
    numbered = None
    if not sample.solution.question.among and rng.random() < NUMBERED:
        numbered = _numbered(text, sample.labels, rng)
        text, names = numbered or (text, names)
    solution = solve(sample.solution.question, boxes, names, style)
    order = mentioned(text, names) if numbered else range(len(boxes))
    condition = scene_condition([boxes[i] for i in order], camera, [names[i] for i in order])
    given, reply = _parted(solution)
    return Question(text + condition, reply=reply, given=given, given_weight=REPEATED)


def _parted(solution: Solution) -> tuple[str, str]:
    """The beginning of thought and answer that states boxes (empty where none does), and the rest."""
    text = solution.reply
    stated = _STATED.match(text)
    end = stated.end() if stated else 0
    return text[:end], text[end:]


def _shaken(boxes: list[Box3D], rng: np.random.Generator) -> list[Box3D]:
    """Boxes of another scene of the same kind: all scaled alike, each moved and stretched a little."""
    scale = float(np.exp(rng.normal(0, 0.3)))
    out = []
    for box in boxes:
        center = np.asarray(box.center) * scale * (1 + rng.normal(0, 0.05, 3)) + rng.normal(0, 0.03, 3)
        center[2] = max(center[2], 0.05)
        size = np.asarray(box.size) * scale * np.exp(rng.normal(0, 0.15, 3))
        (x, y, z), (w, h, length) = center.tolist(), size.tolist()
        out.append(Box3D(box.label, (x, y, z), (w, h, length)))
    return out


def _numbered(text: str, labels: tuple[str, ...], rng: np.random.Generator) -> tuple[str, list[str]] | None:
    """The question with its mentions as `{id}_{label}`, and those names; None where a mention cannot be told."""
    ids = rng.choice(10, size=len(labels), replace=False).tolist()
    numbered = [f"{i}_{label}" for i, label in zip(ids, labels, strict=True)]
    for label, name in sorted(zip(labels, numbered, strict=True), key=lambda pair: -len(pair[0])):
        text, changed = re.subn(rf"\bthe {re.escape(label)}\b", name, text)
        if not changed:
            return None
    return text, numbered
