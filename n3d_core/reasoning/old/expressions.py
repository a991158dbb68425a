"""The arithmetic that a chain of thought writes down, `sqrt(0.3^2 + (-0.1)^2)` or `12 - (a // 30)`, and its value.

Only the operations below exist; nothing is executed. Values are numbers or tuples of numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Value = float | tuple[float, ...]

QUANTITY = re.compile(r"(?:[XYZWHLV]|vector|distance|horizontal_distance|vertical_distance)_[A-Z]{1,2}")
"""What a thought calls a quantity of its lettered objects."""


class UnreadableError(ValueError):
    """A text is no expression, or its value is not known."""


@dataclass(frozen=True)
class Number:
    """A number as it is written, and how many decimals it is written with."""

    value: float
    decimals: int

    def rounding(self, decimals: int = 2) -> float:
        """How far rounding may have moved it, if numbers are written with at least `decimals` and no trailing zeros."""
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
FUNCTION_NAMES = frozenset(name for name in _FUNCTIONS if name.isalnum() and name != "neg")
"""Functions that a formula may call."""


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
    """How far the value of a formula of numbers may be off because its decimals are rounded (whole ones are exact)."""
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
