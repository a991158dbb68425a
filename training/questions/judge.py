"""A language model as a second judge of answers, and how often it agrees with the rule judge.

The rule judge (`training.evaluation.answers`) decides; this one shows where its rules are too narrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.answers import is_right
from training.questions.language_model import LanguageModel

_SYSTEM = (
    "You judge answers to questions about objects in an image. A length is right if it is within 25 % of the true "
    "one in "
    "any unit; a clock hour or a count must be exact; other answers must mean the same. Reply with the one word "
    "right or "
    "wrong."
)
_RIGHT, _WRONG = re.compile(r"\b(?:right|correct|yes)\b", re.I), re.compile(r"\b(?:wrong|incorrect|no|not)\b", re.I)


@dataclass(frozen=True)
class Agreement:
    """How two judges compare on the same answers: both right, both wrong, only one right, and replies of no use."""

    both_right: int = 0
    both_wrong: int = 0
    rule_only: int = 0
    model_only: int = 0
    unread: int = 0

    @property
    def share(self) -> float:
        """Share of the judged answers on which they agree, 0..1."""
        agreed = self.both_right + self.both_wrong
        return agreed / max(agreed + self.rule_only + self.model_only, 1)


def model_says_right(model: LanguageModel, entry: dict[str, Any], said: str) -> bool | None:
    """A language model's opinion of an answer to a question of a truth file, None if its reply is neither word."""
    truth = f"{entry['answer']} {entry.get('unit', '')}".strip()
    reply = model.reply(_SYSTEM, f"Question: {entry['text']}\nTrue answer: {truth}\nAnswer to judge: {said}")
    right, wrong = bool(_RIGHT.search(reply)), bool(_WRONG.search(reply))
    return None if right == wrong else right


def agreement(model: LanguageModel, answered: Iterable[tuple[dict[str, Any], Sequence[str], str]]) -> Agreement:
    """Compares both judges on (question of a truth file, labels of the frame's objects, answer)."""
    tally = {"both_right": 0, "both_wrong": 0, "rule_only": 0, "model_only": 0, "unread": 0}
    for entry, labels, said in answered:
        opinion = model_says_right(model, entry, said)
        rule = is_right(entry, labels, said)
        if opinion is None:
            tally["unread"] += 1
        elif opinion == rule:
            tally["both_right" if rule else "both_wrong"] += 1
        else:
            tally["rule_only" if rule else "model_only"] += 1
    return Agreement(**tally)
