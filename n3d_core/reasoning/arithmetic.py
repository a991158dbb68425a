"""Checks equations and comparisons against the boxes, and each side against the other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from n3d_core.reasoning.expressions import QUANTITY, Chain, Numeric, Operand, UnreadableError, read_chain
from n3d_core.reasoning.facts import Facts, Slip, shown
from n3d_core.reasoning.relations import turn
from n3d_core.reasoning.units import UNITS

_HYPOTHESIS = re.compile(r"\((?:If|if) [^)]*\)")
_CLAUSE = re.compile(r"[.;:](?:\s+|$)|\s+(?=Step \d)|\s+and\s+")
_EPSILON = 1e-6


def check_equations(text: str, facts: Facts) -> Iterator[Slip]:
    """Slips about all equations and comparisons of a held text (see `lexicon.hold_names`)."""
    defined: dict[str, Numeric] = {}
    for clause in _clauses(_HYPOTHESIS.sub(" ", text)):
        if clause.strip().lower().startswith("if "):
            continue
        chain = read_chain(clause)
        if chain is not None:
            yield from _Check(chain, facts, defined).findings()


def _clauses(text: str) -> Iterator[str]:
    """Parts of a text between stops, and between commas that stand in no brackets."""
    for part in _CLAUSE.split(text):
        depth, start = 0, 0
        for i, letter in enumerate(part):
            depth += (letter in "([") - (letter in ")]")
            if letter == "," and depth <= 0:
                yield part[start:i]
                start = i + 1
        yield part[start:]


class _Check:
    """One chain: its runs of equal operands, and the comparisons between them."""

    def __init__(self, chain: Chain, facts: Facts, defined: dict[str, Numeric]) -> None:
        self.chain, self.facts, self.known, self.defined = chain, facts, facts.variables, defined

    def findings(self) -> Iterator[Slip]:
        """All findings of the chain, in its order."""
        runs: list[list[Operand]] = [[self.chain.operands[0]]]
        between: list[str] = []
        for sign, operand in zip(self.chain.signs, self.chain.operands[1:], strict=True):
            if sign == "=":
                runs[-1].append(operand)
            else:
                runs.append([operand])
                between.append(sign)
        for run in runs:
            yield from self._run(run)
        for sign, left, right in zip(between, runs, runs[1:], strict=False):
            yield from self._comparison(sign, left, right)

    def _truths(self, run: list[Operand]) -> list[Numeric]:
        """What the first operand that names a known quantity is, by the stated and by the exact boxes."""
        for operand in run:
            truths = [v for v in (self._value(operand, values) for values in self.known) if v is not None]
            if truths and operand.formula.variables:
                return truths
        return []

    def _value(self, operand: Operand, variables: dict[str, Numeric]) -> Numeric | None:
        try:
            value = operand.formula.value({**self.defined, **variables})
        except UnreadableError:
            return None
        return value if isinstance(value, tuple) else value * operand.scale

    def _run(self, run: list[Operand]) -> Iterator[Slip]:
        truths = self._truths(run)
        name = run[0].text
        for variable in (v for operand in run for v in operand.formula.variables):
            if QUANTITY.fullmatch(variable) and variable not in self.known[0] and variable not in self.defined:
                yield Slip(self.chain.text, f"{variable} is not a quantity of the objects in question")
        before: tuple[Numeric, float] | None = None  # value and tolerance of the previous operand, if it was computed
        for operand in run:
            literal = operand.formula.literal
            if literal is None:
                yield from self._expression(operand, truths, name)
                before = self._computed(operand)
                continue
            value = literal if isinstance(literal, tuple) else literal * operand.scale
            decimals = UNITS[operand.unit].decimals if operand.unit else 2
            tolerance = operand.formula.rounding(decimals) * operand.scale + _EPSILON
            follows = before is not None and _close(value, before[0], tolerance + before[1])
            if truths and not follows and not any(self._fits(name, value, t, tolerance) for t in truths):
                yield Slip(
                    self.chain.text,
                    f"the step says {name} = {operand.text}, but the boxes give {shown(_like(truths[0], value))}",
                    _off(name, value, truths),
                )
            elif not truths and before is not None and not follows:
                yield Slip(self.chain.text, f"the numbers of the step give {shown(before[0])}, not {operand.text}")
            before = (value, 0.0) if not isinstance(value, tuple) and operand.unit else None
        last = run[-1].formula.literal
        if not truths and last is not None and len(run) > 1 and name.isidentifier():
            self.defined[name] = last if isinstance(last, tuple) else last * run[-1].scale

    def _computed(self, operand: Operand) -> tuple[Numeric, float] | None:
        """The value of an expression of numbers alone, with what their rounding makes uncertain."""
        if operand.formula.variables:
            value = self._value(operand, {})  # of quantities that the text itself has defined
            return None if value is None else (value, 0.0)
        try:
            return operand.formula.value({}), 0.0
        except UnreadableError:
            return None

    def _expression(self, operand: Operand, truths: list[Numeric], name: str) -> Iterator[Slip]:
        for number in operand.formula.numbers:
            off = (number.rounding() if number.decimals else 0.0) + _EPSILON
            fits = (abs(abs(number.value) - known) <= off for known in self.facts.numbers)
            if not any(fits) and not self._is_defined(number.value):
                axis = name[0].lower() if re.match("[XYZ]_", name) else ""
                unknown = f"the step uses {shown(number.value)}, but none of the boxes has that number"
                yield self.facts.misread(self.chain.text, number.value, axis) or Slip(self.chain.text, unknown)
                return
        pure = not operand.formula.variables
        try:
            slack = operand.formula.rounding_error() if pure else 0.0
        except UnreadableError:
            yield Slip(self.chain.text, f"{operand.text} has no value")
            return
        values = [self._value(operand, {})] if pure else [self._value(operand, v) for v in self.known]
        found = [v for v in values if v is not None]
        if truths and found and not any(self._fits(name, v, t, slack + 0.006) for v in found for t in truths):
            told = f"{operand.text} gives {shown(found[0])}, but {name} is {shown(truths[0])}"
            yield Slip(self.chain.text, told, _off(name, found[0], truths))

    def _is_defined(self, value: float) -> bool:
        return any(abs(abs(value) - abs(v)) < 0.01 for v in self.defined.values() if not isinstance(v, tuple))

    @staticmethod
    def _fits(name: str, value: Numeric, truth: Numeric, tolerance: float) -> bool:
        if name.startswith("angle_deg") and not isinstance(value, tuple) and not isinstance(truth, tuple):
            return turn(value, truth) <= tolerance
        return _close(value, _like(truth, value), tolerance)

    def _comparison(self, sign: str, left: list[Operand], right: list[Operand]) -> Iterator[Slip]:
        pairs = list(zip(self._truths(left), self._truths(right), strict=False))
        if not pairs:
            a, b = (run[-1].formula.literal for run in (left, right))
            pairs = [(a, b)] if a is not None and b is not None else []
            if len(left) == len(right) == 1:
                yield from self._bare([*left, *right])
        scalars = [(a, b) for a, b in pairs if not isinstance(a, tuple) and not isinstance(b, tuple)]
        if scalars and not any(_compares(sign, a, b) for a, b in scalars):
            a, b = scalars[0]
            said = f"the step says {left[0].text} {sign} {right[0].text}"
            yield Slip(self.chain.text, f"{said}, but they are {shown(a)} and {shown(b)}")

    def _bare(self, operands: list[Operand]) -> Iterator[Slip]:
        """Numbers that are compared without a name must be some of the boxes'."""
        for operand in operands:
            for number in operand.formula.numbers if operand.formula.literal is not None else ():
                off = number.rounding() + _EPSILON
                if not any(abs(abs(number.value) - known) <= off for known in self.facts.numbers):
                    unknown = f"the step uses {shown(number.value)}, but none of the boxes has that number"
                    yield self.facts.misread(self.chain.text, number.value) or Slip(self.chain.text, unknown)


def _compares(sign: str, a: float, b: float) -> bool:
    return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "!=": a != b}[sign]


def _like(truth: Numeric, value: Numeric) -> Numeric:
    """The truth in the number of dimensions of a stated vector: (x, y, z) as (x, z)."""
    if isinstance(truth, tuple) and isinstance(value, tuple) and len(truth) == 3 and len(value) == 2:
        return truth[0], truth[2]
    return truth


def _off(name: str, value: Numeric, truths: list[Numeric]) -> float:
    """By how many metres a length or coordinate is off; infinity for any other quantity."""
    if isinstance(value, tuple) or name.startswith(("angle", "clock", "count")):
        return math.inf
    return min((abs(value - t) for t in truths if not isinstance(t, tuple)), default=math.inf)


def _close(a: Numeric, b: Numeric, tolerance: float) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(abs(p - q) <= tolerance for p, q in zip(a, b, strict=True))
    return not isinstance(a, tuple) and not isinstance(b, tuple) and abs(a - b) <= tolerance
