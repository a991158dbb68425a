"""The rule judge: compares an answer in free words with the true one.

Answers are read as the audit reads them (`n3d_core.reasoning`), by the meaning of the question's wording. One that
cannot be read is wrong. Lengths count within a share of the truth, in metres whatever the unit; clock hours and
counts must be exact. Where a question's wording is not understood (published benchmarks), an answer names the right
object first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from n3d_core.reasoning.old.answers import Answer, read_answer
from n3d_core.reasoning.old.claims import hold_names, release
from n3d_core.reasoning.old.names import matching
from n3d_core.reasoning.old.question import NUMERICAL, Question
from n3d_core.reasoning.old.reading import read_question
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import UNITS, Length, to_metres

_HOLDER = re.compile(r"\u27e6\d+\u27e7")
_ID = re.compile(r"(?<!\w)\d+_(?=[A-Za-z])")  # of `3_red mug`


def is_numerical(entry: dict[str, Any]) -> bool:
    """Whether a question of a truth file asks for a number."""
    return entry["type"] in NUMERICAL


def is_right(entry: dict[str, Any], labels: Sequence[str], said: str, tolerance: float = 0.25) -> bool:
    """Whether `said` answers a question of a truth file.

    Args:
        entry: of `questions` in the truth file.
        labels: of all objects of the frame, in their order.
        said: the answer.
        tolerance: relative error that a length may have.
    """
    names, said = names_of(entry, labels), _ID.sub("", said)
    question = meaning(entry, names)
    if question is None:
        return _first_named_right(entry, names, said)
    names = _called(question, names)
    value, true = read_answer(question, names, said), entry["answer"]
    if isinstance(value, Length):
        return abs(value.metres - true_number(entry)) <= tolerance * abs(true_number(entry))
    if isinstance(true, list):
        wanted = [matching(str(name), names) for name in true]
        return isinstance(value, tuple) and [matching(name, names) for name in value] == wanted
    if isinstance(true, str) and question.form == "choice":
        return isinstance(value, str) and matching(value, names) == matching(true, names)
    return value is not None and value == true


def names_of(entry: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """The objects of a question in the order of their roles, as they are called."""
    return list(entry.get("names") or [labels[i] for i in entry["objects"]])


def meaning(entry: dict[str, Any], names: Sequence[str]) -> Question | None:
    """What a question of a truth file asks for: by its type where it asks for a number, else by its wording.

    None where the wording is not understood, or asks for something else than the entry's type and answer say.
    """
    form, unit = _form(entry["answer"]), entry.get("unit")
    if form == "number":
        other = "distance" if unit in UNITS else "count"
        kind = entry["type"] if is_numerical(entry) else other
        return Question(kind, form, tuple(names), unit=unit if unit in UNITS else "m")
    read = read_question(entry["text"], names)
    return read if read is not None and (read.type, read.form) == (entry["type"], form) else None


def _called(question: Question, names: list[str]) -> list[str]:
    """The names of the roles; those that the wording does not know (a benchmark's "anchor") by the wording."""
    if len(question.names) != len(names):
        return names
    return [own if matching(own, question.names) else asked for own, asked in zip(names, question.names, strict=True)]


def _form(true: Any) -> str:
    if isinstance(true, bool):
        return "yes_no"
    if isinstance(true, int | float):
        return "number"
    if isinstance(true, list):
        return "order"
    return "free" if true in PREDICATES else "choice"


def true_number(entry: dict[str, Any]) -> float:
    """The true number: metres for a length, an hour or a count."""
    unit = entry.get("unit")
    return to_metres(float(entry["answer"]), unit) if unit in UNITS else float(entry["answer"])


def clock_error(entry: dict[str, Any], said: str) -> int | None:
    """Hours (0..6) between the answer and the true direction; None if it cannot be read or is no clock question."""
    hour = read_answer(Question("direction", "number"), (), said)
    if entry["type"] != "direction" or not isinstance(hour, int):
        return None
    away = abs(hour - int(entry["answer"])) % 12
    return min(away, 12 - away)


def parse_truth(kind: str, names: Sequence[str], said: str, number: bool) -> Any:
    """The true answer that a sentence gives: metres, hour or count, True or False, a name or names.

    The sentence itself where nothing can be read out of it; it must then be met word for word.
    """
    if number:
        value = read_answer(Question(kind if kind in NUMERICAL else "distance", "number"), names, said)
        if value is not None:
            return value.metres if isinstance(value, Length) else value
    truth = _yes_or_no(kind, said)
    if truth is not None:
        return truth
    mentioned = _mentioned(names, said)
    if kind == "depth_order" and len(mentioned) == len(names) > 1:
        return [names[i] for i in mentioned]
    chosen = _chosen(kind, mentioned)
    return said.strip(" .") if chosen is None else names[chosen]


def _first_named_right(entry: dict[str, Any], names: Sequence[str], said: str) -> bool:
    """The judgement where the question's wording does not say what its answer means."""
    true = entry["answer"]
    if isinstance(true, bool):
        return _yes_or_no(entry["type"], said) is true
    if isinstance(true, list):
        return [[i] for i in _mentioned(names, said)] == [matching(str(name), names) for name in true]
    if true in PREDICATES:
        question = Question(entry["type"], "free", tuple(names), true)
        return bool(read_answer(question, names, said) == true)
    wanted = matching(true, names)
    if len(wanted) != 1:  # no object's name: the words themselves
        return re.search(rf"\b{re.escape(true.lower())}\b", said.lower()) is not None
    return _chosen(entry["type"], _mentioned(names, said)) == wanted[0]


def _yes_or_no(kind: str, said: str) -> Answer | None:
    """Yes or no in so many words; what a sentence implies depends on the question."""
    return read_answer(Question(kind, "yes_no"), (), said)


def _mentioned(names: Sequence[str], said: str) -> list[int]:
    """Indices of the names in the order in which `said` first mentions them, or their last words where those differ."""
    heads = [name.split()[-1] for name in names]
    held, table = hold_names(said, [*names, *(h for h in heads if heads.count(h) == 1)])
    found = [matching(release(holder, table), names) for holder in _HOLDER.findall(held)]
    return list(dict.fromkeys(places[0] for places in found if len(places) == 1))


def _chosen(kind: str, mentioned: list[int]) -> int | None:
    """The object that is named first; of a relative distance the first that is not the anchor."""
    rest = mentioned[1:] if kind == "relative_distance" and mentioned[:1] == [0] else mentioned
    return rest[0] if rest else None
