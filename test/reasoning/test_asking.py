"""A typed question in plain words means what it meant in the user's own."""

from __future__ import annotations

import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.asking import plain_question
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.solve import solve

NAMES = ("red mug", "blue lamp", "green box", "white lamp")
BOXES = [Box3D(n, (0.2 * i - 0.3, 0.07 * i, 1 + 0.3 * i), (0.1, 0.2 + 0.1 * i, 0.3)) for i, n in enumerate(NAMES)]

QUESTIONS = {
    "Could you tell me how tall the lamp next to the green box is, please?": "How tall is the white lamp?",
    "Look at the red mug. How far is it from the green box, in cm?": (
        "How far is the red mug from the green box in centimeters?"
    ),
    "How far away is the blue lamp?": "How far is the blue lamp from the camera?",
    "I wonder whether the red mug stands left of the green box.": (
        "Would you say that the red mug is to the left of the green box?"
    ),
    "Which one is nearer to me, the red mug or the green box?": (
        "Which is closer to the camera, the red mug or the green box?"
    ),
    "What's the count of lamps?": "How many lamps are there?",
    "Do you have a red mug in sight?": "Is there a red mug in the scene?",
    "What is the tallest thing?": "Which object is the tallest?",
    "What is the vertical distance from the red mug to the green box?": (
        "What is the vertical distance between the red mug and the green box?"
    ),
    "Is the red mug nearer to the blue lamp than to the green box?": (
        "Would you say that the red mug is closer to the blue lamp than to the green box?"
    ),
    "Is the red mug wider or narrower than the green box": "Is the red mug wider or thinner than the green box?",
    "By how much is the green box taller than the red mug, in inches?": (
        "How much taller than the red mug is the green box in inches?"
    ),
    "Is the red mug left of the green box as seen from the opposite side?": (
        "Is the red mug to the left of the green box as seen from the opposite side?"
    ),
    "Is the lamp next to the green box taller than 20 cm?": "Would you say that the white lamp is taller than 20 cm?",
    "what's next to the green box?": "Which objects are next to the green box?",
    "Count the lamps that are behind the red mug.": "How many lamps are behind the red mug?",
    "could you fit the red mug into the green box": "Does the red mug fit into the green box?",
    "Isn't the red mug in front of the blue lamp?": "Would you say that the red mug is in front of the blue lamp?",
    "Which thing is closest to the red mug?": "Which object is closest to the red mug?",
    "What's the second tallest object?": "Which is the second tallest object?",
    "Sort the red mug, the blue lamp and the green box by height, tallest first.": (
        "Sort the red mug, the blue lamp and the green box from tallest to shortest."
    ),
    "Where's the red mug?": "Where is the red mug?",
    "Are the red mug and the blue lamp the same height?": "Is the red mug as tall as the blue lamp?",
    "how big is the red mug, in cm?": "What are the dimensions of the red mug in centimeters?",
    "Is there enough space between the red mug and the blue lamp for the green box?": (
        "Does the green box fit between the red mug and the blue lamp?"
    ),
}


@pytest.mark.parametrize(("text", "plain"), QUESTIONS.items())
def test_a_question_in_plain_words_means_the_same(text: str, plain: str) -> None:
    question = read_question(text)
    assert isinstance(question, Question), question
    solution = solve(question, BOXES, NAMES)
    assert plain_question(question, solution.roles) == plain
    again = read_question(plain)
    assert isinstance(again, Question), again
    assert solve(again, BOXES, NAMES).value == solution.value


@pytest.mark.parametrize("text", ["Are all the lamps blue?", "Is the red mug taller than it is wide?"])
def test_what_the_model_was_taught_no_wording_for_is_asked_in_the_users_own(text: str) -> None:
    question = read_question(text)
    assert isinstance(question, Question)
    assert plain_question(question, solve(question, BOXES[:3], NAMES[:3]).roles) == ""


def test_objects_are_called_by_number_only_where_their_names_do_not_tell_them_apart() -> None:
    question = read_question("Which object is the tallest?")
    assert isinstance(question, Question)
    asked = "Is the red mug to the left of the blue lamp?"
    compared = read_question(asked)
    assert isinstance(compared, Question)
    numbered = [f"{i}_{name}" for i, name in enumerate(NAMES)]
    assert plain_question(compared, solve(compared, BOXES, numbered).roles) == (
        "Would you say that 0_red mug is to the left of 1_blue lamp?"  # as the caller named them
    )
    nearest = read_question("What is closest to the red mug?")
    assert isinstance(nearest, Question)
    assert plain_question(nearest, solve(nearest, BOXES, numbered).roles) == "Which object is closest to the red mug?"
