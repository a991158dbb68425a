"""All object classes: their names, where they stand, and how they are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from training.scenes import furniture, tableware
from training.scenes.parts import Part

Place = Literal["table", "floor"]
Builder = Callable[[np.random.Generator], list[Part]]


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects.

    Attributes:
        builders: builder for each place where it is found.
        lying: probability that it lies on its side.
    """

    name: str
    builders: dict[Place, Builder] = field(default_factory=dict)
    lying: float = 0.0


def _on_table(name: str, build: Builder, lying: float = 0.0, floor: Builder | None = None) -> ObjectClass:
    builders: dict[Place, Builder] = {"table": build}
    if floor is not None:
        builders["floor"] = floor
    return ObjectClass(name, builders, lying)


def _on_floor(name: str, build: Builder, lying: float = 0.0) -> ObjectClass:
    return ObjectClass(name, {"floor": build}, lying)


_ALL = (
    _on_table("mug", tableware.mug, 0.05),
    _on_table("bottle", tableware.bottle, 0.12),
    _on_table("can", tableware.can, 0.12),
    _on_table("box", tableware.carton, floor=furniture.floor_carton),
    _on_table("ball", tableware.ball, floor=furniture.floor_ball),
    _on_table("bowl", tableware.bowl),
    _on_table("plate", tableware.plate),
    _on_table("book", tableware.book, 0.2),
    _on_table("vase", tableware.vase),
    _on_table("lamp", tableware.table_lamp, floor=furniture.floor_lamp),
    _on_table("candle", tableware.candle),
    _on_table("cone", tableware.small_cone, floor=furniture.floor_cone),
    _on_table("teapot", tableware.teapot),
    _on_table("pan", tableware.pan),
    _on_table("banana", tableware.banana),
    _on_table("hammer", tableware.hammer),
    _on_table("laptop", tableware.laptop),
    _on_table("monitor", tableware.monitor),
    _on_table("keyboard", tableware.keyboard),
    _on_table("clock", tableware.clock),
    _on_table("duck", tableware.duck),
    _on_table("car", tableware.car),
    _on_floor("chair", furniture.chair),
    _on_floor("stool", furniture.stool),
    _on_floor("suitcase", furniture.suitcase, 0.15),
    _on_floor("shelf", furniture.shelf),
    _on_floor("bin", furniture.bin_),
    _on_floor("bucket", furniture.bucket),
    _on_floor("cushion", furniture.cushion),
)

CATALOGUE: dict[str, ObjectClass] = {c.name: c for c in _ALL}
CLASSES: tuple[str, ...] = tuple(CATALOGUE)
"""Names of all classes; a class's id is its index here."""


def classes_at(place: Place) -> tuple[str, ...]:
    """Names of the classes found at `place`."""
    return tuple(c.name for c in _ALL if place in c.builders)
