"""Builds TensorRT engines from exported graphs (TensorRT for RTX needs no GPU for that), loads and runs them."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from n3d_core.backends.base import capture_graph
from n3d_core.backends.export.graph import Graph
from n3d_core.backends.sequence import FIRST_BUCKET
from n3d_core.backends.tensorrt.api import TensorRT, keep
from n3d_core.errors import EngineError

log = logging.getLogger("n3d.tensorrt")

MAX_CHUNK = 1024  # tokens in one pass
USUAL_CHUNK = 512
MAX_ROWS = 64  # rows of logits in one pass
CAPACITY = 2048  # default number of tokens in a cache


@dataclass(frozen=True)
class Profile:
    """Ranges of a graph's symbolic sizes: (smallest, usual, largest) of each."""

    name: str
    sizes: Mapping[str, tuple[int, int, int]]


def decoder_profiles(capacity: int) -> tuple[Profile, Profile]:
    """The decoder's two profiles: a chunk of tokens, and a single step."""
    first = min(FIRST_BUCKET, capacity)
    slots = (first, min(2 * FIRST_BUCKET, capacity), capacity)
    chunk = (2, min(USUAL_CHUNK, capacity), min(MAX_CHUNK, capacity))
    return (
        Profile("chunk", {"T": chunk, "S": slots, "N": slots, "R": (1, 1, MAX_ROWS)}),
        Profile("step", {"T": (1, 1, 1), "S": slots, "N": slots, "R": (1, 1, 1)}),
    )


def build_engine(
    api: TensorRT,
    graph: Graph,
    output: Path,
    target: str,
    profiles: tuple[Profile, ...] = (),
    workspace: int | None = None,
    timing_cache: Path | None = None,
) -> dict[str, Any]:
    """Builds an engine and writes it to a file; returns what the manifest says of it.

    Args:
        output: the engine file.
        target: architecture, checked by the caller.
        profiles: for the graph's symbolic sizes; empty if all are fixed.
        workspace: bytes that the engine may use besides weights and activations; None keeps TensorRT's limit.
        timing_cache: a file for classic TensorRT's timings.

    Raises:
        EngineError: if the graph cannot be parsed or the engine cannot be built; the message quotes TensorRT.
    """
    started, logger = time.monotonic(), api.logger()
    builder = api.module.Builder(logger)
    network, _parser = _parsed(api, builder, graph, logger)
    config = _builder_config(api, builder, target, workspace, output.name)
    for profile in profiles:
        if config.add_optimization_profile(_trt_profile(builder, graph, profile)) == -1:
            raise EngineError(f"{output.name}: TensorRT rejects the profile {profile.name}: {logger.reason()}")
    timings = _attach_timing_cache(config, timing_cache)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise EngineError(f"{api.name} {api.version} could not build {output.name} for {target}: {logger.reason()}")
    with output.open("wb") as file:
        file.write(serialized)
    if timings is not None and timing_cache is not None:
        keep(timing_cache, bytes(timings.serialize()), "timings for the next build")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size, seconds = output.stat().st_size, time.monotonic() - started
    log.info("%s: %.1f MB in %.0f s, peak memory %.1f GB", output.name, size / 1e6, seconds, peak / 1e9)
    return {
        "bytes": size,
        "layers": int(network.num_layers),
        "seconds": round(seconds, 2),
        "peak_memory_bytes": peak,
        "profiles": [{"name": profile.name, "shapes": shapes_of(graph, profile)} for profile in profiles],
    }


def _parsed(api: TensorRT, builder: Any, graph: Graph, logger: Any) -> tuple[Any, Any]:
    """Returns a network and its parser, which owns the network's weights."""
    network = builder.create_network(api.network_flags())
    if network is None:
        raise EngineError(f"{api.name} {api.version} could not create a network: {logger.reason()}")
    parser = api.module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph.path)):
        said = _parser_errors(parser) or logger.reason()
        raise EngineError(f"{api.name} {api.version} could not parse {graph.path.name}: {said}")
    return network, parser


def _builder_config(api: TensorRT, builder: Any, target: str, workspace: int | None, name: str) -> Any:
    """A builder config for an architecture, with a memory limit and progress logged under `name`."""
    config = builder.create_builder_config()
    api.set_target(config, target)
    if workspace is not None:
        pool = api.module.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, workspace)  # returns nothing, and does nothing if it refuses
        if config.get_memory_pool_limit(pool) != workspace:
            raise EngineError(f"{name}: {api.name} {api.version} rejects a workspace of {workspace} bytes")
    monitor = _progress_monitor(api.module, name)
    if monitor is not None:
        config.progress_monitor = monitor
    return config


def shapes_of(graph: Graph, profile: Profile) -> dict[str, list[list[int]]]:
    """Input -> its smallest, usual and largest shape in a profile; fixed-size inputs are omitted."""
    shapes = {}
    for value in onnx.load(str(graph.path), load_external_data=False).graph.input:
        dims = value.type.tensor_type.shape.dim
        if any(d.dim_param for d in dims):
            shapes[value.name] = [
                [profile.sizes[d.dim_param][i] if d.dim_param else d.dim_value for d in dims] for i in range(3)
            ]
    return shapes


def _trt_profile(builder: Any, graph: Graph, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name, shapes in shapes_of(graph, profile).items():
        made.set_shape(name, *(tuple(shape) for shape in shapes))
    return made


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    told = []
    for error in errors[:2]:
        operator = getattr(error, "node_operator", str)()  # not in every version
        told.append(f"{operator or 'a node'} {error.node_name()}: {error.desc().splitlines()[0]}")
    return "; ".join(told)


def _attach_timing_cache(config: Any, path: Path | None) -> Any:
    """A config's timing cache, loaded from a file; None without one."""
    if path is None or not hasattr(config, "create_timing_cache"):
        return None
    for data in (path.read_bytes() if path.exists() else b"", b""):  # empty: those are of another TensorRT, or damaged
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    log.warning("TensorRT rejected the timing cache %s: the next build will take as long as this one", path)
    return None


def _progress_monitor(trt: Any, name: str) -> Any:
    """Logs progress at most once per second; None if TensorRT has no such hook."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._told = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self._told > 1:
                self._told = time.monotonic()
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
                log.info(
                    "%s: %s %d/%d, peak memory %.1f GB", name, phase_name, step, self._steps.get(phase_name, 0), peak
                )
            return True

    return Monitor()


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
