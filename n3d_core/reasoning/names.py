"""Which boxes a mention means: `the red mug`, `4_chair`, `mugs`, `object`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ARTICLE = re.compile(r"^(?:the|a|an|this|that|these|those|your|my|our|all|all the|every|each)\s+", re.IGNORECASE)
_ID = re.compile(r"^\d+_")
_ANYTHING = {"object", "thing", "item", "one", "box", "bounding box", "object of them", "everything"}
_IRREGULAR = {"people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife",
              "shelves": "shelf", "leaves": "leaf", "mice": "mouse", "feet": "foot", "teeth": "tooth", "loaves": "loaf",
              "dice": "die", "scissors": "scissors", "glasses": "glass", "geese": "goose"}  # fmt: skip


def strip_article(name: str) -> str:
    """A mention without articles, quotes, marks and repeated spaces."""
    name = " ".join(name.strip(" \t,.;:?!'\"()").split())
    previous = None
    while previous != name:
        previous, name = name, _ARTICLE.sub("", name)
    return name


def singular(name: str) -> str:
    """The last word of a noun phrase in the singular: `red boxes` becomes `red box`."""
    head, _, last = name.rpartition(" ")
    low = last.lower()
    if low in _IRREGULAR:
        last = _IRREGULAR[low]
    elif re.search(r"(?:ss|us|is)$", low):
        pass
    elif low.endswith("ies") and len(low) > 4:
        last = last[:-3] + "y"
    elif re.search(r"(?:s|x|z|ch|sh)es$", low):
        last = last[:-2]
    elif low.endswith("s") and len(low) > 2:
        last = last[:-1]
    return f"{head} {last}" if head else last


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
    return normal(kind) in _ANYTHING or singular(normal(kind)) in _ANYTHING


def matching(mention: str, names: Sequence[str]) -> list[int]:
    """Indices of the names that `mention` may mean, by the first of these rules that finds any.

    1. the same name (`4_chair`, `red mug`), 2. the same without an id (`chair` for `4_chair`), 3. the names that end in
    the mention's last word and hold all of its words (`mug` for `red mug`), 4. the names whose words all stand in the
    mention and that end alike (`mug` for `big red mug`).
    """
    wanted = normal(mention)
    plain = [normal(n) for n in names]
    for candidates, target in ((plain, wanted), ([_ID.sub("", n) for n in plain], wanted)):
        for text in dict.fromkeys((target, singular(target))):
            same = [i for i, n in enumerate(candidates) if n == text]
            if same:
                return same
    words = [_ID.sub("", n).split() for n in plain]
    for text in dict.fromkeys((wanted, singular(wanted))):
        asked = _ID.sub("", text).split() if not _ID.match(text) else []
        for larger, smaller in ((1, 0), (0, 1)):
            found = []
            for i, have in enumerate(words):
                pair = (asked, have)
                if asked and have and asked[-1] == have[-1] and set(pair[smaller]) <= set(pair[larger]):
                    found.append(i)
            if found:
                return found
    return []
