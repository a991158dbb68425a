"""Units of length in words and numbers: metres, centimetres, millimetres, feet and inches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from n3d_core.reasoning.lexicon import TERMINALS


@dataclass(frozen=True)
class Unit:
    """A unit of length: its symbol, its plural as the model writes it, its metres, and its usual decimals."""

    symbol: str
    plural: str
    metres: float
    decimals: int


UNITS = {
    "m": Unit("m", "meters", 1.0, 2),
    "cm": Unit("cm", "centimeters", 0.01, 1),
    "mm": Unit("mm", "millimeters", 0.001, 0),
    "ft": Unit("ft", "feet", 0.3048, 2),
    "in": Unit("in", "inches", 0.0254, 2),
}

_SYMBOLS = TERMINALS["UNIT"] | {"in": "in", "'": "ft", '"': "in"}
UNIT_PATTERN = f"(?:{'|'.join(sorted(_SYMBOLS, key=len, reverse=True))})"
NUMBER_PATTERN = r"[-+\u2212]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
_LENGTH = re.compile(rf"({NUMBER_PATTERN})\s*-?({UNIT_PATTERN})(?![\w'\"])", re.IGNORECASE)
_FEET_AND_INCHES = re.compile(
    rf"({NUMBER_PATTERN})\s*(?:ft|feet|foot|')\s*(?:and\s+)?({NUMBER_PATTERN})\s*(?:inch(?:es)?|in|\")(?!\w)",
    re.IGNORECASE,
)


def unit_symbol(word: str) -> str | None:
    """`m`, `cm`, `mm`, `ft` or `in` for a unit's word or symbol in any spelling, None for another word."""
    return _SYMBOLS.get(word.strip().lower().rstrip("."))


def to_metres(value: float, unit: str) -> float:
    """`value` in `unit` (a symbol) as metres."""
    return value * UNITS[unit].metres


def from_metres(metres: float, unit: str) -> float:
    """`metres` in `unit` (a symbol)."""
    return metres / UNITS[unit].metres


def number_text(value: float, decimals: int = 2) -> str:
    """A number as the published answers write it: rounded, at least one digit after the point (17.7, 3.0)."""
    return repr(round(float(value), decimals)) if decimals else str(round(value))


def length_text(metres: float, unit: str = "m") -> str:
    """A length in words: `0.91 meters`, `91.0 centimeters`, `910 millimeters`, `2.99 feet`."""
    kind = UNITS[unit]
    return f"{number_text(metres / kind.metres, kind.decimals)} {kind.plural}"


def decimals_of(text: str) -> int:
    """How many digits stand after the decimal point of a number's text."""
    mantissa = text.lower().split("e")[0]
    return len(mantissa.partition(".")[2])


def parse_number(text: str) -> float:
    """The value of a text that `NUMBER_PATTERN` matches (a Unicode minus is a minus)."""
    return float(text.replace("\u2212", "-"))


@dataclass(frozen=True)
class Length:
    """A length read from text: its metres, the unit's symbol, and how far rounding may have moved it, in metres.

    The model writes 2 decimals without trailing zeros, so `0.3 meters` means 0.30: the rounding is half a unit of
    the last digit written, or of the last that the unit usually has, whichever is finer.
    """

    metres: float
    unit: str
    resolution: float


def rounding(number: str, unit: str = "m") -> float:
    """How far the rounding of a written number in `unit` may have moved it, in metres; see `Length`."""
    return 0.5 * 10.0 ** -max(decimals_of(number), UNITS[unit].decimals) * UNITS[unit].metres


def find_lengths(text: str) -> list[Length]:
    """All finite numbers with a unit of length in `text`, in order; `5 feet 3 inches` is one of them."""
    found: list[tuple[int, Length]] = []
    taken: list[tuple[int, int]] = []
    for match in _FEET_AND_INCHES.finditer(text):
        metres = to_metres(parse_number(match[1]), "ft") + to_metres(parse_number(match[2]), "in")
        taken.append(match.span())
        if math.isfinite(metres):
            found.append((match.start(), Length(metres, "in", rounding(match[2], "in"))))
    for match in _LENGTH.finditer(text):
        if any(start <= match.start() < end for start, end in taken):
            continue
        unit = unit_symbol(match[2])
        if unit is not None and math.isfinite(parse_number(match[1])):
            length = Length(to_metres(parse_number(match[1]), unit), unit, rounding(match[1], unit))
            found.append((match.start(), length))
    return [length for _, length in sorted(found, key=lambda item: item[0])]
