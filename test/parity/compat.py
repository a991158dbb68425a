"""What the reference's scripts do where this project does otherwise, for comparison with their output.

Nothing here is used in a query: the parity check needs it to reproduce golden vectors. `docs/compatibility.md` lists
each behaviour with what the product does instead; the numbers in brackets are those of that list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.points import Normalisation
from n3d_core.language.prompts import condition_text, image_box, rounded_image_box
from n3d_core.network.preprocess import centred_coordinates
from n3d_core.reasoning.relations import stated_numbers

Value = TypeVar("Value", bound=np.generic)

CUTOFF = 2048  # tokens of prompt and answer
UV_BINS = 1000.0
LONGEST_SIDE = 640

_BOX = re.compile(r"bbox_(\d+)=Bbox\(" + ",".join([r"([^,]+)"] * 8) + r"\)")
_NUMBERED = re.compile(r"\b\d+_[a-zA-Z0-9]+(?: [a-zA-Z0-9]+)*")
_SENTENCE = re.compile(r".+?[.?]")
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2CEAF), (0x2F800, 0x2FA1F))


# Points


def cloud_size(width: int, height: int) -> tuple[int, int]:
    """(height, width) of the reference's clouds: rounded, where its images are cut to an integer [8]."""
    if width >= height:
        return round(height * LONGEST_SIDE / width), LONGEST_SIDE
    return LONGEST_SIDE, round(width * LONGEST_SIDE / height)


def tower_layout(grid_h: int, grid_w: int) -> tuple[int, int]:
    """The shape to which the reference's tower reads a flat list of points, -1 for whatever fits [2]."""
    return (-1, LONGEST_SIDE) if grid_h < grid_w else (LONGEST_SIDE, -1)


def laid_out(values: NDArray[Value], grid_h: int, grid_w: int) -> NDArray[Value]:
    """A point map or mask [H, W, …] as the reference's tower reads it [2].

    The same but for a landscape image whose grid is square: there the rows are cut at the wrong length.
    """
    return values.reshape(*tower_layout(grid_h, grid_w), *values.shape[2:])


def bf16_coordinates(
    points: NDArray[np.float32], valid: NDArray[np.bool_], grid_h: int, grid_w: int
) -> NDArray[np.float32]:
    """Point coordinates [P, 3], before rounding, of a tower in bf16, which casts the points first [7]."""
    mask = torch.from_numpy(valid)
    cloud = torch.from_numpy(np.where(valid[..., None], points, 0).astype(np.float32)).bfloat16()
    cloud[~mask] = cloud[mask].mean(dim=0)
    return centred_coordinates(cloud.float(), grid_h, grid_w)


# Boxes


@dataclass(frozen=True)
class ReferenceBox:
    """A box as the scripts hold it: any number in any field, in bins, in normalised units or in metres.

    Attributes:
        id: number of its line.
        name: its class.
        u, v: image fractions (or bins) of the projected centre; x and y in the scripts' other form.
        z, angle: of the centre, and about the vertical.
        size: extents along x, y and z; a negative one loses its sign [13].
    """

    id: int
    name: str
    u: float
    v: float
    z: float
    angle: float
    size: tuple[float, float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(abs(s) for s in self.size))

    @property
    def numbers(self) -> tuple[float, ...]:
        """The seven numbers of the line."""
        return self.u, self.v, self.z, self.angle, *self.size


@dataclass(frozen=True)
class Bins:
    """The scripts' options for numbers as bins [13]; the defaults are theirs, `DEMO_BINS` is what the demo asks for."""

    world_max: float = 32.0
    scale_max: float = 20.0
    num_bins: int = 1280
    round_uv: bool = False
    keep_scale1: bool = False

    def discretise(self, box: ReferenceBox, planar: bool = False) -> ReferenceBox:
        """Continuous -> bins; with `planar`, u and v are x and y in units of `world_max`."""
        x, y, z = (max(self._bin(s / self.scale_max), int(self.keep_scale1)) for s in box.size)
        u, v = (self._bin(f / self.world_max) if planar else self._image_bin(f) for f in (box.u, box.v))
        angle = self._bin((box.angle + 2 * math.pi) / (4 * math.pi))
        return ReferenceBox(box.id, box.name, u, v, self._bin(box.z / self.world_max), angle, (x, y, z))

    def undiscretise(self, box: ReferenceBox, planar: bool = False) -> ReferenceBox:
        """Bins -> the left edges of the bins."""
        width, height, length = (s / self.num_bins * self.scale_max for s in box.size)
        z = box.z / self.num_bins * self.world_max
        angle = box.angle / self.num_bins * 4 * math.pi - 2 * math.pi
        u, v = (f / self.num_bins * self.world_max if planar else f / UV_BINS for f in (box.u, box.v))
        return ReferenceBox(box.id, box.name, u, v, z, angle, (width, height, length))

    def _bin(self, fraction: float) -> int:
        return min(max(int(fraction * self.num_bins), 0), self.num_bins - 1)

    def _image_bin(self, fraction: float) -> float:
        scaled = fraction * UV_BINS
        return min(max(round(scaled), 0), self.num_bins - 1) if self.round_uv else scaled


DEMO_BINS = Bins(world_max=2.0, scale_max=0.625, num_bins=1000)


def parse(text: str) -> list[ReferenceBox]:
    """Boxes of a text [14]: a comma in a class loses its box, a later parenthesis raises.

    Raises:
        ValueError: if a field that looks like a number is none.
    """
    boxes = []
    for match in _BOX.finditer(text):
        number, name, *fields = match.groups()
        u, v, z, angle, *size = (float(f) for f in fields)
        boxes.append(ReferenceBox(int(number), name.strip(), u, v, z, angle, (size[0], size[1], size[2])))
    return boxes


def serialise(boxes: Sequence[ReferenceBox]) -> str:
    """The lines of boxes, with a newline at the end even where there is none."""
    return "\n".join(f"bbox_{b.id}=Bbox({b.name},{','.join(str(n) for n in b.numbers)})" for b in boxes) + "\n"


def in_metres(box: ReferenceBox, normalisation: Normalisation) -> ReferenceBox:
    """Normalised depth and sizes -> metres [12]; in double, as NumPy 1 computes it."""
    scale = 1.0 / normalisation.scale
    width, height, length = (s * scale for s in box.size)
    return replace(box, z=box.z * scale + normalisation.min_z, size=(width, height, length))


def saved_grounding(reply: str, normalisation: Normalisation) -> str:
    """The text that the scripts keep of a first reply [14]: an unreadable line empties it, prose stays."""
    if "bbox_0=Bbox(" not in reply:
        return reply
    try:
        bins = parse(reply)
    except ValueError:
        bins = []
    return serialise([in_metres(DEMO_BINS.undiscretise(b), normalisation) for b in bins])


def answer_as_bins(answer: str) -> str:
    """An item's own answer as the scripts count its tokens: boxes in normalised units become bins [21]."""
    if "bbox_0=Bbox(" not in answer:
        return answer
    return serialise([DEMO_BINS.discretise(box) for box in parse(answer)])


# Geometry


def unproject(u: float, v: float, z: float, fractions: NDArray[np.floating]) -> tuple[float, float, float]:
    """Optical-frame point of image fractions and a depth [16]; the inverse has the type of the intrinsics."""
    x, y, z = z * (np.linalg.inv(fractions) @ np.array([u, v, 1.0]))
    return float(x), float(y), float(z)


# Text


def first_sentence(text: str) -> str:
    """A text up to the first `.` or `?` of its first line, also inside `0.5` [19]."""
    match = _SENTENCE.match(text)
    return match.group() if match else text


def condition(boxes: Sequence[ReferenceBox], fractions: NDArray[np.floating], question: str | None) -> str:
    """What the second prompt says about boxes in metres.

    Args:
        fractions: [3, 3] intrinsics in fractions of the image, in their own type.
        question: names the boxes by number [18]; None takes all of them, by bare class up to three.
    """
    named = [(f"{b.id}_{_caption(b.name)}", b) for b in boxes]
    if question is not None:
        mentions = _NUMBERED.findall(question)
        named = [next(item for item in named if item[0] == m) for m in mentions if m in dict(named)]
    elif len(boxes) <= 3:
        named = [(_caption(b.name), b) for b in boxes]
    boxes_3d, boxes_2d = [], []
    for name, b in named:
        x, y, _ = unproject(b.u, b.v, b.z, fractions)
        boxes_3d.append(stated_numbers(Box3D(name, (x, y, b.z), b.size)))
        boxes_2d.append(rounded_image_box(image_box((-x, -y, b.z), b.size, fractions)))
    return condition_text([name for name, _ in named], boxes_3d, boxes_2d)


def streamed(ids: Sequence[int], decode: Callable[[list[int]], str]) -> str:
    """A reply as the scripts collect it: the pieces that a streamer lets go after each token, joined by spaces [15].

    A streamer holds a word back until the space after it has come, a line until its end, so most pieces are empty.
    """
    pieces, line, shown = [], [], 0
    for token in ids:
        line.append(token)
        text = decode(line)
        whole = text.endswith("\n") or (text and _is_ideograph(text[-1]))
        end = len(text) if whole else text.rfind(" ") + 1
        pieces.append(text[shown:end])
        shown = max(shown, end)
        if text.endswith("\n"):
            line, shown = [], 0
    pieces.append(decode(line)[shown:])
    return " ".join(pieces)


def kept_prompt_length(prompt: int, answer: int, cutoff: int = CUTOFF) -> int:
    """How many tokens of a prompt are kept when it and the answer exceed the cut-off; its end is what is lost [21]."""
    if 2 * answer < cutoff:
        room = cutoff
    elif 2 * prompt < cutoff:
        room = cutoff - prompt
    else:
        room = int(cutoff * answer / (prompt + answer))
    return min(prompt, max(cutoff - min(room, answer), 0))


def _caption(name: str) -> str:
    return " ".join(name.split()) if " " in name else name


def _is_ideograph(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _IDEOGRAPHS)
