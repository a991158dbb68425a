"""The backend interface (encode an image, extend a token sequence) and code shared by all backends."""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from n3d_core.errors import BackendError, ConfigError
from n3d_core.network.checkpoint import Shards
from n3d_core.network.config import N3DConfig, TextConfig
from n3d_core.network.preprocess import VisionInput

log = logging.getLogger("n3d.backends")


class Sequence(Protocol):
    """A token sequence with cached keys and values. Use it from one thread at a time."""

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""

    @property
    def limit(self) -> int:
        """Maximum number of tokens."""

    def extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: Any = None,
        rows: int = 1,
        sees: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Appends a chunk in one pass.

        Args:
            ids: token ids.
            positions: [3, len(ids)] M-RoPE positions.
            image: the result of `Backend.encode`; its tokens replace the chunk's image pads, in order.
            rows: number of tokens at the end that need logits.
            sees: [len(ids), length + len(ids)], True where a token of the chunk attends to a token of the sequence:
                itself and earlier ones. None: all earlier ones. With it, one sequence holds several continuations.

        Returns:
            logits [rows, vocab] float32: row i predicts the token after the chunk's i-th of the last `rows`.

        Raises:
            TextTooLongError: if the tokens do not fit.
            BackendError: if the run fails, is out of memory or overflows (`require_finite`); the chunk is not added.
        """

    def truncate(self, length: int) -> None:
        """Drops all tokens from `length` on."""


class Backend(Protocol):
    """A loaded network. Threads may share it, each with its own sequences.

    Attributes:
        name: `torch`, `onnx` or `tensorrt` with the device, for display.
        reason: why this backend was chosen, in one sentence.
        config: the network's configuration.
        least_shared: number of replies from which decoding them in shared passes is faster than one after another.
    """

    name: str
    reason: str
    config: N3DConfig
    least_shared: int

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers."""

    def step_bytes(self, context: int) -> int:
        """Bytes that a single step behind `context` tokens must read: decoder, head, and cached keys and values."""

    def encode(self, image: VisionInput) -> Any:
        """Encodes an image to tokens, in the form that `Sequence.extend` takes."""

    def start(self) -> Sequence:
        """An empty sequence."""


_device_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_device_locks_lock = threading.Lock()


@contextmanager
def current_device(device: torch.device) -> Iterator[None]:
    """Makes a GPU current in this thread; no effect for the CPU."""
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        yield


@contextmanager
def use_device(device: torch.device) -> Iterator[None]:
    """Makes a device current in this thread and holds its lock, which all backends of the process share.

    While one thread captures a CUDA graph, no other may allocate or launch on that GPU, whatever model it runs; and
    TensorRT objects must be used from one thread at a time.
    """
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index
    with _device_locks_lock:
        lock = _device_locks[f"{device.type}:{index}"]
    with lock, current_device(device):
        yield


def capture_graph(work: Callable[[], None]) -> Any:
    """Captures `work` as a CUDA graph, which computes nothing yet; None if that fails. Call it under `use_device`.

    Other threads, for example one that loads a model, do not make it fail (`thread_local`).

    Raises:
        torch.OutOfMemoryError: if there is not enough memory.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # a capture that fails to end leaves its own stream current: the outer context takes it back
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            work()
        return graph
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, BackendError) as error:
        log.warning("cannot capture a CUDA graph, single steps will be slower: %s", str(error).splitlines()[0])
        return None


def gpu(device: str = "") -> torch.device | None:
    """The GPU of a device name, with its index; None for the CPU, or if no GPU is visible to torch.

    Args:
        device: `cpu`, `cuda` or `cuda:1`; empty for the first GPU if there is one.

    Raises:
        ConfigError: if it is none of these. BackendError: if the GPU does not exist.
    """
    match = re.fullmatch(r"(cpu)?|cuda(?::(\d{1,3}))?", device)
    if match is None:
        raise ConfigError(f"device must be cpu, cuda or cuda:N; got {device!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(match[2] or 0)
    if match[1] or not (device or count):
        return None
    if index >= count:
        there = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0" if count else "no CUDA GPU"
        raise BackendError(f"device {device} not found: {there} is visible to torch")
    return torch.device("cuda", index)


def cached_numbers(text: TextConfig, context: int) -> int:
    """Number of values in the cache for `context` tokens, over all layers."""
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * context


_FP16 = ("fp16", "float16")


def require_finite(logits: NDArray[np.float32], backend: str, compute: str) -> None:
    """Rejects NaN and infinite logits.

    An overflow anywhere in the network reaches the logits of all later tokens, since they attend to all earlier ones.

    Args:
        backend: the backend's name.
        compute: type of the matrix products.

    Raises:
        BackendError: if any logit is not finite; the message says what to do.
    """
    if np.isfinite(logits).all():
        return
    if compute in _FP16:
        raise BackendError(
            f"{backend}: this network overflows fp16 (values above 65,504), which makes its output useless: use fp32, "
            "or bf16 on a GPU (as in --backend torch:bf16)"
        )
    raise BackendError(
        f"{backend}: the logits are not finite in {compute}: the weights or the image's points contain infinities or "
        "NaN; check the checkpoint, and run `python -m test.parity` if you have golden vectors"
    )


_LESS = "onnx:int4 on a CPU and tensorrt:int4 on a GPU need the least; or close other programs"
_SAID = ("can't allocate memory", "not enough memory", "out of memory")  # torch's words on a CPU, in a RuntimeError


@contextmanager
def enough_memory(backend: str) -> Iterator[None]:
    """Turns out-of-memory errors into a BackendError that says what needs less."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _refusal(backend, error) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _SAID):
            raise
        raise _refusal(backend, error) from error


def check_host_memory(folder: Path, dtype: torch.dtype, backend: str) -> None:
    """Checks that the host has enough memory to convert a checkpoint's weights to `dtype`; otherwise the system would
    kill a process.

    Weights that already have that type stay in their file and need no memory.

    Raises:
        BackendError: if there is not enough memory. CheckpointError: if the folder cannot be read.
    """
    available = available_bytes()
    shards = Shards(folder)
    needed = shards.numbers * dtype.itemsize
    if available is None or needed <= available:
        return
    if shards.read(next(iter(shards.tensors))).dtype == dtype:
        return
    raise BackendError(
        f"{backend} needs {needed / 1e9:.1f} GB for the weights of {folder}, but {available / 1e9:.1f} GB are free: "
        f"{_LESS}"
    )


def available_bytes() -> int | None:
    """Available memory and swap in bytes; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return 1024 * (kibibytes["MemAvailable"] + kibibytes["SwapFree"])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _refusal(backend: str, error: BaseException) -> BackendError:
    said = str(error).splitlines()
    return BackendError(f"{backend}: not enough memory ({said[0] if said else 'no details'}): {_LESS}")
