"""Generated grounding queries and spatial questions: true, robust, readable, reproducible."""

import json
import random
import re
import time
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, TrueObject, Truth, write_frame
from n3d_core.language import prompts
from n3d_core.language.prompts import first_sentence
from n3d_core.reasoning import doubt
from n3d_core.reasoning.asking import plain_question
from n3d_core.reasoning.audit import audit
from n3d_core.reasoning.outcome import evaluate, plain
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import TYPES, Form, Question
from n3d_core.reasoning.relations import PREDICATES, as_stated
from n3d_core.reasoning.solve import solve
from n3d_core.runtime import UNTAUGHT
from training.questions import SceneObjects, Vocabulary, fill, groundable, grounding_samples, margins, spatial_samples
from training.questions import wordings as words
from training.questions.__main__ import main
from training.questions.grounding import DEFAULT_MIXTURE
from training.questions.marks import MARK_COLORS, draw_marks, marked_samples
from training.scenes.scene import is_groundable

WORDS = Vocabulary(("mug", "bottle", "can", "box", "ball", "vase", "bus"), ("red", "green", "blue", "yellow"))
CAMERA = Camera(640, 480, 550.0, 550.0, 319.5, 239.5)


def random_scene(seed: int, most: int = 8) -> SceneObjects:
    rng = random.Random(seed)
    objects = []
    for _ in range(rng.randint(1, most)):
        cls, color = rng.choice(WORDS.classes), rng.choice(WORDS.colors)
        center = (rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 0.3), rng.uniform(0.6, 2.0))
        size = (rng.uniform(0.04, 0.3), rng.uniform(0.04, 0.3), rng.uniform(0.04, 0.3))
        objects.append(TrueObject(Box3D(f"{color} {cls}", center, size), cls, color, rng.random()))
    return SceneObjects.of(objects, [i for i, o in enumerate(objects) if o.visible > 0.1])


PUBLISHED = dict.fromkeys(
    (
        *("left_right", "above_below", "front_behind", "wide_thin", "tall_short", "big_small", "relative_distance"),
        *("depth_order", "width", "height", "length", "distance", "vertical_distance", "horizontal_distance"),
        *("direction", "count", "extreme"),
    ),
    1.0,
)
"""Types of questions that the released model knows."""
SCENES = [random_scene(seed) for seed in range(80)]
SPATIAL = [(scene, s) for k, scene in enumerate(SCENES) for s in spatial_samples(scene, 8, seed=k)]
GROUNDING = [(scene, g) for k, scene in enumerate(SCENES) for g in grounding_samples(scene, 8, k, WORDS)]


_SLOT_WORDS = {
    "p": {p.phrase.removesuffix(" than") for p in PREDICATES.values()}
    | {*(p.phrase for p in PREDICATES.values()), *words.MORE_WORDS.values(), *words.RELATION.values()},
    "q": {p.phrase for p in PREDICATES.values()},
    "w": {w for table in (words.CHOICE_WORDS, words.SUPERLATIVE_WORDS, words.LIMIT_WORDS) for ws in table.values()
          for w in ws} | {"more", "less"},
    "r": {"closer", "farther"},
    "to": {"to", "from"},
    "rest": {"closest", "farthest"},
    "how": {how for hows in words.ORDER_HOW.values() for how in hows} | {*words.NEAR_TO_FAR, *words.FAR_TO_NEAR},
    "j": {adjective for adjective, _ in words.SIZE.values()} | {a for js, _ in words.SAME_WORDS.values() for a in js},
    "v": {"vertical", "horizontal"},
    "unit": {unit for units in words.UNITS.values() for unit in units},
}  # fmt: skip


def _pattern(template: str) -> re.Pattern[str]:
    """Matches what a template may be filled with."""
    parts = re.split(r"\{(\w+)\}", template)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?:{'|'.join(map(re.escape, _SLOT_WORDS[p]))})" if p in _SLOT_WORDS else ".+" for p in parts[1::2]]
    return re.compile("".join(parts))


def test_a_small_model_is_asked_in_words_that_it_was_trained_on() -> None:
    tables = [t for t in vars(words).values() if isinstance(t, tuple)] + list(words.FIT.values())
    taught = [_pattern(template) for table in tables for template in table]
    asked = {}
    for _, s in SPATIAL:
        text = plain_question(s.solution.question, s.solution.roles)
        if text:
            asked.setdefault(s.type, set()).add(text)
            assert any(p.fullmatch(text) for p in taught), text
            again = read_question(text)
            assert isinstance(again, Question), text
            assert plain_question(again, solve(again, s.solution.scene.boxes, s.solution.scene.names).roles) == text
    assert set(asked) == set(TYPES) - {"all"} - set(UNTAUGHT)


def test_all_types_and_forms_are_asked():
    assert {s.type for _, s in SPATIAL} == set(TYPES) - set(UNTAUGHT)
    assert {s.solution.question.form for _, s in SPATIAL} == set(get_args(Form))
    assert {s.solution.unit for _, s in SPATIAL} >= {"m", "cm", "mm", "ft", "in", "o'clock", "deg", "l"}
    assert any(s.solution.question.opposite for _, s in SPATIAL)
    assert {g.kind for _, g in GROUNDING} == set(DEFAULT_MIXTURE)


def test_questions_are_read_back_to_the_same_typed_question_and_answer():
    for scene, sample in SPATIAL:
        boxes = [scene.objects[i].box for i in sample.objects]
        question = read_question(sample.text)
        assert isinstance(question, Question), (sample.text, question)
        volume = question.type == "volume"  # litres, whether or not the question says so
        assert (replace(question, unit="l") if volume else question) == sample.solution.question, sample.text
        again = solve(question, boxes, sample.labels)
        assert (again.value, again.plain) == (sample.solution.value, sample.solution.plain), sample.text


def test_generated_answers_pass_the_audit():
    for _, sample in SPATIAL[::4]:
        finding = audit(sample.solution, sample.solution.reasoning, sample.solution.text)
        assert (finding.verdict, finding.slips) == ("verified", ()), sample


def test_answers_do_not_hang_on_the_last_digit():
    """The stated boxes, and boxes moved by half a centimetre, give the same choices, orders, hours and yes or no."""
    rng = np.random.default_rng(0)
    for _, sample in SPATIAL:
        question, scene, value = sample.solution.question, sample.solution.scene, sample.solution.plain
        if isinstance(value, float) or question.type in ("position", "place", "related", "count", "exists", "fit"):
            continue
        for _ in range(3):
            moved = []
            for box in scene.boxes:
                shift = rng.uniform(-0.005, 0.005, 3)
                moved.append(Box3D(box.label, tuple((np.asarray(box.center) + shift).tolist()), box.size))
            assert plain(question, evaluate(question, scene.moved(moved))) == value
        stated = scene.moved([as_stated(b) for b in scene.boxes])
        assert plain(question, evaluate(question, stated)) == value


def test_only_groundable_objects_with_names_of_their_own_are_asked_about():
    for scene, sample in SPATIAL:
        assert set(sample.objects) <= set(scene.groundable)
        labels = [o.box.label for o in scene.objects]
        of_color = sample.type == "all" and not sample.solution.question.objects[0].where  # "are all the mugs red"
        if sample.type not in ("count", "exists") and not of_color:
            assert all(labels.count(scene.objects[i].box.label) == 1 for i in sample.objects)


def test_questions_are_one_sentence():
    assert all(s.text[-1] in ".?" and first_sentence(s.text) == s.text for _, s in SPATIAL)


def test_yes_and_no_come_about_equally_often():
    said = [s.solution.plain for k in range(120) for s in spatial_samples(random_scene(1000 + k), 12, k)]
    answers = [v for v in said if isinstance(v, bool)]
    assert len(answers) > 120
    assert 0.38 < sum(answers) / len(answers) < 0.62


def test_queries_mean_what_they_say():
    for scene, query in GROUNDING:
        objects = [scene.objects[i] for i in query.objects]
        if query.kind in ("class", "label", "color", "absent"):
            phrase = query.text.removeprefix("the ")
            meant = {i for i, o in enumerate(scene.objects) if _named(phrase, o)}
            assert meant == set(query.objects), query
        if query.kind in ("classes", "labels"):
            phrases = query.text.split("; ")
            assert len(phrases) > 1
            assert [p for p in phrases for o in scene.objects if _named(p, o)] == list(query.labels)
        assert len(query.labels) == len(objects)
        columns = [o.box.center[0] / o.box.center[2] for o in objects]
        assert query.kind in ("classes", "labels") or columns == sorted(columns)


def _named(phrase: str, item: TrueObject) -> bool:
    names = {item.cls, item.box.label, f"{item.color} object"}
    irregular = {"buses": "bus", "boxes": "box"}
    last = phrase.split()[-1]
    single = irregular.get(last, last if last in WORDS.classes else last.removesuffix("s"))
    return phrase in names or " ".join([*phrase.split()[:-1], single]) in names


def test_absent_queries_have_no_object_and_their_prompt_is_the_class_prompt():
    absent = [g for _, g in GROUNDING if g.kind == "absent"]
    assert len(absent) > 50
    for query in absent:
        assert query.objects == ()
        assert query.prompt == prompts.class_prompt(query.text)
    assert any(" " in q.text for q in absent)
    assert any(" " not in q.text for q in absent)


def test_superlatives_and_relations_pick_the_right_objects():
    boxes = {
        "left": Box3D("red can", (-0.5, 0.0, 1.0), (0.1, 0.1, 0.1)),
        "big": Box3D("red mug", (0.0, 0.0, 1.3), (0.3, 0.3, 0.3)),
        "right": Box3D("blue can", (0.5, 0.0, 1.8), (0.1, 0.2, 0.1)),
    }
    objects = [TrueObject(b, b.label.split()[1], b.label.split()[0], 1.0) for b in boxes.values()]
    scene = SceneObjects.of(objects)
    texts = {}
    for seed in range(40):
        for query in grounding_samples(scene, 20, seed, WORDS, {"superlative": 1.0, "relation": 1.0}):
            texts[query.text.removeprefix("the ")] = query.objects
    assert texts["leftmost can"] == (0,)
    assert texts["rightmost can"] == (2,)
    assert texts["largest red object"] == (1,)
    assert texts["nearest object"] == (0,)
    assert texts["can to the left of the red mug"] == (0,)
    assert texts["can behind the red mug"] == (2,)


@pytest.mark.parametrize("style", ["compact", "published"])
def test_generation_is_a_pure_function_of_objects_and_seed(style):
    for k, scene in enumerate(SCENES[:10]):
        assert spatial_samples(scene, 5, k, style=style) == spatial_samples(scene, 5, k, style=style)
        assert grounding_samples(scene, 5, k, WORDS) == grounding_samples(scene, 5, k, WORDS)
    assert spatial_samples(SCENES[1], 8, 1) != spatial_samples(SCENES[1], 8, 2)


def test_compact_reasoning_is_at_most_two_thirds_as_long_as_the_published():
    lengths = {"compact": 0, "published": 0}
    for style in lengths:
        for k, scene in enumerate(SCENES):
            posed = spatial_samples(scene, 8, k, PUBLISHED, style)
            lengths[style] += sum(len(s.reply) for s in posed if s.solution.question.form != "difference")
    assert lengths["compact"] < 0.67 * lengths["published"]


def test_reply_has_the_published_frame():
    _, sample = next(pair for pair in SPATIAL if pair[1].type == "height" and pair[1].solution.unit == "m")
    name = sample.labels[0]
    assert sample.reply.startswith(f"<think>The 3D bbox of {name} is [")
    assert sample.reply.endswith(f"</think> {sample.solution.text}")
    assert sample.prompt == prompts.locate_prompt(sample.text)


def test_marks_are_drawn_where_the_object_is_and_the_rest_is_untouched():
    scene = SceneObjects.of([TrueObject(Box3D("red mug", (0.0, 0.0, 1.0), (0.2, 0.2, 0.2)), "mug", "red", 1.0)])
    (query,) = marked_samples(scene, CAMERA, 1, seed=0)
    assert query.objects == (0,)
    assert query.labels == ("red mug",)
    assert query.mark is not None
    assert query.mark.color in query.text
    image = np.full((480, 640, 3), 100, np.uint8)
    drawn = draw_marks(image, [query.mark])
    left, top, right, bottom = (round(v) for v in query.mark.rect)
    assert tuple(drawn[top, (left + right) // 2]) == MARK_COLORS[query.mark.color]
    assert tuple(drawn[(top + bottom) // 2, left]) == MARK_COLORS[query.mark.color]
    assert (drawn[(top + bottom) // 2, (left + right) // 2] == 100).all()
    assert (image == 100).all()
    full = scene.objects[0].box.image_box(CAMERA)
    assert np.abs(np.asarray(query.mark.rect) - full).max() <= 0.04 * (full[2] - full[0]) + 1e-6


def test_filled_truth_survives_its_file_form_and_asks_of_visible_objects_only():
    objects = list(random_scene(5).objects)
    hidden = TrueObject(Box3D("red bus", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2)), "bus", "red", 0.05)
    outside = TrueObject(Box3D("blue bus", (9.0, 0.0, 1.5), (0.2, 0.2, 0.2)), "bus", "blue", 1.0)
    truth = Truth([*objects, hidden, outside])
    filled = fill(truth, seed=3, camera=CAMERA, vocabulary=WORDS)
    assert 0 < len(filled.groundings) <= 4
    assert 0 < len(filled.questions) <= 4
    assert fill(truth, seed=3, camera=CAMERA, vocabulary=WORDS) == filled
    again = Truth.from_json(filled.to_json())
    assert (again.groundings, again.questions) == (filled.groundings, filled.questions)
    seen = groundable(truth.objects, CAMERA)
    assert len(objects) not in seen
    assert len(objects) + 1 not in seen
    assert seen == [i for i, o in enumerate(truth.objects) if is_groundable(o, CAMERA)]  # what training asks for
    for entry in [*filled.groundings, *filled.questions]:
        assert set(entry["objects"]) <= set(seen)
    for entry in filled.questions:
        assert {"text", "type", "objects", "answer", "unit"} <= set(entry)


def test_a_scene_with_nothing_to_see_gives_absent_and_detect_queries_only():
    empty = SceneObjects.of([])
    assert {s.solution.plain for s in spatial_samples(empty, 5, 0)} <= {False}
    queries = grounding_samples(empty, 30, 0, WORDS)
    assert {g.kind for g in queries} == {"absent", "detect"}
    assert all(g.objects == () for g in queries)


def test_a_folder_of_frames_is_asked_about(tmp_path, capsys):
    objects = list(random_scene(5).objects)
    frame = Frame(np.zeros((480, 640, 3), np.uint8), np.ones((480, 640), np.float32), CAMERA)
    for index in range(2):
        write_frame(tmp_path, index, frame, Truth(objects))
    assert main([str(tmp_path), "--seed", "7"]) == 0
    folder = FrameFolder(tmp_path)
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    truths = [folder.truth(i) for i in range(2)]
    assert counts["frames"] == 2
    assert counts["groundings"] == sum(len(t.groundings) for t in truths) > 0
    assert counts["questions"] == sum(len(t.questions) for t in truths) > 0
    assert [len(t.objects) for t in truths] == [len(objects)] * 2
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_without_frames_is_an_error_that_names_it(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.slow
def test_two_thousand_samples_a_second_and_core():
    scenes = [random_scene(seed) for seed in range(300)]
    started = time.process_time()
    made = sum(len(spatial_samples(s, 8, k)) + len(grounding_samples(s, 8, k, WORDS)) for k, s in enumerate(scenes))
    assert made / (time.process_time() - started) > 2000


def test_what_uncertainty_cannot_change_is_not_computed_and_changes_no_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drawn() -> list[str]:
        return [f"{s.text} {s.reply}" for seed in range(0, 40, 2) for s in spatial_samples(SCENES[seed], 8, seed)]

    short = drawn()
    assert len(short) > 100
    perturbed: list[str] = []
    moved = doubt._moved

    def counted(boxes: tuple[Box3D, ...]) -> list[list[Box3D]]:
        perturbed.append("")
        return moved(boxes)

    monkeypatch.setattr(doubt, "_moved", counted)
    drawn()
    few = len(perturbed)
    monkeypatch.setattr(doubt, "_is_fixed", lambda *_: False)
    monkeypatch.setattr(margins, "_margin_is_wider", lambda _: False)
    assert drawn() == short
    assert len(perturbed) - few > 2 * few
