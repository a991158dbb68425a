"""Boxes as text, one per line: `bbox_{i}=Bbox({class},{u},{v},{z},{angle},{sx},{sy},{sz})`, where numbers are bins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from n3d_core.errors import UnparsableError

BINS = 1000
ANGLE_ZERO = 500  # bin of angle 0 in +-2 pi: all released boxes are axis-aligned

FIELDS = ("position_u", "position_v", "position_z", "angle_y", "scale_x", "scale_y", "scale_z")

CODE_TEMPLATE = "@dataclass\nclass Bbox:\n    class: str\n" + "\n".join(f"    {name}: int" for name in FIELDS)

# Fields are counted from the end of the line, so that a class may contain commas and parentheses.
_LINE = re.compile(r"\s*bbox_(\d{1,6})=Bbox\((.*)," + ",".join([r"\s*(-?\d{1,6})\s*"] * 7) + r"\)\s*")


@dataclass(frozen=True)
class BoxCode:
    """One line of the structured language: a class and seven bins, each 0..999 in a well-formed reply."""

    label: str
    u: int
    v: int
    z: int
    angle: int
    sx: int
    sy: int
    sz: int

    @property
    def bins(self) -> tuple[int, int, int, int, int, int, int]:
        """The seven numbers in the order of the line."""
        return self.u, self.v, self.z, self.angle, self.sx, self.sy, self.sz


def serialise_line(index: int, code: BoxCode) -> str:
    """One line without its newline."""
    return f"bbox_{index}=Bbox({code.label},{','.join(str(b) for b in code.bins)})"


def serialise(codes: list[BoxCode]) -> str:
    """All lines, joined by newlines; empty without boxes."""
    return "\n".join(serialise_line(i, code) for i, code in enumerate(codes))


def parse(text: str) -> list[BoxCode]:
    """Reads what `serialise` writes; runs of spaces in a class collapse, bins outside 0..999 are clipped.

    Raises:
        UnparsableError: if a non-empty line is not in the language.
    """
    codes = []
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            codes.append(parse_line(line, number))
    return codes


def parse_line(line: str, number: int = 0) -> BoxCode:
    """Reads one line."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise UnparsableError(
            f"line {number + 1} of the reply, {line[:80]!r}, must be bbox_N=Bbox(class, seven integers)"
        )
    label = " ".join(match.group(2).split())
    u, v, z, angle, sx, sy, sz = (min(max(int(g), 0), BINS - 1) for g in match.groups()[2:])
    return BoxCode(label, u, v, z, angle, sx, sy, sz)
