"""Finds the statements about objects in a reasoning or an answer: relations, sizes, distances, directions, counts.

Texts are *held* (see `lexicon.hold_names`). A slot for an object also accepts other words, so that unknown names are
noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from n3d_core.reasoning.expressions import QUANTITY
from n3d_core.reasoning.lexicon import HOLDER, ORDINALS, TERMINALS, normal, release, strip_article
from n3d_core.reasoning.relations import PLACES
from n3d_core.reasoning.units import NUMBER_PATTERN, UNIT_PATTERN, Length, find_lengths

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
    ("below", rf"below|beneath|lower(?: down)? {THAN}"),
    ("below", rf"at a lower (?:position|elevation|level) {THAN}"),
    ("wider", rf"(?:wider|broader|{_extent('width', _MORE)}|(?:larger|greater) in width) {THAN}"),
    ("thinner", rf"(?:thinner|narrower|slimmer|less (?:wide|broad)|{_extent('width', _LESS)}) {THAN}"),
    ("taller", rf"(?:taller|{_extent('height', _MORE)}) {THAN}"),
    ("shorter", rf"(?:shorter|less tall|{_extent('height', _LESS)}) {THAN}"),
    ("bigger", rf"(?:bigger|larger|more voluminous|{_extent('(?:size|volume)', _MORE)}) {THAN}"),
    ("smaller", rf"(?:smaller|tinier|less (?:big|large|voluminous)|{_extent('(?:size|volume)', _LESS)}) {THAN}"),
    ("longer", rf"(?:longer|{_extent('length', _MORE)}) {THAN}"),
    ("less_long", rf"(?:shorter in length|less long|{_extent('length', _LESS)}) {THAN}"),
    ("thicker", rf"(?:thicker|{_extent('thickness', _MORE)}) {THAN}"),
    ("less_thick", rf"(?:less thick|{_extent('thickness', _LESS)}) {THAN}"),
    ("on", r"on(?: top of)?(?! (?:the |its )?(?:left|right)\b)"),
    ("under", r"under(?:neath)?"),
    ("inside", r"inside(?: of)?"),
    ("next_to", r"next to|beside|adjacent to"),
    ("between", r"between|in between"),
)
"""(predicate or place, pattern) for `A is <phrase> B`."""

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
    ("longer", r"longest"),
    ("less_long", r"shortest in length|least long"),
    ("thicker", r"thickest"),
    ("less_thick", r"least thick"),
)
"""(predicate, pattern) of superlatives: `the <adjective> mug`."""

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
"""(predicate, pattern) for one of several objects: `A is <phrase>`."""


def any_of(table: tuple[tuple[str, str], ...]) -> str:
    """A pattern that matches any of a table's patterns."""
    return "(?:" + "|".join(pattern for _, pattern in table) + ")"


def predicate_of(phrase: str, table: tuple[tuple[str, str], ...]) -> str | None:
    """The predicate whose pattern matches the whole phrase, None if there is none."""
    phrase = " ".join(phrase.split())
    return next((name for name, pattern in table if _whole(pattern).fullmatch(phrase)), None)


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})", re.IGNORECASE)


_PRONOUNS = {
    "it", "they", "this", "that", "which", "object", "former", "latter", "one", "answer", "other", "first", "second",
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A statement about objects.

    Attributes:
        kind: `relation` (or place), `difference`, `closer`, `closest`, `extreme`, `attribute`, `ranked`, `order`,
            `size`, `volume`, `distance`, `away` (from the camera), `direction`, `bearing`, `count`, `nothing` (nothing
            is where it says), `listed` (all that is in a relation to the last name) or `whether` (a pair of objects
            whose relation is about to be determined; it states nothing yet).
        names: the objects in the order of their roles.
        predicate: relation, `closer`/`farther`, the kind of size or distance, or the sign of an order.
        lengths: stated lengths, for sizes, distances and differences; one length in several units.
        number: stated hour, count, rank or litres, or degrees to the left.
        negated: whether it is denied ("is not wider than").
        opposite: whether the sentence is about the opposite view.
        text: the words of the claim.
    """

    kind: str
    names: tuple[str, ...]
    predicate: str = ""
    lengths: tuple[Length, ...] = ()
    number: float = 0.0
    negated: bool = False
    opposite: bool = False
    text: str = ""


_N = (
    r"(?!(?:or|if|whether|determine|either|not)\b)(?:(?:the|a|an) )?(?:(?:[\w'/]+ ){0,3}\u27e6\d+\u27e7|[\w'/]+"
    r"(?:[ -][\w'/]+){0,5}?)"
)
_H = r"(?:(?:the|a|an) )?\u27e6\d+\u27e7"
_BE = r"(?:is|are|was|appears|lies|stands|sits|looks)(?: (?:located|positioned|placed|situated|indeed|therefore|also))?"
_LEN = rf"(?:(?:about|around|approximately|roughly|nearly) )?{NUMBER_PATTERN} ?{UNIT_PATTERN}"
_LENS = rf"(?P<len>{_LEN}(?: ?(?:=|\(|or|,) ?{_LEN}\)?)*)"
_LITRES = r"(?P<litres>\d+(?:\.\d+)?) (?:liters?|litres?)"
_REL = any_of(RELATION_PHRASES)
_FAR = r"(?P<far>farther|further|farthest|furthest)"
_NEAR = r"(?P<near>closer|nearer|closest|nearest)"
_SIZE = r"(?P<size>width|height|length|thickness|depth|wide|tall|high|long|thick|deep)"
_SIZES = {**TERMINALS["DIM"], **TERMINALS["SIZE"], "depth": "length"}
_SO = (
    r"(?:(?:so|therefore|thus|hence|then|and|but|since|because|as|we (?:can )?(?:see|conclude|find) that|it "
    r"follows that|that|yes|no)[, ]+)*"
)
_END = r"(?: (?:object|one|here|of (?:all|them|these|the (?:two|three|four|five))))?"

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("whether", rf"(?:step \d+: )?determine (?:if|whether) {{a}} {_BE} .+? or .+? {{b}}"),
    ("closer", rf"{{a}} {_BE} (?P<not>not )?(?:{_LENS} )?(?:{_NEAR}|{_FAR})(?: away)? (?:to|from) {{b}} "
    rf"than (?:it is )?(?:to |from )?{{c}}"),
    ("closest", rf"{{a}} {_BE} (?P<not>not )?(?:the )?(?:(?P<rank>{'|'.join(ORDINALS)}) )?(?:{_NEAR}|{_FAR})(?: away)?"
    rf"(?: object)? (?:to|from) {{b}}"),
    ("nothing", rf"nothing {_BE} (?P<rel>{_REL}) {{b}}(?: and (?P<c>{_H}))?"),
    ("difference", rf"{{a}} {_BE} (?:{_LENS}|{_LITRES}) (?P<rel>{_REL}) {{b}}"),
    ("ranked", rf"{{a}} {_BE} the (?P<rank>{'|'.join(ORDINALS)}) (?P<sup>{any_of(SUPERLATIVE_ADJECTIVES)})"),
    ("relation", rf"{{a}} {_BE} (?P<not>not )?(?P<rel>{_REL}) {{b}}(?: and (?P<c>{_H}))?"),
    ("size", rf"the {_SIZE} of {{a}} (?:is|equals|measures) {_LENS}"),
    ("size", rf"{{a}} (?:is|measures|stands) {_LENS} (?:in )?{_SIZE}"),
    ("size", rf"{{a}}'s {_SIZE} is {_LENS}"),
    ("size", rf"{{a}} has an? {_SIZE} of {_LENS}"),
    ("volume", rf"{{a}} (?:is {_LITRES} in volume|takes up {_LITRES.replace('litres', 'more')})"),
    ("volume", rf"the volume of {{a}} is {_LITRES}"),
    ("distance", rf"the (?:(?P<dist>vertical |horizontal )?distance|(?P<gap>gap)) (?:between|from) {{a}} (?:and|to) "
    rf"{{b}} is {_LENS}"),
    ("distance", rf"{{a}} is {_LENS}(?: away)? from {{b}}(?P<dist> vertically| horizontally)?"),
    ("distance", rf"{{a}} and {{b}} are {_LENS} apart(?P<dist> vertically| horizontally)?"),
    ("direction", r"{a} (?:will|would|can) (?:find|see) {b} (?:around|at|in|towards?) (?:the )?(?P<hour>\d+"
    r"(?:\.0)?) ?o'?clock(?: direction| position)?"),
    ("bearing", r"{a} (?:will|would|can) (?:find|see) {b} (?P<deg>\d+(?:\.\d+)?) degrees to the (?P<side>left|right)"),
    ("away", rf"{{a}} is {_LENS} away(?: (?:around|at) the (?P<hour>\d+) o'?clock(?: direction)?)?"),
    ("direction", r"{b} is (?:around|at|in|towards?) (?:the )?(?P<hour>\d+(?:\.0)?) ?o'?clock(?: direction| "
    r"position)? (?:of|from|relative to) {a}"),
    ("count", r"there (?:is|are) (?:only |exactly )?(?P<count>\w+) (?P<kind>(?:[^,.;:]|\.\d)+?)"
    r"(?: in view| in (?:the|this) (?:scene|image|picture))?"),
    ("count", r"the number of (?P<kind>(?:[^,.;:]|\.\d)+?) is (?P<count>\w+)"),
    ("extreme", rf"{{a}} {_BE} (?P<not>not )?the (?P<sup>{any_of(SUPERLATIVE_ADJECTIVES)}"
    rf"|{any_of(ATTRIBUTE_PHRASES)}){_END}"),
    ("attribute", rf"{{a}} {_BE} (?P<not>not )?(?P<sup>{any_of(ATTRIBUTE_PHRASES)})"),
)  # fmt: skip


def _named(pattern: str, slot: str) -> re.Pattern[str]:
    for letter in "abc":
        pattern = pattern.replace("{" + letter + "}", f"(?P<{letter}>{slot})")
    return re.compile(pattern, re.IGNORECASE)


_WHOLE = tuple((kind, _named(_SO + pattern, _N)) for kind, pattern in _PATTERNS)
_INSIDE = tuple((kind, _named(pattern, _H)) for kind, pattern in _PATTERNS if kind != "whether")

_LISTED = re.compile(
    rf"(?:^|\d, |view, |: |so )(?P<list>{_H}(?:, {_H})*,? and {_H}) (?:is|are) (?P<rel>{_REL}) (?P<of>{_H})",
    re.IGNORECASE,
)
_ORDER = re.compile(rf"{_SO}(?P<order>{_N}(?: [<>] {_N})+)", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?]) +|(?<!:) +(?=Step \d)")
_CLAUSE = re.compile(r"[,;] +(?![^()\[\]]*[)\]])|: +")
_VERB = re.compile(
    r"\b(?:is|are|was|has|will|would|can|measures|stands|lies|sits|looks|appears|equals)\b", re.IGNORECASE
)
_OPPOSITE = re.compile(r"\bopposite\b|\breversed?\b|\bother side\b", re.IGNORECASE)


def find_claims(text: str, names: dict[str, str], question_opposite: bool = False) -> Iterator[Claim]:
    """All claims of a held text, in its order.

    Args:
        text: held text; see `hold_names`.
        names: names by holder.
        question_opposite: the view if a sentence names none.
    """
    for sentence in _SENTENCE.split(text):
        opposite = question_opposite or bool(_OPPOSITE.search(sentence))
        for match in _LISTED.finditer(sentence):
            called = tuple(names[holder] for holder in HOLDER.findall(match["list"] + match["of"]))
            said = release(sentence[match.start("list") : match.end()], names)
            yield Claim("listed", called, predicate_of(match["rel"], RELATION_PHRASES) or "", text=said)
        for clause in _CLAUSE.split(sentence):
            clause = clause.strip().rstrip(".!?").strip()
            order = _ORDER.fullmatch(clause)
            if order and not QUANTITY.match(order["order"]):  # of quantities: a comparison, see `arithmetic`
                yield _order(order["order"], names)
            elif _VERB.search(clause):
                yield from _claims_of(clause, names, opposite)


def _order(text: str, names: dict[str, str]) -> Claim:
    """`mug < can < box` as a claim; its predicate is the sign, `mixed` if they differ."""
    signs = set(re.findall("[<>]", text))
    called = tuple(strip_article(release(part, names)) for part in re.split(" [<>] ", text))
    return Claim("order", called, signs.pop() if len(signs) == 1 else "mixed", text=release(text, names))


def _claims_of(clause: str, names: dict[str, str], opposite: bool) -> Iterator[Claim]:
    for kind, pattern in _WHOLE:
        match = pattern.fullmatch(clause)
        claim = _claim(kind, match, names, opposite) if match else None
        if claim is not None:
            yield claim
            return
    for kind, pattern in _INSIDE:
        for match in pattern.finditer(clause):
            claim = _claim(kind, match, names, opposite)
            if claim is not None:
                yield claim
        if pattern.search(clause):
            return


def _claim(kind: str, match: re.Match[str], names: dict[str, str], opposite: bool) -> Claim | None:
    groups = match.groupdict()
    called = tuple(strip_article(release(groups[s], names)) for s in "abc" if groups.get(s))
    if any(normal(n) in _PRONOUNS for n in called):
        return None
    predicate, number = "", 0.0
    lengths = tuple(find_lengths(groups["len"])) if groups.get("len") else ()
    if kind in ("relation", "difference", "nothing"):
        predicate = predicate_of(groups["rel"], RELATION_PHRASES) or ""
        if kind == "difference" and predicate in PLACES:
            return None
        if kind == "relation" and predicate != "between":
            called = called[:2]
    elif kind in ("extreme", "attribute", "ranked"):
        predicate = predicate_of(groups["sup"], ATTRIBUTE_PHRASES) or ""
    elif kind in ("closer", "closest"):
        predicate = "closer" if groups["near"] else "farther"
        if re.fullmatch(CAMERA, called[1], re.IGNORECASE):
            predicate = "front" if groups["near"] else "behind"
            most = "ranked" if groups.get("rank") else "extreme"
            kind, called = (most, called[:1]) if kind == "closest" else ("relation", called[::2])
    elif kind in ("size", "distance"):
        word = (groups.get("dist") or "").strip().removesuffix("ly")
        gap = "gap" if groups.get("gap") else f"{word}_distance" if word else "distance"
        predicate = _SIZES[groups["size"].lower()] if kind == "size" else gap
        called = tuple("camera" if re.fullmatch(CAMERA, n, re.IGNORECASE) else n for n in called)
    elif kind in ("direction", "away"):
        number = float(groups["hour"] or 0.0)
    elif kind == "volume":
        number = float(groups["litres"] or groups.get("more") or 0.0)
    elif kind == "bearing":
        number = float(groups["deg"]) * (1.0 if groups["side"].lower() == "left" else -1.0)
    elif kind == "count":
        counted = count_word(groups["count"])
        if counted is None:
            return None
        number, called = counted, (strip_article(release(groups["kind"], names)),)
    if groups.get("rank"):
        number = float(ORDINALS.index(groups["rank"].lower()) + 1)
    elif kind == "difference" and groups.get("litres"):
        number = float(groups["litres"])
    negated = bool(groups.get("not"))
    return Claim(kind, called, predicate, lengths, number, negated, opposite, release(match[0], names))


_COUNTS = {"no": "0", "none": "0", "one": "1", **TERMINALS["CARDINAL"]}


def count_word(word: str) -> float | None:
    """`3`, `three`, `no` as a number; None for another word."""
    word = word.lower()
    if re.fullmatch(r"[0-9]{1,9}", word):  # what a model may write without end is no count
        return float(word)
    return float(_COUNTS[word]) if word in _COUNTS else None
