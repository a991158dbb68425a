"""The rule judge: reads an answer in free words and compares it with the true one.

An answer that cannot be read is wrong. Lengths count within a share of the truth, in metres whatever the unit; clock
hours and counts must be exact (`near` tells hours that are one off). Choices and orders are read from where the
objects are named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from n3d_core.reasoning.names import matching
from n3d_core.reasoning.question import NUMERICAL
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import UNITS, find_lengths, to_metres
from n3d_core.reasoning.wording import RELATION_PHRASES

_YES = re.compile(r"\b(?:true|yes|correct)\b", re.IGNORECASE)
_NO = re.compile(r"\b(?:false|no|not|incorrect|isn't)\b", re.IGNORECASE)
_HOUR = re.compile(r"(\d{1,2})(?::00)?\s*o['\u2019]?\s*clock", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w_])")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


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
    true = entry["answer"]
    if isinstance(true, bool):
        return _truth(said) is true
    if isinstance(true, int | float):
        return _number_right(entry, float(true), said, tolerance)
    names = list(entry.get("names") or [labels[i] for i in entry["objects"]])
    if isinstance(true, list):
        return _order_right([str(n) for n in true], names, said)
    if true in PREDICATES:
        return _relation(said, names) == true
    return _choice_right(entry, str(true), names, said)


def parse_truth(kind: str, names: Sequence[str], said: str, number: bool) -> Any:
    """The true answer that a sentence gives: metres, hour or count, True or False, a name or names.

    The sentence itself where nothing can be read out of it; it must then be met word for word.
    """
    if number:
        unit = "" if kind in ("direction", "count") else "m"
        value = read_number({"type": kind, "unit": unit}, said)
        if value is not None:
            return float(value) if unit else int(value)
    truth = _truth(said)
    if truth is not None:
        return truth
    mentioned = _mentions(names, said)
    if kind == "depth_order" and len(mentioned) == len(names) > 1:
        return [names[i] for i in mentioned]
    if kind == "relative_distance" and mentioned[:1] == [0]:
        mentioned = mentioned[1:]
    return names[mentioned[0]] if mentioned else said.strip(" .")


def clock_error(entry: dict[str, Any], said: str) -> int | None:
    """Hours (0..6) between the answer and the true direction; None if it cannot be read or is no clock question."""
    hour = read_hour(said)
    if entry["type"] != "direction" or hour is None:
        return None
    away = abs(hour - int(entry["answer"])) % 12
    return min(away, 12 - away)


def read_hour(said: str) -> int | None:
    """The clock hour 1..12 of an answer."""
    match = _HOUR.search(said)
    hour = int(match[1]) if match else next((i for i in range(1, 13) if f"{_WORDS[i]} o" in said.lower()), 0)
    return hour if 1 <= hour <= 12 else None


def read_number(entry: dict[str, Any], said: str) -> float | None:
    """The number of an answer: metres for a length, an hour, or a count."""
    if entry["type"] == "direction":
        return read_hour(said)
    lengths = find_lengths(said)
    if entry.get("unit") in UNITS and lengths:
        return lengths[-1].metres
    plain = [float(m) for m in _NUMBER.findall(said)]
    if not plain:
        plain = [float(i) for i, word in enumerate(_WORDS) if re.search(rf"\b{word}\b", said, re.IGNORECASE)]
    if len(plain) != 1:
        return None
    unit = entry.get("unit")
    return to_metres(plain[0], unit) if unit in UNITS else plain[0]


def true_number(entry: dict[str, Any]) -> float:
    """The true number in the same terms as `read_number`."""
    unit = entry.get("unit")
    return to_metres(float(entry["answer"]), unit) if unit in UNITS else float(entry["answer"])


def _number_right(entry: dict[str, Any], true: float, said: str, tolerance: float) -> bool:
    value = read_number(entry, said)
    if value is None:
        return False
    if entry["type"] in ("direction", "count"):
        return value == true
    return abs(value - true_number(entry)) <= tolerance * abs(true_number(entry))


def _truth(said: str) -> bool | None:
    yes, no = bool(_YES.search(said)), bool(_NO.search(said))
    return None if yes == no else yes


def _mentions(names: Sequence[str], said: str) -> list[int]:
    """Indices of the names in the order in which `said` first mentions them; longer names are read first."""
    text = said.lower()
    places: dict[int, int] = {}
    wordings = [(name.lower(), i) for i, name in enumerate(names)]
    last = [name.lower().split()[-1] for name in names]
    wordings += [(word, i) for i, word in enumerate(last) if last.count(word) == 1]
    for wording, index in sorted(wordings, key=lambda w: -len(w[0])):
        match = re.search(rf"(?:\b\d+_|\b){re.escape(wording)}\b", text)
        if match and index not in places:
            places[index] = match.start()
            text = text[: match.start()] + "#" * len(match[0]) + text[match.end() :]
    return sorted(places, key=lambda i: places[i])


def _choice_right(entry: dict[str, Any], true: str, names: list[str], said: str) -> bool:
    """The first object that is named is the chosen one; of a relative distance the first that is not the anchor."""
    chosen = matching(true, names)
    if len(chosen) != 1:  # no object's name: the words themselves
        return re.search(rf"\b{re.escape(true.lower())}\b", said.lower()) is not None
    mentioned = _mentions(names, said)
    if entry["type"] == "relative_distance" and mentioned[:1] == [0]:
        mentioned = mentioned[1:]
    return mentioned[:1] == chosen


def _order_right(true: list[str], names: list[str], said: str) -> bool:
    wanted = [matching(name, names) for name in true]
    return [[i] for i in _mentions(names, said)] == wanted


def _relation(said: str, names: list[str]) -> str | None:
    """The predicate that `said` states of the first object."""
    stated = next((p for p, pattern in RELATION_PHRASES if re.search(rf"\b{pattern}", said, re.IGNORECASE)), None)
    if stated is None or not re.search(r"\w", said):
        return None
    mentioned = _mentions(names, said)
    return PREDICATES[stated].converse if mentioned[:1] == [1] else stated
