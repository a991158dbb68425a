"""Loaded models, each once in a process: several cameras ask one network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.estimate import DepthEstimate, MonocularDepth
from n3d_core.depth.monocular import load_monocular
from n3d_core.errors import QueryCancelledError, QueryTimeoutError
from n3d_core.geometry.camera import Camera
from n3d_core.preparation import ImageSize

_POLL_S = 0.01


@dataclass(frozen=True)
class ModelChoice:
    """What is loaded, and how; nodes that want the same share it. The values are those of the node's parameters.

    Attributes:
        name, backend, sampling, seed: as of `N3D.load`.
        image_size, on_other_size: as of `ImageSize.parse`; an empty size sets none.
        monocular_depth: as of `load_monocular`; empty where depth is measured.
    """

    name: str
    backend: str
    sampling: str
    seed: int
    image_size: str
    on_other_size: str
    monocular_depth: str


@dataclass
class SharedModel:
    """A loaded model, and the depth model of cameras without depth; one query at a time uses them."""

    model: Any
    monocular: MonocularDepth | None = None
    users: int = 0
    _busy: threading.Lock = field(default_factory=threading.Lock, init=False)
    _waiting: set[object] = field(default_factory=set, init=False)  # queries of clients

    @property
    def is_wanted(self) -> bool:
        """Whether a query that is not in the background waits for its turn: one that is should stop."""
        return bool(self._waiting)

    @contextmanager
    def turn(
        self,
        cancelled: Callable[[], bool],
        deadline: float | None,
        waits: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], None] = lambda: None,
        background: bool = False,
    ) -> Iterator[bool]:
        """Holds the models for a query; yields whether it had to wait for those of other cameras.

        Args:
            cancelled: polled while it waits.
            deadline: `time.monotonic()` seconds until which it waits.
            waits: told once, if it has to wait.
            meanwhile: called again and again while it waits; what takes time there does not hold the models.
            background: whether it gives way to others; its `cancelled` asks `is_wanted`, in its turn too.

        Raises:
            QueryCancelledError, QueryTimeoutError: while it waits.
        """
        free = not (background and self.is_wanted) and self._busy.acquire(blocking=False)
        if not free:
            waits()
            self._wait(cancelled, deadline, meanwhile, background)
        try:
            yield not free
        finally:
            self._busy.release()

    def _wait(
        self,
        cancelled: Callable[[], bool],
        deadline: float | None,
        meanwhile: Callable[[], None],
        background: bool,
    ) -> None:
        waiter = object()
        if not background:
            self._waiting.add(waiter)
        try:
            while True:
                if cancelled():
                    raise QueryCancelledError("cancelled while the model answered for another camera")
                if self._busy.acquire(timeout=_POLL_S):
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    raise QueryTimeoutError(
                        "the time of the query (query_timeout) ended while the model answered for another camera"
                    )
                meanwhile()
        finally:
            self._waiting.discard(waiter)

    def estimate(self, color: NDArray[np.uint8], camera: Camera) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3] by the monocular model; called within a `turn`."""
        assert self.monocular is not None
        return self.monocular.estimate(color, camera)

    def warm_up(self) -> None:
        """One query of each network, so that the first real one finds memory taken and kernels chosen."""
        if self.monocular is not None:
            size = self.model.image_size
            width, height = (size.width, size.height) if size is not None else (640, 480)
            grey = np.full((height, width, 3), 128, np.uint8)
            self.monocular.estimate(grey, Camera.from_fov(70.0, width, height))
        self.model.warm_up()


class ModelPool:
    """Loads models; one that nobody uses any more is let go."""

    def __init__(self) -> None:
        self._models: dict[ModelChoice, SharedModel] = {}
        self._lock = threading.Lock()

    def acquire(self, choice: ModelChoice) -> SharedModel:
        """The model, loaded if it is not yet; every `acquire` wants one `release`.

        Raises:
            CheckpointError, BackendError, MissingDependencyError: as `N3D.load` and `load_monocular` do.
        """
        with self._lock:
            shared = self._models.get(choice)
            if shared is None:
                shared = _load(choice)
                shared.warm_up()
                self._models[choice] = shared
            shared.users += 1
            return shared

    def release(self, shared: SharedModel) -> None:
        """Gives a model back; with its last user it leaves memory."""
        with self._lock:
            shared.users -= 1
            if shared.users == 0:
                self._models = {choice: other for choice, other in self._models.items() if other is not shared}


def _load(choice: ModelChoice) -> SharedModel:
    from n3d_core import N3D  # brings torch: only a node that is configured pays for it

    depth = load_monocular(choice.monocular_depth) if choice.monocular_depth else None
    size = ImageSize.parse(choice.image_size, cast(Any, choice.on_other_size)) if choice.image_size else None
    return SharedModel(N3D.load(choice.name, choice.backend, cast(Any, choice.sampling), choice.seed, size), depth)
