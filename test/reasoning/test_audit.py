"""The audit on the published samples' patterns, on generated answers and on texts that are none."""

import json
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.audit import cases, measure
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.audit import Finding, audit
from n3d_core.reasoning.question import TYPES
from test.reasoning.asking import BOX, CAN, MUG, asked
from training.questions.corruption import KINDS, corrupt

SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "data" / "n3d_demo"

LOWER = Box3D("balloon", (-2.15, -1.19, 17.7), (2.55, 3.21, 1.12))
UPPER = Box3D("balloon", (-7.96, 0.16, 27.29), (1.75, 2.14, 0.89))
NAMES = ["4_hot air balloon", "2_hot air balloon"]
DIRECTION = "If you are at 4_hot air balloon, where will you find 2_hot air balloon?"
SLIPPED = (
    "1. The 3D bbox of 4_hot air balloon is [2.15, 1.19, 17.7, 2.55, 3.21, 1.12]. The 3D bbox of 2_hot air balloon is "
    "[7.96, -0.16, 27.29, 1.75, 2.14, 0.89]. 2. We calculate: vector_AB = B_pos - A_pos = (-5.81, -9.59). "
    "angle_deg = degrees(atan2(5.81, 9.59)) = 31.83. clock_position = 12 - (31.21 // 30) = 11.0. "
    "(If clock_position <= 0, wrap around to get clock_position = 12 + clock_position)"
)
CLOCK = "4_hot air balloon will find 2_hot air balloon around the 11 o'clock direction."


def judged(question: str, boxes: list[Box3D], reasoning: str, answer: str, names: list[str] | None = None) -> Finding:
    return audit(asked(question, boxes, names), reasoning, answer)


def test_a_slip_on_the_way_to_a_right_answer_is_named_and_the_answer_verified():
    verdict = judged(DIRECTION, [LOWER, UPPER], SLIPPED, CLOCK, NAMES)
    assert verdict.verdict == "verified"
    assert verdict.slips[0].step == "vector_AB = B_pos - A_pos = (-5.81, -9.59)"
    assert verdict.slips[0].problem == "the step says vector_AB = (-5.81, -9.59), but the boxes give (5.81, 9.59)"
    assert "the step says angle_deg = 31.83, but the boxes give 31.21" in verdict.reason


@pytest.mark.parametrize(
    ("stated", "reason"), [("0.68", ""), ("0.66", "but the box of red mug has z = 0.69"), ("0.93", "")]
)
def test_a_centimetre_beside_a_right_answer_is_not_told(stated, reason):
    mug, can = Box3D("red mug", (0.0, 0.0, 0.69), (0.1, 0.1, 0.1)), Box3D("blue can", (0.0, 0.0, 0.94), (0.1, 0.1, 0.1))
    numbers = [f"0.00, 0.00, {z}, 0.10, 0.10, 0.10" for z in ("0.69", "0.94")]
    numbers[stated == "0.93"] = f"0.00, 0.00, {stated}, 0.10, 0.10, 0.10"
    told = f"The 3D bbox of red mug is [{numbers[0]}]. The 3D bbox of blue can is [{numbers[1]}]."
    verdict = judged("Is the red mug in front of the blue can?", [mug, can], told, "Yes.")
    assert verdict.verdict == "verified"
    assert len(verdict.slips) == 1  # it is still found
    assert bool(verdict.reason) == bool(reason)
    assert reason in verdict.reason


def test_a_wrong_hour_is_contradicted_with_the_right_one():
    verdict = judged(DIRECTION, [LOWER, UPPER], "", CLOCK.replace("11", "2"), NAMES)
    assert verdict.verdict == "contradicted"
    assert asked(DIRECTION, [LOWER, UPPER], NAMES).text == CLOCK


def published(k: int) -> tuple[str, list[Box3D], str, str, list[str] | None]:
    """Question, boxes, reasoning, answer and names of a published sample."""
    path = SAMPLES / f"published_output_{k}.json"
    if not path.exists():
        pytest.skip(f"the published samples are not here ({SAMPLES})")
    sample = json.loads(path.read_text())[0]
    turns = json.loads((SAMPLES / "questions.json").read_text())[k - 1]["messages"]
    with np.load(SAMPLES / f"demo{k}.npz") as cloud:
        inverse = np.linalg.inv(cloud["intr"].astype(float))
    boxes = []
    for line in re.findall(r"Bbox\(([^)]*)\)", sample["Native 3D Grounding"]):
        name, *numbers = line.rsplit(",", 7)
        u, v, z, _, w, h, length = map(float, numbers)
        x, y, _ = z * (inverse @ [u, v, 1.0])
        boxes.append(Box3D(" ".join(name.split()), (x, y, z), (w, h, length)))
    reasoning, answer = re.match(r"<think>(.*?)</think>(.*)", sample["3D Spatial Reasoning"], re.DOTALL).groups()
    question = [t["content"] for t in turns if t["role"] == "user"][-1]
    return question, boxes, reasoning, answer, [f"{i}_{b.label}" for i, b in enumerate(boxes)] if k == 1 else None


def test_published_direction_is_verified_and_its_slip_found():
    verdict = judged(*published(1))
    assert verdict.verdict == "verified"
    assert verdict.slips[0].problem == "the step says vector_AB = (-5.81, -9.59), but the boxes give (5.81, 9.59)"
    assert "the step says angle_deg = 31.83, but the boxes give 31.21" in [f.problem for f in verdict.slips]
    assert "(-5.81, -9.59)" in verdict.reason
    assert any("31.83" in slip.problem for slip in verdict.slips)
    assert verdict.reason.count("; ") == 1  # two steps are named
    assert verdict.reason.endswith(f", and {len(verdict.slips) - 2} more.")


@pytest.mark.parametrize(
    ("question", "right", "wrong", "problem"),
    [
        (
            "Sort the red mug, the blue can and the green box from near to far.",
            "Z_A = 0.8 > Z_B",
            "Z_A = 0.8 < Z_B",
            "the step says Z_A < Z_B, but they are 0.8 and 0.6",
        ),
        (
            "Sort the red mug, the blue can and the green box from near to far.",
            "Z_B < Z_A < Z_C",
            "Z_B < Z_A < Z_D",
            "Z_D is not a quantity of the objects in question",
        ),
        (
            "How far is the red mug from the blue can?",
            "0.6 - 0.8",
            "0.6 - 0.9",
            "the step uses z = 0.90, but the box of red mug has z = 0.80",
        ),
        (
            "Which is nearer, the red mug or the blue can?",
            "min(Z_A, Z_B) = Z_B",
            "min(Z_A, Z_B) = Z_A",
            "Z_A gives 0.8, but min(Z_A, Z_B) is 0.6",
        ),
    ],
)
def test_pairs_and_operands_of_compact_reasoning_are_checked(question, right, wrong, problem):
    solution = asked(question, [MUG, CAN, BOX])
    assert right in solution.reasoning
    verdict = judged(question, [MUG, CAN, BOX], solution.reasoning.replace(right, wrong), solution.text)
    assert verdict.verdict == "verified"
    assert problem in [f.problem for f in verdict.slips]


@pytest.mark.parametrize("k", [2, 3])
def test_published_view_and_size_are_verified_without_findings(k):
    assert judged(*published(k)) == Finding("verified", "", ())


@pytest.mark.parametrize("style", ["compact", "published"])
@pytest.mark.parametrize(
    ("question", "wrong", "corrected"),
    [
        ("Is the red mug behind the blue can?", "That is False.", "That is True."),
        ("How tall is the red mug?", "red mug is 0.12 meters in height.", "red mug is 0.1 meters in height."),
        (
            "How tall is the red mug in cm?",
            "red mug is 13.0 centimeters in height.",
            "red mug is 10.0 centimeters in height.",
        ),
        (
            "Which is taller, the red mug or the blue can?",
            "red mug is taller than blue can.",
            "blue can is taller than red mug.",
        ),
        ("How many objects are there?", "There are 4 objects.", "There are 3 objects."),
        ("Which object is the furthest?", "red mug is the furthest.", "green box is the furthest."),
        (
            "Sort the red mug, the blue can and the green box by depth.",
            "red mug < blue can < green box",
            "blue can < red mug < green box",
        ),
        (
            "Is the blue can closer to the red mug or the green box?",
            "blue can is closer to green box than to red mug.",
            "blue can is closer to red mug than to green box.",
        ),
    ],
)
def test_right_answers_are_verified_and_wrong_ones_corrected(question, wrong, corrected, style):
    boxes = [MUG, CAN, BOX]
    right = asked(question, boxes, style=style)
    assert judged(question, boxes, right.reasoning, right.text) == Finding("verified", "", ())
    assert judged(question, boxes, right.reasoning, wrong).verdict == "contradicted"
    assert right.text == corrected


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("Is the red mug behind the blue can?", "Yes, the red mug is behind the blue can.", "verified"),
        ("Is the red mug behind the blue can?", "No.", "contradicted"),
        ("Is the red mug behind the blue can?", "The red mug is in front of the blue can.", "contradicted"),
        ("Which is taller, the red mug or the blue can?", "The blue can.", "verified"),
        ("Which is taller, the red mug or the blue can?", "The blue can is taller.", "verified"),
        ("Which is taller, the red mug or the blue can?", "Both.", "unverifiable"),
        ("How far is the red mug from the blue can?", "36 cm", "verified"),
        ("How far is the red mug from the blue can?", "It is about 0.35 meters away.", "verified"),
        ("How far is the red mug from the blue can?", "1.18 feet", "verified"),
        ("How far is the red mug from the blue can?", "1.5 feet", "contradicted"),
        ("How far is the red mug from the blue can?", "Quite far.", "unverifiable"),
        ("How many objects are there?", "Three.", "verified"),
        ("At what o'clock is the blue can from the red mug?", "At five o'clock.", "verified"),
        ("At what o'clock is the blue can from the red mug?", "5", "verified"),
        ("Sort the red mug, the blue can and the green box by depth.", "The can, the mug, then the box.", "verified"),
        ("Sort the red mug, the blue can and the green box by depth.", "The mug and the can.", "contradicted"),
        ("Is the red mug to the left of the blue can?", "Yes, that is right.", "verified"),
        ("Is the red mug behind the blue can?", "", "unverifiable"),
    ],
)
def test_answers_in_free_words(question, answer, verdict):
    assert judged(question, [MUG, CAN, BOX], "", answer).verdict == verdict


def test_reasoning_that_comes_with_the_answer_is_read_as_reasoning():
    text = f"<think>{SLIPPED}</think> {CLOCK}"
    assert (
        judged(DIRECTION, [LOWER, UPPER], "", text, NAMES).slips
        == judged(DIRECTION, [LOWER, UPPER], SLIPPED, CLOCK, NAMES).slips
    )


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (
            "The 3D center of red mug is [0.1, 0.05, 0.8].",
            "the step uses y = 0.05, but the box of red mug has y = -0.05",
        ),
        ("The 3D center of purple lamp is [0.1, -0.05, 0.8].", "purple lamp is not among the objects in view"),
        ("Z_A = 0.8 < Z_B = 0.6.", "the step says Z_A < Z_B, but they are 0.8 and 0.6"),
        ("Z_A = 0.9.", "the step says Z_A = 0.9, but the boxes give 0.8"),
        ("Z_C = 0.8.", "Z_C is not a quantity of the objects in question"),
        ("Compare the X coordinates of the centers.", "the question is decided by Z, not by X"),
        ("red mug is in front of blue can.", "the boxes give z = 0.80 for red mug and z = 0.60 for blue can"),
        ("red mug is behind blue can from the opposite view.", None),
        ("green box is behind blue can.", "green box is not what the question asks about"),
        ("red mug is behind red mug.", "red mug is compared with itself"),
        ("red mug is wider than blue can.", "this is about wide/thin, the question about front/behind"),
    ],
)
def test_each_kind_of_wrong_step_is_named(step, problem):
    verdict = judged("Is the red mug behind the blue can?", [MUG, CAN, BOX], step, "That is True.")
    assert verdict.verdict == "verified"
    assert verdict.slips, step
    if problem is not None:
        assert verdict.slips[0].problem == problem


@pytest.mark.parametrize(
    ("question", "right", "wrong", "problem"),
    [
        (
            "What is behind the blue can?",
            "red mug and green box are",
            "green box and green box are",
            "the objects are red mug, green box",
        ),
        (
            "Is the red mug as tall as the blue can?",
            "max(0.1, 0.12) / 10",
            "min(0.1, 0.12) / 10",
            "the extents may differ by a tenth of the larger one, which is their max",
        ),
        ("Are all the mugs behind the blue can?", "holds for 1 of 1", "holds for 2 of 1", "it holds for 1 of 1"),
    ],
)
def test_what_a_thought_counts_lists_and_bounds_is_checked(question, right, wrong, problem):
    solution = asked(question, [MUG, CAN, BOX])
    assert right in solution.reasoning
    assert judged(question, [MUG, CAN, BOX], solution.reasoning, solution.text) == Finding("verified", "", ())
    verdict = judged(question, [MUG, CAN, BOX], solution.reasoning.replace(right, wrong), solution.text)
    assert problem in [slip.problem for slip in verdict.slips]


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        (
            "By how much is the red mug closer to the blue can than to the green box?",
            "than to green box",
            "than to red mug",
        ),
        ("Where is the blue can relative to the red mug?", "5 o'clock", "45 o'clock"),
        ("List all objects except the red mug.", "blue can", "red mug"),
    ],
)
def test_answers_about_the_wrong_objects_and_impossible_hours_are_contradicted(question, right, wrong):
    solution = asked(question, [MUG, CAN, BOX])
    assert right in solution.text
    verdict = judged(question, [MUG, CAN, BOX], solution.reasoning, solution.text.replace(right, wrong))
    assert verdict.verdict == "contradicted"


def test_other_objects_may_be_stated_if_their_numbers_are_right():
    reasoning = "The 3D center of green box is [-0.1, 0.0, 1.1]."
    assert judged("Is the red mug behind the blue can?", [MUG, CAN, BOX], reasoning, "Yes.").slips == ()


def test_lists_of_boxes_are_read_in_all_forms_of_the_prompt():
    question = "Sort the red mug, the blue can and the green box by depth."
    right = (
        "The 3D bbox of red mug, blue can and green box is [0.1, -0.05, 0.8, 0.08, 0.1, 0.09], "
        "[-0.2, -0.06, 0.6, 0.06, 0.12, 0.06] and [-0.1, -0.0, 1.1, 0.2, 0.15, 0.2]."
    )
    listed = (
        "The 3D bbox of ['red mug', 'blue can'] is [[0.1, -0.05, 0.8, 0.08, 0.1, 0.09], "
        "[-0.2, -0.06, 0.6, 0.06, 0.12, 0.06]]."
    )
    answer = "blue can < red mug < green box"
    for text in (right, listed):
        assert judged(question, [MUG, CAN, BOX], text, answer).slips == ()
        assert len(judged(question, [MUG, CAN, BOX], text.replace("0.12", "0.13"), answer).slips) == 1


def test_figures_of_the_bench():
    figures, kinds, _ = measure(300, seed=20260)
    assert figures["audit.found"] > 0.99
    assert figures["audit.false_alarms"] < 0.01
    assert figures["audit.unverifiable"] <= 0.05
    assert set(kinds) == set(KINDS)


def test_bench_cases_are_a_pure_function_of_the_seed_and_cover_all_types():
    first, second = ([(c.sample.text, c.reasoning, c.answer) for c in cases(300, 5)] for _ in range(2))
    assert first == second
    assert {c.sample.type for c in cases(600, 5)} >= set(TYPES) - {
        "angle",
        "color",
        "dimensions",
        "same",
        "all",
        "outnumber",
        "proportion",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_corruptions_change_one_place_only(kind):
    rng, changed = random.Random(3), 0
    for case in list(cases(120, 8))[::2]:
        solution = case.sample.solution
        change = corrupt(solution, ["purple lamp", "grey sofa"], rng, kind)
        if change is None:
            continue
        changed += 1
        before, after = f"{solution.reasoning}\n{solution.text}", f"{change.reasoning}\n{change.answer}"
        head = next(i for i in range(len(after) + 1) if before[i : i + 1] != after[i : i + 1])
        tail = next(i for i in range(len(after)) if before[-1 - i] != after[-1 - i])
        assert before != after
        assert len(before) - head - tail <= len(change.before) + 1
    assert changed >= 30  # of 60


@pytest.mark.parametrize("piece", ["(", "-", "|", "9", "1 - ", "vector_AB = (", "The 3D bbox of a is [1"])
def test_a_model_that_repeats_itself_to_the_end_does_not_hold_up_the_audit(piece):
    asked = ("How far is the red mug from the blue can?", [MUG, CAN])
    start = time.process_time()
    verdict = judged(*asked, f"{piece * (4000 // len(piece))} = 1.", "0.36 meters")
    assert time.process_time() - start < 3.0  # unbounded, some of these take minutes
    assert verdict.verdict == "verified"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.text(max_size=60))
def test_texts_of_any_kind_are_judged_without_error(reasoning, answer):
    verdict = judged("How far is the red mug from the blue can?", [MUG, CAN], reasoning, answer)
    assert verdict.verdict in ("verified", "contradicted", "unverifiable")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many mugs are there?", "9" * 400),
        ("How many mugs are there?", "\u00b2"),
        ("How tall is the red mug?", "1e999"),
        ("How tall is the red mug?", "1e999 mm"),
        ("How tall is the red mug?", "1e999 feet 3 inches"),
    ],
)
def test_numbers_beyond_all_bounds_are_no_numbers(question, answer):
    boxes = [Box3D("red mug", (0.0, 0.0, 1.0), (0.1, 0.1, 0.1))]
    assert judged(question, boxes, f"The height is {answer}.", answer).verdict == "unverifiable"


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_shuffled_reasoning_is_judged_without_error(data):
    right = asked("At what o'clock is the blue can from the red mug?", [MUG, CAN], style="published")
    words = data.draw(st.permutations(right.reasoning.split()[:60]))
    verdict = judged("At what o'clock is the blue can from the red mug?", [MUG, CAN], " ".join(words), right.text)
    assert verdict.verdict == "verified"  # the verdict is about the answer, whatever the thought says
