"""Checks the boxes and centres that a reasoning states: `The 3D center of mug is [2.15, 1.19, 17.7].`"""

from __future__ import annotations

import re
from collections.abc import Iterator

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old.claims import release
from n3d_core.reasoning.old.facts import Facts
from n3d_core.reasoning.old.findings import Finding, shown
from n3d_core.reasoning.old.names import strip_article
from n3d_core.reasoning.old.relations import MEASURES, as_stated, stated_numbers
from n3d_core.reasoning.units import NUMBER_PATTERN, parse_number, rounding

_LIST = r"\[[^\[\]]*\]"
_STATED = re.compile(
    r"\b3D (?P<what>bbox|bounding box|box|center coordinate|centre coordinate|center|centre|position|coordinate)"
    r"(?:e?s)? of "
    rf"(?P<who>\[[^\[\]]*\]|[^\[\]=]+?) (?:is|are|=) (?P<values>\[(?:{_LIST}[, ]*)+\]|{_LIST}(?:(?:,| and|, and) "
    rf"{_LIST})*)",
    re.IGNORECASE,
)
_AND = re.compile(r"\s*(?:,|\band\b)\s*", re.IGNORECASE)
_MEASURED = re.compile(
    rf"(?P<m>[XYZWHLV])_(?P<letter>[A-Z]) = (?P<value>{NUMBER_PATTERN}) for (?P<who>[^,.;:=]+?)(?=[,.;]|$)"
)
_NUMBERED = re.compile(r"(?P<who>[^,.;:()]+?) \((?P<k>\d+)\)")
_ROUNDING = 1e-6


def check_stated_boxes(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Finding]:
    """Findings about all boxes and centres that a held text states."""
    for match in _STATED.finditer(text):
        who = [strip_article(release(w, names)) for w in _AND.split(match["who"].strip("[]")) if w.strip()]
        lists = re.findall(_LIST, match["values"])
        if len(who) != len(lists):
            yield Finding(
                release(match[0], names), f"{len(who)} objects are named and {len(lists)} lists of numbers stated"
            )
            continue
        size = 6 if "bo" in match["what"].lower() else 3
        for name, values in zip(who, lists, strict=True):
            yield from _check_list(name, values, size, facts)


def _check_list(name: str, values: str, size: int, facts: Facts) -> Iterator[Finding]:
    texts = re.findall(NUMBER_PATTERN, values)
    step = f"{name} is {values}"
    boxes = facts.boxes_called(name)
    if not boxes:
        yield Finding(step, f"{name!r} is none of the objects at hand")
    elif len(texts) != size:
        yield Finding(step, f"{len(texts)} numbers are stated, {size} are wanted")
    elif not any(_matches(texts, box) for box in boxes):
        truth = stated_numbers(boxes[0])[:size]
        yield Finding(step, f"the box of {name} gives {[round(v, 2) for v in truth]}")


def _matches(texts: list[str], box: Box3D) -> bool:
    x, y, z = box.center
    exact = (-x, -y, z, *box.size)
    return all(abs(parse_number(t) - v) <= rounding(t) + _ROUNDING for t, v in zip(texts, exact, strict=False))


def check_measures(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Finding]:
    """Findings about `Z_A = 1.2 for mug`: the letter must be the object's, the number its own."""
    for match in _MEASURED.finditer(text):
        name = strip_article(release(match["who"], names))
        boxes = facts.boxes_called(name)
        step = release(match[0], names)
        value, half = parse_number(match["value"]), rounding(match["value"])
        if not boxes:
            yield Finding(step, f"{name!r} is none of the objects at hand")
        elif facts.letter(name) != match["letter"]:
            yield Finding(step, f"{match['letter']} does not stand for {name}")
        elif not any(abs(v - value) <= half + _ROUNDING for b in boxes for v in _measures(match["m"], b)):
            yield Finding(step, f"{match['m']} of {name} is {shown(MEASURES[match['m']](boxes[0]))}")


def _measures(measure: str, box: Box3D) -> tuple[float, float]:
    return MEASURES[measure](box), MEASURES[measure](as_stated(box))


def check_enumeration(text: str, facts: Facts, names: dict[str, str]) -> Iterator[Finding]:
    """Findings about `The boxes are mug (1), mug (2).`: every object once, numbered in order."""
    found = re.search(r"\bboxes are (?P<list>[^.]*\(\d+\)[^.]*)", text)
    if found is None:
        return
    items = list(_NUMBERED.finditer(found["list"]))
    called = [strip_article(release(i["who"].strip(), names)) for i in items]
    step = release(found[0], names)
    for k, item in enumerate(items, start=1):
        if int(item["k"]) != k:
            yield Finding(step, f"({item['k']}) should be ({k})")
            return
    if sorted(c.lower() for c in called) != sorted(n.lower() for n in facts.roles.names):
        yield Finding(step, f"the objects are {', '.join(facts.roles.names) or 'none'}")
