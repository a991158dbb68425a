"""What identifies a checkpoint: a hash of its config and weights, remembered so that gigabytes are read once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from n3d_core.atomic_write import atomic_write
from n3d_core.backends.artifact_cache import cache_root, sha256_of


def model_digest(folder: Path) -> str:
    """sha256 over `config.json` and the weight files of a checkpoint folder.

    Hashes of files are kept in the cache by path, size and time of change. A cache that cannot be written is no error:
    the files are hashed again next time.
    """
    total = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        total.update(f"{path.name} {_remembered(path.resolve())}\n".encode())
    return total.hexdigest()


def _remembered(path: Path) -> str:
    stat = path.stat()
    place = hashlib.sha256(str(path).encode()).hexdigest()[:20]
    note = cache_root() / "digests" / f"{place}.json"
    known = {"path": str(path), "bytes": stat.st_size, "changed_ns": stat.st_mtime_ns}
    try:
        kept = json.loads(note.read_text())
        if {k: kept[k] for k in known} == known:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not readable: hashed anew
    digest = sha256_of(path)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as part:
            part.write_text(json.dumps({**known, "sha256": digest}))
    except OSError:
        pass
    return digest
