"""The grammar accepts exactly the replies of the language, and forces only text whose tokens cannot change."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.errors import CheckpointError
from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary
from n3d_core.language.structured import BoxCode, parse, serialise
from n3d_core.language.tokenizer import Tokenizer
from test.core.vocabularies import joining_tokenizer

REPLY = "bbox_0=Bbox(red mug,132,435,7,500,86,98,63)\nbbox_1=Bbox(can,0,20,300,500,6,7,888)"


def test_the_joining_vocabulary_really_joins(tmp_path_factory: pytest.TempPathFactory) -> None:
    tokenizer = joining_tokenizer(tmp_path_factory.mktemp("joins"))
    assert len(tokenizer.encode(")\n")) == 1
    assert tokenizer.decode(tokenizer.encode("(mug,")[:1]) == "(mug"
    words = BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")}))
    assert (words.joined, words.open_text, words.whole_numbers) == (True, "(", False)


def test_a_reply_of_the_language_passes_and_its_forced_tokens_are_its_own(
    tokenizer: Tokenizer, words: BoxVocabulary
) -> None:
    state = BoxGrammar(words)
    forced = 0
    for token in [*tokenizer.encode(REPLY), tokenizer.id_of("<|im_end|>")]:
        if state.forced:
            assert state.forced[0] == token
            forced += 1
        assert state.mask()[token]
        state = state.advance(token)
    assert state.finished
    assert forced > 10


def test_an_empty_reply_is_the_end_of_the_turn_at_once(tokenizer: Tokenizer, words: BoxVocabulary) -> None:
    end = tokenizer.id_of("<|im_end|>")
    assert BoxGrammar(words).mask()[end]
    assert BoxGrammar(words).advance(end).finished


def test_every_reply_that_the_grammar_allows_parses(tokenizer: Tokenizer, words: BoxVocabulary) -> None:
    random = np.random.default_rng(0)
    finished = 0
    for _ in range(200):
        state: BoxGrammar = BoxGrammar(words)
        ids: list[int] = []
        while not state.finished and len(ids) < 400:
            token = state.forced[0] if state.forced else int(random.choice(np.flatnonzero(state.mask())))
            ids.append(token)
            state = state.advance(token)
        if state.finished:
            text = tokenizer.decode(ids)
            finished += 1
            assert parse(text) == parse(serialise(parse(text)))
            assert all(0 <= b <= 999 for code in parse(text) for b in code.bins)
            assert all(code.label for code in parse(text))
    assert finished > 100


@pytest.mark.parametrize("blank", ["", " ", "  "])
def test_no_class_is_empty(tokenizer: Tokenizer, words: BoxVocabulary, blank: str) -> None:
    state = BoxGrammar(words)
    for token in tokenizer.encode(f"bbox_0=Bbox({blank}"):
        state = state.advance(token)
    assert not state.mask()[words.comma]
    assert not state.mask()[tokenizer.encode(" ")[0]] or state.label_tokens == 0
    for token in tokenizer.encode("can"):
        state = state.advance(token)
    assert state.mask()[words.comma]


@pytest.mark.parametrize("end", [-1, 10_000_000])
def test_an_end_token_outside_of_the_vocabulary_is_refused(tokenizer: Tokenizer, end: int) -> None:
    with pytest.raises(CheckpointError, match=rf"end tokens must be ids from 0 to \d+; got \[{end}\]"):
        BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>"), end}))


def test_forced_text_encodes_to_the_same_tokens_whatever_class_follows(
    tokenizer: Tokenizer, words: BoxVocabulary
) -> None:
    for label in ("mug", "red can", "Ärger", "0_chair", "x-ray", "椅子"):
        ids = tokenizer.encode(serialise([BoxCode(label, 1, 22, 333, 500, 4, 5, 6)]))
        assert tuple(ids[: len(words.opening(0))]) == words.opening(0)


def test_a_number_has_no_leading_zero_where_it_is_one_token(tokenizer: Tokenizer, words: BoxVocabulary) -> None:
    if not words.whole_numbers:
        pytest.skip("numbers are spelled digit by digit in this vocabulary")
    allowed = np.flatnonzero(words.number_mask("", (words.comma,)))
    assert sorted(int(tokenizer.decode([int(i)])) for i in allowed) == list(range(1000))
