"""Loaded models, each once in a process: several cameras ask one network."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.monocular import DepthEstimate, MonocularDepth, load_monocular
from n3d_core.geometry.camera import Camera

_CAMERA = Camera.from_fov(70.0, 640, 480)  # of the warm-up


@dataclass
class SharedModel:
    """A loaded model, the depth model of cameras without depth, and the lock that lets one query at a time use them."""

    model: Any
    monocular: MonocularDepth | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0

    def estimate(self, color: NDArray[np.uint8], camera: Camera) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3] by the monocular model."""
        assert self.monocular is not None
        with self.lock:
            return self.monocular.estimate(color, camera)

    def warm_up(self) -> None:
        """One query of each network, so that the first real one finds memory taken and kernels chosen."""
        if self.monocular is not None:
            self.monocular.estimate(np.full((_CAMERA.height, _CAMERA.width, 3), 128, np.uint8), _CAMERA)
        self.model.warm_up()


class ModelPool:
    """Loads models by name and backend; one that nobody uses any more is let go."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str, str], SharedModel] = {}
        self._lock = threading.Lock()

    def acquire(self, name: str, backend: str, monocular: str = "") -> SharedModel:
        """The model, loaded if it is not yet; every `acquire` wants one `release`.

        Args:
            name, backend: as of `N3D.load`.
            monocular: as of `load_monocular`; empty where depth is measured.

        Raises:
            CheckpointError, BackendError, MissingDependencyError: as `N3D.load` and `load_monocular` do.
        """
        key = (name, backend, monocular)
        with self._lock:
            shared = self._models.get(key)
            if shared is None:
                shared = _load(*key)
                shared.warm_up()
                self._models[key] = shared
            shared.users += 1
            return shared

    def release(self, shared: SharedModel) -> None:
        """Gives a model back; with its last user it leaves memory."""
        with self._lock:
            shared.users -= 1
            if shared.users == 0:
                self._models = {key: other for key, other in self._models.items() if other is not shared}


def _load(name: str, backend: str, monocular: str) -> SharedModel:
    from n3d_core import N3D  # brings torch: only a node that is configured pays for it

    depth = load_monocular(monocular) if monocular else None
    return SharedModel(N3D.load(name, backend=backend), depth)
