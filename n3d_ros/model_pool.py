"""Loaded models, each once in a process: several cameras ask one network."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame


@dataclass
class SharedModel:
    """A loaded model and the lock that lets one query at a time use it."""

    model: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class ModelPool:
    """Loads models by name and backend; one that nobody uses any more is let go."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], SharedModel] = {}
        self._lock = threading.Lock()

    def acquire(self, name: str, backend: str) -> SharedModel:
        """The model, loaded if it is not yet; every `acquire` wants one `release`.

        Raises:
            CheckpointError, BackendError: as `N3D.load` does.
        """
        with self._lock:
            shared = self._models.get((name, backend))
            if shared is None:
                from n3d_core import N3D  # brings torch: only a node that is configured pays for it

                model = N3D.load(name, backend=backend)
                warm_up(model)
                shared = self._models[name, backend] = SharedModel(model)
            shared.users += 1
            return shared

    def release(self, shared: SharedModel) -> None:
        """Gives a model back; with its last user it leaves memory."""
        with self._lock:
            shared.users -= 1
            if shared.users == 0:
                self._models = {key: other for key, other in self._models.items() if other is not shared}


def warm_up(model: Any) -> None:
    """One query of a plain wall, so that the first real one finds memory taken and kernels chosen."""
    camera = Camera.from_fov(70.0, 640, 480)
    wall = Frame(np.full((480, 640, 3), 128, np.uint8), np.full((480, 640), 1.5, np.float32), camera)
    model.look(wall).ground("box")
