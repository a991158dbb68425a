"""Finds the equations and comparisons in a sentence: `Z_A = 2.75 > Z_B = 1.37`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from n3d_core.reasoning.old.expression_parser import read_expression
from n3d_core.reasoning.old.expressions import Node, UnreadableError
from n3d_core.reasoning.units import UNITS, unit_symbol


@dataclass(frozen=True)
class Operand:
    """One side of an equation or comparison: its text, its expression, and its unit of length if it has one."""

    text: str
    node: Node
    unit: str | None

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
_LONGEST = 200  # characters: no formula before its first sign is longer
_UNIT_AFTER = re.compile(r"\s*([A-Za-z]+)")


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
        node, end = read_expression(stripped)
    except UnreadableError:
        return None
    after = _UNIT_AFTER.match(stripped, end)
    unit = unit_symbol(after[1]) if after else None
    return Operand(stripped[:end].strip(), node, unit)


def _last_operand(part: str) -> Operand | None:
    """The longest expression that ends where the first sign stands."""
    part = part.rstrip()[-_LONGEST:]
    for start in (m.start() for m in _WORD.finditer(part)):
        text = part[start:]
        try:
            node, end = read_expression(text)
        except UnreadableError:
            continue
        rest = text[end:].strip()
        unit = unit_symbol(rest) if rest else None
        if not rest or unit:
            return Operand(text[:end].strip(), node, unit)
    return None
