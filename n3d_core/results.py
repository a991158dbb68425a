"""Results of a query, and the events reported while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from n3d_core.evidence import Evidence
from n3d_core.geometry.boxes import Box3D
from n3d_core.memory.objects import RememberedObject
from n3d_core.reasoning.audit import Verdict
from n3d_core.reasoning.question import NOTHING, Value

AnswerFrom = Literal["model", "geometry", "audited"]


@dataclass(frozen=True)
class StageStarted:
    """A stage begins: `prepare`, `vision`, `prefill`, `ground`, `reason` or `audit`. `times` has the same keys."""

    stage: str


@dataclass(frozen=True)
class BoxDecoded:
    """A box is complete; more may follow."""

    box: Box3D


@dataclass(frozen=True)
class TextDecoded:
    """The text that the running stage has written so far."""

    text_so_far: str


Event = StageStarted | BoxDecoded | TextDecoded
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Grounding:
    """The boxes of what a text names.

    Attributes:
        text: the model's replies in the structured language, including lines that did not count as found.
        boxes: in the camera's optical frame, metres; no duplicates, empty if nothing was found.
        times: milliseconds per stage.
        depth_valid: share of pixels with usable depth, 0..1.
        warnings: sentences for the user.
        evidence: one for each box.
        steps: forward passes of the decoder.
        tokens: tokens written in these; `forced` of them by the grammar, `drafted` from correct drafts.
    """

    text: str
    boxes: list[Box3D]
    times: dict[str, float]
    depth_valid: float
    warnings: list[str] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0
    forced: int = 0
    drafted: int = 0


@dataclass(frozen=True)
class Answer:
    """The answer to a question, audited against its boxes.

    Attributes:
        question: as asked, on one line.
        answer: the answer to act on, in words; `answer_from` says where it comes from.
        said: the model's own answer; empty if the model was not asked.
        reasoning: the model's chain of thought.
        verdict: `verified` if the question was understood, everything in it was found with evidence, and the model's
            answer is what the boxes give; `contradicted` if it is not; `not_seen` if something in the question is not
            in view; `unverifiable` if the boxes cannot tell, or the question was only guessed.
        verdict_reason: one sentence; empty if there is nothing to add.
        value: the answer in SI units; its `objects` are indices into `boxes`. `NOTHING` if it should not be acted on.
        boxes: what the question is about; in the camera's optical frame, metres.
        times, depth_valid, warnings: as in `Grounding`.
        text: the model's whole second reply.
        steps, tokens, forced, drafted: as in `Grounding`, over all replies.
        replies: number of decoded replies: one for each new phrase, and the reasoning.
        reason_steps, reason_tokens: of the reasoning alone.
        remembered: for an answer from memory, the object of the map behind each box; else empty.
        age: seconds since the least recently seen of them was seen.
    """

    question: str
    answer: str
    said: str
    reasoning: str
    verdict: Verdict
    verdict_reason: str
    value: Value = NOTHING
    boxes: list[Box3D] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    depth_valid: float = 0.0
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    steps: int = 0
    tokens: int = 0
    forced: int = 0
    drafted: int = 0
    replies: int = 0
    reason_steps: int = 0
    reason_tokens: int = 0
    remembered: list[RememberedObject] = field(default_factory=list)
    age: float = 0.0

    @property
    def corrected(self) -> str:
        """The answer that the boxes give, if it contradicts the model's; otherwise empty."""
        return self.answer if self.verdict == "contradicted" and self.answer != self.said else ""
