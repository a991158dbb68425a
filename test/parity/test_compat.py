"""The reference's own behaviours, by number of docs/compatibility.md, and what the product does in their place."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.points import Normalisation
from n3d_core.language import prompts, structured
from n3d_core.language.structured import BoxCode
from n3d_core.reasoning.relations import stated_numbers
from test.parity import compat
from test.parity.compat import ReferenceBox

UNIT = Normalisation((0.0, 0.0, 0.0), 1.0)
K = np.array([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1]], dtype=np.float32)


def boxes(*names: str) -> list[ReferenceBox]:
    return [ReferenceBox(i, name, 0.5, 0.5, 2.0, 0.0, (1.0, 1.0, 1.0)) for i, name in enumerate(names)]


def test_clouds_are_rounded_where_images_are_cut() -> None:  # 8
    assert compat.cloud_size(1024, 683) == (427, 640)
    assert compat.cloud_size(505, 500) == (634, 640)


@pytest.mark.parametrize(("grid", "shape"), [((30, 46), (-1, 640)), ((46, 30), (640, -1)), ((46, 46), (640, -1))])
def test_the_tower_reads_points_by_the_shape_of_the_grid(grid: tuple[int, int], shape: tuple[int, int]) -> None:  # 2
    assert compat.tower_layout(*grid) == shape


def test_a_comma_loses_a_box_and_a_parenthesis_all_of_them() -> None:  # 14
    salt = "bbox_0=Bbox(salt, pepper,1,2,3,500,5,6,7)"
    cups = "bbox_0=Bbox(cup,1,2,3,500,5,6,7)\nbbox_1=Bbox(cup (red),1,2,3,500,5,6,7)"
    assert compat.parse(salt) == []
    assert compat.saved_grounding(cups, UNIT) == "\n"
    assert [code.label for code in structured.parse(f"{salt}\n{cups}")] == ["salt, pepper", "cup", "cup (red)"]


def test_prose_is_kept_as_it_is() -> None:  # 14
    assert compat.saved_grounding("There is no mug.", UNIT) == "There is no mug."


def test_a_name_swallows_the_words_behind_it() -> None:  # 18
    found = boxes("chair", "table")
    question = "How far is 0_chair from 1_table?"
    assert compat.condition(found, K, "0_chair, 1_table").startswith(" The 3D bbox of 0_chair is ")
    assert compat.condition(found, K, question) == ""
    assert prompts.mentioned(question, ["0_chair", "1_table"]) == [0, 1]


def test_repeated_names_count_twice() -> None:  # 18
    text = compat.condition(boxes("chair"), K, "0_chair, 0_chair")
    assert text.count("The 3D bbox of 0_chair") == 2
    assert prompts.mentioned("0_chair, 0_chair", ["0_chair"]) == [0]


def test_a_decimal_point_ends_a_sentence() -> None:  # 19
    question = "Is it within 0.5 m? Yes or no."
    assert compat.first_sentence(question) == "Is it within 0."
    assert compat.first_sentence("first\nsecond. third") == "first\nsecond. third"
    assert prompts.first_sentence(question) == "Is it within 0.5 m?"


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [(457, 2, 457), (2046, 2, 2046), (3000, 2, 2046), (1500, 1100, 1182), (1500, 900, 1148), (900, 4000, 900)],
)
def test_long_prompts_lose_their_end(prompt: int, answer: int, kept: int) -> None:  # 21
    assert compat.kept_prompt_length(prompt, answer) == kept


def test_pieces_of_a_stream_are_joined_by_spaces() -> None:  # 15
    words = ["a", " b", "c", " d", "\n", "e", "杯", "f"]
    assert compat.streamed(range(len(words)), lambda ids: "".join(words[i] for i in ids)) == " a   bc  d\n  e杯  f"


@pytest.mark.parametrize(("value", "python", "numpy"), [(2.675, 2.67, 2.68), (1.115, 1.11, 1.12), (0.125, 0.12, 0.12)])
def test_sizes_round_as_python_does_and_places_as_numpy_does(value: float, python: float, numpy: float) -> None:  # 17
    rounded = stated_numbers(Box3D("box", (-value, -value, value), (value, value, value)))
    assert rounded == [numpy, numpy, python, python, python, python]


def test_bins_are_cut_towards_zero_and_clipped() -> None:  # 13
    box = compat.DEMO_BINS.discretise(ReferenceBox(0, "a", 0.125, 2.0, 1.9999999, 0.0, (-0.2, 0.7, 0.0)))
    assert box.numbers == (125.0, 2000.0, 999, 500, 320, 999, 0)
    rounding = compat.Bins(2.0, 0.625, 1000, round_uv=True, keep_scale1=True)
    assert rounding.discretise(box).size[2] == 1


def test_the_released_codes_give_the_released_text() -> None:  # 12
    code = structured.serialise([BoxCode("person", 275, 483, 61, 500, 316, 468, 390)])
    normalisation = Normalisation((-1.4306640625, -1.0810546875, 2.591796875), 0.32115338541501165)
    assert compat.saved_grounding(code, normalisation) == (
        "bbox_0=Bbox(person,0.275,0.483,2.971677659511566,0.0,"
        "0.6149709421396256,0.9107797497510911,0.7589831247925759)\n"
    )
