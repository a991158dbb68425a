"""The rule-based judge: compares a free-form answer with the true one.

Answers are parsed as in the audit (`n3d_core.reasoning`), by the meaning of the question. An answer that cannot be
parsed is wrong. Lengths must be within a share of the truth, in any unit; clock hours and counts must be exact. If a
question is not understood (published benchmarks), the answer must name the right object first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from n3d_core.reasoning.facts import named
from n3d_core.reasoning.lexicon import HOLDER, hold_names, release
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import TYPES, Form, Phrase, Question, QuestionType
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.said import Amount, StatedAnswer, Whereabouts, read_answer
from n3d_core.reasoning.units import UNITS, Length, to_metres

NUMERICAL = (
    "width", "height", "length", "thickness", "volume", "distance", "vertical_distance", "horizontal_distance", "gap",
    "direction", "count",
)  # fmt: skip
"""Question types that ask for a number, unless their form differs."""

_DEGREES = 15.0  # tolerance of a direction in degrees: half an hour on a clock
_ID = re.compile(r"(?<!\w)\d+_(?=[A-Za-z])")  # of `3_red mug`


def is_numerical(entry: dict[str, Any]) -> bool:
    """Whether the true answer is a number."""
    answer = entry["answer"]
    return isinstance(answer, int | float) and not isinstance(answer, bool)


def is_right(entry: dict[str, Any], labels: Sequence[str], said: str, tolerance: float = 0.25) -> bool:
    """Whether `said` answers a question of a truth file.

    Args:
        entry: an entry of `questions` in the truth file.
        labels: labels of all objects of the frame, in order.
        said: the answer.
        tolerance: maximum relative error of a length.
    """
    names, said = names_of(entry, labels), _ID.sub("", said)
    question = meaning(entry, names)
    if question is None:
        return _first_named_right(entry, names, said)
    names = _called(question, names)
    value, true = read_answer(question, names, said), entry["answer"]
    if isinstance(value, Length):
        return abs(value.metres - true_number(entry)) <= tolerance * abs(true_number(entry))
    if isinstance(value, Whereabouts):
        return value.away is not None and abs(value.away.metres - true_number(entry)) <= tolerance * true_number(entry)
    if isinstance(value, Amount) and entry["type"] == "direction":
        return abs((value.value - float(true) + 180.0) % 360.0 - 180.0) <= _DEGREES
    if isinstance(value, Amount):
        return abs(value.value - true_number(entry)) <= tolerance * abs(true_number(entry))
    if question.type == "dimensions":
        return isinstance(value, tuple) and _same_lengths(value, str(true), tolerance)
    if isinstance(true, list):
        wanted = [named(str(name), names) for name in true]
        places = [named(name, names) for name in value] if isinstance(value, tuple) else None
        return sorted(places or []) == sorted(wanted) if question.type == "related" else places == wanted
    if isinstance(true, str) and question.form == "choice":
        return isinstance(value, str) and named(value, names) == named(true, names)
    return value is not None and value == true


def _same_lengths(said: Sequence[str], true: str, tolerance: float) -> bool:
    """Whether three lengths in metres are the true ones, which stand as `0.19 x 0.15 x 0.15`."""
    wanted = [float(part) for part in true.split(" x ")]
    pairs = zip(said, wanted, strict=True)
    return len(said) == len(wanted) and all(abs(float(s) - w) <= tolerance * w for s, w in pairs)


def names_of(entry: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """The names of a question's objects, in the order of their roles."""
    return list(entry.get("names") or [labels[i] for i in entry["objects"]])


def meaning(entry: dict[str, Any], names: Sequence[str]) -> Question | None:
    """The parsed question of a truth file: by its type if it asks for a number, else by its wording.

    None if the wording is not understood, or differs from the entry's type and answer.
    """
    form, unit = entry.get("form") or _form(entry["answer"]), entry.get("unit")
    if form == "number":
        other = "distance" if unit in UNITS else "count"
        kind = entry["type"] if entry["type"] in (*NUMERICAL, "dimensions") else other
        return _asked(kind, form, names, unit if unit in (*UNITS, "deg", "l") else "m")
    for known in (names, ()):  # a name may coincide with a word of the question
        read = read_question(entry["text"], known)
        if isinstance(read, Question) and (read.type, read.form) == (entry["type"], form):
            return read
    return None


def _asked(kind: str, form: Form, names: Sequence[str], unit: str = "m", predicate: str = "") -> Question:
    """A question of a known type about objects with these names."""
    phrases = tuple(Phrase(name, name, named=True) for name in names)
    known: QuestionType = next((t for t in TYPES if t == kind), "distance")
    return Question(known, form, phrases, predicate, unit)


def _called(question: Question, names: list[str]) -> list[str]:
    """The names of the roles, taken from the wording if it has other ones (a benchmark's "anchor")."""
    asked = [phrase.label for phrase in question.objects]
    if len(asked) != len(names):
        return names
    return [own if named(own, asked) else other for own, other in zip(names, asked, strict=True)]


def _form(true: Any) -> Form:
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
    """Hours (0..6) between the answer and the true direction; None if unreadable or not a clock question."""
    hour = read_answer(_asked("direction", "number", ()), (), said)
    if entry["type"] != "direction" or not isinstance(hour, int):
        return None
    away = abs(hour - int(entry["answer"])) % 12
    return min(away, 12 - away)


def parse_truth(kind: str, names: Sequence[str], said: str, number: bool) -> Any:
    """The true answer in a sentence: metres, an hour or a count, True or False, one name or several.

    Returns the sentence itself if nothing can be extracted; answers must then match it literally.
    """
    if number:
        value = read_answer(_asked(kind if kind in NUMERICAL else "distance", "number", names), names, said)
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
    """Judges an answer to a question that is not understood."""
    true = entry["answer"]
    if isinstance(true, bool):
        return _yes_or_no(entry["type"], said) is true
    if isinstance(true, list):
        return [[i] for i in _mentioned(names, said)] == [named(str(name), names) for name in true]
    if true in PREDICATES:
        question = _asked(entry["type"], "free", names, predicate=true)
        return bool(read_answer(question, names, said) == true)
    wanted = named(true, names)
    if len(wanted) != 1:  # not the name of an object: compare literally
        return re.search(rf"\b{re.escape(true.lower())}\b", said.lower()) is not None
    return _chosen(entry["type"], _mentioned(names, said)) == wanted[0]


def _yes_or_no(kind: str, said: str) -> StatedAnswer | None:
    """An explicit yes or no; what else a sentence implies depends on the question."""
    return read_answer(_asked(kind, "yes_no", ()), (), said)


def _mentioned(names: Sequence[str], said: str) -> list[int]:
    """Indices of names (or of their last words, if unique) in the order of first mention in `said`."""
    heads = [name.split()[-1] for name in names]
    held, table = hold_names(said, [*names, *(h for h in heads if heads.count(h) == 1)])
    found = [named(release(holder, table), names) for holder in HOLDER.findall(held)]
    return list(dict.fromkeys(places[0] for places in found if len(places) == 1))


def _chosen(kind: str, mentioned: list[int]) -> int | None:
    """The object named first; for a relative distance, the first that is not the anchor."""
    rest = mentioned[1:] if kind == "relative_distance" and mentioned[:1] == [0] else mentioned
    return rest[0] if rest else None
