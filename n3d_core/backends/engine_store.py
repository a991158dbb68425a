"""The engines of a checkpoint folder: built ahead of time if they fit, else from the cache, else built now."""

from __future__ import annotations

import logging
from pathlib import Path

from n3d_core.backends.artifact_cache import cache_root, cached
from n3d_core.backends.engine_manifest import MANIFEST, WantedEngine, damaged, find_engine
from n3d_core.backends.export import Graph
from n3d_core.backends.graph_store import GraphStore
from n3d_core.backends.precision import Precision
from n3d_core.backends.tensorrt_api import TensorRT
from n3d_core.backends.tensorrt_builder import CAPACITY, Profile, build_engine, decoder_profiles
from n3d_core.errors import EngineError
from n3d_core.model.plan import ImagePlan

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
        found = self._built_ahead("decoder", None)
        return found or self._built_here("decoder", self.graphs.decoder(), decoder_profiles(self.capacity))

    def vision(self, plan: ImagePlan) -> Path:
        """The vision tower's engine file for a patch grid.

        Raises:
            EngineError: if it was compiled for another image size and may not be built here.
        """
        found = self._built_ahead("vision", plan)
        return found or self._built_here("vision", self.graphs.vision(plan), ())

    def kernel_cache(self, engine: Path) -> Path:
        """Where an engine's just-in-time kernels are kept."""
        folder = cache_root() / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{engine.parent.name}-{engine.stem}.kernels"

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
            timings = None if self.api.is_rtx else self.kernel_cache(Path(self.target) / "all").with_suffix(".timings")
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
