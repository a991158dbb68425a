"""A parser for small grammars of natural language: all readings of a sentence, each meaning once.

The notation is lark's (rules, `|`, `?`, `*`, `+`, groups, aliases after `->`), and `{a b? c*}` for pieces in any order.
lark itself was tried: its Earley parser predicts without looking at the next word and needs 0.2 s for a question of
eight words, this one 1 or 2 ms. It descends from the start rule, keeps what it found for each rule and place, and tries
an alternative only where the next word can begin it. Rules must not be left-recursive.

An alternative's meaning is what the method of its alias makes of its children's meanings. Quoted words, terminals whose
names begin with "_", and None leave no child; rules whose names begin with "_" hand their children on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Meanings = tuple[Any, ...]
Matches = list[tuple[int, Meanings]]
"""Where a match ends, and its children."""


class NoReadingError(Exception):
    """Raised by a method: an alternative that makes no sense with these children."""


class TooManyReadingsError(Exception):
    """A sentence costs more than `MAX_STEPS`."""


MAX_STEPS = 50_000
"""Matches that are tried in one sentence; questions of 20 words need about 2,000."""


class Lexeme(Protocol):
    """A word of a sentence: the terminals that it may be, each with its meaning (quoted words are terminals, too)."""

    @property
    def meanings(self) -> Mapping[str, str]: ...


@dataclass(eq=False)
class Node:
    """A piece of the grammar: `kind` is "terminal", "rule", "sequence", "shuffle" (in any order), "choice" or "repeat"
    (`least` times, `many`)."""

    kind: str
    name: str = ""
    items: list[Node] = field(default_factory=list)
    least: int = 1
    many: bool = False
    alias: str = ""
    first: frozenset[str] = frozenset()
    empty: bool = False


_TOKEN = re.compile(r'\s+|//[^\n]*|(->|"[^"]+"|[\w.]+|[:|()?*+{}])')


class Grammar:
    """A grammar, and the words that stand in quotes in it."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        self.literals: set[str] = set()
        for match in re.finditer(r"^(\w+):(.*?)(?=^\w+:|\Z)", text, re.MULTILINE | re.DOTALL):
            if match[1] in self.rules:
                raise ValueError(f"rule {match[1]} stands twice")
            tokens = [t for t in _TOKEN.findall(match[2]) if t]
            self.rules[match[1]] = self._choice(tokens)
            if tokens:
                raise ValueError(f"rule {match[1]}: unexpected {tokens[0]!r}")
        self._find_first()

    def _choice(self, tokens: list[str]) -> Node:
        options = [self._sequence(tokens)]
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            options.append(self._sequence(tokens))
        return Node("choice", items=options)

    def _sequence(self, tokens: list[str]) -> Node:
        items: list[Node] = []
        while tokens and tokens[0] not in "|)}" and tokens[0] != "->":
            items.append(self._item(tokens))
        node = Node("sequence", items=items)
        if tokens and tokens[0] == "->":
            node.alias = tokens[1]
            del tokens[:2]
        return node

    def _item(self, tokens: list[str]) -> Node:
        token = tokens.pop(0)
        if token == "(":
            node = self._choice(tokens)
            tokens.pop(0)
        elif token == "{":
            node = Node("shuffle", items=self._sequence(tokens).items)
            tokens.pop(0)
        elif token.startswith('"'):
            node = Node("terminal", token[1:-1])
            self.literals.add(token[1:-1])
        else:
            node = Node("terminal" if token.isupper() else "rule", token)
        if tokens and tokens[0] in "?*+":
            mark = tokens.pop(0)
            node = Node("repeat", items=[node], least=int(mark == "+"), many=mark != "?")
        return node

    def _find_first(self) -> None:
        """The terminals with which each piece may begin, and whether it may be empty."""
        changed = True
        while changed:
            changed = False
            for node in [n for rule in self.rules.values() for n in self.nodes(rule)]:
                first, empty = self._first(node)
                if (first, empty) != (node.first, node.empty):
                    node.first, node.empty, changed = first, empty, True

    def _first(self, node: Node) -> tuple[frozenset[str], bool]:
        if node.kind == "terminal":
            return frozenset([node.name]), False
        if node.kind == "rule":
            rule = self.rules[node.name]
            return rule.first, rule.empty
        if node.kind == "sequence":
            first: set[str] = set()
            for item in node.items:
                first |= item.first
                if not item.empty:
                    return frozenset(first), False
            return frozenset(first), True
        first = set().union(*(item.first for item in node.items))
        if node.kind == "shuffle":
            return frozenset(first), all(item.empty for item in node.items)
        empty = node.least == 0 if node.kind == "repeat" else any(item.empty for item in node.items)
        return frozenset(first), empty

    def nodes(self, node: Node) -> list[Node]:
        """A piece and all pieces of it."""
        return [n for item in node.items for n in self.nodes(item)] + [node]

    def readings(
        self, start: str, words: Sequence[Lexeme], mean: Callable[[str, Meanings, int, int], Any]
    ) -> list[Any]:
        """What a whole sentence may mean by a rule, each meaning once.

        Args:
            mean: takes an alternative's alias, its children and the span of words that it covers.
        """
        found = _Parse(self, words, mean).rule(start, 0)
        return list(dict.fromkeys(c for end, children in found if end == len(words) for c in children))


class _Parse:
    def __init__(self, grammar: Grammar, words: Sequence[Lexeme], mean: Callable[..., Any]) -> None:
        self.grammar, self.words, self.mean = grammar, words, mean
        self.known: dict[tuple[str, int], Matches] = {}
        self.steps = 0

    def rule(self, name: str, at: int) -> Matches:
        """All that a rule matches at a place."""
        if (name, at) not in self.known:
            found: dict[tuple[int, Meanings], None] = {}
            for option in self.grammar.rules[name].items:
                for end, children in self.match(option, at):
                    if name[0] != "_":
                        try:
                            meaning = self.mean(option.alias, children, at, end)
                        except NoReadingError:
                            continue
                        children = () if meaning is None else (meaning,)
                    found[end, children] = None
            self.known[name, at] = list(found)
        return self.known[name, at]

    def match(self, node: Node, at: int) -> Matches:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooManyReadingsError
        begins = at < len(self.words) and not node.first.isdisjoint(self.words[at].meanings)
        if not begins:
            return [(at, ())] if node.empty and node.kind != "rule" else self.rule(node.name, at) if node.empty else []
        if node.kind == "terminal":
            return [
                (
                    at + 1,
                    () if node.name[0] == "_" or not node.name.isupper() else (self.words[at].meanings[node.name],),
                )
            ]
        if node.kind == "rule":
            return self.rule(node.name, at)
        if node.kind == "sequence":
            return self.sequence(node.items, at)
        if node.kind == "shuffle":
            return self.shuffle(node.items, at)
        if node.kind == "choice":
            return _once([m for option in node.items for m in self.match(option, at)])
        return self.repeat(node, at)

    def sequence(self, items: list[Node], at: int) -> Matches:
        found: Matches = [(at, ())]
        for item in items:
            found = [(end, (*c, *more)) for start, c in found for end, more in self.match(item, start)]
            if not found:
                break
        return found

    def shuffle(self, items: list[Node], at: int) -> Matches:
        """All pieces once, in any order; one that may repeat may do so at several places."""
        found: Matches = []
        reached: dict[tuple[int, Meanings, frozenset[int]], None] = {(at, (), frozenset()): None}
        while reached:
            onward: dict[tuple[int, Meanings, frozenset[int]], None] = {}
            for start, children, done in reached:
                if all(i in done or item.empty for i, item in enumerate(items)):
                    found.append((start, children))
                for i, item in enumerate(items):
                    if i in done and not item.many:
                        continue
                    for end, more in self.match(item.items[0] if item.kind == "repeat" else item, start):
                        if end > start:
                            onward[end, (*children, *more), done | {i}] = None
            reached = onward
        return _once(found)

    def repeat(self, node: Node, at: int) -> Matches:
        found: Matches = [] if node.least else [(at, ())]
        reached: Matches = [(at, ())]
        while reached:
            reached = [
                (end, (*c, *m)) for start, c in reached for end, m in self.match(node.items[0], start) if end > start
            ]
            reached = _once(reached)
            found += reached
            if not node.many:
                break
        return found


def _once(found: Matches) -> Matches:
    return list(dict.fromkeys(found))
