"""The interface of a backend, encode an image and extend a token sequence, and what all backends share."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
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


class Sequence(Protocol):
    """Tokens whose keys and values are kept. One sequence is used by one thread at a time."""

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""

    @property
    def limit(self) -> int:
        """Most tokens that it can hold."""

    def extend(
        self, ids: list[int], positions: NDArray[np.int64], image: Any = None, rows: int = 1
    ) -> NDArray[np.float32]:
        """Appends a chunk in one pass.

        Args:
            ids: of the tokens.
            positions: [3, len(ids)] M-RoPE positions.
            image: what `Backend.encode` returned; its tokens replace the image pads of the chunk, in order.
            rows: how many of the last tokens need logits.

        Returns:
            logits [rows, vocab] float32: row i predicts the token after the chunk's i-th of the last `rows`.

        Raises:
            TextTooLongError: if the tokens do not fit.
            BackendError: if the run fails, finds no memory or overflows (`require_finite`): the chunk is not added.
        """

    def truncate(self, length: int) -> None:
        """Drops all tokens from `length` on."""


class Backend(Protocol):
    """A loaded network. Threads may share one, each with its own sequences.

    Attributes:
        name: `torch`, `onnx` or `tensorrt` with the device, for display.
        reason: why this backend was chosen, one sentence.
        config: of the network.
    """

    name: str
    reason: str
    config: N3DConfig

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers."""

    def step_bytes(self, context: int) -> int:
        """Bytes that a single step behind `context` tokens must read: decoder and head once, their keys and values."""

    def encode(self, image: VisionInput) -> Any:
        """Image tokens in the form that `Sequence.extend` takes."""

    def start(self) -> Sequence:
        """An empty sequence."""


_device_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_device_locks_lock = threading.Lock()


@contextmanager
def current_device(device: torch.device) -> Iterator[None]:
    """Makes a GPU current in this thread; does nothing for the CPU."""
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        yield


@contextmanager
def use_device(device: torch.device) -> Iterator[None]:
    """Makes a device current in this thread and holds its lock, one for all backends of the process.

    While one thread captures a CUDA graph no other may allocate or launch on that GPU, whatever model it runs; and
    TensorRT's objects are for one thread at a time.
    """
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index
    with _device_locks_lock:
        lock = _device_locks[f"{device.type}:{index}"]
    with lock, current_device(device):
        yield


def gpu(device: str = "") -> torch.device | None:
    """The GPU that a choice of device names, with its index; None where it is the CPU or no GPU is visible to torch.

    Args:
        device: empty for the first GPU if there is one; `cpu`; `cuda`; or `cuda:1`.

    Raises:
        ConfigError: if it is none of these. BackendError: if there is no such GPU.
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
        raise BackendError(f"device {device} is not here: {there} is visible to torch")
    return torch.device("cuda", index)


def cached_numbers(text: TextConfig, context: int) -> int:
    """Number of keys and values cached for `context` tokens, over all layers."""
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * context


_FP16 = ("fp16", "float16")


def require_finite(logits: NDArray[np.float32], backend: str, compute: str) -> None:
    """Rejects NaN and infinite logits.

    An overflow anywhere in the network reaches the logits of every later token, since each attends to all before it.

    Args:
        backend: its name.
        compute: type of the matrix products.

    Raises:
        BackendError: says what to do.
    """
    if np.isfinite(logits).all():
        return
    if compute in _FP16:
        raise BackendError(
            f"{backend}: this network overflows fp16 (values above 65,504), so its answers would be noise: use fp32, "
            "or bf16 on a GPU (as in --backend torch:bf16)"
        )
    raise BackendError(
        f"{backend}: the logits are not finite in {compute}: the weights or the image's points contain infinities or "
        "NaN; check the checkpoint, and run `python -m test.parity` if you have golden vectors"
    )


_LESS = "onnx:int4 on a CPU and tensorrt:int4 on a GPU need least; or close other programs"
_SAID = ("can't allocate memory", "not enough memory", "out of memory")  # torch's words on a CPU, in a RuntimeError


@contextmanager
def enough_memory(backend: str) -> Iterator[None]:
    """Turns running out of memory into a BackendError that says what needs less."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _refusal(backend, error) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _SAID):
            raise
        raise _refusal(backend, error) from error


def check_host_memory(folder: Path, dtype: torch.dtype, backend: str) -> None:
    """Refuses to convert a checkpoint's weights to `dtype` if the host has too little memory: the system would kill
    some process.

    Weights already of that type stay in their file and need none.

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
        f"{backend} needs {needed / 1e9:.1f} GB for the weights of {folder}, and {available / 1e9:.1f} GB are free: "
        f"{_LESS}"
    )


def available_bytes() -> int | None:
    """Memory and swap available to new programs; None if the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return 1024 * (kibibytes["MemAvailable"] + kibibytes["SwapFree"])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _refusal(backend: str, error: BaseException) -> BackendError:
    said = str(error).splitlines()
    return BackendError(f"{backend}: there is not enough memory ({said[0] if said else 'no details'}): {_LESS}")
