"""The question reader: wordings of the templates, of published benchmarks, and those it must not read."""

import time
from dataclasses import replace
from itertools import product

import pytest

from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, NotUnderstood, Phrase, Question, Where
from n3d_core.reasoning.relations import PREDICATES
from training.questions import wordings as words

A, B, C = "the red mug", "the blue can", "the green box"
AB, ABC = ("red mug", "blue can"), ("red mug", "blue can", "green box")


def reads(text: str, kind: str, **wanted: object) -> None:
    question = read_question(text)
    assert isinstance(question, Question), (text, question)
    assert question.type == kind, text
    for name, value in wanted.items():
        assert _plain(question)[name] == value, (text, question)


def _plain(question: Question) -> dict[str, object]:
    """A question with the labels of its phrases in their place."""
    labels = {"names": tuple(p.label for p in question.objects), "among": question.among and question.among.label}
    return vars(question) | labels


@pytest.mark.parametrize("predicate", words.SUPERLATIVE_WORDS)
def test_comparison_wordings_are_read_back(predicate):
    p = PREDICATES[predicate]
    both = {"names": AB, "predicate": predicate}
    for wording in words.YES_NO:
        reads(wording.format(a=A, b=B, p=p.phrase), p.type, form="yes_no", opposite=False, **both)
    for wording in words.OPPOSITE_YES_NO if p.measure in "XZ" else ():
        reads(wording.format(a=A, b=B, p=p.phrase), p.type, form="yes_no", opposite=True, **both)
    for wording in words.FREE:
        first, second = p.phrase.removesuffix(" than"), PREDICATES[p.converse].phrase
        reads(wording.format(a=A, b=B, p=first, q=second), p.type, form="free", **both)
    for wording in words.CHOICE:
        for word in words.CHOICE_WORDS[predicate]:
            reads(wording.format(a=A, b=B, w=word), p.type, form="choice", **both)


@pytest.mark.parametrize("predicate", words.SUPERLATIVE_WORDS)
def test_extreme_wordings_are_read_back(predicate):
    for word in words.SUPERLATIVE_WORDS[predicate]:
        for wording in words.EXTREME_LISTED:
            text = wording.format(list=f"{A}, {B} and {C}", list_or=f"{A}, {B} or {C}", w=word)
            reads(text, "extreme", names=ABC, predicate=predicate)
        for wording in words.EXTREME_KIND:
            if " " not in word or "{w} {k}" not in wording:
                reads(wording.format(k="mug", ks="mugs", w=word), "extreme", names=(), predicate=predicate)


@pytest.mark.parametrize(
    ("word", "to", "predicate"),
    [
        ("closer", "to", "closer"),
        ("nearer", "to", "closer"),
        ("farther", "from", "farther"),
        ("further away", "from", "farther"),
    ],
)
def test_relative_distance_wordings_are_read_back(word, to, predicate):
    for form, table in (("choice", words.RELATIVE_CHOICE), ("yes_no", words.RELATIVE_YES_NO)):
        for wording in table:
            text = wording.format(a=A, b=B, c=C, r=word, to=to)
            reads(text, "relative_distance", form=form, names=ABC, predicate=predicate)


def test_relative_distance_among_all_is_read_back():
    for wording in words.RELATIVE_AMONG:
        text = wording.format(a=A, rest="closest", to="to")
        reads(text, "relative_distance", names=("red mug",), predicate="closer", among="object")


def test_order_wordings_are_read_back():
    for predicate, table in (("front", words.NEAR_TO_FAR), ("behind", words.FAR_TO_NEAR)):
        for how in table:
            for wording in words.DEPTH_ORDER:
                reads(wording.format(list=f"{A}, {B} and {C}", how=how), "depth_order", names=ABC, predicate=predicate)


@pytest.mark.parametrize("unit", words.UNITS)
def test_number_wordings_are_read_back_with_their_unit(unit):
    for asked in words.UNITS[unit]:
        for kind, (adjective, noun) in list(words.SIZE.items())[:3]:
            for wording in words.SIZE_WORDINGS:
                text = wording.format(a=A, n=noun, j=adjective, unit=asked)
                reads(text, kind, names=("red mug",), unit=unit)
        for wording in words.DISTANCE:
            reads(wording.format(a=A, b=B, unit=asked), "distance", names=AB, unit=unit)
        for wording in words.DISTANCE_TO_CAMERA:
            reads(wording.format(a=A, unit=asked), "distance", names=("red mug", "camera"), unit=unit)
        for kind in ("vertical", "horizontal"):
            for wording in words.PLANAR_DISTANCE:
                reads(wording.format(a=A, b=B, v=kind, unit=asked), f"{kind}_distance", names=AB, unit=unit)


def test_direction_and_count_wordings_are_read_back():
    for wording in words.DIRECTION:
        reads(wording.format(a=A, b=B), "direction", names=AB)
    for wording in words.COUNT:
        reads(wording.format(ks="mugs"), "count", among="mug")


MUGS = Phrase("mugs", "mug", plural=True)
CAN = Phrase("blue can", "can", ("blue",))
CLAUSES = {
    "taller than the blue can": Where("taller", (CAN,)),
    "narrower than 20 cm": Where("thinner", (), 0.2),
    "longer than 0.2 meters": Where("longer", (), 0.2),
    "within half a meter of the blue can": Where("within", (CAN,), 0.5),
    "within one and a half meters of the camera": Where("within", (CAMERA_PHRASE,), 1.5),
    "more than fifteen centimeters away from the blue can": Where("beyond", (CAN,), 0.15),
    "to the left of the blue can": Where("left", (CAN,)),
    "underneath the blue can": Where("under", (CAN,)),
}


def same(table: tuple[str, ...], question: Question, **slots: str) -> None:
    for wording in table:
        text = wording.format(**{"ks": "mugs", "k": "mug", "an": "a mug"} | slots)
        read = read_question(text)
        assert isinstance(read, Question), (text, read)
        if question.type in ("exists", "all"):  # "is any mug", "are any mugs"
            read = replace(read, objects=(replace(read.objects[0], plural=True),))
        assert read == question, text


@pytest.mark.parametrize(("said", "where"), CLAUSES.items())
def test_wordings_with_a_clause_are_read_back(said, where):
    mugs, all_ = replace(MUGS, where=(where,)), replace(ANYTHING, where=(where,))
    short = where.relation != "beyond"
    same(words.COUNT_DESCRIBED, Question("count", "number", among=mugs), p=said)
    same(words.ALL, Question("all", "yes_no", (mugs,), among=MUGS), p=said)
    same(words.ALL_ANYTHING, Question("all", "yes_no", (all_,), among=ANYTHING), p=said)
    same(words.ANY_DESCRIBED, Question("exists", "yes_no", (mugs,)), p=said)
    same(words.EXISTS_DESCRIBED if short else (), Question("exists", "yes_no", (mugs,)), p=said)
    same(words.ANYTHING_DESCRIBED, Question("exists", "yes_no", (all_,)), p=said)
    which = Question("related", "objects", among=mugs)
    if where.limit is None:
        which = Question("related", "objects", where.references, where.relation, among=MUGS)
    same(words.WHICH_DESCRIBED, which, p=said)
    anything = replace(which, among=all_ if where.limit is not None else ANYTHING)
    same(words.WHICH_ANYTHING, anything, p=said)


def test_wordings_that_leave_something_out_are_read_back():
    red = Phrase("red one", "mug", ("red",))
    for kind, out, slots in (
        (MUGS, red, {"b": "the red one"}),
        (ANYTHING, CAN, {"b": "the blue can", "ks": "objects", "k": "object"}),
    ):
        others = replace(kind, without=(out,))
        same(words.COUNT_EXCEPT, Question("count", "number", among=others), **slots)
        same(words.WHICH_EXCEPT, Question("related", "objects", among=others), **slots)
        same(words.EXISTS_EXCEPT, Question("exists", "yes_no", (others,)), **slots)
        same(words.EXTREME_EXCEPT, Question("extreme", "choice", (), "taller", among=others), w="tallest", **slots)
    not_red = replace(MUGS, without=(replace(MUGS, colors=("red",)),))
    same(words.COUNT_NOT, Question("count", "number", among=not_red), p="red")
    same(words.WHICH_NOT, Question("related", "objects", among=not_red), p="red")
    colored = Question("all", "yes_no", (replace(MUGS, colors=("red",)),), among=MUGS)
    same(words.ALL, colored, p="red")


def test_wordings_about_likeness_numbers_and_room_are_read_back():
    for measure, (adjectives, nouns) in words.SAME_WORDS.items():
        for adjective, noun in product(adjectives, nouns):
            for wording in words.SAME:
                text = wording.format(a=A, b=B, j=adjective, n=noun)
                reads(text, "same", form="yes_no", names=AB, predicate=measure)
    for how, table in words.AS_MANY.items():
        for count in range(2, 10):
            question = Question("count", "yes_no", (), "" if how == "exactly" else how, among=MUGS, count=count)
            same(table, question, n=words.NUMBERS[count])
    for wording in words.FIT_BETWEEN:
        reads(wording.format(a=A, b=B, c=C), "fit", names=ABC, predicate="between")
    for wording in words.DIMENSIONS:
        reads(wording.format(a=A, unit=" in centimeters"), "dimensions", names=AB[:1], unit="cm")
    for wording in words.POSITION_FROM:
        reads(wording.format(a=A, b=B), "position", names=AB)
    for wording in words.IS_NEAREST:
        text = wording.format(a=A, b=B, rest="closest", to="to")
        reads(text, "relative_distance", form="yes_no", names=AB, among="object", predicate="closer")
    for wording in words.ORDER_KIND:
        reads(wording.format(ks="mugs", how="from left to right"), "order", names=(), among="mug", predicate="left")


def test_wordings_with_a_limit_are_read_back():
    for cm, amount in words.LENGTHS.items():
        for bound, table in words.LIMIT_BOUND.items():
            for wording in table:
                reads(wording.format(a=A, x=amount, j="tall"), "height", names=AB[:1], predicate=bound, limit=cm / 100)
        for wording in words.LIMIT_WITHIN:
            text = wording.format(a=A, b=B, x=amount)
            reads(text, "distance", names=AB, predicate="at_most", limit=cm / 100)
        for word, wording in product(("more", "less"), words.LIMIT_GAP):
            text = wording.format(a=A, b=B, x=amount, w=word)
            reads(text, "gap", names=AB, predicate=word, limit=cm / 100)


def test_every_family_has_at_least_eight_wordings():
    for table in (
        words.YES_NO,
        words.OPPOSITE_YES_NO,
        words.CHOICE,
        words.EXTREME_LISTED,
        words.EXTREME_KIND,
        words.RELATIVE_CHOICE,
        words.DEPTH_ORDER,
        words.SIZE_WORDINGS,
        words.DISTANCE,
        words.PLANAR_DISTANCE,
        words.DIRECTION,
        words.COUNT,
    ):
        assert len(set(table)) >= 8


@pytest.mark.parametrize(
    ("text", "kind", "form", "names", "rest"),
    [
        (
            "<image>Is person positioned behind orange/tangerine as seen from the side opposite the photographer?",
            "front_behind",
            "yes_no",
            ("person", "orange/tangerine"),
            {"opposite": True, "predicate": "behind"},
        ),
        (
            "If you are at 4_hotair ballon, where will you find 2_hotair ballon?",
            "direction",
            "number",
            ("4_hotair ballon", "2_hotair ballon"),
            {},
        ),
        ("What is the height of person?", "height", "number", ("person",), {}),
        (
            "Does A have a greater height compared to B?",
            "tall_short",
            "yes_no",
            ("a", "b"),
            {"predicate": "taller"},
        ),
        ("Can you tell me how many inches wide is the cup?", "width", "number", ("cup",), {"unit": "in"}),
        (
            "Which object is closer to the camera taking this photo, the chair (highlighted by a red box) or the lamp "
            "(highlighted by a blue box)?",
            "front_behind",
            "choice",
            ("chair", "lamp"),
            {"predicate": "front"},
        ),
        (
            "Estimate the real-world distances between objects in this image. Which object is closer to the chair "
            "(highlighted by a red box), the table (highlighted by a blue box) or the lamp (highlighted by a green "
            "box)?",
            "relative_distance",
            "choice",
            ("chair", "table", "lamp"),
            {"predicate": "closer"},
        ),
        ("Who is positioned more to the left, A or B?", "left_right", "choice", ("a", "b"), {"predicate": "left"}),
        ("How far is it from A to B?", "distance", "number", ("a", "b"), {}),
        ("How many of the mugs can you see?", "count", "number", (), {"among": "mug"}),
        ("How far is the mug?", "distance", "number", ("mug", "camera"), {}),
    ],
)
def test_wordings_of_published_benchmarks_are_read(text, kind, form, names, rest):
    reads(text, kind, form=form, names=names, **rest)


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "What color are the mugs?",
        "Describe the image.",
        "Wie weit ist die Tasse von der Dose entfernt?",
        "¿A qué distancia está la taza?",
        "Is A twice as far away as B?",
        "Which is taller?",
        "",
        "?",
        "bbox_0=Bbox(mug,1,2,3,500,4,5,6)",
        "x" * 5000,
    ],
)
def test_what_is_no_spatial_question_is_not_guessed(text):
    assert isinstance(read_question(text), NotUnderstood)


def test_known_names_are_recognised_whole_whatever_words_they_hold():
    names = ["salt and pepper shaker", "left shoe", "can"]
    question = read_question("Is the left shoe closer to the salt and pepper shaker or the can?", names)
    assert isinstance(question, Question)
    assert [p.noun for p in question.objects] == ["left shoe", "salt and pepper shaker", "can"]
    question = read_question("Can you tell me the width of the can?", ["can"])
    assert isinstance(question, Question)
    assert [p.noun for p in question.objects] == ["can"]


def test_odd_questions_cost_little():
    started = time.process_time()
    for text in ("is " * 133, "a or b and c, " * 28, "how far is a and b from " * 16, "which is to " * 33):
        read_question(text[:400])
    assert time.process_time() - started < 5
