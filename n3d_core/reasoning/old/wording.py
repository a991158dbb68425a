"""The words in which relations and attributes are asked for and stated, as regular expressions.

Patterns are matched on text with single spaces, without regard to case.
"""

from __future__ import annotations

import re
from functools import cache

THAN = r"(?:than|compared (?:to|with)|relative to|as compared to|when compared to)"
CAMERA = (
    r"(?:(?:the |this )?(?:camera|viewer|observer|photographer)(?: taking this (?:photo|picture|image))?|us|me|you)"
)
_FAR = r"(?:more|further|farther)"
_MORE = r"(?:more|greater|larger|bigger|most|greatest|largest|biggest)"
_LESS = r"(?:less|smaller|lesser|lower|least|smallest|lowest)"


def _side(word: str) -> str:
    """Between A and B: `to the left of`, `further left than`, `on the left-hand side of`."""
    side = rf"{word}(?:[- ]hand)?(?: side)?"
    return rf"(?:{_FAR} )?(?:(?:to|on|at|towards?) )?(?:the |its )?{side} (?:of|from|{THAN})"


def _end(word: str) -> str:
    """Of one among several: `leftmost`, `further to the left`, `on the left side`."""
    how = r"(?:(?:further|farther|furthest|farthest|most|more) )?"
    return rf"{word}[- ]?most|{how}(?:(?:to|on|at|towards?) )?(?:the )?{word}(?:[- ]hand)?(?: side)?"


def _extent(noun: str, more: str) -> str:
    return rf"(?:an? |the )?{more} (?:in )?{noun}"


RELATION_PHRASES: tuple[tuple[str, str], ...] = (
    ("left", _side("left")),
    ("right", _side("right")),
    ("front", rf"in front of|ahead of|in the foreground of|in front {THAN}|(?:closer|nearer)(?: to {CAMERA})? {THAN}"),
    ("behind", r"(?:further |farther )?behind|in back of|at the back of|beyond"),
    ("behind", rf"(?:further|farther)(?: away| back)?(?: from {CAMERA})? {THAN}"),
    ("above", rf"above|over|higher(?: up)? {THAN}|at a (?:higher|greater) (?:position|elevation|level) {THAN}"),
    ("below", rf"below|beneath|under(?:neath)?|lower(?: down)? {THAN}"),
    ("below", rf"at a lower (?:position|elevation|level) {THAN}"),
    ("wider", rf"(?:wider|broader|{_extent('width', _MORE)}|(?:larger|greater) in width) {THAN}"),
    ("thinner", rf"(?:thinner|narrower|slimmer|less (?:wide|broad)|{_extent('width', _LESS)}) {THAN}"),
    ("taller", rf"(?:taller|{_extent('height', _MORE)}) {THAN}"),
    ("shorter", rf"(?:shorter|less tall|{_extent('height', _LESS)}) {THAN}"),
    ("bigger", rf"(?:bigger|larger|more voluminous|{_extent('(?:size|volume)', _MORE)}) {THAN}"),
    ("smaller", rf"(?:smaller|tinier|less (?:big|large|voluminous)|{_extent('(?:size|volume)', _LESS)}) {THAN}"),
)
"""(predicate, pattern) of what stands between A and B: `A is <phrase> B`."""

SUPERLATIVE_ADJECTIVES: tuple[tuple[str, str], ...] = (
    ("left", r"left[- ]?most"),
    ("right", r"right[- ]?most"),
    ("front", r"nearest|closest|frontmost|foremost"),
    ("behind", r"furthest|farthest|rearmost|deepest|most distant"),
    ("above", r"highest|topmost|uppermost"),
    ("below", r"lowest|bottommost|lowermost"),
    ("wider", r"widest|broadest"),
    ("thinner", r"thinnest|narrowest|slimmest"),
    ("taller", r"tallest"),
    ("shorter", r"shortest"),
    ("bigger", r"biggest|largest"),
    ("smaller", r"smallest|tiniest"),
)
"""(predicate, pattern) of adjectives that stand before a noun: `the <adjective> mug`."""

_SIZED = r"(?: in (?:size|volume|terms of size))?"
ATTRIBUTE_PHRASES: tuple[tuple[str, str], ...] = (
    ("left", _end("left")),
    ("right", _end("right")),
    ("front", rf"(?:closer|closest|nearer|nearest)(?: to {CAMERA})?|(?:most )?in front|in the foreground|less deep"),
    ("front", _extent("depth", _LESS)),
    ("behind", rf"(?:further|farther|furthest|farthest)(?: away)?(?: back)?(?: from {CAMERA})?|behind|deeper"),
    ("behind", rf"(?:most|more) distant(?: from {CAMERA})?|at the back|{_extent('depth', _MORE)}"),
    ("above", r"(?:higher|highest)(?: up)?|above|on top|at a higher (?:position|level|elevation)"),
    ("below", r"(?:lower|lowest)(?: down)?|below|underneath|at a lower (?:position|level|elevation)"),
    ("wider", rf"wider|broader|{_extent('width', _MORE)}"),
    ("thinner", rf"thinner|narrower|slimmer|(?:less|least) (?:wide|broad)|{_extent('width', _LESS)}"),
    ("taller", rf"taller|{_extent('height', _MORE)}"),
    ("shorter", rf"shorter|(?:less|least) tall|{_extent('height', _LESS)}"),
    (
        "bigger",
        rf"(?:bigger|biggest|larger|largest){_SIZED}|{_extent('(?:size|volume)', _MORE)}|(?:more|most) voluminous",
    ),
    (
        "smaller",
        rf"(?:smaller|smallest|tinier){_SIZED}|{_extent('(?:size|volume)', _LESS)}|(?:less|least) (?:big|large)",
    ),
    *SUPERLATIVE_ADJECTIVES,
)
"""(predicate, pattern) of what one of several objects is: `which is <phrase>?`"""

CLOSER = r"(?P<near>closer|closest|nearer|nearest|less far|less distant)"
FARTHER = r"(?P<far>farther|further|farthest|furthest|more distant|most distant)"

_CAMERA_WORDS = re.compile(rf"{CAMERA}|(?:the )?(?:camera|viewer|observer)'s position", re.IGNORECASE)


def is_camera(name: str) -> bool:
    """Whether a mention is the camera or whoever looks through it."""
    return _CAMERA_WORDS.fullmatch(name.strip()) is not None


def compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    """Patterns made once, when their module is imported: the first question should not wait for tens of them.

    Python's own cache forgets them again in a process that lives long.
    """
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


def any_of(table: tuple[tuple[str, str], ...]) -> str:
    """One alternation of a table's patterns."""
    return "(?:" + "|".join(pattern for _, pattern in table) + ")"


def predicate_of(phrase: str, table: tuple[tuple[str, str], ...]) -> str | None:
    """The predicate whose pattern is the whole `phrase`, None if none is."""
    phrase = " ".join(phrase.split())
    return next((name for name, pattern in table if _whole(pattern).fullmatch(phrase)), None)


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})", re.IGNORECASE)
