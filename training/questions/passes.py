"""A spatial question as what the model is asked in each of its passes.

Pass 2 reasons from the boxes that its prompt states. At run time these are the model's own, so in training they are
often shaken, and the thought and the answer are worked out anew from the shaken ones: the model learns to read the
prompt, not to trust the image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.language.prompts import (
    condition_names,
    first_sentence,
    mentioned,
    numbered_names,
    scene_condition,
)
from n3d_core.reasoning.outcome import evaluate, plain
from n3d_core.reasoning.question import Question as SpatialQuestion
from n3d_core.reasoning.relations import as_stated
from n3d_core.reasoning.resolve import Scene
from n3d_core.reasoning.solve import Solution, solve
from n3d_core.reasoning.thoughts import Style
from training.data.sequences import Question
from training.questions.samples import SpatialSample

SHAKEN = 0.7  # share of pass-2 prompts with shaken boxes
NUMBERED = 0.25  # share that speaks of boxes found before, as `3_red mug`
_ATTEMPTS = 3  # shakes of boxes for a clear answer
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
    question, scene = sample.solution.question, sample.solution.scene
    solution = solve(question, _shaken_clearly(question, scene, rng), scene.names)
    given, reply = _parted(solution)
    return Question(first_sentence(sample.text), reply=reply, given=given) if given else None


def reason_question(
    sample: SpatialSample, camera: Camera, rng: np.random.Generator, style: Style = "compact"
) -> Question:
    """Pass 2: the question and its boxes as text, answered by a thought and an answer.

    As at run time, the text states the boxes that the answer is about: not the lamp of "everything except the lamp".
    """
    question, scene = sample.solution.question, sample.solution.scene
    boxes = _shaken_clearly(question, scene, rng) if rng.random() < SHAKEN else list(scene.boxes)
    boxes = [replace(box, label=label) for box, label in zip(boxes, sample.labels, strict=True)]
    roles = [i for i in evaluate(question, Scene(tuple(boxes), sample.labels)).roles.indices if i is not None]
    boxes = [boxes[i] for i in dict.fromkeys([*roles, *range(len(boxes))])]
    asked = len(set(roles))
    text, names = first_sentence(sample.text), [*condition_names(boxes[:asked]), *numbered_names(boxes)[asked:]]
    numbered = None
    if not question.among and rng.random() < NUMBERED:
        numbered = _numbered(text, tuple(box.label for box in boxes), rng)
        text, names = numbered or (text, names)
    solution = solve(question, boxes, names, style)
    order = mentioned(text, names) if numbered else range(asked)
    condition = scene_condition([boxes[i] for i in order], camera, [names[i] for i in order])
    given, reply = _parted(solution)
    return Question(text + condition, reply=reply, given=given, given_weight=REPEATED)


def _parted(solution: Solution) -> tuple[str, str]:
    """The beginning of thought and answer that states boxes (empty where none does), and the rest."""
    text = solution.reply
    stated = _STATED.match(text)
    end = stated.end() if stated else 0
    return text[:end], text[end:]


def _shaken_clearly(question: SpatialQuestion, scene: Scene, rng: np.random.Generator) -> list[Box3D]:
    """Shaken boxes that answer alike whether exact or as the prompt rounds them, so that no thought contradicts its
    answer; after a few attempts the true ones."""
    for _ in range(_ATTEMPTS):
        boxes = _shaken(scene.boxes, rng)
        with suppress(QueryError):
            exact, stated = (
                plain(question, evaluate(question, scene.moved(some)))
                for some in (boxes, [as_stated(b) for b in boxes])
            )
            if isinstance(exact, float) or exact == stated:
                return boxes
    return list(scene.boxes)


def _shaken(boxes: Sequence[Box3D], rng: np.random.Generator) -> list[Box3D]:
    """Boxes of another scene of the same kind: all scaled alike, each moved and stretched a little, half the time all
    stretched alike, which keeps what is alike alike."""
    scale = float(np.exp(rng.normal(0, 0.3)))
    alike = np.exp(rng.normal(0, 0.15, 3)) if rng.random() < 0.5 else None
    out = []
    for box in boxes:
        center = np.asarray(box.center) * scale * (1 + rng.normal(0, 0.05, 3)) + rng.normal(0, 0.03, 3)
        center[2] = max(center[2], 0.05)
        stretch = np.exp(rng.normal(0, 0.15, 3)) if alike is None else alike
        size = np.asarray(box.size) * scale * stretch
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
