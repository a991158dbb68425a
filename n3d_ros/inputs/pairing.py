"""Which of the newest colour and depth images belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Stamped(Protocol):
    """Anything with a stamp in nanoseconds."""

    @property
    def stamp_ns(self) -> int: ...


A = TypeVar("A", bound=Stamped)
B = TypeVar("B", bound=Stamped)


def newest_pair(first: Sequence[A], second: Sequence[B], bound_ns: int) -> tuple[A, B] | None:
    """The newest of `first` with a partner in `second` within `bound_ns`, and its nearest partner; None if none has.

    Both sequences may be in any order. Newest goes before nearest: a robot acts on the present.
    """
    for one in sorted(first, key=lambda item: item.stamp_ns, reverse=True):
        partner = nearest(one, second)
        if partner is not None and abs(partner.stamp_ns - one.stamp_ns) <= bound_ns:
            return one, partner
    return None


def nearest(to: Stamped, among: Sequence[B]) -> B | None:
    """The one of `among` whose stamp is nearest to `to`'s; None if there is none."""
    return min(among, key=lambda item: abs(item.stamp_ns - to.stamp_ns), default=None)
