"""A store of compiled graphs and engines: built once, written atomically, checked before use, evicted by last use.

An artifact is a folder `NAME-HASH` in a store; the hash is of its key, which is everything that it depends on. It is
built in a temporary folder and renamed when complete, so that a killed build or a full disk leaves no incomplete
artifact. Builders queue on one lock per store, which the system releases when a process is killed. The user's cache
(`~/.cache/n3d/compiled`) is a store of limited size; the folder of `n3d compile --output` is unlimited.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout

from n3d_core.atomic_write import write_text
from n3d_core.errors import ConfigError, EngineError

log = logging.getLogger("n3d.store")

SEAL = "artifact.json"  # written last: key, notes, and size, modification time and sha256 of all other files
MOST_TOWERS, TOWER_BYTES = 4, 6 << 30
"""Limits, in number and bytes, of the vision towers that a backend keeps loaded: one per aspect ratio."""

_SEALS = f"[!.]*/{SEAL}"
_UNFINISHED = ".part-"
_GIGABYTES = 60.0
_SHARE = 1 / 3  # largest share of the disk for the cache, unless N3D_CACHE_GB is set

_building: set[Path] = set()  # by this process: building an engine also builds its graph in the same store

Build = Callable[[Path], "Mapping[str, Any] | None"]
Kept = TypeVar("Kept")


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/n3d`, or `~/.cache/n3d`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "n3d"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact.

    Attributes:
        folder: holds its files and the seal.
        key: everything that it depends on.
        notes: returned by its build.
        files: name -> `bytes`, `changed_ns` and `sha256` as written.
        built_ns: time of the build.
    """

    folder: Path
    key: dict[str, Any]
    notes: dict[str, Any]
    files: dict[str, dict[str, Any]]
    built_ns: int


class Store:
    """Artifacts in one folder.

    Args:
        root: the folder; None is the user's cache.
        limit: total bytes above which the least recently used artifacts are removed; None is unlimited, except for the
            user's cache (60 GB or a third of the disk, whichever is less; `N3D_CACHE_GB` overrides it).
        setting: name of the setting that moves the store, for messages.
    """

    def __init__(self, root: Path | None = None, limit: int | None = None, setting: str = "XDG_CACHE_HOME") -> None:
        self.root, self.setting = root or cache_root() / "compiled", setting
        self._limit, self._bounded = limit, limit is not None or root is None

    def get(self, name: str, key: Mapping[str, Any], build: Build) -> Artifact:
        """Returns the artifact of a key, building it if it is missing or damaged.

        Args:
            name: first part of the folder's name, for display.
            key: everything that the artifact depends on, as JSON values.
            build: fills an empty folder and may return notes. Only one process at a time builds in a store.

        Raises:
            EngineError: if the store cannot be written, or the disk is full.
            Whatever `build` raises.
        """
        folder = self.root / f"{name}-{_hash(key)}"
        if damage(folder, key) is None:
            return _used(folder)
        with self.exclusive():
            reason = damage(folder, key)  # checked again: another process may have built it meanwhile
            if reason is not None:
                if folder.exists():
                    log.warning("rebuilding %s: %s", folder, reason)
                self._build(folder, key, build)
                self._evict(folder)
        return _used(folder)

    def find(self, key: Mapping[str, Any]) -> Artifact | None:
        """The intact artifact of a key; None if there is none."""
        for folder in self.root.glob(f"[!.]*-{_hash(key)}"):
            if damage(folder, key) is None:
                return _used(folder)
        return None

    def artifacts(self) -> list[Artifact]:
        """All artifacts with a readable seal, newest first; their files are not checked (see `damage`)."""
        found = []
        for seal in self.root.glob(_SEALS):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                found.append(_read(seal.parent))
        return sorted(found, key=lambda artifact: -artifact.built_ns)

    def discard(self, folder: Path) -> None:
        """Removes an unusable artifact; the next `get` rebuilds it."""
        with self.exclusive():
            _remove(folder)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds the store's lock, and turns write failures into errors that say what to do. Reentrant in a thread."""
        with writing(self.root, self.setting):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock", is_singleton=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("waiting for another build in %s", self.root)
                lock.acquire()
            try:
                yield
            finally:
                lock.release()

    def _build(self, folder: Path, key: Mapping[str, Any], build: Build) -> None:
        part = folder.with_name(f"{_UNFINISHED}{folder.name}")
        for left in set(self.root.glob(f"{_UNFINISHED}*")) - _building:
            _remove(left)  # left by a killed build: we hold the lock, so nobody is using it
        part.mkdir()
        _building.add(part)
        try:
            notes = build(part) or {}
            files = {p.name: _sealed(p) for p in sorted(part.iterdir())}
            seal = {"key": dict(key), "notes": dict(notes), "files": files}
            (part / SEAL).write_text(json.dumps(seal, indent=1))
            _remove(folder)
            part.rename(folder)
        finally:
            _building.discard(part)
            _remove(part)

    def _evict(self, built: Path) -> None:
        """Removes the least recently used artifacts until the rest is within the limit; never the one just built."""
        if not self._bounded:
            return
        limit = self._limit if self._limit is not None else _cache_limit(self.root)
        entries = [seal.parent for seal in self.root.glob(_SEALS)] + list(self.root.glob("kernels/*"))
        sizes = {entry: _bytes(entry) for entry in entries}
        total = sum(sizes.values())
        for entry in sorted(entries, key=_last_used):
            if total <= limit:
                return
            if entry != built:
                log.info("removed %s: the cache is larger than %.1f GB", entry, limit / 1e9)
                _remove(entry)
                total -= sizes[entry]


class RecentlyUsed(Generic[Kept]):
    """A least-recently-used cache of loaded objects, limited in number and size. Thread-safe.

    Args:
        most: maximum number of objects.
        limit: maximum total bytes; the last requested object is kept whatever its size.
    """

    def __init__(self, most: int, limit: int) -> None:
        self._most, self._limit = most, limit
        self._kept: OrderedDict[Any, tuple[Kept, int]] = OrderedDict()
        self._loading, self._lock = threading.Lock(), threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Total size of the cached objects."""
        with self._lock:
            return self._total()

    def get(self, key: Any, load: Callable[[], tuple[Kept, int]]) -> Kept:
        """The object of a key. If it is not cached, evicts others and calls `load`, which returns it and its size.

        One object is loaded at a time; those that are cached do not wait for it.
        """
        if (found := self._use(key)) is not None:
            return found[0]
        with self._loading:
            if (found := self._use(key)) is None:  # another thread may have loaded it meanwhile
                with self._lock:
                    self._evict(most=self._most - 1)
                found = load()
                with self._lock:
                    self._kept[key] = found
                    self._evict(self._most)
            return found[0]

    def _use(self, key: Any) -> tuple[Kept, int] | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _evict(self, most: int) -> None:
        while len(self._kept) > most or (len(self._kept) > 1 and self._total() > self._limit):
            self._kept.popitem(last=False)

    def _total(self) -> int:
        return sum(size for _, size in self._kept.values())


def model_digest(folder: Path) -> str:
    """sha256 of a checkpoint folder's `config.json` and weight files; see `remembered_sha256`."""
    total = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        total.update(f"{path.name} {remembered_sha256(path.resolve())}\n".encode())
    return total.hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str:
    """sha256 of a file, cached by path, size and modification time so that gigabytes are read only once.

    If the cache cannot be written, the file is hashed again next time.
    """
    stat = path.stat()
    note = cache_root() / "digests" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:20]}.json"
    known = {"path": str(path), "bytes": stat.st_size, "changed_ns": stat.st_mtime_ns}
    with suppress(OSError, ValueError, KeyError, TypeError):  # missing or unreadable: hash again
        kept = json.loads(note.read_text())
        if {k: kept[k] for k in known} == known:
            return str(kept["sha256"])
    digest = sha256_of(path)
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, json.dumps({**known, "sha256": digest}))
    return digest


def damage(folder: Path, key: Mapping[str, Any]) -> str | None:
    """Why an artifact cannot be used; None if it is intact.

    Files whose size and modification time match the seal count as intact; others (in a copied folder) are hashed once.
    """
    try:
        artifact = _read(folder)
        if artifact.key != json.loads(json.dumps(dict(key))):
            return "it was built for another key"
        for name, sealed in artifact.files.items():
            file = folder / name
            stat = file.stat()
            if stat.st_size != sealed["bytes"]:
                return f"{name} has {stat.st_size} bytes instead of {sealed['bytes']}"
            if stat.st_mtime_ns != sealed["changed_ns"] and remembered_sha256(file.resolve()) != sealed["sha256"]:
                return f"{name} has changed: its sha256 differs"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    return None


@contextmanager
def writing(place: Path, setting: str) -> Iterator[None]:
    """Turns write failures below `place`, which `setting` determines, into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineError(
                f"{place}: the disk is full; free space there or set {setting} to another disk"
            ) from error
        refusals = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
        if error.errno in refusals or not os.path.exists(place):
            raise EngineError(
                f"{place}: cannot be written ({error.strerror}); set {setting} to a folder that can"
            ) from error
        raise


def _hash(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:12]


def _read(folder: Path) -> Artifact:
    seal = folder / SEAL
    stated = json.loads(seal.read_text())
    files = {str(name): dict(sealed) for name, sealed in stated["files"].items()}
    built = max((int(sealed["changed_ns"]) for sealed in files.values()), default=0)
    return Artifact(folder, dict(stated["key"]), dict(stated.get("notes") or {}), files, built)


def _used(folder: Path) -> Artifact:
    with suppress(OSError):  # the store may be read-only
        os.utime(folder / SEAL)
    return _read(folder)


def _last_used(entry: Path) -> float:
    with suppress(OSError):
        return (entry / SEAL if entry.is_dir() else entry).stat().st_mtime
    return 0.0


def _sealed(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    stat = path.stat()
    return {"bytes": stat.st_size, "changed_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _bytes(entry: Path) -> int:
    with suppress(OSError):
        return sum(p.stat().st_size for p in (entry.iterdir() if entry.is_dir() else (entry,)))
    return 0


def _cache_limit(root: Path) -> int:
    said = os.environ.get("N3D_CACHE_GB")
    try:
        return int(1e9 * (float(said) if said else min(_GIGABYTES, shutil.disk_usage(root).total * _SHARE / 1e9)))
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"N3D_CACHE_GB must be a number of gigabytes; got {said!r}") from error
