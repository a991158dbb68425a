"""Loads transformers models from local folders: safetensors only, no remote code, no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from n3d_core.errors import CheckpointError, optional


def load_local(folder: str, class_name: str, device: str) -> tuple[Any, dict[str, Any]]:
    """A model in evaluation mode on `device`, and its `preprocessor_config.json` (empty if missing).

    Raises:
        MissingDependencyError: if transformers is not installed.
        CheckpointError: if the folder is not a complete checkpoint of that class.
    """
    with optional(f"{class_name} needs transformers", "'n3d-ros[lift,lift-models]'"):
        import transformers
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json; it must be a local folder written by `save_pretrained`")
    try:
        model, info = getattr(transformers, class_name).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded as {class_name}: {error}") from error
    if info["missing_keys"]:
        raise CheckpointError(
            f"{folder}: {len(info['missing_keys'])} weights of {class_name} are missing, first "
            f"{sorted(info['missing_keys'])[0]}"
        )
    settings = path / "preprocessor_config.json"
    try:
        processor = json.loads(settings.read_text()) if settings.is_file() else {}
    except ValueError as error:
        raise CheckpointError(f"{settings}: not JSON: {error}") from error
    return model.eval().to(device), processor
