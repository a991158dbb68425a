"""DDS domains for tests, which must not hear another test run on this machine, nor a robot on the default domain."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # the locks last as long as this process


def claim_domain() -> str:
    """The number of a domain that no other process has claimed, for as long as this process lives.

    Raises:
        RuntimeError: if all are taken.
    """
    for attempt in range(100):
        number = 1 + (os.getpid() + attempt) % 100
        try:
            lock = (Path(tempfile.gettempdir()) / f"n3d-test-domain-{number}").open("w")
        except PermissionError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        return str(number)
    raise RuntimeError("other test runs hold all 100 ROS domains")
