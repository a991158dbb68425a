"""Telegrams, afterthoughts and spoken sentences: where no ordered rule reads them, any order will do if all belongs."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.reasoning.grammar import Grammar
from n3d_core.reasoning.parse import Sentence, read_question
from n3d_core.reasoning.question import CAMERA_PHRASE, NotUnderstood, Question
from training.questions.imagined import imagined_scene
from training.questions.spatial import spatial_samples
from training.scenes.vocabulary import Vocabulary


def told(text: str) -> str:
    """What is understood, in short."""
    read = read_question(text)
    if isinstance(read, NotUnderstood):
        return read.why
    words = [read.type, read.form, *([read.predicate] if read.predicate else []), *[o.label for o in read.objects]]
    return " ".join(words if read.among is None else [*words, f"of {read.among.label}"])


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Height of that blue bottle, please?", "height number blue bottle"),
        ("The stool, what is its exact height?", "height number stool"),
        ("Red mug, yellow box: distance?", "distance number red mug yellow box"),
        ("The red mug and the yellow box, how far away from each other?", "distance number red mug yellow box"),
        ("Spacing between lamp and bowl in mm?", "distance number lamp bowl"),
        ("The bucket is how far away from the camera?", f"distance number bucket {CAMERA_PHRASE.label}"),
        ("Distance out to the bucket?", f"distance number bucket {CAMERA_PHRASE.label}"),
        ("Free room between chair and lamp?", "gap number chair lamp"),
        ("Chair or lamp: taller?", "tall_short choice taller chair lamp"),
        ("The chair and the lamp, wider is which?", "wide_thin choice wider chair lamp"),
        ("The duck so smaller than the ball?", "big_small yes_no smaller duck ball"),
        ("Bowl to the left of the cone?", "left_right yes_no left bowl cone"),
        ("Bowl standing on the box, yes?", "place yes_no on bowl box"),
        ("Behind the white car is what?", "related objects behind white car of object"),
        ("Presence of a black mug?", "exists yes_no black mug"),
        ("The lamps, please tell me how many", "count number of lamp"),
        ("Of mugs, the total?", "count number of mug"),
        ("From near to far, the stools?", "depth_order order front of stool"),
        ("Ranking by height: chair, stool, lamp?", "order order taller chair stool lamp"),
        ("Vertically, ball to lamp, in cm?", "vertical_distance number ball lamp"),
        ("How many feet to the car?", f"distance number car {CAMERA_PHRASE.label}"),
        ("Mug to ball, mm.", "distance number mug ball"),
        ("Should the gap from mug to ball be larger than 5 cm?", "gap yes_no more mug ball"),
        ("Chair versus stool, width difference?", "wide_thin difference wider chair stool"),
        ("The mug stands left of the lamp by how much?", "left_right difference left mug lamp"),
        ("Which bowl of all of them is closest the lamp?", "wording"),  # "closest lamp"?
        ("Which bowl lies nearest the lamp?", "relative_distance choice closer lamp of bowl"),
        ("Can you tell me, what has the smallest ball got there?", "wording"),
        ("The biggest ball is?", "extreme choice bigger of ball"),
        ("Ended up under the chair, the duck, correct?", "wording"),  # not a sentence that anybody says
        ("Has the duck ended up under the chair?", "place yes_no under duck chair"),
        ("Is the duck squeezed in between the chairs?", "wording"),
        ("The duck parked in between the two chairs?", "place yes_no between duck chair"),
        ("By distance, sort near to far?", "depth_order order front of object"),
        ("The green cone, its location?", "position position green cone"),
    ],
)
def test_what_belongs_to_one_kind_is_read_in_any_order(text: str, meaning: str) -> None:
    assert told(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "Distance between the mug and the box more or more not?",
        "The mug, the box and the lamp: distance?",
        "The mug not left of the box never?",
        "How tall how wide far the mug?",
        "Are chairs taller than the lamp or than stools?",
        "Height difference mug to box squared?",
        "Imagine the mug on the box: distance to the lamp?",
        "How far would the mug be from the box if the mug were red?",
        "Distance from the nearest to the bucket and how far?",
    ],
)
def test_a_word_that_does_not_belong_leaves_the_sentence_unread(text: str) -> None:
    assert isinstance(read_question(text), NotUnderstood)


def test_any_order_never_contradicts_the_ordered_rules() -> None:
    rng, read = np.random.default_rng(11), 0
    texts = [
        sample.text for i in range(120) for sample in spatial_samples(imagined_scene(Vocabulary(), rng), 6, seed=i)
    ]
    for text in dict.fromkeys(texts):
        ordered = read_question(text)
        assert isinstance(ordered, Question), text
        loose = [q for q in Sentence.of(text.rstrip("?. "), ()).readings("loose") if isinstance(q, Question)]
        if len(set(loose)) == 1:  # several would not be understood
            read += 1
            assert replaced(loose[0]) == replaced(ordered), text
    assert read > 100


def replaced(question: Question) -> tuple[object, ...]:
    """What decides about the answer."""
    phrases = tuple((p.label, p.where, p.pick) for p in question.phrases)
    return question.type, question.form, question.predicate, question.unit, question.limit, question.opposite, phrases


def test_pieces_in_braces_stand_in_any_order_each_as_often_as_its_mark_says() -> None:
    grammar = Grammar("s: {A b? C*} -> s\nb: B")

    class Letter:
        def __init__(self, letter: str) -> None:
            self.meanings = {letter: letter.lower()}

    def readings(text: str) -> list[object]:
        return grammar.readings("s", [Letter(x) for x in text], lambda alias, children, *_: children)

    assert [text for text in ("A", "AB", "BA", "CACBC", "BB", "AA", "C", "ABB") if readings(text)] == [
        "A", "AB", "BA", "CACBC",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="rule s stands twice"):
        Grammar("s: A\ns: B")
