"""`manifest.json` of a folder that `n3d compile` writes: what each engine is, and whether it is the one wanted here."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n3d_core.backends.artifact_cache import sha256_of
from n3d_core.backends.export.graph import GRAPH_VERSION

log = logging.getLogger("n3d.tensorrt")

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class WantedEngine:
    """What an engine must be to run here.

    Attributes:
        graph: `vision` or `decoder`.
        precision, target: as `fp16` and `sm_89`.
        weights_sha256: of the checkpoint.
        built_by: TensorRT's name and version.
        lowered: whether its graph is spelled in opset 19's primitives.
        capacity: tokens of a decoder's cache; None takes any.
        patch_grid: (height, width) of a tower; None for the decoder.
    """

    graph: str
    precision: str
    target: str
    weights_sha256: str
    built_by: str
    lowered: bool
    capacity: int | None = None
    patch_grid: tuple[int, int] | None = None


def find_engine(folder: Path, wanted: WantedEngine) -> dict[str, Any] | str | None:
    """The manifest's entry of an engine that fits; else why there is none, in one line; None without a manifest.

    The file itself is not read: see `damaged`.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    try:
        if manifest["weights_sha256"] != wanted.weights_sha256:
            return "it was compiled from other weights"
        for entry in manifest["engines"]:
            if (entry["graph"], entry["precision"], entry["target"]) == (
                wanted.graph,
                wanted.precision,
                wanted.target,
            ):
                found: dict[str, Any] = entry
                return _misfit(found, wanted) or found
    except (KeyError, TypeError, IndexError) as error:
        return f"its manifest is not one of n3d compile's ({type(error).__name__}: {error})"
    return f"none for {wanted.target} in {wanted.precision}"


def damaged(folder: Path, entry: dict[str, Any]) -> str | None:
    """Why an engine's file cannot be used; None if it is what the manifest says."""
    file = folder / str(entry["file"])
    if not file.is_file() or sha256_of(file) != entry.get("sha256"):
        return f"{file.name} is missing or damaged: its sha256 is not the manifest's"
    return None


def kept_entries(folder: Path, kind: str, weights_sha256: str, renewed: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Entries that a new manifest takes over from the one that is there: of these weights, their files whole.

    Args:
        kind: `engines` or `graphs`.
        renewed: names of files that are written anew.
    """
    kept = []
    for entry in entries_of(folder, kind, weights_sha256):
        if entry["file"] in renewed:
            continue
        data = entry.get("data")
        why = damaged(folder, entry) or (damaged(folder, data) if isinstance(data, dict) else None)
        if why is None:
            kept.append(entry)
        else:
            log.warning("%s: %s; it is no longer listed", folder, why)
    return kept


def entries_of(folder: Path, kind: str, weights_sha256: str) -> list[dict[str, Any]]:
    """`engines` or `graphs` of a folder's manifest; none of another checkpoint's, or where it cannot be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        entries = [e for e in manifest.get(kind, []) if isinstance(e["file"], str)]
        if manifest["weights_sha256"] == weights_sha256:
            return entries
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    if entries:
        log.warning("%s: its %s are of other weights and are no longer listed", folder, kind)
    return []


def _misfit(entry: dict[str, Any], wanted: WantedEngine) -> str | None:
    """Why an engine of the right graph, precision and GPU is not the one; None if it is."""
    if entry["built_by"] != wanted.built_by:
        return f"it was built by {entry['built_by']}, and {wanted.built_by} is installed"
    if entry.get("graph_version") != GRAPH_VERSION:
        return (
            f"it was compiled from graphs of version {entry.get('graph_version')}, and this package writes version "
            f"{GRAPH_VERSION}: compile it again"
        )
    if entry["lowered"] != wanted.lowered:
        forms = {True: "lowered to opset 19", False: "canonical"}
        with_or_without = "with" if wanted.lowered else "without"
        return (
            f"its graph is {forms[bool(entry['lowered'])]}, and {wanted.built_by} runs the one that is "
            f"{forms[wanted.lowered]}: compile it again {with_or_without} --lower"
        )
    if wanted.capacity is not None and entry["capacity"] != wanted.capacity:
        return f"its cache holds {entry['capacity']} tokens, and {wanted.capacity} are wanted"
    if wanted.patch_grid is not None and tuple(entry["patch_grid"]) != wanted.patch_grid:
        (rows, columns), (height, width) = entry["patch_grid"], wanted.patch_grid
        return f"it was compiled for {entry['size']} ({columns}x{rows} patches), and the image gives {width}x{height}"
    return None
