"""Behind a thought the answer is of the question's type, whatever the weights would like to say."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.decoding.drafts import Lookup
from n3d_core.decoding.loop import Decoder, Limits, Work
from n3d_core.decoding.sampling import Sampling
from n3d_core.geometry.boxes import Box3D
from n3d_core.language.answer_grammar import END_THINK, THINK, Spelling, ThoughtThenAnswer, after
from n3d_core.language.box_grammar import BoxVocabulary
from n3d_core.reasoning.replies import DIGIT
from n3d_core.reasoning.said import read_answer
from test.core.test_decoding import HashSequence
from test.core.vocabularies import joining_tokenizer, whole_number_tokenizer
from test.reasoning.asking import asked

NAMES = ("red mug", "blue can", "green box", "white box")
QUESTIONS = (
    "Is the red mug left of the blue can?",
    "Which is taller, the red mug or the blue can?",
    "Is the red mug to the left of or to the right of the blue can?",
    "Which is closer to the red mug, the blue can or the green box?",
    "Which of the blue can, the green box and the white box is closest to the red mug?",
    "Is the red mug closer to the blue can than to the green box?",
    "Which object is the leftmost: the red mug, the blue can or the green box?",
    "Order the red mug, the blue can and the green box from nearest to farthest.",
    "Order the red mug, the blue can and the green box from farthest to nearest.",
    "How many boxes are there?",
    "How many objects are there?",
    "How tall is the red mug?",
    "What is the width of the red mug in centimeters?",
    "How far is the red mug from the blue can?",
    "What is the vertical distance between the red mug and the blue can in mm?",
    "What is the horizontal distance between the red mug and the blue can in feet?",
    "At what o'clock is the blue can from the red mug?",
    "Is there a red mug?",
    "Is the red mug on the green box?",
    "Is the red mug taller than 20 cm?",
    "How much taller is the green box than the red mug?",
    "How much bigger is the green box than the red mug?",
    "What is the volume of the red mug?",
    "How big is the red mug?",
    "What is the gap between the red mug and the blue can?",
    "How many boxes are left of the blue can?",
    "What is to the left of the blue can?",
    "Which boxes are behind the red mug?",
    "Where is the red mug?",
    "At what angle is the red mug?",
    "Order the red mug, the blue can and the green box from left to right.",
    "Does the red mug fit into the green box?",
)
BOXES = [Box3D(name, (0.1 * i, 0.07 * i, 1 + 0.2 * i), (0.1, 0.2 + 0.1 * i, 0.3)) for i, name in enumerate(NAMES)]


@pytest.fixture(scope="module", params=["whole", "joining"])
def spelling(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Spelling:
    make = {"whole": whole_number_tokenizer, "joining": joining_tokenizer}[request.param]
    tokenizer = make(tmp_path_factory.mktemp(request.param))
    return Spelling(BoxVocabulary(tokenizer, tokenizer.size + 7, frozenset({tokenizer.id_of("<|im_end|>")})))


def decode(
    decoder: Decoder, spelling: Spelling, answers: tuple[str, ...], thought: int, seed: int
) -> tuple[str, list[int], Work]:
    """A reply of random weights."""
    tokenizer, work = spelling.words.tokenizer, Work()
    sequence = HashSequence(spelling.words.size, tokenizer.id_of("<|im_end|>"), loop=0)
    prompt = [seed, 2, 3, 4, 5]
    grammar = ThoughtThenAnswer.answering(spelling, answers, thought)
    tokens = decoder.reply(sequence, prompt, 0, grammar, (), Limits(400), work)
    ids = [t.id for t in tokens]
    assert ids[-1] == tokenizer.id_of("<|im_end|>")
    return tokenizer.decode(ids), ids, work


@pytest.mark.parametrize("text", QUESTIONS)
def test_every_answer_that_a_question_can_have_is_read_and_the_right_one_is_among_them(text: str) -> None:
    solution = asked(text, BOXES, NAMES)
    for answer in solution.answers:
        assert read_answer(solution.question, solution.roles.names, answer.replace(DIGIT, "7")) is not None, answer
    assert "" in after(frozenset(solution.answers), solution.text)


@pytest.mark.parametrize("text", QUESTIONS)
def test_random_weights_give_an_answer_of_the_questions_type(spelling: Spelling, text: str) -> None:
    solution = asked(text, BOXES, NAMES)
    for seed in range(3):
        reply, _, _ = decode(Decoder(Sampling(1.0, seed=seed)), spelling, asked(text, BOXES, NAMES).answers, 20, seed)
        answer = reply.partition(END_THINK)[2] or reply
        assert read_answer(solution.question, solution.roles.names, answer) is not None, reply


@pytest.mark.parametrize("sampling", [Sampling(), Sampling.released(), Sampling(repetition_penalty=1.3)])
@pytest.mark.parametrize("text", QUESTIONS[::5])
def test_jumps_and_drafts_give_the_tokens_of_single_steps(spelling: Spelling, text: str, sampling: Sampling) -> None:
    answers = asked(text, BOXES, NAMES).answers
    _, plain, slow = decode(Decoder(sampling, jump=False), spelling, answers, 30, seed=1)
    _, fast, work = decode(Decoder(sampling, drafter=Lookup()), spelling, answers, 30, seed=1)
    assert fast == plain
    assert work.steps <= slow.steps


@pytest.mark.parametrize("text", QUESTIONS)
def test_shapes_allow_the_tokens_that_texts_allow(spelling: Spelling, text: str) -> None:
    grammar = ThoughtThenAnswer.answering(spelling, asked(text, BOXES, NAMES).answers)
    rests, seen = grammar.answers, 0
    for said in ("", " ", " The", " 0.", " 1", " 12.", " There are ", " 3 o'clock"):
        left = after(rests, said)
        plain = {i for i, token in enumerate(spelling.texts)
                 if token and i not in spelling.words.ends and after(left, token)}  # fmt: skip
        mask = spelling.text_mask(left, None)
        assert set(np.flatnonzero(mask).tolist()) == plain | (spelling.words.ends if "" in left else set())
        seen += len(plain)
    assert seen


def walk(grammar: ThoughtThenAnswer, ids: list[int]) -> ThoughtThenAnswer:
    for place, token in enumerate(ids):
        assert grammar.mask()[token], place
        grammar = grammar.advance(token)
    return grammar


def test_remainders_of_texts_are_those_found_letter_by_letter() -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("ab1" + "2" + DIGIT))
    for _ in range(200):
        texts = frozenset("".join(rng.choice(letters, rng.integers(0, 6))) for _ in range(8))
        said = "".join(rng.choice(list("ab129"), rng.integers(0, 4)))
        fits = [t for t in texts if len(t) >= len(said)]
        fits = [
            t for t in fits if all(c in (d, DIGIT) if d.isdigit() else c == d for c, d in zip(t, said, strict=False))
        ]
        assert after(texts, said) == {t[len(said) :] for t in fits}


@pytest.mark.parametrize("lead", ["", " ", "\n", "\n\n"])
def test_what_a_trained_model_says_passes(spelling: Spelling, lead: str) -> None:
    text, end = "How far is the red mug from the blue can?", next(iter(spelling.words.ends))
    solution = asked(text, BOXES, NAMES)
    start = ThoughtThenAnswer.answering(spelling, asked(text, BOXES, NAMES).answers)
    encode = spelling.words.tokenizer.encode
    assert walk(start, [*encode(f"{THINK}{solution.reasoning}{END_THINK}{lead}{solution.text}"), end]).finished
    assert walk(start, [*encode(solution.text), end]).finished  # without a thought
    state = walk(start, encode(f"{THINK}a < b, </th> and <think>"))
    assert not state.mask()[end]  # a thought is no answer
    state = walk(start, encode(f"{THINK}so{END_THINK}{lead}0.2"))
    assert not state.mask()[end]  # without its unit


def test_a_token_may_reach_across_the_marks(tmp_path_factory: pytest.TempPathFactory) -> None:
    tokenizer = joining_tokenizer(tmp_path_factory.mktemp("across"))
    spelling = Spelling(BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")})))
    ids = {text: i for i, text in enumerate(spelling.texts)}
    joined, other, apart = ids["("], ids["mug"] if "mug" in ids else ids["m"], ids[">"]
    spelling.texts[joined], spelling.texts[other] = ">Ye", ">Ab"  # as if the vocabulary had them
    spelling = replaced(spelling)
    before = ThoughtThenAnswer.answering(spelling, ["Yes."])
    for piece in ("<", "t", "h", "i", "n", "k"):
        before = before.advance(ids[piece])
    assert before.mask()[[joined, other, apart]].all()
    state = before.advance(joined)
    assert state.tail == ""
    for piece in ("<", "/", "t", "h", "i", "n", "k"):
        state = state.advance(ids[piece])
    assert state.mask()[[joined, apart]].all()
    assert not state.mask()[other]
    assert state.advance(joined).rests == {"s."}


def replaced(spelling: Spelling) -> Spelling:
    """A spelling of the texts that another now has."""
    return Spelling(spelling.words)


@pytest.mark.parametrize("budget", [1, 5])
def test_a_thought_that_does_not_end_is_closed_when_its_budget_is_used_up(spelling: Spelling, budget: int) -> None:
    encode = spelling.words.tokenizer.encode
    state = walk(ThoughtThenAnswer.answering(spelling, ["That is True."], budget), encode(THINK))
    for _ in range(budget - 1):  # the token that ends the mark counts: it may reach into the thought
        assert state.tail == ""
        state = state.advance(encode("a")[0])
    allowed = {spelling.texts[i] for i in np.flatnonzero(state.mask())}
    assert allowed
    assert all(END_THINK.startswith(text) or text.startswith(END_THINK) for text in allowed)
    assert walk(state, [*encode(f"{END_THINK} That is True."), next(iter(spelling.words.ends))]).finished


def test_names_that_cannot_be_spelled_leave_the_answer_free(spelling: Spelling) -> None:
    assert spelling.spells(["red mug is taller than 0.5 meters."])
    assert not spelling.spells(["\u6905\u5b50 is taller than red mug."])
