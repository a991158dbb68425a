"""A language model as a second judge of answers, and its agreement with the rule-based judge.

The rule-based judge (`training.evaluation.answers`) decides; this one shows where its rules are too narrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from training.evaluation.answer_metrics import Answered
from training.questions.language_model import LanguageModel

_SYSTEM = (
    "You judge answers to questions about objects in an image. A length is right if it is within 25 % of the true one "
    "in any unit; a clock hour or a count must be exact; other answers must mean the same. Reply with the one word "
    "right or wrong."
)
_RIGHT, _WRONG = re.compile(r"\b(?:right|correct|yes)\b", re.I), re.compile(r"\b(?:wrong|incorrect|no|not)\b", re.I)


def model_says_right(model: LanguageModel, entry: dict[str, Any], said: str) -> bool | None:
    """A language model's verdict on an answer; None if its reply is neither right nor wrong."""
    truth = f"{entry['answer']} {entry.get('unit', '')}".strip()
    reply = model.reply(_SYSTEM, f"Question: {entry['text']}\nTrue answer: {truth}\nAnswer to judge: {said}")
    right, wrong = bool(_RIGHT.search(reply)), bool(_WRONG.search(reply))
    return None if right == wrong else right


def judge_report(answered: Iterable[Answered], model: LanguageModel) -> dict[str, Any]:
    """Compares the two judges on the model's own answers.

    Returns:
        Counts `both_right`, `both_wrong`, `rule_only`, `model_only` (only that judge says right) and `unread` (unusable
        reply), and `agreement`, a share 0..1 of the usable replies; None without any.

    Raises:
        BackendError: if the language model cannot be reached.
    """
    tally = dict.fromkeys(("both_right", "both_wrong", "rule_only", "model_only", "unread"), 0)
    for a in answered:
        said = str(a.entry.get("said", ""))
        opinion, rule = model_says_right(model, a.entry, said), a.right(said)
        if opinion is None:
            tally["unread"] += 1
        elif opinion == rule:
            tally["both_right" if rule else "both_wrong"] += 1
        else:
            tally["rule_only" if rule else "model_only"] += 1
    read = sum(tally.values()) - tally["unread"]
    agreed = tally["both_right"] + tally["both_wrong"]
    return {**tally, "agreement": agreed / read if read else None}
