"""A TensorRT engine in memory, and contexts that run it on tensors of fixed addresses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from n3d_core.atomic_write import atomic_write
from n3d_core.backends.tensorrt.api import TensorRT
from n3d_core.errors import EngineError

log = logging.getLogger("n3d.tensorrt")


class Engine:
    """A deserialised engine.

    Args:
        path: of the engine file.
        runtime_cache: a file that TensorRT for RTX keeps its just-in-time kernels in; unused by classic TensorRT.

    Attributes:
        bytes: of the file.

    Raises:
        EngineError: if this TensorRT or GPU cannot load the engine.
    """

    def __init__(self, api: TensorRT, path: Path, runtime_cache: Path | None = None) -> None:
        self.api, self.path = api, path
        self._logger = api.logger()
        self._runtime = api.module.Runtime(self._logger)
        data = path.read_bytes()
        self.bytes = len(data)
        self.engine = self._runtime.deserialize_cuda_engine(data)
        if self.engine is None:
            said = "; ".join(self._logger.errors[-2:]) or "no reason given"
            raise EngineError(
                f"{path.name}: {api.name} {api.version} cannot load it on this GPU: {said}; compile it again"
            )
        # Classic TensorRT has runtime configs too, from 10.14 on; but its kernels are in the engine, and no cache is.
        self._cache_file = runtime_cache if api.is_rtx else None
        self._config, self._kernels = self._runtime_config()
        self._saved = b""

    def context(self, profile: int) -> Any:
        """An execution context for an optimisation profile.

        Raises:
            EngineError: if there is not enough memory on the GPU.
        """
        made = self.engine.create_execution_context(*([self._config] if self._config is not None else []))
        if made is None:
            said = "; ".join(self._logger.errors[-2:]) or "no reason given"
            raise EngineError(f"{self.path.name}: no execution context, most likely for want of GPU memory: {said}")
        if profile:
            stream = torch.cuda.current_stream() if torch.cuda.is_available() else None
            made.set_optimization_profile_async(profile, stream.cuda_stream if stream else 0)
            if stream:
                stream.synchronize()
        return made

    def save_kernels(self) -> None:
        """Keeps the kernels that were compiled so far for the next start, where there is room for them."""
        if self._cache_file is None or self._kernels is None:
            return
        data = bytes(self._kernels.serialize())
        if data == self._saved:
            return
        try:
            self._cache_file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._cache_file) as part:
                part.write_bytes(data)
        except OSError as error:  # an answer is worth more than a quicker start
            log.warning("%s: kernels are not kept for the next start (%s)", self._cache_file, error.strerror)
            self._cache_file = None
        self._saved = data

    def _runtime_config(self) -> tuple[Any, Any]:
        if self._cache_file is None:
            return None, None
        config = self.engine.create_runtime_config()
        kernels = config.create_runtime_cache()
        with suppress(OSError):  # not there yet, or not readable: filled anew
            kernels.deserialize(self._cache_file.read_bytes())  # of another version: refused, and filled anew
        config.set_runtime_cache(kernels)
        return config, kernels


class BoundContext:
    """An execution context with inputs and outputs at fixed addresses; runs again and again, or as a CUDA graph.

    Args:
        context: of `Engine.context`; used by one thread at a time.
        tensors: all inputs and outputs.
        capture: whether runs are captured as a CUDA graph.
    """

    def __init__(self, engine: Engine, context: Any, tensors: Mapping[str, Tensor], capture: bool = False) -> None:
        self._context = context
        self._engine, self._tensors = engine, dict(tensors)  # kept alive: TensorRT holds bare addresses
        self._capture, self._runs = capture, 0
        self._graph: Any = None
        trt = engine.api.module
        for name, tensor in tensors.items():
            if engine.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())

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
        if (
            self._capture and self._runs == 2
        ):  # the first run may compile kernels and allocate, which a capture must not
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._execute()
            self._graph = graph

    def _execute(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else 0
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"{self._engine.path.name}: TensorRT reports that the run failed")
