"""Message stamps as nanoseconds since 1970, the unit everywhere outside of messages."""

from __future__ import annotations

from builtin_interfaces.msg import Time

_SECOND = 1_000_000_000


def nanoseconds_of(stamp: Time) -> int:
    """A stamp in nanoseconds; negative if it is invalid (see `is_sound`)."""
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def is_sound(stamp: Time) -> bool:
    """Whether rclpy and tf2 accept the stamp: not before 1970, and nanosec below 1e9."""
    return stamp.sec >= 0 and stamp.nanosec < _SECOND


def stamp_of(nanoseconds: int) -> Time:
    """The inverse of `nanoseconds_of`."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return Time(sec=seconds, nanosec=rest)
