"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes its place when the block ends, and is removed if the block raises.

    What was there before stays until then. Writers in other processes do not meet; the last one counts.

    Raises:
        OSError: if the file cannot be given its name.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file that appears whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(text)
