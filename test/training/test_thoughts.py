"""How thoughts are trained: drills go on from stated boxes, and numbers that are nearly right count as nearly right."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.reasoning.outcome import clause_of
from n3d_core.reasoning.question import TYPES
from n3d_core.runtime import UNTAUGHT
from training.data.sequences import Question, SampleMaker
from training.learn.losses import FRACTIONS, NumberSofteners, fraction_ids, language_loss
from training.questions.grounding import SceneObjects
from training.questions.passes import drill_question, reason_question
from training.questions.spatial import spatial_samples

_OBJECTS = [
    TrueObject(Box3D(label, center, size), label.split()[1], label.split()[0], 1.0)
    for label, center, size in [
        ("red mug", (-0.41, 0.1, 0.83), (0.11, 0.12, 0.1)),
        ("blue box", (0.35, -0.18, 1.27), (0.37, 0.3, 0.24)),
        ("green ball", (0.07, 0.31, 1.92), (0.2, 0.21, 0.2)),
    ]
]
CAMERA = Camera(640, 480, 550.0, 550.0, 319.5, 239.5)
_SCENE = SceneObjects.of(_OBJECTS, [0, 1, 2])
_SAMPLES = spatial_samples(_SCENE, 400, seed=3)


@pytest.fixture(scope="module")
def tokenizer(small_init: Path) -> Tokenizer:
    return Tokenizer(small_init / "tokenizer.json")


@pytest.fixture
def maker(small_init: Path, tokenizer: Tokenizer) -> SampleMaker:
    return SampleMaker(N3DConfig.from_file(small_init / "config.json"), tokenizer, tokens=600, text_weight=0.5)


def test_a_drill_asks_for_what_follows_from_the_boxes_that_its_beginning_states() -> None:
    rng = np.random.default_rng(0)
    drilled: Counter[str] = Counter()
    for sample in _SAMPLES:
        drill = drill_question(sample, rng)
        if drill is None:
            assert sample.type in ("count", "exists", "related", "all")  # a list, and nothing to compute
            assert clause_of(sample.solution.question) is None
            continue
        drilled[sample.type] += 1
        assert "bbox" not in drill.prompt
        assert drill.given.startswith("<think>")
        assert all(name in drill.given for name in sample.solution.roles.names if name != "camera")
        assert "The 3D" not in drill.reply
        assert drill.reply.startswith(" ")
        assert drill.reply.count("</think>") == 1
    assert set(drilled) >= set(TYPES) - {"count", "exists"} - set(UNTAUGHT)


def test_a_shaken_prompt_never_makes_a_thought_contradict_its_answer() -> None:
    rng = np.random.default_rng(0)
    samples = spatial_samples(_SCENE, 30, 4, {"same": 1.0})
    assert samples
    for sample in samples * 8:
        reply = reason_question(sample, CAMERA, rng).reply
        assert reply is not None
        compared = re.findall(r"\|(\S+) - (\S+)\| = \S+ (<=|>) max", reply)
        assert compared
        assert [sign for _, _, sign in compared].count("<=") == len(compared) or "That is False." in reply
        for a, b, sign in compared:
            a, b = float(a), float(b)
            assert (abs(a - b) <= max(a, b) / 10) == (sign == "<=")
        assert "That is True." in reply or ">" in [sign for _, _, sign in compared]


def test_a_prompt_of_pass_2_states_the_boxes_that_its_answer_is_about() -> None:
    rng = np.random.default_rng(0)
    samples = [s for s in spatial_samples(_SCENE, 40, 5, {"except": 1.0}) if s.solution.question.type == "count"]
    assert samples
    for sample in samples:
        (left_out,) = sample.solution.question.among.without
        prompt = reason_question(sample, CAMERA, rng).prompt
        text, condition = prompt.split("3D bbox", 1)
        assert left_out.label in text
        assert left_out.label not in condition
        assert all(o.box.label in condition for o in _OBJECTS if o.box.label != left_out.label)


def test_a_drill_computes_from_the_numbers_that_it_states() -> None:
    sample = next(s for s in _SAMPLES if s.type == "vertical_distance")
    drill = drill_question(sample, np.random.default_rng(1))
    assert drill is not None
    first, second = (float(y) for y in re.findall(r"\[[^,]+, ([^,]+), [^]]+\]", drill.given))
    metres = float(re.search(r"vertical_distance_AB = \|[-0-9.]+\| = ([0-9.]+) meters", drill.reply)[1])  # type: ignore[index]
    assert metres == pytest.approx(abs(first - second), abs=1e-9)


def test_comparison_and_conclusion_weigh_as_decisions_numbers_one_and_other_words_less(
    maker: SampleMaker, tokenizer: Tokenizer
) -> None:
    pieces = ["<think>0.2.", " Since Y_A = 0.2 < Y_B = 0.34, b is above a.", "</think> b is"]
    lengths = [len(tokenizer.encode(piece)) for piece in pieces]
    question = Question("Is a above b?", reply="".join(pieces[1:]), given=pieces[0])
    assert maker._segment(question, [], decision=2.0).weights == (
        [0.0] * lengths[0] + [2.0] * lengths[1] + [0.5] * (lengths[2] + 1)
    )
    again = replace(question, given_weight=0.2)
    assert maker._segment(again, [], decision=2.0).weights[: lengths[0]] == [0.2] * lengths[0]
    computed = maker._segment(Question("How far?", reply="a = 0.57 meters."), [], decision=2.0)
    assert [tokenizer.decode([i]) for i, w in zip(computed.reply, computed.weights, strict=True) if w == 1.0] == ["57"]
    assert set(computed.weights) == {0.5, 1.0}


def test_a_thought_in_pieces_is_the_same_words(maker: SampleMaker, tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    drills = [d for d in (drill_question(sample, rng) for sample in _SAMPLES) if d]
    assert drills
    for drill in drills:
        whole = tokenizer.encode(f"{drill.given}{drill.reply}")
        assert maker._segment(drill, [], decision=2.0).reply == [*whole, maker.end]


def test_hundredths_and_whole_numbers_of_a_thought_have_bins(maker: SampleMaker, tokenizer: Tokenizer) -> None:
    segment = maker._segment(Question("Where?", reply="0.3 and 1.07 and 2.57 are 247.0 at 12 for 3_mug."), [], 2.0)
    found = [(tokenizer.decode([i]), b) for i, b in zip(segment.reply, segment.bins, strict=True) if b >= 0]
    hundredths = [("3", 30), ("07", 7), ("57", 57), ("0", 0)]
    wanted = [(text, FRACTIONS + value) for text, value in hundredths]
    assert [f for f in found if f[1] >= FRACTIONS] == wanted
    assert [f for f in found if f[1] < FRACTIONS] == [("247", 247)]


def test_each_hundredth_has_its_token(tokenizer: Tokenizer) -> None:
    ids = fraction_ids(tokenizer)
    assert len(set(ids)) == 100
    assert [tokenizer.decode([ids[v]]) for v in (0, 1, 9, 10, 25, 90, 99)] == ["0", "01", "09", "1", "25", "9", "99"]


def test_a_near_hundredth_costs_less_than_a_far_one() -> None:
    softeners = NumberSofteners(list(range(10)), list(range(20, 120)), 1.0, 1.0)
    target, value = torch.tensor([20 + 57]), torch.tensor([FRACTIONS + 57])

    def loss(said: int) -> float:
        logits = torch.zeros(1, 130)
        logits[0, 20 + said] = 5.0
        return float(language_loss(logits, target, torch.ones(1), value, softeners))

    assert loss(57) < loss(58) < loss(60) == pytest.approx(loss(99), abs=0.5)
    exact = torch.full((1, 130), -30.0)
    exact[0, 20:120] = softeners.fractions.kernel[57].clamp(min=1e-12).log()
    assert float(language_loss(exact, target, torch.ones(1), value, softeners)) == pytest.approx(0, abs=1e-5)
