"""Rules that read questions for a relation: yes/no, which of several, which of two relations, and orders."""

from __future__ import annotations

import re

from n3d_core.reasoning.old.names import is_anything, strip_article
from n3d_core.reasoning.old.question import Question
from n3d_core.reasoning.old.relations import PREDICATES
from n3d_core.reasoning.old.stripping import Core
from n3d_core.reasoning.old.wording import (
    ATTRIBUTE_PHRASES,
    CLOSER,
    FARTHER,
    RELATION_PHRASES,
    SUPERLATIVE_ADJECTIVES,
    any_of,
    compiled,
    is_camera,
    predicate_of,
)

_BE = r"(?:is|are|was|does|do|did|would|will|can|could|has|have)"
_IS = r"(?:is|are|has|lies|appears|stands|looks|sits|seems|comes)"
_PLACED = (
    r"(?:(?:be|being|appear|appears|look|looks|seem|seems|to be|lie|lies|lying|stand|stands|standing|sit|sits"
    r"|sitting|come"
    r"|comes|have|has|having|positioned|located|placed|situated|found|set|seen|that is|which is|rests?|really"
    r"|actually) )*"
)
_WHICH = r"(?:which|what|who)(?: (?:one|object|item|thing|of the two|of these|of them|of the (?:two|three|four|five)))*"
_OF = r"(?:of|among|amongst|between|out of|comparing|considering|given|looking at|from)"
_LIST = r"(?P<l>[^?]+? (?:or|and) [^?]+?)"
_RELATION = any_of(RELATION_PHRASES)
_ATTRIBUTE = any_of(ATTRIBUTE_PHRASES)
_ADJECTIVE = any_of(SUPERLATIVE_ADJECTIVES)
_RELATIVE = rf"(?:the )?(?:{CLOSER}|{FARTHER})(?: away)?(?: in distance)?"
_TO = r"(?:to|from)"
_QUESTION_WORD = re.compile(r"\b(?:which|what|who|how|where|when)\b", re.IGNORECASE)
_VERB_FIRST = re.compile(rf"{_BE} .*", re.IGNORECASE)
_STATEMENT = re.compile(rf"^(.+?) ({_IS}) ", re.IGNORECASE)


def _clauses(core: Core) -> list[str]:
    """The core, and a statement (`A is wider than B`) turned into a question (`is A wider than B`)."""
    if _QUESTION_WORD.search(core.text) or _VERB_FIRST.fullmatch(core.text):
        return [core.text]
    return [core.text, _STATEMENT.sub(r"\2 \1 ", core.text, count=1)]


def _names(text: str) -> tuple[str, ...]:
    """`the mug, the can or the box` as names."""
    text = re.sub(r"^(?:either|both|is it) ", "", text.strip(" :,;-"), flags=re.IGNORECASE)
    parts = re.split(r" *(?:,|;|\bor\b|\band\b|&) *", text, flags=re.IGNORECASE)
    return tuple(strip_article(re.sub(r"^(?:to|from) ", "", p)) for p in parts if p.strip())


_HOW = r"(?P<how>(?:by|from|in|according|based|starting|sorted|going|when|with|near|close)\b.*)"
_ORDER_VERB = r"(?:order|sort|rank|arrange|list|sequence|put|name|line up|place)"
_ORDER = compiled(
    r"(?:what(?:'s| is| would be) )?(?:the )?(?:(?:depth|correct|right) )*(?:order|ordering|ranking|sequence) of "
    rf"(?P<l>.+?),? {_HOW}",
    rf"{_ORDER_VERB}(?: the objects| the following)?:? (?P<l>.+?),? {_HOW}",
    rf"(?:in )?(?:what|which) (?:depth )?order (?:are|do|is|would|does) (?P<l>.+?)"
    rf"(?: (?:appear|be|come|lie|stand|follow|arranged|placed|sorted|positioned))*,? {_HOW}",
    rf"how (?:are|would you {_ORDER_VERB}|do|should) (?P<l>.+?)(?: (?:ordered|ranked|sorted|arranged|placed"
    rf"|rank))?,? {_HOW}",
    rf"(?P<how>(?:from|by) [^,]*),? (?:what is the order of|{_ORDER_VERB}|(?:in (?:what|which) order|how) (?:are"
    r"|do)) (?P<l>.+?)"
    r"(?: (?:ordered|ranked|sorted|arranged|appear|come|lie|rank|stand))*",
)
_DEPTH_WORDS = re.compile(
    r"\b(?:depth|near\w*|clos\w*|far\w*|further|furthest|camera|viewer|distance|front|back)\b", re.IGNORECASE
)
_FAR_FIRST = re.compile(
    r"from (?:the )?(?:far|farthest|furthest|back|deepest|most distant)\b|(?:far|farthest|furthest|deepest) to "
    r"(?:the )?(?:near|clos)"
    r"|descending|(?:farthest|furthest|deepest)(?: one)? first|starting (?:with|from) the (?:far|furth|deep|back)",
    re.IGNORECASE,
)


def read_depth_order(core: Core) -> Question | None:
    """`Sort A, B and C from near to far`."""
    for pattern in _ORDER:
        match = pattern.fullmatch(core.text)
        if match and _DEPTH_WORDS.search(match["how"]):
            names = _names(match["l"])
            if len(names) >= 2:
                return Question("depth_order", "order", names, "behind" if _FAR_FIRST.search(match["how"]) else "front")
    return None


_ANCHOR = r"(?P<x>[^,:?]+?)"
_RELATIVE_DISTANCE = tuple(
    (form, re.compile(pattern, re.IGNORECASE))
    for form, pattern in (
        ("choice", rf"{_WHICH} {_IS} {_PLACED}{_RELATIVE} {_TO} {_ANCHOR}[,:] ?(?:{_OF} )?{_LIST}"),
        ("choice", rf"{_WHICH} {_IS} {_PLACED}{_RELATIVE} {_TO} {_ANCHOR} {_OF} {_LIST}"),
        ("choice", rf"(?:which|what)(?: one| object)? {_OF} {_LIST},? {_IS} {_PLACED}{_RELATIVE} {_TO} {_ANCHOR}"),
        ("choice", rf"{_OF} {_LIST}[,:]? {_WHICH} {_IS} {_PLACED}{_RELATIVE} {_TO} {_ANCHOR}"),
        (
            "choice",
            rf"(?:to|from) (?:which|what)(?: one| object)?,? (?:{_BE} )?{_ANCHOR} {_PLACED}{_RELATIVE}[,:]?(?: {_TO})? "
            rf"{_LIST}",
        ),
        (
            "yes_no",
            rf"{_BE} {_ANCHOR} {_PLACED}{_RELATIVE} {_TO} (?P<b>.+?) (?:than|compared (?:to|with)|rather than) {_TO} "
            r"(?P<c>.+?)",
        ),
        ("choice", rf"{_BE} {_ANCHOR} {_PLACED}{_RELATIVE} {_TO} (?P<l>.+? or .+)"),
        ("among", rf"(?:which|what|who)(?: (?P<k>.+?))? {_IS} {_PLACED}{_RELATIVE} {_TO} {_ANCHOR}"),
        ("among", rf"(?:what|which|who)(?:'s| is) {_RELATIVE} (?P<k>\S.*?) {_TO} {_ANCHOR}"),
    )
)


def read_relative_distance(core: Core) -> Question | None:
    """`Is A closer to B or to C`, `which of B and C is closer to A`, `which object is nearest to A`."""
    for text in _clauses(core):
        for form, pattern in _RELATIVE_DISTANCE:
            match = pattern.fullmatch(text)
            question = _relative_distance(form, match) if match else None
            if question is not None:
                return question
    return None


def _relative_distance(form: str, match: re.Match[str]) -> Question | None:
    """The question of one match; None if it is about depth or sides (`closer to the camera`, `further to the left`)."""
    groups = match.groupdict()
    anchor = strip_article(groups["x"])
    if is_camera(anchor) or re.match(r"(?:the )?(?:left|right)\b", groups["x"]):
        return None
    predicate = "closer" if groups["near"] else "farther"
    if form == "among":
        kind = _kind(groups["k"] or "object")
        return Question("relative_distance", "choice", (anchor,), predicate, among=kind)
    names = (strip_article(groups["b"]), strip_article(groups["c"])) if form == "yes_no" else _names(groups["l"])
    if len(names) < 2 or any(is_camera(n) for n in names):
        return None
    return Question("relative_distance", form, (anchor, *names), predicate)


def _kind(text: str) -> str:
    """The kind of object that is chosen from: `of the mugs` is `mugs`, anything general `object`."""
    kind = strip_article(re.sub(r"^(?:one )?(?:of|among)(?: all)? ", "", text.strip(), flags=re.IGNORECASE))
    return "object" if is_anything(kind) or kind.lower() in ("them", "these", "all") else kind


_ONE = r"(?: one| object| of the two| of them| of all)?"
_CHOICE = compiled(
    rf"{_WHICH},? {_IS}(?: the one)? {_PLACED}(?:the )?(?P<p>{_ATTRIBUTE}){_ONE}(?:[,:;]| -)? (?:is it |{_OF} "
    rf")?{_LIST}",
    rf"(?:which|what|who)(?: one| object| item)? {_OF} {_LIST},? {_IS}(?: the one)? {_PLACED}(?:the )?"
    rf"(?P<p>{_ATTRIBUTE}){_ONE}",
    rf"{_OF} {_LIST}[,:;]? {_WHICH} {_IS}(?: the one)? {_PLACED}(?:the )?(?P<p>{_ATTRIBUTE}){_ONE}",
    rf"{_LIST}[,:;-]+ {_WHICH} {_IS} {_PLACED}(?:the )?(?P<p>{_ATTRIBUTE}){_ONE}",
    r"(?:is|are) (?:it )?(?P<l>.+? or .+?) (?:(?:that|which|who) is |the one that is )?(?:the )?"
    rf"(?P<p>{_ATTRIBUTE}){_ONE}",
    rf"(?:what|which|who)(?:'s| is) (?:the )?(?P<p>{_ATTRIBUTE})[,:]? (?P<l>.+? or .+)",
)
_OF_A_KIND = compiled(
    rf"(?:which|what|who) (?P<k>.+?) {_IS} {_PLACED}(?:the )?(?P<p>{_ATTRIBUTE}){_ONE}",
    rf"(?:(?:what|which|who)(?:'s| is| are)? )?(?:(?:find|name|select|pick|choose) )?(?:the )?(?P<p>{_ADJECTIVE}) "
    r"(?P<k>.+)",
)


def read_choice(core: Core) -> Question | None:
    """`Which is wider, A or B`, `of A, B and C, which is the tallest`."""
    for pattern in _CHOICE:
        match = pattern.fullmatch(core.text)
        predicate = predicate_of(match["p"], ATTRIBUTE_PHRASES) if match else None
        names = _names(match["l"]) if match else ()
        if predicate is not None and len(names) >= 2 and not any(is_camera(n) for n in names):
            kind = PREDICATES[predicate].type if len(names) == 2 else "extreme"
            return Question(kind, "choice", names, predicate, opposite=core.opposite)
    return None


def read_extreme(core: Core) -> Question | None:
    """`Which mug is the largest`, `the nearest object`."""
    for pattern in _OF_A_KIND:
        match = pattern.fullmatch(core.text)
        predicate = predicate_of(match["p"], ATTRIBUTE_PHRASES) if match else None
        if match and predicate is not None and not re.search(r"\b(?:and|or)\b", match["k"]):
            return Question("extreme", "choice", (), predicate, opposite=core.opposite, among=_kind(match["k"]))
    return None


_QUANTITY = r"(?P<n>width|height|size|volume|depth|elevation|left-right position|horizontal position|vertical position)"
_COMPARED_BY = {
    "width": "wider", "height": "taller", "size": "bigger", "volume": "bigger", "depth": "front", "elevation": "above",
    "left-right position": "left", "horizontal position": "left", "vertical position": "above",
}  # fmt: skip
_COMPARED = compiled(
    rf"how (?:does|do|would|is|are) (?:the )?{_QUANTITY} of (?P<a>.+?) (?:compared?|differ|relate) (?:to|with"
    r"|from) (?:that of )?(?P<b>.+)",
    r"how (?:does|do|would|is|are) (?P<a>.+?) (?:compared?|relate) (?:to|with) (?P<b>.+?) (?:in|in terms of"
    rf"|regarding|by) (?:the )?{_QUANTITY}",
    rf"(?:compare|contrast) (?:the )?{_QUANTITY}s? of (?P<a>.+?) (?:and|with|to) (?:that of )?(?P<b>.+)",
    rf"(?:what is|how is|describe|what's) (?:the )?{_QUANTITY} of (?P<a>.+?) (?:relative to|compared (?:to|with)) "
    r"(?:that of )?(?P<b>.+)",
)
_EITHER = re.compile(
    rf"(?:{_BE}|how is|where is) (?P<a>.+?) {_PLACED}(?P<p>{_RELATION}|{_ATTRIBUTE}),? or "
    rf"(?P<q>{_RELATION}) (?P<b>.+)",
    re.IGNORECASE,
)


def read_free(core: Core) -> Question | None:
    """`Is A in front of or behind B`, `how does A compare to B in width`."""
    for pattern in _COMPARED:
        match = pattern.fullmatch(core.text)
        if match:
            return _free(_COMPARED_BY[match["n"].lower()], match, core)
    for text in _clauses(core):
        match = _EITHER.fullmatch(text)
        if match:
            first = predicate_of(match["p"], RELATION_PHRASES) or predicate_of(match["p"], ATTRIBUTE_PHRASES)
            if first is not None and PREDICATES[first].converse == predicate_of(match["q"], RELATION_PHRASES):
                return _free(first, match, core)
    return None


def _free(predicate: str, match: re.Match[str], core: Core) -> Question:
    names = (strip_article(match["a"]), strip_article(match["b"]))
    return Question(PREDICATES[predicate].type, "free", names, predicate, opposite=core.opposite)


_YES_NO = re.compile(
    rf"{_BE} (?P<a>.+?) {_PLACED}(?P<p>{_RELATION}) (?P<b>.+?)(?: (?:is|does|do|has|are))?", re.IGNORECASE
)


def read_yes_no(core: Core) -> Question | None:
    """`Is A to the left of B`."""
    for text in _clauses(core):
        match = _YES_NO.fullmatch(text)
        if match and not re.search(r"\b(?:or|and)\b", match["b"]):
            predicate = predicate_of(match["p"], RELATION_PHRASES)
            if predicate is not None:
                names = (strip_article(match["a"]), strip_article(match["b"]))
                return Question(PREDICATES[predicate].type, "yes_no", names, predicate, opposite=core.opposite)
    return None
