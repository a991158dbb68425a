"""The token loop: grammar, jump-forward, drafting, sampling, streaming, cancellation. Works on token ids only.

All shortcuts return the same ids as decoding one token at a time under the same grammar: forced tokens share the pass
of the token before them, and only those tokens of a draft are kept that the model would have chosen itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ids
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.base import Sequence
from n3d_core.decoding.drafts import Drafter
from n3d_core.decoding.sampling import Sampling, median_id, softmax
from n3d_core.errors import QueryCancelledError, QueryTimeoutError
from n3d_core.language.box_grammar import ReplyGrammar, TokenKind
from n3d_core.network.plan import text_positions

LONGEST_REPLY = 4096  # tokens, as in the released scripts


@dataclass(frozen=True)
class Limits:
    """When to stop a reply early.

    Attributes:
        tokens: maximum length of the reply.
        cancel: called between steps; True raises `QueryCancelledError`.
        deadline: `time.monotonic()` seconds after which `QueryTimeoutError` is raised.
    """

    tokens: int = LONGEST_REPLY
    cancel: Callable[[], bool] | None = None
    deadline: float | None = None

    def check(self, written: int) -> None:
        """Raises if the query is cancelled or past its deadline."""
        if self.cancel is not None and self.cancel():
            raise QueryCancelledError(f"cancelled by the caller after {written} tokens")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise QueryTimeoutError(f"timed out after {written} tokens; raise the timeout or ask for less")


@dataclass(frozen=True)
class Token:
    """One token of a reply.

    Attributes:
        id: its id.
        kind: what it decided; None if the grammar forced it.
        probability: its probability among the allowed tokens if it is part of a box; 1 if it is forced or free text.
            distribution: [vocab] probabilities of the allowed tokens if it is part of a number, else None.
    """

    id: int
    kind: TokenKind | None
    probability: float = 1.0
    distribution: NDArray[np.float32] | None = None


@dataclass
class Work:
    """Cost of replies: forward passes, and tokens that needed no pass of their own.

    Attributes:
        steps: forward passes that wrote tokens: all but those of prompts that checked no draft.
        free, forced: tokens that the model chose, and that the grammar forced.
        drafted: how many of them a draft guessed right.
        cut: replies ended by their token budget.
        replies: number of replies; the prompt's own pass decides the first token of each.
    """

    steps: int = 0
    free: int = 0
    forced: int = 0
    drafted: int = 0
    cut: int = 0
    replies: int = 0

    @property
    def tokens(self) -> int:
        """Number of tokens written."""
        return self.free + self.forced


@dataclass
class Decoder:
    """Decodes replies on a sequence.

    Attributes:
        sampling: how free tokens are chosen.
        jump: whether forced tokens share the pass of the token before them.
        drafter: drafts tokens; None decodes without drafts. Use a new one for each reply.
    """

    sampling: Sampling = field(default_factory=Sampling)
    jump: bool = True
    drafter: Drafter | None = None

    def reply(
        self,
        sequence: Sequence,
        prompt: Ids[int],
        position: int,
        grammar: ReplyGrammar,
        context: Ids[int] = (),
        limits: Limits = Limits(),
        work: Work | None = None,
    ) -> Iterator[Token]:
        """Feeds a prompt and yields the tokens of its reply as they are decoded, including the end of the turn.

        Args:
            sequence: holds the context.
            prompt: ids that are not in the sequence yet; a draft of the reply's first tokens shares their pass.
            position: M-RoPE position of the prompt's first token.
            grammar: the allowed tokens.
            context: ids in the sequence, for the repetition penalty and drafts.
            limits: when to stop early; a reply that reaches `tokens` ends without an error.
            work: updated with the cost.
        """
        return RunningReply(self, grammar, prompt, position, context, limits, work or Work()).decode(sequence)


class RunningReply:
    """A reply that is being decoded. It feeds no sequence itself, so that several can share a pass.

    Tokens are decided one by one. `pending` ids are decided but not yet in the sequence, at first the prompt; `ahead`
    ids are in the sequence but not yet decided (a draft); `rows` are the available logits, the first of which predicts
    the next token.

    Attributes:
        position: M-RoPE position of the next id that enters the sequence.
        ended: whether the reply is complete, or cut.
        cut: whether it has used up its budget.
    """

    def __init__(
        self,
        decoder: Decoder,
        grammar: ReplyGrammar,
        prompt: Ids[int],
        position: int,
        context: Ids[int],
        limits: Limits,
        work: Work,
    ) -> None:
        self.decoder, self.grammar, self.position = decoder, grammar, position
        self.limits, self.work = limits, work
        work.replies += 1
        self.ended, self.cut = limits.tokens < 1, False
        self._written = 0
        self._checked = -1  # number of tokens written at the last check of the limits
        self._start, self._context = position, len(context)
        self._count = len(context) + len(prompt)
        self._ids = np.empty(self._count + limits.tokens, np.int64)
        self._ids[: self._count] = [*context, *prompt]
        self._pending: list[int] = list(prompt)
        self._draft: list[int] = []
        self._ahead: list[int] = []
        self._dropped = 0  # ids of wrong drafts that are still in the sequence
        self._rows: Ids[NDArray[np.float32]] = ()
        self._random = np.random.default_rng(decoder.sampling.seed)

    @property
    def known(self) -> NDArray[np.int64]:
        """All ids up to the last decided one."""
        return self._ids[: self._count]

    @property
    def rows_wanted(self) -> int:
        """Rows of logits that `take` needs: of the last ids of the chunk."""
        return len(self._draft) + 1

    @property
    def writes(self) -> bool:
        """Whether the chunk's pass counts as a step: it is not that of a prompt without a draft."""
        return self._written > 0 or bool(self._draft)

    def decode(self, sequence: Sequence) -> Iterator[Token]:
        """The tokens, each as it is decided, with passes of their own. However it ends, no draft is left behind."""
        try:
            while not self.ended:
                token = self.next()
                if token is None:
                    chunk = self.chunk()
                    logits = sequence.extend(chunk, text_positions(self.position, len(chunk)), rows=self.rows_wanted)
                    self.work.steps += self.writes
                    self.take(list(logits))
                else:
                    yield token
                    sequence.truncate(sequence.length - self.discard())
        finally:
            sequence.truncate(sequence.length - self.discard(rest=True))

    def next(self) -> Token | None:
        """Decides the next token. None if a pass must come first: feed `chunk`, and give its logits to `take`.

        Raises:
            QueryCancelledError, QueryTimeoutError: by the limits.
        """
        if self._checked != self._written:
            self.limits.check(self._written)
            self._checked = self._written
        forced = self.grammar.forced
        if not self._rows and not (forced and self.decoder.jump):
            return None
        token = self._forced(forced[0]) if forced else self._choose(self.grammar)
        self.grammar = self.grammar.advance(token.id)
        self._written += 1
        if self.grammar.finished:
            self.ended = True
        else:
            self._settle(token.id)
            if self._written == self.limits.tokens:
                self.ended = self.cut = True
                self.work.cut += 1
        return token

    def chunk(self) -> list[int]:
        """The ids to feed in one pass: those decided, and a draft."""
        drafter, most = self.decoder.drafter, self.limits.tokens - self._written - 1
        self._draft = drafter.propose(self.known, self.grammar, most) if drafter is not None else []
        return self._pending + self._draft

    def take(self, rows: Ids[NDArray[np.float32]]) -> None:
        """Takes the logits [rows_wanted, vocab] of the chunk, which is now in the sequence."""
        self.position += len(self._pending) + len(self._draft)
        self._rows, self._ahead, self._pending, self._draft = list(rows), self._draft, [], []

    def discard(self, rest: bool = False) -> int:
        """Number of ids at the end of the sequence that are to be dropped: a wrong draft, or what is left of any."""
        if rest:
            self._drop_draft()
        dropped, self._dropped = self._dropped, 0
        return dropped

    def restart(self) -> None:
        """Goes on in a sequence that holds the context alone."""
        self._drop_draft()
        self._pending, self._rows, self._dropped = self.known[self._context :].tolist(), (), 0
        self.position = self._start

    def _settle(self, token: int) -> None:
        """Keeps a draft that guessed a decided token, drops any other."""
        self._ids[self._count] = token
        self._count += 1
        self._rows = self._rows[1:]
        if self._ahead and self._ahead[0] == token:
            self._ahead.pop(0)
            self.work.drafted += 1
            if not self._ahead:
                self._judge(right=True)
            return
        self._drop_draft()
        self._pending.append(token)

    def _drop_draft(self) -> None:
        if self._ahead:
            self._judge(right=False)
            self._dropped += len(self._ahead)
            self.position -= len(self._ahead)
            self._ahead, self._rows = [], ()

    def _judge(self, right: bool) -> None:
        if self.decoder.drafter is not None:
            self.decoder.drafter.judge(right)

    def _forced(self, token: int) -> Token:
        self.work.forced += 1
        return Token(token, None)

    def _choose(self, grammar: ReplyGrammar) -> Token:
        self.work.free += 1
        kind, sampling, mask = grammar.kind, self.decoder.sampling, grammar.mask()
        scores = sampling.penalised(self._rows[0], self.known)
        if kind is TokenKind.TEXT and sampling.temperature == 0:
            best = int(scores.argmax())
            if mask is None or mask[best]:
                return Token(best, kind)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        if kind is TokenKind.TEXT:
            return Token(sampling.draw(scores, self._random), kind)  # its probability is not used
        probabilities, ladder = softmax(scores), grammar.ladder
        if ladder is not None and sampling.box_numbers == "median" and sampling.temperature == 0:
            token = median_id(probabilities, ladder)
        else:
            token = sampling.draw(scores, self._random)
        return Token(token, kind, float(probabilities[token]), probabilities if kind is TokenKind.NUMBER else None)
