"""The reference's way on the same weights, image and questions, beside what ours took."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from n3d_core.bench.reference import ReferenceModel
from n3d_core.bench.repeated import median_of, repeated
from n3d_core.language.codec import BoxCodec
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.preprocess import VisionInput

log = logging.getLogger("n3d.bench")


@dataclass(frozen=True)
class OurWay:
    """Two questions about a frame as ours answered them, and all that the reference needs to answer them too.

    Attributes:
        question_ms: a first question without the preparation of the frame, which is the same for both ways.
        second_question_ms: another one about the same frame.
        answers: what was written in the second pass of each.
        image, codec: the prepared frame.
        replies: prescribed for both passes of a question; None where the weights decide.
    """

    questions: tuple[str, str]
    answers: tuple[str, str]
    question_ms: float
    second_question_ms: float
    image: VisionInput
    codec: BoxCodec
    replies: list[list[int]] | None


def compare(folder: Path, ours: OurWay, repeat: int) -> dict[str, Any]:
    """Figures of the reference's way and the ratios of both, by the names of the JSON line.

    Raises:
        MissingDependencyError: if transformers is not installed.
    """
    log.info("loading the same weights as the released scripts do")
    tokenizer = Tokenizer(folder / "tokenizer.json")
    theirs = ReferenceModel(folder, tokenizer, "cuda" if torch.cuda.is_available() else "cpu")

    def asked(question: str) -> list[Any]:
        log.info("asking as the released scripts do")
        return repeated(lambda: theirs.answer(question, ours.image, ours.codec, ours.replies), repeat)

    first = asked(ours.questions[0])
    # Nothing is kept between its questions: the same one asked again is a second one.
    second = first if ours.questions[0] == ours.questions[1] else asked(ours.questions[1])
    times = [median_of(run.seconds * 1e3 for run in runs) for runs in (first, second)]
    said = [first[0].reasoning, second[0].reasoning]
    return {
        "reference_question_ms": times[0],
        "reference_runs": len(first),
        "reference_tokens": first[0].tokens,
        "reference_answers": said,
        "answers_equal": [a == b for a, b in zip(ours.answers, said, strict=True)],
        "question_speedup": round(times[0] / ours.question_ms, 2),
        "second_question_speedup": round(times[1] / ours.second_question_ms, 2),
    }
