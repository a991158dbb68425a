"""Parses and evaluates the arithmetic in a chain of thought: `sqrt(0.3^2 + (-0.1)^2)`, `12 - (a // 30)`.

Formulas are parsed with `ast` and evaluated here from a few known operations; no code is executed. Values are numbers
or tuples of numbers.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from n3d_core.reasoning.units import UNITS, decimals_of, unit_symbol

Numeric = float | tuple[float, ...]

QUANTITY = re.compile(
    r"(?:[XYZWHLVT]|vector|distance|horizontal_distance|vertical_distance|gaps?|reach|rise|clearance|overlap|inside"
    r"|along|aside|leeway)_[A-Z]{1,3}"
)
"""Names of quantities of lettered objects in a thought."""

_TOKEN = re.compile(
    r"\s*(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+|\u27e6\d+\u27e7|[A-Za-z][A-Za-z0-9_]*|//|\*\*"
    r"|[-+*/%^()\[\],|\u2212\u00d7\u00b7\u221a])"
)
_SPELLING = (("\u2212", "-"), ("\u00d7", "*"), ("\u00b7", "*"), ("^", "**"))
_HELD = re.compile(r"\u27e6(\d+)\u27e7")
_ABSOLUTE = re.compile(r"\|([^|]*)\|")
_ROOT = re.compile(r"\u221a\s*(?=\()")
_ROOT_OF_NUMBER = re.compile(r"\u221a\s*([\w.]+)")
_LONGEST = 240  # characters; longer than any formula of a thought
_MOST_TOKENS = 60
_MOST_TRIED = 12  # beginnings of a text that are tried as formulas, the longest first


class UnreadableError(ValueError):
    """A text is not a formula, or its value is unknown."""


@dataclass(frozen=True)
class Number:
    """A number and the number of decimals it is written with."""

    value: float
    decimals: int

    def rounding(self, decimals: int = 2) -> float:
        """How far rounding may have moved it, if numbers are written with at least `decimals` and no trailing zeros."""
        return 0.5 * 10.0 ** -max(self.decimals, decimals)


def _norm(value: Numeric) -> float:
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
}
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b if abs(b) <= 4 else math.nan,
}


@dataclass(frozen=True)
class Expression:
    """A formula: its text as written, and its syntax tree."""

    text: str
    source: str
    tree: ast.expr

    def value(self, variables: Mapping[str, Numeric], moved: ast.expr | None = None, by: float = 0.0) -> Numeric:
        """The value for known variables.

        Args:
            moved: a number of the formula that is taken to be larger by `by`.

        Raises:
            UnreadableError: if a variable is unknown or the arithmetic is not defined.
        """
        try:
            return self._value(self.tree, variables, moved, by)
        except (ArithmeticError, ValueError, TypeError, IndexError, RecursionError) as error:
            raise UnreadableError(f"{self.text} is not defined: {error}") from error

    def _value(self, node: ast.expr, variables: Mapping[str, Numeric], moved: ast.expr | None, by: float) -> Numeric:
        def of(inner: ast.expr) -> Numeric:
            return self._value(inner, variables, moved, by)

        if isinstance(node, ast.Constant):
            return float(node.value) + (by if node is moved else 0.0)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            if node.id not in variables:
                raise UnreadableError(f"{node.id} is not known")
            return variables[node.id]
        if isinstance(node, ast.UnaryOp):
            inner = of(node.operand)
            return _scalar(inner) if isinstance(node.op, ast.UAdd) else -_scalar(inner)
        if isinstance(node, ast.BinOp):
            return _combined(type(node.op), of(node.left), of(node.right))
        if isinstance(node, ast.Call):
            return _finite(_FUNCTIONS[node.func.id](*map(of, node.args)))  # type: ignore[attr-defined]
        if isinstance(node, ast.Subscript):
            vector, place = of(node.value), of(node.slice)
            return vector[int(_scalar(place))] if isinstance(vector, tuple) else math.nan
        if isinstance(node, ast.Tuple | ast.List):
            items = tuple(_scalar(of(item)) for item in node.elts)
            return items[0] if len(items) == 1 else items
        raise UnreadableError(f"{self.text} is not a formula")

    @cached_property
    def numbers(self) -> tuple[Number, ...]:
        """All numbers in the formula, with their signs."""
        negative = {
            id(n.operand) for n in ast.walk(self.tree) if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub)
        }
        return tuple(
            Number(-value if id(node) in negative else value, decimals) for node, value, decimals in self._constants()
        )

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables, in order."""
        called = {id(n.func) for n in ast.walk(self.tree) if isinstance(n, ast.Call)}
        names = [n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and id(n) not in called]
        return tuple(n.id for n in sorted(names, key=lambda n: n.col_offset))

    @cached_property
    def literal(self) -> Numeric | None:
        """The value of a plain number or tuple of numbers, None for anything that has to be computed."""
        items = self.tree.elts if isinstance(self.tree, ast.Tuple | ast.List) else [self.tree]
        plain = (i.operand if isinstance(i, ast.UnaryOp) and isinstance(i.op, ast.USub) else i for i in items)
        return self.value({}) if items and all(isinstance(p, ast.Constant) for p in plain) else None

    def rounding(self, decimals: int = 2) -> float:
        """How far rounding may have moved the numbers of a literal; see `Number.rounding`."""
        return max((n.rounding(decimals) for n in self.numbers), default=0.0)

    def rounding_error(self) -> float:
        """How far the value of a formula of numbers may be off because its decimals are rounded; a number is exact.

        Raises:
            UnreadableError: if it has no value.
        """
        base, total = self.value({}), 0.0
        if isinstance(self.tree, ast.Constant):
            return 0.0
        for node, value, decimals in self._constants():
            if decimals:
                total += _apart(self.value({}, node, Number(value, decimals).rounding()), base)
        return total

    def _constants(self) -> Iterator[tuple[ast.expr, float, int]]:
        nodes = [n for n in ast.walk(self.tree) if isinstance(n, ast.Constant)]
        for node in sorted(nodes, key=lambda n: n.col_offset):
            yield node, float(node.value), decimals_of(self.source[node.col_offset : node.end_col_offset])  # type: ignore[arg-type]


def _scalar(value: Numeric) -> float:
    if isinstance(value, tuple):
        raise TypeError("a vector where a number is wanted")
    return value


def _finite(value: float) -> float:
    if isinstance(value, complex) or not math.isfinite(value):
        raise ArithmeticError("not a real number")
    return float(value)


def _combined(operator: type[ast.operator], left: Numeric, right: Numeric) -> Numeric:
    if isinstance(left, tuple) and isinstance(right, tuple) and operator in (ast.Add, ast.Sub):
        return tuple(_OPERATORS[operator](a, b) for a, b in zip(left, right, strict=True))
    return _finite(_OPERATORS[operator](_scalar(left), _scalar(right)))


def _apart(a: Numeric, b: Numeric) -> float:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return max((abs(p - q) for p, q in zip(a, b, strict=True)), default=0.0)
    return math.inf if isinstance(a, tuple) or isinstance(b, tuple) else abs(a - b)


def whole_expression(text: str) -> Expression:
    """All of a text as a formula.

    Raises:
        UnreadableError: if it is not one.
    """
    if len(text) > _LONGEST:
        raise UnreadableError("the text is too long for a formula")
    source = text
    for sign, plain in _SPELLING:
        source = source.replace(sign, plain)
    source = _ABSOLUTE.sub(r"abs(\1)", _HELD.sub(r"held_\1", source))
    source = _ROOT_OF_NUMBER.sub(r"sqrt(\1)", _ROOT.sub("sqrt", source)).strip()
    try:
        tree = ast.parse(source, mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UnreadableError(f"{text!r} is not a formula") from error
    return Expression(text.strip(), source, tree)


def _check(node: ast.expr) -> None:
    """Raises UnreadableError where anything but arithmetic is written."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant):
            if type(part.value) not in (int, float):
                raise UnreadableError(f"{part.value!r} is not a number")
        elif isinstance(part, ast.Call):
            if not isinstance(part.func, ast.Name) or part.func.id not in _FUNCTIONS or part.keywords:
                raise UnreadableError("unknown function")
        elif isinstance(part, ast.BinOp):
            if type(part.op) not in _OPERATORS:
                raise UnreadableError("unknown operator")
        elif isinstance(part, ast.UnaryOp):
            if not isinstance(part.op, ast.USub | ast.UAdd):
                raise UnreadableError("unknown sign")
        elif isinstance(part, ast.expr) and not isinstance(part, ast.Name | ast.Tuple | ast.List | ast.Subscript):
            raise UnreadableError(f"{type(part).__name__} is not arithmetic")


def first_expression(text: str) -> tuple[Expression, int]:
    """The longest formula at the start of a text, and where it ends.

    Raises:
        UnreadableError: if the text does not start with one.
    """
    ends: list[int] = []
    position = 0
    while len(ends) < _MOST_TOKENS and (match := _TOKEN.match(text, position)):
        position = match.end()
        ends.append(position)
    for end in ends[::-1][:_MOST_TRIED] + ends[: max(len(ends) - _MOST_TRIED, 0)][:1]:
        try:
            return whole_expression(text[:end]), end
        except UnreadableError:
            continue
    raise UnreadableError(f"{text[:40]!r} does not start with a formula")


@dataclass(frozen=True)
class Operand:
    """One side of an equation or comparison: its formula, and its unit of length if it has one."""

    formula: Expression
    unit: str | None

    @property
    def text(self) -> str:
        """The formula as it was written."""
        return self.formula.text

    @property
    def scale(self) -> float:
        """What one of its unit is in metres (1 for bare numbers)."""
        return UNITS[self.unit].metres if self.unit else 1.0


@dataclass(frozen=True)
class Chain:
    """`o1 = o2 > o3 = o4`: operands and the signs between them, as a text wrote them."""

    text: str
    operands: tuple[Operand, ...]
    signs: tuple[str, ...]


_SIGN = re.compile(r"(<=|>=|==|!=|[=<>\u2264\u2265\u2248])")
_SIGNS = {"==": "=", "\u2264": "<=", "\u2265": ">=", "\u2248": "="}
_WORD = re.compile(r"(?<![\w.\u27e6])(?=[\w(\[|\u221a\u27e6\u2212-])")
_UNIT_AFTER = re.compile(r"\s*([A-Za-z]+)")
_UNIT_AT_END = re.compile(r"\s+([A-Za-z]+)$")


def read_chain(text: str) -> Chain | None:
    """The equations and comparisons of one clause, None if it has none that can be read."""
    parts = _SIGN.split(text)
    if len(parts) < 3:
        return None
    operands: list[Operand] = []
    for i in range(0, len(parts), 2):
        operand = _last_operand(parts[i]) if i == 0 else _first_operand(parts[i])
        if operand is None:
            break
        operands.append(operand)
        if i and i < len(parts) - 1 and not _is_whole(parts[i], operand):
            break
    if len(operands) < 2:
        return None
    signs = [_SIGNS.get(s, s) for s in parts[1::2]][: len(operands) - 1]
    return Chain(text.strip(), tuple(operands), tuple(signs))


def _is_whole(part: str, operand: Operand) -> bool:
    """Whether nothing but a remark in brackets or a unit follows the operand."""
    rest = part.strip()[len(operand.text) :].strip()
    return not rest or unit_symbol(rest.strip("() ")) is not None or rest.startswith("(")


def _first_operand(part: str) -> Operand | None:
    stripped = part.lstrip()
    try:
        formula, end = first_expression(stripped)
    except UnreadableError:
        return None
    after = _UNIT_AFTER.match(stripped, end)
    return Operand(formula, unit_symbol(after[1]) if after else None)


def _last_operand(part: str) -> Operand | None:
    """The longest formula that ends where the first sign stands."""
    part = part.rstrip()[-_LONGEST:]
    found = _UNIT_AT_END.search(part)
    unit = unit_symbol(found[1]) if found else None
    if found and unit:
        part = part[: found.start()]
    for match in _WORD.finditer(part):
        try:
            return Operand(whole_expression(part[match.start() :]), unit)
        except UnreadableError:
            continue
    return None
