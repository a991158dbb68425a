"""Replies that share passes have the tokens and probabilities that each has alone, whatever happens to the others."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.decoding.drafts import BoxLines, Lookup
from n3d_core.decoding.kept_prefix import KeptPrefix, Prompt, SharedReply
from n3d_core.decoding.loop import Decoder, Limits, Token, Work
from n3d_core.decoding.sampling import Sampling
from n3d_core.errors import BackendError, QueryCancelledError, QueryTimeoutError, TextTooLongError
from n3d_core.language.answer_grammar import FreeReply
from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary
from n3d_core.language.tokenizer import Tokenizer

IMAGE = 6  # tokens
RARE = -1  # in place of a token that no reply has
PROMPTS = (
    [11, 12, 13, 14, 40, 17, 18],
    [11, 12, 13, 15, 16, 17, 18],
    [RARE],
    [11, 12, 13, 14, 41, 42, 43, 17, 18],
    [22, 23],
)


class VisibleSequence:
    """A model whose logits are a function of all tokens that a token attends to, in the order of their positions.

    Args:
        fails: called with the ids of a chunk; True makes the pass fail.
    """

    def __init__(
        self, vocab: int, end: int, limit: int = 4096, fails: Callable[[list[int]], bool] = lambda ids: False
    ) -> None:
        self.vocab, self.end, self.limit, self.fails = vocab, end, limit, fails
        self.ids: list[int] = []
        self.places: list[int] = []
        self.seen: list[NDArray[np.bool_]] = []
        self.passes: list[int] = []

    @property
    def length(self) -> int:
        return len(self.ids)

    def truncate(self, length: int) -> None:
        del self.ids[length:], self.places[length:]

    def extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: object = None,
        rows: int = 1,
        sees: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        if self.length + len(ids) > self.limit:
            raise TextTooLongError("it does not fit")
        if self.fails(ids):
            raise BackendError("no memory")
        start = self.length
        self.passes.append(len(ids))
        self.ids += ids
        self.places += [int(place) for place in positions[0]]
        if sees is None:
            sees = np.tri(len(ids), self.length, start, dtype=np.bool_)
        assert sees.shape == (len(ids), self.length)
        assert all(sees[i, start + i] and not sees[i, start + i + 1 :].any() for i in range(len(ids)))
        return np.stack([self._logits(np.flatnonzero(row)) for row in sees[len(ids) - rows :]])

    def _logits(self, visible: NDArray[np.int64]) -> NDArray[np.float32]:
        text = sorted((self.places[i], self.ids[i]) for i in visible)
        assert [place for place, _ in text] == list(range(len(text)))  # it sees one text, whole
        chance = np.random.default_rng(zlib.crc32(str(text).encode()))
        logits = chance.standard_normal(self.vocab).astype(np.float32) * 3
        asked = text[IMAGE + 1][1] if len(text) > IMAGE + 1 else 0
        logits[self.end] = {22: 30.0, 11: -12.0}.get(asked, 0.0)  # the last reply ends at once
        return logits


class World:
    """A kept prefix on such a model."""

    def __init__(self, tokenizer: Tokenizer, **options: object) -> None:
        end = tokenizer.id_of("<|im_end|>")
        self.sequence = VisibleSequence(tokenizer.size, end, **options)  # type: ignore[arg-type]
        backend = SimpleNamespace(
            config=SimpleNamespace(image_token_id=tokenizer.id_of("<|image_pad|>")),
            least_shared=2,
            start=lambda: self.sequence,
        )
        text = len(tokenizer.encode("x"))
        assert text == 1
        silent = SimpleNamespace(encode=lambda text: [5])
        grid = np.broadcast_to(np.arange(1, 1 + IMAGE), (3, IMAGE))
        plan = SimpleNamespace(tokens=IMAGE, mrope_positions=lambda start: (grid, IMAGE + 1))
        self.prefix = KeptPrefix(backend, silent, plan, None)  # type: ignore[arg-type]
        self.words = BoxVocabulary(tokenizer, tokenizer.size, frozenset({end}))
        self.work, self.rare = Work(), tokenizer.id_of("<|vision_start|>")

    def prompt(self, ids: list[int]) -> Prompt:
        return Prompt(
            [self.rare if i == RARE else i for i in ids], self.sequence.limit - len(self.prefix.ids) - len(ids)
        )

    def alone(self, sampling: Sampling, grammar: str, limits: Limits) -> list[list[Token]]:
        """Each reply, token by token."""
        decoders = [Decoder(sampling, jump=False) for _ in PROMPTS]
        return [
            list(self.prefix.reply(self.prompt(ids), self.grammar(grammar), decoder, limits, self.work))
            for ids, decoder in zip(PROMPTS, decoders, strict=True)
        ]

    def grammar(self, name: str) -> BoxGrammar | FreeReply:
        return BoxGrammar(self.words) if name == "boxes" else FreeReply(self.words)

    def asked(
        self, sampling: Sampling, grammar: str, limits: Limits, most: int = 10**6
    ) -> tuple[list[SharedReply], list[list[Token]]]:
        """The same replies, to be shared, and the lists that their tokens go to; the third ends after `most` tokens."""
        heard: list[list[Token]] = [[] for _ in PROMPTS]
        replies = []
        for index, (ids, tokens) in enumerate(zip(PROMPTS, heard, strict=True)):
            drafter = BoxLines(self.words, "lamp", begins=index % 2 == 0) if grammar == "boxes" else Lookup()

            def hear(token: Token, tokens: list[Token] = tokens, index: int = index) -> bool:
                tokens.append(token)
                return index != 2 or len(tokens) < most

            decoder = Decoder(sampling, drafter=drafter)
            replies.append(
                self.prefix.shared_reply(self.prompt(ids), self.grammar(grammar), decoder, limits, self.work, hear)
            )
        return replies, heard


def assert_same(shared: list[list[Token]], alone: list[list[Token]]) -> None:
    for ours, theirs in zip(shared, alone, strict=True):
        assert [t.id for t in ours] == [t.id for t in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert (a.kind, a.probability) == (b.kind, b.probability)


SAMPLINGS = [
    Sampling(),
    Sampling(box_numbers="median"),
    Sampling.released(seed=2),
    Sampling(repetition_penalty=1.3),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("grammar", ["boxes", "text"])
def test_shared_replies_equal_those_decoded_alone_in_fewer_passes(
    tokenizer: Tokenizer, sampling: Sampling, grammar: str
) -> None:
    plain, ours = World(tokenizer), World(tokenizer)
    alone = plain.alone(sampling, grammar, Limits(60))
    replies, heard = ours.asked(sampling, grammar, Limits(60))
    ours.prefix.share(replies, ours.work)
    assert_same(heard, alone)
    lengths = [len(tokens) for tokens in alone]
    assert lengths[4] == 1  # it ends at once, others use up their budget
    assert 50 < max(lengths) <= 60
    assert len(set(lengths)) > 1
    assert ours.work.tokens == plain.work.tokens == sum(lengths)
    assert ours.work.cut == plain.work.cut == sum(one.reply.cut for one in replies)
    assert ours.work.replies == plain.work.replies == len(PROMPTS)
    assert ours.work.steps <= max(lengths)
    if sum(length > 1 for length in lengths) > 1:
        assert ours.work.steps < plain.work.steps
    assert len(ours.sequence.passes) <= max(lengths) + 1  # with the prefix


def test_prompts_that_begin_alike_are_fed_once_up_to_where_they_differ(tokenizer: Tokenizer) -> None:
    world = World(tokenizer)
    replies, _ = world.asked(Sampling(), "text", Limits(1))
    world.prefix.share(replies, world.work)
    whole = sum(len(ids) for ids in PROMPTS)
    assert world.sequence.passes[1] == whole - 3 - 4  # 11 12 13, and 11 12 13 14


def test_a_listener_ends_its_own_reply_alone(tokenizer: Tokenizer) -> None:
    alone = World(tokenizer).alone(Sampling(), "boxes", Limits(60))
    world = World(tokenizer)
    replies, heard = world.asked(Sampling(), "boxes", Limits(60), most=7)
    world.prefix.share(replies, world.work)
    assert_same(heard, [tokens[:7] if index == 2 else tokens for index, tokens in enumerate(alone)])


@pytest.mark.parametrize("limit", [70, 90, 150, 200])
def test_replies_that_do_not_fit_together_go_on_one_by_one(tokenizer: Tokenizer, limit: int) -> None:
    """Also where one of them runs out of room by itself."""
    plain, ours = World(tokenizer, limit=limit), World(tokenizer, limit=limit)
    alone = plain.alone(Sampling(), "boxes", Limits())
    assert max(map(len, alone)) > 50
    replies, heard = ours.asked(Sampling(), "boxes", Limits())
    ours.prefix.share(replies, ours.work)
    assert_same(heard, alone)
    assert ours.work.cut == plain.work.cut
    assert plain.work.cut or limit > 80


@pytest.mark.parametrize("chunk", [1, 2, 5, 20])
def test_a_pass_that_fails_costs_no_reply(tokenizer: Tokenizer, chunk: int) -> None:
    calls: list[int] = []

    def fails(ids: list[int]) -> bool:
        calls.append(len(ids))
        return len(calls) == chunk + 1

    alone = World(tokenizer).alone(Sampling(), "boxes", Limits(60))
    world = World(tokenizer, fails=fails)
    replies, heard = world.asked(Sampling(), "boxes", Limits(60))
    world.prefix.share(replies, world.work)
    assert_same(heard, alone)


def test_a_reply_that_fails_by_itself_fails_the_call_but_not_those_before_it(tokenizer: Tokenizer) -> None:
    """As it does when one is decoded after the other."""
    alone = World(tokenizer).alone(Sampling(), "boxes", Limits(60))
    world = World(tokenizer, fails=lambda ids: tokenizer.id_of("<|vision_start|>") in ids)
    replies, heard = world.asked(Sampling(), "boxes", Limits(60))
    with pytest.raises(BackendError, match="no memory"):
        world.prefix.share(replies, world.work)
    assert_same(heard[:2], alone[:2])
    assert [one.reply.ended for one in replies[:3]] == [True, True, False]


def test_shared_replies_are_cancelled_and_time_out_between_passes(tokenizer: Tokenizer) -> None:
    alone = World(tokenizer).alone(Sampling(), "boxes", Limits(60))
    world, polls = World(tokenizer), [0]

    def cancel() -> bool:
        polls[0] += 1
        return polls[0] > 90

    replies, heard = world.asked(Sampling(), "boxes", Limits(60, cancel=cancel))
    with pytest.raises(QueryCancelledError, match="cancelled by the caller after"):
        world.prefix.share(replies, world.work)
    assert 0 < sum(map(len, heard)) < sum(map(len, alone))
    for tokens, whole in zip(heard, alone, strict=True):
        assert [t.id for t in tokens] == [t.id for t in whole][: len(tokens)]
    again, heard = world.asked(Sampling(), "boxes", Limits(60))  # what was cancelled leaves nothing behind
    world.prefix.share(again, world.work)
    assert_same(heard, alone)
    late, _ = world.asked(Sampling(), "boxes", Limits(60, deadline=time.monotonic() - 1))
    with pytest.raises(QueryTimeoutError):
        world.prefix.share(late, world.work)


def test_a_single_reply_and_none_take_the_plain_way(tokenizer: Tokenizer) -> None:
    alone = World(tokenizer).alone(Sampling(), "boxes", Limits(60))
    world = World(tokenizer)
    replies, heard = world.asked(Sampling(), "boxes", Limits(60))
    world.prefix.share([], world.work)
    assert world.sequence.passes == [1 + IMAGE]
    for one in replies:
        world.prefix.share([one], world.work)
    assert_same(heard, alone)
