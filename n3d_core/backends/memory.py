"""Too little memory, said in words: what could not be had, and what needs less."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from n3d_core.errors import BackendError
from n3d_core.network.shards import Shards

_LESS = "onnx:int4 on a CPU and tensorrt:int4 on a GPU need least; or end other programs"
_SAID = ("can't allocate memory", "not enough memory", "out of memory")  # torch's words on a CPU, in a RuntimeError


@contextmanager
def enough_memory(backend: str) -> Iterator[None]:
    """Turns a failure to get memory into a BackendError that says what needs less."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _refusal(backend, error) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _SAID):
            raise
        raise _refusal(backend, error) from error


def check_host_memory(folder: Path, dtype: torch.dtype, backend: str) -> None:
    """Refuses to convert a checkpoint's weights to `dtype` where the host has no room: the system would kill somebody.

    Weights that are already of that type stay in their file, and need none.

    Raises:
        BackendError: if there is not enough memory. CheckpointError: if the folder cannot be read.
    """
    available = available_bytes()
    shards = Shards(folder)
    count = sum(math.prod(stored.shape) for stored in shards.tensors.values())
    needed = count * dtype.itemsize
    if available is None or needed <= available:
        return
    if shards.read(next(iter(shards.tensors))).dtype == dtype:
        return
    raise BackendError(
        f"{backend} needs {needed / 1e9:.1f} GB for the weights of {folder}, and {available / 1e9:.1f} GB are free: "
        f"{_LESS}"
    )


def available_bytes() -> int | None:
    """Memory and swap that new programs can have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return 1024 * (kibibytes["MemAvailable"] + kibibytes["SwapFree"])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _refusal(backend: str, error: BaseException) -> BackendError:
    said = str(error).splitlines()
    return BackendError(f"{backend}: there is not enough memory ({said[0] if said else 'no more is known'}): {_LESS}")
