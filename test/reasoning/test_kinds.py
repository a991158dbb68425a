"""Every kind of question in every form: read, solved, said, drafted, audited."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.asking import plain_question
from n3d_core.reasoning.audit import audit
from n3d_core.reasoning.question import TYPES, Form
from n3d_core.reasoning.replies import DIGIT
from n3d_core.reasoning.said import read_answer
from n3d_core.reasoning.solve import Solution
from test.reasoning.asking import asked

MUG = Box3D("red mug", (-0.30, 0.10, 1.00), (0.08, 0.12, 0.09))
BOX = Box3D("blue box", (0.20, 0.05, 1.30), (0.30, 0.20, 0.25))
CAN = Box3D("green can", (0.22, -0.10, 1.30), (0.07, 0.11, 0.07))
BALL = Box3D("yellow ball", (-0.10, 0.10, 1.12), (0.10, 0.10, 0.10))
BOWL = Box3D("white bowl", (0.70, 0.10, 0.90), (0.35, 0.30, 0.33))
CUP = Box3D("black mug", (0.55, 0.12, 1.90), (0.09, 0.16, 0.09))
SCENE = [MUG, BOX, CAN, BALL, BOWL, CUP]

# question, sentence for a person, kind of value, the value itself (of the kind's field)
CASES = [
    (
        "What are the coordinates of the red mug?",
        "The red mug is ahead, 17 degrees to the left, 1.05 m away, at x = -0.30, y = 0.10, z = 1.00 m.",
        "position",
        (-0.3, 0.1, 1.0),
    ),
    ("Is the tallest mug red?", "No, the tallest mug is not red.", "truth", False),
    ("Is the leftmost object a mug?", "Yes, the leftmost object is a mug.", "truth", True),
    ("Are all objects mugs?", "No, only 2 of 6 objects are mugs.", "truth", False),
    ("How many mugs and boxes are there?", "There are 2 mugs and 1 box: 3 in all.", "count", 3),
    ("Is there a dog or a bowl?", "Yes, there are 0 dogs and 1 bowl.", "truth", True),
    ("Is there a dog and a bowl?", "No, there are 0 dogs and 1 bowl.", "truth", False),
    (
        "Is the white bowl at least twice as tall as the red mug?",
        "Yes, the white bowl is 0.30 m tall and the red mug is 0.12 m tall.",
        "truth",
        True,
    ),
    (
        "Is the red mug half the height of the white bowl?",
        "No, the red mug is 0.12 m tall and the white bowl is 0.30 m tall.",
        "truth",
        False,
    ),
    (
        "How many objects are neither red nor blue?",
        "There are 4 objects that are not red that are not blue.",
        "count",
        4,
    ),
    (
        "How much closer is the red mug to the blue box than to the white bowl?",
        "The red mug is 0.42 m closer to the blue box than to the white bowl.",
        "length",
        0.41975,
    ),
    ("How far to the left is the red mug?", "The red mug is 0.30 m to the left of the camera.", "length", 0.3),
    ("Isn't the green can on the blue box?", "Yes, the green can is on the blue box.", "truth", True),
    (
        "Can I reach the red mug with an arm of 1 m?",
        "No, the red mug is 1.05 m from the camera, not at most 1.00 m.",
        "truth",
        False,
    ),
    ("How far to the side of me is the red mug?", "The red mug is 0.30 m to the left of the camera.", "length", -0.3),
    ("Is the red mug the only mug?", "No, only 1 of 2 mugs is red.", "truth", False),
    ("Is the red mug 12 cm tall?", "Yes, the red mug is 0.12 m tall, about 0.12 m.", "truth", True),
    ("Is the red mug to the left of the blue box?", "Yes, the red mug is to the left of the blue box.", "truth", True),
    ("Is the blue box left of the red mug?", "No, the blue box is not to the left of the red mug.", "truth", False),
    ("Is the green can above the blue box?", "Yes, the green can is above the blue box.", "truth", True),
    ("Which is taller, the red mug or the blue box?", "The blue box is taller than the red mug.", "objects", (1,)),
    (
        "Which is closer to the camera, the red mug or the blue box?",
        "The red mug is closer to the camera than the blue box.",
        "objects",
        (0,),
    ),
    (
        "Is the red mug wider or narrower than the blue box?",
        "The red mug is thinner than the blue box.",
        "truth",
        False,
    ),
    (
        "How much taller is the blue box than the red mug?",
        "The blue box is 0.08 m taller than the red mug.",
        "length",
        0.08,
    ),
    (
        "How much taller is the red mug than the blue box in cm?",
        "The red mug is 8.0 cm shorter than the blue box.",
        "length",
        -0.08,
    ),
    ("Is the green can on the blue box?", "Yes, the green can is on the blue box.", "truth", True),
    ("Is the red mug on the blue box?", "No, the red mug is not on the blue box.", "truth", False),
    ("Is the blue box under the green can?", "Yes, the blue box is under the green can.", "truth", True),
    ("Is the red mug inside the white bowl?", "No, the red mug is not inside the white bowl.", "truth", False),
    ("Is the red mug next to the white bowl?", "No, the red mug is not next to the white bowl.", "truth", False),
    (
        "Is the yellow ball between the red mug and the blue box?",
        "Yes, the yellow ball is between the red mug and the blue box.",
        "truth",
        True,
    ),
    (
        "Which is closer to the red mug, the yellow ball or the blue box?",
        "The yellow ball is closest to the red mug.",
        "objects",
        (3,),
    ),
    (
        "Is the yellow ball closer to the red mug than to the blue box?",
        "Yes, the yellow ball is closer to the red mug than to the blue box.",
        "truth",
        True,
    ),
    ("What is closest to the blue box?", "The green can is closest to the blue box.", "objects", (2,)),
    (
        "Sort the red mug, the blue box and the white bowl from near to far.",
        "From nearest to furthest: the white bowl, the red mug, the blue box.",
        "objects",
        (4, 0, 1),
    ),
    (
        "Order the red mug, the blue box and the white bowl from left to right.",
        "From leftmost to rightmost: the red mug, the blue box, the white bowl.",
        "objects",
        (0, 1, 4),
    ),
    ("What is the tallest object?", "The white bowl is the tallest.", "objects", (4,)),
    ("Which object is the leftmost?", "The red mug is the leftmost.", "objects", (0,)),
    ("Which is the second tallest object?", "The blue box is the second tallest.", "objects", (1,)),
    ("How wide is the blue box?", "The blue box is 0.30 m wide.", "length", 0.3),
    ("How tall is the red mug in cm?", "The red mug is 12.0 cm tall.", "length", 0.12),
    ("How tall is the red mug?", "The red mug is 0.12 m tall.", "length", 0.12),
    ("How tall is the blue box in cm?", "The blue box is 20.0 cm tall.", "length", 0.2),
    ("How long is the blue box?", "The blue box is 0.25 m long.", "length", 0.25),
    ("How thick is the blue box?", "The blue box is 0.20 m thick.", "length", 0.2),
    ("What is the volume of the blue box?", "The blue box takes up 15.0 liters.", "none", 0.0),
    (
        "What are the dimensions of the blue box?",
        "The blue box is 0.30 m wide, 0.20 m tall and 0.25 m deep.",
        "none",
        0.0,
    ),
    ("Is the red mug taller than 10 cm?", "Yes, the red mug is 0.12 m tall, more than 0.10 m.", "truth", True),
    ("Is the red mug wider than 20 cm?", "No, the red mug is 0.08 m wide, not more than 0.20 m.", "truth", False),
    ("How far is the red mug from the blue box?", "The red mug is 0.59 m from the blue box.", "length", 0.5852),
    ("How far is the red mug from the camera?", "The red mug is 1.05 m from the camera.", "length", 1.0488),
    (
        "What is the vertical distance between the green can and the red mug?",
        "The vertical distance between the green can and the red mug is 0.20 m.",
        "length",
        0.2,
    ),
    (
        "What is the horizontal distance between the red mug and the blue box in mm?",
        "The horizontal distance between the red mug and the blue box is 583 mm.",
        "length",
        0.5831,
    ),
    (
        "How big is the gap between the red mug and the blue box?",
        "The gap between the red mug and the blue box is 0.34 m.",
        "length",
        0.3362,
    ),
    (
        "If you are at the red mug, where will you find the blue box?",
        "Seen from the red mug, the blue box is at 2 o'clock (59 degrees to the right).",
        "direction",
        -1.0304,
    ),
    ("What color is the mug on the left?", "The mug on the left is red.", "objects", (0,)),
    ("What colour is the tallest object?", "The white bowl is white.", "objects", (4,)),
    ("Is the ball red or yellow?", "The ball is yellow.", "objects", (3,)),
    ("Is the yellow ball straight ahead?", "Yes, the yellow ball is 5 degrees to the left.", "truth", True),
    ("Is the red mug straight ahead?", "No, the red mug is 17 degrees to the left.", "truth", False),
    ("Is the red mug at about 11 o'clock?", "Yes, the red mug is 17 degrees to the left.", "truth", True),
    ("Is the red mug at 12 o'clock?", "Yes, the red mug is 17 degrees to the left.", "truth", True),
    ("Is the red mug at 1 o'clock?", "No, the red mug is 17 degrees to the left.", "truth", False),
    (
        "What is the angle between the red mug and the blue box?",
        "Seen from the camera, the angle between the red mug and the blue box is 26 degrees.",
        "none",
        0.0,
    ),
    (
        "Are the red mug and the blue box on the same side of the picture?",
        "No, the red mug is on the left and the blue box on the right.",
        "truth",
        False,
    ),
    (
        "Are the red mug and the blue box on different sides?",
        "Yes, the red mug is on the left and the blue box on the right.",
        "truth",
        True,
    ),
    ("How many mugs are there, and how many balls?", "There are 2 mugs and 1 ball.", "none", 0.0),
    ("At what o'clock is the red mug?", "The red mug is at 12 o'clock (17 degrees to the left).", "direction", 0.2915),
    ("At what angle is the red mug?", "The red mug is 17 degrees to the left.", "direction", 0.2915),
    (
        "Where is the red mug?",
        "The red mug is ahead, 17 degrees to the left, 1.05 m away.",
        "position",
        (-0.3, 0.1, 1.0),
    ),
    ("How many mugs are there?", "There are 2 mugs.", "count", 2),
    ("Are there more mugs than boxes?", "Yes, there are more mugs (2) than boxes (1).", "truth", True),
    ("Are there fewer mugs than boxes?", "No, there are more mugs (2) than boxes (1).", "truth", False),
    ("Are there as many balls as boxes?", "Yes, there are as many balls (1) as boxes (1).", "truth", True),
    ("How many more mugs than dogs are there?", "There are 2 mugs and 0 dogs: 2 more.", "count", 2),
    ("How many more boxes than mugs are there?", "There is 1 box and 2 mugs: 1 fewer.", "count", -1),
    ("Are there more mugs or balls?", "There are 2 mugs and 1 ball: 1 more.", "count", 1),
    ("How many fewer boxes than mugs are there?", "There is 1 box and 2 mugs: 1 fewer.", "count", 1),
    (
        "What is second closest to the blue box?",
        "The yellow ball is the second closest to the blue box.",
        "objects",
        (3,),
    ),
    ("How tall is the second closest object to the blue box?", "The yellow ball is 0.10 m tall.", "length", 0.1),
    ("Is the red mug taller than it is wide?", "Yes, the red mug is 0.12 m tall and 0.08 m wide.", "truth", True),
    ("Is the blue box taller than it is wide?", "No, the blue box is 0.20 m tall and 0.30 m wide.", "truth", False),
    (
        "Is the yellow ball as tall as it is wide?",
        "Yes, the yellow ball is 0.10 m tall and 0.10 m wide.",
        "truth",
        True,
    ),
    ("How many mugs are left of the blue box?", "There is 1 mug to the left of the blue box.", "count", 1),
    ("How many dogs are there?", "There is no dog in view.", "count", 0),
    ("Are there two mugs?", "Yes, there are 2 mugs.", "truth", True),
    ("Are there more than two mugs?", "No, there are 2 mugs.", "truth", False),
    ("Is there a red mug?", "Yes, there is a red mug.", "truth", True),
    ("Is there a red laptop?", "No, there is no red laptop in view.", "truth", False),
    ("Is there anything on the blue box?", "Yes, there is an object on the blue box.", "truth", True),
    ("What is on the blue box?", "The green can is on the blue box.", "objects", (2,)),
    ("Which mugs are behind the blue box?", "The black mug is behind the blue box.", "objects", (5,)),
    (
        "What is between the red mug and the blue box?",
        "The yellow ball is between the red mug and the blue box.",
        "objects",
        (3,),
    ),
    (
        "Can a gripper that opens 10 cm grasp the red mug?",
        "Yes, the red mug is 0.08 m across where it is narrowest, which fits a grip of 0.10 m.",
        "truth",
        True,
    ),
    ("Does the red mug fit into the white bowl?", "Yes, the red mug fits into the white bowl.", "truth", True),
    ("Does the white bowl fit into the red mug?", "No, the white bowl does not fit into the red mug.", "truth", False),
    ("How tall is the mug next to the yellow ball?", "The red mug is 0.12 m tall.", "length", 0.12),
    ("How tall is the mug on the right?", "The black mug is 0.16 m tall.", "length", 0.16),
    ("How tall is the mug behind the blue box?", "The black mug is 0.16 m tall.", "length", 0.16),
    (
        "Does the yellow ball fit between the red mug and the blue box?",
        "Yes, the yellow ball fits between the red mug and the blue box: it is 0.10 m across and the gap is 0.34 m.",
        "truth",
        True,
    ),
    (
        "Is the blue box as tall as the red mug?",
        "No, the height of the blue box is 0.20 m and that of the red mug is 0.12 m.",
        "truth",
        False,
    ),
    (
        "Is the green can the same size as the red mug?",
        "No, the size of the green can is 0.07 x 0.11 x 0.07 m and that of the red mug is 0.08 x 0.12 x 0.09 m.",
        "truth",
        False,
    ),
    ("Are all the mugs red?", "No, only 1 of 2 mugs is red.", "truth", False),
    ("Are the mugs left of the white bowl?", "Yes, all 2 mugs are to the left of the white bowl.", "truth", True),
    ("Are all the mugs taller than 5 cm?", "Yes, all 2 mugs are taller than 0.05 meters.", "truth", True),
    ("How many mugs are taller than the green can?", "There are 2 mugs taller than the green can.", "count", 2),
    ("How many objects are wider than 20 cm?", "There are 2 objects wider than 0.2 meters.", "count", 2),
    ("How many objects are there except the ball?", "There are 5 objects other than the ball.", "count", 5),
    (
        "Is the red mug to the left of the blue box from the opposite view?",
        "No, the red mug is not to the left of the blue box.",
        "truth",
        False,
    ),
]  # fmt: skip
# what boxes alone answer: no model is asked, so there is no thought to audit
COMPUTED = [
    (
        "Are there more objects left or right of the yellow ball?",
        "There is 1 object to the left of the yellow ball and 4 objects to the right of the yellow ball: 3 fewer.",
        "count",
        -3,
    ),
    (
        "Which objects have the same color as the red mug?",
        "There are no objects of the same color as the red mug in view.",
        "objects",
        (),
    ),
    (
        "How many objects have the same color as the red mug?",
        "There are no objects of the same color as the red mug in view.",
        "count",
        0,
    ),
    (
        "Are the red mug and the yellow ball the same distance away?",
        "Yes, the distance of the red mug is 1.05 m and that of the yellow ball is 1.13 m.",
        "truth",
        True,
    ),
    (
        "How many times farther is the black mug than the red mug?",
        "The black mug is 1.89 times as far away as the red mug.",
        "none",
        0.0,
    ),
    ("Is the red mug not on the blue box?", "Yes, the red mug is not on the blue box.", "truth", True),
    ("Is the green can not on the blue box?", "No, the green can is on the blue box.", "truth", False),
    ("Are there no dogs?", "Yes, there is no dog in view.", "truth", True),
    (
        "What is the combined height of the red mug and the blue box?",
        "Together the red mug and the blue box are 0.32 m tall.",
        "length",
        0.32,
    ),
    (
        "From the red mug to the blue box, then on to the white bowl: how long is that path in cm?",
        "The way from the red mug over the blue box to the white bowl is 122.7 cm long.",
        "length",
        1.2275,
    ),
    (
        "What is the greatest distance between any two objects?",
        "The red mug and the black mug are farthest from each other: 1.24 m.",
        "length",
        1.2381,
    ),
    (
        "Which two objects are closest to each other?",
        "The blue box and the green can are closest to each other: 0.15 m.",
        "objects",
        (1, 2),
    ),
    (
        "How many times taller is the white bowl than the blue box?",
        "The white bowl is 1.50 times as tall as the blue box.",
        "none",
        0.0,
    ),
    (
        "How many times shorter is the blue box than the white bowl?",
        "The white bowl is 1.50 times as tall as the blue box.",
        "none",
        0.0,
    ),
    (
        "What percentage of the height of the white bowl is the height of the red mug?",
        "The height of the red mug is 40 % of the height of the white bowl.",
        "none",
        0.0,
    ),
    (
        "Sort all objects by distance to the green can, nearest first.",
        "From closest to the green can to farthest from it: the blue box, the yellow ball, the red mug, the white bowl,"
        " the black mug.",
        "objects",
        (1, 3, 0, 4, 5),
    ),
    (
        "How many different kinds of objects are there?",
        "There are 5 kinds of objects: mug, box, can, ball and bowl.",
        "count",
        5,
    ),
    ("Are all mugs the same color?", "No, the 2 mugs are red and black.", "truth", False),
    (
        "Do the red mug and the blue box have different colors?",
        "Yes, the red mug is red and the blue box is blue.",
        "truth",
        True,
    ),
    ("What colors do the mugs have?", "The colors are red and black.", "none", 0.0),
    (
        "Does the blue box fit in a box that is 40 cm in each direction?",
        "Yes, the longest side of the blue box is 0.30 m, which is not more than 0.40 m.",
        "truth",
        True,
    ),
    (
        "How large is the footprint of the blue box?",
        "The footprint of the blue box is 0.075 m\u00b2: 0.30 m by 0.25 m.",
        "none",
        0.0,
    ),
    ("Is there a mug but no box?", "No, there are 2 mugs and 1 box.", "truth", False),
    (
        "Do the red mug and the black mug differ in height?",
        "Yes, the height of the red mug is 0.12 m and that of the black mug is 0.16 m.",
        "truth",
        True,
    ),
]
BY_TEXT = {text: asked(text, SCENE) for text, *_ in (*CASES, *COMPUTED)}


def said(solution: Solution):
    value = solution.value
    return {
        "none": value.number, "truth": value.truth, "length": value.number, "count": value.number,
        "objects": value.objects, "direction": value.number, "position": value.point,
    }[value.kind]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence", "kind", "value"), [*CASES, *COMPUTED])
def test_a_question_has_its_value_and_its_sentence(text, sentence, kind, value):
    solution = BY_TEXT[text]
    assert solution.sentence == sentence
    assert solution.value.kind == kind
    assert said(solution) == (pytest.approx(value, abs=1e-4) if isinstance(value, float | tuple) else value)
    assert solution.doubt == ""


@pytest.mark.parametrize("text", [case[0] for case in CASES])
def test_the_thought_of_a_question_passes_the_audit(text):
    solution = BY_TEXT[text]
    finding = audit(solution, solution.reasoning, solution.text)
    assert (finding.verdict, finding.reason, finding.slips) == ("verified", "", ())
    assert ".." not in solution.reply


@pytest.mark.parametrize("text", [case[0] for case in CASES])
def test_a_persons_sentence_says_what_the_model_says(text):
    solution = BY_TEXT[text]
    assert audit(solution, "", solution.sentence).verdict == "verified", solution.sentence


@pytest.mark.parametrize("text", [case[0] for case in CASES])
def test_the_answer_is_among_those_that_the_grammar_of_the_reply_allows(text):
    solution = BY_TEXT[text]
    assert solution.answers
    assert any(re.fullmatch(re.escape(a).replace(DIGIT, r"\d"), solution.text) for a in solution.answers)
    for answer in solution.answers:
        assert read_answer(solution.question, solution.roles.names, answer.replace(DIGIT, "7")) is not None, answer


def test_what_boxes_alone_answer_is_not_asked_of_a_model():
    for text, *_ in COMPUTED:
        solution = BY_TEXT[text]
        assert solution.question.is_computed, text
        assert (solution.steps, solution.text) == ((), "")
        assert plain_question(solution.question, solution.roles) == ""
    assert not any(BY_TEXT[text].question.is_computed for text, *_ in CASES)


def test_what_is_left_out_is_said():
    solution = asked("Which mugs are not red?", SCENE)
    assert (solution.value.objects, solution.sentence) == ((5,), "There is 1 mug that is not red: the black mug.")
    sentence = asked("How many objects are not on the blue box?", SCENE).sentence
    assert sentence == "There are 4 objects that are not on the blue box."  # the box itself is not counted


def test_the_two_largest_are_both_named():
    solution = asked("What are the two largest objects?", SCENE)
    assert solution.value.objects == (4, 1)
    assert solution.sentence == "The white bowl and the blue box are the 2 largest."
    assert asked("Name the two objects closest to the red mug.", SCENE).value.objects == (3, 1)


def test_all_of_one_and_lengths_in_clauses_are_said_in_plain_words():
    assert asked("Are all the boxes blue?", SCENE).sentence == "Yes, the only box is blue."
    assert asked("Are all the boxes red?", SCENE).sentence == "No, the only box is not red."
    sentence = asked("How many objects are within 1 m of the blue box?", SCENE).sentence
    assert sentence == "There are 5 objects within 1.0 meters of the blue box."


def test_all_types_and_forms_are_walked():
    assert {s.question.type for s in BY_TEXT.values()} >= set(TYPES) - {"big_small", "long_short", "thick_thin"}
    assert {s.question.form for s in BY_TEXT.values()} == set(get_args(Form))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Is there a red laptop?", "That is True."),
        ("Is the green can on the blue box?", "No."),
        ("How many mugs are left of the blue box?", "There are 2 mugs to the left of blue box."),
        ("Are there more mugs than boxes?", "No."),
        ("How many more boxes than mugs are there?", "1 more."),
        ("What is second closest to the blue box?", "green can is the second closest to blue box."),
        ("Is the red mug taller than it is wide?", "That is False."),
        ("What is on the blue box?", "yellow ball is on blue box."),
        ("What is on the blue box?", "Nothing is on blue box."),
        ("How much taller is the blue box than the red mug?", "blue box is 0.08 meters shorter than red mug."),
        ("How much taller is the blue box than the red mug?", "blue box is 0.28 meters taller than red mug."),
        ("What is the volume of the blue box?", "blue box is 25.0 liters in volume."),
        ("Where is the red mug?", "red mug is 1.05 meters away around the 3 o'clock direction."),
        ("Where is the red mug?", "The red mug is to the right."),
        ("At what angle is the red mug?", "camera will find red mug 16.7 degrees to the right."),
        ("Is the red mug taller than 10 cm?", "That is False."),
        ("Does the red mug fit into the white bowl?", "No, it does not."),
        (
            "Order the red mug, the blue box and the white bowl from left to right.",
            "white bowl > blue box > red mug",
        ),
    ],
)
def test_wrong_answers_are_contradicted(text, wrong):
    assert audit(BY_TEXT[text], "", wrong).verdict == "contradicted"


def test_a_tie_is_unverifiable_and_says_why():
    twin = Box3D("green mug", (0.4, 0.1, 1.0), (0.08, 0.121, 0.09))
    solution = asked("Which is taller, the red mug or the green mug?", [MUG, twin])
    assert solution.doubt == (
        "The boxes cannot tell: the red mug and the green mug are too alike in height (0.12 m and 0.12 m)."
    )
    finding = audit(solution, solution.reasoning, solution.text)
    assert (finding.verdict, finding.reason) == ("unverifiable", solution.doubt)


def test_covariance_decides_how_much_a_difference_must_be():
    sure = (1e-6, 0, 0, 0, 1e-6, 0, 0, 0, 1e-6)
    unsure = (0.04, 0, 0, 0, 0.04, 0, 0, 0, 0.04)
    text = "Is the red mug in front of the blue box?"
    for covariance, doubted in ((sure, False), (unsure, True)):
        boxes = [Box3D(b.label, b.center, b.size, covariance=covariance) for b in (MUG, BOX)]
        assert bool(asked(text, boxes).doubt) == doubted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("How far is the red mug from the blue box?", "The distance between red mug and blue box is 0.58 meters."),
        ("How tall is the red mug?", "red mug is 0.13 meters in height."),
        ("How tall is the blue box in cm?", "blue box is 21.0 centimeters in height."),
        ("What is the volume of the blue box?", "blue box is 15.6 liters in volume."),
        ("How much taller is the blue box than the red mug?", "blue box is 0.09 meters taller than red mug."),
        ("Where is the red mug?", "red mug is 1.07 meters away around the 11 o'clock direction."),
        ("At what angle is the red mug?", "camera will find red mug 19.0 degrees to the left."),
    ],
)
def test_what_is_as_near_as_the_boxes_are_sure_is_no_contradiction(text, said):
    finding = audit(BY_TEXT[text], "", said)
    assert finding.verdict == "verified", finding
    assert "within the boxes' uncertainty" in finding.reason


@pytest.mark.parametrize("text", ["How far is the red mug from the blue box?", "Where is the red mug?"])
def test_a_number_with_a_large_uncertainty_is_still_a_number(text):
    unsure = (0.01, 0, 0, 0, 0.01, 0, 0, 0, 0.01)
    boxes = [Box3D(b.label, b.center, b.size, covariance=unsure) for b in (MUG, BOX)]
    assert asked(text, boxes).doubt == ""


@pytest.mark.parametrize(
    ("aside", "doubted"),
    [(0.0, False), (0.3, False), (1.5, True)],  # the box is 2.00, 2.02 and 2.50 m away
)
def test_how_much_farther_is_doubted_where_depth_is_not_distance(aside, doubted):
    sure = (1e-6, 0, 0, 0, 1e-6, 0, 0, 0, 1e-6)
    boxes = [
        Box3D("mug", (0.0, 0.0, 1.0), (0.1, 0.1, 0.1), covariance=sure),
        Box3D("box", (aside, 0.0, 2.0), (0.1, 0.1, 0.1), covariance=sure),
    ]
    solution = asked("How much farther from the camera is the box than the mug?", boxes)
    assert solution.outcome.value.number == pytest.approx(1.0)
    misleads = "The boxes cannot tell: in depth it is another length than along the lines of sight."
    assert solution.doubt == (misleads if doubted else "")


@pytest.mark.parametrize(("far", "doubted"), [(0.9, False), (0.3, True)])
def test_the_closest_one_may_be_meant_from_the_other_object(far, doubted):
    boxes = [
        Box3D("red mug", (0.0, 0.0, 2.0), (0.1, 0.1, 0.1)),
        Box3D("blue ball", (0.0, 0.0, 1.2), (0.1, 0.1, 0.1)),
        Box3D("green ball", (far, 0.0, 2.2), (0.1, 0.1, 0.1)),
    ]
    solution = asked("How far is the red mug from the closest ball?", boxes)
    assert solution.outcome.value.number == pytest.approx(0.8)
    why = "The boxes cannot tell: the closest ball is another one from the camera than from the red mug."
    assert solution.doubt == (why if doubted else "")
