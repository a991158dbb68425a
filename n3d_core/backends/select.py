"""Chooses the backend for a checkpoint, and says why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from n3d_core.backends.base import Backend
from n3d_core.errors import BackendError, ConfigError, MissingDependencyError, optional

COMPILED = "+compile"
"""Suffix of torch's precision: `torch.compile` then fuses the single step, on a GPU."""

PRECISIONS = {
    "torch": tuple(p + end for p in ("fp32", "fp16", "bf16") for end in ("", COMPILED)),
    "onnx": ("fp32", "fp16", "int8", "int4"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8", "int4"),
}
"""Precisions of each backend; the default depends on the device."""

SPELLINGS = ("auto", *(s for name, found in PRECISIONS.items() for s in (name, *(f"{name}:{p}" for p in found))))


def load_backend(folder: Path, backend: str = "auto", threads: int = 0, device: str = "") -> Backend:
    """Loads a checkpoint folder on a backend.

    `auto` takes the fastest that works: TensorRT on a GPU that it supports, torch on other GPUs, ONNX Runtime on a CPU,
    torch if that is not installed. The backend's `reason` explains the choice.

    Args:
        backend: `auto`, `torch`, `onnx`, `tensorrt`, or one of these with a precision, such as `onnx:int4`. On a GPU
            `torch:bf16+compile` uses `torch.compile` to fuse the single step, which takes a minute.
        threads: ONNX Runtime's threads; 0 leaves the choice to the backend. Torch uses the process's setting.
        device: `cpu`, `cuda` or `cuda:1`; empty takes the first GPU visible to torch, else the CPU.

    Raises:
        ConfigError: if the name, precision or device is unknown.
        BackendError, MissingDependencyError: if the backend cannot run here, for example for lack of memory.
        CheckpointError: if the folder cannot be loaded.
    """
    name, _, precision = backend.partition(":")
    if name == "auto" and not precision:
        return _fastest(folder, threads, device)
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ConfigError(f"backend must be auto or one of {known}, with a precision as in onnx:int4; got {backend!r}")
    return _load(folder, name, precision or None, "asked for", threads, device)


def _fastest(folder: Path, threads: int, device: str) -> Backend:
    from n3d_core.backends.base import gpu

    name, place = ("onnx", "a CPU") if gpu(device) is None else ("tensorrt", "supported GPUs")
    try:
        return _load(folder, name, None, f"auto: fastest on {place}", threads, device)
    except (BackendError, MissingDependencyError) as error:
        reason = f"auto: runs everywhere; {name} cannot run here ({error})"
    return _load(folder, "torch", None, reason, threads, device)


def _load(folder: Path, name: str, precision: str | None, reason: str, threads: int, device: str) -> Backend:
    from n3d_core.backends.base import enough_memory, gpu

    chosen = gpu(device)
    with enough_memory(name):
        if name == "torch":
            return _torch(folder, precision, reason, "cpu" if chosen is None else str(chosen))
        if name == "onnx":
            if device.startswith("cuda"):
                raise BackendError(f"onnx runs on the CPU; for device {device} use torch or tensorrt")
            return _onnx(folder, precision or "fp32", reason, threads)
        return _tensorrt(folder, precision or "fp16", reason, device)


def _torch(folder: Path, precision: str | None, reason: str, device: str) -> Backend:
    import torch

    from n3d_core.backends.base import check_host_memory
    from n3d_core.backends.torch_backend import TorchBackend
    from n3d_core.network.checkpoint import load_network

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    compiled = (precision or "").endswith(COMPILED)
    chosen = (precision or "").removesuffix(COMPILED) or ("fp32" if device == "cpu" else "bf16")
    if compiled and device == "cpu":
        raise BackendError(f"torch:{precision} needs a GPU, but no CUDA GPU is in use: use torch:{chosen}")
    if chosen not in types:
        raise BackendError(f"the torch backend supports {', '.join(types)}, not {chosen}: use onnx:{chosen}")
    if device == "cpu":
        check_host_memory(folder, types[chosen], f"torch:{chosen}")
    return TorchBackend(load_network(folder, types[chosen], device), reason, compiled=compiled)


def _onnx(folder: Path, precision: str, reason: str, threads: int) -> Backend:
    from n3d_core.backends.onnx_backend import OnnxBackend, import_onnxruntime

    import_onnxruntime()  # fail before exporting a graph
    require_onnx()
    from n3d_core.backends.export.graph import GraphStore
    from n3d_core.backends.export.precision import Precision

    chosen = Precision.named(precision)
    if chosen.compute == "bf16":
        raise BackendError("ONNX Runtime does not support bf16 on a CPU: use onnx:fp32 or onnx:int4")
    return OnnxBackend(GraphStore(folder, chosen), threads, reason)


def _tensorrt(folder: Path, precision: str, reason: str, device: str) -> Backend:
    from n3d_core.backends.base import gpu
    from n3d_core.backends.tensorrt.api import TensorRT, local_architecture

    api = TensorRT.installed()
    require_onnx()
    chosen, target = gpu(device), local_architecture(device)
    if chosen is None or target is None:
        raise BackendError(
            f"{api.name} {api.version} needs an NVIDIA GPU, but no CUDA GPU is in use: use onnx or torch"
        )
    api.check_target(target, target)
    from n3d_core.backends.export.precision import Precision
    from n3d_core.backends.tensorrt.run import TensorRTBackend
    from n3d_core.backends.tensorrt.supply import EngineStore

    engines = EngineStore(folder, api, target, Precision.named(precision, "fp16"))
    return TensorRTBackend(engines, reason, str(chosen))


def require_onnx() -> None:
    """Raises MissingDependencyError if graphs cannot be exported."""
    with optional("exporting a graph needs onnx", "'n3d-ros[export]'"):
        import onnx  # noqa: F401
