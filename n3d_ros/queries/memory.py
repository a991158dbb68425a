"""Memory of this process: what it holds, on the machine and on the GPU, and how it is given back."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path
from typing import Any


def rss_bytes() -> int:
    """Memory of this process: resident now where /proc tells it, else the most it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def gpu_memory() -> dict[str, str]:
    """Memory of the GPU in use, by name; empty where this process uses none.

    `memory_gpu_mb` is what torch holds of it in this process, the other two are of the whole device.
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
    """Gives what is not used any more back to the system: allocators keep freed blocks for themselves."""
    gc.collect()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc has it
        trim(0)


def _cuda() -> Any:
    """`torch.cuda` where it is in use; a node that has not loaded torch should not load it for this."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None
