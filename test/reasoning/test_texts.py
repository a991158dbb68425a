"""Thoughts and answers word for word as the shipped model was trained on them (`data/texts.json`)."""

import json
from pathlib import Path

import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Question
from n3d_core.reasoning.solve import solve

TEXTS = json.loads((Path(__file__).parent / "data" / "texts.json").read_text())
CLASSES = ("mug", "bottle", "can", "box", "ball", "bowl", "book", "vase", "chair", "table", "keyboard", "teddy bear")


def phrase(name: str) -> Phrase:
    return CAMERA_PHRASE if name == "camera" else Phrase(name, name, named=True)


def kind(among: str) -> Phrase | None:
    noun = next((c for c in (*CLASSES, "object") if among.endswith(c)), "")
    return Phrase(among, noun, tuple(among.removesuffix(noun).split()), plural=True) if among else None


@pytest.mark.parametrize("style", ["compact", "published"])
def test_texts_are_those_that_the_model_was_trained_on(style):
    texts = [t for t in TEXTS if t["style"] == style]
    assert len(texts) > 30
    for t in texts:
        boxes = [Box3D(n, tuple(b[:3]), tuple(b[3:])) for n, b in zip(t["names"], t["boxes"], strict=True)]
        objects, among = tuple(map(phrase, t["named"])), kind(t["among"])
        question = Question(t["type"], t["form"], objects, t["predicate"], t["unit"], t["opposite"], among)
        solution = solve(question, boxes, t["names"], style)
        assert list(solution.steps) == t["steps"], t["text"]
        assert solution.text == t["answer"]
        plain = list(solution.plain) if isinstance(solution.plain, tuple) else solution.plain
        assert plain == t["value"]
