"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. It replaces `path` when the block ends, and is removed if the block raises.

    Until then the old file stays. Writers in other processes do not interfere; the last one wins. If `path` is a
    symbolic link, its target is replaced; a device or a pipe is written to directly.

    Raises:
        OSError: if the file cannot be given its name.
    """
    file = Path(os.path.realpath(path))
    if file.exists() and not file.is_file() and not file.is_dir():
        yield file
        return
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file that appears whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file that appears whole or not at all."""
    with atomic_write(path) as part:
        part.write_bytes(data)
