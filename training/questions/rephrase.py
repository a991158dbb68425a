"""Rewords questions with a language model; a rewording that lost a number, a name or the meaning is thrown away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.units import NUMBER_PATTERN
from training.questions.language_model import LanguageModel
from training.questions.samples import SpatialSample

_SYSTEM = (
    "You reword questions about objects in an image. Keep the meaning, every number, every unit and every object's "
    "name exactly as they are. Reply with the reworded question alone: one sentence."
)
_NUMBER = re.compile(rf"(?<![\w.]){NUMBER_PATTERN}")


def rephrase(samples: Iterable[SpatialSample], model: LanguageModel) -> tuple[list[SpatialSample], Counter[str]]:
    """The samples with their questions reworded where that is safe, and how many were kept back for which reason.

    Answer and reasoning stay as they are. The counter has `reworded`, `same`, and the reasons of `problem_with`.

    Raises:
        BackendError: if the model cannot be reached.
    """
    reworded, outcome = [], Counter[str]()
    for sample in samples:
        text = _one_line(model.reply(_SYSTEM, sample.text))
        reason = "same" if text == sample.text else problem_with(sample, text)
        outcome[reason or "reworded"] += 1
        reworded.append(sample if reason else replace(sample, text=text))
    return reworded, outcome


def problem_with(sample: SpatialSample, text: str) -> str:
    """Why a rewording of a sample's question cannot be used, empty if it can.

    `sentences`: the second pass sees only the first sentence. `numbers`, `names`: one is lost or added. `meaning`: the
    reader does not read the same question in it, of the same objects in the same roles.
    """
    if not text or re.search(r"[.?!].*\S", text.rstrip(".?! ")):
        return "sentences"
    if sorted(_NUMBER.findall(text)) != sorted(_NUMBER.findall(sample.text)):
        return "numbers"
    lower = f" {re.sub(r'[^a-z0-9_/-]+', ' ', text.lower())} "
    mentioned = [label.lower() for label in sample.labels if not sample.solution.question.among]
    if any(f" {label} " not in lower for label in mentioned):
        return "names"
    return "" if _same_meaning(sample, text) else "meaning"


def _same_meaning(sample: SpatialSample, text: str) -> bool:
    before, after = read_question(sample.text, sample.labels), read_question(text, sample.labels)
    return isinstance(before, Question) and before == after


def _one_line(text: str) -> str:
    return " ".join(text.split()).strip("\"' ")
