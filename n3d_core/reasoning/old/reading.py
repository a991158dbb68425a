"""Reads a question in free wording: its type, what is asked of it, and the objects it names.

Each rule is one family of wordings. The rules are tried from the most specific to the most general; a question that
none of them reads is None, it is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from n3d_core.reasoning.old.names import strip_article
from n3d_core.reasoning.old.question import Question
from n3d_core.reasoning.old.reading_numbers import read_count, read_direction, read_distance, read_size
from n3d_core.reasoning.old.reading_relations import (
    read_choice,
    read_depth_order,
    read_extreme,
    read_free,
    read_relative_distance,
    read_yes_no,
)
from n3d_core.reasoning.old.stripping import requested_unit, strip_question

MAX_QUESTION = 400
"""Characters; longer questions are not read (the patterns' cost grows faster than the text)."""

_RULES = (
    read_direction,
    read_depth_order,
    read_count,
    read_relative_distance,
    read_size,
    read_distance,
    read_free,
    read_choice,
    read_extreme,
    read_yes_no,
)
_HOLDER = re.compile(r"\u27e6(\d+)\u27e7")
_BRACKETS = re.compile(r"[\u27e6\u27e7]")


def read_question(text: str, names: Sequence[str] = ()) -> Question | None:
    """The meaning of a question, or None if no rule reads it.

    Args:
        text: the question in English, in any wording that the rules know.
        names: names of the objects at hand, where known: they are recognised whole, whatever words they contain.
    """
    text = " ".join(text.replace("<image>", " ").split())
    if len(text) > MAX_QUESTION:
        return None
    sentences = re.split(r"(?<=[.?!]) ", text)
    for candidate in dict.fromkeys((text, *(s for s in sentences if s.endswith("?")), *sentences)):
        question = _read_sentence(candidate, names)
        if question is not None:
            return replace(question, unit=requested_unit(text) or question.unit)
    return None


def _read_sentence(text: str, names: Sequence[str]) -> Question | None:
    core = strip_question(text)
    held, table = _hold_names(core.text, names)
    for rule in _RULES if held else ():
        question = rule(replace(core, text=held))
        if question is not None and all(question.names):
            return _release_names(question, table)
    return None


def _hold_names(text: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Replaces the known names in `text` by placeholders, the longest first."""
    text = _BRACKETS.sub("", text)  # a text may hold them too
    table = sorted({n for n in names if _BRACKETS.sub("", n).strip()}, key=len, reverse=True)
    for i, name in enumerate(table):
        words = r"\s+".join(re.escape(w) for w in _BRACKETS.sub("", name).split())
        text = re.sub(rf"(?<![\w\u27e6]){words}(?![\w\u27e7])", f"\u27e6{i}\u27e7", text, flags=re.IGNORECASE)
    return text, table


def _release_names(question: Question, table: list[str]) -> Question:
    def release(name: str) -> str:
        return strip_article(_HOLDER.sub(lambda m: table[int(m[1])], name))

    return replace(question, names=tuple(release(n) for n in question.names), among=release(question.among))
