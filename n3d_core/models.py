"""Checkpoints by name: shipped, in a folder, or downloaded; and the download of published ones.

Nothing is downloaded unless asked for, and only weights, configs and tokenizers: never code. Files are fetched one by
one through `huggingface_hub`'s HTTP client, because after an interruption its `snapshot_download` starts large files
from the beginning. A file gets its name once its hash is the one that the hub states.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from n3d_core.backends.store import cache_root, sha256_of
from n3d_core.errors import CheckpointError, ConfigError, N3DError, optional

_CHECKPOINT = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja", "LICENSE*", "README.md")


@dataclass(frozen=True)
class Published:
    """A checkpoint on the hub.

    Attributes:
        repository: `owner/name`.
        what: description, one line.
        licence: licence of the weights.
        files: patterns of the files to download.
    """

    repository: str
    what: str
    licence: str
    files: tuple[str, ...] = _CHECKPOINT


PUBLISHED = {
    "n3d-vlm": Published(
        "yuxinhk/N3D-VLM",
        "the authors' N3D-VLM, for real images",
        "none stated by its authors; its base is Qwen2.5-VL (7B: Apache-2.0, 3B: Qwen Research, non-commercial)",
    ),
    "depth-anything-v2-indoor": Published(
        "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
        "monocular metric depth to 20 m, 25 M parameters",
        "Apache-2.0 (the Small models)",
    ),
    "depth-anything-v2-outdoor": Published(
        "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
        "monocular metric depth to 80 m, 25 M parameters",
        "Apache-2.0 (the Small models)",
    ),
    "moge-2": Published(
        "Ruicheng/moge-2-vitl-normal",
        "monocular metric geometry with a known field of view, 330 M parameters",
        "MIT (its DINOv2 encoder: Apache-2.0)",
        ("model.pt", "LICENSE*", "README.md"),
    ),
}


def find_model(name: str | Path) -> Path:
    """The checkpoint folder of a path, of a shipped model's name, or of a downloaded one's (also `owner/repository`).

    Raises:
        CheckpointError: if there is no such folder; the message lists the known models.
    """
    try:
        path = Path(name).expanduser()
        places = [path, *(shelf / path for shelf in shelves() if path.name == str(name)), *_download_folders(str(name))]
        for place in places:
            if (place / "config.json").exists():
                return place
    except (OSError, RuntimeError) as error:  # the name is too long, or a home folder does not exist
        raise CheckpointError(f"model {str(name)[:80]!r}: not a possible folder name ({error})") from error
    here = sorted({p.parent.name for shelf in shelves() for p in shelf.glob("*/config.json")})
    raise CheckpointError(
        f"model {str(name)!r}: no such folder with a config.json, and no shipped or downloaded model of that name; "
        f"known models: {', '.join(here) or 'none'}; `n3d download` lists what can be fetched"
    )


def shelves() -> list[Path]:
    """Folders of models: `N3D_MODELS`, those of the checkout or the installed package, and the downloads."""
    package = Path(__file__).resolve().parent
    found = [Path(p) for p in os.environ.get("N3D_MODELS", "").split(os.pathsep) if p]
    found += [package.parent / "models", package / "shipped"]  # a checkout; an installed wheel
    # <prefix>/lib/python3.x/site-packages/n3d_core -> <prefix>/share/n3d_ros/models
    found += [p / "share" / "n3d_ros" / "models" for p in package.parents[:5]]
    found.append(downloads())
    return [p for p in found if p.is_dir()]


def downloads() -> Path:
    """Where `n3d download` stores checkpoints: `$XDG_CACHE_HOME/n3d/models`, `~/.cache/n3d/models` by default."""
    return cache_root() / "models"


def local_folder(name: str) -> Path:
    """Where `n3d download` stores a checkpoint."""
    return downloads() / name.replace("/", "--")


def _download_folders(name: str) -> list[Path]:
    """Where `owner/repository` may have been downloaded to: under its own name, or under its published one."""
    published = [known for known, one in PUBLISHED.items() if one.repository == name]
    owner, slash, repository = name.partition("/")
    is_repository = bool(slash) and not any(part in ("", ".", "..") or "/" in part for part in (owner, repository))
    return [local_folder(one) for one in ([name] if is_repository else []) + published]


def download(
    name: str, folder: Path | None = None, revision: str = "main", log: Callable[[str], None] = lambda line: None
) -> Path:
    """Downloads a checkpoint, resuming an earlier download, and verifies every file; returns its folder.

    Args:
        name: a name in `PUBLISHED`, or `owner/repository` on the hub.
        folder: where to store it; None is `local_folder(name)`.
        revision: branch, tag or commit.
        log: called with each line of progress.

    Raises:
        ConfigError: if the name is unknown.
        CheckpointError: if a file cannot be fetched, or its hash is wrong; call again to resume.
        MissingDependencyError: if huggingface_hub is not installed.
    """
    published = PUBLISHED.get(name) or _unlisted(name)
    target = folder or local_folder(name)
    hub = _import_hub()
    try:
        info = hub.HfApi().model_info(published.repository, revision=revision, files_metadata=True)
        wanted = [s for s in info.siblings or [] if any(fnmatch(s.rfilename, pattern) for pattern in published.files)]
        size = sum(sibling.size or 0 for sibling in wanted)
        log(f"{published.repository} at {info.sha}: {len(wanted)} files, {size / 1e9:.2f} GB, to {target}")
        log(f"licence: {published.licence}")
        for sibling in wanted:
            url = hub.hf_hub_url(published.repository, sibling.rfilename, revision=info.sha)
            _fetch(url, _inside(target, sibling.rfilename), sibling, log)
    except N3DError:
        raise
    except Exception as error:  # of the client, of HTTP or of the file system
        raise CheckpointError(
            f"{published.repository} could not be fetched ({type(error).__name__}: {error}); run the command again "
            f"to resume, {target} keeps what has arrived"
        ) from error
    return target


def _fetch(url: str, path: Path, sibling: Any, log: Callable[[str], None]) -> None:
    """Downloads a file to `.part`, resuming an existing one, and renames it once its hash is right."""
    expected = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    hash_of = sha256_of if sibling.lfs else _git_blob_id
    if path.is_file() and hash_of(path) == expected:
        log(f"{sibling.rfilename} is already downloaded and verified")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if part.exists() and part.stat().st_size > sibling.size:
        part.unlink()  # of another revision: useless
    hub = _import_hub()
    with part.open("ab") as file:
        headers = hub.utils.build_hf_headers()
        hub.file_download.http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=sibling.size)
    seen = hash_of(part)
    if seen != expected:
        part.unlink()
        raise CheckpointError(
            f"{sibling.rfilename}: its hash is {seen}, but the hub states {expected}; the file was deleted: run the "
            "command again"
        )
    os.replace(part, path)
    log(f"{sibling.rfilename}: {sibling.size / 1e6:.1f} MB, verified")


def _import_hub() -> Any:
    with optional("downloads need huggingface_hub", "'n3d-ros[download]'"):
        hub: Any = importlib.import_module("huggingface_hub")
        importlib.import_module("huggingface_hub.file_download")
    return hub


def _inside(folder: Path, name: str) -> Path:
    """The file's path in the folder; rejects names that lead out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CheckpointError(f"the hub lists a file {name!r}, which is outside of {folder}: nothing was fetched")
    return path


def _unlisted(name: str) -> Published:
    owner, slash, repository = name.partition("/")
    if not (slash and owner and repository) or "/" in repository:
        known = ", ".join(PUBLISHED)
        raise ConfigError(f"unknown checkpoint {name!r}: must be one of {known}, or owner/repository on the hub")
    return Published(name, "a checkpoint on the hub", "see its page")


def _git_blob_id(path: Path) -> str:
    """Git's hash of a file: SHA-1 of a header and the contents."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
