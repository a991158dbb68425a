"""Every fast way of decoding gives what decoding one token at a time gives."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.decoding.drafts import LONG_DRAFT, SHORT_DRAFT, BoxLines, Lookup
from n3d_core.decoding.loop import Decoder, Limits, Work
from n3d_core.decoding.sampling import Sampling
from n3d_core.errors import BackendError, ConfigError, QueryCancelledError, QueryTimeoutError
from n3d_core.language.answer_grammar import FreeReply
from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary, ReplyGrammar, TokenKind
from n3d_core.language.tokenizer import Tokenizer
from test.core.vocabularies import joining_tokenizer, whole_number_tokenizer


class HashSequence:
    """A model whose logits are a function of the last three tokens and their position: chunking cannot matter to it."""

    def __init__(self, vocab: int, end: int, loop: int = 0) -> None:
        self.vocab, self.end, self.loop = vocab, end, loop
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.chunks: list[int] = []
        self.longest = 0

    @property
    def length(self) -> int:
        return len(self.ids)

    def extend(
        self, ids: list[int], positions: NDArray[np.int64], image: object = None, rows: int = 1
    ) -> NDArray[np.float32]:
        self.chunks.append(len(ids))
        out = []
        for token, position in zip(ids, positions[0], strict=True):
            self.ids.append(int(token))
            self.positions.append(int(position))
            out.append(self._logits())
        self.longest = max(self.longest, len(self.ids))
        return np.stack(out[-rows:])

    @property
    def calls(self) -> int:
        return len(self.chunks)

    def truncate(self, length: int) -> None:
        del self.ids[length:], self.positions[length:]

    def _logits(self) -> NDArray[np.float32]:
        place = len(self.ids) % self.loop if self.loop else len(self.ids)
        key = str((self.ids[-1] if not self.loop else 0, place)).encode()
        logits = np.random.default_rng(zlib.crc32(key)).standard_normal(self.vocab).astype(np.float32) * 3
        logits[self.end] = -20  # the reply goes on until its budget ends
        return logits


def words(tokenizer: Tokenizer) -> BoxVocabulary:
    return BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")}))


def boxes(tokenizer: Tokenizer) -> ReplyGrammar:
    return BoxGrammar(words(tokenizer))


def text(tokenizer: Tokenizer) -> ReplyGrammar:
    return FreeReply(words(tokenizer))


def decode(
    decoder: Decoder, grammar: ReplyGrammar, tokenizer: Tokenizer, loop: int = 0, tokens: int = 150
) -> tuple[list[int], HashSequence, Work]:
    sequence, work = HashSequence(tokenizer.size, tokenizer.id_of("<|im_end|>"), loop), Work()
    prompt = [1, 2, 3, 4, 5]
    reply = decoder.reply(sequence, prompt, 0, grammar, (), Limits(tokens), work)
    return [t.id for t in reply], sequence, work


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(box_numbers="median"), Sampling.released(), Sampling(repetition_penalty=1.3)],
)
def test_jump_forward_gives_the_tokens_of_single_steps_in_fewer_passes(
    tokenizer: Tokenizer, sampling: Sampling
) -> None:
    plain, slow, _ = decode(Decoder(sampling, jump=False), boxes(tokenizer), tokenizer)
    jumped, fast, work = decode(Decoder(sampling, jump=True), boxes(tokenizer), tokenizer)
    assert jumped == plain
    assert fast.calls < slow.calls
    assert work.forced > 5
    assert fast.positions == list(range(len(fast.positions)))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling.released(), Sampling(repetition_penalty=1.3)])
def test_drafting_gives_the_tokens_of_single_steps(tokenizer: Tokenizer, sampling: Sampling) -> None:
    plain, _, _ = decode(Decoder(sampling), text(tokenizer), tokenizer, loop=12)
    drafted, sequence, work = decode(Decoder(sampling, drafter=Lookup()), text(tokenizer), tokenizer, loop=12)
    assert drafted == plain
    assert sequence.positions == list(range(len(sequence.positions)))
    if sampling == Sampling():  # a greedy loop repeats itself, so drafts must have been right
        assert work.drafted > 50
        assert work.steps < 60


def test_drafts_grow_while_they_are_right_and_begin_anew_where_one_was_wrong(tokenizer: Tokenizer) -> None:
    _, sequence, _ = decode(Decoder(drafter=Lookup()), text(tokenizer), tokenizer, loop=40)
    grown = [1 + SHORT_DRAFT * 2**i for i in range(3)] + [1 + LONG_DRAFT]
    chunks = sequence.chunks[1:]  # behind the prompt
    assert grown in [chunks[i : i + 4] for i in range(len(chunks))]
    drafter = Lookup()
    for right, length in ((True, 2 * SHORT_DRAFT), (False, SHORT_DRAFT)):
        drafter.judge(right)
        assert drafter.length == length


def proposed(drafter: Lookup, known: list[int], tokenizer: Tokenizer) -> list[int]:
    return drafter.propose(np.array(known, np.int64), text(tokenizer), 100)


def test_a_draft_follows_the_place_that_shares_most_with_what_was_said_last(tokenizer: Tokenizer) -> None:
    known = [7, 1, 2, 3, 50, 51, 52, 9, 2, 3, 60, 61, 62, 3, 70, 71, 72, 8, 1, 2, 3]
    assert proposed(Lookup(), known, tokenizer) == [50, 51, 52]  # behind 1 2 3, though 3 alone, and 2 3, stand nearer
    assert proposed(Lookup(), [*known, 4], tokenizer) == []
    assert proposed(Lookup(), [*known, 4, 9, 2, 3], tokenizer) == [60, 61, 62]


def test_of_several_places_alike_the_last_is_drafted_from(tokenizer: Tokenizer) -> None:
    assert proposed(Lookup(), [5, 30, 31, 6, 5, 40, 41, 8, 5], tokenizer) == [40, 41, 8]


def test_a_prepared_reply_is_drafted_from_its_start_and_again_behind_what_differs(tokenizer: Tokenizer) -> None:
    drafter, known = Lookup([20, 21, 22, 23, 24, 25, 26, 27, 28]), [1, 2, 21, 9]
    assert proposed(drafter, known, tokenizer) == [20, 21, 22, 23, 24, 25, 26, 27, 28]
    drafter.judge(right=False)
    known += [20, 21, 99]  # in place of 22
    assert proposed(drafter, known, tokenizer) == [23, 24, 25, 26, 27, 28]
    known += [23, 98, 97, 24]  # put in between
    proposed(drafter, known, tokenizer)
    known += [25]
    assert proposed(drafter, known, tokenizer) == [26, 27, 28]
    assert proposed(drafter, [*known, 26, 27, 28, 9], tokenizer)[:3] == [20, 21, 99]  # behind its end, from the context


def test_a_number_that_the_model_states_differently_is_drafted_again_where_the_reply_repeats_it(
    tokenizer: Tokenizer,
) -> None:
    one, two, six, point, comma = 31, 32, 36, 40, 41
    prepared = [5, point, one, 7, comma, 8, point, one, 9, 8, point, two, 6]
    drafter, known = Lookup(prepared, numbers=frozenset({one, two, six})), [1, 2]
    assert proposed(drafter, known, tokenizer) == prepared
    known += [5, point, six]  # in place of one
    assert proposed(drafter, known, tokenizer) == prepared[3:]  # behind "8 ." the other number stands
    known += [7, comma, 8, point, six]
    assert proposed(drafter, known, tokenizer) == [9, 8, point, two, 6]


def test_a_number_with_other_digits_leaves_the_words_behind_it(tokenizer: Tokenizer) -> None:
    prepared, numbers = [5, 31, 32, 7, 8, 31, 9, 10, 11], frozenset({31, 32, 36})
    shorter = Lookup(prepared, numbers=numbers)
    proposed(shorter, [1], tokenizer)
    assert proposed(shorter, [1, 5, 31, 7], tokenizer) == [8, 31, 9, 10, 11]
    longer = Lookup(prepared, numbers=numbers)
    proposed(longer, [1], tokenizer)
    assert proposed(longer, [1, 5, 31, 32, 36, 36], tokenizer) == [7, 8, 31, 9, 10, 11]
    assert proposed(longer, [1, 5, 31, 32, 36, 36, 7, 8, 36], tokenizer) == [9, 10, 11]


def test_after_other_words_the_reply_is_continued_where_it_matches_the_last_ones(tokenizer: Tokenizer) -> None:
    prepared = [*range(100, 130), 5, 6, 7, 8, 9]
    drafter, known = Lookup(prepared), [1, 2]
    proposed(drafter, known, tokenizer)
    known += [100, 101, 99, 98]
    proposed(drafter, known, tokenizer)
    known += [5, 6]  # far from the place where it left the reply
    assert proposed(drafter, known, tokenizer) == [7, 8, 9]
    drafter, known = Lookup(prepared), [50, 51, 52, 53, 54, 55, 2]
    proposed(drafter, known, tokenizer)
    known += [100, 50, 51, 52]  # the prompt's words
    assert proposed(drafter, known, tokenizer)[:3] == [53, 54, 55]


def test_another_reply_is_drafted_once_the_model_has_left_the_expected_one(tokenizer: Tokenizer) -> None:
    asked: list[int] = []

    def others() -> list[list[int]]:
        asked.append(1)
        return [[70, 71, 72, 73], [60, 61, 62, 63, 64, 65]]

    drafter, known = Lookup([20, 21, 22, 23, 24, 25], others=others), [1, 2]
    assert proposed(drafter, known, tokenizer) == [20, 21, 22, 23, 24, 25]
    known += [20, 21]
    assert proposed(drafter, known, tokenizer) == [22, 23, 24, 25]
    assert asked == []  # none is needed while the model says what is expected
    known += [61, 62]
    assert proposed(drafter, known, tokenizer) == [63, 64, 65]
    known += [63, 22, 23]  # back in the expected one
    assert proposed(drafter, known, tokenizer) == [24, 25]
    assert asked == [1]


@pytest.mark.parametrize("start", [0, 7, 30])
def test_other_replies_change_no_token(tokenizer: Tokenizer, start: int) -> None:
    plain, slow, _ = decode(Decoder(), text(tokenizer), tokenizer, tokens=80)
    wrong = [(i + 1) % 50 for i in plain]
    prepared = [*plain[:start], *wrong[start:]]
    drafter = Lookup(prepared, others=lambda: [wrong, plain])
    drafted, fast, _ = decode(Decoder(drafter=drafter), text(tokenizer), tokenizer, tokens=80)
    assert drafted == plain
    assert fast.calls < slow.calls / 2


def test_a_prepared_reply_that_is_wrong_is_drafted_in_shorter_pieces(tokenizer: Tokenizer) -> None:
    plain, _, _ = decode(Decoder(), text(tokenizer), tokenizer, tokens=120)
    wrong = [(i + 1) % 50 for i in plain]
    drafted, sequence, _ = decode(Decoder(drafter=Lookup(wrong)), text(tokenizer), tokenizer, tokens=120)
    assert drafted == plain
    assert sum(sequence.chunks) < 120 + 48 + 120 * 6  # five for the prompt, and its own pass for each token
    drafter, lengths = Lookup(plain), []
    for right in (False, False, False, False, False, True, True, True, True, True):
        drafter.judge(right)
        lengths.append(drafter.length)
    assert lengths == [24, 12, 6, 4, 4, 8, 16, 32, 48, 48]


@pytest.mark.parametrize("wrong", [None, 0, 7, 39])
def test_a_prepared_reply_shares_the_prompts_pass_and_changes_no_token(tokenizer: Tokenizer, wrong: int | None) -> None:
    plain, _, _ = decode(Decoder(), text(tokenizer), tokenizer, tokens=40)
    guess = list(plain)
    if wrong is not None:
        guess[wrong] = (guess[wrong] + 1) % 50
    drafted, sequence, work = decode(Decoder(drafter=Lookup(guess)), text(tokenizer), tokenizer, tokens=40)
    assert drafted == plain
    assert sequence.ids[5:] == plain[: len(sequence.ids) - 5]
    assert (sequence.calls, work.steps) == ((1, 1) if wrong in (None, 39) else (3, 3))


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(box_numbers="median"), Sampling.released(seed=2), Sampling(repetition_penalty=1.3)],
)
@pytest.mark.parametrize("label", ["", "red mug", "lamp"])
def test_drafts_of_box_lines_give_the_tokens_of_single_steps(
    tokenizer: Tokenizer, sampling: Sampling, label: str
) -> None:
    plain, slow, _ = decode(Decoder(sampling, jump=False), boxes(tokenizer), tokenizer)
    drafter = BoxLines(words(tokenizer), label)
    drafted, fast, _ = decode(Decoder(sampling, drafter=drafter), boxes(tokenizer), tokenizer)
    assert drafted == plain
    assert fast.calls < slow.calls
    assert fast.positions == list(range(len(fast.positions)))


def test_a_box_line_is_drafted_but_for_the_numbers_that_must_be_seen(tokenizer: Tokenizer) -> None:
    vocabulary = words(tokenizer)
    drafter, grammar, ids = BoxLines(vocabulary, "red mug"), boxes(tokenizer), []
    line = "bbox_0=Bbox(red mug,412,530,388,500,61,74,60)\nbbox_1=Bbox(red mug,"
    for token in tokenizer.encode(line):
        guess = [] if grammar.forced else drafter.propose(np.array([1, *ids], np.int64), grammar, 100)
        if guess:
            so_far = tokenizer.decode([*ids, *guess])
            assert line.startswith(so_far), so_far
            assert so_far.endswith((",500,", "mug,"))
        ids.append(token)
        grammar = grammar.advance(token)
    first = drafter.propose(np.array([1], np.int64), boxes(tokenizer), 100)
    assert tokenizer.decode(first) == "bbox_0=Bbox(red mug,"


class Failing(HashSequence):
    """Fails once, on the first draft that it is fed."""

    failed = False

    def extend(
        self, ids: list[int], positions: NDArray[np.int64], image: object = None, rows: int = 1
    ) -> NDArray[np.float32]:
        if rows > 1 and not self.failed:
            self.failed = True
            raise BackendError("no memory")
        return super().extend(ids, positions, image, rows)


@pytest.mark.parametrize("again", [[3], [10]])
def test_a_pass_that_fails_with_a_draft_leaves_the_sequence_as_it_was(tokenizer: Tokenizer, again: list[int]) -> None:
    sequence = Failing(tokenizer.size, tokenizer.id_of("<|im_end|>"), loop=12)
    known, prompt = list(range(1, 10)), again
    sequence.extend(known, np.broadcast_to(np.arange(9), (3, 9)))
    said: list[int] = []
    with pytest.raises(BackendError):
        said.extend(t.id for t in Decoder(drafter=Lookup()).reply(sequence, prompt, 9, text(tokenizer), known))
    assert sequence.ids == [*known, *prompt, *said][: sequence.length]
    assert (sequence.length == 9) == (prompt == [3])  # a draft behind the prompt fails with it


def test_a_reply_that_its_budget_ends_is_counted_as_cut(tokenizer: Tokenizer) -> None:
    assert decode(Decoder(), text(tokenizer), tokenizer, tokens=9)[2].cut == 1
    sequence, work = Shares(tokenizer.size, {tokenizer.id_of("<|im_end|>"): 1.0}), Work()
    list(Decoder().reply(sequence, [1], 0, text(tokenizer), limits=Limits(9), work=work))
    assert work.cut == 0


@pytest.mark.parametrize("tokens", [1, 2, 3, 60, 61, 62, 75, 90])
def test_no_draft_goes_beyond_the_budget_that_the_sequence_has_room_for(tokenizer: Tokenizer, tokens: int) -> None:
    plain, _, _ = decode(Decoder(), text(tokenizer), tokenizer, loop=12, tokens=tokens)
    drafted, sequence, _ = decode(Decoder(drafter=Lookup()), text(tokenizer), tokenizer, loop=12, tokens=tokens)
    assert drafted == plain
    assert sequence.longest <= 5 + tokens  # behind a prompt of five


def test_drafting_under_the_box_grammar_gives_the_same_boxes(tokenizer: Tokenizer) -> None:
    plain, _, _ = decode(Decoder(jump=False), boxes(tokenizer), tokenizer, loop=17)
    drafted, _, _ = decode(Decoder(drafter=Lookup()), boxes(tokenizer), tokenizer, loop=17)
    assert drafted == plain


def test_a_wrong_draft_leaves_the_sequence_as_if_it_had_not_been(tokenizer: Tokenizer) -> None:
    ids, sequence, _ = decode(Decoder(Sampling.released(seed=3), drafter=Lookup()), text(tokenizer), tokenizer, loop=5)
    fed = sequence.ids[5:]
    assert fed == ids[: len(fed)]


def test_forced_tokens_carry_no_probability_and_free_ones_do(tokenizer: Tokenizer) -> None:
    sequence = HashSequence(tokenizer.size, tokenizer.id_of("<|im_end|>"))
    tokens = list(Decoder().reply(sequence, [1], 0, boxes(tokenizer), limits=Limits(60)))
    assert all(t.probability == 1.0 for t in tokens if t.kind is None)
    chosen = [t.probability for t in tokens if t.kind is not None]
    assert 0 < min(chosen) < 0.5
    assert max(chosen) <= 1
    free = [t for t in tokens if t.distribution is not None]
    assert free
    assert all(abs(float(t.distribution.sum()) - 1) < 1e-5 for t in free)


class Shares:
    """A sequence whose logits are always the same."""

    def __init__(self, vocab: int, shares: dict[int, float]) -> None:
        self.length, self.row = 0, np.full(vocab, -50.0, np.float32)
        for token, share in shares.items():
            self.row[token] = np.log(share)

    def extend(
        self, ids: list[int], positions: NDArray[np.int64], image: object = None, rows: int = 1
    ) -> NDArray[np.float32]:
        self.length += len(ids)
        return np.stack([self.row] * rows)

    def truncate(self, length: int) -> None:
        self.length = length


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [(Sampling(), "30"), (Sampling(box_numbers="median"), "412"), (Sampling(0.001, box_numbers="median"), "30")],
)
def test_a_number_of_a_box_is_the_likeliest_one_or_the_median_where_that_is_asked_for(
    tmp_path: Path, sampling: Sampling, expected: str
) -> None:
    tokenizer = whole_number_tokenizer(tmp_path)
    shares = {"30": 0.3, "410": 0.15, "412": 0.25, "415": 0.2, "7": 0.05, "990": 0.05}
    of = {tokenizer.encode(text)[0]: share for text, share in shares.items()}
    words = (tokenizer.encode(text)[0] for text in ("bbox_0", "red"))  # one box, of a class that never ends by itself
    sequence = Shares(tokenizer.size, of | dict.fromkeys(words, 1e-3))
    reply = Decoder(sampling).reply(sequence, [1], 0, boxes(tokenizer), limits=Limits(60))
    numbers = [t for t in reply if t.kind is TokenKind.NUMBER]
    assert {tokenizer.decode([t.id]) for t in numbers} == {expected}
    assert numbers[0].probability == pytest.approx(shares[expected], rel=1e-2)


def test_numbers_that_are_spelled_by_digits_have_no_median(tmp_path: Path) -> None:
    tokenizer = joining_tokenizer(tmp_path)
    plain, _, _ = decode(Decoder(), boxes(tokenizer), tokenizer)
    asked, _, _ = decode(Decoder(Sampling(box_numbers="median")), boxes(tokenizer), tokenizer)
    assert asked == plain


def test_cancelling_ends_the_reply_between_two_steps(tokenizer: Tokenizer) -> None:
    sequence = HashSequence(tokenizer.size, tokenizer.id_of("<|im_end|>"))
    asked: list[int] = []

    def cancel() -> bool:
        asked.append(len(asked))
        return len(asked) > 7

    seen = []
    with pytest.raises(QueryCancelledError, match="after 7 tokens"):
        seen.extend(t.id for t in Decoder().reply(sequence, [1], 0, text(tokenizer), limits=Limits(50, cancel)))
    assert sequence.calls <= 8


def test_a_deadline_that_has_passed_ends_the_reply(tokenizer: Tokenizer) -> None:
    sequence = HashSequence(tokenizer.size, tokenizer.id_of("<|im_end|>"))
    with pytest.raises(QueryTimeoutError, match="timed out after 0 tokens"):
        list(Decoder().reply(sequence, [1], 0, text(tokenizer), limits=Limits(50, deadline=time.monotonic() - 1)))


def test_the_token_budget_ends_the_reply(tokenizer: Tokenizer) -> None:
    ids, _, _ = decode(Decoder(), text(tokenizer), tokenizer, tokens=9)
    assert len(ids) <= 9


def test_sampling_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        Sampling(temperature=-1)


def test_released_sampling_agrees_with_transformers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    logits_process = pytest.importorskip("transformers.generation.logits_process")

    row = np.random.default_rng(0).standard_normal(300).astype(np.float32) * 4
    scores = torch.tensor(row)[None] / 0.6
    for warper in (logits_process.TopKLogitsWarper(10), logits_process.TopPLogitsWarper(0.95)):
        scores = warper(torch.zeros(1, 1, dtype=torch.long), scores)
    expected = torch.softmax(scores.double(), -1)[0].numpy()
    np.testing.assert_allclose(Sampling.released().truncated(row / np.float32(0.6)), expected, atol=1e-6)
