"""What a query returns, and what it reports while it runs."""

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
    """A stage begins: `prepare`, `vision`, `prefill`, `ground`, `reason` or `audit`; the keys of `times` too."""

    stage: str


@dataclass(frozen=True)
class BoxDecoded:
    """A box is complete; more may follow."""

    box: Box3D


@dataclass(frozen=True)
class TextDecoded:
    """Text of the running stage so far."""

    text_so_far: str


Event = StageStarted | BoxDecoded | TextDecoded
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Grounding:
    """Boxes that a text names.

    Attributes:
        text: the model's replies in the structured language, also the lines that are no find.
        boxes: in metres in the camera's optical frame; each object once. Empty if nothing was found.
        times: milliseconds of each stage.
        depth_valid: share of pixels with a usable depth.
        warnings: what a user should know of this result, as sentences.
        evidence: of each box.
        steps: forward passes of the decoder, in which it wrote `tokens`; of these the grammar `forced` some and others
            were `drafted` rightly.
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
    """An answer to a question, audited against the boxes it rests on.

    Attributes:
        question: as it was asked, on one line.
        answer: what to act on, in words; as `answer_from` chose it.
        said: the model's own answer; empty where it was not asked.
        reasoning: the model's chain of thought.
        verdict: `verified` only where the question was understood whole, all it names was found with evidence, and the
            answer is what the boxes give; `contradicted` where the model said otherwise; `not_seen` where something it
            names is not in view; `unverifiable` where the boxes cannot tell.
        verdict_reason: one sentence, empty where there is nothing to add.
        value: the answer in SI units; its `objects` are indices of `boxes`. Nothing where nobody should act on it.
        boxes: that the question is about; in metres in the camera's optical frame.
        times, depth_valid, warnings: as in `Grounding`.
        text: the model's whole second reply.
        steps, tokens, forced, drafted: of all replies, as in `Grounding`.
        replies: how many replies were decoded: one for each phrase that was not known yet, and the reasoning.
        reason_steps, reason_tokens: of the second reply alone.
        remembered: where the answer comes from memory, the object of the map behind each box; else empty.
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
        """The answer that the boxes give where they contradict the model's; else empty."""
        return self.answer if self.verdict == "contradicted" and self.answer != self.said else ""
