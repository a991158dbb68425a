"""What the machine can do at most: memory bandwidth with the threads that the model runs with."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_BYTES = 256 << 20  # more than any cache holds
_COLUMNS = 8192
_PASSES = 5


@dataclass(frozen=True)
class Machine:
    """One device, measured.

    Attributes:
        device: `cpu` or the GPU's name.
        threads: of the CPU that were used.
        read_gb_s: bytes read a second by a sum or by a matrix's product with a vector, whichever is faster: no step
            should pass its ceiling.
        copy_gb_s: bytes read and written a second by a copy. Both are of the best pass.
    """

    device: str
    threads: int
    read_gb_s: float
    copy_gb_s: float


def measure_machine(device: str = "cpu", threads: int | None = None) -> Machine:
    """Measures the memory of `cpu` or `cuda`."""
    before = torch.get_num_threads()
    used = threads or os.cpu_count() or 1
    torch.set_num_threads(used)
    try:
        source = torch.ones(_BYTES // 4, device=device)
        target = torch.empty_like(source)
        matrix, vector = source.view(-1, _COLUMNS), torch.ones(_COLUMNS, device=device)
        readers: tuple[Callable[[], object], ...] = (source.sum, lambda: matrix @ vector)
        read = min(_seconds(reader, device) for _ in range(_PASSES) for reader in readers)
        copied = min(_seconds(lambda: target.copy_(source), device) for _ in range(_PASSES))
    finally:
        torch.set_num_threads(before)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return Machine(name, used, round(_BYTES / read / 1e9, 2), round(2 * _BYTES / copied / 1e9, 2))


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_gpu_memory() -> dict[str, int]:
    """`peak_gpu_memory_bytes`: most that this process's tensors took of a GPU; nothing without one.

    Engines of TensorRT and its contexts take theirs besides.
    """
    return {"peak_gpu_memory_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
