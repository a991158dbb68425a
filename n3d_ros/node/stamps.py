"""Stamps of messages as nanoseconds since 1970, in which all but messages counts."""

from __future__ import annotations

from builtin_interfaces.msg import Time

_SECOND = 1_000_000_000


def nanoseconds_of(stamp: Time) -> int:
    """A stamp in nanoseconds; below 0 for a broken one (see `is_sound`)."""
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def is_sound(stamp: Time) -> bool:
    """Whether rclpy and tf2 can hold the stamp: not before 1970, and with less than a second of nanoseconds."""
    return stamp.sec >= 0 and stamp.nanosec < _SECOND


def stamp_of(nanoseconds: int) -> Time:
    """The stamp that `nanoseconds_of` reads."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return Time(sec=seconds, nanosec=rest)
