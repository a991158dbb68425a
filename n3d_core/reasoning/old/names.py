"""Which boxes a mention means: `the red mug`, `4_chair`, `mugs`, `object`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ARTICLE = re.compile(r"^(?:the|a|an|this|that|these|those|your|my|our|all|all the|every|each)\s+", re.IGNORECASE)
_ID = re.compile(r"^\d+_")
_ANYTHING = {"object", "thing", "item", "one", "bounding box", "everything"}
_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife",
    "shelves": "shelf", "leaves": "leaf", "mice": "mouse", "feet": "foot", "teeth": "tooth", "loaves": "loaf",
    "dice": "die", "scissors": "scissors", "glasses": "glass", "geese": "goose",
}  # fmt: skip


def strip_article(name: str) -> str:
    """A mention without articles, quotes, marks and repeated spaces."""
    name = " ".join(name.strip(" \t,.;:?!'\"()").split())
    previous = None
    while previous != name:
        previous, name = name, _ARTICLE.sub("", name)
    return name


def singulars(name: str) -> tuple[str, ...]:
    """A noun phrase with its last word in the singular, likeliest first: `red boxes` gives `red box` and `red boxe`."""
    head, _, last = name.rpartition(" ")
    low = last.lower()
    if low in _IRREGULAR:
        found = [_IRREGULAR[low]]
    elif re.search(r"(?:ss|us|is)$", low) or not low.endswith("s") or len(low) < 3:
        found = [last]
    elif re.search(r"(?:x|z|ch|sh|ss)es$", low):
        found = [last[:-2], last[:-1]]
    elif low.endswith("ses"):
        found = [last[:-1], last[:-2]]  # vases, and then buses
    elif low.endswith("ies") and len(low) > 4:
        found = [last[:-3] + "y", last[:-1]]
    else:
        found = [last[:-1]]
    return tuple(f"{head} {word}" if head else word for word in found)


def plural(name: str) -> str:
    """The last word of a noun phrase in the plural: `red box` becomes `red boxes`."""
    head, _, last = name.rpartition(" ")
    low = last.lower()
    irregular = next((many for many, one in _IRREGULAR.items() if one == low), None)
    if irregular is not None:
        last = irregular
    elif re.search(r"(?:s|x|z|ch|sh)$", low):
        last += "es"
    elif re.search(r"[^aeiou]y$", low):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


def normal(name: str) -> str:
    """A name for comparison: lower case, no article, single spaces."""
    return strip_article(name).lower()


def is_anything(kind: str) -> bool:
    """Whether a kind means every object (`objects`, `things`)."""
    return any(text in _ANYTHING for text in _readings(kind))


def _readings(mention: str) -> tuple[str, ...]:
    """A mention as it stands and in the singular, for comparison."""
    return tuple(dict.fromkeys((normal(mention), *singulars(normal(mention)))))


def matching(mention: str, names: Sequence[str]) -> list[int]:
    """Indices of the names that `mention` may mean, by the first of these rules that finds any.

    1. the same name (`4_chair`, `red mug`), 2. the same without an id (`chair` for `4_chair`), 3. the names that end in
    the mention's last word and hold all of its words (`mug` for `red mug`), 4. the names whose words all stand in the
    mention and that end alike (`mug` for `big red mug`).
    """
    plain = [normal(n) for n in names]
    without_id = [_ID.sub("", n) for n in plain]
    readings = _readings(mention)
    for candidates in (plain, without_id):
        for text in readings:
            same = [i for i, n in enumerate(candidates) if n == text]
            if same:
                return same
    for text in readings:
        asked = set(text.split())
        alike = [(i, set(n.split())) for i, n in enumerate(without_id) if n.split()[-1:] == text.split()[-1:]]
        found = [i for i, have in alike if asked <= have] or [i for i, have in alike if have <= asked]
        if found:
            return found
    return []
