# ruff: noqa: N802 - the names are TensorRT's
"""A stand-in for TensorRT's Python module: the calls of three versions and of TensorRT for RTX, run by ONNX Runtime.

It is strict where versions differ (a flag that 11 dropped, operators that 10.3 does not parse, a cache that must be
updated in place or must not), and it computes: an engine holds its graph, a context reads and writes raw addresses as
TensorRT does.
"""

from __future__ import annotations

import base64
import ctypes
import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime

NEW_OPERATORS = {"Attention", "RotaryEmbedding", "TensorScatter", "RMSNormalization"}


class Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity


class IProgressMonitor:
    pass


class IStreamReader:
    pass


class SeekPosition(IntEnum):
    SET, CUR, END = range(3)


class TensorIOMode(IntEnum):
    NONE, INPUT, OUTPUT = range(3)


class Network:
    num_layers = 0
    graph = ""


class Config:
    def __init__(self, module: Any) -> None:
        self._module, self.profiles, self.limits, self.capabilities = module, [], {}, {}
        self.timing: Any = None

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.limits[pool] = size

    def get_memory_pool_limit(self, pool: str) -> int:
        return self.limits.get(pool, 0)

    def set_compute_capability(self, capability: str, index: int) -> None:
        assert self._module.rtx, "classic TensorRT has no such call"
        self.capabilities[index] = capability

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: data or b"timings")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.timing = cache
        return True


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = [list(s) for s in shapes]


class StandIn:
    """The module."""

    def __init__(self, name: str, version: str) -> None:
        self.__name__, self.__version__ = name, version
        self.rtx = name == "tensorrt_rtx"
        numbers = tuple(int(n) for n in version.split("."))
        self.new = self.rtx or numbers >= (10, 15, 1)
        self.engine = RtxEngine if self.rtx else ConfigurableEngine if numbers >= (10, 14) else Engine
        self.eleven = not self.rtx and numbers >= (11,)
        self.ILogger, self.IProgressMonitor, self.TensorIOMode = ILogger, IProgressMonitor, TensorIOMode
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**({} if self.eleven else {"STRONGLY_TYPED": 1}))
        if self.new:
            self.IKVCacheUpdateLayer = object
        if self.rtx or self.eleven:
            self.IStreamReaderV2 = IStreamReader
            self.SeekPosition = SeekPosition
        else:
            self.IStreamReader = IStreamReader
        self.pieces: list[int] = []
        if self.rtx:
            self.ComputeCapability = SimpleNamespace(SM86="SM86", SM89="SM89", SM120="SM120", CURRENT="CURRENT")
        self.builds: list[Config] = []

    def Builder(self, logger: Any) -> Any:
        def create_network(flags: int) -> Network:
            assert flags == (0 if self.eleven else 2), f"flags {flags}"
            return Network()

        def build(network: Network, config: Config) -> bytes:
            self.builds.append(config)
            config.progress_monitor.phase_start("Building", None, 1)
            assert config.progress_monitor.step_complete("Building", 0)
            config.progress_monitor.phase_finish("Building")
            whole = base64.b64encode(onnx.load(network.graph).SerializeToString()).decode()
            return json.dumps({"graph": whole, "profiles": config.profiles, "by": self.__version__}).encode()

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: Config(self),
            create_optimization_profile=Profile,
            build_serialized_network=build,
        )

    def streamed(self, reader: Any) -> bytes:
        """What a reader gives, piece by piece, with one look back where it can seek."""
        pieces = []
        if hasattr(reader, "seek"):
            reader.read(4, 0)
            assert reader.seek(0, SeekPosition.SET)
        while piece := reader.read(1 << 30, 0) if hasattr(reader, "seek") else reader.read(1000):
            pieces.append(piece)
        self.pieces = [len(piece) for piece in pieces]
        return b"".join(pieces)

    def OnnxParser(self, network: Network, logger: Any) -> Any:
        return Parser(self, network)

    def Runtime(self, logger: Any) -> Any:
        def deserialize(data: bytes | IStreamReader) -> Engine | None:
            if isinstance(data, IStreamReader):
                data = self.streamed(data)
            try:
                made = json.loads(data)
            except ValueError:
                logger.log(Severity.ERROR, "magic number does not match")
                return None
            return self.engine(self, made)

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class Parser:
    def __init__(self, module: StandIn, network: Network) -> None:
        self._module, self._network, self._errors = module, network, []

    def parse_from_file(self, path: str) -> bool:
        model = onnx.load(path, load_external_data=False)
        self._network.graph, self._network.num_layers = path, len(model.graph.node)
        if not self._module.new:
            self._errors = [n for n in model.graph.node if n.op_type in NEW_OPERATORS]
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        node = self._errors[index]
        return SimpleNamespace(
            desc=lambda: "No importer registered for op",
            node_name=lambda: node.name,
            node_operator=lambda: node.op_type,
        )


class Engine:
    def __init__(self, module: StandIn, made: dict[str, Any]) -> None:
        self.module, self.made = module, made
        graph = base64.b64decode(made["graph"])
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def create_execution_context(self) -> Context:
        return Context(self)


class ConfigurableEngine(Engine):
    """Of classic TensorRT from 10.14 on, whose runtime configs keep no kernels."""

    def create_runtime_config(self) -> Any:
        return SimpleNamespace()

    def create_execution_context(self, config: Any = None) -> Context:
        return Context(self)


class RtxEngine(Engine):
    def create_runtime_config(self) -> Any:
        config = SimpleNamespace(cache=None)
        config.create_runtime_cache = lambda: SimpleNamespace(
            deserialize=lambda data: True, serialize=lambda: b"kernels"
        )
        config.set_runtime_cache = lambda cache: setattr(config, "cache", cache)
        return config

    def create_execution_context(self, config: Any = None) -> Context:
        assert config is not None
        assert config.cache is not None
        return Context(self)


class Context:
    TYPES: ClassVar = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(bool)": np.bool_,
        "tensor(int64)": np.int64,
    }

    def __init__(self, engine: Engine) -> None:
        self._engine, self._shapes, self._addresses, self._profile = engine, {}, {}, 0

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        profiles = self._engine.made["profiles"]
        if profiles and name in profiles[self._profile]:
            least, _, most = profiles[self._profile][name]
            assert all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)), (
                f"{name} {shape} {least} {most}"
            )
        self._shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        for name, address in self._addresses.items():
            if name.startswith("past_"):
                same = self._addresses[name.replace("past", "present")] == address
                assert same == self._engine.module.new, (
                    "updated in place by the canonical graph, never by the lowered one"
                )
        feed = {name: self._view(name, self._shapes[name], i.type) for name, i in self._engine.inputs.items()}
        names = [o.name for o in self._engine.session.get_outputs()]
        for name, value in zip(names, self._engine.session.run(names, feed), strict=True):
            ctypes.memmove(self._addresses[name], np.ascontiguousarray(value).ctypes.data, value.nbytes)
        return True

    def _view(self, name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
        dtype = np.dtype(self.TYPES[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer(ctypes.string_at(self._addresses[name], size), dtype).reshape(shape)
