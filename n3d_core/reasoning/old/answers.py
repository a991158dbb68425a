"""Reads the answer at the end: what it says, in the kind of value that the question asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from n3d_core.reasoning.old.claims import Claim, count_word, find_claims, hold_names, release
from n3d_core.reasoning.old.names import matching, normal
from n3d_core.reasoning.old.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.old.relations import PREDICATES
from n3d_core.reasoning.old.wording import ATTRIBUTE_PHRASES, RELATION_PHRASES
from n3d_core.reasoning.units import NUMBER_PATTERN, Length, find_lengths, parse_number

Answer = bool | int | str | Length | tuple[str, ...]

_NO = re.compile(
    r"\b(?:no|nope|false|incorrect|wrong|not (?:true|correct|the case)|isn't|is not|doesn't|does not|aren't"
    r"|negative)\b",
    re.I,
)
_YES = re.compile(r"\b(?:yes|yeah|yep|true|correct|indeed|affirmative|right)\b", re.I)
_HOUR = re.compile(r"\b(\d{1,2})(?:\.0+)? ?(?:o'? ?clock|h\b|hour)", re.I)
_HOUR_WORD = re.compile(r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) ?o'? ?clock", re.I)
_NUMBER = re.compile(NUMBER_PATTERN)
_THEN = re.compile(r"[<>\u2264\u2265]|\bthen\b|\bbefore\b|,|;|\u2192|->|\band\b", re.I)


def read_answer(question: Question, names: Sequence[str], text: str) -> Answer | None:
    """What an answer says, None where it cannot be read.

    Args:
        question: what was asked.
        names: the objects in their roles; only they can be chosen.
        text: the answer without its reasoning.

    Returns:
        A bool for yes/no, an hour or a count, a `Length`, the name of the chosen object, the predicate that holds for
        the first object (`free`), or names in order (`depth_order`).
    """
    text = " ".join(text.replace("\u2019", "'").split())
    held, table = hold_names(text, [*names, *question.names])
    if question.form == "yes_no":
        return _yes_no(question, names, text, held, table)
    if question.type in SIZES + DISTANCES:
        return _length(question, text)
    if question.type == "direction":
        return _hour(text)
    if question.type == "count":
        return _count(held)
    if question.type == "depth_order":
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
    claims = [c for c in find_claims(held, table, question.opposite) if c.kind in ("relation", "closer")]
    implied = [_implies(question, names, c) for c in claims]
    return next((i for i in implied if i is not None), None)


def _implies(question: Question, names: Sequence[str], claim: Claim) -> bool | None:
    """Whether a claim about the question's objects means yes or no, None if it is about something else."""
    places = [i for n in claim.names for i in matching(n, names)]
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


def _count(held: str) -> int | None:
    text = re.sub(r"\u27e6\d+\u27e7", " ", held)
    words = re.findall(r"[\w.]+", text)
    counts = [c for c in (count_word(w.rstrip(".")) for w in words if w.lower() not in ("one", "no")) if c is not None]
    if not counts:  # "one" and "no" only where nothing better is there: "the one mug", "no, ..."
        counts = [c for c in (count_word(w.rstrip(".")) for w in words) if c is not None]
    return int(counts[-1]) if counts else None


def _mentions(names: Sequence[str], held: str, table: dict[str, str]) -> list[int]:
    """Roles in the order in which a held text names them, each once."""
    roles = [matching(release(h, table), names) for h in re.findall(r"\u27e6\d+\u27e7", held)]
    if not roles:
        roles = [matching(part, names) for part in _THEN.split(held)]
    return list(dict.fromkeys(r[0] for r in roles if len(r) == 1))


def _order(question: Question, names: Sequence[str], held: str, table: dict[str, str]) -> tuple[str, ...] | None:
    """The named objects in the order asked for; those that are none of the question's stand as they are written."""
    parts = [release(p, table).strip(" .") for p in _THEN.split(held) if p.strip(" .")]
    places = [matching(p, names) for p in parts]
    if sum(len(p) == 1 for p in places) < 2:
        return None
    said = [names[p[0]] if len(p) == 1 else part for p, part in zip(places, parts, strict=True)]
    near_first = question.predicate != "behind"
    if ("<" in held and not near_first) or (">" in held and near_first):
        said.reverse()  # the signs say which is nearer, whatever order was asked for
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
    places = [i for n in claim.names for i in matching(n, names)]
    if claim.negated or len(places) != len(claim.names):
        return None
    if question.type == "relative_distance":
        if claim.kind == "closer" and len(places) == 3 and places[0] == 0:
            return places[1] if claim.predicate == question.predicate else places[2]
        if claim.kind == "closest" and places[1:] == [0] and claim.predicate == question.predicate:
            return places[0]
        return None
    if claim.kind == "relation" and question.type in COMPARISONS and PREDICATES[claim.predicate].type == question.type:
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
