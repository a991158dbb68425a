"""Reads formulas from text: recursive descent over numbers, names, brackets and operators."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from n3d_core.reasoning.old.expressions import FUNCTION_NAMES, Node, Number, Operation, UnreadableError, Variable
from n3d_core.reasoning.units import decimals_of, parse_number

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+)|(?P<held>\u27e6\d+\u27e7)|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<op>//|\*\*|[-+*/%^()\[\],|\u2212\u00d7\u00b7\u221a]))"
)
_SPELLING = {"\u2212": "-", "\u00d7": "*", "\u00b7": "*", "^": "**"}
_MAX_DEPTH = 30


def read_expression(text: str) -> tuple[Node, int]:
    """The longest expression at the start of `text`, and where it ends.

    Raises:
        UnreadableError: if `text` does not start with one.
    """
    return _Parser(text).longest()


class _Parser:
    """Recursive descent over one text: sum, product, power, atom."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while match := _TOKEN.match(text, position):
            kind = str(match.lastgroup)
            word = _SPELLING.get(match[kind], match[kind])
            self.tokens.append((kind, word, match.end()))
            position = match.end()
        self.at = 0
        self.depth = 0

    def longest(self) -> tuple[Node, int]:
        node = self._sum()
        return node, self.tokens[self.at - 1][2]

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _binary(self, operators: tuple[str, ...], inner: Callable[[], Node]) -> Node:
        node = inner()
        while self._peek() in operators:
            back = self.at
            operator = self._peek()
            self.at += 1
            try:
                node = Operation(operator, (node, inner()))
            except UnreadableError:
                self.at = back  # a trailing dash or the like: the expression ends before it
                break
        return node

    def _deeper(self, inner: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError("the expression is nested too deeply")
        try:
            return inner()
        finally:
            self.depth -= 1

    def _sum(self) -> Node:
        return self._deeper(lambda: self._binary(("+", "-"), self._product))

    def _product(self) -> Node:
        return self._binary(("*", "/", "//", "%"), self._power)

    def _power(self) -> Node:
        if self._peek() in ("-", "+"):
            negative = self._peek() == "-"
            self.at += 1
            inner = self._deeper(self._power)
            return Operation("neg", (inner,)) if negative else inner
        return self._binary(("**",), self._postfix)

    def _postfix(self) -> Node:
        node = self._atom()
        while self._peek() == "[" and isinstance(node, Variable):
            self.at += 1
            index = self._sum()
            self._close("]")
            node = Operation("index", (node, index))
        return node

    def _atom(self) -> Node:
        if self.at >= len(self.tokens):
            raise UnreadableError("the expression ends too early")
        kind, word, _ = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return Number(parse_number(word), decimals_of(word))
        if kind == "held":
            return Variable(word)
        if kind == "name":
            if word in FUNCTION_NAMES and self._peek() == "(":
                self.at += 1
                return Operation(word, tuple(self._arguments(")")))
            return Variable(word)
        if word in ("(", "["):
            items = list(self._arguments(")" if word == "(" else "]"))
            return items[0] if len(items) == 1 else Operation("tuple", tuple(items))
        if word == "|":
            inner = self._sum()
            self._close("|")
            return Operation("abs", (inner,))
        if word == "\u221a":
            return Operation("sqrt", (self._deeper(self._atom),))
        raise UnreadableError(f"{word!r} starts no expression")

    def _arguments(self, end: str) -> Iterator[Node]:
        yield self._sum()
        while self._peek() == ",":
            self.at += 1
            yield self._sum()
        self._close(end)

    def _close(self, end: str) -> None:
        if self._peek() != end:
            raise UnreadableError(f"{end!r} is missing")
        self.at += 1
