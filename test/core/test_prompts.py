"""What the second prompt says about boxes, in the exact forms the model was trained on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n3d_core.errors import EmptyTextError, QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.language import prompts
from n3d_core.language.prompts import (
    first_sentence,
    mentioned,
    numbered_names,
    scene_condition,
)

CAMERA = Camera(1000, 800, 1000.0, 1000.0, 499.5, 399.5)
A = Box3D("mug", (0.5, -0.25, 2.0), (0.1, 0.125, 0.1))
B = Box3D("side table", (-1.0, 0.5, 4.0), (0.5, 0.6, 0.7))
C = Box3D("lamp", (0.0, 0.0, 3.333), (0.2, 0.2, 0.2))
D = Box3D("tv", (1.0, 1.0, 5.0), (1.0, 0.5, 0.05))
MUG, MUG_2D = "[-0.5, 0.25, 2.0, 0.1, 0.12, 0.1]", "[0.75, 0.34, 0.06, 0.09]"
TABLE, TABLE_2D = "[1.0, -0.5, 4.0, 0.5, 0.6, 0.7]", "[0.25, 0.66, 0.17, 0.22]"
LAMP, LAMP_2D = "[-0.0, -0.0, 3.33, 0.2, 0.2, 0.2]", "[0.5, 0.5, 0.06, 0.08]"
TV, TV_2D = "[-1.0, -1.0, 5.0, 1.0, 0.5, 0.05]", "[0.7, 0.75, 0.2, 0.13]"


def condition(*boxes: Box3D, names: list[str] | None = None) -> str:
    return scene_condition(boxes, CAMERA, names or [b.label for b in boxes])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("'red mug'", "red mug"),
        ('"red mug"', "red mug"),
        ("\u201cred mug\u201d", "red mug"),
        ("red\u00a0mug\u200b", "red mug"),
        ("\ufeff\u202ered mug", "red mug"),
        ("red\x1b\x07mug\r\n", "red mug"),
        ("the 'red mug'", "the 'red mug'"),
        ("'red mug' and 'blue can'", "'red mug' and 'blue can'"),
        ("the robot's mug", "the robot's mug"),
    ],
)
def test_what_a_shell_or_a_page_left_around_a_text_is_removed(text: str, clean: str) -> None:
    assert (prompts.checked_text(text), prompts.phrases(text)) == (clean, [clean])


def test_each_line_is_a_phrase() -> None:
    assert prompts.phrases("red mug\nblue box; lamp\n\n") == ["red mug", "blue box", "lamp"]


def test_quotes_around_several_phrases_are_removed_too() -> None:
    assert prompts.phrases("'red mug; blue can'") == ["red mug", "blue can"]
    assert prompts.phrases('"red mug"; "blue can"') == ["red mug", "blue can"]


@pytest.mark.parametrize("text", ["\u200b", "''", "\x00", " \ufeff "])
def test_a_text_of_nothing_that_shows_is_empty(text: str) -> None:
    with pytest.raises(EmptyTextError, match="name what to look for"):
        prompts.checked_text(text)


def test_no_box_is_no_condition() -> None:
    assert condition() == ""


def test_one_box() -> None:
    assert condition(A) == f" The 3D bbox of mug is {MUG}. The 2D bbox of mug is {MUG_2D}. "


def test_two_boxes() -> None:
    assert condition(A, B) == (
        f" The 3D bbox of mug is {MUG}. The 3D bbox of side table is {TABLE}."
        f" The 2D bbox of mug is {MUG_2D}. The 2D bbox of side table is {TABLE_2D}. "
    )


def test_three_boxes() -> None:
    assert condition(A, B, C) == (
        f" The 3D bbox of mug, side table and lamp is {MUG}, {TABLE} and {LAMP}."
        f" The 2D bbox of mug, side table and lamp is {MUG_2D}, {TABLE_2D} and {LAMP_2D}. "
    )


def test_more_boxes_are_lists_of_numbered_names() -> None:
    names = numbered_names([A, B, C, D])
    assert names == ["0_mug", "1_side table", "2_lamp", "3_tv"]
    assert condition(A, B, C, D, names=names) == (
        f" The 3D bbox of ['0_mug', '1_side table', '2_lamp', '3_tv'] is [{MUG}, {TABLE}, {LAMP}, {TV}]."
        f" The 2D bbox of ['0_mug', '1_side table', '2_lamp', '3_tv'] is [{MUG_2D}, {TABLE_2D}, {LAMP_2D}, {TV_2D}]. "
    )


def test_corners_behind_the_camera_do_not_count() -> None:
    deep = Box3D("wall", (0.0, 0.0, 1.0), (1.0, 1.0, 4.0))
    assert condition(deep).endswith("The 2D bbox of wall is [0.5, 0.5, 0.33, 0.42]. ")


@pytest.mark.parametrize("z", [0.0, -2.0, float("nan")])
def test_a_box_behind_the_camera_is_refused(z: float) -> None:
    with pytest.raises(QueryError, match="'2_mug' is behind the camera"):
        condition(Box3D("mug", (0.0, 0.0, z), (1.0, 1.0, 1.0)), names=["2_mug"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Is it left? Explain.", "Is it left?"),
        ("How far is it. Answer in metres.", "How far is it."),
        ("Is the cup within 0.5 m of the box? Yes or no.", "Is the cup within 0.5 m of the box?"),
        ("Is mug no. 3 taller, e.g. by far, vs. the can?", "Is mug no. 3 taller, e.g. by far, vs. the can?"),
        ("What...?", "What...?"),
        ("Which is\nlarger? Say.", "Which is\nlarger?"),
        ("no stop", "no stop"),
        ("ends.", "ends."),
        ("", ""),
        ("杯子在哪里\uff1f说明。", "杯子在哪里\uff1f"),
    ],
)
def test_the_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@given(st.text(max_size=80))
def test_the_first_sentence_is_the_beginning(text: str) -> None:
    sentence = first_sentence(text)
    assert text.startswith(sentence)
    assert sentence or not text


NAMES = ["0_chair", "1_table", "2_orange/tangerine", "3_chair", "10_chair", "4_green", "5_green mug"]


@pytest.mark.parametrize(
    ("question", "indices"),
    [
        ("What is the distance between 0_chair and 1_table?", [0, 1]),
        ("Compare 2_orange/tangerine with 0_chair.", [2, 0]),
        ("Is 3_chair, 1_table or 0_chair the widest, and is 1_table tall?", [3, 1, 0]),
        ("Is 10_chair left of 0_chair?", [4, 0]),
        ("Where is 5_Green  Mug?", [6]),
        ("Is 4_green near 5_green mug?", [5, 6]),
        ("Use 9_unknown, or 0_chairs.", []),
        ("Which is the tallest?", []),
    ],
)
def test_numbered_boxes_are_found_in_a_question(question: str, indices: list[int]) -> None:
    assert mentioned(question, NAMES) == indices
