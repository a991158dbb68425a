"""A running query: its limits, listener, costs and warnings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from n3d_core.decoding.loop import Limits, Work
from n3d_core.geometry.boxes import Box3D
from n3d_core.results import BoxDecoded, Event, Listener, StageStarted


@dataclass
class Query:
    """State of one query.

    Attributes:
        least: minimum score of the boxes that the listener is told about.
        times: milliseconds per stage.
        warnings: sentences for the user, in order.
    """

    limits: Limits
    listener: Listener | None = None
    least: float = 0.0
    work: Work = field(default_factory=Work)
    times: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _told: list[Box3D] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """Passes an event to the listener, if there is one; each box only once."""
        if self.listener is None:
            return
        if isinstance(event, BoxDecoded):
            if event.box in self._told or event.box.score < self.least:
                return
            self._told.append(event.box)
        self.listener(event)

    def warn(self, sentence: str) -> None:
        """Adds a warning, unless it is already there."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage and adds up its milliseconds, even if it raises."""
        self.tell(StageStarted(name))
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + (time.perf_counter() - start) * 1000

    @contextmanager
    def quiet(self, really: bool = True) -> Iterator[None]:
        """Hides events from the listener."""
        listener = self.listener
        if really:
            self.listener = None
        try:
            yield
        finally:
            self.listener = listener
