"""Takes off a question what stands around its core: politeness, the view, the unit, instructions, marks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from n3d_core.reasoning.units import UNIT_PATTERN, unit_symbol

_OPPOSITE = r"(?:opposite|reversed?|other side|behind the scene|back of the scene|far side|flipped)"
_SEEN = (
    r"(?:(?:as |when |if )?(?:it (?:is|were) |they (?:are|were) )?(?:seen|viewed|observed|looked at|looking"
    r"|considered|judged|shown) )?"
)
_OPPOSITE_VIEW = re.compile(
    rf"[,(]? ?\b{_SEEN}(?:as )?(?:from|in|on)(?: (?!of\b|left\b|right\b)[\w'-]+){{0,6}}? {_OPPOSITE}\b(?: "
    rf"[\w'-]+){{0,5}}? ?(?:\)|,|$)",
    re.IGNORECASE,
)
_SCENE = (
    r"(?:given |current |whole |entire )?(?:scene|image|picture|photo|photograph|frame|room|real world|3d space|space)"
)
_VIEW = (
    r"(?:(?:camera|viewer|observer|photographer)(?:'s)? )?(?:point of view|perspective|viewpoint|vantage point"
    r"|view|angle)"
)
_SAME_VIEW = re.compile(
    rf"[,(]? ?\b{_SEEN}(?:from|in) (?:the |this |your |our |my )?(?:{_VIEW}|{_SCENE})\b ?(?:\)|,)?", re.IGNORECASE
)
_HIGHLIGHT = re.compile(r" ?\((?:highlighted|marked|outlined|shown|drawn)[^)]*\)", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r" ?(?:First locate the bbox|The reference code is|Answer (?:with|in|the|using|yes|by)|Please answer|Respond "
    r"with|Reply with"
    r"|Give (?:your|the) answer|Choose (?:from|between)|Select (?:from|the)|\(A\) |A\. ).*$",
    re.IGNORECASE | re.DOTALL,
)
_ASK = (
    r"tell|say|confirm|determine|estimate|provide|give|measure|calculate|compute|find(?: out)?|check|share|describe"
    r"|state"
    r"|judge|see|verify|report|specify|work out|know|show|identify|point out"
)
_POLITE = re.compile(
    r"^(?:(?:please|now|so|ok|okay|well|hey|hello|hi|robot|and|also|exactly|kindly)[, ]+"
    rf"|(?:can|could|would|will|do|might) you (?:please |kindly )?(?:(?:{_ASK}|think|believe|happen to know)\b)?[, ]*"
    rf"|(?:{_ASK}|let)\b[, ]+|(?:me|us)(?: know)?[, ]+|(?:whether|if|that|about)[, ]+"
    r"|i(?: want|'d like| would like| need)(?: to know)?[, ]+|i wonder[, ]+"
    r"|is it (?:true|correct|right|the case|accurate)(?: to say)?[, ]+)",
    re.IGNORECASE,
)
_CONDITIONS = re.compile(r"^if (?:you|i|one|someone)\b", re.IGNORECASE)  # "if you are at A" is no politeness
_UNIT_WORD = UNIT_PATTERN.replace("|in|'|\\\"", "")  # as words only: "in" and quotes mean other things in a sentence
_UNIT_REQUEST = re.compile(
    r"[,(]? ?(?:(?:measured|expressed|given|stated|answer(?:ed)?|in terms|in units?) )*\b(?:in|using|of) "
    rf"({_UNIT_WORD})\b\)?",
    re.IGNORECASE,
)
_HOW_MANY_UNITS = re.compile(rf"^how many ({_UNIT_WORD})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Core:
    """A question's core, and what was said around it: the unit wanted and whether the view is the opposite one."""

    text: str
    unit: str
    opposite: bool


def requested_unit(text: str) -> str | None:
    """The symbol of the unit in which a text asks for a length, None if it names none."""
    match = _HOW_MANY_UNITS.search(text) or _UNIT_REQUEST.search(text)
    return unit_symbol(match[1]) if match else None


def strip_question(text: str) -> Core:
    """The core of one question (single spaces)."""
    text = _HIGHLIGHT.sub("", _INSTRUCTION.sub("", text)).strip(" ,.?!")
    opposite = bool(_OPPOSITE_VIEW.search(text))
    text = _tidy(_SAME_VIEW.sub(" ", _OPPOSITE_VIEW.sub(" ", text)))
    previous = None
    while previous != text:
        previous = text
        if not _CONDITIONS.match(text):
            text = _tidy(_POLITE.sub("", text))
    unit = "m"
    for pattern, instead in ((_HOW_MANY_UNITS, "how"), (_UNIT_REQUEST, " ")):
        match = pattern.search(text)
        if match:
            unit = unit_symbol(match[1]) or unit
            text = text[: match.start()] + instead + text[match.end() :]
            break
    return Core(_tidy(text), unit, opposite)


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(" ,.?!:")
