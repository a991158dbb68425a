"""Reads and evaluates the arithmetic that a chain of thought writes down: `sqrt(0.3^2 + (-0.1)^2)`, `12 - (a // 30)`.

Only the operations below exist; nothing is executed. Values are numbers or tuples of numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from n3d_core.reasoning.units import decimals_of, parse_number

Value = float | tuple[float, ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+)|(?P<held>\u27e6\d+\u27e7)|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<op>//|\*\*|[-+*/%^()\[\],|\u2212\u00d7\u00b7\u221a]))"
)
_SPELLING = {"\u2212": "-", "\u00d7": "*", "\u00b7": "*", "^": "**"}
_MAX_DEPTH = 30


class UnreadableError(ValueError):
    """A text is no expression, or its value is not known."""


@dataclass(frozen=True)
class Number:
    """A number as it is written, and how many decimals it is written with."""

    value: float
    decimals: int

    def rounding(self, decimals: int = 2) -> float:
        """How far rounding may have moved it if numbers are written with `decimals` (without trailing zeros) or more."""
        return 0.5 * 10.0 ** -max(self.decimals, decimals)


@dataclass(frozen=True)
class Variable:
    """A named quantity (`Z_A`, `vector_AB`) or a held object name."""

    name: str


@dataclass(frozen=True)
class Operation:
    """A function, an operator, `tuple`, `index` or `abs`, with its operands."""

    kind: str
    operands: tuple[Node, ...]


Node = Number | Variable | Operation


def _norm(value: Value) -> float:
    return math.hypot(*value) if isinstance(value, tuple) else abs(value)


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "abs": _norm,
    "norm": _norm,
    "atan2": math.atan2,
    "arctan2": math.atan2,
    "atan": math.atan,
    "degrees": math.degrees,
    "radians": math.radians,
    "hypot": math.hypot,
    "min": min,
    "max": max,
    "round": round,
    "neg": lambda a: -a,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b if abs(b) <= 4 else math.nan,
}
_CALLABLE = {name for name in _FUNCTIONS if name.isalnum() and name != "neg"}


def read_expression(text: str) -> tuple[Node, int]:
    """The longest expression at the start of `text`, and where it ends.

    Raises:
        UnreadableError: if `text` does not start with one.
    """
    return _Parser(text).longest()


def evaluate(node: Node, variables: Mapping[str, Value]) -> Value:
    """The value of an expression.

    Raises:
        UnreadableError: if a variable is unknown or the arithmetic is not defined.
    """
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Variable):
        if node.name not in variables:
            raise UnreadableError(f"{node.name} is not known")
        return variables[node.name]
    operands = [evaluate(o, variables) for o in node.operands]
    try:
        return _apply(node.kind, operands)
    except (ArithmeticError, ValueError, TypeError, IndexError) as error:
        raise UnreadableError(f"{node.kind} of {operands} is not defined") from error


def _apply(kind: str, operands: list[Value]) -> Value:
    if kind == "tuple":
        return tuple(float(o) for o in operands if not isinstance(o, tuple))
    if kind == "index":
        vector, position = operands
        if not isinstance(vector, tuple) or isinstance(position, tuple):
            raise TypeError("only a vector has components")
        return vector[int(position)]
    if kind in "+-" and len(operands) == 2 and all(isinstance(o, tuple) for o in operands):
        sign = 1.0 if kind == "+" else -1.0
        left, right = (o if isinstance(o, tuple) else () for o in operands)
        return tuple(a + sign * b for a, b in zip(left, right, strict=True))
    result = _FUNCTIONS[kind](*operands)
    if isinstance(result, complex) or not math.isfinite(result):
        raise ArithmeticError("not a real number")
    return float(result)


def numbers_in(node: Node) -> Iterator[Number]:
    """All numbers that an expression writes down, with their signs."""
    if isinstance(node, Number):
        yield node
    elif isinstance(node, Operation):
        if node.kind == "neg" and isinstance(node.operands[0], Number):
            inner = node.operands[0]
            yield Number(-inner.value, inner.decimals)
            return
        for operand in node.operands:
            yield from numbers_in(operand)


def variables_in(node: Node) -> Iterator[str]:
    """Names of all variables of an expression."""
    if isinstance(node, Variable):
        yield node.name
    elif isinstance(node, Operation):
        for operand in node.operands:
            yield from variables_in(operand)


def literal_value(node: Node) -> Value | None:
    """The value of a plain number or a tuple of them, None for anything that has to be computed."""
    plain = (node,) if not (isinstance(node, Operation) and node.kind == "tuple") else node.operands
    if not all(isinstance(p, Number) or _is_negative_number(p) for p in plain):
        return None
    return evaluate(node, {})


def _is_negative_number(node: Node) -> bool:
    return isinstance(node, Operation) and node.kind == "neg" and isinstance(node.operands[0], Number)


def literal_rounding(node: Node, decimals: int = 2) -> float:
    """How far rounding may have moved the numbers of an expression; see `Number.rounding`."""
    return max((n.rounding(decimals) for n in numbers_in(node)), default=0.0)


def rounding_error(node: Node) -> float:
    """How far the value of an expression of numbers may be off because its decimals are rounded (whole ones are exact)."""
    if isinstance(node, Number):
        return 0.0
    total, base = 0.0, evaluate(node, {})
    for path, number in _paths(node):
        if number.decimals:
            moved = evaluate(_replaced(node, path, Number(number.value + number.rounding(), number.decimals)), {})
            total += _difference(moved, base)
    return total


def _paths(node: Node) -> Iterator[tuple[tuple[int, ...], Number]]:
    if isinstance(node, Number):
        yield (), node
    elif isinstance(node, Operation):
        for i, operand in enumerate(node.operands):
            for path, number in _paths(operand):
                yield (i, *path), number


def _replaced(node: Node, path: tuple[int, ...], number: Number) -> Node:
    if not path or not isinstance(node, Operation):
        return number
    operands = list(node.operands)
    operands[path[0]] = _replaced(operands[path[0]], path[1:], number)
    return Operation(node.kind, tuple(operands))


def _difference(a: Value, b: Value) -> float:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return max((abs(p - q) for p, q in zip(a, b, strict=True)), default=0.0)
    return math.inf if isinstance(a, tuple) or isinstance(b, tuple) else abs(a - b)


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

    def _sum(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError("the expression is nested too deeply")
        node = self._binary(("+", "-"), self._product)
        self.depth -= 1
        return node

    def _product(self) -> Node:
        return self._binary(("*", "/", "//", "%"), self._power)

    def _power(self) -> Node:
        if self._peek() in ("-", "+"):
            negative = self._peek() == "-"
            self.at += 1
            inner = self._power()
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
            if word in _CALLABLE and self._peek() == "(":
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
            return Operation("sqrt", (self._atom(),))
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
