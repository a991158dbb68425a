"""What an audit notes about one step of a reasoning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A step that the boxes contradict.

    Attributes:
        step: the words of the step.
        problem: what is wrong with it and what the boxes give.
    """

    step: str
    problem: str


def shown(value: float | tuple[float, ...]) -> str:
    """A value as a reader wants it: `31.21`, `(5.81, 9.59)`, `0.0042`."""
    if isinstance(value, tuple):
        return "(" + ", ".join(shown(v) for v in value) + ")"
    digits = 2 if abs(value) >= 1 else 4
    return f"{round(value, digits) + 0.0:g}" if abs(value) < 1e6 else f"{value:.6g}"
