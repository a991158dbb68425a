"""Keeps a frame's system prompt and image in the decoder's cache; prompts about the frame are appended to them.

Several replies can share passes. Their tokens lie in one sequence in any order, and each attends to the prefix and to
its own reply alone: a batch that needs no other graph, cache or engine than a single reply does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from operator import itemgetter
from typing import Any

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.decoding.loop import Decoder, Limits, RunningReply, Token, Work
from n3d_core.errors import BackendError, TextTooLongError
from n3d_core.language import prompts
from n3d_core.language.box_grammar import ReplyGrammar
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.plan import ImagePlan, text_positions

log = logging.getLogger("n3d.decoding")

LEAST_REPLY = 48  # tokens that must fit behind a prompt: a box line spelled digit by digit takes about 40


@dataclass(frozen=True)
class Prompt:
    """A prompt in tokens.

    Attributes:
        ids: tokens between the image and the reply.
        room: number of tokens that fit behind it.
    """

    ids: list[int]
    room: int


@dataclass
class SharedReply:
    """One of several replies.

    Attributes:
        listener: called with each token; False ends the reply.
        slots: places in the sequence of what it has fed, in order.
    """

    reply: RunningReply
    listener: Callable[[Token], bool]
    slots: list[int] = field(default_factory=list)

    def decide(self) -> None:
        """Decides all tokens that need no further pass."""
        reply = self.reply
        while not reply.ended and (token := reply.next()) is not None:
            reply.ended |= not self.listener(token)
            del self.slots[len(self.slots) - reply.discard() :]


class KeptPrefix:
    """The tokens up to the end of the image, fed once.

    Args:
        encoded: image tokens, as the backend's `encode` returned them.
        plan: the image's plan, for the number and positions of its tokens.

    Attributes:
        ids: of the prefix.
        sequence: holds the prefix, followed by the last prompts and replies.
        least_shared: see `base.Backend`.
    """

    def __init__(self, backend: Backend, tokenizer: Tokenizer, plan: ImagePlan, encoded: Any) -> None:
        text = tokenizer.encode(prompts.PREFIX)
        image_positions, self._position = plan.mrope_positions(len(text))
        positions = np.concatenate([text_positions(0, len(text)), image_positions], axis=1)
        self._tokenizer, self.least_shared = tokenizer, backend.least_shared
        self.ids = text + [backend.config.image_token_id] * plan.tokens
        self.sequence = backend.start()
        self.sequence.extend(self.ids, positions, image=encoded)

    def prompt(self, text: str, least: int = LEAST_REPLY) -> Prompt:
        """The tokens of a prompt. Special tokens in it are treated as plain text.

        Args:
            text: text between the image and the end of the user's turn.
            least: number of tokens that the reply needs.

        Raises:
            TextTooLongError: if the prompt leaves too little room.
        """
        encode = self._tokenizer.encode
        ids = [*encode(prompts.VISION_END), *self._tokenizer.encode_plain(text), *encode(prompts.SUFFIX)]
        room = self.sequence.limit - len(self.ids) - len(ids)
        if room < least:
            raise TextTooLongError(
                f"the query takes {len(ids)} tokens, the image {len(self.ids)} and the reply at least {least}: only "
                f"{self.sequence.limit} fit; shorten the text (n3d compile --cache sets an engine's limit)"
            )
        return Prompt(ids, room)

    def reply(
        self, prompt: Prompt, grammar: ReplyGrammar, decoder: Decoder, limits: Limits, work: Work
    ) -> Iterator[Token]:
        """Feeds a prompt in place of the last one and yields the tokens of its reply as they are decoded.

        Args:
            work: is added to.

        Raises:
            QueryCancelledError, QueryTimeoutError: by `limits`, between steps.
        """
        self.sequence.truncate(len(self.ids))
        limits = replace(limits, tokens=min(limits.tokens, prompt.room))
        return decoder.reply(self.sequence, prompt.ids, self._position, grammar, self.ids, limits, work)

    def shared_reply(
        self,
        prompt: Prompt,
        grammar: ReplyGrammar,
        decoder: Decoder,
        limits: Limits,
        work: Work,
        listener: Callable[[Token], bool],
    ) -> SharedReply:
        """One of the replies for `share`; see `reply`."""
        limits = replace(limits, tokens=min(limits.tokens, prompt.room))
        return SharedReply(RunningReply(decoder, grammar, prompt.ids, self._position, self.ids, limits, work), listener)

    def share(self, replies: Sequence[SharedReply], work: Work) -> None:
        """Decodes several replies, each to the tokens that `reply` gives. Replies that are complete leave the passes.

        If a pass fails, or there is no room for all of them, those that are left are decoded one by one.

        Raises:
            QueryCancelledError, QueryTimeoutError: by a reply's limits, between steps.
            BackendError: if a reply fails by itself.
        """
        self.sequence.truncate(len(self.ids))
        running = list(replies)
        while True:
            for one in running:
                one.decide()
            running = [one for one in running if not one.reply.ended]
            if len(running) < 2 and (len(replies) < 2 or self._is_crowded(running)):
                break
            try:
                self._pass(running, work)
            except (BackendError, TextTooLongError) as error:
                log.info("decoding the replies one by one: %s", error)
                break
        for one in running:
            self.sequence.truncate(len(self.ids))
            one.reply.restart()
            for token in one.reply.decode(self.sequence):
                if not one.listener(token):
                    break

    def _is_crowded(self, running: Sequence[SharedReply]) -> bool:
        """Whether most of the sequence belongs to replies that are complete: attention would still read it."""
        own = len(self.ids) + sum(len(one.slots) for one in running)
        return not running or 2 * own <= self.sequence.length

    def _pass(self, replies: Sequence[SharedReply], work: Work) -> None:
        """Feeds what comes next in each reply, the ids whose logits are needed last."""
        chunks, start = [one.reply.chunk() for one in replies], self.sequence.length
        wanted = [one.reply.rows_wanted for one in replies]
        ids, positions, places, shared = list[int](), list[int](), list[list[int]](), list[int]()

        def feed(index: int, end: int) -> None:
            """Adds a chunk's ids up to `end`."""
            own = places[index]
            new = range(len(own), end)
            own += range(start + len(ids), start + len(ids) + len(new))
            positions.extend(replies[index].reply.position + place for place in new)
            ids.extend(chunks[index][new.start : end])

        for index, one in enumerate(replies):
            twin, common = (0, 0) if one.slots else _longest_start(chunks, wanted, index)
            shared.append(common)
            places.append(places[twin][:common] if common else [])
            feed(index, len(chunks[index]) - wanted[index])
        for index, chunk in enumerate(chunks):
            feed(index, len(chunk))
        sees = np.zeros((len(ids), start + len(ids)), np.bool_)
        sees[:, : len(self.ids)] = True
        for one, own, common in zip(replies, places, shared, strict=True):
            new = np.array(own[common:])
            sees[np.ix_(new - start, np.array(one.slots + own[:common], np.int64))] = True
            sees[np.ix_(new - start, new)] = np.tri(len(new), dtype=np.bool_)
        logits = self.sequence.extend(ids, np.broadcast_to(positions, (3, len(ids))), rows=sum(wanted), sees=sees)
        work.steps += any(one.reply.writes for one in replies)
        for one, own, rows in zip(replies, places, np.split(logits, np.cumsum(wanted)[:-1]), strict=True):
            one.slots += own
            one.reply.take(list(rows))


def _longest_start(chunks: Sequence[list[int]], wanted: Sequence[int], index: int) -> tuple[int, int]:
    """Which earlier prompt begins with the most ids of a prompt, and how many, without the ids that need logits."""
    chunk, best = chunks[index][: -wanted[index]], (0, 0)
    for twin in range(index):
        pairs = zip(chunks[twin][: -wanted[twin]], chunk, strict=False)
        best = max(best, (twin, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))), key=itemgetter(1))
    return best
