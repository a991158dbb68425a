"""The words in which relations, attributes and views are asked for and stated, as regular expressions."""

from __future__ import annotations

import re

from n3d_core.reasoning.units import UNIT_PATTERN

_THAN = r"(?:than|compared (?:to|with)|relative to|when compared (?:to|with)|as compared to)"
_FAR = r"(?:more|further|farther)"
_SIDE = r"(?:[- ]hand)?(?: side)?"

RELATION_PHRASES: list[tuple[str, str]] = [
    ("left", rf"(?:{_FAR} )?(?:to|on|at|towards?) (?:the |its )?left{_SIDE} (?:of|{_THAN})"),
    ("left", rf"(?:{_FAR} )?left (?:of|{_THAN})|left (?:from|of)"),
    ("right", rf"(?:{_FAR} )?(?:to|on|at|towards?) (?:the |its )?right{_SIDE} (?:of|{_THAN})"),
    ("right", rf"(?:{_FAR} )?right (?:of|{_THAN})|right (?:from|of)"),
    ("front", rf"in front of|ahead of|in the foreground of|before|in front {_THAN}"),
    ("front", rf"(?:closer|nearer) to (?:the |this )?(?:camera|viewer|observer|photographer|us|me|you) {_THAN}"),
    ("front", rf"(?:closer|nearer) {_THAN}"),
    ("behind", rf"(?:further |farther )?behind|in back of|at the back of|beyond|(?:further|farther) back {_THAN}"),
    (
        "behind",
        rf"(?:further|farther)(?: away)? from (?:the |this )?(?:camera|viewer|observer|photographer|us|me|you) {_THAN}",
    ),
    ("behind", rf"(?:further|farther)(?: away)? {_THAN}"),
    ("above", rf"above|over|higher(?: up)? {_THAN}|at a (?:higher|greater) (?:position|elevation|level) {_THAN}"),
    ("below", rf"below|beneath|under|underneath|lower(?: down)? {_THAN}|at a lower (?:position|elevation|level) {_THAN}"),
    ("wider", rf"(?:wider|broader|larger in width|greater in width) {_THAN}"),
    ("wider", rf"(?:a )?(?:greater|larger|bigger|more) (?:in )?width {_THAN}"),
    ("thinner", rf"(?:thinner|narrower|slimmer|smaller in width|less wide) {_THAN}"),
    ("thinner", rf"(?:a )?(?:smaller|lesser|lower|less) (?:in )?width {_THAN}"),
    ("taller", rf"(?:taller|larger in height|greater in height) {_THAN}"),
    ("taller", rf"(?:a )?(?:greater|larger|bigger|more) (?:in )?height {_THAN}"),
    ("shorter", rf"(?:shorter|smaller in height|less tall) {_THAN}"),
    ("shorter", rf"(?:a )?(?:smaller|lesser|lower|less) (?:in )?height {_THAN}"),
    ("bigger", rf"(?:bigger|larger|more voluminous|larger in (?:size|volume)|bigger in (?:size|volume)) {_THAN}"),
    ("bigger", rf"(?:a )?(?:greater|larger|bigger|more) (?:in )?(?:size|volume) {_THAN}"),
    ("smaller", rf"(?:smaller|tinier|smaller in (?:size|volume)|less voluminous) {_THAN}"),
    ("smaller", rf"(?:a )?(?:smaller|lesser|lower|less) (?:in )?(?:size|volume) {_THAN}"),
]
"""(predicate, pattern) of what stands between A and B: `A is <phrase> B`."""

_CAMERA = r"(?:(?:the |this )?(?:camera|viewer|observer|photographer)(?: taking this (?:photo|picture|image))?|us|me|you)"
CAMERA_WORDS = re.compile(rf"{_CAMERA}|(?:the )?(?:camera|viewer|observer)'s position", re.IGNORECASE)

ATTRIBUTE_PHRASES: list[tuple[str, str]] = [
    ("left", rf"(?:{_FAR} |the )?(?:to|on|at|towards?) the left{_SIDE}|(?:further|farther|furthest|farthest|most) (?:to the )?left"),
    ("left", r"leftmost|left[- ]most|(?:most|furthest|farthest|more) (?:to|on) the left"),
    ("right", rf"(?:{_FAR} |the )?(?:to|on|at|towards?) the right{_SIDE}|(?:further|farther|furthest|farthest|most) (?:to the )?right"),
    ("right", r"rightmost|right[- ]most|(?:most|furthest|farthest|more) (?:to|on) the right"),
    ("front", rf"(?:closer|closest|nearer|nearest)(?: to {_CAMERA})?|in front|frontmost|less deep"),
    ("front", r"(?:the )?(?:smaller|smallest|lower|lowest|least) depth|in the foreground|most in front"),
    ("behind", rf"(?:further|farther|furthest|farthest)(?: away)?(?: back)?(?: from {_CAMERA})?|behind|rearmost|deeper|deepest"),
    ("behind", rf"(?:most|more) distant(?: from {_CAMERA})?|(?:the )?(?:greater|greatest|larger|largest) depth|at the back"),
    ("above", r"higher(?: up)?|highest(?: up)?|above|on top|topmost|uppermost|at a higher (?:position|level|elevation)"),
    ("below", r"lower(?: down)?|lowest(?: down)?|below|underneath|bottommost|lowermost|at a lower (?:position|level|elevation)"),
    ("wider", r"wider|widest|broader|broadest|(?:the )?(?:more|greater|larger|bigger|most|greatest|largest) (?:in )?width"),
    ("thinner", r"thinner|thinnest|narrower|narrowest|slimmer|slimmest|(?:the )?(?:less|smaller|lesser|least|smallest) (?:in )?width"),
    ("taller", r"taller|tallest|(?:the )?(?:more|greater|larger|bigger|most|greatest|largest) (?:in )?height"),
    ("shorter", r"shorter|shortest|(?:the )?(?:less|smaller|lesser|least|smallest) (?:in )?height"),
    ("bigger", r"(?:bigger|biggest|larger|largest)(?: in (?:size|volume|terms of size))?|most voluminous"),
    ("bigger", r"(?:the )?(?:more|greater|larger|bigger|most|greatest|largest|biggest) (?:in )?(?:size|volume)"),
    ("smaller", r"(?:smaller|smallest|tinier|tiniest)(?: in (?:size|volume|terms of size))?|least voluminous"),
    ("smaller", r"(?:the )?(?:less|smaller|lesser|least|smallest) (?:in )?(?:size|volume)"),
]
"""(predicate, pattern) of what one of several objects is: `which is <phrase>?`"""

SUPERLATIVE_ADJECTIVES: list[tuple[str, str]] = [
    ("left", r"leftmost|left[- ]most"),
    ("right", r"rightmost|right[- ]most"),
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
]
"""(predicate, pattern) of adjectives that stand before a noun: `the <adjective> mug`."""

_OPPOSITE_WORDS = r"(?:opposite|reversed?|other side|behind the scene|back of the scene|far side|turned around|flipped)"
OPPOSITE_VIEW = re.compile(
    r"[,(]?\s*(?:as |when |if |were they |were it )?(?:(?:seen|viewed|observed|looked at|looking|considered|judged|taken|watched)\s+)?"
    rf"(?:from|in|on)(?:\s+(?!of\b|left\b|right\b)[\w'-]+){{0,6}}?\s+{_OPPOSITE_WORDS}\b(?:\s+[\w'-]+){{0,5}}?\s*(?:\)|,|$)",
    re.IGNORECASE,
)
SAME_VIEW = re.compile(
    r"[,(]?\s*(?:as |when )?(?:(?:seen|viewed|observed|looked at|considered|shown|visible|pictured)\s+)?"
    r"(?:from|in)\s+(?:the |this |your |our |my )?(?:"
    r"(?:(?:camera|viewer|observer|photographer)(?:'s)?\s+)?(?:(?:point of view|perspective|viewpoint|vantage point|viewing angle|view|angle))"
    r"|(?:given |current |whole |entire )?(?:scene|image|picture|photo|photograph|frame|room|real world|3d space|space))\b\s*(?:\)|,)?",
    re.IGNORECASE,
)
HIGHLIGHT = re.compile(r"\s*\((?:highlighted|marked|outlined|shown|drawn)[^)]*\)", re.IGNORECASE)
INSTRUCTION = re.compile(
    r"\s*(?:First locate the bbox|The reference code is|Answer (?:with|in|the|using|yes|by)|Please answer|Give (?:your|the) answer"
    r"|Respond with|Reply with|Choose (?:from|between)|Select (?:from|the)|\(A\)\s|A\.\s).*$",
    re.IGNORECASE | re.DOTALL,
)
POLITE = re.compile(
    r"^(?:(?:please|now|so|ok|okay|well|hey|hello|hi|robot|and|also|exactly|estimate the real-world distances between objects in this image[.:]?)[, ]+"
    r"|(?:can|could|would|will) you (?:please )?(?:kindly )?"
    r"(?:tell (?:me|us)|say|confirm|determine|estimate|provide|give(?: me| us)?|measure|calculate|compute|find(?: out)?|check|share|describe|state|judge|see|verify|report|let me know|work out)"
    r"(?: (?:me|us))?(?: (?:whether|if|that|about))?[, ]+"
    r"|(?:tell|show|give) (?:me|us)(?: (?:whether|if|that|about))?[, ]+"
    r"|(?:do you (?:know|think|happen to know|see|believe)|i (?:want|need|would like|'d like) to know|let me know|i wonder|would you say|determine|check|confirm|verify|"
    r"estimate|measure|calculate|compute|provide|find(?: out)?|state|report|specify|judge|say|work out|"
    r"is it (?:true|correct|right|the case|accurate)(?: to say)?)(?: (?:whether|if|that))?[, ]+)",
    re.IGNORECASE,
)
_LONG_UNIT = UNIT_PATTERN.replace("|in|'|\\\"", "")  # as words only: "in" and quotes mean other things in a sentence
UNIT_REQUEST = re.compile(
    rf"[,(]?\s*(?:(?:measured|expressed|given|stated|answer(?:ed)?|as a number|in terms|in units?)\s+)*\b(?:in|using|of)\s+({_LONG_UNIT})\b\)?", re.IGNORECASE
)
HOW_MANY_UNITS = re.compile(rf"^how many ({_LONG_UNIT})\b", re.IGNORECASE)


def phrase_pattern(table: list[tuple[str, str]]) -> str:
    """One alternation, longest patterns first, of a table of (predicate, pattern)."""
    return "|".join(pattern for _, pattern in sorted(table, key=lambda row: -len(row[1])))


def predicate_of(phrase: str, table: list[tuple[str, str]]) -> str | None:
    """The predicate whose pattern is the whole `phrase`, None if none is."""
    phrase = " ".join(phrase.split())
    return next((name for name, pattern in table if re.fullmatch(rf"(?:{pattern})", phrase, re.IGNORECASE)), None)
