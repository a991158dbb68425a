"""Questions answered from memory, on objects at known places around a viewer."""

import math

import numpy as np
import pytest

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Pose
from n3d_core.memory.recollection import Viewpoint, answer_from_memory, find_remembered, forget_named
from test.memory.conftest import AHEAD

NOW = 10_000.0


def viewpoint(x=0.0, y=0.0, yaw=0.0, pitch=0.0, now=NOW):
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = math.cos(pitch), math.sin(pitch)
    down = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])  # about the optical x axis
    return Viewpoint(Pose(turn @ AHEAD @ down.T, np.array([x, y, 1.0])), now)


def thing(label, center, seen=NOW - 60, log_odds=3.0, size=(0.1, 0.1, 0.1), sigma=0.01, yaw=0.0):
    return RememberedObject(
        {label: 1.0},
        np.array(center, float),
        np.eye(3) * sigma**2,
        np.array(size),
        yaw,
        log_odds,
        seen - 10,
        seen,
        seen,
    )


def test_where_is_says_when_how_far_which_way_and_where(memory):
    memory.add([thing("red mug", (-1.2, 0.4, 0.85), NOW - 12 * 60 - 20)])
    answer = answer_from_memory("Where is the red mug?", memory, viewpoint(2.0))
    assert answer.answer == (
        "The red mug was last seen 12 minutes ago, 3.2 m behind you, at (-1.20, 0.40, 0.85) in map."
    )
    assert (answer.verdict, answer.said, answer.value.kind) == ("verified", "", "position")
    np.testing.assert_allclose(answer.value.point, (-0.4, 0.15, -3.2), atol=1e-9)  # optical frame
    np.testing.assert_allclose(answer.boxes[0].center, answer.value.point)
    assert answer.remembered[0].label == "red mug"
    assert answer.age == 740


@pytest.mark.parametrize(
    ("center", "side"),
    [
        ((3, 0, 1), "ahead of you"),
        ((2, 2, 1), "ahead on your left"),
        ((0, 2, 1), "to your left"),
        ((-2, 2, 1), "behind you on your left"),
        ((-2, 0, 1), "behind you"),
        ((0, -2, 1), "to your right"),
        ((2, -2, 1), "ahead on your right"),
        ((0.1, 0, 3), "above you"),
        ((0.1, 0, 0), "below you"),
    ],
)
@pytest.mark.parametrize("pitch", [0.0, 0.6])
@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_the_side_is_the_viewers_whichever_way_the_camera_is_tilted(memory, center, side, pitch, yaw):
    c, s = math.cos(yaw), math.sin(yaw)
    memory.add([thing("mug", (c * center[0] - s * center[1], s * center[0] + c * center[1], center[2]))])
    answer = answer_from_memory("Where's the mug?", memory, viewpoint(yaw=yaw, pitch=pitch))
    assert f" m {side}, at (" in answer.answer
    turn = viewpoint(yaw=yaw, pitch=pitch).pose
    there = turn.rotation @ answer.value.point + turn.translation
    np.testing.assert_allclose(there, memory.recall()[0].center, atol=1e-9)


def test_distances_hold_across_views_and_name_the_ages(memory):
    memory.add([thing("mug", (2, 0, 1), NOW - 5), thing("sofa", (-1, 4, 0.5), NOW - 3600, size=(2, 1, 0.8))])
    answer = answer_from_memory("How far is the mug from the sofa?", memory, viewpoint(yaw=1.0, pitch=0.3))
    assert answer.value.number == pytest.approx(math.dist((2, 0, 1), (-1, 4, 0.5)))
    assert answer.answer == (
        "The mug is 5.02 m from the sofa. From memory: last seen the mug 5 seconds ago and the sofa 1 hour ago."
    )
    assert (answer.verdict, answer.age) == ("verified", 3600)


def test_what_is_in_view_is_joined_with_what_is_remembered_and_not_doubled(memory):
    memory.add([thing("mug", (2, 0, 1)), thing("mug", (-3, 0, 1)), thing("sofa", (-1, 4, 0.5), size=(2, 1, 0.8))])
    seen = [Box3D("mug", (0.0, 0.0, 2.01), (0.1, 0.1, 0.1), 0.9, tuple((np.eye(3) * 1e-4).ravel()))]
    answer = answer_from_memory("How far is the mug from the sofa?", memory, viewpoint(), seen)
    assert answer.value.number == pytest.approx(math.dist((2.01, 0, 1), (-1, 4, 0.5)), abs=1e-6)
    assert "the mug" not in answer.answer.split("From memory")[1]
    assert answer.remembered[0].id == 1
    many = answer_from_memory("How many mugs are there?", memory, viewpoint(), seen)
    assert many.value.number == 2


def test_what_is_in_view_keeps_the_name_it_was_found_by_and_the_id_of_what_is_remembered_there(memory):
    memory.add([thing("red cup", (2.0, 0.0, 0.9)), thing("sofa", (-2.0, 0.0, 0.9)), thing("red cup", (0.0, 3.0, 0.9))])
    cup = next(one for one in memory.recall("cup") if one.center[0] == 2.0)
    mug = Box3D("red mug", (0.0, 0.1, 2.0), (0.1, 0.1, 0.1), 0.9, tuple(np.eye(3).ravel() * 1e-4))
    answer = answer_from_memory("How far is the red mug from the sofa?", memory, viewpoint(), [mug])
    assert answer.answer.startswith("The red mug is ")
    assert answer.value.number == pytest.approx(4.0, abs=0.01)
    seen = answer.remembered[0]
    assert (seen.label, seen.id, seen.first_seen, seen.last_seen) == ("red mug", cup.id, cup.first_seen, NOW)
    assert len(memory) == 3


def test_comparisons_and_places_are_the_viewers(memory):
    memory.add([thing("mug", (-2, 1, 1)), thing("lamp", (-2, -1, 1.4), size=(0.2, 0.2, 0.6))])
    behind = viewpoint(yaw=math.pi)  # facing them: the mug at y = 1 is on the right
    assert answer_from_memory("Is the mug left of the lamp?", memory, behind).value.truth is False
    assert answer_from_memory("Which is taller, the mug or the lamp?", memory, behind).value.objects == (1,)
    tall = answer_from_memory("How tall is the lamp?", memory, viewpoint(pitch=0.5))
    assert tall.value.number == pytest.approx(0.6)


def test_a_thing_that_is_gone_is_said_to_be_gone(memory):
    memory.add([thing("red mug", (2, 0, 1), NOW - 600, log_odds=-3.0)])
    answer = answer_from_memory("Where is the red mug?", memory, viewpoint())
    assert answer.answer == (
        "The red mug was last seen 10 minutes ago, 2.0 m ahead of you, at (2.00, 0.00, 1.00) in map, but it is gone: "
        "its place was empty 10 minutes ago."
    )
    assert (answer.verdict, answer.value.kind) == ("not_seen", "none")
    assert answer_from_memory("Is there a mug?", memory, viewpoint()).verdict == "not_seen"
    assert answer_from_memory("How far is the mug?", memory, viewpoint()).answer == answer.answer


def test_what_was_never_seen_is_not_seen(memory):
    memory.add([thing("blue mug", (2, 0, 1))])
    answer = answer_from_memory("Where is the red sofa?", memory, viewpoint())
    assert answer.answer == "No red sofa is in view or remembered."
    assert (answer.verdict, answer.remembered) == ("not_seen", [])


def test_several_that_fit_are_listed_the_newest_first(memory):
    memory.add([thing("red mug", (2, 0, 1), NOW - 600), thing("blue mug", (-2, 0, 1), NOW - 60)])
    answer = answer_from_memory("Where is the mug?", memory, viewpoint())
    assert answer.answer.startswith("'mug' fits 2 remembered objects: say which one is meant. The blue mug was last")
    assert (answer.verdict, [one.label for one in answer.remembered]) == ("unverifiable", ["blue mug", "red mug"])


def test_age_and_weak_existence_take_the_value_away(memory):
    memory.add([thing("mug", (2, 0, 1), NOW - 86400 * 2), thing("lamp", (2, 1, 1), log_odds=0.0)])
    for name in ("mug", "lamp"):
        answer = answer_from_memory(f"Where is the {name}?", memory, viewpoint())
        assert (answer.verdict, answer.value.kind) == ("unverifiable", "none")
        assert answer.verdict_reason == f"The {name} may not be there any more."
    assert "2 days ago" in answer_from_memory("Where is the mug?", memory, viewpoint()).answer


def test_a_clock_that_jumped_back_gives_no_negative_age(memory):
    memory.add([thing("mug", (2, 0, 1), NOW)])
    answer = answer_from_memory("Where is the mug?", memory, viewpoint(now=5.0))
    assert answer.age == 0
    assert answer.verdict == "verified"


@pytest.mark.parametrize(
    "text",
    [
        "Where did you last see the red mug?",
        "where have you seen the red mug",
        "When did you last see the red mug?",
        "Where was the red mug last seen?",
        "When was the red mug seen last?",
        "Do you remember where the red mug is?",
        "Where did I leave the red mug?",
    ],
)
def test_questions_about_the_past_are_answered_with_place_and_time(memory, text):
    memory.add([thing("red mug", (2, 0, 1), NOW - 180)])
    answer = answer_from_memory(text, memory, viewpoint())
    assert answer.answer == "The red mug was last seen 3 minutes ago, 2.0 m ahead of you, at (2.00, 0.00, 1.00) in map."
    assert answer.question == text


@pytest.mark.parametrize("text", ["Quelle heure est-il ?", "Who owns the mug?", "asdf", ""])
def test_questions_that_are_not_understood_say_so(memory, text):
    answer = answer_from_memory(text, memory, viewpoint())
    assert answer.verdict == "unverifiable"
    assert answer.verdict_reason


def test_find_and_forget_take_noun_phrases(memory):
    labels = ["red mug", "blue mug", "lamp", 'odd "mug\n']
    memory.add([thing(label, (2, i, 1)) for i, label in enumerate(labels)])
    assert [one.label for one in find_remembered(memory, "red mug")] == ["red mug"]
    assert sorted(one.label for one in find_remembered(memory, "mugs; lamp")) == ["blue mug", "lamp", "red mug"]
    assert len(find_remembered(memory)) == 4
    with pytest.raises(QueryError, match="names nothing to recall"):
        find_remembered(memory, "quelle heure est-il")
    assert forget_named(memory, "red mug") == 1
    assert forget_named(memory, "dog") == 0
    with pytest.raises(QueryError, match="name what to forget"):
        forget_named(memory, " ")
    assert len(memory) == 3
