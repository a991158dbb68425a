"""The token loop: grammar, jump-forward, drafting, sampling, streaming, cancellation. Knows ids only.

Every fast way gives the ids that decoding one token at a time under the same grammar gives: forced tokens ride in the
chunk of the token before them, and a draft is kept only as far as the model would have chosen it itself.
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
from n3d_core.language.box_grammar import Grammar, Kind
from n3d_core.network.plan import text_positions

LONGEST_REPLY = 4096  # tokens, as the released scripts allow


@dataclass(frozen=True)
class Limits:
    """When to stop before the model does.

    Attributes:
        tokens: longest reply.
        cancel: asked between steps; True raises `QueryCancelledError`.
        deadline: `time.monotonic()` seconds after which `QueryTimeoutError` is raised.
    """

    tokens: int = LONGEST_REPLY
    cancel: Callable[[], bool] | None = None
    deadline: float | None = None

    def check(self, written: int) -> None:
        """Raises if it is time to stop."""
        if self.cancel is not None and self.cancel():
            raise QueryCancelledError(f"cancelled by the caller after {written} tokens")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise QueryTimeoutError(
                f"the time budget ran out after {written} tokens; raise the time-out or ask for less"
            )


@dataclass(frozen=True)
class Token:
    """One token of a reply.

    Attributes:
        id: of the token.
        kind: what it decided; None where the grammar forced it.
        probability: of the token among those that the grammar allowed, where it says something of a box; 1 where it is
            forced, or free text.
        distribution: [vocab] probabilities among those allowed where it is part of a number, else None.
    """

    id: int
    kind: Kind | None
    probability: float = 1.0
    distribution: NDArray[np.float32] | None = None


@dataclass
class Work:
    """What replies cost: forward passes, and tokens that needed none of their own.

    Attributes:
        steps: forward passes, the prompts' own not counted.
        free, forced: tokens that the model chose, and that the grammar left no choice of.
        drafted: of them those that a draft had right.
        cut: replies that their token budget ended.
        replies: how many replies there were; the first token of each comes with the prompt's own pass.
    """

    steps: int = 0
    free: int = 0
    forced: int = 0
    drafted: int = 0
    cut: int = 0
    replies: int = 0

    @property
    def tokens(self) -> int:
        """Tokens written."""
        return self.free + self.forced


@dataclass
class Decoder:
    """Decodes replies on a sequence.

    Attributes:
        sampling: how free tokens are chosen.
        jump: whether forced tokens share the pass of the token before them.
        drafter: what guesses ahead in the reply; None decodes without drafts. It serves one reply.
    """

    sampling: Sampling = field(default_factory=Sampling)
    jump: bool = True
    drafter: Drafter | None = None

    def reply(
        self,
        sequence: Sequence,
        logits: NDArray[np.float32],
        position: int,
        grammar: Grammar,
        context: Ids[int] = (),
        limits: Limits = Limits(),
        work: Work | None = None,
    ) -> Iterator[Token]:
        """Yields the tokens of a reply as they are decided, the end of the turn included.

        Args:
            sequence: holds the prompt.
            logits: [vocab] what the prompt's last token predicts.
            position: M-RoPE position of the first token of the reply.
            grammar: what may be said.
            context: ids of the prompt, for the repetition penalty and for drafts.
            limits: when to stop early; after `tokens` of them the reply just ends.
            work: is added to.
        """
        work = work or Work()
        work.replies += 1
        run = _Run(self, sequence, position, list(context), limits, work)
        return run.tokens(np.asarray(logits, dtype=np.float32), grammar)


class _Run:
    """One reply.

    Tokens are decided one by one. Of them the `pending` ids are not yet in the sequence; `ahead` ids are in the
    sequence but not yet decided (a draft); `rows` are the logits at hand, the first of which predicts the next token.
    """

    def __init__(
        self, decoder: Decoder, sequence: Sequence, position: int, known: list[int], limits: Limits, work: Work
    ) -> None:
        self.decoder, self.sequence, self.position = decoder, sequence, position
        self.known, self.limits, self.work = np.array(known, np.int64), limits, work
        self.pending: list[int] = []
        self.ahead: list[int] = []
        self.rows: list[NDArray[np.float32]] = []
        self.random = np.random.default_rng(decoder.sampling.seed)

    def tokens(self, logits: NDArray[np.float32], grammar: Grammar) -> Iterator[Token]:
        """See `Decoder.reply`. Whatever ends it, the sequence is left without a draft."""
        self.rows = [logits]
        try:
            yield from self._tokens(grammar)
        finally:
            self._drop_draft()

    def _tokens(self, grammar: Grammar) -> Iterator[Token]:
        for written in range(self.limits.tokens):
            self.limits.check(written)
            forced = grammar.forced
            if not self.rows and not (forced and self.decoder.jump):
                self._extend(grammar, self.limits.tokens - written - 1)
            token = self._forced(forced[0]) if forced else self._choose(grammar)
            yield token
            grammar = grammar.advance(token.id)
            if grammar.finished:
                return
            self._settle(token.id)
        self.work.cut += 1

    def _settle(self, token: int) -> None:
        """Brings the sequence in line with a decided token: a draft that guessed it stays, another is dropped."""
        self.known = np.append(self.known, token)
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
            self.ahead, self.rows = [], []

    def _judge(self, right: bool) -> None:
        if self.decoder.drafter is not None:
            self.decoder.drafter.judge(right)

    def _extend(self, grammar: Grammar, most: int) -> None:
        """Feeds what is decided, and a draft of at most `most` tokens behind it, in one pass."""
        drafter = self.decoder.drafter
        draft = drafter.propose(self.known, grammar, most) if drafter is not None else []
        chunk = self.pending + draft
        positions = text_positions(self.position, len(chunk))
        logits = self.sequence.extend(chunk, positions, rows=len(draft) + 1)
        self.rows, self.ahead, self.pending = list(logits), draft, []  # not before: a pass that fails feeds nothing
        self.position += len(chunk)
        self.work.steps += 1

    def _forced(self, token: int) -> Token:
        self.work.forced += 1
        return Token(token, None)

    def _choose(self, grammar: Grammar) -> Token:
        self.work.free += 1
        kind, sampling = grammar.kind, self.decoder.sampling
        scores = sampling.penalised(self.rows[0], self.known)
        mask = grammar.mask()
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        if kind is Kind.TEXT:
            return Token(sampling.draw(scores, self.random), kind)  # its probability is not used, and costs a pass
        probabilities, ladder = softmax(scores), grammar.ladder
        if ladder is not None and sampling.box_numbers == "median" and sampling.temperature == 0:
            token = median_id(probabilities, ladder)
        else:
            token = sampling.draw(scores, self.random)
        return Token(token, kind, float(probabilities[token]), probabilities if kind is Kind.NUMBER else None)
