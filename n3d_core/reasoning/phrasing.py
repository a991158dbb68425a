"""Sentences for people: the answer to a question, and why the boxes cannot tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from n3d_core.reasoning import relations, replies
from n3d_core.reasoning.doubt import Doubt
from n3d_core.reasoning.lexicon import ORDINALS, color_in, normal, without_id
from n3d_core.reasoning.outcome import (
    Outcome,
    all_of,
    fitting_side,
    gain_of,
    measured,
    more_of,
    rank_of,
    ratio,
    sorts,
    sought,
)
from n3d_core.reasoning.question import ANYTHING, COMPARISONS, DISTANCES, SIZES, Phrase, Question, Where
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.resolve import Roles, article, listed
from n3d_core.reasoning.units import UNITS, number_text

_ADJECTIVES = {"width": "wide", "height": "tall", "length": "long", "thickness": "thick"}
_MEASURES = {
    "X": "position from left to right", "Y": "height above the ground", "Z": "depth", "W": "width", "H": "height",
    "L": "length", "V": "volume", "T": "thickness",
}  # fmt: skip
_COMPARED = {"more": "more than", "less": "less than", "at_least": "at least", "at_most": "at most"}
_STANDS_OUT = 0.4  # share of the distance that an offset along one axis must be to be named
_STRAIGHT, _ASIDE, _REAR = (math.radians(d) for d in (5.0, 70.0, 110.0))


def sentence(question: Question, outcome: Outcome) -> str:
    """The answer to a question in one sentence."""
    if outcome.value.kind == "none" and question.form in ("choice", "free"):
        return ended(f"{listed(_called(outcome.roles))} are equal in {_measure(question)}")
    text = _SENTENCES[question.type](question, outcome)
    if question.negated:
        turned, rest = ("no", text[3:]) if text.startswith("yes") else ("yes", text[2:])
        text = turned + rest
    return ended(text)


def doubt_sentence(question: Question, outcome: Outcome, doubt: Doubt | None) -> str:
    """Why the boxes do not decide a question; empty if they do."""
    if doubt is None:
        return ""
    if doubt.reason:
        return ended(f"the boxes cannot tell: {doubt.reason}")
    if question.type in COMPARISONS and question.form != "difference":
        p, boxes = PREDICATES[question.predicate], outcome.roles.boxes
        numbers = [relations.MEASURES[p.measure](b) for b in boxes]
        unit = "liters" if p.measure == "V" else "m"
        texts = " and ".join(f"{n:.2f} {unit}" for n in numbers)
        names = " and ".join(_called(outcome.roles))
        return ended(f"the boxes cannot tell: {names} are too alike in {_measure(question)} ({texts})")
    if doubt.other is None:
        return "The boxes cannot tell: within their uncertainty the question may be about another object."
    other = sentence(question, doubt.other)
    if other == sentence(question, outcome):
        return "The boxes cannot tell: within their uncertainty the question may be about another object."
    return ended(f"the boxes cannot tell: within their uncertainty the answer may also be: {lowered(other)}")


def length_words(metres: float, unit: str = "m") -> str:
    """`0.31 m`, `31.0 cm`, `12.2 in`."""
    kind = UNITS.get(unit, UNITS["m"])
    number = metres / kind.metres
    return f"{number:.{kind.decimals}f} {kind.symbol}"


def the(name: str, names: Sequence[str] = ()) -> str:
    """`the red mug` for `0_red mug`, with its number if another object has the same name."""
    if name == "camera":
        return "the camera"
    bare = normal(without_id(name)) or name
    alike = [n for n in names if (normal(without_id(n)) or n) == bare]
    number = name.partition("_")[0]
    return f"the {bare} ({number})" if len(alike) > 1 and number.isdigit() else f"the {bare}"


def _called(roles: Roles) -> list[str]:
    return [the(name, roles.names) for name in roles.names]


def _chosen(outcome: Outcome, indices: Sequence[int]) -> list[str]:
    called = _called(outcome.roles)
    return [called[outcome.roles.indices.index(i)] for i in indices]


def ended(text: str) -> str:
    """A sentence: a capital at its start, one full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:].rstrip(".") + "."


def lowered(text: str) -> str:
    """A sentence as it stands after a colon."""
    return text[:1].lower() + text[1:]


def _measure(question: Question) -> str:
    predicate = PREDICATES.get(question.predicate)
    return _MEASURES[predicate.measure] if predicate else "distance"


def _comparison(question: Question, outcome: Outcome) -> str:
    a, b = names = _called(outcome.roles)
    gain = gain_of(question, outcome.roles.boxes)
    if question.form == "yes_no":
        holds = outcome.value.truth
        return f"{_yes(holds)}, {replies.relation_answer(question.predicate, a, b, holds)}"
    held = question.predicate if gain > 0 else PREDICATES[question.predicate].converse
    if question.form == "difference":
        volume = PREDICATES[held].measure == "V"
        amount = f"{abs(gain):.2f} liters" if volume else length_words(abs(gain), question.unit)
        return replies.difference_answer(held, names, amount)
    if question.form == "free":
        return replies.relation_answer(held, a, b)
    winner, loser = (a, b) if gain > 0 else (b, a)
    nearer = {"front": "closer to the camera than", "behind": "farther from the camera than"}
    return f"{winner} is {nearer.get(question.predicate) or PREDICATES[question.predicate].phrase} {loser}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _length(question: Question, outcome: Outcome) -> str:
    called = _called(outcome.roles)
    value = measured(question, outcome.roles.boxes)
    volume = question.type == "volume"
    words = f"{number_text(value * 1000)} liters" if volume else length_words(value, question.unit)
    if question.predicate == "sum":
        how = "" if volume else f" {_ADJECTIVES[question.type]}"
        return f"together {listed(called)} {'take up' if volume else 'are'} {words}{how}"
    if question.predicate == "path":
        return f"the way from {called[0]} over {listed(called[1:-1])} to {called[-1]} is {words} long"
    if question.among is not None:
        most = "farthest from" if question.predicate == "farther" else "closest to"
        return f"{listed(called)} are {most} each other: {words}"
    if question.type in DISTANCES:
        a, b = called
        kind = question.type.replace("_", " ")
        said = f"{a} is {words} from {b}" if kind == "distance" else f"the {kind} between {a} and {b} is {words}"
    else:
        said = f"{called[0]} {'takes up' if volume else 'is'} {words} {_ADJECTIVES.get(question.type, '')}".strip()
    if question.form != "yes_no":
        return said
    limit = question.limit or 0.0
    limit_words = f"{number_text(limit * 1000)} liters" if volume else length_words(limit, question.unit)
    how = _COMPARED.get(question.predicate, "about")
    holds = outcome.value.truth
    return f"{_yes(holds)}, {said}, {'' if holds else 'not '}{how} {limit_words}"


def _relative_distance(question: Question, outcome: Outcome) -> str:
    anchor, *rest = names = _called(outcome.roles)
    farther = question.predicate == "farther"
    if question.form == "order":
        ends = ("farthest from", "closest to") if farther else ("closest to", "farthest from")
        return f"from {ends[0]} {anchor} to {ends[1]} it: {', '.join(_chosen(outcome, outcome.value.objects))}"
    if question.form == "difference":
        gain = gain_of(question, outcome.roles.boxes)
        amount = length_words(abs(gain), question.unit)
        return replies.closeness_answer(names, amount, farther != (gain < 0))
    rank = rank_of(question)
    order = f"the {ORDINALS[rank - 1]} " if 1 < rank <= len(ORDINALS) else ""
    most = f"{order}{'farthest from' if farther else 'closest to'}"
    if question.form != "yes_no":
        return f"{listed(_chosen(outcome, outcome.value.objects))} is {most} {anchor}"
    holds = outcome.value.truth
    negation = "" if holds else "not "
    if question.among is not None:
        return f"{_yes(holds)}, {rest[0]} is {negation}the {most} {anchor}"
    word, to = ("farther", "from") if farther else ("closer", "to")
    return f"{_yes(holds)}, {anchor} is {negation}{word} {to} {rest[0]} than {to} {rest[1]}"


def _superlative(predicate: str) -> str:
    return {"front": "closest to the camera", "behind": "farthest from the camera"}.get(
        predicate, PREDICATES[predicate].superlative
    )


def _order(question: Question, outcome: Outcome) -> str:
    p = PREDICATES[question.predicate]
    ends = f"from {p.superlative} to {PREDICATES[p.converse].superlative}"
    return f"{ends}: {', '.join(_chosen(outcome, outcome.value.objects))}"


def _extreme(question: Question, outcome: Outcome) -> str:
    most = _superlative(question.predicate)
    if question.form == "yes_no":
        holds = outcome.value.truth
        return f"{_yes(holds)}, {_called(outcome.roles)[0]} is {'' if holds else 'not '}the {most}"
    rank = rank_of(question)
    order = f"{ORDINALS[rank - 1]} " if 1 < rank <= len(ORDINALS) else ""
    return f"{listed(_chosen(outcome, outcome.value.objects))} is the {order}{most}"


def _direction(question: Question, outcome: Outcome) -> str:
    a, b = _called(outcome.roles)
    degrees = relations.direction_degrees(*outcome.roles.boxes)
    turned = 360.0 - degrees if degrees > 180.0 else degrees
    where = f"{turned:.0f} degrees to the {'right' if degrees > 180.0 else 'left'}"
    if question.form == "yes_no":
        return f"{_yes(outcome.value.truth)}, {b} is {where}"
    if question.unit != "deg":
        where = f"at {relations.clock_hour(degrees)} o'clock ({where})"
    return f"{b} is {where}" if a == "the camera" else f"seen from {a}, {b} is {where}"


def _angle(_: Question, outcome: Outcome) -> str:
    degrees = relations.angle_seen(*outcome.roles.boxes)
    return f"seen from the camera, the angle between {listed(_called(outcome.roles))} is {degrees:.0f} degrees"


def _color(question: Question, outcome: Outcome) -> str:
    if question.among is not None:
        return f"the colors are {listed(sorts(question, outcome.roles.names))}"
    phrase = question.objects[0]
    name = f"the {normal(phrase.text)}" if phrase.text and phrase.noun != "object" else _called(outcome.roles)[0]
    return f"{name} is {color_in(outcome.roles.names[0])}"


def _dimensions(question: Question, outcome: Outcome) -> str:
    words = [length_words(v, question.unit) for v in outcome.roles.boxes[0].size]
    if question.predicate == "footprint":
        wide, _, deep = outcome.roles.boxes[0].size
        return f"the footprint of {_called(outcome.roles)[0]} is {wide * deep:.3f} m\u00b2: {words[0]} by {words[2]}"
    return f"{_called(outcome.roles)[0]} is {words[0]} wide, {words[1]} tall and {words[2]} deep"


def _position(question: Question, outcome: Outcome) -> str:
    camera, box = outcome.roles.boxes
    if camera != relations.CAMERA:
        return _position_from(question, outcome)
    turned = abs(math.atan2(box.center[0], box.center[2]))
    side = "left" if box.center[0] < 0 else "right"
    ahead = "ahead, " if turned < _ASIDE else "behind, " if turned > _REAR else ""
    where = "straight ahead" if turned < _STRAIGHT else f"{ahead}{math.degrees(turned):.0f} degrees to the {side}"
    away = length_words(relations.distance(camera, box), question.unit)
    point = ", ".join(f"{axis} = {v:.2f}" for axis, v in zip("xyz", box.center, strict=True))
    at = f", at {point} m" if question.predicate == "xyz" else ""
    return f"{_called(outcome.roles)[1]} is {where}, {away} away{at}"


def _position_from(question: Question, outcome: Outcome) -> str:
    """Where an object is from another: the most obvious relations and the distance."""
    (anchor, box), (there, name) = outcome.roles.boxes, _called(outcome.roles)
    away = relations.distance(anchor, box)
    held = [(relations.gain(p, box, anchor), p) for p in ("left", "right", "front", "behind", "above", "below")]
    words = [replies.relation_words(p) for gain, p in sorted(held, reverse=True) if gain > _STANDS_OUT * away]
    return f"{name} is {listed(words)} {there}, {length_words(away, question.unit)} away"


def _count(question: Question, outcome: Outcome) -> str:
    kind, count = sought(question), len(outcome.found)
    if question.predicate in ("kinds", "colors"):
        found = sorts(question, outcome.roles.names)
        return f"there are {len(found)} {question.predicate} of {_kind(kind, True)}: {listed(found)}"
    words = _counted(kind, count)
    if question.type == "exists" and count == 1:
        words = f"there is {article(_kind(kind, False))}"
    if question.form != "yes_no":
        return words
    if count == 0 and not outcome.value.truth:
        return f"no, {words}"
    return f"{_yes(outcome.value.truth)}, {words}"


def _counted(kind: Phrase, count: int) -> str:
    if not count:
        return f"there {'are' if kind.noun == 'object' else 'is'} no {_kind(kind, kind.noun == 'object')} in view"
    return f"there {'are' if count > 1 else 'is'} {count} {_kind(kind, count > 1)}"


def _kind(kind: Phrase, several: bool) -> str:
    """`mugs to the left of the laptop`."""
    words = [replies.kind_words(Phrase(kind.label, kind.noun, kind.colors, kind.attributes), several)]
    words += [_clause(where) for where in kind.where]
    words += replies.exception_words(kind, several, "the ")
    return " ".join(words)


def _clause(where: Where) -> str:
    return replies.clause_words(where, [f"the {r.label}" for r in where.references])


def _related(question: Question, outcome: Outcome) -> str:
    if not question.predicate:
        return _listed(question, outcome)
    references = " and ".join(_called(outcome.roles)[: outcome.references])
    relation = f"{replies.relation_words(question.predicate)} {references}"
    found = _chosen(outcome, outcome.found)
    kind = question.among
    if question.form == "number":
        return f"{_counted(sought(question), len(found)).removesuffix(' in view')} {relation}"
    start = f"{_yes(bool(found))}, " if question.form == "yes_no" else ""
    if not found:
        found = [f"no {_kind(kind, False)}" if kind is not None and not kind.is_anything else "nothing"]
    return f"{start}{listed(found)} {'are' if len(found) > 1 else 'is'} {relation}"


def _listed(question: Question, outcome: Outcome) -> str:
    """All objects of a kind."""
    kind, found = sought(question), _chosen(outcome, outcome.found)
    if kind.pick and kind.pick.rank == 1 and kind.pick.predicate in PREDICATES and len(found) > 1:
        return f"{listed(found)} are the {len(found)} {_superlative(kind.pick.predicate)}"
    if kind.pick and kind.pick.predicate == "middle" and found:
        return f"{listed(found)} {'are' if len(found) > 1 else 'is'} in the middle"
    words = _counted(kind, len(found))
    if question.form == "yes_no":
        words = f"{_yes(bool(found))}, {words}"
    return f"{words}: {listed(found)}" if found and question.form != "number" else words


def _place(question: Question, outcome: Outcome) -> str:
    subject, *references = _called(outcome.roles)
    holds = outcome.value.truth
    return f"{_yes(holds)}, {replies.related_answer(question.predicate, [subject], references, holds)}"


def _fit(question: Question, outcome: Outcome) -> str:
    holds, called = outcome.value.truth, _called(outcome.roles)
    if question.predicate == "between" and question.limit is None:
        wide, gap = fitting_side(question, outcome.roles.boxes[0]), relations.gap(*outcome.roles.boxes[1:])
        fits = "fits" if holds else "does not fit"
        compared = f"it is {length_words(wide)} across and the gap is {length_words(gap)}"
        return f"{_yes(holds)}, {called[0]} {fits} between {called[1]} and {called[2]}: {compared}"
    if question.limit is None:
        return f"{_yes(holds)}, {called[0]} {'fits' if holds else 'does not fit'} into {called[1]}"
    side = length_words(fitting_side(question, outcome.roles.boxes[0]))
    if question.predicate == "cube":
        fits = f"which is {'not ' if holds else ''}more than {length_words(question.limit)}"
        return f"{_yes(holds)}, the longest side of {called[0]} is {side}, {fits}"
    across = "tall" if question.predicate == "under" else "across where it is narrowest"
    how = {"grip": "which fits a grip of", "under": "which fits under"}.get(question.predicate, "which fits through")
    compared = f"{how if holds else 'more than'} {length_words(question.limit)}"
    return f"{_yes(holds)}, {called[0]} is {side} {across}, {compared}"


def _all(question: Question, outcome: Outcome) -> str:
    kind, total, found = question.among or ANYTHING, all_of(outcome), len(outcome.found)
    more = sought(question)
    said = " ".join(more.colors[len(kind.colors) :]) or " and ".join(map(_clause, more.where[len(kind.where) :]))
    if more.noun != kind.noun:
        said = replies.kind_words(Phrase("", more.noun, more.colors, more.attributes), total > 1)
        said = said if total > 1 else article(said)
    if kind.number == 1:
        return f"{_yes(found == 1)}, the {normal(kind.text)} is {'' if found else 'not '}{said}"
    if total == 1:
        return f"{_yes(found == 1)}, the only {_kind(kind, False)} is {'' if found else 'not '}{said}"
    share = f"all {total}" if found == total else f"only {found} of {total}" if found else f"none of {total}"
    return f"{_yes(found == total)}, {share} {_kind(kind, True)} {'is' if found == 1 < total else 'are'} {said}"


def _outnumber(question: Question, outcome: Outcome) -> str:
    """Yes, there are more mugs (3) than balls (2); there are 3 mugs and 2 balls: 1 more (5 in all)."""
    more, counts = more_of(outcome), outcome.counts
    together = question.predicate in ("any", "each", "both", "but_no")
    if together or question.form == "number":
        kinds = [f"{n} {_kind(kind, n != 1)}" for kind, n in zip(question.objects, counts, strict=True)]
        there = f"there {'is' if counts[0] == 1 else 'are'} {listed(kinds)}"
        if question.form == "yes_no":
            return f"{_yes(outcome.value.truth)}, {there}"
        if question.predicate == "both":
            return there
        how = f"{len(outcome.found)} in all" if together else f"{abs(more)} {'fewer' if more < 0 else 'more'}"
        return f"{there}: {how}"
    first, second = (f"{_kind(kind, True)} ({n})" for kind, n in zip(question.objects, counts, strict=True))
    words = f"{'more' if more > 0 else 'fewer'} {first} than {second}" if more else f"as many {first} as {second}"
    return f"{_yes(outcome.value.truth)}, there are {words}"


def _proportion(question: Question, outcome: Outcome) -> str:
    called, boxes = _called(outcome.roles), outcome.roles.boxes * 2
    if question.form == "number":
        return _ratio(question, called, ratio(question, outcome.roles.boxes))
    first, second = (
        f"{length_words(relations.SIZE[size](box))} {_ADJECTIVES[size]}"
        for size, box in zip(question.sizes, boxes, strict=False)
    )
    both = f"{called[0]} is {first} and {f'{called[1]} is ' if len(called) > 1 else ''}{second}"
    return f"{_yes(outcome.value.truth)}, {both}"


def _ratio(question: Question, called: list[str], times: float) -> str:
    """The mug is 1.4 times as tall as the box; the height of the mug is 140 % of its width."""
    own, other = question.sizes
    whose = f"the {other} of {called[1]}" if len(called) > 1 else f"its {other}"
    if question.predicate == "percent":
        return f"the {own} of {called[0]} is {100 * times:.0f} % of {whose}"
    if own == other == "distance":
        return f"{called[0]} is {times:.2f} times as far away as {called[1]}"
    if own == other and own in _ADJECTIVES and len(called) > 1:
        return f"{called[0]} is {times:.2f} times as {_ADJECTIVES[own]} as {called[1]}"
    return f"the {own} of {called[0]} is {times:.2f} times {whose}"


def _colors(question: Question, outcome: Outcome) -> str:
    """Yes, the ball and the box are both red; no, the bowls are red and blue."""
    called, colors = _called(outcome.roles), [color_in(name) for name in outcome.roles.names]
    yes, several = _yes(outcome.value.truth), len(set(colors)) > 1
    if question.among is not None:
        found = listed(sorts(question, outcome.roles.names))
        return f"{yes}, the {len(called)} {_kind(question.among, True)} are {found if several else f'all {found}'}"
    if not several:
        return f"{yes}, {listed(called)} are both {colors[0]}"
    return f"{yes}, {' and '.join(f'{name} is {color}' for name, color in zip(called, colors, strict=True))}"


def _same(question: Question, outcome: Outcome) -> str:
    if question.predicate in ("color", "other_color", "some_color"):
        return _colors(question, outcome)
    names, boxes = _called(outcome.roles), outcome.roles.boxes
    if question.predicate in ("side", "other_side"):
        sides = ["left" if box.center[0] < 0 else "right" for box in boxes]
        return f"{_yes(outcome.value.truth)}, {names[0]} is on the {sides[0]} and {names[1]} on the {sides[1]}"
    if question.predicate == "dimensions":
        sizes = [" x ".join(f"{v:.2f}" for v in box.size) + " m" for box in boxes]
        how = "the size"
    else:
        sizes = [length_words(relations.SIZE[question.predicate](box)) for box in boxes]
        how = f"the {question.predicate}"
    return f"{_yes(outcome.value.truth)}, {how} of {names[0]} is {sizes[0]} and that of {names[1]} is {sizes[1]}"


_SENTENCES: dict[str, Callable[[Question, Outcome], str]] = {
    **dict.fromkeys(COMPARISONS, _comparison),
    **dict.fromkeys((*SIZES, *DISTANCES), _length),
    **dict.fromkeys(("count", "exists"), _count),
    **dict.fromkeys(("order", "depth_order"), _order),
    "relative_distance": _relative_distance,
    "extreme": _extreme,
    "direction": _direction,
    "position": _position,
    "dimensions": _dimensions,
    "angle": _angle,
    "color": _color,
    "related": _related,
    "place": _place,
    "fit": _fit,
    "same": _same,
    "all": _all,
    "outnumber": _outnumber,
    "proportion": _proportion,
}
