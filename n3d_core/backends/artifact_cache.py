"""Compiled things kept on disk: built once, written whole, checked before use, and never half there.

An artifact is a folder below `$XDG_CACHE_HOME/n3d` (`~/.cache/n3d`), named by the hash of all that it depends on. It is
built in a folder beside it and renamed when it is complete, so that a killed build or a full disk leaves nothing that
could be mistaken for an artifact. Builders of one artifact queue on a lock, which the system frees if one is killed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from n3d_core.errors import EngineError

log = logging.getLogger("n3d.cache")

SEAL = "artifact.json"  # last file written: key, and size, time of change and sha256 of all others
_CHUNK = 1 << 22


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/n3d`, or `~/.cache/n3d`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "n3d"


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cached(kind: str, key: Mapping[str, Any], build: Callable[[Path], None], root: Path | None = None) -> Path:
    """The folder of an artifact, built if it is missing, damaged or of another key.

    Args:
        kind: `graphs` or `engines`; a folder of the cache.
        key: everything that the artifact depends on; JSON values.
        build: fills an empty folder. It runs in one process at a time for one key.
        root: of the cache; None is `cache_root()`.

    Raises:
        EngineError: if the cache cannot be written, or the disk is full.
        Whatever `build` raises.
    """
    text = json.dumps(key, sort_keys=True)
    shelf = (root or cache_root()) / kind
    folder = shelf / hashlib.sha256(text.encode()).hexdigest()[:20]
    if damage(folder, key) is None:
        return folder
    with writing(shelf):
        shelf.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            reason = damage(folder, key)  # again: another process may have built it meanwhile
            if reason is not None:
                if folder.exists():
                    log.warning("%s is built again: %s", folder, reason)
                _build(folder, key, build)
    return folder


def discard(folder: Path) -> None:
    """Removes an artifact that turned out to be of no use, once nobody builds it: the next `cached` builds it again."""
    with writing(folder.parent), _locked(folder.with_suffix(".lock")):
        shutil.rmtree(folder, ignore_errors=True)


def damage(folder: Path, key: Mapping[str, Any]) -> str | None:
    """Why an artifact cannot be used; None if it can.

    Files whose size and time of change are those that were sealed are taken as whole; others are read and hashed.
    """
    try:
        seal = json.loads((folder / SEAL).read_text())
        if seal["key"] != json.loads(json.dumps(key)):
            return "it was built for something else"
        for name, sealed in seal["files"].items():
            stat = (folder / name).stat()
            if stat.st_size != sealed["bytes"]:
                return f"{name} has {stat.st_size} bytes instead of {sealed['bytes']}"
            if stat.st_mtime_ns != sealed["changed_ns"] and sha256_of(folder / name) != sealed["sha256"]:
                return f"{name} is not what was written: its sha256 differs"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    return None


@contextmanager
def writing(place: Path, setting: str = "XDG_CACHE_HOME") -> Iterator[None]:
    """Turns failures to write below `place`, which `setting` decides, into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineError(
                f"{place}: the disk is full; free space there or set {setting} to another disk"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
            raise EngineError(
                f"{place}: cannot be written ({error.strerror}); set {setting} to a folder that can"
            ) from error
        raise


def _build(folder: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a build that was killed: the lock says that nobody works on it
    part.mkdir()
    try:
        build(part)
        seal = {"key": key, "files": {p.name: _sealed(p) for p in sorted(part.iterdir())}}
        (part / SEAL).write_text(json.dumps(seal, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sealed(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    stat = path.stat()
    return {"bytes": stat.st_size, "changed_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that builds %s", path.with_suffix("").name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
