"""The token loop: grammar, jump-forward, drafting, sampling, streaming, cancellation. Knows ids only.

Every fast way gives the ids that decoding one token at a time under the same grammar gives: forced tokens ride in the
chunk of the token before them, and a draft is kept only as far as the model would have chosen it itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ids
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.base import Sequence
from n3d_core.errors import ConfigError, QueryCancelledError, QueryTimeoutError
from n3d_core.language.box_grammar import Grammar, Kind
from n3d_core.network.generation import BoxNumbers, GenerationDefaults
from n3d_core.network.plan import text_positions

SamplingName = Literal["checkpoint", "greedy", "released"]

DRAFT_LENGTH = 3  # tokens of a draft; twice as many each time that a whole draft was right
LONGEST_DRAFT = 24
LONGEST_MATCH = 24  # tokens before a draft that are compared


@dataclass(frozen=True)
class Sampling:
    """How a free token is chosen. The default is greedy; `released` is what the reference's script asks for.

    Attributes:
        box_numbers: how the numbers of boxes are chosen at temperature 0.
        temperature: 0 for greedy.
        top_p, top_k: nucleus and count limits, as transformers applies them (k first, then p); 0 or 1 for none.
        repetition_penalty: divides positive and multiplies negative logits of ids in the context; 1 for none.
        seed: of the generator.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    box_numbers: BoxNumbers = "likeliest"

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or self.repetition_penalty <= 0:
            raise ConfigError(
                f"{self}: temperature >= 0, 0 < top_p <= 1, top_k >= 0 and repetition_penalty > 0 are wanted"
            )

    @classmethod
    def named(cls, name: str, defaults: GenerationDefaults, seed: int = 0) -> Sampling:
        """How a checkpoint with these defaults is decoded.

        Args:
            name: `greedy`; `checkpoint`: greedy but for the numbers of boxes, which are chosen as it asks for; or
                `released`: as the released scripts run it.

        Raises:
            ConfigError: if it is none of them.
        """
        if name not in get_args(SamplingName):
            raise ConfigError(f"sampling is {name!r}: one of {', '.join(get_args(SamplingName))} is wanted")
        if name == "released":
            return cls.released(defaults.repetition_penalty, seed)
        return cls(seed=seed, box_numbers=defaults.box_numbers if name == "checkpoint" else "likeliest")

    @classmethod
    def released(cls, repetition_penalty: float = 1.05, seed: int = 0) -> Sampling:
        """Temperature 0.6, top-p 0.95, top-k 10, and the checkpoint's own penalty."""
        return cls(0.6, 0.95, 10, repetition_penalty, seed)


@dataclass(frozen=True)
class Limits:
    """When to stop before the model does.

    Attributes:
        tokens: longest reply.
        cancel: asked between steps; True raises `QueryCancelledError`.
        deadline: `time.monotonic()` seconds after which `QueryTimeoutError` is raised.
    """

    tokens: int = 1024
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
    """What a reply cost: forward passes, and how many tokens needed none of their own."""

    steps: int = 0
    free: int = 0
    forced: int = 0
    drafted: int = 0

    @property
    def tokens(self) -> int:
        """That were written."""
        return self.free + self.forced


@dataclass
class Decoder:
    """Decodes replies on a sequence.

    Attributes:
        sampling: how free tokens are chosen.
        jump: whether forced tokens share the chunk of the token before them.
        draft: whether text that repeats the context is tried ahead (prompt lookup).
    """

    sampling: Sampling = field(default_factory=Sampling)
    jump: bool = True
    draft: bool = False

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
        """Gives the tokens of a reply as they are decided, the end of the turn included.

        Args:
            sequence: holds the prompt.
            logits: [vocab] what the prompt's last token predicts.
            position: M-RoPE position of the first token of the reply.
            grammar: what may be said.
            context: ids of the prompt, for the repetition penalty and for drafts.
            limits: when to stop early; at `tokens` the reply just ends.
            work: is counted up.
        """
        run = _Run(self, sequence, position, list(context), limits, work or Work())
        return run.tokens(np.asarray(logits, dtype=np.float32), grammar)


class _Run:
    """One reply.

    `written` tokens are decided. Of them the `pending` ids are not yet in the sequence; `ahead` ids are in the sequence
    but not yet decided (a draft); `rows` are the logits at hand, the first of which predicts the next token.
    """

    def __init__(
        self, decoder: Decoder, sequence: Sequence, position: int, known: list[int], limits: Limits, work: Work
    ) -> None:
        self.decoder, self.sequence, self.position = decoder, sequence, position
        self.known, self.limits, self.work = np.array(known, np.int64), limits, work
        self.pending: list[int] = []
        self.ahead: list[int] = []
        self.rows: list[NDArray[np.float32]] = []
        self.written = 0
        self.draft_length = DRAFT_LENGTH
        self.random = np.random.default_rng(decoder.sampling.seed)

    def tokens(self, logits: NDArray[np.float32], grammar: Grammar) -> Iterator[Token]:
        """See `Decoder.reply`. Whatever ends it, the sequence is left without a draft."""
        self.rows = [logits]
        try:
            yield from self._tokens(grammar)
        finally:
            self._forget_draft()

    def _tokens(self, grammar: Grammar) -> Iterator[Token]:
        for written in range(self.limits.tokens):
            self.written = written
            self.limits.check(written)
            forced = grammar.forced
            if not self.rows and not (forced and self.decoder.jump):
                self._extend()
            token = self._forced(forced[0]) if forced else self._choose(grammar)
            yield token
            grammar = grammar.advance(token.id)
            if grammar.finished:
                return
            self._settle(token.id)

    def _settle(self, token: int) -> None:
        """Brings the sequence in line with a decided token: a draft that guessed it stays, another is forgotten."""
        self.known = np.append(self.known, token)
        self.rows = self.rows[1:]
        if self.ahead and self.ahead[0] == token:
            self.ahead.pop(0)
            self.work.drafted += 1
            if not self.ahead:
                self.draft_length = min(2 * self.draft_length, LONGEST_DRAFT)
            return
        self._forget_draft()
        self.pending.append(token)

    def _forget_draft(self) -> None:
        if self.ahead:
            self.draft_length = DRAFT_LENGTH
            self.sequence.truncate(self.sequence.length - len(self.ahead))
            self.position -= len(self.ahead)
            self.ahead, self.rows = [], []

    def _extend(self) -> None:
        """Feeds what is decided, and a draft behind it, in one pass."""
        self.ahead = self._draft() if self.decoder.draft else []
        chunk = self.pending + self.ahead
        positions = text_positions(self.position, len(chunk))
        logits = self.sequence.extend(chunk, positions, rows=len(self.ahead) + 1)
        self.rows = list(logits)
        self.position += len(chunk)
        self.pending = []
        self.work.steps += 1

    def _draft(self) -> list[int]:
        """What followed the place in the context that shares most with what was said last; of several the last one.

        A wrong guess costs a few rows of a pass that is made anyway, so a single shared token is enough to try.
        """
        known = self.known
        ends = np.flatnonzero(known[:-1] == known[-1])
        if len(ends) == 0:
            return []
        for back in range(1, min(LONGEST_MATCH, len(known) - 1)):
            longer = ends[ends >= back]
            longer = longer[known[longer - back] == known[-1 - back]]
            if len(longer) == 0:
                break
            ends = longer
        start, left = int(ends[-1]) + 1, self.limits.tokens - self.written - 1
        found: list[int] = known[start : start + min(self.draft_length, left)].tolist()
        return found

    def _forced(self, token: int) -> Token:
        self.work.forced += 1
        return Token(token, None)

    def _choose(self, grammar: Grammar) -> Token:
        self.work.free += 1
        kind, scores = grammar.kind, self._penalised(self.rows[0])
        mask = grammar.mask()
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        if kind is Kind.TEXT:
            return Token(self._drawn(scores), kind)  # nobody asks how sure it is, and a large vocabulary is long
        probabilities, sampling, ladder = _softmax(scores), self.decoder.sampling, grammar.ladder
        if ladder is not None and sampling.box_numbers == "median" and sampling.temperature == 0:
            token = _median(probabilities, ladder)
        else:
            token = self._drawn(scores)
        return Token(token, kind, float(probabilities[token]), probabilities if kind is Kind.NUMBER else None)

    def _drawn(self, scores: NDArray[np.float32]) -> int:
        sampling = self.decoder.sampling
        if sampling.temperature == 0:
            return int(scores.argmax())
        shares = _truncated(scores / sampling.temperature, sampling)
        return int(self.random.choice(len(shares), p=shares))

    def _penalised(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        penalty = self.decoder.sampling.repetition_penalty
        if penalty == 1.0:
            return row
        row = row.copy()
        seen = np.unique(self.known)
        row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
        return row


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def _median(probabilities: NDArray[np.float32], ladder: NDArray[np.int64]) -> int:
    """The id on a ladder up to which half of the ladder's probability lies."""
    upto = np.cumsum(probabilities[ladder], dtype=np.float64)
    return int(ladder[np.searchsorted(upto, upto[-1] / 2)])


def _truncated(scores: NDArray[np.float32], sampling: Sampling) -> NDArray[np.float64]:
    """Shares left by top-k, then top-p (the token that crosses the limit stays), as transformers applies them."""
    order = np.argsort(-scores, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    shares = _softmax(scores[order].astype(np.float64))
    kept = np.concatenate([[True], np.cumsum(shares)[:-1] < sampling.top_p])
    out = np.zeros(len(scores))
    out[order[kept]] = shares[kept] / shares[kept].sum()
    return out
