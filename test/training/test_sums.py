"""Drills of single steps, and the scenes that no image shows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.audit import VERIFIED, audit
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question as SpatialQuestion
from n3d_core.reasoning.relations import gap
from n3d_core.reasoning.solve import solve
from training.questions.imagined import imagined_scene
from training.questions.mixture import KINDS, QuestionMixture
from training.questions.spatial import spatial_samples
from training.questions.sums import sums_question
from training.scenes.vocabulary import Vocabulary

_VOCABULARY = Vocabulary(("mug", "box", "ball"), ("red", "blue", "green"))
_STATED = re.compile(r"The 3D bbox of ([a-z ]+) is \[([^]]+)\]\.")
_N = r"(-?\d+(?:\.\d+)?)"
_FORMULAS: list[tuple[str, Callable[..., float]]] = [
    (rf"= {_N} - {_N} = {_N}", lambda b, a: b - a),
    (rf"= {_N} \+ {_N} = {_N}", lambda a, b: a + b),
    (rf"max\(\|{_N}\| - {_N} / 2, 0\) = {_N}", lambda apart, both: max(abs(apart) - both / 2, 0)),
    (rf"hypot\({_N}, {_N}\) = {_N}", math.hypot),
    (rf"hypot\({_N}, {_N}, {_N}\) = {_N}", math.hypot),
    (rf"= \|{_N}\| = {_N}", abs),
    (rf"degrees\(atan2\({_N}, {_N}\)\) % 360 = {_N}", lambda x, z: math.degrees(math.atan2(x, z)) % 360),
    (rf"= 12 - \({_N} // 30\) = {_N}", lambda angle: 12 - angle // 30),
    (rf"= {_N} \* {_N} \* {_N} \* 1000 = {_N}", lambda w, h, length: w * h * length * 1000),
    (rf"\|{_N} - {_N}\| = {_N} (?:<=|>)", lambda a, b: abs(a - b)),
]


@pytest.mark.parametrize("seed", range(40))
def test_every_step_of_a_drill_follows_from_its_stated_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drill = sums_question(imagined_scene(_VOCABULARY, rng), rng)
    assert drill is not None
    assert drill.prompt.startswith("Compute ")
    assert drill.reply
    boxes = [[float(v) for v in numbers.split(",")] for _, numbers in _STATED.findall(drill.given)]
    assert 2 <= len(boxes) <= 4
    for pattern, formula in _FORMULAS:
        for match in re.findall(pattern, drill.reply):
            *numbers, result = map(float, match)
            assert result == pytest.approx(formula(*numbers), abs=0.0051), match
    for first, sign, second in re.findall(r"= (-?[\d.]*\d) ([<>]) (?:\w+ = )?(-?[\d.]*\d)", drill.reply):
        assert (float(first) < float(second)) == (sign == "<")
    for axis, i, j, end, start in re.findall(r"([XYZ])_([A-D])([A-D]) = (-?[\d.]+) - (-?[\d.]+) =", drill.reply):
        k = "XYZ".index(axis)
        assert (float(end), float(start)) == (boxes["ABCD".index(j)][k], boxes["ABCD".index(i)][k])
    for how, measure in re.findall(r"(max|min)\(([XYZWHL])\)", drill.prompt):
        values = [box["XYZWHL".index(measure)] for box in boxes]
        best = f"{measure}_{'ABCD'[values.index(max(values) if how == 'max' else min(values))]}"
        assert f"= {best}" in drill.reply


def test_a_drill_says_what_it_computes_in_the_order_of_its_prompt() -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        drill = sums_question(imagined_scene(_VOCABULARY, rng), rng)
        assert drill is not None
        assert drill.reply
        asked = re.findall(r"\b((?:\w+_)?(?:distance|gap)_[A-D]{2})\b", drill.prompt)
        places = [drill.reply.index(f"{name} = ") for name in asked]
        assert places == sorted(places)


def test_imagined_scenes_hold_up_to_eight_objects_and_several_of_a_kind() -> None:
    rng = np.random.default_rng(0)
    scenes = [imagined_scene(_VOCABULARY, rng) for _ in range(200)]
    counts = [len(scene.objects) for scene in scenes]
    assert (min(counts), max(counts)) == (2, 8)
    for scene in scenes:
        assert sorted(scene.groundable) == list(range(len(scene.objects)))
        for item in scene.objects:
            assert item.box.label == f"{item.color} {item.cls}"
            assert item.cls in _VOCABULARY.classes
            assert item.box.center[2] > 0
            assert min(item.box.size) > 0
    scenes = [imagined_scene(Vocabulary(), rng) for _ in range(200)]
    types = {s.type for scene in scenes for s in spatial_samples(scene, 3, seed=len(scene.objects))}
    assert {"count", "extreme", "order", "related", "gap"} <= types


def test_sums_are_a_kind_of_the_mixture() -> None:
    assert "sums" in KINDS
    assert QuestionMixture({"sums": 1.0}, _VOCABULARY).kinds == ["sums"]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("text", ["How big is the gap between the red mug and the blue box?",
                                  "Is the gap between the red mug and the blue box larger than 30 cm?"])  # fmt: skip
def test_the_steps_of_a_gap_are_right_and_audited(seed: int, text: str) -> None:
    rng = np.random.default_rng(seed)
    names = ["red mug", "blue box"]
    boxes = [
        Box3D(n, tuple(rng.uniform((-1, -1, 0.5), (1, 1, 4)).tolist()), tuple(rng.uniform(0.05, 0.8, 3).tolist()))
        for n in names
    ]
    question = read_question(text, names)
    assert isinstance(question, SpatialQuestion)
    solution = solve(question, boxes, names)
    metres = float(re.search(r"gap_AB = hypot\([^)]*\) = ([\d.]+)", solution.reasoning)[1])  # type: ignore[index]
    assert metres == pytest.approx(gap(*boxes), abs=0.02)
    finding = audit(solution, solution.reasoning, solution.text)
    assert finding.verdict == VERIFIED
    assert not finding.slips
    wrong = solution.reasoning.replace(f"= {metres} meters", f"= {metres + 0.5:.2f} meters")
    assert audit(solution, wrong, solution.text).slips
