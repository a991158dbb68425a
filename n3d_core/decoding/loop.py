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
        work = work or Work()
        work.replies += 1
        return _Run(self, sequence, position, context, prompt, limits, work).tokens(grammar)


class _Run:
    """One reply.

    Tokens are decided one by one. `pending` ids are decided but not yet in the sequence, at first the prompt; `ahead`
    ids are in the sequence but not yet decided (a draft); `rows` are the available logits, the first of which predicts
    the next token.
    """

    def __init__(
        self,
        decoder: Decoder,
        sequence: Sequence,
        position: int,
        context: Ids[int],
        prompt: Ids[int],
        limits: Limits,
        work: Work,
    ) -> None:
        self.decoder, self.sequence, self.position = decoder, sequence, position
        self.limits, self.work = limits, work
        self.count = len(context) + len(prompt)
        self.ids = np.empty(self.count + limits.tokens, np.int64)
        self.ids[: self.count] = [*context, *prompt]
        self.pending: list[int] = list(prompt)
        self.ahead: list[int] = []
        self.rows: Ids[NDArray[np.float32]] = ()
        self.random = np.random.default_rng(decoder.sampling.seed)

    @property
    def known(self) -> NDArray[np.int64]:
        """All ids up to the last decided one."""
        return self.ids[: self.count]

    def tokens(self, grammar: ReplyGrammar) -> Iterator[Token]:
        """See `Decoder.reply`. However it ends, no draft is left in the sequence."""
        try:
            yield from self._tokens(grammar)
        finally:
            self._drop_draft()

    def _tokens(self, grammar: ReplyGrammar) -> Iterator[Token]:
        for written in range(self.limits.tokens):
            self.limits.check(written)
            forced = grammar.forced
            if not self.rows and not (forced and self.decoder.jump):
                self._extend(grammar, self.limits.tokens - written - 1, of_prompt=written == 0)
            token = self._forced(forced[0]) if forced else self._choose(grammar)
            yield token
            grammar = grammar.advance(token.id)
            if grammar.finished:
                return
            self._settle(token.id)
        self.work.cut += 1

    def _settle(self, token: int) -> None:
        """Updates the sequence for a decided token: keeps a draft that guessed it, drops any other."""
        self.ids[self.count] = token
        self.count += 1
        self.rows = self.rows[1:]
        if self.ahead and self.ahead[0] == token:
            self.ahead.pop(0)
            self.work.drafted += 1
            if not self.ahead:
                self._judge(right=True)
            return
        self._drop_draft()
        self.pending.append(token)

    def _drop_draft(self) -> None:
        if self.ahead:
            self._judge(right=False)
            self.sequence.truncate(self.sequence.length - len(self.ahead))
            self.position -= len(self.ahead)
            self.ahead, self.rows = [], ()

    def _judge(self, right: bool) -> None:
        if self.decoder.drafter is not None:
            self.decoder.drafter.judge(right)

    def _extend(self, grammar: ReplyGrammar, most: int, of_prompt: bool) -> None:
        """Feeds the decided tokens and a draft of at most `most` tokens in one pass."""
        drafter = self.decoder.drafter
        draft = drafter.propose(self.known, grammar, most) if drafter is not None else []
        chunk = self.pending + draft
        positions = text_positions(self.position, len(chunk))
        logits = self.sequence.extend(chunk, positions, rows=len(draft) + 1)
        self.rows, self.ahead, self.pending = list(logits), draft, []  # after the pass: a failed pass feeds nothing
        self.position += len(chunk)
        self.work.steps += 0 if of_prompt and not draft else 1

    def _forced(self, token: int) -> Token:
        self.work.forced += 1
        return Token(token, None)

    def _choose(self, grammar: ReplyGrammar) -> Token:
        self.work.free += 1
        kind, sampling, mask = grammar.kind, self.decoder.sampling, grammar.mask()
        scores = sampling.penalised(self.rows[0], self.known)
        if kind is TokenKind.TEXT and sampling.temperature == 0:
            best = int(scores.argmax())
            if mask is None or mask[best]:
                return Token(best, kind)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        if kind is TokenKind.TEXT:
            return Token(sampling.draw(scores, self.random), kind)  # its probability is not used
        probabilities, ladder = softmax(scores), grammar.ladder
        if ladder is not None and sampling.box_numbers == "median" and sampling.temperature == 0:
            token = median_id(probabilities, ladder)
        else:
            token = sampling.draw(scores, self.random)
        return Token(token, kind, float(probabilities[token]), probabilities if kind is TokenKind.NUMBER else None)
