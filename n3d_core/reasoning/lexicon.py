"""Splits a text into words of the question grammar, and inflects nouns.

`words.txt` holds the words. One that stands in quotes in `questions.grammar` is a terminal of its own name, too. Any
other word can be a noun (`WORD`), as a model may know any noun. The `never_nouns` cannot: a sentence that needs one of
them as a noun is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

_DATA = files("n3d_core.reasoning").joinpath("words.txt").read_text(encoding="utf-8")
_MARKS = str.maketrans(dict.fromkeys("\u2018\u2019\u00b4`", "'") | dict.fromkeys("\u201c\u201d", '"')
                       | dict.fromkeys("\u2010\u2011\u2013\u2014", "-"))  # fmt: skip
HOLDER = re.compile("\u27e6\\d+\u27e7")
"""Stands for a name in a held text; see `hold_names`."""
_TOKEN = re.compile(r"\u27e6\d+\u27e7|\d+(?:[.,]\d+)?(?![\w_])|[^\W_](?:[\w/&+-]|'(?!s\b|\W|$))*|'s?\b|[.?!;:,]|\S")
_OTHER_SCRIPTS = re.compile(
    "[\u0370-\u03ff\u0400-\u052f\u0590-\u06ff\u0900-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u00bf]"
)

LISTS: dict[str, frozenset[str]] = {}
"""Lists of `words.txt` by their lower-case names."""
TERMINALS: dict[str, dict[str, str]] = {}
"""Terminal → its words, each with what it stands for."""
for _head, _meaning, _words in re.findall(r"^(\w+)(?: (\S+))?: (.*(?:\n  .*)*)", _DATA, re.MULTILINE):
    if _head.islower():
        LISTS[_head] = frozenset(_words.split())
    else:
        TERMINALS.setdefault(_head, {}).update((word, _meaning or word) for word in _words.split())
_REWRITTEN = [
    (re.compile(pattern, re.IGNORECASE), f" {words.strip()} ")
    for pattern, words in re.findall(r"^(?!#)(.*?) =>(.*)$", _DATA, re.MULTILINE)
]


@dataclass(frozen=True)
class Word:
    """A word or mark of a text: the terminals that it may be, each with what it stands for, and where it stands."""

    text: str
    meanings: Mapping[str, str]
    start: int
    end: int


def normal_text(text: str) -> str:
    """A text with contractions written out, one spelling, and single spaces."""
    text = text.translate(_MARKS)
    for pattern, words in _REWRITTEN:
        text = pattern.sub(words, text)
    return " ".join(text.split())


def hold_names(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Replaces names in a text by holders, so that none is mistaken for another word; the longest names first.

    Returns:
        The held text, and the name of each holder (a number between the brackets U+27E6 and U+27E7).
    """
    text = re.sub("[\u27e6\u27e7]", " ", text)
    unique = {name.lower(): name for name in reversed(list(names)) if name.strip()}
    table: dict[str, str] = {}
    for i, name in enumerate(sorted(unique.values(), key=len, reverse=True)):
        words = r"\s+".join(re.escape(w) for w in name.split())
        flags = 0 if len(name.strip()) == 1 else re.IGNORECASE
        holder = f"\u27e6{i}\u27e7"
        text = re.sub(rf"(?<![\w\u27e6/]){words}(?![\w\u27e7/])", holder, text, flags=flags)
        table[holder] = name
    return text, table


def release(text: str, table: Mapping[str, str]) -> str:
    """Puts the names back into a held text."""
    return HOLDER.sub(lambda holder: table.get(holder[0], holder[0]), text)


def words_of(text: str, table: Mapping[str, str], literals: Collection[str]) -> tuple[str, list[Word]]:
    """A normal text with its names in place, and its words.

    Args:
        table: the names behind the holders of `hold_names`.
        literals: the words that stand in quotes in the grammar.
    """
    found, released, done = [], "", 0
    for match in _TOKEN.finditer(text):
        mark = match[0]
        name = table.get(mark, "")
        released += text[done : match.start()]
        start, done = len(released), match.end()
        released += name or mark
        if name or mark.lower() not in LISTS["vague"]:
            found.append(Word(name or mark, _meanings(mark, name, literals), start, len(released)))
    return released + text[done:], found


def _meanings(mark: str, name: str, literals: Collection[str]) -> dict[str, str]:
    """The terminals that a word may be, and what it stands for as each."""
    word = (name or mark).lower()
    meanings = {terminal: words[word] for terminal, words in TERMINALS.items() if word in words}
    if word in literals:
        meanings[word] = word
    if name:
        return meanings | {"NAME": name}
    if re.fullmatch(r"\d+(?:[.,]\d+)?", mark):
        return meanings | {"NUMBER": mark.replace(",", ".")}
    if mark in ("'s", "'"):
        return {"_POSSESSIVE": mark}
    letter = len(mark) == 1 and mark.isupper() and mark != "I"  # "Is A taller than B?"
    if letter or (mark[0].isalnum() and (not meanings or word in LISTS["also_nouns"]) and not _never_a_noun(word)):
        meanings["WORD"] = word
    return meanings


def is_foreign(text: str, words: Sequence[Word]) -> bool:
    """Whether a text is in another language than English."""
    return any(w.text.lower() in LISTS["foreign"] for w in words) or bool(_OTHER_SCRIPTS.search(text))


def is_compound(words: Sequence[str]) -> bool:
    """Whether words can be one noun: "coffee mug", but not "mugs stand", "lamp quickly" or "mug lifted"."""
    *before, last = words
    if any(w in TERMINALS["QUALITY"] or _is_plural(w) for w in before):
        return False
    if (
        before
        and before[0] in LISTS["ends"]
        and not (before[0] in ("front", "back", "rear") and last in LISTS["parts"])
    ):
        return False
    if last.endswith("ing") and last not in LISTS["nouns_in_ing"]:
        return False
    return not (last.endswith("ed") and len(last) > 5 and last not in LISTS["nouns_in_ed"])


def _is_plural(word: str) -> bool:
    return (
        word.endswith("s") and "'" not in word and singulars(word)[0] != word and word not in LISTS["plural_modifiers"]
    )


def _never_a_noun(word: str) -> bool:
    adverb = word.endswith("where") or (word.endswith("ly") and word not in LISTS["nouns_in_ly"])
    return adverb or word in LISTS["never_nouns"]


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
    """A name in the form in which names are compared: lower case, no article, single spaces."""
    return strip_article(name).lower()


def without_id(name: str) -> str:
    """`chair` of `4_chair`."""
    return _ID.sub("", name)


def color_in(name: str) -> str:
    """The color that a label names, empty if it names none: `red` for `3_red mug`."""
    return " ".join(word for word in normal(without_id(name)).split() if word in TERMINALS["COLOR"])


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
