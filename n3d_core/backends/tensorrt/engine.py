"""A loaded TensorRT engine, and contexts that run it on tensors at fixed addresses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from n3d_core.backends.base import capture_graph
from n3d_core.backends.tensorrt.api import TensorRT, keep
from n3d_core.errors import EngineError

log = logging.getLogger("n3d.tensorrt")

_PIECE = 64 << 20  # bytes of an engine file read at a time


class Engine:
    """A deserialised engine. Call its methods with its device current (`base.use_device`).

    Args:
        path: the engine file.
        runtime_cache: a file for TensorRT for RTX's just-in-time kernels; classic TensorRT does not use it.

    Attributes:
        bytes: size of the file.

    Raises:
        EngineError: if this TensorRT or GPU cannot load the engine.
    """

    def __init__(self, api: TensorRT, path: Path, runtime_cache: Path | None = None) -> None:
        self.api, self.path = api, path
        self._logger = api.logger()
        self._runtime = api.module.Runtime(self._logger)
        self.bytes = path.stat().st_size
        self.engine = self._loaded()
        if self.engine is None:
            raise EngineError(
                f"{path.name}: {api.name} {api.version} cannot load this engine on this GPU: {self._logger.reason()}; "
                "compile it again"
            )
        # Classic TensorRT has runtime configs too, from 10.14 on, but no kernel cache: its kernels are in the engine.
        self._cache_file = runtime_cache if api.is_rtx else None
        self._config, self._kernels = self._runtime_config()
        self._saved = b""

    def context(self, profile: int) -> Any:
        """Creates an execution context for an optimisation profile.

        Raises:
            EngineError: if the GPU does not have enough memory, or TensorRT rejects the profile.
        """
        made = self.engine.create_execution_context(*([self._config] if self._config is not None else []))
        if made is None:
            raise self.failure("cannot create an execution context, probably for lack of GPU memory")
        if profile:
            stream = torch.cuda.current_stream() if torch.cuda.is_available() else None
            if not made.set_optimization_profile_async(profile, stream.cuda_stream if stream else 0):
                raise self.failure(f"optimisation profile {profile} was rejected")
            if stream:
                stream.synchronize()
        return made

    def failure(self, what: str) -> EngineError:
        """An error that quotes TensorRT."""
        return EngineError(f"{self.path.name}: {what}: {self._logger.reason()}")

    def save_kernels(self) -> None:
        """Saves the kernels compiled so far for the next start, if there is a cache file."""
        if self._cache_file is None or self._kernels is None:
            return
        data = bytes(self._kernels.serialize())
        if data == self._saved:
            return
        if not keep(self._cache_file, data, "kernels for the next start"):
            self._cache_file = None
        self._saved = data

    def _loaded(self) -> Any:
        """Loads the engine, streaming its file if TensorRT can; otherwise the file would be in memory twice."""
        reader = _stream_reader(self.api.module)
        if reader is not None:
            with self.path.open("rb") as file, suppress(TypeError):  # some versions' runtimes accept only bytes
                engine = self._runtime.deserialize_cuda_engine(reader(file))
                if engine is not None or "memory" in self._logger.reason().lower():
                    return engine
        return self._runtime.deserialize_cuda_engine(self.path.read_bytes())

    def _runtime_config(self) -> tuple[Any, Any]:
        if self._cache_file is None:
            return None, None
        config = self.engine.create_runtime_config()
        kernels = config.create_runtime_cache()
        with suppress(OSError):  # missing or unreadable: start empty
            kernels.deserialize(self._cache_file.read_bytes())  # rejected if from another version: start empty
        if config.set_runtime_cache(kernels) is False:
            log.warning("%s: TensorRT rejected the kernel cache; every start will recompile kernels", self.path.name)
            return config, None
        return config, kernels


class BoundContext:
    """An execution context with inputs and outputs at fixed addresses, for repeated runs or a CUDA graph.

    Args:
        context: from `Engine.context`; use it from one thread at a time.
        tensors: all inputs and outputs.
        capture: whether to capture runs as a CUDA graph.

    Raises:
        EngineError: if TensorRT rejects a shape or an address.
    """

    def __init__(self, engine: Engine, context: Any, tensors: Mapping[str, Tensor], capture: bool = False) -> None:
        self._context = context
        self._engine, self._tensors = engine, dict(tensors)  # kept alive: TensorRT holds raw addresses
        self._capture, self._runs = capture, 0
        self._graph: Any = None
        trt = engine.api.module
        for name, tensor in tensors.items():
            shape = tuple(tensor.shape)
            is_input = engine.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input and not self._context.set_input_shape(name, shape):
                raise engine.failure(f"input {name} does not accept the shape {list(shape)}")
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise engine.failure(f"TensorRT rejected the address of {name}")

    def run(self) -> None:
        """Runs on torch's current stream.

        Raises:
            EngineError: if TensorRT reports a failure.
        """
        if self._graph is not None:
            self._graph.replay()
            return
        self._execute()
        self._runs += 1
        if self._capture and self._runs == 2:  # the first may compile kernels and allocate, which a capture must not
            self._graph = capture_graph(self._execute)

    def _execute(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else 0
        if not self._context.execute_async_v3(stream):
            raise self._engine.failure("the run failed")


def _stream_reader(trt: Any) -> Any:
    """A class whose instances stream a file to TensorRT; None if this TensorRT has no such interface.

    TensorRT 10.3 to 10.x has `IStreamReader`; later ones, and TensorRT for RTX, `IStreamReaderV2`, which also seeks.
    """
    if hasattr(trt, "IStreamReaderV2"):

        class SeekingReader(trt.IStreamReaderV2):  # type: ignore[misc]
            def __init__(self, file: Any) -> None:
                trt.IStreamReaderV2.__init__(self)
                self._file = file

            def read(self, num_bytes: int, stream: int) -> bytes:
                return bytes(self._file.read(min(num_bytes, _PIECE)))

            def seek(self, offset: int, where: Any) -> bool:
                whence = {trt.SeekPosition.SET: 0, trt.SeekPosition.CUR: 1, trt.SeekPosition.END: 2}[where]
                self._file.seek(offset, whence)
                return True

        return SeekingReader
    if hasattr(trt, "IStreamReader"):

        class Reader(trt.IStreamReader):  # type: ignore[misc]
            def __init__(self, file: Any) -> None:
                trt.IStreamReader.__init__(self)
                self._file = file

            def read(self, size: int) -> bytes:
                return bytes(self._file.read(size))

        return Reader
    return None
