"""Builds TensorRT engines from exported graphs; needs no GPU where TensorRT for RTX is installed."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

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
