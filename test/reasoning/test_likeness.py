"""Questions in wordings that the grammar does not read are taken for plain questions, or refused."""

from __future__ import annotations

import pytest

from n3d_core.reasoning.likeness import REFUSED, SLOT, Network, likely_question
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import NotUnderstood

NOUNS = ["mug", "bottle", "bowl", "laptop", "car", "duck", "box", "ball", "cone", "lamp", "chair", "stool", "bucket"]
FILLED = {"o1": "the red mug", "o2": "the blue box", "o3": "the green ball", "l": "80 cm", "n": "two", "col": "red"}


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        (
            "If I ran a tape measure from the camera lens to the purple box, what would it read in centimetres?",
            "How far away is the purple box? Answer in cm.",
        ),
        (
            "could a robot 50 cm wide drive through between the pink duck and the blue laptop",
            "Could something 50 cm wide pass between the pink duck and the blue laptop?",
        ),
        ("Who wins a height contest, the lamp or the red ball?", "Which is taller, the lamp or the red ball?"),
        ("my phone, where did i leave it", "Where is the phone?"),
        ("On which side of the box is the laptop, left or right?", "Is the laptop left or right of the box?"),
        ("Is the banana within reach, say 1.2 metres?", "Is the banana within 1.2 metres?"),
        ("What's all the way over on the left?", "Which object is leftmost?"),
        ("Is there such a thing as a red mug in view?", "Is there a red mug?"),
        ("distance duck over to bucket, in feet please", "How far is the duck from the bucket? Answer in ft."),
        ("My eyes aren't what they were, dear. How close are you to that red car?",
         "How close are you to that red car?"),
        ("Counsel asserts that a duck stands behind the mug. Is that so?", "Is a duck behind the mug?"),
        ("Besides the laptop, how many other objects are there?", "How many objects are there besides the laptop?"),
        ("hwo far is the mug to the box, pleese", "How far is the mug from the box?"),
        ("anything i can reach with a 0.6 m arm", "Is anything within 0.6 m?"),
    ],
)  # fmt: skip
def test_a_strangers_wording_is_taken_for_a_plain_question(asked: str, plain: str) -> None:
    assert likely_question(asked, NOUNS) == plain


@pytest.mark.parametrize(
    "asked",
    [
        "What is the red mug made of?",
        "how long have you had the red mug",
        "If I moved the mug half a metre to the left, how far would it be from the box?",
        "I'm sitting opposite you. What's to the right of the lamp for me?",
        "good morning",
        "",
        "? ? ?",
        "mug " * 60,
    ],
)
def test_what_is_unlike_all_plain_questions_is_refused(asked: str) -> None:
    assert likely_question(asked, NOUNS) is None


def test_names_are_taken_whole() -> None:
    plain = likely_question("if i ran a tape from 4_mug over to 2_box what would i read", NOUNS, ["4_mug", "2_box"])

    assert plain == "How far is 4_mug from 2_box?"


def test_the_grammar_reads_every_plain_question() -> None:
    classes = [plain for plain in Network.shipped().classes if plain != REFUSED]
    unread = []
    for plain in classes:
        kinds = {"k": "chair" if "Which {k}" in plain or "est {k}" in plain else "chairs", "k2": "mugs"}
        filled = SLOT.sub(lambda slot: {**FILLED, **kinds}[slot[1]], plain).replace("Is there the", "Is there a")  # noqa: B023
        if isinstance(read_question(filled), NotUnderstood):
            unread.append(filled)

    assert len(classes) > 120
    assert unread == []
