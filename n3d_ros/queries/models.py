"""Models, each loaded once per process and shared by all cameras; and the process's memory use."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.monocular import DepthEstimate, MonocularDepth, load_monocular
from n3d_core.errors import MissingDependencyError, QueryCancelledError, QueryTimeoutError
from n3d_core.geometry.camera import Camera
from n3d_core.preparation import ImageSize
from n3d_ros.node.shipped import how_to_install

_POLL_S = 0.01


@dataclass(frozen=True)
class ModelChoice:
    """What to load, and how; nodes with the same choice share a model. The values are the node's parameters.

    Attributes:
        name, backend, device, sampling, seed: as of `N3D.load`.
        image_size, on_other_size: as of `ImageSize.parse`; an empty size sets none.
        monocular_depth: as of `load_monocular`; empty if depth is measured.
    """

    name: str
    backend: str
    device: str
    sampling: str
    seed: int
    image_size: str
    on_other_size: str
    monocular_depth: str


@dataclass
class SharedModel:
    """A loaded model, and the depth model for cameras without depth; they serve one query at a time."""

    model: Any
    monocular: MonocularDepth | None = None
    _busy: threading.Lock = field(default_factory=threading.Lock, init=False)
    _waiting: set[object] = field(default_factory=set, init=False)  # queries of clients

    @property
    def is_wanted(self) -> bool:
        """Whether a client's query waits for its turn, so that a background one should stop."""
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
        """Holds the models for one query; yields whether it had to wait for other cameras' queries.

        Args:
            cancelled: polled during the wait.
            deadline: `time.monotonic()` seconds at which the wait ends.
            waits: called once if the query has to wait.
            meanwhile: called repeatedly during the wait, without holding the models.
            background: whether the query gives way to others; its `cancelled` must check `is_wanted`, also in its turn.

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
                    raise QueryCancelledError("cancelled while another camera's query was running")
                if self._busy.acquire(timeout=_POLL_S):
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    raise QueryTimeoutError(
                        "the query timed out (query_timeout) while another camera's query was running"
                    )
                meanwhile()
        finally:
            self._waiting.discard(waiter)

    def estimate(self, color: NDArray[np.uint8], camera: Camera) -> DepthEstimate:
        """Depth of an RGB image [H, W, 3] from the monocular model; call it within a `turn`."""
        assert self.monocular is not None
        return self.monocular.estimate(color, camera)

    def warm_up(self) -> None:
        """Runs each network once, so that memory is allocated and kernels are chosen before the first real query."""
        if self.monocular is not None:
            size = self.model.image_size
            width, height = (size.width, size.height) if size is not None else (640, 480)
            grey = np.full((height, width, 3), 128, np.uint8)
            self.monocular.estimate(grey, Camera.from_fov(70.0, width, height))
        self.model.warm_up()


class ModelPool:
    """Loads models, several at once if needed, and unloads a model with its last user."""

    def __init__(self) -> None:
        self._slots: dict[ModelChoice, _Slot] = {}
        self._lock = threading.Lock()  # held only for bookkeeping: loading takes minutes

    def acquire(self, choice: ModelChoice) -> SharedModel:
        """Returns the model, loading it if necessary; every `acquire` needs one `release`.

        Raises:
            CheckpointError, BackendError, MissingDependencyError: as `N3D.load` and `load_monocular` do.
        """
        with self._lock:
            slot = self._slots.setdefault(choice, _Slot())
            slot.users += 1
        try:
            with slot.loading:
                if slot.shared is None:
                    shared = _load(choice)
                    shared.warm_up()
                    slot.shared = shared
                return slot.shared
        except BaseException:
            self._leave(choice, slot)
            raise

    def release(self, shared: SharedModel) -> None:
        """Releases a model; the last user's release unloads it."""
        with self._lock:
            slots = list(self._slots.items())
        for choice, slot in slots:
            if slot.shared is shared:
                self._leave(choice, slot)

    def _leave(self, choice: ModelChoice, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            if slot.users == 0 and self._slots.get(choice) is slot:
                del self._slots[choice]


@dataclass
class _Slot:
    """A model's place in the pool, from the first `acquire` to the last `release`."""

    users: int = 0
    shared: SharedModel | None = None
    loading: threading.Lock = field(default_factory=threading.Lock)


def _load(choice: ModelChoice) -> SharedModel:
    depth = load_monocular(choice.monocular_depth) if choice.monocular_depth else None
    size = ImageSize.parse(choice.image_size, cast(Any, choice.on_other_size)) if choice.image_size else None
    try:
        from n3d_core import N3D  # imports torch: only a configured node pays for it

        model = N3D.load(
            choice.name, choice.backend, cast(Any, choice.sampling), choice.seed, size, device=choice.device
        )
    except ModuleNotFoundError as missing:
        raise MissingDependencyError(how_to_install(missing)) from missing
    return SharedModel(model, depth)


def rss_bytes() -> int:
    """Resident memory of this process; the peak on systems without /proc."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def gpu_memory() -> dict[str, str]:
    """Memory of the GPU in use, by name; empty if this process uses no GPU.

    `memory_gpu_mb` is what torch holds in this process; the other two are the whole device's.
    """
    cuda = _cuda()
    if cuda is None:
        return {}
    free, total = cuda.mem_get_info()
    return {
        "memory_gpu_mb": f"{cuda.memory_reserved() / 1e6:.0f}",
        "memory_gpu_device_used_mb": f"{(total - free) / 1e6:.0f}",
        "memory_gpu_device_total_mb": f"{total / 1e6:.0f}",
    }


def give_back() -> None:
    """Returns unused memory to the system: allocators keep freed blocks."""
    gc.collect()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc only
        trim(0)


def _cuda() -> Any:
    """`torch.cuda` if it is in use; does not import torch to find out."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None
