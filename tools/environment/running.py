"""Running the programs that do the work: logged to a file, with progress on the terminal, one set-up at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HEARTBEAT_S = 10.0
_lock: int | None = None


class SetupError(Exception):
    """The set-up cannot continue; the message says why and what to do."""


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Lock the set-up of `root`; wait while another one runs.

    The programs that are started inherit the lock, so one that outlives a killed set-up keeps the next one waiting.
    """
    global _lock
    _lock = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up of this checkout is running; waiting for it", flush=True)
            fcntl.flock(_lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(_lock)
        _lock = None


def run(
    command: Sequence[str],
    log: Path,
    progress: Callable[[str], str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `command` to its end, its output going to `log`.

    `progress` makes a short line of the output so far; it is printed every few seconds. Raises SetupError with the last
    lines of the output when the command fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=() if _lock is None else (_lock,),
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    print(f"      {time.monotonic() - begin:4.0f} s  {progress(log.read_text())}", flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        tail = "\n".join(log.read_text().splitlines()[-25:])
        raise SetupError(
            f"`{' '.join(command[:6])} …` ended with exit code {code}; all of its output is in {log}\n{tail}"
        )
