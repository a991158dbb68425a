"""What a query gives back, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from n3d_core.geometry.boxes import Box3D

Verdict = Literal["verified", "contradicted", "unverifiable"]
AnswerFrom = Literal["model", "geometry", "audited"]


@dataclass(frozen=True)
class StageStarted:
    """A stage of the query begins: `look`, `ground` or `reason`."""

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
    """Boxes that a text names, in the model's order.

    Attributes:
        text: the whole reply in the structured language.
        boxes: in metres in the camera's optical frame, without those said twice or of too low a score; empty if the
            model finds none.
        times: milliseconds of each stage.
        depth_valid: share of pixels with a usable depth.
        warnings: what a user should know of this result, as sentences.
        evidence: of each box, the log probabilities of its decision, class and bins.
        steps: forward passes of the decoder, in which it wrote `tokens`; of these the grammar `forced` some and others
            were `drafted` rightly.
    """

    text: str
    boxes: list[Box3D]
    times: dict[str, float]
    depth_valid: float
    warnings: list[str] = field(default_factory=list)
    evidence: list[tuple[float, float, float]] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0
    forced: int = 0
    drafted: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer to a question, audited against the boxes it rests on.

    Attributes:
        question: as it was asked, on one line.
        answer: as `answer_from` chose it; empty if there is none.
        reasoning: the model's chain of thought.
        verdict: whether the boxes bear the model's answer out.
        corrected: the answer that the boxes give, where the model's is contradicted.
        verdict_reason: one sentence.
        boxes: that the question is about; in metres in the camera's optical frame.
        times, depth_valid, warnings: as in `Grounding`.
        text: the model's whole second reply.
        steps: forward passes of the decoder in both replies, in which it wrote `tokens`, of which the grammar `forced`
            some and others were `drafted` rightly.
    """

    question: str
    answer: str
    reasoning: str
    verdict: Verdict
    corrected: str
    verdict_reason: str
    boxes: list[Box3D]
    times: dict[str, float]
    depth_valid: float
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    steps: int = 0
    tokens: int = 0
    forced: int = 0
    drafted: int = 0
