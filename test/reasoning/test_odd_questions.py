"""Questions that no wording leads to: every combination of fields is answered, or refused with a `QueryError`."""

import random
from collections import Counter
from typing import get_args

import pytest

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.audit import audit
from n3d_core.reasoning.parse import read_phrases, read_question
from n3d_core.reasoning.question import CAMERA_PHRASE, TYPES, Form, NotUnderstood, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PLACES, PREDICATES
from n3d_core.reasoning.solve import solve

SCENE = [
    Box3D("red mug", (-0.3, 0.1, 1.0), (0.1, 0.12, 0.1)),
    Box3D("blue box", (0.2, 0.05, 1.3), (0.3, 0.2, 0.25)),
    Box3D("green mug", (0.22, -0.1, 1.3), (0.1, 0.12, 0.1)),
    Box3D("white bowl", (0.6, 0.1, 0.9), (0.3, 0.3, 0.3)),
]
MUG, BOX, BOWL = (Phrase(t, t.split()[1], (t.split()[0],)) for t in ("red mug", "blue box", "white bowl"))
MUGS, ALL = Phrase("mugs", "mug", plural=True), Phrase("object", "object", plural=True)
PHRASES = [
    MUG, BOX, BOWL, CAMERA_PHRASE, MUGS, ALL, Phrase("dog", "dog"), Phrase("two mugs", "mug", plural=True, number=2),
    Phrase("mug", "mug", where=(Where("left", (BOX,)),)), Phrase("mug", "mug", pick=Pick("middle")),
]  # fmt: skip
WORDS = [*PREDICATES, *PLACES, "nearest", "farthest", "closer", "more", "at_least", "grip", "gap", "", "middle"]
FITTING = {"relative_distance": ["closer", "farther"], "same": ["height", "thickness", "dimensions", "taller"]}
FITTING |= {kind: ["more", "less", "equal"] for kind in ("outnumber", "proportion")}


def test_any_combination_of_fields_is_answered_or_refused():
    rng, seen = random.Random(0), Counter()
    for k in range(8000):
        objects = tuple(rng.sample(PHRASES, rng.choice((0, 1, 1, 2, 2, 3))))
        kind = rng.choice(TYPES)
        fitting = FITTING.get(kind) or [n for n, p in PREDICATES.items() if p.type == kind]
        question = Question(
            kind, rng.choice(get_args(Form)), objects, rng.choice(fitting or WORDS),
            rng.choice(("m", "cm", "deg", "l")), rng.random() < 0.3, rng.choice((None, MUGS, ALL)),
            rng.choice((None, 0, 2)), rng.choice((None, 0.1)), sizes=rng.choice(((), ("height", "width"))),
        )  # fmt: skip
        try:
            solution = solve(question, SCENE)
        except QueryError:
            continue
        seen[question.type] += 1
        assert solution.sentence[0].isupper()
        assert solution.sentence.endswith(".")
        assert not solution.sentence.endswith("..")
        assert isinstance(solution.answers, tuple)
        assert solution.unit is not None
        if k % 10 == 0:
            finding = audit(solution, solution.reasoning, solution.text)
            assert finding.verdict in ("verified", "unverifiable"), (question, solution.reply, finding)
    assert set(seen) == set(TYPES)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Good morning! Could you tell me how many cars there are? Thanks.", "count"),
        ("I lost my black cone. Where is it?", "position"),
        ("My mug is missing. Is it behind the box?", "front_behind"),
        ("Got any bottles in view?", "exists"),
        ("How much balls are here?", "count"),
        ("How much space does the box take up?", "volume"),
    ],
)
def test_greetings_losses_and_learners_english_are_read(text: str, kind: str) -> None:
    read = read_question(text)
    assert isinstance(read, Question), read
    assert read.type == kind


def test_a_pronoun_among_what_is_wanted_is_said() -> None:
    read = read_phrases("the laptop and it")
    assert isinstance(read, NotUnderstood)
    assert "\0" not in read.reason
