"""Rules that read questions for a number: counts, sizes, distances and clock directions."""

from __future__ import annotations

import re

from n3d_core.reasoning.old.names import strip_article
from n3d_core.reasoning.old.question import Question
from n3d_core.reasoning.old.stripping import Core
from n3d_core.reasoning.old.wording import compiled, is_camera

_THERE = (
    r"(?: (?:(?:are|is)(?: there)?(?: (?:visible|present|here|shown|in total|altogether))?|there (?:are|is)|visible"
    r"|present|here"
    r"|(?:can|do|could) (?:you|i|one|we) (?:see|count|find|spot)|can be seen|do (?:you|we) have|that you (?:can )?see"
    r"|you (?:can )?see|appear|exist))?"
)
_PLACED = re.compile(
    r"\b(?:on|in|of|to|at|by|from|behind|above|below|under|near|next|between|with|that|which|are|is)\b", re.I
)
_COUNT = compiled(
    rf"how many (?P<a>.+?){_THERE}",
    rf"(?:what(?:'s| is) )?(?:the )?(?:total )?(?:number|count|amount|quantity) of (?P<a>.+?){_THERE}",
    rf"count (?:up )?(?P<a>.+?){_THERE}",
)


def read_count(core: Core) -> Question | None:
    """`How many mugs are there`, `count the mugs`."""
    for pattern in _COUNT:
        match = pattern.fullmatch(core.text)
        if match:
            kind = strip_article(re.sub(r"^(?:how many|of|the|all)\s+", "", match["a"], flags=re.IGNORECASE))
            if _PLACED.search(kind):
                return None  # "mugs on the table": which ones these are is more than a count
            return Question("count", "number", among=kind)
    return None


_EXACT = (
    r"(?:(?:approximate|estimated|exact|actual|total|overall|real|rough|physical|measured|full|3d|straight-line|direct"
    r"|euclidean|center-to-center|centre-to-centre) )*"
)
_VALUE = rf"(?:an? |the )?(?:(?:estimate|estimation|value|measurement|measure|length) of )?(?:an? |the )?{_EXACT}"
_SIZE_NOUN = r"(?P<n>width|height|length|depth)"
_SIZES = {
    "width": "width", "wide": "width", "broad": "width", "height": "height", "tall": "height", "high": "height",
    "length": "length", "long": "length", "depth": "length", "deep": "length",
}  # fmt: skip
_SIZE = compiled(
    rf"(?:what(?:'s| is| would be| are)? )?{_VALUE}{_SIZE_NOUN}(?: measurement| dimension| value)? of (?P<a>.+?)"
    r"(?: is| be)?",
    rf"(?:what(?:'s| is) )?(?P<a>.+?)(?:'s|') {_EXACT}{_SIZE_NOUN}",
    rf"(?:what|how much) {_EXACT}{_SIZE_NOUN} (?:does|do|has) (?P<a>.+?)(?: have| span| measure| take up)?",
    rf"(?:what|how much) (?:does|do) (?P<a>.+?) (?:measure|span|extend) in {_SIZE_NOUN}",
    r"how (?P<n>wide|broad|tall|high|long|deep) (?:is|are|does|would)(?: you say)? (?P<a>.+?)(?: be| is| appear| "
    r"measure)?",
)


def read_size(core: Core) -> Question | None:
    """`How tall is the mug`, `what is the mug's width`."""
    for pattern in _SIZE:
        match = pattern.fullmatch(core.text)
        if match and not re.search(r"\b(?:compared?|relative to)\b", match["a"]):
            return Question(_SIZES[match["n"].lower()], "number", (strip_article(match["a"]),), unit=core.unit)
    return None


_GAP = r"(?:distance|separation|gap|space|spacing|offset|displacement)"
_WHAT = r"(?:(?:what(?:'s| is| would be)?|how (?:much|big|large|great|long)(?: is)?) )?"
_APART = r"(?: apart| away| separated| from each other| from one another| spaced)*"
_DISTANCE = compiled(
    r"how far is it from (?P<a>.+?) to (?P<b>.+)",
    rf"{_WHAT}{_VALUE}{_GAP}(?: is)?(?: there)?(?: that)?(?: lies| exists)? (?:between|separating|separates) "
    r"(?P<a>.+?) and (?P<b>.+)",
    rf"{_WHAT}{_VALUE}{_GAP} (?:from |of )?(?P<a>.+?) (?:to|from|and) (?P<b>.+)",
    rf"(?:what|how much) {_EXACT}{_GAP} (?:separates|divides|lies between|is between|stands between|keeps) "
    r"(?P<a>.+?) (?:and|from) (?P<b>.+)",
    r"(?:how (?:far|distant|close|near)(?: away| apart)?|at (?:what|which) distance) (?:is|are|do|does|lies|lie"
    r"|stands|would) "
    r"(?P<a>.+?)(?: located| positioned| situated| placed| lie| stand| sit| be)?(?: away| apart| distant)*"
    rf"(?: from| to| of| and) (?P<b>.+?){_APART}",
    r"how far (?:would i|do i|must i|should i) (?:have to |need to )?(?:go|move|travel|reach) from (?P<a>.+?) to "
    r"(?P<b>.+)",
)
_TO_CAMERA = compiled(
    r"(?:how (?:far|distant)(?: away)?|at what distance) (?:is|are) (?P<a>.+?)(?: away| located)?",
    rf"(?:what(?:'s| is) )?(?:the )?{_EXACT}distance (?:of|to) (?P<a>.+)",
)
_HIGHER = compiled(
    r"how (?:much|far) (?:higher|lower) (?:up )?(?:is|are) (?P<a>.+?) than (?P<b>.+)",
    r"how far (?:above|below) (?P<b>.+?) is (?P<a>.+)",
)
_VERTICAL = re.compile(r"\b(?:vertical(?:ly)?|height-wise|along the vertical axis)\b", re.IGNORECASE)
_HORIZONTAL = re.compile(
    r"\b(?:horizontal(?:ly)?|(?:measured )?(?:along|on|over|across|in) the (?:ground|floor)(?: plane)?|ground-plane)\b",
    re.IGNORECASE,
)


def read_distance(core: Core) -> Question | None:
    """`How far is A from B`, `what is the vertical distance between A and B`, `how far is A` (from the camera)."""
    text, kind = core.text, "distance"
    for pattern in _HIGHER:
        match = pattern.fullmatch(text)
        if match:
            names = (strip_article(match["a"]), strip_article(match["b"]))
            return Question("vertical_distance", "number", names, unit=core.unit)
    if _VERTICAL.search(text):
        text, kind = _VERTICAL.sub(" ", text), "vertical_distance"
    elif _HORIZONTAL.search(text):
        text, kind = _HORIZONTAL.sub(" ", text), "horizontal_distance"
    text = " ".join(text.split()).strip(" ,")
    for pattern in _DISTANCE:
        match = pattern.fullmatch(text)
        if match:
            return Question(kind, "number", _with_camera(match["a"], match["b"]), unit=core.unit)
    for pattern in _TO_CAMERA:
        match = pattern.fullmatch(text)
        if match and kind == "distance" and not re.search(r"\b(?:and|between|or)\b", match["a"]):
            return Question(kind, "number", (strip_article(match["a"]), "camera"), unit=core.unit)
    return None


def _with_camera(a: str, b: str) -> tuple[str, str]:
    """Both names, the camera (if it is one of them) last and by that name."""
    a, b = strip_article(a), strip_article(b)
    if is_camera(a):
        a, b = b, a
    return a, "camera" if is_camera(b) else b


_CLOCK_NOUN = r"(?:clock )?(?:direction|position|hour|o'?clock(?: direction| position)?)"
_CLOCK = rf"(?:(?:what|which) {_CLOCK_NOUN}|which way|where)"
_FIND = (
    r"(?:(?:will|would|do|can|could|should|must) (?:you|i|one)(?: have to)? (?:find|see|look for|look to (?:find|see))"
    r"|is|are|lies|does|would|will|can one find|to find|to look for)"
)
_LIE = r"(?: (?:lie|be|located|positioned|situated|found|placed|seen|appear|from you|from there))*"
_AT = (
    r"(?:(?:if|when|suppose|imagine|assume|assuming|picture|say) )*"
    r"(?:(?:you|i|one|someone|somebody)(?:'re|'m| are| am| is| were| stands?)? ?)?"
    r"(?:(?:standing|located|positioned|placed|sitting|stand|stands|at the position of) )*(?:at|by|next to|in the "
    r"place of) "
)
_SEEN_FROM = (
    r"(?:from|relative to|with respect to|as seen from|seen from|viewed from"
    r"|(?:when|if|for) (?:(?:you|i|someone|somebody)(?: are| am| is| stand| stands)? )?(?:standing )?at)"
)
_DIRECTION = compiled(
    rf"{_AT}(?P<a>.+?)(?: (?:and|facing|looking) [^,]*)?(?:,| -|;)? (?:(?:at|in|to|towards?) )?{_CLOCK} {_FIND} "
    rf"(?P<b>.+?){_LIE}",
    rf"(?:(?:seen|viewed|looking|starting) )?from (?P<a>.+?),? (?:(?:at|in|to|towards?) )?{_CLOCK} {_FIND} "
    rf"(?P<b>.+?){_LIE}",
    rf"(?:(?:at|in|to|towards?) )?(?:what|which) {_CLOCK_NOUN} {_FIND}(?: you (?:find|see|look for))? "
    rf"(?P<b>.+?){_LIE},? "
    rf"{_SEEN_FROM} (?P<a>.+)",
    rf"(?:what(?:'s| is) )?(?:the )?(?:clock )?(?:{_CLOCK_NOUN}|bearing) (?:of|to|towards) (?P<b>.+?)(?: is)? "
    rf"{_SEEN_FROM} (?P<a>.+)",
    rf"where {_FIND} (?P<b>.+?){_LIE},? (?:if|when) (?:you|i)(?: are| am| were| stand)?(?: standing)? (?:at|by) "
    r"(?P<a>.+)",
)


def read_direction(core: Core) -> Question | None:
    """`If you are at A, where will you find B`, `at what o'clock is B from A`."""
    for pattern in _DIRECTION:
        match = pattern.fullmatch(core.text)
        if match:
            return Question("direction", "number", (strip_article(match["a"]), strip_article(match["b"])))
    return None
