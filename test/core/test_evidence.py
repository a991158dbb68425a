"""Whether what a box claims is there: by a calibration, by rule without one, and what several phrases saw together."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from n3d_core.decoding.calibration import CALIBRATION, Calibration, Existence
from n3d_core.errors import CheckpointError
from n3d_core.evidence import Evidence, evidence_of, existence, is_found, needs_agreement
from n3d_core.finding import Found, Sightings, bare, kept
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Pick, Question, Where
from n3d_core.runtime import UNTAUGHT, Vocabulary

SURE = Evidence(0.0, 0.0, 0.0, inside=0.9, through=0.05)
CAMERA = Camera.from_fov(60.0, 64, 48)
BOX = Box3D("red mug", (0.0, 0.0, 1.0), (0.3, 0.3, 0.3))


def seen(depth: float) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), depth, np.float32), CAMERA)


@pytest.mark.parametrize(("depth", "inside", "through"), [(1.0, 1.0, 0.0), (2.0, 0.0, 1.0), (0.5, 0.0, 0.0)])
def test_depth_says_whether_a_box_is_measured_seen_through_or_hidden(
    depth: float, inside: float, through: float
) -> None:
    evidence = evidence_of((-0.1, -0.2, -0.3), seen(depth), BOX)
    assert (evidence.inside, evidence.through) == (inside, through)
    np.testing.assert_allclose(evidence.values, [-0.1, -0.2, -0.3, inside, through])


def test_agreement_is_the_overlap_with_boxes_of_a_fitting_and_of_another_name() -> None:
    half = replace(BOX, center=(0.15, 0.0, 1.0))
    everything = [replace(half, label="red mug"), replace(BOX, label="blue car")]
    compared = SURE.compared(BOX, everything, lambda name: name == "red mug")
    assert compared.same == pytest.approx(1 / 3)
    assert compared.other == pytest.approx(1.0)
    assert len(compared.values) == 7
    assert SURE.compared(BOX, [], bool).values[5:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("evidence", "found"),
    [
        (SURE, True),
        (replace(SURE, inside=0.05, through=0.8), False),  # seen through
        (replace(SURE, inside=0.05, through=0.5), True),  # hidden in part, which says nothing
        (replace(SURE, decision=math.log(0.4)), False),  # the model rather believed that nothing is there
        (replace(SURE, decision=math.log(0.4), same=0.7, other=0.0), True),
        (replace(SURE, same=0.0, other=0.8), False),  # something else stands there
        (replace(SURE, same=0.9, other=0.6), True),
    ],
)
def test_without_a_calibration_a_rule_decides(evidence: Evidence, found: bool) -> None:
    assert is_found(evidence, Calibration()) == found


def test_a_calibration_weighs_the_evidence_of_its_stage() -> None:
    fitted = Existence((1.0, 1, 0, 0, 2, -2), (0.5, 1, 0, 0, 0, 0, 3, -3), threshold=0.6, sure=0.9)
    calibration = Calibration(fitted=True, existence=fitted)
    early = 1 / (1 + math.exp(-(1.0 + 2 * 0.9 - 2 * 0.05)))
    assert existence(SURE, calibration) == pytest.approx(early)
    assert needs_agreement(SURE, calibration) == (early < 0.9)
    late = replace(SURE, same=0.0, other=1.0)
    assert existence(late, calibration) == pytest.approx(1 / (1 + math.exp(2.5)))
    assert (is_found(SURE, calibration), is_found(late, calibration)) == (True, False)
    assert not needs_agreement(SURE, replace(calibration, existence=replace(fitted, sure=0.5)))


def test_a_calibration_file_may_hold_the_later_stages(tmp_path: Path) -> None:
    plain = {"weights": [1, 2, 3, 4], "covariance_scale": 1.5, "threshold": 0.4}
    there = {"depth": [1] * 6, "agreement": [2] * 8, "threshold": 0.7, "sure": 0.95}
    whole = plain | {"score": {"depth": [0.1] * 6, "agreement": [0.2] * 8}, "existence": there}
    (tmp_path / CALIBRATION).write_text(json.dumps(whole))
    read = Calibration.from_folder(tmp_path)
    assert read.existence == Existence((1.0,) * 6, (2.0,) * 8, 0.7, 0.95)
    tokens = np.array([-0.1, -0.2, -0.3])
    assert read.score(tokens) == pytest.approx(1 / (1 + math.exp(-(1 - 0.2 - 0.6 - 1.2))))
    assert read.score(SURE.values) == pytest.approx(1 / (1 + math.exp(-(0.1 + 0.1 * 0.95))))
    (tmp_path / CALIBRATION).write_text(json.dumps(plain))
    assert Calibration.from_folder(tmp_path).score(SURE.values) == pytest.approx(1 / (1 + math.exp(-1)))
    for damaged in ({"depth": [1] * 5}, {"sure": 1.5}, {"agreement": None}):
        (tmp_path / CALIBRATION).write_text(json.dumps(plain | {"existence": there | damaged}))
        with pytest.raises(CheckpointError, match=CALIBRATION):
            Calibration.from_folder(tmp_path)


# ---------------------------------------------------------------- phrases


def found(label: str, x: float = 0.0, score: float = 0.9) -> Found:
    return Found(Box3D(label, (x, 0.0, 1.0), (0.1, 0.1, 0.1), score), SURE)


def test_an_object_that_two_phrases_find_is_one_and_keeps_the_fuller_name() -> None:
    sightings, mug, red = Sightings(), Phrase("mug", "mug"), Phrase("red mug", "mug", ("red",))
    sightings.add(mug, [found("mug"), found("mug", 0.5)])
    sightings.add(red, [found("red mug", 0.005)])
    assert [box.label for box in sightings.boxes] == ["red mug", "mug"]
    assert sightings.meant == {mug: [0, 1], red: [0]}
    sightings.add(Phrase("blue box", "box", ("blue",)), [found("blue box")])
    assert len(sightings.boxes) == 3  # of another name: not for us to decide which it is
    sightings.name_apart([found("blue mug", 0.5)])
    assert [box.label for box in sightings.boxes] == ["red mug", "blue mug", "blue box"]


@pytest.mark.parametrize(
    ("label", "x", "objects"),
    [
        ("red mug", 0.05, 1),  # a third shared: a colour that one prompt asks for moves the box
        ("red mug", 0.07, 2),  # less than a fifth
        ("mug", 0.05, 2),  # neighbours of one name
    ],
)
def test_a_name_with_and_without_its_color_may_stand_a_little_apart(label: str, x: float, objects: int) -> None:
    sightings = Sightings()
    sightings.add(Phrase("mug", "mug"), [found("mug")])
    sightings.add(Phrase("red mug", "mug", ("red",)), [found(label, x)])
    assert len(sightings.boxes) == objects


def test_where_one_is_meant_a_box_of_a_clearly_lower_score_is_no_rival() -> None:
    boxes = [found("mug", 0.0, 0.3), found("mug", 0.5, 0.9), found("mug", 1.0, 0.5)]
    assert [f.box.score for f in kept(boxes, 0.4, single=False)] == [0.9, 0.5]
    assert [f.box.score for f in kept(boxes, 0.4, single=True)] == [0.9, 0.5]
    assert [f.box.score for f in kept(boxes[:2], 0.2, single=True)] == [0.9]
    assert [f.box.score for f in kept(boxes[:1], 0.4, single=True)] == [0.3]  # the only one, doubtful as it is
    assert kept([], 0.4, single=True) == []


def test_what_is_grounded_of_a_phrase_is_its_label_without_what_geometry_resolves() -> None:
    beside = (Where("next_to", (CAMERA_PHRASE,)),)
    lamp = Phrase("big red lamp next to me", "lamp", ("red",), ("big", "wooden"), where=beside, pick=Pick("left"))
    assert bare(lamp) == Phrase("wooden red lamp", "lamp", ("red",), ("wooden",))
    mugs = Phrase("mugs except the red one", "mug", plural=True, without=(Phrase("red mug", "mug", ("red",)),))
    assert bare(mugs) == Phrase("mug", "mug", plural=True)


def test_a_vocabulary_names_the_first_word_that_was_not_taught(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text('{"classes": ["mug", "lamp"], "colors": ["red"]}')
    vocabulary = Vocabulary.from_folder(tmp_path)
    assert vocabulary is not None
    table = Phrase("table", "table")
    for phrase, word in (
        (Phrase("red mug", "mug", ("red",)), ""),
        (Phrase("big mug", "mug", (), ("big",)), ""),
        (Phrase("red things", "object", ("red",), plural=True), ""),
        (CAMERA_PHRASE, ""),
        (table, "table"),
        (Phrase("teal mug", "mug", ("teal",)), "teal"),
        (Phrase("wooden mug", "mug", (), ("wooden",)), "wooden"),
        (Phrase("mug on the table", "mug", where=(Where("on", (table,)),)), "table"),
        (Phrase("everything except the table", "object", plural=True, without=(table,)), "table"),
    ):
        assert vocabulary.unknown(phrase) == word
    assert Vocabulary.from_folder(tmp_path / "none") is None


def test_a_vocabulary_says_which_questions_a_model_was_not_trained_on(tmp_path: Path) -> None:
    path, names = tmp_path / "vocabulary.json", '{"classes": ["mug"], "colors": ["red"]'
    taught = Question("width", "number"), Question("direction", "number"), Question("same", "yes_no", predicate="width")
    left_out = (
        Question("angle", "number"),
        Question("proportion", "yes_no"),
        Question("direction", "yes_no"),
        Question("same", "yes_no", predicate="side"),
    )
    path.write_text(names + "}")
    older = Vocabulary.from_folder(tmp_path)
    assert older is not None
    assert older.untaught == set(UNTAUGHT)
    assert [older.teaches(question) for question in (*taught, *left_out)] == [True] * 3 + [False] * 4
    path.write_text(names + ', "untaught": ["width", "same.width"]}')
    newer = Vocabulary.from_folder(tmp_path)
    assert newer is not None
    assert [newer.teaches(question) for question in (*taught, *left_out)] == [False, True, False] + [True] * 4
    for wrong in ('"width"', '["breadth"]', "3"):
        path.write_text(f'{names}, "untaught": {wrong}}}')
        with pytest.raises(CheckpointError, match=r"vocabulary\.json.*(got list, list, (str|int)|'breadth')"):
            Vocabulary.from_folder(tmp_path)


def test_a_vocabulary_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"vocabulary\.json"):
        Vocabulary.from_folder(tmp_path)
