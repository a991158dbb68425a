"""One question asked twice of a frame: how long each part takes, and how much work was saved."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from n3d_core.bench.observed import ObservedBackend
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.structured import parse, serialise
from n3d_core.n3d import N3D, View
from n3d_core.results import Answer, BoxDecoded


@dataclass
class QuestionRun:
    """A frame and two questions, in milliseconds. `first` holds looking, both passes and the audit.

    `prefix_tokens` stand before a question: the system prompt and the image.
    """

    first: float
    second: float
    prepare: float
    stages: dict[str, float]
    first_box: float | None
    vision_runs: int
    prefix_tokens_recomputed: int
    prefix_tokens: int
    answers: list[Answer]
    view: View


def ask_twice(
    model: N3D, frame: Frame, questions: tuple[str, str], replies: list[list[int]] | None = None
) -> QuestionRun:
    """Looks at a frame and asks two questions about it.

    Args:
        model: whose backend is an `ObservedBackend`.
        replies: prescribed for both passes of either question, for random weights.
    """
    backend = model.backend
    assert isinstance(backend, ObservedBackend)
    backend.forget()
    if replies is not None:
        backend.prescribe(reply_cue(model), [*replies, *replies])
    boxes: list[float] = []
    started = time.perf_counter()

    def listen(event: Any) -> None:
        if isinstance(event, BoxDecoded):
            boxes.append(_ms(started))

    view = model.look(frame)
    prefix = sum(tokens for tokens, _ in backend.seen.passes)
    first = view.ask(questions[0], on_event=listen)
    ended, between = _ms(started), time.perf_counter()
    second = view.ask(questions[1])
    return QuestionRun(
        first=ended,
        second=_ms(between),
        prepare=view.times["prepare"],
        stages=first.times,
        first_box=boxes[0] if boxes else None,
        vision_runs=backend.seen.vision_runs,
        prefix_tokens_recomputed=backend.seen.prefix_tokens_recomputed,
        prefix_tokens=prefix,
        answers=[first, second],
        view=view,
    )


def reply_cue(model: N3D) -> list[int]:
    """The tokens behind which a reply begins."""
    return model.tokenizer.encode(prompts.SUFFIX)


def median_stages(runs: list[QuestionRun]) -> dict[str, float]:
    """Median of each stage's milliseconds."""
    return {stage: round(statistics.median(r.stages[stage] for r in runs), 2) for stage in runs[0].stages}


def parse_ms(run: QuestionRun) -> float:
    """Milliseconds to read the first answer's boxes from their text, and to turn their bins into metres."""
    codec = run.view.codec
    text = serialise([codec.encode(box) for box in run.answers[0].boxes])
    started = time.perf_counter()
    for code in parse(text):
        codec.decode(code)
    return _ms(started)


def saved_steps(run: QuestionRun) -> dict[str, int]:
    """What each technique saved in both questions: passes of the decoder, and tokens of the prefix.

    Without any of them every token but a reply's first takes a pass, and each of the replies the whole prefix.
    """
    answers = run.answers
    replies = 2 * len(answers)
    drafted = sum(a.drafted for a in answers)
    saved = sum(a.tokens - a.steps for a in answers) - replies
    return {
        "jump_forward": max(saved - drafted, 0),
        "drafts": drafted,
        "prefix_tokens": (replies - 1) * run.prefix_tokens - run.prefix_tokens_recomputed,
        "vision_runs": replies - run.vision_runs,
    }


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000
