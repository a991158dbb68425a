"""Which backend runs a checkpoint here, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from n3d_core.backends.base import Backend
from n3d_core.errors import BackendError, ConfigError, MissingDependencyError

COMPILED = "+compile"
"""May end torch's precision: `torch.compile` then fuses the single step, on a GPU."""

PRECISIONS = {
    "torch": tuple(p + end for p in ("fp32", "fp16", "bf16") for end in ("", COMPILED)),
    "onnx": ("fp32", "fp16", "int8", "int4"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8", "int4"),
}
"""Of each backend; without one it takes what is usual where it runs."""

SPELLINGS = ("auto", *(s for name, found in PRECISIONS.items() for s in (name, *(f"{name}:{p}" for p in found))))


def load_backend(folder: Path, backend: str = "auto", threads: int = 0) -> Backend:
    """Loads a checkpoint folder on a backend.

    `auto` takes the fastest that works here: TensorRT where there is a GPU that it supports, torch on another GPU, ONNX
    Runtime on a CPU, torch where that is missing. The backend's `reason` says what decided.

    Args:
        backend: `auto`, `torch`, `onnx`, `tensorrt`, or one of these with a precision: `onnx:int4`. On a GPU
            `torch:bf16+compile` has `torch.compile` fuse the single step, which takes a minute.
        threads: of ONNX Runtime; 0 leaves it to the backend. Torch's are the process's.

    Raises:
        ConfigError: if the name or precision is unknown.
        BackendError, MissingDependencyError: if the backend cannot run here, for want of memory too.
        CheckpointError: if the folder cannot be loaded.
    """
    name, _, precision = backend.partition(":")
    if name == "auto" and not precision:
        return _fastest(folder, threads)
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ConfigError(
            f"backend is {backend!r}: 'auto' or one of {known} is wanted, with a precision as in 'onnx:int4'"
        )
    return _load(folder, name, precision or None, "asked for", threads)


def _fastest(folder: Path, threads: int) -> Backend:
    import torch

    refused: list[str] = []
    for name in ("tensorrt",) if torch.cuda.is_available() else ("onnx",):
        try:
            return _load(folder, name, None, _why(name, refused), threads)
        except (BackendError, MissingDependencyError) as error:
            refused.append(f"{name} cannot run here ({error})")
    return _load(folder, "torch", None, _why("torch", refused), threads)


def _why(name: str, refused: list[str]) -> str:
    places = {"tensorrt": "fastest on a GPU that it supports", "onnx": "fastest on a CPU", "torch": "runs everywhere"}
    return "; ".join([f"auto: {places[name]}", *refused])


def _load(folder: Path, name: str, precision: str | None, reason: str, threads: int) -> Backend:
    from n3d_core.backends.base import enough_memory

    with enough_memory(name):
        if name == "torch":
            return _torch(folder, precision, reason)
        if name == "onnx":
            return _onnx(folder, precision or "fp32", reason, threads)
        return _tensorrt(folder, precision or "fp16", reason)


def _torch(folder: Path, precision: str | None, reason: str) -> Backend:
    import torch

    from n3d_core.backends.base import check_host_memory
    from n3d_core.backends.torch_backend import TorchBackend
    from n3d_core.network.checkpoint import load_network

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    compiled = (precision or "").endswith(COMPILED)
    chosen = (precision or "").removesuffix(COMPILED) or ("bf16" if device == "cuda" else "fp32")
    if compiled and device == "cpu":
        raise BackendError(f"torch:{precision} fuses single steps on a GPU, and torch sees none: use torch:{chosen}")
    if chosen not in types:
        raise BackendError(f"the torch backend runs {', '.join(types)}, and {chosen} was asked for: use onnx:{chosen}")
    if device == "cpu":
        check_host_memory(folder, types[chosen], f"torch:{chosen}")
    return TorchBackend(load_network(folder, types[chosen], device), reason, compiled=compiled)


def _onnx(folder: Path, precision: str, reason: str, threads: int) -> Backend:
    from n3d_core.backends.onnx_backend import OnnxBackend, import_onnxruntime

    import_onnxruntime()  # before a graph is exported for nothing
    require_onnx()
    from n3d_core.backends.export.graph import GraphStore
    from n3d_core.backends.export.precision import Precision

    chosen = Precision.named(precision)
    if chosen.compute == "bf16":
        raise BackendError("ONNX Runtime computes no bf16 on a CPU: use onnx:fp32 or onnx:int4")
    return OnnxBackend(GraphStore(folder, chosen), threads, reason)


def _tensorrt(folder: Path, precision: str, reason: str) -> Backend:
    from n3d_core.backends.tensorrt.api import TensorRT, local_architecture

    api = TensorRT.installed()
    require_onnx()
    target = local_architecture()
    if target is None:
        raise BackendError(
            f"{api.name} {api.version} needs an NVIDIA GPU to run, and torch sees none: use onnx or torch"
        )
    api.check_target(target, target)
    from n3d_core.backends.export.precision import Precision
    from n3d_core.backends.tensorrt.run import TensorRTBackend
    from n3d_core.backends.tensorrt.supply import EngineStore

    return TensorRTBackend(EngineStore(folder, api, target, Precision.named(precision, "fp16")), reason)


def require_onnx() -> None:
    """Raises MissingDependencyError where graphs cannot be written."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("exporting a graph needs onnx: pip install 'n3d-ros[export]'") from error
