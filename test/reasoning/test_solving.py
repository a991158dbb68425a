"""Geometry's own answers: values, units, words, and errors that say what is missing."""

import math

import pytest

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.resolve import AmbiguousError, MissingError
from test.reasoning.asking import BOX, CAN, MUG, asked

BLUE_MUG = Box3D("blue mug", (0.4, 0.05, 1.3), (0.08, 0.11, 0.09))
SCENE = [MUG, CAN, BOX, BLUE_MUG]


@pytest.mark.parametrize(
    ("question", "value", "text"),
    [
        ("Is the red mug to the left of the can?", True, "That is True."),
        ("Is the red mug to the left of the can from the opposite view?", False, "That is False."),
        ("Is the red mug behind the blue can?", True, "That is True."),
        ("Is the red mug above the blue can?", True, "That is True."),
        ("Which is taller, the red mug or the blue can?", "blue can", "blue can is taller than red mug."),
        ("Is the red mug wider or thinner than the green box?", "thinner", "red mug is thinner than green box."),
        ("Which is bigger, the red mug or the blue can?", "red mug", "red mug is bigger than blue can."),
        ("Is the can closer to the red mug than to the blue mug?", True, "That is True."),
        ("Which object is nearest to the red mug?", "blue can", "blue can is the closest to red mug."),
        ("What is the height of the green box in cm?", 15.0, "green box is 15.0 centimeters in height."),
        ("How wide is the green box in feet?", 0.2 / 0.3048, "green box is 0.66 feet in width."),
        ("How long is the green box in mm?", 200.0, "green box is 200 millimeters in length."),
        ("How far is the red mug?", math.sqrt(0.01 + 0.0025 + 0.64), None),
        ("What is the distance between the red mug and the can?", math.sqrt(0.09 + 0.0001 + 0.04), None),
        ("How far apart are the red mug and the green box vertically?", 0.05, None),
        ("What is the horizontal distance from the red mug to the can?", math.hypot(0.3, 0.2), None),
        (
            "At what o'clock is the blue can from the red mug?",
            5,
            "red mug will find blue can around the 5 o'clock direction.",
        ),
        ("How many mugs are there?", 2, "There are 2 mugs."),
        ("How many boxes are there?", 1, "There is 1 box."),
        ("How many objects are there?", 4, "There are 4 objects."),
        ("Which mug is the largest?", "blue mug", "blue mug is the largest."),
        ("What is the leftmost object?", "red mug", "red mug is the leftmost."),
        (
            "Sort the red mug, the can and the green box from near to far.",
            ("blue can", "red mug", "green box"),
            "blue can < red mug < green box",
        ),
        (
            "Sort the red mug, the can and the green box from far to near.",
            ("green box", "red mug", "blue can"),
            "green box > red mug > blue can",
        ),
    ],
)
def test_geometry_answers(question, value, text):
    solution = asked(question, SCENE)
    assert solution.plain == (pytest.approx(value) if isinstance(value, float) else value)
    if text is not None:
        assert solution.text == text


def test_reasoning_states_boxes_rule_computation_and_conclusion():
    solution = asked("Is the red mug behind the blue can from the opposite view?", SCENE)
    assert solution.reasoning == (
        "The 3D center of red mug is [0.1, -0.05, 0.8]. The 3D center of blue can is [-0.2, -0.06, 0.6]. "
        "Since Z_A = 0.8 > Z_B = 0.6, and we are considering the opposite view, red mug is in front of blue can."
    )


def test_compact_reasoning_compares_pairs_before_it_orders_or_chooses():
    order = asked("Sort the red mug, the can and the green box from far to near.", SCENE)
    assert order.reasoning == (
        "Z_A = 0.8 for red mug, Z_B = 0.6 for blue can, Z_C = 1.1 for green box. "
        "Since Z_A = 0.8 > Z_B = 0.6, Z_A = 0.8 < Z_C = 1.1, Z_B = 0.6 < Z_C = 1.1, Z_C > Z_A > Z_B, "
        "green box > red mug > blue can."
    )
    choice = asked("Which is farther back, the blue can or the red mug?", SCENE)
    assert choice.reasoning.endswith("Since Z_A = 0.6 < Z_B = 0.8, max(Z_A, Z_B) = Z_B, red mug is behind blue can.")
    extreme = asked("Which is the nearest, the red mug, the green box or the blue can?", SCENE)
    assert extreme.reasoning.endswith(
        "Since Z_A = 0.8 < Z_B = 1.1, min(Z_A, Z_B) = Z_A, Z_A = 0.8 > Z_C = 0.6, min(Z_A, Z_C) = Z_C, "
        "blue can is the nearest."
    )


def test_compact_reasoning_writes_down_what_it_subtracts():
    solution = asked("What is the horizontal distance between the red mug and the blue can?", SCENE)
    assert solution.reasoning.split(". ", 2)[2] == (
        "X_AB = -0.2 - 0.1 = -0.3, Z_AB = 0.6 - 0.8 = -0.2. horizontal_distance_AB = hypot(-0.3, -0.2) = 0.36 meters."
    )


def test_published_style_has_the_published_words():
    person = Box3D("person", (0.04, 0.13, 2.75), (0.37, 0.34, 0.27))
    fruit = Box3D("orange/tangerine", (0.25, 0.27, 1.37), (0.22, 0.07, 0.11))
    question = "Is person positioned behind orange/tangerine as seen from the side opposite the photographer?"
    solution = asked(question, [person, fruit], style="published")
    assert solution.reasoning == (
        "1. The 3D center coordinate of person is [-0.04, -0.13, 2.75]. "
        "The 3D center coordinate of orange/tangerine is [-0.25, -0.27, 1.37]. "
        "2. We can determine the front-behind relationship as follows: Step 1: Compare the Z coordinates of the "
        "centers. "
        "Z_A = 2.75, Z_B = 1.37 Step 2: Determine if person is behind or in front of orange/tangerine. "
        "Since Z_A = 2.75 > Z_B = 1.37, and we are considering the opposite view, person is in front of "
        "orange/tangerine."
    )
    assert solution.text == "That is False."


def test_numbered_names_stand_for_boxes_of_one_label():
    boxes = [Box3D("chair", (i * 1.0, 0.0, 2.0), (0.4, 0.9 + i, 0.4)) for i in range(5)]
    names = [f"{i}_chair" for i in range(5)]
    assert asked("Is 4_chair taller than 3_chair?", boxes, names).plain is True
    assert asked("Which chair is the tallest?", boxes, names).plain == "4_chair"
    with pytest.raises(QueryError, match="the question names the chair twice"):
        asked("Is 4_chair taller than 4_chair?", boxes, names)


@pytest.mark.parametrize(
    ("question", "error", "sentence"),
    [
        ("Is the red mug left of the bottle?", MissingError, "No bottle is in view."),
        ("How tall is the yellow mug?", MissingError, "No yellow mug is in view; a red mug and a blue mug are."),
        ("How tall is the green bottle?", MissingError, "No green bottle is in view; a green box is."),
        (
            "Is the mug left of the can?",
            AmbiguousError,
            "'mug' fits 2 objects in view: say which one is meant, the red mug or the blue mug.",
        ),
        ("Is the red mug left of the red mug?", QueryError, "the question names the red mug twice"),
        ("Which bottle is the largest?", MissingError, "No bottles are in view."),
        ("How many mugs are left of the bottle?", MissingError, "No bottle is in view."),
    ],
)
def test_what_cannot_be_answered_says_why(question, error, sentence):
    with pytest.raises(error) as raised:
        asked(question, SCENE)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_box_that_is_not_finite_answers_nothing(number):
    broken = Box3D("lamp", (number, 0.0, 1.0), (0.1, 0.1, 0.1))
    with pytest.raises(QueryError, match="box of 'lamp' is not finite"):
        asked("How far is the lamp from the red mug?", [MUG, broken])


def test_nothing_found_counts_as_none():
    for scene in ([], SCENE):
        assert asked("How many bottles are there?", scene).text == "There are 0 bottles."
        assert asked("How many bottles are there?", scene).sentence == "There is no bottle in view."
        assert asked("Is there a bottle?", scene).sentence == "No, there is no bottle in view."


def test_equal_boxes_are_called_equal():
    twin = Box3D("red can", (0.5, 0.06, 0.6), CAN.size)
    assert asked("Which is taller, the blue can or the red can?", [CAN, twin]).plain == "equal"
    assert asked("Is the blue can taller than the red can?", [CAN, twin]).plain is False


def test_boxes_that_two_decimals_do_not_tell_apart_are_compared_by_four():
    a, b = Box3D("red mug", (0, 0, 1), (0.3012, 0.1, 0.1)), Box3D("cup", (1, 0, 1), (0.2987, 0.1, 0.1))
    assert "W_A = 0.3012 > W_B = 0.2987" in asked("Is the red mug wider than the cup?", [a, b]).reasoning


def test_one_of_three_is_in_the_middle_and_one_can_be_left_of_two():
    middle = asked("Which is in the middle: the red mug, the green box or the blue can?", SCENE)
    both = asked("Is the red mug left of the blue can and the green box?", SCENE)

    assert middle.sentence == "The green box is in the middle."
    assert middle.value.objects == (2,)
    assert both.sentence == "Yes, the red mug is to the left of the blue can and to the left of the green box."
    assert asked("Is the green box left of the blue can and the red mug?", SCENE).plain is False


def test_any_two_objects_of_one_color():
    shared = asked("Do any two objects have the same color?", SCENE)
    alone = asked("Do any two objects have the same color?", [MUG, CAN])

    assert shared.sentence == "Yes, the 4 objects are red, blue and green."
    assert alone.sentence == "No, the 2 objects are red and blue."
