"""Singulars and plurals of nouns, and names of objects in a form that can be compared."""

from __future__ import annotations

import re

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ARTICLE = re.compile(r"^(?:the|a|an|this|that|these|those|your|my|our|all|all the|every|each)\s+", re.IGNORECASE)
_ID = re.compile(r"^\d+_")
_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife",
    "shelves": "shelf", "leaves": "leaf", "mice": "mouse", "feet": "foot", "teeth": "tooth", "loaves": "loaf",
    "buses": "bus", "gases": "gas", "lenses": "lens", "tomatoes": "tomato",
    "potatoes": "potato", "mangoes": "mango", "cookies": "cookie", "movies": "movie",
    "dice": "die", "scissors": "scissors", "glasses": "glass", "geese": "goose",
}  # fmt: skip


def strip_article(name: str) -> str:
    """A mention without articles, quotes, marks and repeated spaces."""
    name = " ".join(name.strip(" \t,.;:?!'\"()").split())
    previous = None
    while previous != name:
        previous, name = name, _ARTICLE.sub("", name)
    return name


def normal(name: str) -> str:
    """A name for comparison: lower case, no article, single spaces."""
    return strip_article(name).lower()


def without_id(name: str) -> str:
    """`chair` of `4_chair`."""
    return _ID.sub("", name)


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
