"""Which backend runs a checkpoint here, and why."""

from __future__ import annotations

from pathlib import Path

from n3d_core.backends.base import Backend
from n3d_core.errors import BackendError


def load_backend(folder: Path, backend: str = "auto") -> Backend:
    """Loads a checkpoint folder on a backend.

    Raises:
        BackendError: if the backend is unknown or cannot run here.
        CheckpointError: if the folder cannot be loaded.
    """
    if backend not in ("auto", "torch"):
        raise BackendError(f"backend {backend!r}: 'auto' or 'torch' is wanted")
    from n3d_core.backends.torch_backend import TorchBackend
    from n3d_core.model.checkpoint import load_network

    return TorchBackend(load_network(folder), reason="torch runs everywhere" if backend == "auto" else "asked for")
