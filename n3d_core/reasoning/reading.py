"""Reads a question in free wording: its type, what is asked of it, and the objects it names.

Each rule below is one family of wordings. The rules are tried from the most specific to the most general, and a question
that none of them reads is None: it is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from n3d_core.reasoning.names import strip_article
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import unit_symbol
from n3d_core.reasoning.wording import (
    ATTRIBUTE_PHRASES,
    CAMERA_WORDS,
    HIGHLIGHT,
    HOW_MANY_UNITS,
    INSTRUCTION,
    OPPOSITE_VIEW,
    POLITE,
    RELATION_PHRASES,
    SAME_VIEW,
    SUPERLATIVE_ADJECTIVES,
    UNIT_REQUEST,
    phrase_pattern,
    predicate_of,
)

MAX_QUESTION = 2000
_HOLDER = re.compile(r"\u27e6(\d+)\u27e7")

_BE = r"(?:is|are|was|does|do|did|would|will|can|could|has|have)"
_PLACED = (
    r"(?:(?:be|being|been|appear(?:s|ing)?|look(?:s|ing)?|seem(?:s)?|to be|lie(?:s)?|lying|stand(?:s|ing)?|sit(?:s|ting)?|come(?:s)?|have|has|having|"
    r"positioned|located|placed|situated|found|set|seen|visible|that is|which is|rest(?:s|ing)?|it|actually|really|more)\s+)*"
)
_WHICH = r"(?:which|what|who)(?:\s+(?:one|object|item|thing|of the two|of these|of them|of the (?:two|three|four|five) objects))*"
_REL = phrase_pattern(RELATION_PHRASES)
_ATTR = phrase_pattern(ATTRIBUTE_PHRASES)
_ADJ = phrase_pattern(SUPERLATIVE_ADJECTIVES)
_AMONG = r"(?:,|:|;|-)?\s*(?:(?:among|amongst|between|out of|of|from)\s+)?"
_CLOSE = r"(?P<near>closer|closest|nearer|nearest|less far|(?:a )?(?:smaller|shorter|shortest|smallest) distance)"
_FARTHER = r"(?P<far>farther|further|farthest|furthest|more distant|most distant|(?:a )?(?:greater|larger|longer|longest|largest) distance)"
_RELATIVE = rf"(?:the |situated |located |positioned )*(?:{_CLOSE}|{_FARTHER})(?: away)?(?: in distance)?"


@dataclass(frozen=True)
class _Text:
    """A question stripped to its core, with the view and unit that stood around it."""

    core: str
    unit: str
    opposite: bool


Rule = Callable[[_Text], Question | None]


def read_question(text: str, names: Sequence[str] = ()) -> Question | None:
    """The meaning of a question, or None if no rule reads it.

    Args:
        text: the question in any wording that the rules know; English.
        names: names of the objects at hand, where known: they are recognised whole, whatever words they contain.
    """
    if len(text) > MAX_QUESTION:
        return None
    held, table = _hold_names(" ".join(text.replace("<image>", " ").split()), names)
    stripped = _strip(held)
    if not stripped.core:
        return None
    for rule in _RULES:
        question = rule(stripped)
        if question is not None and all(question.names):
            return _release_names(question, table)
    return None


def _hold_names(text: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Replaces the known names in `text` by placeholders, the longest first."""
    table = sorted({n for n in names if n.strip()}, key=len, reverse=True)
    for i, name in enumerate(table):
        words = r"\s+".join(re.escape(w) for w in name.split())
        text = re.sub(rf"(?<![\w\u27e6]){words}(?![\w\u27e7])", f"\u27e6{i}\u27e7", text, flags=re.IGNORECASE)
    return text, table


def _release_names(question: Question, table: list[str]) -> Question:
    def release(name: str) -> str:
        return strip_article(_HOLDER.sub(lambda m: table[int(m[1])], name))

    return replace(question, names=tuple(release(n) for n in question.names), among=release(question.among))


def _strip(text: str) -> _Text:
    """Takes view, unit, politeness and instructions off a question."""
    text = HIGHLIGHT.sub("", INSTRUCTION.sub("", text))
    opposite = bool(OPPOSITE_VIEW.search(text))
    text = SAME_VIEW.sub(" ", OPPOSITE_VIEW.sub(" ", text))
    text = " ".join(text.split()).strip(" ,.?!")
    previous = None
    while previous != text:
        previous, text = text, POLITE.sub("", text).strip(" ,.?!:")
    unit = "m"
    for pattern in (HOW_MANY_UNITS, UNIT_REQUEST):
        match = pattern.search(text)
        if match:
            unit = unit_symbol(match[1]) or unit
            text = text[: match.start()] + ("how" if pattern is HOW_MANY_UNITS else " ") + text[match.end() :]
            break
    return _Text(" ".join(text.split()).strip(" ,.?!"), unit, opposite)


def _match(pattern: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, text, re.IGNORECASE)


def _list(text: str) -> tuple[str, ...]:
    """`the mug, the can or the box` as names."""
    parts = re.split(r"\s*(?:,|;|\bor\b|\band\b|&)\s*", re.sub(r"^(?:either|both)\s+", "", text.strip(" :,"), flags=re.I), flags=re.I)
    return tuple(strip_article(re.sub(r"^(?:to|from)\s+", "", p)) for p in parts if p.strip())


def _is_camera(name: str) -> bool:
    return CAMERA_WORDS.fullmatch(name.strip()) is not None


# --- numbers -----------------------------------------------------------------------------------------------------------


_COUNT = [
    r"how many (?P<a>.+?)(?: are| is| can| do| does| appear| exist| have| stand| lie| sit)\b.*",
    r"how many (?P<a>.+)",
    r"(?:what(?:'s| is) )?(?:the )?(?:total )?(?:number|count|amount|quantity) of (?P<a>.+?)(?: (?:are|is|that|visible|present|here|there)\b.*)?",
    r"(?:please )?count (?:up )?(?:all |the |how many )*(?P<a>.+?)(?: (?:are|you|that|visible|present|here|there)\b.*)?",
]


def _count(text: _Text) -> Question | None:
    for pattern in _COUNT:
        match = _match(pattern, text.core)
        if match:
            return Question("count", "number", among=strip_article(re.sub(r"^(?:of )?(?:the|all) ", "", match["a"])))
    return None


_ADJECTIVE = r"(?:(?:approximate|estimated|exact|actual|total|overall|real|rough|physical|measured|full|3d|straight-line|direct|euclidean|center-to-center|centre-to-centre)\s+)*"
_SIZE_WORDS = {"width": "width", "height": "height", "length": "length", "depth": "length"}
_SIZE_ADJECTIVES = {"wide": "width", "broad": "width", "tall": "height", "high": "height", "long": "length", "deep": "length"}
_NOUN = r"(?P<n>width|height|length|depth)"
_SIZE = [
    rf"(?:what(?:'s| is| would be| are)?\s+)?(?:an? |the )?(?:estimate of |estimation of |value of |measurement of |measure of )?(?:the )?{_ADJECTIVE}{_NOUN}(?: measurement| dimension| value)? of (?P<a>.+?)(?: is| be)?",
    rf"(?:what(?:'s| is) )?(?P<a>.+?)(?:'s|') {_ADJECTIVE}{_NOUN}",
    rf"(?:what|how much) {_ADJECTIVE}{_NOUN} (?:does|do|has) (?P<a>.+?)(?: have| span| measure| take up)?",
    rf"(?:what|how much) (?:does|do) (?P<a>.+?) (?:measure|span|extend) in {_NOUN}",
    r"how (?P<j>wide|broad|tall|high|long|deep) (?:is|are|does|would)(?: you say)? (?P<a>.+?)(?: be| is| appear| measure)?",
]


def _size(text: _Text) -> Question | None:
    for pattern in _SIZE:
        match = _match(pattern, text.core)
        if match:
            groups = match.groupdict()
            word = _SIZE_WORDS.get((groups.get("n") or "").lower()) or _SIZE_ADJECTIVES[groups["j"].lower()]
            return Question(word, "number", (strip_article(match["a"]),), unit=text.unit)
    return None


_GAP = r"(?:distance|separation|gap|space|spacing|offset|displacement)"
_DISTANCE = [
    rf"(?:what(?:'s| is| would be)?\s+|how (?:much|big|large|great|long) (?:is )?)?(?:an? |the )?(?:estimate of |estimation of |value of |measurement of |length of )?(?:the )?{_ADJECTIVE}{_GAP}(?: measurement| value)?(?: is)?(?: there)?(?: that)?(?: lies| exists)? (?:between|separating|separates) (?P<a>.+?) and (?P<b>.+)",
    rf"(?:what(?:'s| is| would be)?\s+)?(?:an? |the )?{_ADJECTIVE}{_GAP} (?:from |of )?(?P<a>.+?) (?:to|from|and) (?P<b>.+)",
    rf"(?:what|how much) {_ADJECTIVE}{_GAP} (?:separates|divides|lies between|is between|stands between|keeps) (?P<a>.+?) (?:and|from) (?P<b>.+)",
    r"(?:how (?:far|distant|close|near|much space)(?: away| apart)?|at (?:what|which) distance) (?:is|are|do|does|lies|lie|stands|would) (?P<a>.+?)(?: and)?(?: located| positioned| situated| placed| lie| stand| sit| be)?(?: away| apart| distant)*(?: from| to| of| and) (?P<b>.+?)(?: apart| away| separated(?: from each other)?| from each other| from one another| spaced)*",
    r"how far (?:would i|do i|must i|should i) (?:have to |need to )?(?:go|move|travel|reach) from (?P<a>.+?) to (?:reach )?(?P<b>.+)",
]
_TO_CAMERA = [
    r"(?:how (?:far|distant)(?: away)?|at what distance) (?:is|are) (?P<a>.+?)(?: away| located)?",
    rf"(?:what(?:'s| is) )?(?:the )?{_ADJECTIVE}distance (?:of|to) (?P<a>.+)",
]
_HOW_MUCH = [r"how (?:much|far) (?:higher|lower) (?:up )?(?:is|are) (?P<a>.+?) than (?P<b>.+)", r"how far (?:above|below) (?P<b>.+?) is (?P<a>.+)"]
_VERTICAL = re.compile(r"\b(?:vertical(?:ly)?|in height|height-wise|up and down|along the vertical axis)\b", re.IGNORECASE)
_HORIZONTAL = re.compile(
    r"\b(?:horizontal(?:ly)?|(?:along|on|over|across|in|measured along) the (?:ground|floor)(?: plane)?|on the ground plane|ground-plane)\b", re.IGNORECASE
)


def _distance(text: _Text) -> Question | None:
    core, kind = text.core, "distance"
    for pattern in _HOW_MUCH:
        match = _match(pattern, core)
        if match:
            return Question("vertical_distance", "number", (strip_article(match["a"]), strip_article(match["b"])), unit=text.unit)
    if _VERTICAL.search(core):
        core, kind = _VERTICAL.sub(" ", core), "vertical_distance"
    elif _HORIZONTAL.search(core):
        core, kind = _HORIZONTAL.sub(" ", core), "horizontal_distance"
    core = " ".join(core.split()).strip(" ,").replace(" ,", ",")
    for pattern in _DISTANCE:
        match = _match(pattern, core)
        if match:
            names = [strip_article(match["a"].strip(" ,")), strip_article(match["b"].strip(" ,"))]
            if _is_camera(names[0]):
                names.reverse()
            return Question(kind, "number", _with_camera(names), unit=text.unit)
    for pattern in _TO_CAMERA:
        match = _match(pattern, core)
        if match and kind == "distance" and not re.search(r"\b(?:and|between)\b", match["a"]):
            return Question(kind, "number", (strip_article(match["a"]), "camera"), unit=text.unit)
    return None


def _with_camera(names: list[str]) -> tuple[str, ...]:
    return tuple("camera" if _is_camera(n) else n for n in names)


_CLOCK = r"(?:(?:what|which) (?:clock )?(?:direction|position|o'?clock(?: direction| position)?|hour|clock hour|clock face)|what o'?clock|which way|where)"
_SEE = r"(?:will you find|would you find|do you find|can you find|would you see|will you see|do you see|should you look(?: for| to (?:find|see))?|would you look for|must you look for|do you look for|is|lies|does|would|can one find|to find|to look for|will|are)"
_DIRECTION = [
    rf"(?:if |when |suppose |imagine |assume |assuming |picture |say )*(?:you(?:'re| are| were| stand)?|i(?:'m| am| were)?|someone(?: is| stands)?|one(?: is| stands)?)?\s*(?:standing |located |positioned |placed |sitting |stand |at the position of )*(?:at|by|next to|in the place of) (?P<a>.+?)(?: (?:and|facing|looking) [^,]*)?(?:,| -|;)? (?:at |in |to |towards? )?{_CLOCK} {_SEE} (?P<b>.+?)(?: (?:lie|be|located|positioned|situated|found|be found|be located|be seen|from you|from there|appear))*",
    rf"(?:seen |viewed |looking |starting )?from (?P<a>.+?),? (?:at |in |to |towards? )?{_CLOCK} {_SEE} (?P<b>.+?)(?: (?:lie|be|located|positioned|situated|found|be found|be located|be seen|appear))*",
    r"(?:at|in|to|towards?)?\s*(?:what|which) (?:clock )?(?:direction|position|o'?clock(?: direction| position)?|hour|clock hour) (?:is|lies|does|will|would|can|are|should|do)(?: you (?:find|see|look for))? (?P<b>.+?)(?: (?:lie|be|located|positioned|situated|found|be found|seen|placed|appear))*,? (?:from|relative to|with respect to|as seen from|seen from|when (?:you are |standing )?at|if you are at|if you stand at|for someone (?:standing )?at|for somebody (?:standing )?at|viewed from) (?P<a>.+)",
    r"(?:what(?:'s| is) )?(?:the )?(?:clock[- ])?(?:direction|bearing|clock position|o'?clock direction|clock direction) (?:of|to|towards) (?P<b>.+?)(?: is)? (?:from|relative to|with respect to|as seen from|seen from|for someone at|when you are at|viewed from) (?P<a>.+)",
    r"where (?:is|would|will|do|does|can) (?:you (?:find|see) |one find )?(?P<b>.+?)(?: (?:lie|be|located|found|be found))*(?:,)? (?:if|when) (?:you|i) (?:are|am|stand|were|were standing|are standing) (?:at|by) (?P<a>.+)",
]


def _direction(text: _Text) -> Question | None:
    for pattern in _DIRECTION:
        match = _match(pattern, text.core)
        if match:
            return Question("direction", "number", (strip_article(match["a"].strip(" ,")), strip_article(match["b"].strip(" ,"))))
    return None


# --- orders and relative distance --------------------------------------------------------------------------------------

_ORDER = [
    r"(?:what(?:'s| is| would be) )?(?:the )?(?:depth |correct |right )*(?:order|ordering|ranking|sequence|depth order) of (?P<l>.+?)(?:,)? (?P<how>(?:by|from|in|according|based|starting|sorted|going|when|with|near|close)\b.*)",
    r"(?:order|sort|rank|arrange|list|sequence|put|name|line up|place)(?: the objects| the following)?:? (?P<l>.+?)(?:,)? (?P<how>(?:by|from|in|according|based|starting|near|close|going|with)\b.*)",
    r"(?:in )?(?:what|which) (?:depth )?order (?:are|do|is|would|does|from near to far are) (?P<l>.+?)(?: (?:appear|be|come|lie|stand|follow|arranged|placed|sorted|positioned))*(?:,)? (?P<how>(?:by|from|in|according|based|starting|with|going|near|close)\b.*)",
    r"(?:how (?:are|would you (?:order|rank|sort|arrange)|do|should)) (?P<l>.+?)(?: (?:ordered|ranked|sorted|arranged|placed|rank|compare))?(?:,)? (?P<how>(?:by|from|in|according|based)\b.*)",
    r"(?P<how>from (?:near|close|far|the (?:nearest|closest|furthest|farthest))\w* to [^,]+?|by (?:depth|distance)[^,]*),? (?:what is the order of|how are|order|sort|rank|list|arrange|in (?:what|which) order (?:are|do|come)|how do) (?P<l>.+?)(?: (?:ordered|ranked|sorted|arranged|appear|come|lie|rank|stand))*",
]
_DEPTH_WORDS = re.compile(r"\b(?:depth|near\w*|close\w*|far\w*|further|furthest|camera|viewer|distance|front|back)\b", re.IGNORECASE)
_FAR_FIRST = re.compile(
    r"from (?:the )?(?:far|farthest|furthest|back|deepest|most distant)\b|\b(?:far|farthest|furthest|back|deepest) to (?:the )?(?:near|close|front)|descending"
    r"|(?:farthest|furthest|deepest) (?:one )?first|starting (?:with|from) the (?:far|furth|deep|back)", re.IGNORECASE
)


def _depth_order(text: _Text) -> Question | None:
    for pattern in _ORDER:
        match = _match(pattern, text.core)
        if match and _DEPTH_WORDS.search(match["how"]):
            names = _list(match["l"])
            if len(names) >= 2:
                return Question("depth_order", "order", names, "behind" if _FAR_FIRST.search(match["how"]) else "front")
    return None


_TO = r"(?:to|from)"
_RELATIVE_DISTANCE: list[tuple[str, str]] = [
    ("yes_no", rf"{_BE} (?P<x>.+?) {_PLACED}{_RELATIVE} {_TO} (?P<b>.+?) (?:than|compared (?:to|with)|rather than) (?:it is |they are |the distance )?{_TO} (?P<c>.+?)(?: is)?"),
    ("choice", rf"{_BE} (?P<x>.+?) {_PLACED}{_RELATIVE} {_TO} (?P<l>.+? or .+)"),
    ("choice", rf"(?:to|from) (?:which|what)(?: one| object| of (?:these|the two))?,? (?:{_BE} )?(?P<x>.+?) {_PLACED}{_RELATIVE}[,:]?(?: {_TO})? (?P<l>.+? or .+)"),
    ("choice", rf"(?:which|what) (?:is|one is|object is|of the two is)?\s*(?P<x>.+?) {_PLACED}{_RELATIVE} {_TO}[,:]? (?P<l>.+? or .+)"),
    ("choice", rf"{_WHICH} (?:is|are|has|lies|stands|sits|appears) {_PLACED}{_RELATIVE} {_TO} (?P<x>.+?){_AMONG}[,:] ?{_AMONG}(?P<l>.+? (?:or|and) .+)"),
    ("choice", rf"{_WHICH} (?:is|are|has|lies|stands|sits|appears) {_PLACED}{_RELATIVE} {_TO} (?P<x>.+?) (?:among|between|out of|of) (?P<l>.+? (?:or|and) .+)"),
    ("choice", rf"(?:which|what)(?: one| object)? (?:of|among|between|out of) (?P<l>.+? (?:or|and) .+?),? (?:is|are|has|lies|stands|sits) {_PLACED}{_RELATIVE} {_TO} (?P<x>.+)"),
    ("choice", rf"(?:of|among|amongst|between|out of|comparing|considering|given) (?P<l>.+? (?:or|and) .+?)[,:]? {_WHICH} (?:is|are|has|lies|stands|sits) {_PLACED}{_RELATIVE} {_TO} (?P<x>.+)"),
    ("among", rf"(?:which|what|who)(?: (?P<k>.+?))? (?:is|are|lies|stands|sits) {_PLACED}{_RELATIVE} {_TO} (?P<x>.+)"),
    ("among", rf"(?:what|which|who)(?:'s| is) (?:the )?{_RELATIVE} (?P<k>\S.*?) {_TO} (?P<x>.+)"),
]  # fmt: skip


def _relative_distance(text: _Text) -> Question | None:
    for form, pattern in _RELATIVE_DISTANCE:
        match = _match(pattern, text.core)
        if not match:
            continue
        groups = match.groupdict()
        anchor = strip_article(groups["x"].strip(" ,:"))
        if _is_camera(anchor):
            return None  # that is depth: the attribute rules read it
        predicate = "closer" if groups["near"] else "farther"
        if form == "among":
            kind = strip_article((groups["k"] or "").strip() or "object")
            kind = "object" if kind.lower() in ("object", "one", "thing", "item", "of them", "of all") else kind
            return Question("relative_distance", "choice", (anchor,), predicate, among=kind)
        names = (groups["b"], groups["c"]) if form == "yes_no" else _list(groups["l"])
        if any(_is_camera(n) for n in names) or len(names) < 2:
            return None
        return Question("relative_distance", form, (anchor, *(strip_article(n) for n in names)), predicate)
    return None


# --- comparisons -------------------------------------------------------------------------------------------------------

_CHOICE = [
    rf"{_WHICH},? (?:is|are|has|lies|appears|stands|looks|sits|seems|comes)(?: the one)? {_PLACED}(?:the )?(?P<p>{_ATTR})(?: one| object| of the two| of them)?(?:,|:|;| -)? (?:is it |among |between |out of |of )?(?P<l>.+? (?:or|and) .+)",
    rf"(?:which|what|who)(?: one| object| item)? (?:of|among|between|out of|amongst) (?P<l>.+? (?:or|and) .+?),? (?:is|are|has|lies|appears|stands|looks|sits|seems|comes)(?: the one)? {_PLACED}(?:the )?(?P<p>{_ATTR})(?: one| object)?",
    rf"(?:of|among|amongst|between|out of|comparing|considering|given|looking at) (?P<l>.+? (?:or|and) .+?)[,:;]? (?:{_WHICH}|which of them|which of these)(?: one)? (?:is|are|has|lies|appears|stands|looks|sits|seems|comes)(?: the one)? {_PLACED}(?:the )?(?P<p>{_ATTR})(?: one| object)?",
    rf"(?P<l>.+? (?:or|and) .+?)[,:;-]+ (?:{_WHICH}|which of them|which of the two)(?: one)? (?:is|are|has|lies|appears|stands|looks|sits|seems) {_PLACED}(?:the )?(?P<p>{_ATTR})(?: one| object)?",
    rf"(?:is|are) (?:it )?(?P<l>.+? or .+?) (?:that is |the one that is |which is |who is )?(?:the )?(?P<p>{_ATTR})(?: one| object)?",
    rf"(?:what|which|who)(?:'s| is) (?P<p>{_ATTR})[,:]? (?P<l>.+? or .+)",
]
_AMONG_KIND = [
    rf"(?:which|what|who)(?: (?:one )?of(?: all)?(?: the)?)? (?P<k>.+?) (?:is|are|has|lies|appears|stands|sits|looks) {_PLACED}(?:the )?(?P<p>{_ATTR})(?: one| object| of all| of them)?",
    rf"(?:what|which|who)(?:'s| is| are)? (?:the )?(?P<p>{_ADJ}) (?P<k>.+)",
    rf"(?:name|identify|find|point out|select|pick|choose) (?:the )?(?P<p>{_ADJ}) (?P<k>.+)",
]


def _choice(text: _Text) -> Question | None:
    for pattern in _CHOICE:
        match = _match(pattern, text.core)
        if match and (predicate := predicate_of(re.sub(r"^the ", "", match["p"]), ATTRIBUTE_PHRASES)):
            names = _list(match["l"])
            if len(names) >= 2:
                kind = PREDICATES[predicate].type if len(names) == 2 else "extreme"
                return Question(kind, "choice", names, predicate, opposite=text.opposite)
    return None


def _extreme(text: _Text) -> Question | None:
    for pattern in _AMONG_KIND:
        match = _match(pattern, text.core)
        if match and (predicate := predicate_of(re.sub(r"^the ", "", match["p"]), ATTRIBUTE_PHRASES)):
            kind = strip_article(match["k"])
            kind = "object" if kind.lower() in ("one", "thing", "item", "them", "these", "of them", "all", "all objects") else kind
            return Question("extreme", "choice", (), predicate, opposite=text.opposite, among=kind)
    return None


_EITHER = [
    rf"{_BE} (?P<a>.+?) {_PLACED}(?P<p>.+?) or (?P<q>.+)",
    rf"{_BE} (?P<a>.+?) {_PLACED}(?:on |to |at )?the (?P<s>left|right)(?: side)?(?: of)? or (?:to |on |at )?(?:the )?(?:left|right)(?:-hand)?(?: side)? (?:of|relative to) (?P<b>.+)",
]
_COMPARED = [
    r"how (?:does|do|would|is|are) (?:the )?(?P<n>width|height|size|volume|depth|elevation) of (?P<a>.+?) (?:compare[sd]?|differ|relate|measure up) (?:to|with|from|against) (?:that of |the \w+ of )?(?P<b>.+)",
    r"how (?:does|do|would|is|are) (?P<a>.+?) (?:compare[sd]?|relate|measure up) (?:to|with|against) (?P<b>.+?) (?:in|in terms of|with respect to|regarding|by) (?:its |their |the )?(?P<n>width|height|size|volume|depth|left-right position|horizontal position|vertical position|elevation)",
    r"(?:compare|contrast) (?:the )?(?P<n>width|height|size|volume|depth|elevation|left-right position|vertical position)s? of (?P<a>.+?) (?:and|with|to) (?:that of )?(?P<b>.+)",
    r"(?:what is|how is|describe|what's) (?:the )?(?P<n>width|height|size|volume|depth|elevation|left-right position|vertical position) of (?P<a>.+?) (?:relative to|compared (?:to|with)|with respect to) (?:that of )?(?P<b>.+)",
]
_COMPARED_BY = {
    "width": "wider",
    "height": "taller",
    "size": "bigger",
    "volume": "bigger",
    "depth": "front",
    "elevation": "above",
    "left-right position": "left",
    "horizontal position": "left",
    "vertical position": "above",
}


def _free(text: _Text) -> Question | None:
    for pattern in _COMPARED:
        match = _match(pattern, text.core)
        if match:
            predicate = _COMPARED_BY[match["n"].lower()]
            names = (strip_article(match["a"]), strip_article(match["b"]))
            return Question(PREDICATES[predicate].type, "free", names, predicate, opposite=text.opposite)
    match = _match(rf"(?:{_BE}|how is|where is) (?P<a>.+?) {_PLACED}(?P<p>[^,]+?),? or (?P<q>{_REL}) (?P<b>.+)", text.core)
    if match and (second := predicate_of(match["q"], RELATION_PHRASES)):
        first = match["p"].strip()
        for candidate in (first, f"{first} of", f"{first} than"):
            predicate = predicate_of(candidate, RELATION_PHRASES) or predicate_of(candidate, ATTRIBUTE_PHRASES)
            if predicate is not None and PREDICATES[predicate].converse == second:
                names = (strip_article(match["a"]), strip_article(match["b"]))
                return Question(PREDICATES[predicate].type, "free", names, predicate, opposite=text.opposite)
    return None


def _yes_no(text: _Text) -> Question | None:
    match = _match(rf"{_BE} (?P<a>.+?) {_PLACED}(?P<p>{_REL}) (?P<b>.+?)(?: (?:is|does|do|has|are))?", text.core) or _match(
        rf"(?P<a>.+?) (?:is|are|has|lies|appears|stands|looks|sits) {_PLACED}(?P<p>{_REL}) (?P<b>.+?)", text.core
    )
    if not match or re.search(r"\bor\b", match["b"]):
        return None
    predicate = predicate_of(match["p"], RELATION_PHRASES)
    if predicate is None or re.match(r"(?:which|what|who|how|where)\b", text.core, re.IGNORECASE):
        return None
    names = (strip_article(match["a"]), strip_article(match["b"]))
    return Question(PREDICATES[predicate].type, "yes_no", names, predicate, opposite=text.opposite)


_RULES: tuple[Rule, ...] = (
    _direction,
    _depth_order,
    _count,
    _relative_distance,
    _size,
    _distance,
    _free,
    _choice,
    _extreme,
    _yes_no,
)
