"""The engines of a checkpoint folder: built ahead of time if they fit, else from the cache, else built now."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from n3d_core.backends.artifact_cache import cache_root, cached, discard
from n3d_core.backends.engine_manifest import MANIFEST, WantedEngine, damaged, find_engine
from n3d_core.backends.export.graph import Graph, GraphStore
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.tensorrt.api import TensorRT
from n3d_core.backends.tensorrt.build import CAPACITY, Profile, build_engine, decoder_profiles
from n3d_core.backends.tensorrt.engine import Engine
from n3d_core.errors import EngineError
from n3d_core.network.plan import ImagePlan

log = logging.getLogger("n3d.tensorrt")


class EngineStore:
    """Engines of one checkpoint for the GPU of this machine.

    Args:
        folder: of the checkpoint.
        api: TensorRT.
        target: architecture of the GPU, such as `sm_89`.
        precision: of the engines.
        ahead: a folder that `n3d compile` wrote; None looks in `engines` of the checkpoint folder.
        build: whether an engine that is missing may be built here.
        workspace: bytes a build may use; see `build_engine`.
        capacity: tokens that the decoder's cache holds; None takes those of an engine that was built ahead and fits
            otherwise (`n3d compile --cache`), `CAPACITY` without one.
    """

    def __init__(
        self,
        folder: Path,
        api: TensorRT,
        target: str,
        precision: Precision,
        ahead: Path | None = None,
        build: bool = True,
        workspace: int | None = None,
        capacity: int | None = None,
    ) -> None:
        self.api, self.target = api, target
        lowering = api.needs_lowering(precision)
        if lowering:
            log.info("%s: the graph lowered to opset 19 is used", lowering)
        self.graphs = GraphStore(folder, precision, lowering is not None)
        self._ahead, self._may_build, self._workspace = ahead or folder / "engines", build, workspace
        self.capacity = capacity or self._capacity_ahead() or CAPACITY
        self.graphs.capacity = None if lowering else self.capacity

    def decoder(self) -> Path:
        """The decoder's engine file."""
        return self._built_ahead("decoder", None) or self._decoder_here()

    def vision(self, plan: ImagePlan) -> Path:
        """The vision tower's engine file for a patch grid.

        Raises:
            EngineError: if it was compiled for another image size and may not be built here.
        """
        return self._built_ahead("vision", plan) or self._vision_here(plan)

    def open_decoder(self) -> Engine:
        """The decoder's engine, loaded; see `open_vision`."""
        return self._opened(self.decoder(), self._decoder_here)

    def open_vision(self, plan: ImagePlan) -> Engine:
        """The vision tower's engine, loaded. One that TensorRT cannot load is built here; one line says why.

        Raises:
            EngineError: if that one cannot be loaded either, there is no memory for it, or it may not be built here.
        """
        return self._opened(self.vision(plan), lambda: self._vision_here(plan))

    def kernel_cache(self, engine: Path) -> Path:
        """Where an engine's just-in-time kernels are kept."""
        place = hashlib.sha256(str(engine.resolve()).encode()).hexdigest()[:12]
        return cache_root() / "kernels" / f"{place}-{engine.stem}.kernels"

    def _opened(self, file: Path, build: Callable[[], Path]) -> Engine:
        try:
            return Engine(self.api, file, self.kernel_cache(file))
        except EngineError as error:
            if not self._may_build or "memory" in str(error).lower():
                raise
            log.warning("%s is built again: %s", file, error)
        if file.parent != self._ahead:
            discard(file.parent)
        again = build()
        return Engine(self.api, again, self.kernel_cache(again))

    def _decoder_here(self) -> Path:
        return self._built_here("decoder", self.graphs.decoder(), decoder_profiles(self.capacity))

    def _vision_here(self, plan: ImagePlan) -> Path:
        return self._built_here("vision", self.graphs.vision(plan), ())

    def _built_here(self, kind: str, graph: Graph, profiles: tuple[Profile, ...]) -> Path:
        if not self._may_build:
            raise EngineError(f"no {kind} engine for {self.target} in {self._ahead}: `n3d compile` writes one")
        name = f"{kind}-{self.graphs.precision.name}-{self.target}.engine"
        key = {
            "graph": graph.sha256,  # covers weights and precision
            "tensorrt": f"{self.api.name} {self.api.version}",
            "target": self.target,
            "profiles": [[p.name, dict(p.sizes)] for p in profiles],
            "workspace": self._workspace,
        }

        def build(folder: Path) -> None:
            log.info("building %s; this happens once and takes minutes for a large model", name)
            timings = None if self.api.is_rtx else cache_root() / "kernels" / f"{self.target}.timings"
            build_engine(self.api, graph, folder / name, self.target, profiles, self._workspace, timings)

        return cached("engines", key, build) / name

    def _built_ahead(self, kind: str, plan: ImagePlan | None) -> Path | None:
        """The engine of the `ahead` folder, if there is one that fits; one line says why not."""
        found = find_engine(self._ahead, self._wanted(kind, plan))
        if found is None:
            return None
        why = found if isinstance(found, str) else damaged(self._ahead, found)
        if why is None and isinstance(found, dict):
            return self._ahead / str(found["file"])
        log.warning("%s: the %s engine there is not used: %s", self._ahead, kind, why)
        return None

    def _capacity_ahead(self) -> int | None:
        """Tokens that the cache of a decoder built ahead holds, where one fits in all else."""
        if not (self._ahead / MANIFEST).exists():
            return None  # nothing to compare the weights with: they need not be hashed
        found = find_engine(self._ahead, self._wanted("decoder", None, any_capacity=True))
        return int(found["capacity"]) if isinstance(found, dict) else None

    def _wanted(self, kind: str, plan: ImagePlan | None, any_capacity: bool = False) -> WantedEngine:
        return WantedEngine(
            kind,
            self.graphs.precision.name,
            self.target,
            self.graphs.weights_sha256,
            f"{self.api.name} {self.api.version}",
            self.graphs.lowered,
            capacity=None if any_capacity or kind != "decoder" else self.capacity,
            patch_grid=None if plan is None else (plan.grid_h, plan.grid_w),
        )
