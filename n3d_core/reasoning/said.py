"""Reads the value that an answer states, in the kind that the question asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from n3d_core.reasoning.claims import (
    ATTRIBUTE_PHRASES,
    RELATION_PHRASES,
    Claim,
    count_word,
    find_claims,
)
from n3d_core.reasoning.facts import named
from n3d_core.reasoning.lexicon import HOLDER, color_in, hold_names, normal, release
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.relations import PREDICATES, largest_wins
from n3d_core.reasoning.units import NUMBER_PATTERN, Length, decimals_of, find_lengths, parse_number


@dataclass(frozen=True)
class Amount:
    """A signed number: a difference (negative where the opposite holds; metres or litres), litres, or degrees to the
    left; and how far rounding may have moved it."""

    value: float
    resolution: float


@dataclass(frozen=True)
class Whereabouts:
    """Where an object is according to an answer: distance, hour (also an impossible one) and side, as far as it states
    them."""

    away: Length | None
    hour: int | None
    side: str


StatedAnswer = bool | int | str | Length | Amount | Whereabouts | tuple[str, ...]

_NO = re.compile(
    r"\b(?:no|nope|false|incorrect|wrong|not (?:true|correct|the case)|isn't|is not|doesn't|does not|aren't"
    r"|negative)\b",
    re.I,
)
_YES = re.compile(r"\b(?:yes|yeah|yep|true|correct|indeed|affirmative|right)\b", re.I)
_HOUR = re.compile(r"\b(\d{1,2})(?:\.0+)? ?(?:o'? ?clock|h\b|hour)", re.I)
_HOUR_WORD = re.compile(r"\b([a-z]+) ?o'? ?clock", re.I)
_NUMBER = re.compile(NUMBER_PATTERN)
_THEN = re.compile(r"[<>\u2264\u2265]|\bthen\b|\bbefore\b|,|;|\u2192|->|\band\b", re.I)


def read_answer(question: Question, names: Sequence[str], text: str) -> StatedAnswer | None:
    """Reads the value of an answer; None if there is none in it.

    Args:
        question: what was asked.
        names: names of the objects in their roles; only these can be chosen.
        text: the answer without its reasoning.

    Returns:
        A bool for yes/no, an hour or a count, a `Length`, an `Amount`, the `Whereabouts`, the name of the chosen
        object, the predicate that holds for the first object (`free`), or names (of an order, or of what is related).
    """
    text = " ".join(text.replace("\u2019", "'").split())
    held, table = hold_names(text, [*names, *(phrase.label for phrase in question.objects)])
    if question.form == "yes_no":
        return _yes_no(question, names, text, held, table)
    if question.form == "difference":
        return _difference(question, names, text, held, table)
    if question.type == "volume":
        return _litres(text)
    if question.type in SIZES + DISTANCES:
        return _length(question, text)
    if question.type == "dimensions":
        lengths = find_lengths(text)
        return tuple(f"{v.metres:.2f}" for v in lengths[-3:]) if len(lengths) >= 3 else None
    if question.type == "position":
        return _whereabouts(text)
    if question.type == "angle":
        return _degrees(text)
    if question.type == "color":
        return color_in(text.rpartition(" is ")[2]) or None
    if question.type == "direction":
        return _degrees(text) if question.unit == "deg" else _hour(text)
    if question.predicate == "both":
        return tuple(re.findall(r"\b\d+\b", HOLDER.sub("", held))) or None
    if question.form == "number":
        return _more(question, held) if question.type == "outnumber" and question.predicate != "any" else _count(held)
    if question.type == "related":
        return _related(question, names, held, table)
    if question.type in ("depth_order", "order"):
        return _order(question, names, held, table)
    if question.form == "free":
        return _free(question, names, held, table)
    return _choice(question, names, held, table)


def _yes_no(question: Question, names: Sequence[str], text: str, held: str, table: dict[str, str]) -> bool | None:
    plain = re.sub(r"\bright\b(?! ?[.,!]|$)", "", text, flags=re.I)  # "to the right of" is no assent
    no, yes = _NO.search(plain), _YES.search(plain)
    if no and yes:
        return yes.start() < no.start() and not re.search(r"\bnot\b", plain, re.I)
    if no or yes:
        return yes is not None
    claims = list(find_claims(held, table, question.opposite))
    implied = [_implies(question, names, c) for c in claims]
    return next((i for i in implied if i is not None), None)


def _implies(question: Question, names: Sequence[str], claim: Claim) -> bool | None:
    """Whether a claim about the question's objects means yes or no, None if it is about something else."""
    places = [i for n in claim.names for i in named(n, names)]
    if claim.kind == "relation" and question.type == "place" and places[:1] == [0]:
        return None if claim.predicate != question.predicate else not claim.negated
    if claim.kind == "closer" and len(places) == 3 and places[0] == 0:
        agrees = (claim.predicate == question.predicate) == (places[1] < places[2])
        return agrees != claim.negated
    if claim.kind == "relation" and claim.predicate in PREDICATES and sorted(places) == [0, 1]:
        if PREDICATES[claim.predicate].type != question.type:
            return None
        agrees = (claim.predicate == question.predicate) == (places == [0, 1])
        return agrees != claim.negated
    return None


def _length(question: Question, text: str) -> Length | None:
    found = find_lengths(text)
    if found:
        return found[-1]
    bare = _NUMBER.fullmatch(text.strip(" ."))
    lengths = find_lengths(f"{bare[0]} {question.unit}") if bare and parse_number(bare[0]) >= 0 else []
    return lengths[0] if lengths else None


def _hour(text: str) -> int | None:
    match = _HOUR.search(text)
    word = _HOUR_WORD.search(text)
    bare = re.fullmatch(r"(?:[A-Za-z ]*\b)?(\d{1,2})(?:\.0+)?\.?", text.strip())
    hour = int(match[1]) if match else int(count_word(word[1]) or 0) if word else int(bare[1]) if bare else 0
    return hour if 1 <= hour <= 12 else None


_LITRES = re.compile(rf"({NUMBER_PATTERN}) ?(?:liters?|litres?|l)\b", re.I)
_DEGREES = re.compile(rf"({NUMBER_PATTERN}) ?(?:degrees?|deg|\u00b0)", re.I)
_SIDE = re.compile(r"\b(left|right)\b", re.I)


def _litres(text: str) -> Amount | None:
    found = _LITRES.findall(text)
    return Amount(parse_number(found[-1]), 0.5 * 10.0 ** -max(decimals_of(found[-1]), 2)) if found else None


def _degrees(text: str) -> Amount | None:
    """Degrees to the left in [0, 360)."""
    found, side = _DEGREES.search(text), _SIDE.search(text)
    if not found:
        return None
    turned = parse_number(found[1]) * (-1.0 if side and side[1].lower() == "right" else 1.0)
    return Amount(turned % 360.0, 0.5 * 10.0 ** -decimals_of(found[1]))


def _whereabouts(text: str) -> Whereabouts | None:
    lengths, side, digits = find_lengths(text), _SIDE.search(text), _HOUR.search(text)
    hour = int(digits[1]) if digits else _hour(text) if _HOUR_WORD.search(text) else None
    if not (lengths or side or hour):
        return None
    return Whereabouts(lengths[-1] if lengths else None, hour, side[1].lower() if side else "")


def _difference(question: Question, names: Sequence[str], text: str, held: str, table: dict[str, str]) -> Amount | None:
    """By how much which relation holds of the first object; the last amount is the one that counts."""
    lengths, litres = find_lengths(text), _litres(text)
    if question.type == "relative_distance":
        word = re.search(r"\b(?:(closer|nearer)|(farther|further))\b", text, re.I)
        if not lengths or not word:
            return None
        value, resolution = lengths[-1].metres, lengths[-1].resolution
        roles = [r for h in HOLDER.findall(held) for r in named(release(h, table), names)]
        swapped = roles[:3] == [0, 2, 1]
        return Amount(value if (bool(word[1]) == (question.predicate == "closer")) != swapped else -value, resolution)
    if PREDICATES[question.predicate].measure == "V":
        amount = (litres.value, litres.resolution) if litres else None
    else:
        amount = (lengths[-1].metres, lengths[-1].resolution) if lengths else None
    roles = _mentions(names, held, table)
    if amount is None:
        return None
    for predicate, sign in ((PREDICATES[question.predicate].converse, -1.0), (question.predicate, 1.0)):
        pattern = "|".join(p for name, p in RELATION_PHRASES if name == predicate)
        if re.search(rf"\b(?:{pattern})", held, re.I):
            return Amount(sign * amount[0] * (-1.0 if roles[:2] == [1, 0] else 1.0), amount[1])
    return Amount(*amount) if not roles else None  # an amount alone: the relation that was asked for


def _related(question: Question, names: Sequence[str], held: str, table: dict[str, str]) -> tuple[str, ...] | None:
    """The objects that are named before the relation's own."""
    roles = _mentions(names, held, table)
    count = 2 if question.predicate == "between" else 1 if question.predicate else 0
    found = tuple(names[r] for r in roles if r >= count)
    if found:
        return found
    listed = re.search(r"\bobjects are ([^.]+)", held)
    if listed:
        return tuple(release(part, table).strip() for part in re.split(r",| and ", listed[1]))
    return () if re.search(r"\b(?:nothing|none|no)\b", held, re.I) else None


def _count(held: str) -> int | None:
    text = HOLDER.sub(" ", held)
    words = re.findall(r"[\w.]+", text)
    counts = [c for c in (count_word(w.rstrip(".")) for w in words if w.lower() not in ("one", "no")) if c is not None]
    if not counts:  # "one" and "no" only where nothing better is there: "the one mug", "no, ..."
        counts = [c for c in (count_word(w.rstrip(".")) for w in words) if c is not None]
    return int(counts[-1]) if counts else None


def _more(question: Question, held: str) -> int | None:
    """How many more (or fewer, as the question asks); negative if the answer says the opposite."""
    count, opposite = _count(held), "more" if question.predicate == "less" else "fewer"
    return -count if count and re.search(rf"\b{opposite}\b", held, re.I) else count


def _mentions(names: Sequence[str], held: str, table: dict[str, str]) -> list[int]:
    """Roles in the order in which a held text names them, each once."""
    roles = [named(release(h, table), names) for h in HOLDER.findall(held)]
    if not roles:
        roles = [named(part, names) for part in _THEN.split(held)]
    return list(dict.fromkeys(r[0] for r in roles if len(r) == 1))


def _order(question: Question, names: Sequence[str], held: str, table: dict[str, str]) -> tuple[str, ...] | None:
    """The named objects in the order asked for; those that are none of the question's stand as they are written."""
    parts = [release(p, table).strip(" .") for p in _THEN.split(held) if p.strip(" .")]
    places = [named(p, names) for p in parts]
    if sum(len(p) == 1 for p in places) < 2:
        return None
    said = [names[p[0]] if len(p) == 1 else part for p, part in zip(places, parts, strict=True)]
    falling = largest_wins(question.predicate, question.opposite)
    if ("<" in held and falling) or (">" in held and not falling):
        said.reverse()  # the signs say which has the smaller measure, whatever order was asked for
    return tuple(said)


def _choice(question: Question, names: Sequence[str], held: str, table: dict[str, str]) -> str | None:
    candidates = names[1:] if question.type == "relative_distance" else names
    for claim in find_claims(held, table, question.opposite):
        chosen = _chosen(question, names, claim)
        if chosen is not None:
            return names[chosen]
    mentioned = [i for i in _mentions(names, held, table) if names[i] in candidates]
    return names[mentioned[0]] if len(mentioned) == 1 else None


def _chosen(question: Question, names: Sequence[str], claim: Claim) -> int | None:
    """The role that a claim makes the winner of the question, None if it says nothing about that."""
    places = [i for n in claim.names for i in named(n, names)]
    if claim.negated or len(places) != len(claim.names):
        return None
    if question.type == "relative_distance":
        if claim.kind == "closer" and len(places) == 3 and places[0] == 0:
            return places[1] if claim.predicate == question.predicate else places[2]
        if claim.kind == "closest" and places[1:] == [0] and claim.predicate == question.predicate:
            return places[0]
        return None
    is_relation = claim.kind == "relation" and claim.predicate in PREDICATES
    if is_relation and question.type in COMPARISONS and PREDICATES[claim.predicate].type == question.type:
        return places[0] if claim.predicate == question.predicate else places[1]
    if claim.kind in ("extreme", "attribute") and claim.predicate == question.predicate:
        return places[0]
    if (
        claim.kind in ("extreme", "attribute")
        and len(names) == 2
        and PREDICATES[claim.predicate].converse == question.predicate
    ):
        return 1 - places[0]
    return None


def _free(question: Question, names: Sequence[str], held: str, table: dict[str, str]) -> str | None:
    for claim in find_claims(held, table, question.opposite):
        if claim.kind == "relation":
            implied = _implies(question, names, claim)
            if implied is not None:
                return question.predicate if implied else PREDICATES[question.predicate].converse
    words = " ".join(held.split()).strip(" .")
    for predicate in (question.predicate, PREDICATES[question.predicate].converse):
        phrases = [p for name, p in (*RELATION_PHRASES, *ATTRIBUTE_PHRASES) if name == predicate]
        if normal(words) == predicate or any(re.fullmatch(rf"(?:it is |it's )?(?:{p})", words, re.I) for p in phrases):
            return predicate
    return None
